package backup_test

import (
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

func TestID(t *testing.T) {
	at := time.Date(2026, 11, 21, 2, 3, 4, 5, time.FixedZone("", 3600))
	seen := map[backup.ID]bool{}
	for range 100 {
		id := backup.NewID(at)
		if got, err := backup.ParseID(string(id)); got != id || err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if !id.Time().Equal(at.Truncate(time.Second)) || !strings.HasPrefix(string(id), "20261121T010304Z-") {
			t.Errorf("%s is of %v", id, id.Time())
		}
		seen[id] = true
	}
	if len(seen) < 99 {
		t.Errorf("%d of 100 ids differ", len(seen))
	}
	for _, text := range []string{"", "latest", "20261121T010304Z", "20261121T010304Z-ABCDEF", "20261121T010304Z-abcdef\n", "../21T010304Z-abcdef"} {
		if _, err := backup.ParseID(text); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSource(t *testing.T) {
	for text, good := range map[string]bool{
		"photos": true, "a-1": true, strings.Repeat("a", 40): true, "": false, strings.Repeat("a", 41): false, "A": false, "a b": false, "a/b": false, "..": false, "ü": false, "a\n": false,
	} {
		if _, err := backup.ParseSource(text); (err == nil) != good || err != nil && failure.KindOf(err) != failure.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestProof(t *testing.T) {
	order := []backup.Proof{backup.Unproven, backup.Stored, backup.ReRead, backup.Drilled}
	for i, p := range order {
		for j, q := range order {
			if p.Better(q) != (i > j) {
				t.Errorf("%q is better than %q: %v", p, q, p.Better(q))
			}
		}
	}
}

func TestStatus(t *testing.T) {
	for _, s := range []backup.Status{backup.InProgress, backup.Failed, backup.Canceled, backup.Expired, backup.Deleting, ""} {
		if s.Good() {
			t.Errorf("%q is good", s)
		}
	}
	if !backup.Completed.Good() || !backup.Partial.Good() {
		t.Error("a completed backup is not good")
	}
}

func TestScope(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for want, scope := range map[string]backup.Scope{
		"all": {}, "no-metrics": {NoMetrics: true},
		"no-metrics since=2026-11-21T12:00:00Z until=2026-11-22T12:00:00Z": {NoMetrics: true, Since: noon.In(time.FixedZone("", 3600)), Until: noon.Add(24 * time.Hour)},
	} {
		if got := scope.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	day := backup.Scope{Since: noon, Until: noon.Add(time.Hour)}
	for after, want := range map[time.Duration]bool{-1: false, 0: true, time.Hour - 1: true, time.Hour: false} {
		if day.Holds(noon.Add(after)) != want {
			t.Errorf("after %v: %v", after, !want)
		}
	}
	if !(backup.Scope{}).Holds(time.Time{}) {
		t.Error("everything leaves something out")
	}
}
