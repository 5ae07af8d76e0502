package replay_test

import (
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/machine"
	"lifeboat/internal/vault"
)

// TestDrillOfAnOlder: a drill of the latest backup that had to take an older one, since the record of a newer cannot be
// read, is not green. A restore says it, and is complete.
func TestDrillOfAnOlder(t *testing.T) {
	for name, test := range map[string]struct {
		drill    bool
		severity app.Severity
		status   backup.Status
	}{
		"a drill":   {true, app.Problem, backup.Partial},
		"a restore": {false, app.Note, backup.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, files())
			w.remote()
			r := w.toApp()
			if r.From.Backup = "photos:latest"; test.drill {
				r.To = events.To{Drill: true}
			}
			newer := backup.NewID(firstRun.Time().Add(time.Hour))
			if _, err := w.Put(t.Context(), vault.Record("photos", newer), []byte("{"), vault.Always()); err != nil {
				t.Fatal(err)
			}
			e := w.run(r)
			found := e.record.Notes
			if test.severity == app.Problem {
				found = e.record.Problems
			}
			if e.outcome.Status != machine.Succeeded || e.record.Status != test.status || len(found) != 1 || found[0].Kind != "passed" || found[0].Item != string(newer) {
				t.Errorf("%v: %+v", e, found)
			}
			if e.record.From.Backup != firstRun || len(w.thrown()) > 0 {
				t.Errorf("%s, and %d objects are left", e.record.From.Backup, len(w.thrown()))
			}
		})
	}
}
