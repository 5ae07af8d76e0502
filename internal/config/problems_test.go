package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
)

// zipline is a good source at line 3 onward; its keys stand in the way of none of the cases below.
const zipline = "vault: /vault\nsources:\n  s: {kind: zipline, url: 'http://h', token: env:T, datasource: /files"

// TestProblems has one case for each thing that can be wrong. What is wanted is "LINE: message", in order.
func TestProblems(t *testing.T) {
	const location = " is not a key that lifeboat knows; known here: "
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"empty":           {"", []string{"1: vault is missing"}},
		"comment only":    {"# nothing\n", []string{"1: vault is missing"}},
		"no mapping":      {"- a\n", []string{"1: the file must hold keys and values, not a list"}},
		"two documents":   {"vault: /v\n---\nvault: /w\n", []string{"2: a second document starts here; the file must be one"}},
		"tab":             {"vault: /v\nserve:\n\tlisten: x\n", []string{"3: the line is indented by a tab; use spaces"}},
		"syntax":          {"vault: /v\n  state-dir: /s\n", []string{"2: this is not YAML: mapping values are not allowed in this context"}},
		"not UTF-8":       {"vault: /v\n# \xff\n", []string{"2: the line is not UTF-8"}},
		"control":         {"vault: /v\n# \x01\n", []string{"2: the line holds a control character"}},
		"escaped control": {`vault: "/v\n"`, []string{"1: vault must be one line without control characters"}},
		"star":            {"vault: /v\nstate-dir: *secret\n", []string{"2: put a value that starts with * in quotes"}},
		"duplicate":       {"vault: /v\nvault: /w\n", []string{"2: vault stands here for the second time; line 1 has it already"}},
		"merge":           {"vault: /v\nserve: {<<: {listen: 'h:1'}}\n", []string{`2: serve."<<" can't be used: merging keys is not supported; write them out`}},
		"key is a list":   {"vault: /v\n[a]: b\n", []string{"2: a key must be text; put it in quotes"}},
		"hostile key":     {"vault: /v\n\"\\e\\u202e\": b\n", []string{`2: "\x1b\u202e" is not a key that lifeboat knows; known here: vault, state-dir, sources, targets, fetch, serve, mail, deploy`}},
		"swapped letters": {"vault: /v\nsevre: {}\n", []string{`2: sevre is not a key that lifeboat knows; did you mean "serve"?`}},

		"vault null":        {"vault:\n", []string{"1: vault has no value"}},
		"vault list":        {"vault: [a]\n", []string{"1: vault must be text, not a list"}},
		"vault bool":        {"vault: true\n", []string{"1: vault must be text, not true or false; put it in quotes"}},
		"vault tagged":      {"vault: !secret x\n", []string{`1: vault must be text, not a value with the tag "!secret"; put it in quotes`}},
		"vault URL":         {"vault: s3://b\n", []string{"1: vault must be s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and ."}},
		"vault other URL":   {"vault: http://b\n", []string{"1: vault must be a path, not a URL"}},
		"vault home":        {"vault: ~/v\n", []string{"1: vault must not start with ~; write the whole path"}},
		"vault prefix":      {"vault: {s3: s3://bucket/prefix}\n", []string{"1: vault must be a whole bucket, without a prefix"}},
		"vault no bucket":   {"vault: {region: x}\n", []string{"1: vault.s3 is missing"}},
		"vault scheme":      {"vault: {s3: bucket}\n", []string{"1: vault.s3 must start with s3://"}},
		"vault bucket name": {"vault: {s3: s3://Bucket}\n", []string{"1: vault.s3 must be s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and ."}},
		"one key":           {"vault:\n  s3: s3://bucket\n  access-key: env:A\n", []string{"1: vault needs both access-key and secret-key, or neither"}},
		"profile and keys": {
			"vault:\n  s3: s3://bucket\n  access-key: env:A\n  secret-key: env:B\n  profile: p\n",
			[]string{"5: vault.profile can't stand beside access-key; use one of them"},
		},
		"unknown in vault": {"vault:\n  s3: s3://bucket\n  zzz: 1\n", []string{"3: vault.zzz" + location + "s3, endpoint, region, profile, access-key, secret-key"}},
		"role of a vault":  {"vault:\n  s3: s3://bucket\n  role: arn:aws:iam::111122223333:role/r\n", []string{"3: vault.role" + location + "s3, endpoint, region, profile, access-key, secret-key"}},
		"endpoint":         {"vault: {s3: s3://bucket, endpoint: host}\n", []string{"1: vault.endpoint must start with http:// or https://"}},

		"state in vault":      {"vault: /v\nstate-dir: /v/state\n", []string{"2: state-dir lies inside the vault; the signing key must lie outside"}},
		"vault is root":       {"vault: /\nstate-dir: /s\n", []string{"2: state-dir lies inside the vault; the signing key must lie outside"}},
		"vault in datasource": {strings.Replace(zipline, "/files", "/", 1) + "}", []string{"3: sources.s.datasource holds the vault; a backup must not hold itself"}},
		"datasource is vault": {strings.Replace(zipline, "/files", "/vault/../vault/x", 1) + "}", []string{"3: sources.s.datasource lies inside the vault, which is lifeboat's own"}},
		"state in datasource": {strings.Replace(zipline, "/files", "/state", 1) + "}", []string{"3: sources.s.datasource holds the state-dir, and with it the signing key"}},
		"same bucket": {
			strings.NewReplacer("/files", "{s3: s3://same/x}", "/vault", "{s3: s3://same}").Replace(zipline) + "}",
			[]string{"3: sources.s.datasource is the vault's own bucket; use another one"},
		},

		"sources list":    {"vault: /v\nsources: [a]\n", []string{"2: sources must hold keys and values, not a list"}},
		"source name":     {strings.Replace(zipline, " s:", " S_1:", 1) + "}", []string{"3: sources.S_1 is no name; use 1 to 40 of a-z, 0-9 and -"}},
		"source null":     {"vault: /v\nsources:\n  s:\n", []string{"3: sources.s.kind is missing", "3: sources.s.url is missing", "3: sources.s.token is missing", "3: sources.s.datasource is missing"}},
		"source text":     {"vault: /v\nsources:\n  s: zipline\n", []string{"3: sources.s must hold keys and values, not text"}},
		"metrics":         {zipline + ", metrics: maybe}", []string{"3: sources.s.metrics must be on or off (or true, false)"}},
		"code":            {zipline + ", link: {code: [on]}}", []string{"3: sources.s.link.code must be on or off (or true, false)"}},
		"config-files":    {zipline + ", config-files: {a: b}}", []string{"3: sources.s.config-files must be a list, such as [one, two], not keys and values"}},
		"same file":       {zipline + ", config-files: [a, ./a]}", []string{"3: sources.s.config-files[2] names a file that the list has already"}},
		"empty file":      {zipline + ", config-files: [' ']}", []string{"3: sources.s.config-files[1] has no value"}},
		"nobody":          {zipline + ", notify: {to: []}}", []string{"3: sources.s.notify.to is an empty list; leave it out"}},
		"no to":           {zipline + ", notify: {on: always}}", []string{"3: sources.s.notify.to is missing"}},
		"address":         {zipline + ", notify: {to: [a@b.example, 'A <a@b.example>', a]}}", []string{"3: sources.s.notify.to[2] must be a mail address, such as ops@example.com", "3: sources.s.notify.to[3] must be a mail address, such as ops@example.com"}},
		"on":              {zipline + ", notify: {to: a@b.example, on: never}}", []string{"3: sources.s.notify.on must be always, problem or change"}},
		"target extras":   {"vault: /v\ntargets:\n  t: {kind: zipline, url: 'http://h', token: env:T, datasource: /f,\n    metrics: true}", []string{"4: targets.t.metrics" + location + "kind, url, token, datasource, notify"}},
		"target kind":     {"vault: /v\ntargets:\n  t: {kind: linkdin, data: /f}", []string{`3: targets.t.kind is "linkdin", which lifeboat does not know; did you mean "linkding"? known: zipline, linkding and files`}},
		"target of what":  {"vault: /v\ntargets:\n  t: {kind: squid, eggs: 3}", []string{`3: targets.t.kind is "squid", which lifeboat does not know; known: zipline, linkding and files`}},
		"target null":     {"vault: /v\ntargets:\n  t: {path: s3://b}", []string{"3: targets.t.kind is missing", "3: targets.t.path must be s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and ."}},
		"target key":      {"vault: /v\ntargets:\n  t: {kind: linkding, dtaa: /f}", []string{`3: targets.t.dtaa is not a key that lifeboat knows; did you mean "data"?`, "3: targets.t.data is missing"}},
		"target include":  {"vault: /v\ntargets:\n  t: {kind: files, path: /f, include: [a]}", []string{"3: targets.t.include" + location + "kind, path, notify"}},
		"target bucket":   {"vault: /v\ntargets:\n  t: {kind: linkding, data: s3://bucket}", []string{"3: targets.t.data must be a path of this machine, not a bucket"}},
		"target in vault": {"vault: /v\ntargets:\n  t: {kind: files, path: /v/x}", []string{"3: targets.t.path lies inside the vault, which is lifeboat's own"}},
		"vault in target": {"vault: /a/v\ntargets:\n  t: {kind: linkding, data: /a}", []string{"3: targets.t.data holds the vault; a restore must not write over it"}},
		"state in target": {"vault: /v\nstate-dir: /a/s\ntargets:\n  t: {kind: linkding, data: /a}", []string{"4: targets.t.data holds the state-dir, and with it the signing key"}},
		"target is state": {"vault: /v\nstate-dir: /s\ntargets:\n  t: {kind: files, path: /s/keys}", []string{"4: targets.t.path lies inside the state-dir, which is lifeboat's own"}},
		"target is vault": {"vault: s3://vault\ntargets:\n  t: {kind: files, path: s3://vault/x}", []string{"3: targets.t.path is the vault's own bucket; use another one"}},
		"target nobody":   {"vault: /v\ntargets:\n  t: {kind: files, path: /f, notify: {to: x, on: never}}", []string{"3: targets.t.notify.to must be a mail address, such as ops@example.com", "3: targets.t.notify.on must be always, problem or change"}},

		"fetch key":  {"vault: /v\nfetch: {alow: a}", []string{`2: fetch.alow is not a key that lifeboat knows; did you mean "allow"?`}},
		"fetch list": {"vault: /v\nfetch: [a]", []string{"2: fetch must hold keys and values, not a list"}},
		"max-size":   {"vault: /v\nfetch: {max-size: 5 elephants}", []string{"2: fetch.max-size must be a size up to 48TiB, such as 500GiB"}},
		"no size":    {"vault: /v\nfetch: {max-size: 0}", []string{"2: fetch.max-size must be a size up to 48TiB, such as 500GiB"}},
		"timeout":    {"vault: /v\nfetch: {timeout: 49h}", []string{"2: fetch.timeout must be a number of minutes, hours or days up to 2d, such as 90m or 6h"}},
		"no timeout": {"vault: /v\nfetch: {timeout: 0m}", []string{"2: fetch.timeout must be a number of minutes, hours or days up to 2d, such as 90m or 6h"}},
		"minutes":    {zipline + ", archive: {keep: 120m}}", []string{"3: sources.s.archive.keep must be a number of days or hours, such as 7d or 12h"}},

		"url host":     {strings.Replace(zipline, "http://h", "http://:80", 1) + "}", []string{"3: sources.s.url must name a host, such as http://127.0.0.1:3000"}},
		"url port":     {strings.Replace(zipline, "http://h", "http://h:99999", 1) + "}", []string{"3: sources.s.url must name a host, such as http://127.0.0.1:3000"}},
		"url password": {strings.Replace(zipline, "http://h", "http://u:secret@h", 1) + "}", []string{"3: sources.s.url must not hold a user or a password"}},
		"url broken":   {strings.Replace(zipline, "http://h", "http://u:secret@h:x", 1) + "}", []string{"3: sources.s.url is not a URL"}},
		"url query":    {strings.Replace(zipline, "http://h", "http://h?token=secret", 1) + "}", []string{"3: sources.s.url must end before ? and #"}},
		"file home":    {strings.Replace(zipline, "env:T", "file:~/t", 1) + "}", []string{"3: sources.s.token must not start with ~; write the whole path"}},
		"ssm":          {strings.Replace(zipline, "env:T", "'ssm:'", 1) + "}", []string{"3: sources.s.token must name something after ssm:"}},
		"token list":   {strings.Replace(zipline, "env:T", "[secret]", 1) + "}", []string{"3: sources.s.token must be text, not a list"}},

		"listen":    {"vault: /v\nserve: {listen: 8420}\n", []string{"2: serve.listen must be host:port, such as 127.0.0.1:8420"}},
		"no mail":   {"vault: /v\nmail:\n", []string{"2: mail.from is missing", "2: mail.smtp is missing"}},
		"mail text": {"vault: /v\nmail: a@b.example\n", []string{"2: mail must hold keys and values, not text"}},
		"smtp":      {"vault: /v\nmail: {from: a@b.example, smtp: 'http://u:secret@h'}\n", []string{"2: mail.smtp must be smtp://host:port, smtps://host:port, env:NAME or file:PATH"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(test.text), "/base")
			e, ok := errors.AsType[*config.Error](err)
			if !ok {
				t.Fatalf("Parse = %v, want problems", err)
			}
			var got []string
			for _, p := range e.Problems {
				got = append(got, strings.TrimPrefix(p.At(""), ":"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if name != "vault tagged" && strings.Contains(err.Error(), "secret@") {
				t.Error("a message holds a secret")
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	text := strings.Join([]string{
		"vault: {s3: s3://bucket, access-key: AKIA, secret-key: hush}",
		"sources:",
		"  a: {kind: zipline, url: 'http://h', token: hush, datasource: /f}",
		"  b: {kind: zipline, url: 'http://h', token: 'evn:T', datasource: /f}",
		"  c: {kind: zipline, url: 'http://h', token: 12345, datasource: /f}",
		"mail: {from: a@b.example, smtp: 'smtp://user:hush@h'}",
	}, "\n")
	c, err := config.Parse("f", []byte(text), "/b")
	if err != nil {
		t.Fatal(err)
	}
	const advice = "write env:NAME or file:PATH, so that the file holds no secret"
	want := []config.Problem{
		{Line: 1, Message: "vault.secret-key is taken as the secret itself; " + advice},
		{Line: 3, Message: "sources.a.token is taken as the secret itself; " + advice},
		{Line: 4, Message: `sources.b.token is taken as the secret itself; did you mean "env"? Otherwise ` + advice},
		{Line: 5, Message: "sources.c.token is taken as the secret itself; " + advice},
		{Line: 6, Message: "mail.smtp holds a password; " + advice},
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c, err = config.Parse("f", []byte(zipline+", notify: {to: ops@example.com}}"), "/b")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("without a mail section mails go to a folder, but: %v", c.Warnings)
	}
}

// TestAllowed: what a fetch may be allowed to reach, and what is none.
func TestAllowed(t *testing.T) {
	for text, good := range map[string]bool{
		"nas": true, "nas.lan": true, "NAS.lan:9000": true, "http://nas.lan:80": true, "http://nas.lan": true, "_x.y-z": true,
		"10.0.0.5": true, "10.0.0.5:9000": true, "[fd00::1]": true, "[fd00::1]:80": true, "http://[fd00::1]:8080": true,
		"https://nas.lan:8443": true, "ftp://nas.lan": false, "http://nas.lan/": false, "http://nas.lan:80/x": false, "nas.lan/x": false,
		"u:secret@nas.lan": false, "nas.lan?x": false, "nas.lan#x": false, "*.lan": false, "nas.lan:": false, "nas.lan:0": false,
		"nas.lan:99999": false, "fd00::1": false, "[fd00::1": false, "[nas.lan]": false, "[fe80::1%25eth0]": false, "[10.0.0.5]": false,
		"10.0.0.256": false, "127.1": false, "0x7f000001": false, "2130706433": false, "a b": false, "http://": false,
	} {
		c, err := config.Parse("f", []byte("vault: /v\nfetch: {allow: ['"+text+"']}"), "/b")
		if (err == nil) != good || good && c.Fetch.Allow[0] != text {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "fetch.allow[1] must be host, host:port") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTargetBesideSource: a target that is the source is no mistake; one that shares half of it is.
func TestTargetBesideSource(t *testing.T) {
	const sources = "vault: /vault\nsources:\n  s: {kind: zipline, url: 'http://h', token: env:T, datasource: /files}\n" +
		"  l: {kind: linkding, data: /links}\n  b: {kind: files, path: s3://bucket/a/b}\ntargets:\n  t: "
	for target, want := range map[string]string{
		"{kind: zipline, url: 'http://h', token: env:T, datasource: /files}":      "",
		"{kind: linkding, data: /links}":                                          "",
		"{kind: files, path: s3://bucket/a/b/}":                                   "",
		"{kind: files, path: s3://bucket/a/bb}":                                   "",
		"{kind: files, path: {s3: s3://bucket/a, endpoint: 'http://h'}}":          "",
		"{kind: zipline, url: 'http://new', token: env:T, datasource: /new}":      "",
		"{kind: zipline, url: 'http://new', token: env:T, datasource: /files}":    "datasource is also where the source s, another application, has its files; a restore would write among them",
		"{kind: files, path: /links}":                                             "path is also where the source l, another application, has its files; a restore would write among them",
		"{kind: zipline, url: 'http://h', token: env:T, datasource: /new}":        "datasource is not where the source s, which has the same url, has its files; the application would not find what is restored",
		"{kind: files, path: /files/restored}":                                    "path lies among the files of the source s; its next backup would hold what is restored there",
		"{kind: files, path: s3://bucket/a/b/c}":                                  "path lies among the files of the source b; its next backup would hold what is restored there",
		"{kind: files, path: s3://bucket}":                                        "path holds the files of the source b; a restore could write over them",
		"{kind: zipline, url: 'http://h/', token: env:T, datasource: s3://other}": "datasource is not where the source s, which has the same url, has its files; the application would not find what is restored",
	} {
		c, err := config.Parse("f", []byte(sources+target), "/b")
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		var got string
		if len(c.Warnings) == 1 && c.Warnings[0].Line == 7 {
			got = strings.TrimPrefix(c.Warnings[0].Message, "targets.t.")
		}
		if got != want || len(c.Warnings) > 1 {
			t.Errorf("%s: %v\nwant %s", target, c.Warnings, want)
		}
	}
}

func TestNumberAsToken(t *testing.T) {
	c, err := config.Parse("f", []byte(strings.Replace(zipline, "env:T", "12345", 1)+"}"), "/b")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := c.Sources[0].Token.Resolve(); err != nil || value.Reveal() != "12345" {
		t.Errorf("a number as a token resolves to %v, %v", value, err)
	}
}

// TestAccountProblems has one case for each thing that can be wrong with a bucket of another account.
func TestAccountProblems(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:role/lifeboat-reader"
	const at, aRole = "4: sources.s.path.", " must be the ARN of a role, such as arn:aws:iam::111122223333:role/lifeboat-reader"
	const digits = ` must be the 12 digits of an AWS account, such as "111122223333"`
	for text, want := range map[string][]string{
		"role: lifeboat-reader":                              {at + "role" + aRole},
		"role: 'arn:aws:iam::1111:role/x'":                   {at + "role" + aRole},
		"role: 'arn:aws:iam::111122223333:user/x'":           {at + "role" + aRole},
		"role: 'arn:aws:iam::111122223333:role/*'":           {at + "role" + aRole},
		"role: 'arn:aws:sts::111122223333:assumed-role/a/b'": {at + "role" + aRole},
		"role: ''":                                 {at + "role has no value"},
		"external-id: abc":                         {at + "external-id needs a role beside it, which it is for"},
		"owner: ops":                               {at + "owner" + digits},
		"owner: 1111-2222-3333":                    {at + "owner" + digits},
		"owner: 11112222333":                       {at + "owner" + digits},
		"owner: [1]":                               {at + "owner must be text, not a list"},
		"role: '" + arn + "', owner: x":            {at + "owner" + digits},
		"role: '" + arn + "', external-id: a":      {at + "external-id must be 2 to 1224 of letters, digits and _+=,.@:/-"},
		"role: '" + arn + "', external-id: 'a b'":  {at + "external-id must be 2 to 1224 of letters, digits and _+=,.@:/-"},
		"role: '" + arn + "', external-id: 'env:'": {at + "external-id must name an environment variable after env:"},
		"role: '" + arn + "', profile: p":          {at + "role can't stand beside profile; the role is assumed with what the AWS SDK finds"},
		"role: '" + arn + "', access-key: env:A, secret-key: env:B":  {at + "role can't stand beside access-key; the role is assumed with what the AWS SDK finds"},
		"role: '" + arn + "', endpoint: 'https://store.example.org'": {at + "role can't stand beside an endpoint that is not AWS's, which knows no roles"},
	} {
		_, err := config.Parse("f", []byte("vault: /v\nsources:\n  s:\n    {kind: files, path: {s3: s3://bucket, "+text+"}}\n"), "/b")
		var wrong *config.Error
		var got []string
		if errors.As(err, &wrong) {
			for _, p := range wrong.Problems {
				got = append(got, strings.TrimPrefix(p.At(""), ":"))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
