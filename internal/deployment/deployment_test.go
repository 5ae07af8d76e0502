package deployment_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
	"lifeboat/internal/deployment"
	"lifeboat/internal/failure"
)

// base is a file that can be deployed; tests put a section behind it.
const base = `vault: ./var/vault
sources:
  photos: {kind: zipline, url: "https://zipline.example.com", token: secretsmanager:zipline, datasource: s3://example-photos}
  papers: {kind: files, path: s3://example-papers}
targets:
  papers-new: {kind: files, path: s3://example-papers-new}
`

func parse(t *testing.T, text string) (*deployment.Options, error) {
	t.Helper()
	return deployment.Parse("lifeboat.yaml", []byte(text), t.TempDir())
}

func TestParse(t *testing.T) {
	o, err := parse(t, base+`deploy:
  stack: nightly
  sources:
    photos: {cron: "0 4 * * ? *", zone: Europe/Zurich, window: 30m}
    papers: {cron: "30 4 ? * SUN *", overdue: 8d, kms-key: "arn:aws:kms:eu-central-1:123456789012:key/abc"}
  drills:
    weekly: {source: papers, target: papers-new, cron: "0 6 ? * SUN *", dry-run: true}
  immutability: 90d compliance
  mail: {from: Backups@Mail.Example.com, identity: example.com}
  api: {issuer: "https://login.example.com/", audience: [a, b], scope-prefix: lifeboat/}
  webhook: {url: ssm:/hook, key: secretsmanager:hook-key}
  reserved-concurrency: {copy: 40}
`)
	if err != nil {
		t.Fatal(err)
	}
	o.Config, o.ConfigText = nil, nil
	want := &deployment.Options{
		Stack: "nightly",
		Sources: map[string]deployment.Source{
			"photos": {When: deployment.When{Cron: "0 4 * * ? *", Zone: "Europe/Zurich", Window: 30 * time.Minute}, Overdue: 28*time.Hour + 30*time.Minute},
			"papers": {When: deployment.When{Cron: "30 4 ? * SUN *", Zone: "UTC", Window: 15 * time.Minute}, Overdue: 192 * time.Hour, Key: "arn:aws:kms:eu-central-1:123456789012:key/abc"},
		},
		Targets: map[string]deployment.Target{},
		Drills: map[string]deployment.Drill{"weekly": {
			When: deployment.When{Cron: "0 6 ? * SUN *", Zone: "UTC", Window: 15 * time.Minute}, Source: "papers", Target: "papers-new", DryRun: true,
		}},
		Lock:     &deployment.Lock{Days: 90, Compliance: true},
		Mail:     &deployment.Mail{From: "Backups@Mail.Example.com", Identity: "example.com"},
		API:      deployment.API{Issuer: "https://login.example.com/", Audience: []string{"a", "b"}, ScopePrefix: "lifeboat/"},
		Webhook:  &deployment.Webhook{URL: "ssm:/hook", Key: "secretsmanager:hook-key"},
		Reserved: map[string]int{"copy": 40},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDefaults: without the section there is a stack that backs up when asked.
func TestDefaults(t *testing.T) {
	o, err := parse(t, base)
	if err != nil {
		t.Fatal(err)
	}
	if o.Stack != "lifeboat" || o.Lock != nil || o.Mail != nil || len(o.Sources) != 0 || o.API.ScopePrefix != "backup:" {
		t.Errorf("%+v", o)
	}
	if len(o.Warnings) != 2 || !strings.Contains(o.Warnings[0], "2 sources have no schedule") || !strings.Contains(o.Warnings[1], "nobody hears") {
		t.Errorf("warnings: %q", o.Warnings)
	}
}

// TestRest: what the functions read is the file without the section, on the same lines, wherever the section stands.
func TestRest(t *testing.T) {
	const section = "deploy:\n  stack: here # not a source\n"
	for _, text := range []string{section + base, base + section, strings.Replace(base, "targets:", section+"targets:", 1)} {
		o, err := parse(t, text)
		if err != nil {
			t.Fatal(err)
		}
		rest := string(o.ConfigText)
		if strings.Contains(rest, "deploy") || strings.Contains(rest, "here") || strings.ReplaceAll(rest, "\n\n", "\n") == "" {
			t.Errorf("the rest is %q", rest)
		}
		if got, want := strings.Count(rest, "\n"), strings.Count(text, "\n"); got != want {
			t.Errorf("%d lines, want %d", got, want)
		}
		if o.Stack != "here" {
			t.Errorf("the stack is %s", o.Stack)
		}
	}
}

// TestRefused: what can't be deployed is refused by name, with what to do.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"a folder": {
			"vault: ./v\nsources:\n  notes: {kind: files, path: ./notes}\n",
			[]string{"the source notes has its files in the folder", "hint: keep its files in a bucket", "lifeboat backup notes"},
		},
		"a data folder": {
			"vault: ./v\nsources:\n  marks: {kind: linkding, data: /srv/linkding}\n",
			[]string{"the source marks has its files in the folder /srv/linkding"},
		},
		"loopback": {
			strings.Replace(base, "https://zipline.example.com", "http://127.0.0.1:3000", 1),
			[]string{"the source photos is at http://127.0.0.1:3000", "hint: name an address that the internet reaches"},
		},
		"both, at once": {
			strings.Replace(base, "https://zipline.example.com", "http://localhost:3000", 1) + "  local: {kind: files, path: /srv/restored}\n",
			[]string{"the source photos is at http://localhost:3000", "the target local has its files in the folder /srv/restored"},
		},
		"a secret of one machine": {
			strings.Replace(base, "secretsmanager:zipline", "env:ZIPLINE_TOKEN", 1),
			[]string{"the source photos: its token is env:ZIPLINE_TOKEN", "secretsmanager:NAME or ssm:NAME"},
		},
		"a wrong key":  {base + "deploy:\n  stak: x\n", []string{`lifeboat.yaml:8: deploy.stak is not a key that lifeboat knows; did you mean "stack"?`}},
		"a wrong form": {base + "deploy:\n  alarms: {a: b}\n", []string{"lifeboat.yaml:8: deploy.alarms must be a list, such as [one, two], not keys and values"}},
		"twice":        {base + "deploy: {}\n? deploy\n: {}\n", []string{"deploy"}},
		"flow":         {`{vault: ./v, deploy: {stack: x}}`, []string{"must be a section of its own"}},
		"all of it": {
			base + `deploy:
  stack: 1st
  sources:
    nobody: {cron: "0 4 * * ? *"}
    photos: {cron: "0 4 * * * *", zone: Mars/Olympus, window: 2d, kms-key: abc}
    papers: {cron: "0 4 1 * ? *", overdue: never}
  targets: {nowhere: {}}
  drills: {Weekly: {source: none, target: gone}}
  immutability: forever
  mail: {from: "Lifeboat <a@example.com>"}
  alarms: [ops]
  budget: -5
  api: {issuer: "http://login.example.com"}
  webhook: {url: "https://hook.example.com/secret", key: x}
  secret-keys: [abc]
  reserved-concurrency: {copy: 2, nobody: 5}
  permissions-boundary: boundary
  tags: {"aws:x": y}
`,
			[]string{
				"lifeboat.yaml:8: deploy.stack must begin with a letter", `lifeboat.yaml:10: deploy.sources.nobody names the source "nobody"`,
				"lifeboat.yaml:11: deploy.sources.photos.cron must have six fields", `no time zone "Mars/Olympus"`, "photos.window must be 1m to 24h",
				"sources.photos.kms-key must be the ARN", "lifeboat.yaml:12: deploy.sources.papers.overdue must be a number of hours or days, such as 29h, or off",
				`targets.nowhere names the target "nowhere"`, "drills.Weekly is no name", `drills.Weekly.source names the source "none"`,
				`drills.Weekly.target names the target "gone"`, "immutability must be like 30d governance", "mail.from must be an address",
				"alarms must be addresses", "budget must be whole US dollars", "api.issuer must be the https URL", "webhook.url must be secretsmanager:NAME",
				"secret-keys must be the ARN", "copy needs 40 at least", `names the function "nobody"`, "permissions-boundary must be the ARN", `tags holds "aws:x"`,
			},
		},
		"a budget that nobody hears of": {base + "deploy: {budget: 20}\n", []string{"needs 1 to 10 addresses in alarms"}},
		"a drill that checks against nothing": {
			base + "deploy: {drills: {d: {source: photos, cron: \"0 6 * * ? *\", dry-run: true}}}\n", []string{"drills.d needs a target for its dry-run"},
		},
		"an issuer without an audience": {base + "deploy: {api: {issuer: \"https://login.example.com\"}}\n", []string{"needs an audience"}},
		"somebody else's domain":        {base + "deploy: {mail: {from: a@example.com, identity: example.org}}\n", []string{"the domain that it belongs to"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, c.text)
			if failure.KindOf(err) != failure.Usage {
				t.Fatalf("%v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hook.example.com/secret") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// TestProblems: each problem has its line, what follows from another one is not said, and the rest of the file is checked
// at the same time.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // a problem a line
	}{
		"inside and outside": {
			strings.Replace(base, "sources:", "surces: {}\nsources:", 1) + "deploy:\n  budgte: 20\n  stack: 1st\n",
			`2: surces is not a key that lifeboat knows; did you mean "sources"?
9: deploy.budgte is not a key that lifeboat knows; did you mean "budget"?
10: deploy.stack must begin with a letter and be at most 51 letters, digits and -`,
		},
		"a slip in a schedule": {
			base + "deploy:\n  sources:\n    photos:\n      corn: \"0 4 * * ? *\"\n      zone: Europe/Zurich\n",
			`10: deploy.sources.photos.corn is not a key that lifeboat knows; did you mean "cron"?`,
		},
		"addresses of the wrong form": {
			base + "deploy:\n  budget: 20\n  alarms: {a: b}\n", `9: deploy.alarms must be a list, such as [one, two], not keys and values`,
		},
		"cents":            {base + "deploy:\n  alarms: ops@example.com\n  budget: 20.50\n", `9: deploy.budget must be a whole number, such as 20`},
		"twice":            {base + "deploy: {alarms: [ops@example.com, OPS@example.com]}\n", `7: deploy.alarms names OPS@example.com twice`},
		"text, not a list": {base + "deploy: {mail: {from: a@example.com, existing: perhaps}}\n", `7: deploy.mail.existing must be on or off (or true, false)`},
		"no such day":      {base + schedule("0 4 31 FEB ? *"), `10: deploy.sources.papers.cron never runs: no day from now on is one of "0 4 31 FEB ? *"`},
		"a year that is over": {
			base + schedule("0 4 * * ? 2020"), `10: deploy.sources.papers.cron never runs: no day from now on is one of "0 4 * * ? 2020"`,
		},
		"rate": {base + schedule("rate(1 day)"), `10: deploy.sources.papers.cron must be a cron expression, not rate( ): "0 0/6 * * ? *" is every six hours, "0 4 * * ? *" every day at 4 o'clock`},
		"cron( )": {
			base + schedule("cron(0 4 * * ? *)"), `10: deploy.sources.papers.cron must be the six fields alone, without cron( ): "0 4 * * ? *"`,
		},
		"over a weekend": {
			base + schedule("0 4 ? * FRI-MON *"), `10: deploy.sources.papers.cron is wrong: "FRI-MON" is no day of the week of EventBridge: 1 to 7, with , - * and /`,
		},
		"a drill into the source": {
			strings.Replace(base, "s3://example-papers-new", "s3://example-papers", 1) + drill("target: papers-new"),
			`8: deploy.drills.d.target is papers-new, which has the same files as the source papers: each drill would write into what is backed up. ` +
				`Name a target that is there for drills only, or none, for a throw-away place in the vault`,
		},
		"a drill beside the source": {
			strings.Replace(base, "s3://example-papers-new", "s3://example-papers/new", 1) + drill("target: papers-new"),
			`8: deploy.drills.d.target is papers-new, which has files that lie in those of the other as the source papers: each drill would write into what is backed up. ` +
				`Name a target that is there for drills only, or none, for a throw-away place in the vault`,
		},
		"a drill of nothing": {base + "deploy: {drills: {d: {cron: \"0 6 * * ? *\"}}}\n", `7: deploy.drills.d needs a source, whose newest backup it restores`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, c.text)
			wrong, ok := errors.AsType[*config.Error](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			var got []string
			for _, p := range wrong.Problems {
				got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Message))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func schedule(cron string) string {
	return "deploy:\n  sources:\n    papers:\n      cron: \"" + cron + "\"\n"
}

func drill(more string) string {
	return "deploy:\n  drills: {d: {source: papers, cron: \"0 6 * * ? *\", " + more + "}}\n"
}

// TestOverdue: where nobody says after how long a source is overdue, it follows from its schedule.
func TestOverdue(t *testing.T) {
	const day = 24 * time.Hour
	for entry, want := range map[string]time.Duration{
		`cron: "0 4 * * ? *"`:                                      day + 4*time.Hour + 15*time.Minute,
		`cron: "0 4 * * ? *", window: 2h`:                          day + 6*time.Hour,
		`cron: "0 4 * * ? *", zone: Europe/Zurich`:                 day + 4*time.Hour + 15*time.Minute, // of 25 hours in autumn one is in the four
		`cron: "0 * * * ? *"`:                                      5*time.Hour + 15*time.Minute,
		`cron: "0/15 * * * ? *"`:                                   4*time.Hour + 30*time.Minute,
		`cron: "0 8-20/4 * * ? *"`:                                 16*time.Hour + 15*time.Minute, // from 20 to 8 o'clock
		`cron: "30 4 ? * SUN *"`:                                   8*day + 15*time.Minute,
		`cron: "0 4 ? * MON-FRI *"`:                                3*day + 12*time.Hour + 15*time.Minute,
		`cron: "0 4 1 * ? *"`:                                      32*day + 15*time.Minute,
		`cron: "0/5 * ? JAN MON *"`:                                343*day + 20*time.Minute, // the last Monday of one January to the first of another
		`cron: "30 4 ? * SUN *", overdue: 9d`:                      9 * day,
		`cron: "30 4 ? * SUN *", overdue: off`:                     0,
		`cron: "30 4 ? * SUN *", overdue: "off"`:                   0,
		`overdue: 9d`:                                              9 * day,
		`kms-key: "arn:aws:kms:eu-central-1:123456789012:key/abc"`: 0,
	} {
		o, err := parse(t, base+"deploy: {sources: {papers: {"+entry+"}}}\n")
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		if got := o.Sources["papers"].Overdue; got != want {
			t.Errorf("%s: overdue after %s, want %s", entry, got, want)
		}
		watched, said := false, false
		for _, s := range o.Facts(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)).Schedules {
			watched = watched || strings.Contains(s.Says, "a good backup of the last "+deployment.Length(want).String())
			said = said || strings.Contains(s.Says, "papers, which is never overdue")
		}
		if watched != (want > 0) || said != (want == 0 && strings.Contains(entry, "cron")) {
			t.Errorf("%s: watched %t, said to be never overdue %t", entry, watched, said)
		}
	}
}

// TestWarnings: what is odd, and may yet be meant.
func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"shorter than the gap":   {"deploy: {sources: {papers: {cron: \"0 4 ? * MON-FRI *\", overdue: 2d}}}", "up to 72h15m may lie between two backups that are on time"},
		"once":                   {"deploy: {sources: {papers: {cron: \"0 4 1 1 ? 2027\"}}}", "runs once only: it is never overdue"},
		"for ever":               {"deploy: {immutability: 4000d compliance}", "for 4000 days, 10 years, nobody can delete"},
		"not for drills":         {drill("target: papers-new"), "such as papers-new-drill"},
		"an hour that is no one": {"deploy: {sources: {papers: {cron: \"0 2 * * ? *\", zone: Europe/Zurich}}}", "the clocks of Europe/Zurich pass over a time of this schedule"},
		"no schedule":            {"deploy: {}", "2 sources have no schedule: they are backed up only when somebody asks, and are never overdue: photos, papers"},
		"one without a schedule": {"deploy: {sources: {papers: {cron: \"0 4 * * ? *\"}}}", "the source photos has no schedule"},
		"nobody is told":         {"deploy: {}", "nobody hears of a backup that fails"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(t, base+c.text+"\n")
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(o.Warnings, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("%q is missing in: %s", c.want, all)
			}
		})
	}
	for _, quiet := range []string{
		"deploy: {immutability: 4000d governance}", drill("target: papers-new, dry-run: true"), drill("dry-run: false"),
		"deploy: {sources: {papers: {cron: \"0 4 ? * MON-FRI *\", overdue: 4d}}}",
	} {
		o, err := parse(t, base+quiet+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(o.Warnings, "\n"); strings.Contains(all, "deploy.") || strings.Contains(all, "immutability") {
			t.Errorf("%s: %s", quiet, all)
		}
	}
	o, err := parse(t, strings.Replace(base, "https://zipline", "http://zipline", 1))
	if err != nil || !strings.Contains(strings.Join(o.Warnings, "\n"), "unencrypted") {
		t.Errorf("plain http with a token: %v, %v", o, err)
	}
}

