package deployment_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/deployment"
	"lifeboat/internal/failure"
)

// TestHeard: who is to hear of something, and would not.
func TestHeard(t *testing.T) {
	const unmailed, nobody = "no mail leaves", "nobody hears of a backup"
	notify := strings.Replace(base, "path: s3://example-papers}", "path: s3://example-papers, notify: {to: [me@example.com]}}", 1)
	into := strings.Replace(base, "path: s3://example-papers-new}", "path: s3://example-papers-new, notify: {to: [me@example.com]}}", 1)
	for name, c := range map[string]struct{ text, want string }{
		"nobody":              {base, nobody},
		"no mail":             {notify, unmailed + " " + nobody},
		"no mail of restores": {into + "deploy: {alarms: [ops@example.com]}\n", unmailed},
		"no mail, but alarms": {notify + "deploy: {alarms: [ops@example.com]}\n", unmailed},
		"mail by SES":         {notify + "deploy: {mail: {from: a@example.com}}\n", ""},
		"mail by a server":    {notify + "mail: {smtp: \"secretsmanager:smtp\", from: a@example.com}\n", ""},
		"mail to nobody":      {base + "deploy: {mail: {from: a@example.com}}\n", nobody},
		"alarms":              {base + "deploy: {alarms: [ops@example.com]}\n", ""},
		"a webhook":           {base + "deploy: {webhook: {url: ssm:/hook, key: ssm:/key}}\n", ""},
	} {
		o, err := parse(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all := strings.Join(o.Warnings, "\n")
		for _, text := range []string{unmailed, nobody} {
			if got, want := strings.Contains(all, text), strings.Contains(c.want, text); got != want {
				t.Errorf("%s: %q is said: %t, in:\n%s", name, text, got, all)
			}
		}
	}
}

// TestIdle: many sources without a schedule are one warning.
func TestIdle(t *testing.T) {
	var text strings.Builder
	text.WriteString("vault: ./v\nsources:\n")
	for i := range 30 {
		fmt.Fprintf(&text, "  s%02d: {kind: files, path: \"s3://b%02d\"}\n", i, i)
	}
	o, err := parse(t, text.String()+"deploy: {alarms: [a@example.com], sources: {s00: {cron: \"0 4 * * ? *\"}, s01: {overdue: 9d}}}\n")
	if err != nil {
		t.Fatal(err)
	}
	const want = "28 sources have no schedule: they are backed up only when somebody asks, and are never overdue: s02, s03, s04, s05, s06, s07, s08, s09, s10, s11 and 18 more"
	if len(o.Warnings) != 1 || o.Warnings[0] != want {
		t.Errorf("%q", o.Warnings)
	}
}

// TestTags: AWS takes them, and they are not the stack's own.
func TestTags(t *testing.T) {
	long := strings.Repeat("ü", 128)
	for tags, want := range map[string]string{
		`{team: "Research and development"}`: "", `{"cost:centre/1": "a=b+c-d@e_f."}`: "", `{Größe: "42 m"}`: "", `{a: ""}`: "", `{` + long + `: x}`: "",
		`{"lifeboat:stack": other}`:                  "which the stack sets itself",
		`{"Lifeboat:Stack": other}`:                  "which the stack sets itself",
		`{service: other}`:                           "which the stack sets itself",
		`{team: "R&D (ops)"}`:                        `"team" with a value that AWS does not take`,
		`{"R&D": x}`:                                 `"R&D", which AWS does not take`,
		`{"aws:x": y}`:                               `"aws:x", which AWS does not take`,
		`{` + long + `a: x}`:                         "which AWS does not take",
		`{a: "` + strings.Repeat("b", 257) + `"}`:    "with a value that AWS does not take",
		`{Team: a, team: b}`:                         `"team" twice`,
		`{` + strings.Join(numbered(49), ", ") + `}`: "holds 49, and AWS takes 48",
	} {
		_, err := parse(t, base+"deploy:\n  tags: "+tags+"\n")
		if want == "" && err != nil || want != "" && (failure.KindOf(err) != failure.Usage || !strings.Contains(err.Error(), "deploy.tags holds") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.80s: %v, want %q", tags, err, want)
		}
	}
}

func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("t%d: x", i))
	}
	return all
}

