package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
)

const full = `
vault: {s3: s3://my-vault, endpoint: "http://127.0.0.1:9000/", region: eu-central-1, access-key: env:KEY, secret-key: file:secret}
state-dir: ../state
sources:
  photos:
    kind: zipline
    url: http://127.0.0.1:3000/
    token: env:ZIPLINE_TOKEN
    datasource: ./uploads
    metrics: false
    config-files: [docker-compose.yml, .env]
    notify: {to: [ops@example.com], on: change}
    link: {code: off}
  a-2:
    kind: zipline
    url: https://files.example.com/zip
    token: file:/run/secrets/token
    datasource: {s3: s3://bucket/some/prefix/, profile: backup}
targets:
  photos-new: {kind: zipline, url: "http://127.0.0.1:3001", token: ssm:/zipline, datasource: /uploads, notify: {to: [ops@example.com], on: problem}}
  links: {kind: linkding, data: ./linkding}
  papers: {kind: files, path: {s3: s3://papers/new, endpoint: http://127.0.0.1:9000}}
fetch: {allow: [nas.lan, "10.0.0.5:9000", "http://[fd00::1]:8080"], max-size: 2TiB, timeout: 90m}
serve: {listen: "[::1]:8420", public-url: https://backup.example.com/}
mail: {from: lifeboat@example.com, smtp: smtp://127.0.0.1:1025}
`

