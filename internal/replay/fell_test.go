package replay_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
)

// TestFell: the record of a restore that failed half-way says how many files are in the target, at each attempt.
func TestFell(t *testing.T) {
	objects := files()
	objects["large.bin"] = strings.Repeat("0123456789abcdef", 9<<20/16)
	w := newWorld(t, objects)
	folder := filepath.Join(t.TempDir(), "to")
	r := to(w.toApp(), events.To{Folder: folder})
	small := func() int {
		found := 0
		_ = filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
				found++
			}
			return nil
		})
		return found
	}
	var putting atomic.Bool
	w.step = func(step string) error {
		putting.Store(step == "put")
		return nil
	}
	w.Intercept(func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
		large := q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/packs/") && q.Header.Get("Range") != "" && putting.Load()
		answer, err := next.RoundTrip(q)
		if err != nil || !large || answer.ContentLength < 1<<20 {
			return answer, err
		}
		for end := time.Now().Add(5 * time.Second); small() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		answer.Body.Close()
		return vaulttest.Refuse(q, http.StatusForbidden, "AccessDenied")
	})
	for range 2 {
		e := w.run(r)
		if e.outcome.Status != machine.Failed || e.record.Status != backup.Failed || e.record.Put.Written+e.record.Put.Existing != small() || small() == 0 {
			t.Errorf("%s: %+v, %d files", e, e.record.Put, small())
		}
	}
	w.Intercept(nil)
	w.step = nil
	if got := w.completed(w.run(r)); got.Put.Written+got.Put.Existing != small() {
		t.Errorf("%+v, %d files", got.Put, small())
	}
}
