package lambdafn_test

import (
	"strings"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/machine"
	"lifeboat/workflow"
)

// TestDrill drills a backup with the rights that the functions have, into a prefix of the vault that is gone afterwards.
func TestDrill(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	s.put("data", "large", []byte(strings.Repeat("0123456789abcdef", 9<<20/16)))
	made, _ := s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if made.Status != backup.Completed {
		s.explain()
		t.Fatalf("%+v", made)
	}
	drill := events.Restore{From: events.From{Backup: "photos:latest"}, To: events.To{Drill: true}}
	for _, name := range []string{"drill-one", "drill-two"} {
		if outcome := s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", name, events.RestoreInput{Restore: drill}); outcome.Status != machine.Succeeded {
			s.explain()
			t.Fatalf("%+v", outcome)
		}
	}
	record, err := s.catalog.Record(t.Context(), "photos", made.ID)
	if err != nil || record.Proof != backup.Drilled || record.Drilled.IsZero() {
		t.Errorf("%s, %v", record.Proof, err)
	}
	drills := 0
	for r, err := range s.catalog.Restores(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if drills++; !r.Drill || r.Status != backup.Completed || r.Put.Spliced != 1 || r.Confirmation == nil || len(r.Confirmation.Asserted) != 2 {
			t.Errorf("%+v", r)
		}
	}
	if drills != 2 {
		t.Errorf("%d drills", drills)
	}
	for key := range s.objects("vault") {
		if strings.HasPrefix(key, "drills/") || strings.HasPrefix(key, "restores/") {
			t.Errorf("left: %s", key)
		}
	}
	s.explain()
}
