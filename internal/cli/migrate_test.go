package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/app/zipline/standin"
)

func (r result) migrated() migrateMessage {
	r.Helper()
	var m migrateMessage
	r.last(&m)
	if m.Type != "migrate" {
		r.Errorf("the last line is of %q:\n%s", m.Type, r.out)
	}
	return m
}

// TestMigrate: one command backs up, restores and compares.
func TestMigrate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	g := p.goal("fresh", empty("nora"))
	r := p.inside("migrate", "photos", "fresh", "--json", "-q").exits(0)
	m := r.migrated()
	if !m.Complete || m.Problems != 0 || m.Source != "photos" || m.Target != "fresh" || m.Backup == "" || m.Restore == "" {
		t.Errorf("%+v", m)
	}
	if got := strings.Join(keysOf(t, []byte(r.out[strings.LastIndex(strings.TrimSpace(r.out), "\n")+1:])), " "); got != "message_type backup restore source target complete problems seconds" {
		t.Errorf("fields: %s", got)
	}
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), renamedSample(g.rows(t).tables("nobody")), "users")

	// What has come over is not brought in twice: the target has the users now.
	raw := g.raw(t)
	p.inside("migrate", "photos", "fresh", "-q").complains(11, "pavel")
	if g.raw(t) != raw {
		t.Error("the second migration changed the target")
	}

	p.addTarget("docs-new: {kind: files, path: ./docs-new}")
	p.inside("migrate", "photos", "docs-new", "-q").complains(2, "photos is of kind zipline and docs-new of kind files")
	p.inside("migrate", "photos", "nowhere", "-q").complains(10, "nowhere")
	p.inside("migrate", "nothing", "fresh", "-q").complains(10, "nothing")
	p.inside("migrate", "photos", "-q").complains(2)
}

// TestMigrateReal: the administrator of the target has another name, so that a folder can't get its name back: exit
// code 3, with the one line.
func TestMigrateReal(t *testing.T) {
	t.Parallel()
	folder, p := fixture(t)
	_, done := p.client()
	t.Cleanup(done)
	p.goal("other", empty("admin"))
	m := p.inside("migrate", "photos", "other", "--json", "-q").exits(3).migrated()
	if m.Complete || m.Problems != 1 {
		t.Errorf("%+v", m)
	}
	g := p.goal("fresh", empty("mara"))
	if m := p.inside("migrate", "photos", "fresh", "--json", "-q").exits(0).migrated(); !m.Complete {
		t.Errorf("%+v", m)
	}
	p.isReal(g, folder)
}

// TestMigrateInterrupted: the same command goes on with the backup that it has made.
func TestMigrateInterrupted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	g := p.goal("fresh", empty("nora"))
	var broken atomic.Bool
	g.faulty(func(_ int, r *http.Request) standin.Fault {
		switch {
		case broken.Load():
			return standin.Fault{Status: http.StatusBadGateway}
		case r.Method == http.MethodPost:
			broken.Store(true)
			return standin.Fault{Cut: standin.CutInside, Rows: 12}
		}
		return standin.Fault{}
	})
	first := p.inside("migrate", "photos", "fresh", "-q").complains(15, "is complete, its restore into fresh is not")
	g.faulty(nil)
	again := p.inside("migrate", "photos", "fresh", "-q").exits(0)
	if !strings.Contains(again.out, "going on with backup") {
		t.Errorf("%s%s", first.out, again.out)
	}
	if all := p.inside("list", "--json").exits(0); strings.Count(all.out, "\n") != 1 {
		t.Errorf("backups:\n%s", all.out)
	}
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), renamedSample(g.rows(t).tables("nobody")), "users")
}

// TestMigrateRefused: what was refused before anything was written is begun anew, with a backup of today.
func TestMigrateRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	database := standin.NewDatabase("nora", standin.SuperAdminToken)
	database.AddUser("pavel", "USER", "another-token")
	g := p.goal("fresh", standin.Options{Database: database, NoRateLimits: true})
	p.inside("migrate", "photos", "fresh", "-q").complains(11, "pavel", "is complete, its restore into fresh is not")
	g.untouched(t)
	if r := p.inside("migrate", "photos", "fresh", "--rename", "-q").exits(0); strings.Contains(r.out, "going on with backup") {
		t.Error(r.out)
	}
	if all := p.inside("list", "--json").exits(0); strings.Count(all.out, "\n") != 2 {
		t.Errorf("backups:\n%s", all.out)
	}
}

