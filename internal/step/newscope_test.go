package step_test

import (
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/machine"
	"lifeboat/internal/vault"
)

// TestFirstOfAScope: an old record that cannot be read is a note in the first run of a scope, and none of its problems.
// Of a run that has nothing else to be compared with it is a problem.
func TestFirstOfAScope(t *testing.T) {
	w := newWorld(t, files())
	old := backup.NewID(w.clock.AddDate(0, 0, -3))
	if _, err := w.vault.Put(t.Context(), vault.Record("photos", old), []byte("{"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	about := func(found []app.Finding) bool {
		return len(found) == 1 && found[0].Kind == "previous" && found[0].Item == string(old)
	}
	if _, record, err := w.run(firstRun, ""); err != nil || record.Status != backup.Partial || !about(record.Problems) {
		t.Errorf("%+v, %v", record.Problems, err)
	}
	w.clock, w.scope = w.clock.Add(time.Hour), backup.Scope{NoMetrics: true}
	outcome, record, err := w.run(secondRun, "")
	if err != nil || outcome.Status != machine.Succeeded || record.Status != backup.Completed || !about(record.Notes) {
		t.Errorf("%s %+v %+v, %v", record.Status, record.Problems, record.Notes, err)
	}
}
