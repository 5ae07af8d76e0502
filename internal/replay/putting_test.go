package replay_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// halting is a bucket as the application's datasource, and a limit that ends each call of put after some writes to it.
type halting struct {
	*vaulttest.Store
	t      testing.TB
	mutex  sync.Mutex
	stop   func()
	writes int // of a call
	after  int
	parts  int // of all calls
}

// inBucket has the application's files go to a bucket; after: how many writes end a call; 0: none.
func (w *world) inBucket(after int) *halting {
	w.Helper()
	h := &halting{Store: vaulttest.New(w), t: w, after: after}
	h.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if r.Method == http.MethodPut && r.ContentLength > 0 {
			h.written(r.URL.Query().Has("partNumber"))
		}
		return answer, err
	})
	w.app.put = func(ctx context.Context, f replay.Files) (restore.Destination, error) {
		return restore.OpenBucket(ctx, restore.BucketOptions{Client: h.Client, Bucket: h.Bucket(), Kind: "fake", Name: f.Name, Wants: f.Wants, Progress: f.Progress})
	}
	if after > 0 {
		w.limits = func(s *replay.Steps) {
			s.Until(func(stop func()) bool {
				h.mutex.Lock()
				defer h.mutex.Unlock()
				h.stop, h.writes = stop, 0
				return false
			})
		}
	}
	return h
}

func (h *halting) written(part bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if part {
		h.parts++
	}
	if h.writes++; h.writes == h.after && h.stop != nil {
		h.stop()
	}
}

// files returns what the bucket holds, however large.
func (h *halting) files() map[string]string {
	all := map[string]string{}
	for _, key := range h.Keys(h.t) {
		data, err := os.ReadFile(h.Path(vault.Key(key)))
		if err != nil {
			h.t.Error(err)
		}
		all[key] = string(data)
	}
	return all
}

// TestPutInPieces ends each call of put early: no part and no object is written twice, and the record is that of a restore
// that was not stopped.
func TestPutInPieces(t *testing.T) {
	objects := files()
	tall := 34 << 20
	if testing.Short() {
		tall = 18 << 20
	}
	objects["huge.bin"] = strings.Repeat("0123456789abcdef", 50<<20/16)
	objects["tall.bin"] = strings.Repeat("fedcba9876543210", tall/16)
	fromFile := func(w *world) events.Restore {
		r := w.toApp()
		r.From.Backup, r.From.File = "", w.Path(vault.Archive("photos", firstRun))
		return r
	}
	plain := newWorld(t, objects)
	all := plain.inBucket(0)
	want := plain.completed(plain.run(fromFile(plain)))
	w := newWorld(t, objects)
	h := w.inBucket(1)
	got := w.completed(w.run(fromFile(w)))
	if n := count(w.calls, "put"); n < 4 {
		t.Errorf("%d calls", n)
	}
	if diff := cmp.Diff(all.files(), h.files()); diff != "" || all.parts != h.parts {
		t.Errorf("%d and %d parts\n%.300s", all.parts, h.parts, diff)
	}
	h.NoUploads(t)
	want.From.File, got.From.File = "", ""
	alike(t, want, got)
}

// TestSmallInPieces stops batches of small files: what is done is not looked at again.
func TestSmallInPieces(t *testing.T) {
	objects, step := map[string]string{}, 700 // some windows of 16 MiB
	if testing.Short() {
		step = 300
	}
	for i := range 500 {
		objects[fmt.Sprintf("%03d.txt", i)] = strings.Repeat("x", i*step)
	}
	replay.OneAtATime(t)
	w := newWorld(t, objects)
	h := w.inBucket(1)
	if _, err := h.Put(t.Context(), "017.txt", []byte(objects["017.txt"]), vault.Always()); err != nil { // as it should be
		t.Fatal(err)
	}
	got := w.completed(w.run(w.toApp()))
	if got.Put.Written != 499 || got.Put.Existing != 1 || count(w.calls, "put") < 2 {
		t.Errorf("%d calls, %+v", count(w.calls, "put"), got.Put)
	}
	if diff := cmp.Diff(objects, h.files()); diff != "" {
		t.Errorf("%.300s", diff)
	}
}

// TestPutGivenUp ends a restore in the middle of a large object: nothing of it stays in the target's store, and the same
// restore again completes.
func TestPutGivenUp(t *testing.T) {
	objects := map[string]string{"huge.bin": strings.Repeat("0123456789abcdef", 50<<20/16)}
	w := newWorld(t, objects)
	h := w.inBucket(1)
	r := w.toApp()
	r.From.Backup, r.From.File = "", w.Path(vault.Archive("photos", firstRun))
	puts := 0
	w.step = func(name string) error {
		if name == "put" {
			if puts++; puts == 3 {
				return failure.New(failure.Exhausted, "enough")
			}
		}
		return nil
	}
	w.failed(w.run(r), failure.Exhausted)
	h.NoUploads(t)
	w.step = nil
	w.completed(w.run(r))
	if diff := cmp.Diff(objects, h.files()); diff != "" {
		t.Errorf("%.300s", diff)
	}
}

// TestPutTooSlow stops each call before it has written anything: it fails with a word.
func TestPutTooSlow(t *testing.T) {
	w := newWorld(t, files())
	w.inBucket(0)
	w.limits = func(s *replay.Steps) {
		s.Until(func(stop func()) bool {
			if count(w.calls, "put") > 0 {
				stop()
			}
			return false
		})
	}
	e := w.run(w.toApp())
	w.failed(e, failure.Exhausted)
	if n := count(w.calls, "put"); n != 1 || e.hint == "" {
		t.Errorf("%d calls: %s", n, e)
	}
}
