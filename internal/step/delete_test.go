package step_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
)

type noLinks struct{}

func (noLinks) Revoke(context.Context, backup.Source, backup.ID) (int, error) { return 0, nil }

// TestDeleteWaitsForAStoppedRun stops a run before its seal and deletes the backup whose packs it reuses: that is
// refused while the run may go on, and the run ends as a good backup.
func TestDeleteWaitsForAStoppedRun(t *testing.T) {
	w := newWorld(t, files())
	_, first, err := w.run(firstRun, "")
	if err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	engine := &machine.Engine{Read: w.read, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		if strings.Contains(string(payload), `"step":"seal"`) {
			stop()
			return nil, context.Canceled
		}
		return w.invoke(ctx, function, payload)
	}}
	journal := filepath.Join(t.TempDir(), "run.jsonl")
	_, _ = engine.Execute(ctx, w.machine(), machine.Execution{Name: string(secondRun), Input: input(secondRun), Journal: journal})
	if _, err := os.Stat(journal); err != nil {
		t.Fatal(err)
	}
	_, err = w.steps.Vault.Head(t.Context(), vault.Record("photos", secondRun))
	if err != nil {
		t.Fatal(err)
	}
	if err := catalog.New(w.vault).Release(t.Context(), "photos", secondRun); err != nil { // as a stopped run does
		t.Fatal(err)
	}
	_, err = retention.Delete(t.Context(), w.vault, first, retention.Options{Holder: "test", Links: noLinks{}, Clock: func() time.Time { return w.clock }})
	if failure.KindOf(err) != failure.Conflict || err == nil {
		t.Fatalf("deleting what a stopped run needs: %v", err)
	}
	if untouched, err := catalog.New(w.vault).Record(t.Context(), "photos", firstRun); err != nil || untouched.Status != backup.Completed {
		t.Fatalf("the refusal has left a mark: %s, %v", untouched.Status, err)
	}
	outcome, second, err := w.run(secondRun, journal)
	if err != nil || outcome.Status != machine.Succeeded || second.Status != backup.Completed {
		t.Fatalf("%+v, %+v, %v", outcome, second, err)
	}
}

// TestLostPackIsPackedAgain removes a pack of the pool: the next backup does not count on it, says so, and is whole.
func TestLostPackIsPackedAgain(t *testing.T) {
	w := newWorld(t, files())
	if _, _, err := w.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	for info, err := range w.vault.List(t.Context(), vault.Packs("photos")) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.vault.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
	}
	w.clock = w.clock.Add(time.Hour)
	_, record, err := w.run(secondRun, "")
	if err != nil || record.Status != backup.Partial || record.PackedObjects != 4 || len(record.Problems) != 1 || record.Problems[0].Kind != "previous" {
		t.Errorf("%+v, %v", record, err)
	}
}
