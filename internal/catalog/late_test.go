package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/local/vaulttest"
)

// TestBegunLate: the id of a scheduled backup bears the time for which it was scheduled, and it begins within a day of
// that. Where its record cannot be read it may be newer than one whose id and start lie between; not where its record
// was last written before that began.
func TestBegunLate(t *testing.T) {
	now := time.Now().UTC()
	for name, test := range map[string]struct {
		scheduled, began time.Duration // from when the damaged record was written
		told             bool
	}{
		"between":               {-time.Hour, -30 * time.Minute, true},
		"of a day's window":     {-23 * time.Hour, -time.Minute, true},
		"older than any window": {-25 * time.Hour, -30 * time.Minute, false},
		"written before":        {-time.Hour, time.Hour, false},
		"scheduled after":       {-time.Minute, -30 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t)
			c := catalog.New(v.Vault)
			began := now.Add(test.began)
			late, good := backup.NewID(now.Add(test.scheduled)), backup.NewID(began)
			create(t, c, catalog.Record{ID: good, Source: "photos", Status: backup.Completed, Started: began})
			damaged(t, v, "photos", late)
			var want, told []backup.ID
			if test.told {
				want = []backup.ID{late}
			}
			found, err := c.Find(t.Context(), "latest")
			for _, u := range found.Unreadable {
				told = append(told, u.ID)
			}
			if diff := cmp.Diff(want, told); diff != "" || err != nil || found.ID != good {
				t.Errorf("%s, %v: %s", found.ID, err, diff)
			}
			b, err := c.Before(t.Context(), "photos", backup.Scope{}, now.Add(2*time.Hour))
			if diff := cmp.Diff(want, b.Unreadable); diff != "" || err != nil {
				t.Errorf("%v: %s", err, diff)
			}
		})
	}
}