// TestOutputs: what is listed has the names that the stack gives it.
func TestOutputs(t *testing.T) {
	o, err := parse(t, strings.Replace(base, "path: s3://example-papers-new", "path: {s3: s3://theirs, role: \"arn:aws:iam::111122223333:role/r\"}", 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"FetchCommand": true, "SourcePhotosPolicyCommand": true, "SourcePapersPolicyCommand": true, "APICommand": false,
		"Target" + deployment.ID("papers-new") + "TrustPolicyCommand": true, "Target" + deployment.ID("papers-new") + "PolicyCommand": false,
	} {
		if _, listed := o.Output(name); listed != want {
			t.Errorf("%s is listed: %v", name, listed)
		}
	}
}

// TestCheck: of a file without the section nothing is said.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	local := "vault: ./v\nsources:\n  notes: {kind: files, path: ./notes}\n"
	for text, good := range map[string]bool{local: true, local + "deploy: {}\n": false, base + "deploy: {}\n": true} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := deployment.Check(path); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	if _, err := deployment.Load(path); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := deployment.Load(path); err != nil {
		t.Error(err)
	}
}

// TestExample: the example of the documents is taken as it is, and so is the section that `lifeboat init` writes.
func TestExample(t *testing.T) {
	o, err := deployment.Load("../../docs/examples/zipline-aws.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := o.Facts(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	if len(f.Schedules) != 3 || f.Schedules[0].When != "every day at 04:00" || f.Schedules[2].Says == "" || f.Budget != 20 || len(o.Warnings) > 0 {
		t.Errorf("%+v, warnings %q", f.Schedules, o.Warnings)
	}
	_, section, found := strings.Cut(config.Template, "# deploy:\n")
	if !found {
		t.Fatal("the template has no section deploy")
	}
	if o, err = parse(t, base+"deploy:\n"+uncommented.ReplaceAllString(section, "")); err == nil && o.Budget != 20 || err != nil {
		t.Errorf("the template's section: %v", err)
	}
}

var uncommented = regexp.MustCompile(`(?m)^# `)

var yamlName = regexp.MustCompile(`yaml:"([a-z-]+)"`)

// TestReadme: every key is in the table that messages refer to.
func TestReadme(t *testing.T) {
	source, err := os.ReadFile("read.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../infra/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := yamlName.FindAllStringSubmatch(string(source), -1)
	if len(names) < 20 {
		t.Errorf("only %d keys were found", len(names))
	}
	for _, m := range names {
		if !regexp.MustCompile(`[` + "`" + `{ ]` + m[1] + `[` + "`" + `:},]`).Match(readme) {
			t.Errorf("README.md does not have the key %s", m[1])
		}
	}
}