func TestParse(t *testing.T) {
	got, err := config.Parse("lifeboat.yaml", []byte(full), "/etc/lifeboat")
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		File: "lifeboat.yaml",
		Base: "/etc/lifeboat",
		Vault: config.Location{Bucket: &config.Bucket{
			Name: "my-vault", Endpoint: "http://127.0.0.1:9000", Region: "eu-central-1",
			AccessKey: "env:KEY", SecretKey: "file:/etc/lifeboat/secret",
		}},
		StateDir: "/etc/state",
		Sources: []config.Source{{
			Name: "photos",
			Instance: config.Instance{
				Kind: "zipline", URL: "http://127.0.0.1:3000", Token: "env:ZIPLINE_TOKEN",
				Datasource: config.Location{Folder: "/etc/lifeboat/uploads"},
			},
			ConfigFiles: []string{"/etc/lifeboat/docker-compose.yml", "/etc/lifeboat/.env"},
			Notify:      config.Notify{To: []string{"ops@example.com"}, On: config.OnChange},
			Prefer:      "cost",
		}, {
			Name: "a-2",
			Instance: config.Instance{
				Kind: "zipline", URL: "https://files.example.com/zip", Token: "file:/run/secrets/token",
				Datasource: config.Location{Bucket: &config.Bucket{Name: "bucket", Prefix: "some/prefix", Profile: "backup"}},
			},
			Metrics: true,
			Notify:  config.Notify{On: config.OnAlways},
			Link:    config.Link{Code: true}, Prefer: "cost",
		}},
		Targets: []config.Target{{Name: "photos-new", Instance: config.Instance{
			Kind: "zipline", URL: "http://127.0.0.1:3001", Token: "ssm:/zipline",
			Datasource: config.Location{Folder: "/uploads"},
		}, Notify: config.Notify{To: []string{"ops@example.com"}, On: config.OnProblem}}, {
			Name: "links", Notify: config.Notify{On: config.OnAlways},
			Instance: config.Instance{Kind: "linkding", Datasource: config.Location{Folder: "/etc/lifeboat/linkding"}},
		}, {
			Name: "papers", Notify: config.Notify{On: config.OnAlways},
			Instance: config.Instance{Kind: "files", Datasource: config.Location{
				Bucket: &config.Bucket{Name: "papers", Prefix: "new", Endpoint: "http://127.0.0.1:9000"},
			}},
		}},
		Fetch: config.Fetch{
			Allow: []string{"nas.lan", "10.0.0.5:9000", "http://[fd00::1]:8080"}, MaxSize: 2 << 40, Timeout: 90 * time.Minute,
		},
		Serve: config.Serve{Listen: "[::1]:8420", PublicURL: "https://backup.example.com"},
		Mail:  &config.Mail{From: "lifeboat@example.com", SMTP: "smtp://127.0.0.1:1025"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	for text, want := range map[string]config.Config{
		"vault: var/vault": {
			Vault: config.Location{Folder: "/b/var/vault"}, StateDir: "/b/var/state", Serve: config.Serve{Listen: config.DefaultListen},
		},
		"vault: {s3: s3://remote}\nsources:\nserve:": {
			Vault: config.Location{Bucket: &config.Bucket{Name: "remote"}}, StateDir: "/b/var/state",
			Serve: config.Serve{Listen: config.DefaultListen},
		},
		"vault: /v\nserve: {listen: 'localhost:80'}": {
			Vault: config.Location{Folder: "/v"}, StateDir: "/state",
			Serve: config.Serve{Listen: "localhost:80", PublicURL: "http://localhost:80"},
		},
		"vault: /v\nserve: {listen: ':80'}": {
			Vault: config.Location{Folder: "/v"}, StateDir: "/state", Serve: config.Serve{Listen: ":80"},
		},
	} {
		want.File, want.Base = "f", "/b"
		want.Fetch = config.Fetch{MaxSize: 500 << 30, Timeout: 6 * time.Hour}
		got, err := config.Parse("f", []byte(text), "/b")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestLoad(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, config.FileName)
	if err := os.WriteFile(path, []byte(config.Template), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(folder, "var", "vault"); c.Vault.Folder != want {
		t.Errorf("the vault is %s, want %s", c.Vault, want)
	}
	for _, path := range []string{filepath.Join(folder, "none.yaml"), folder} {
		_, err := config.Load(path)
		if failure.KindOf(err) != failure.Usage || !strings.Contains(err.Error(), path) {
			t.Errorf("Load(%s) = %v, want a Usage error", path, err)
		}
	}
	_, err = config.Load(filepath.Join(folder, "none.yaml"))
	if !strings.HasPrefix(err.Error(), "no configuration at ") || !strings.Contains(failure.HintOf(err), "`lifeboat init`") {
		t.Errorf("%v (hint: %s)", err, failure.HintOf(err))
	}
}

func TestTemplate(t *testing.T) {
	c, err := config.Parse("template", []byte(config.Template), "/b")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sources) != 1 || len(c.Warnings) != 0 {
		t.Errorf("sources %v, warnings %v", c.Sources, c.Warnings)
	}
}

// TestTemplateExamples holds the commented lines of the template to the same standard.
func TestTemplateExamples(t *testing.T) {
	example := regexp.MustCompile(`^( *)# ( *[a-z0-9-]+:( [^ ].*)?)$`)
	var lines []string
	for line := range strings.Lines(config.Template) {
		line = strings.TrimSuffix(line, "\n")
		if match := example.FindStringSubmatch(line); match != nil {
			key, _, _ := strings.Cut(match[2], ":")
			line = match[1] + match[2]
			if last := len(lines) - 1; strings.HasPrefix(lines[last], match[1]+key+":") {
				lines = lines[:last] // the example is the line's alternative
			}
		}
		if !strings.HasPrefix(line, "vault: ./") {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "\n")
	c, err := config.Parse("template", []byte(text), "/b")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !c.Vault.Remote() || !c.Sources[0].Datasource.Remote() || len(c.Targets) != 3 || c.Mail == nil || len(c.Fetch.Allow) != 2 || len(c.Targets[0].Notify.To) != 1 ||
		len(c.Sources[0].Notify.To) != 1 || len(c.Sources[0].ConfigFiles) != 2 || c.Serve.PublicURL == "" || len(c.Warnings) != 0 {
		t.Errorf("an example of the template has no effect: %+v", c)
	}
}

func TestLookup(t *testing.T) {
	c, err := config.Parse("lifeboat.yaml", []byte(full), "/b")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Source("photos"); err != nil || s.Name != "photos" {
		t.Errorf("Source = %v, %v", s, err)
	}
	if s, err := c.Target("photos-new"); err != nil || s.Name != "photos-new" {
		t.Errorf("Target = %v, %v", s, err)
	}
	_, err = c.Source("fotos")
	if failure.KindOf(err) != failure.NotFound {
		t.Errorf("Source(fotos) = %v", err)
	}
	if got, want := err.Error(), `lifeboat.yaml has no source "fotos"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := failure.HintOf(err), `did you mean "photos"? the sources are photos and a-2`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = (&config.Config{File: "lifeboat.yaml"}).Target("x")
	if got, want := failure.HintOf(err), "add one under targets: in lifeboat.yaml"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProblemsComeAtOnce(t *testing.T) {
	_, err := config.Parse("lifeboat.yaml", []byte(strings.Join([]string{
		"vualt: ./v",
		"sources:",
		"  photos:",
		"    kind: ziplin",
		"    url: ftp://x",
		"    token: 'env:'",
	}, "\n")), "/b")
	e, ok := errors.AsType[*config.Error](err)
	if !ok || failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Fatalf("Parse = %v", err)
	}
	want := `lifeboat.yaml:1: vualt is not a key that lifeboat knows; did you mean "vault"?
lifeboat.yaml:1: vault is missing
lifeboat.yaml:3: sources.photos.datasource is missing
lifeboat.yaml:4: sources.photos.kind is "ziplin", which lifeboat does not know; did you mean "zipline"? known: zipline, linkding and files
lifeboat.yaml:5: sources.photos.url must start with http:// or https://
lifeboat.yaml:6: sources.photos.token must name an environment variable after env:`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(e.Problems) != 6 || e.Problems[0].Line != 1 {
		t.Errorf("problems: %v", e.Problems)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(config.Template))
	f.Add([]byte("a: &a {b: *a}\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data, "/b")
		if (c == nil) == (err == nil) || err != nil && failure.KindOf(err) != failure.Usage {
			t.Errorf("Parse = %v, %v", c, err)
		}
		if e, ok := errors.AsType[*config.Error](err); ok {
			for _, p := range e.Problems {
				if p.Line < 1 || p.Message == "" {
					t.Errorf("problem %+v", p)
				}
			}
		}
	})
}