// TestRestores lists restores, shows one, and follows one that is under way, on whose target no other may work.
func TestRestores(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	if r := p.inside("restores").exits(0); !strings.Contains(r.out, "nothing was restored from this vault yet") {
		t.Error(r.out)
	}
	g := p.goal("fresh", empty("nora"))
	p.inside("restore", "latest", "--to", "fresh", "--dry-run", "-q").exits(0)
	reached, release := make(chan struct{}), make(chan struct{})
	g.faulty(func(_ int, r *http.Request) standin.Fault {
		if r.Method == http.MethodPost {
			select {
			case <-release:
			default:
				close(reached)
				<-release
			}
		}
		return standin.Fault{}
	})
	working := p.command("restore", "latest", "--to", "fresh", "-q")
	if err := working.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	m := p.underWay()
	busy := fmt.Sprintf("another restore works on this target: %s of %s since %s (%s pid %d)", m.ID, starter().Who, m.Started.Format(time.RFC3339), machineName(), working.Process.Pid)
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(11, busy, "`lifeboat restores "+string(m.ID)+"` says how far it is")
	p.inside("restore", "latest", "--to", "fresh", "--as", "pavel", "-q").complains(11, busy)
	followed := make(chan string)
	go func() {
		out, _ := p.command("restores", string(m.ID), "--follow").CombinedOutput()
		followed <- string(out)
	}()
	close(release)
	if err := working.Wait(); err != nil {
		t.Fatal(err)
	}
	out := <-followed
	for _, want := range []string{"  check ", "  put ", "  replay ", "  confirm ", string(m.ID) + ": completed"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	list := p.inside("restores").exits(0)
	if lines := strings.Split(strings.TrimSpace(list.out), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "completed") || !strings.Contains(lines[1], "dry run") {
		t.Error(list.out)
	}
	shown := p.inside("restores", string(m.ID)).exits(0)
	for _, want := range []string{"completed, attempt 1", "check   full, authenticated", "files: 18 written", "found on the target:", "note: merge: nora"} {
		if !strings.Contains(shown.out, want) {
			t.Errorf("no %q in\n%s", want, shown.out)
		}
	}
	p.inside("restores", "r0123456789abcdef0123").complains(10, "there is no restore r0123456789abcdef0123")
	p.inside("restores", "yesterday").complains(2)
	p.inside("restores", "--follow").complains(2, "--follow needs the id")
}

// underWay returns the restore that is in progress.
func (p *place) underWay() restoreMessage {
	p.Helper()
	for line := range strings.Lines(p.inside("restores", "--json").exits(0).out) {
		if m := (result{T: p.T, out: line}).restored(); m.Status == "in progress" {
			return m
		}
	}
	p.Fatal("no restore is under way")
	return restoreMessage{}
}

// TestRestoreStopped: Ctrl-C ends a restore in order: canceled, the target free, nothing held; the same command
// completes it.
func TestRestoreStopped(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	left := p.noTrace()
	p.backed()
	g := p.goal("fresh", empty("nora"))
	victim := p.victim("restore", "latest", "--to", "fresh", "-q")
	var stop sync.Once
	g.faulty(func(_ int, r *http.Request) standin.Fault {
		if r.Method == http.MethodPatch {
			stop.Do(func() { victim.signal(os.Interrupt) })
		}
		return standin.Fault{}
	})
	said := victim.run(t)
	result{T: t, args: []string{"restore"}, code: victim.cmd.ProcessState.ExitCode(), err: said}.complains(130, "the restore is not complete")
	var m restoreMessage
	p.inside("restores", "--json").exits(0).last(&m)
	if m.Status != "canceled" || m.Failure == nil {
		t.Errorf("%+v", m)
	}
	if leases, _ := filepath.Glob(p.path("vault/buckets/vault/catalog/leases/*")); len(leases) > 0 || len(left()) > 0 {
		t.Errorf("left: %v %v", leases, left())
	}
	p.inside("restore", "latest", "--to", "fresh", "-q").exits(0)
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), renamedSample(g.rows(t).tables("nobody")), "users")
}