// TestAddresses: an issuer that functions reach, scopes that tokens can have, and links that lead to the stack.
func TestAddresses(t *testing.T) {
	api := func(more string) string { return base + "deploy: {api: {audience: [a], " + more + "}}\n" }
	serve := func(public string) string { return base + "serve: {public-url: \"" + public + "\"}\n" }
	for text, want := range map[string]string{
		api(`issuer: "https://login.example.com/"`):                                                 "",
		api(`issuer: "https://login.example.com/", scope-prefix: ""`):                               "",
		api(`issuer: "https://login.example.com/", scope-prefix: "api://x/"`):                       "",
		api(`issuer: "https://localhost/x"`):                                                        "deploy.api.issuer is at https://localhost/x: in a function of AWS that is the function itself",
		api(`issuer: "https://10.1.2.3"`):                                                           "deploy.api.issuer is at https://10.1.2.3: a private address",
		api(`issuer: "https://login.example.com", scope-prefix: 'bad scope"'`):                      "deploy.api.scope-prefix must be at most 57 characters",
		api(`issuer: "https://login.example.com", scope-prefix: "a\\b"`):                            "deploy.api.scope-prefix must be",
		api(`issuer: "https://login.example.com", scope-prefix: "größe:"`):                          "deploy.api.scope-prefix must be",
		api(`issuer: "https://login.example.com", scope-prefix: "` + strings.Repeat("a", 58) + `"`): "deploy.api.scope-prefix must be",
		serve("https://backup.example.com"):                                                         "",
		serve("https://notlocalhost.com"):                                                           "",
		base + "serve: {listen: \"127.0.0.1:8420\"}\n":                                              "",
		serve("https://127.0.0.1:8443"):                                                             "lifeboat.yaml:7: serve.public-url is https://127.0.0.1:8443",
		serve("http://localhost:8420"):                                                              "leave public-url out of the file that is deployed",
		serve("http://backup.example.com"):                                                          "by https only",
	} {
		_, err := parse(t, text)
		if want == "" && err != nil || want != "" && (failure.KindOf(err) != failure.Usage || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestLinksLead: what is printed says where the links of mails lead.
func TestLinksLead(t *testing.T) {
	for text, want := range map[string]string{
		base: "the links of mails lead to this API's own address",
		base + "serve: {public-url: \"https://backup.example.com\"}\n": "the links of mails lead to https://backup.example.com",
		base + "serve: {listen: \"127.0.0.1:8420\"}\n":                 "the links of mails lead to this API's own address",
	} {
		o, err := parse(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if who := o.Facts(time.Now()).APIs[0].Who; !strings.Contains(who, want) {
			t.Errorf("%s: %s", text, who)
		}
	}
}

// TestSummer: a run that a clock passes over is warned of, and the source is not overdue for it; where no run is lost,
// nothing is said.
func TestSummer(t *testing.T) {
	const day = 24 * time.Hour
	for entry, want := range map[string]struct {
		zone    string // of the clocks that are warned of
		overdue time.Duration
	}{
		`"30 0 * * ? *", zone: Africa/Cairo`:        {"Africa/Cairo", 47*time.Hour + 15*time.Minute + 47*time.Hour/6},
		`"30 0 * * ? *", zone: America/Santiago`:    {"America/Santiago", 47*time.Hour + 15*time.Minute + 47*time.Hour/6},
		`"15 02 * * ? *", zone: Europe/Zurich`:      {"Europe/Zurich", 47*time.Hour + 15*time.Minute + 47*time.Hour/6},
		`"30 1 * * ? *", zone: Europe/London`:       {"Europe/London", 47*time.Hour + 15*time.Minute + 47*time.Hour/6},
		`"30 2 ? * SUN *", zone: Europe/Zurich`:     {"Europe/Zurich", 14*day - time.Hour + 15*time.Minute + day},
		`"30 2 ? * MON-FRI *", zone: Europe/Zurich`: {"", 3*day + 15*time.Minute + 12*time.Hour},
		`"0 2,14 * * ? *", zone: Europe/Zurich`:     {"Europe/Zurich", 23*time.Hour + 15*time.Minute + 4*time.Hour},
		`"0 2 * * ? *", zone: Asia/Kolkata`:         {"", day + 4*time.Hour + 15*time.Minute},
		`"30 1 * * ? *", zone: Europe/Zurich`:       {"", day + 4*time.Hour + 15*time.Minute},
		`"0 * * * ? *", zone: Europe/Zurich`:        {"", 5*time.Hour + 15*time.Minute},
		`"0 2 * * ? *"`:                             {"", day + 4*time.Hour + 15*time.Minute},
		`"30 2 * * ? *", zone: Australia/Lord_Howe`: {"", day + 4*time.Hour + 15*time.Minute}, // by half an hour, from 2:00 to 2:30
		`"15 2 * * ? *", zone: Australia/Lord_Howe`: {"Australia/Lord_Howe", 2*day - 30*time.Minute + 15*time.Minute + (2*day-30*time.Minute)/6},
	} {
		o, err := parse(t, base+"deploy: {sources: {papers: {cron: "+entry+"}}}\n")
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		if got := o.Sources["papers"].Overdue; got != want.overdue {
			t.Errorf("%s: overdue after %s, want %s", entry, deployment.Length(got), deployment.Length(want.overdue))
		}
		all := strings.Join(o.Warnings, "\n")
		if warned := strings.Contains(all, "the clocks of "); warned != (want.zone != "") || !strings.Contains(all, want.zone) {
			t.Errorf("%s: %s", entry, all)
		}
	}
}
