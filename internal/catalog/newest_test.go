package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// TestNewest: what is read doesn't grow with the number of backups, and damage is seen in the newest records, and in those
// that were written since.
func TestNewest(t *testing.T) {
	v := vaulttest.Any(t)
	c := catalog.New(v.Vault)
	named := func(hour int, status backup.Status) catalog.Record {
		at := noon.Add(time.Duration(hour-12) * time.Hour)
		return catalog.Record{
			ID: backup.ID(at.Format("20060102T150405Z") + "-aaaaaa"), Source: "photos", Kind: "zipline", Status: status, Started: at,
		}
	}
	for hour := range 10 {
		create(t, c, named(hour, backup.Completed))
	}
	damaged := named(11, backup.Completed)
	damaged.Damage = "a flipped bit"
	create(t, c, named(10, backup.Completed), damaged, named(13, backup.InProgress))
	unreadable := vault.Record("photos", named(12, backup.Failed).ID)
	if _, err := v.Put(t.Context(), unreadable, []byte("{"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	create(t, catalog.New(v.Vault), catalog.Record{ID: named(14, "").ID, Source: "other", Kind: "zipline", Status: backup.Completed, Started: noon})

	var reads atomic.Int64
	v.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".json") {
			reads.Add(1)
		}
		return next.RoundTrip(r)
	})
	newest := func(since time.Time) (seen []string) {
		for r, err := range c.Newest(t.Context(), "photos", since) {
			seen = append(seen, fmt.Sprint(string(r.ID)[9:11], " ", err == nil))
		}
		return seen
	}
	want := []string{"13 true", "12 false", "11 true", "10 true"}
	if diff := cmp.Diff(want, newest(time.Now().Add(time.Hour))); diff != "" || reads.Load() != 4 {
		t.Error(reads.Load(), diff)
	}
	if seen := newest(time.Now().Add(-time.Hour)); len(seen) != 14 {
		t.Errorf("of those written within an hour it yields %d", len(seen))
	}
}
