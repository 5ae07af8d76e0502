package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killed is a place whose one backup was killed half-way.
func killed(t *testing.T) (*place, summary) {
	t.Helper()
	b := newBig(t)
	p, _, _ := b.disturb(t, b.typical(t)/2, func(p *place, cmd *exec.Cmd) {
		p.begun()
		_ = cmd.Process.Kill()
	})
	all := p.list()
	if len(all) != 1 || all[0].Status != "in progress" {
		t.Fatalf("%+v", all)
	}
	return p, all[0]
}

// TestKilledThenAnother: a backup that was asked for with other words is another one; the killed one is closed.
func TestKilledThenAnother(t *testing.T) {
	t.Parallel()
	heavy(t)
	p, lost := killed(t)
	p.run("backup", "photos", "--name", "another").exits(0)
	if count := p.statuses(); count["completed"] != 1 || count["failed"] != 1 {
		t.Errorf("backups: %v", count)
	}
	if shown := p.run("show", lost.ID).exits(0); !strings.Contains(shown.out, "interrupted") {
		t.Errorf("it shows %s", shown.out)
	}
	p.run("verify", lost.ID).complains(11, "no archive")
	p.run("delete", lost.ID, "-y").exits(0)
	p.good("latest")
	p.noUploads()
}

// TestKilledThenDeleted: a killed backup may be deleted, and a new one begins.
func TestKilledThenDeleted(t *testing.T) {
	t.Parallel()
	heavy(t)
	p, lost := killed(t)
	p.run("delete", lost.ID, "-y").exits(0)
	if all := p.list(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	p.run("backup", "photos").exits(0)
	if count := p.statuses(); count["completed"] != 1 || len(count) != 1 {
		t.Errorf("backups: %v", count)
	}
	p.good("latest")
	p.noUploads()
}

// TestTwoSources: backups of two sources share one S3 server, and the one that did not start it outlives its owner.
func TestTwoSources(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	works, release := *p.handler.Load(), make(chan struct{})
	arrived := make(chan struct{}, 10)
	p.answer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow/") {
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/slow")
			arrived <- struct{}{}
			<-release
		}
		works.ServeHTTP(w, r)
	}))
	p.config("sources:\n", fmt.Sprintf("sources:\n  second:\n    kind: zipline\n    url: %s/slow\n    token: file:./token\n    datasource: ./uploads\n", p.zipline.URL))
	owner := p.command("serve", "-q")
	owner.Stdout = nil
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = owner.Process.Kill() })
	for len(p.servers()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	second := p.command("backup", "second", "-q")
	var said strings.Builder
	second.Stderr = &said
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived // it has opened the vault, whose server belongs to the first
	p.run("backup", "photos", "-q").exits(0)
	_ = owner.Process.Kill()
	_ = owner.Wait()
	close(release)
	if err := second.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	for _, s := range p.list() {
		p.good(s.ID)
	}
}

// TestOddPlace: a folder with a space and an umlaut, named from elsewhere, through a symbolic link.
func TestOddPlace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("./vault", "./Bäckups & more/der Tresor")
	p.config("./uploads", "./up %41 loads")
	if err := os.Rename(p.path("uploads"), p.path("up %41 loads")); err != nil {
		t.Fatal(err)
	}
	p.make("elsewhere")
	if err := os.Symlink(p.dir, p.path("elsewhere/link")); err != nil {
		t.Fatal(err)
	}
	p.dir = p.path("elsewhere")
	config := filepath.Join("link", "lifeboat.yaml")
	p.run("-c", config, "backup", "photos", "-q").exits(0)
	p.run("-c", config, "verify", "latest", "-q").exits(0)
	p.run("-c", config, "restore", "latest", "-q", "--to", "dir:wieder da").exits(0)
	if n, err := sameFolders(p.path("../up %41 loads"), p.path("wieder da/uploads")); err != nil || n != 20 {
		t.Errorf("%d files: %v", n, err)
	}
}

// TestPipes: what goes to standard output is whole, also for robots.
func TestPipes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	for _, flags := range [][]string{nil, {"--json"}, {"-q"}} {
		r := p.run(append([]string{"download", "latest", "-o", "-"}, flags...)...).exits(0)
		p.write("piped.zip", r.out)
		p.run("verify", "piped.zip", "-q").exits(0)
	}
	got := p.run("get", "latest", "export.json", "--json").exits(0)
	if !json.Valid([]byte(got.out)) {
		t.Errorf("get export.json gives no JSON: %.200s", got.out)
	}
	for _, args := range [][]string{{"list"}, {"show", "latest"}, {"files", "latest"}, {"verify", "latest"}, {"link", "latest"}, {"unlink", "latest"}, {"delete", "latest", "--yes"}} {
		r := p.run(append(args, "--json")...).exits(0)
		if r.out == "" || r.err != "" {
			t.Errorf("%v says %q and %q", args, r.out, r.err)
		}
		for line := range strings.Lines(r.out) {
			var message struct {
				Type string `json:"message_type"`
			}
			if err := json.Unmarshal([]byte(line), &message); err != nil || message.Type == "" {
				t.Errorf("%v says %q: %v", args, line, err)
			}
		}
	}
}
