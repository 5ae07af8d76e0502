package replay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/replay"
	"lifeboat/internal/vault"
)

// remote has a world's restores run as they do in functions: no folder, and drills in the vault.
func (w *world) remote() {
	w.setup.Drills = w.Vault
	w.limits = func(s *replay.Steps) { s.Local = false }
}

// record returns the record of the first backup.
func (w *world) record() catalog.Record {
	w.Helper()
	r, err := catalog.New(w.Vault).Record(w.Context(), "photos", firstRun)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// thrown returns what drills have written, by the names without their prefix.
func (w *world) thrown() map[string]string {
	w.Helper()
	all := map[string]string{}
	for key, text := range contents(w, w.Vault) {
		if rest, ok := strings.CutPrefix(key, "drills/"); ok {
			_, name, _ := strings.Cut(rest, "/")
			all[name] = text
		}
	}
	return all
}

func TestDrillInVault(t *testing.T) {
	objects := files()
	objects["large.bin"] = strings.Repeat("0123456789abcdef", 9<<20/16) // the store copies it
	w := newWorld(t, objects)
	if err := w.Delete(t.Context(), vault.Archive("photos", firstRun)); err != nil { // the tests read whole vaults
		t.Fatal(err)
	}
	w.remote()
	r := to(w.toApp(), events.To{Drill: true})
	var there map[string]string
	w.step = func(name string) error {
		if name == "confirm" {
			there = w.thrown()
		}
		return nil
	}
	first := w.completed(w.run(r))
	if diff := cmp.Diff(whole(objects), there); diff != "" {
		t.Errorf("%.400s", diff)
	}
	if left := w.thrown(); len(left) > 0 {
		t.Errorf("%d objects are left", len(left))
	}
	if b := w.record(); b.Proof != backup.Drilled || !b.Drilled.Equal(w.now()) {
		t.Errorf("%s %s", b.Proof, b.Drilled)
	}
	if c := first.Confirmation; c == nil || len(c.Asserted) != 2 || !strings.Contains(c.Asserted[1], "no application was started") || first.Put.Spliced != 1 {
		t.Errorf("%+v %+v", c, first.Put)
	}
	w.later(time.Hour)
	again := w.completed(w.run(r))
	if again.ID == first.ID || !w.record().Drilled.Equal(w.now()) {
		t.Errorf("%s, %s", again.ID, w.record().Drilled)
	}
	if calls := w.app.taken(); len(calls) > 0 {
		t.Errorf("an application was asked %v", calls)
	}
}

// TestDrillFindsDamage changes what was restored before it is confirmed, and takes some of it away.
func TestDrillFindsDamage(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	w.step = func(name string) error {
		for _, key := range w.Keys(w) {
			switch {
			case name != "confirm" || !strings.HasPrefix(key, "drills/"):
			case strings.HasSuffix(key, "a.txt"):
				if _, err := w.Put(t.Context(), vault.Key(key), []byte("ALPHA"), vault.Always()); err != nil {
					t.Error(err)
				}
			case strings.HasSuffix(key, "b.txt"):
				if err := w.Delete(t.Context(), vault.Key(key)); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	}
	e := w.run(to(w.toApp(), events.To{Drill: true}))
	if e.outcome.Status != machine.Succeeded || e.record.Status != backup.Partial || e.record.ProblemsTotal != 2 || len(e.record.Confirmation.Asserted) > 0 {
		t.Error(e)
	}
	if b := w.record(); b.Proof == backup.Drilled || len(w.thrown()) > 0 {
		t.Errorf("%s, and %d objects are left", b.Proof, len(w.thrown()))
	}
}

// TestDrillFails: nothing stays of a drill that failed, and the next one runs.
func TestDrillFails(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	w.step = func(name string) error {
		if name == "replay" {
			if len(w.thrown()) == 0 {
				t.Error("nothing was written")
			}
			return failure.New(failure.Denied, "no")
		}
		return nil
	}
	w.failed(w.run(to(w.toApp(), events.To{Drill: true})), failure.Denied)
	if b := w.record(); b.Proof == backup.Drilled || len(w.thrown()) > 0 {
		t.Errorf("%s, and %d objects are left", b.Proof, len(w.thrown()))
	}
	w.step = nil
	w.completed(w.run(to(w.toApp(), events.To{Drill: true})))
	if w.record().Proof != backup.Drilled {
		t.Error("it is not marked")
	}
}

// TestDrillIntoTarget drills into an application that is there for it.
func TestDrillIntoTarget(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	r := to(w.toApp(), events.To{Target: "new", Drill: true})
	dry := r
	dry.DryRun = true
	w.completed(w.run(dry))
	if b := w.record(); b.Proof != backup.ReRead || !b.Drilled.IsZero() {
		t.Errorf("after a dry run: %s", b.Proof)
	}
	w.app.findings = []app.Finding{{Severity: app.Problem, Kind: "lost", Message: "something is lost"}}
	if e := w.run(r); e.record.Status != backup.Partial || w.record().Proof != backup.ReRead {
		t.Error(e, w.record().Proof)
	}
	w.app.findings = nil
	for range 2 {
		w.later(time.Hour)
		got := w.completed(w.run(r))
		if b := w.record(); b.Proof != backup.Drilled || !b.Drilled.Equal(w.now()) || !got.Drill || got.Target != "new" {
			t.Errorf("%s %s %+v", b.Proof, b.Drilled, got)
		}
		w.holds(files())
	}
	w.limits = func(s *replay.Steps) { s.Local, s.Trusted = false, nil }
	w.failed(w.run(r), failure.Denied) // it is an application that others may look at
	both := to(w.toApp(), events.To{Drill: true, Folder: "/tmp/x"})
	if e := w.run(both); e.kind != failure.Usage {
		t.Error(e)
	}
}
