package deployment_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
			"photos": {When: deployment.When{Cron: "0 4 * * ? *", Zone: "Europe/Zurich", Window: 30 * time.Minute}, Overdue: 26 * time.Hour},
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
	if len(o.Warnings) != 2 || !strings.Contains(o.Warnings[0], "photos has no schedule") {
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
			[]string{"the source photos is at http://127.0.0.1:3000", "hint: name an address that AWS reaches"},
		},
		"both, at once": {
			strings.Replace(base, "https://zipline.example.com", "http://localhost:3000", 1) + "  local: {kind: files, path: /srv/restored}\n",
			[]string{"the source photos is at http://localhost:3000", "the target local has its files in the folder /srv/restored"},
		},
		"a secret of one machine": {
			strings.Replace(base, "secretsmanager:zipline", "env:ZIPLINE_TOKEN", 1),
			[]string{"the source photos: its token is env:ZIPLINE_TOKEN", "secretsmanager:NAME or ssm:NAME"},
		},
		"a wrong key":  {base + "deploy:\n  stak: x\n", []string{`line 8: deploy has no key "stak"`}},
		"a wrong form": {base + "deploy:\n  alarms: {a: b}\n", []string{"line 8: of deploy is not of the form"}},
		"twice":        {base + "deploy: {}\n? deploy\n: {}\n", []string{"deploy"}},
		"flow":         {`{vault: ./v, deploy: {stack: x}}`, []string{"must be a section of its own"}},
		"all of it": {
			base + `deploy:
  stack: 1st
  sources:
    nobody: {cron: "0 4 * * ? *"}
    photos: {cron: "0 4 * * * *", zone: Mars/Olympus, window: 2d, kms-key: abc}
    papers: {cron: "0 4 1 * ? *"}
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
				"stack: must begin with a letter", `sources: there is no source "nobody"`, "sources: photos: cron has six fields",
				`there is no time zone "Mars/Olympus"`, "window must be 1m to 24h", "sources: photos: kms-key must be the ARN",
				"sources: papers: does not run every day", `targets: there is no target "nowhere"`, "drills: Weekly: is no name",
				`there is no source "none"`, `there is no target "gone"`, "drills: Weekly: has no cron", "immutability: must be like 30d governance",
				"mail: from must be an address", "alarms: must be addresses", "budget: must be whole US dollars", "api: issuer must be the https URL", "webhook: url must be secretsmanager:NAME",
				"secret-keys: kms-key must be the ARN", "copy needs 40 at least", `there is no function "nobody"`, "permissions-boundary: must be the ARN",
				`tags: "aws:x"`,
			},
		},
		"a budget that nobody hears of": {base + "deploy: {budget: 20}\n", []string{"needs 1 to 10 addresses in alarms"}},
		"a drill that checks against nothing": {
			base + "deploy: {drills: {d: {source: photos, cron: \"0 6 * * ? *\", dry-run: true}}}\n", []string{"d: dry-run needs a target"},
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
