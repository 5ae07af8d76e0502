package cli

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"lifeboat/internal/app/zipline/standin"
)

// target adds an empty Zipline to the place's configuration: the target photos-new, with its files in new/.
func (p *place) target(admin string) *standin.Server {
	p.Helper()
	if err := os.MkdirAll(p.path("new"), 0o755); err != nil {
		p.Fatal(err)
	}
	server := standin.New(standin.Options{Admin: admin, Datasource: p.path("new"), NoRateLimits: true, Storage: standin.Storage{Total: 1 << 40, Available: 1 << 40}})
	listening := httptest.NewServer(server)
	p.Cleanup(listening.Close)
	config := string(p.read("lifeboat.yaml"))
	p.write("lifeboat.yaml", config+"targets:\n  photos-new: {kind: zipline, url: "+listening.URL+", token: file:./token, datasource: ./new}\n")
	return server
}

// TestReplay: a backup comes into an empty Zipline as a whole, and a second run does nothing.
func TestReplay(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.target("nora")
	p.backup(0)
	r := p.run("restore", "latest", "--to", "photos-new", "--dry-run")
	t.Log(r.out, r.err)
	if files, err := os.ReadDir(p.path("new")); err != nil || len(files) > 0 {
		t.Error(files, err)
	}
	r = p.run("restore", "latest", "--to", "photos-new")
	t.Log(r.out, r.err)
	if r = r.exits(0); !strings.Contains(r.out, "files") {
		t.Error(r.out)
	}
	r = p.run("restore", "latest", "--to", "photos-new").exits(0)
	t.Log(r.out, r.err)
	t.Log(p.run("restores").exits(0).out)
	t.Log(p.run("drill", "photos").out)
	t.Log(p.run("migrate", "photos", "photos-new").out)
}
