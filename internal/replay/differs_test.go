package replay_test

import (
	"context"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/manifest"
	"lifeboat/internal/replay"
)

// differing are targets that are other than the backup, and call that a note.
type differing struct {
	replay.Targets
	things int
}

func (d differing) Open(ctx context.Context, id backup.RestoreID, to events.To, from replay.Backup, wishes app.Wishes) (replay.Place, error) {
	place, err := d.Targets.Open(ctx, id, to, from, wishes)
	place.App = differingApp{place.App, d.things}
	return place, err
}

type differingApp struct {
	app.Target
	things int
}

func (d differingApp) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	c, err := d.Target.Confirm(ctx, r)
	c.Differs = d.things
	for range d.things {
		c.Findings = append(c.Findings, app.Finding{Severity: app.Note, Kind: "changed", Message: "it was on the target before, and stays as it was there"})
	}
	return c, err
}

// TestDrillDiffers: a drill whose target is other than the backup proves nothing, though it has no problem; the next one
// that finds no difference does.
func TestDrillDiffers(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	r := to(w.toApp(), events.To{Target: "new", Drill: true})
	things := 1
	w.limits = func(s *replay.Steps) { s.Local, s.Targets = false, differing{s.Targets, things} }
	for range 2 {
		w.later(time.Hour)
		got := w.completed(w.run(r))
		if b := w.record(); b.Proof == backup.Drilled || got.Confirmation.Differs != 1 || got.NotesTotal != 1 {
			t.Fatalf("%s, %+v", b.Proof, got)
		}
	}
	things = 0
	w.later(time.Hour)
	w.completed(w.run(r))
	if b := w.record(); b.Proof != backup.Drilled || !b.Drilled.Equal(w.now()) {
		t.Errorf("%s at %s", b.Proof, b.Drilled)
	}
}

// TestProves names what keeps a drill from proving its backup.
func TestProves(t *testing.T) {
	good := func() catalog.Restore {
		return catalog.Restore{
			Drill: true, Status: backup.Completed, From: catalog.Origin{Source: "photos", Backup: firstRun}, Signature: string(manifest.Authenticated),
			Put: catalog.Put{Written: 1}, Confirmation: &app.Confirmation{Asserted: []string{"it is there"}},
		}
	}
	for name, c := range map[string]struct {
		change func(*catalog.Restore)
		proves bool
	}{
		"good": {func(*catalog.Restore) {}, true},
		"documents only": {func(r *catalog.Restore) {
			r.Put, r.Confirmation.Counts = catalog.Put{}, []app.Count{{What: "rows", Backup: 1}}
		}, true},
		"nothing in it": {func(r *catalog.Restore) { r.Put, r.Confirmation.Counts = catalog.Put{}, []app.Count{{What: "rows"}} }, false},
		"differs":       {func(r *catalog.Restore) { r.Confirmation.Differs = 1 }, false},
		"not looked at": {func(r *catalog.Restore) { r.Confirmation = nil }, false},
		"no assertion":  {func(r *catalog.Restore) { r.Confirmation.Asserted = nil }, false},
		"no drill":      {func(r *catalog.Restore) { r.Drill = false }, false},
		"partial":       {func(r *catalog.Restore) { r.Status = backup.Partial }, false},
		"a part":        {func(r *catalog.Restore) { r.Part = "documents" }, false},
	} {
		r := good()
		c.change(&r)
		if replay.Proves(r) != c.proves {
			t.Errorf("%s: %v", name, !c.proves)
		}
	}
}
