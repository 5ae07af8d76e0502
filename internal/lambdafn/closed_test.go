package lambdafn_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/lambdafn/runtimeapi"
)

// ended is the event of an execution that has ended in another way than well.
func ended(t *testing.T, execution, status string, input any) []byte {
	t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	change, err := json.Marshal(map[string]any{
		"version": "0", "source": "aws.states", "detail-type": "Step Functions Execution Status Change", "account": "111122223333",
		"detail": map[string]any{"name": execution, "status": status, "input": string(text), "inputDetails": map[string]any{"included": true}, "output": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// TestDrillStopped stops a drill that a schedule has started, by its event alone, after a newer backup: the drill is closed,
// and people are told of it once.
func TestDrillStopped(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	s.backup("photos", start)
	drill := events.Restore{From: events.From{Backup: "photos:latest"}, To: events.To{Drill: true}, Only: []string{}, StartedBy: catalog.Starter{By: "schedule", Who: "drill weekly"}}
	begin, _ := json.Marshal(events.RestoreRequest{Step: "begin", Restore: drill, Execution: "weekly-1"})
	if _, err := s.functions["restore"].Invoke(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	s.backup("photos", start.Add(time.Hour))
	before := len(s.services.Mails())
	change := ended(t, "weekly-1", "ABORTED", events.RestoreInput{Restore: drill})
	_, err := s.functions["notify"].Invoke(t.Context(), change)
	if failed, ok := errors.AsType[*runtimeapi.Error](err); !ok || failed.Type != "Lifeboat.Transient" {
		t.Errorf("nobody has closed the drill, and notify says %v", err)
	}
	for range 2 { // events come at least once
		for _, name := range []string{"restore", "notify"} {
			if _, err := s.functions[name].Invoke(t.Context(), change); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	n := 0
	for r, err := range s.catalog.Restores(t.Context()) {
		if n++; err != nil || r.Status != backup.Failed || r.Notified.Status != "sent" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if told := len(s.services.Mails()) - before; n != 1 || told != 1 {
		t.Errorf("%d restores, %d mails", n, told)
	}
	s.explain()
}
