package replay_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// atRelease applies a hook to the requests of the release only.
func (w *world) atRelease(hook vaulttest.Hook) {
	w.step = func(name string) error {
		switch name {
		case "release":
			w.Intercept(hook)
		case "notify-restore":
			w.Intercept(nil)
		}
		return nil
	}
}

// TestReleasedAllTheSame: whatever becomes of the sum of what was put, a restore that fails gives back what it holds.
func TestReleasedAllTheSame(t *testing.T) {
	reads := func(q *http.Request, name string) bool {
		return q.Method == http.MethodGet && strings.Contains(q.URL.Path+"?"+q.URL.Query().Get("prefix"), name)
	}
	both, come := make(chan struct{}), sync.WaitGroup{}
	come.Add(2)
	go func() {
		come.Wait()
		close(both)
	}()
	for name, c := range map[string]struct {
		reads  string
		within time.Duration
		hook   vaulttest.Hook
		want   int
	}{
		"refused": {"put/0.json", time.Minute, func(q *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(q, http.StatusForbidden, "AccessDenied")
		}, 3},
		"not listed": {"/put/", time.Minute, vaulttest.Once(func(*http.Request) bool { return true }, func(q *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(q, http.StatusForbidden, "AccessDenied")
		}), 0},
		"no answer": {"put/0.json", 300 * time.Millisecond, func(q *http.Request, _ http.RoundTripper) (*http.Response, error) {
			<-q.Context().Done()
			return nil, q.Context().Err()
		}, 3},
		"at a time": {"put/", time.Minute, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
			if !strings.HasSuffix(q.URL.Path, "0.json") && !strings.HasSuffix(q.URL.Path, "1.json") {
				return next.RoundTrip(q)
			}
			come.Done()
			select { // each waits for the other one
			case <-both:
				return next.RoundTrip(q)
			case <-q.Context().Done():
				return nil, q.Context().Err()
			}
		}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			replay.SmallBatches(t, 2)
			replay.SumWithin(t, c.within)
			w := newWorld(t, heavies())
			w.app.fail = func(call string) error {
				if call == "Replay" {
					return failure.New(failure.Denied, "the token is wrong")
				}
				return nil
			}
			asked := 0
			var mutex sync.Mutex
			w.atRelease(func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				if !reads(q, c.reads) {
					return next.RoundTrip(q)
				}
				mutex.Lock()
				asked++
				mutex.Unlock()
				return c.hook(q, next)
			})
			got := w.failed(w.run(named(w.toApp(), "spring")), failure.Denied)
			if got.Put.Written != c.want || got.Put.Existing != 0 || asked == 0 {
				t.Errorf("%+v, %d requests", got.Put, asked)
			}
			if _, there := w.reservation("new", "spring"); there {
				t.Error("the name is held")
			}
			if told := strings.Contains(w.logs.String(), "not all of what was put"); told != (c.want < 8) {
				t.Errorf("%s", w.logs)
			}
		})
	}
}

// TestLostCounts: the record of a restore that was killed says how many files it had put.
func TestLostCounts(t *testing.T) {
	w := newWorld(t, files())
	w.step = func(name string) error {
		if name == "replay" || name == "release" {
			return failure.New(failure.Internal, "told to fail")
		}
		return nil
	}
	lost := w.run(w.toApp()).restore.ID
	w.step = nil
	w.later(catalog.LeaseTime + time.Minute)
	other := w.toApp()
	other.Only = []string{"uploads", "export.json"}
	w.completed(w.run(other))
	got, err := catalog.New(w.Vault).Restore(t.Context(), lost)
	if err != nil || got.Status != backup.Failed || got.Put.Written != 5 || got.Put.Existing != 0 || got.Put.Bytes != 5608 {
		t.Errorf("%+v, %v", got, err)
	}
}

// fragile says which units fail how often, by the name of their first file, before anything of them is written.
type fragile struct {
	mutex sync.Mutex
	falls map[string]int
}

func (f *fragile) unit(u restore.Unit) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	name := u.Items[0].Key
	if f.falls[name] == 0 {
		return nil
	}
	f.falls[name]--
	return failure.New(failure.Transient, "the target does not answer")
}

// falling is a target some of whose units fail.
type falling struct {
	restore.Destination
	*fragile
}

func (f falling) Do(ctx context.Context, u restore.Unit) error {
	if err := f.unit(u); err != nil {
		return err
	}
	return f.Destination.Do(ctx, u)
}

// falls has units of the application's folder fail.
func (w *world) falls(falls map[string]int) {
	f := &fragile{falls: falls}
	w.app.put = func(_ context.Context, files replay.Files) (restore.Destination, error) {
		to, err := restore.OpenFolderTarget(restore.FolderOptions{Folder: w.app.folder, Existing: true, Kind: "fake", Name: files.Name, Wants: files.Wants})
		return falling{to, f}, err
	}
}

// heavies are some small files and some that are units of their own.
func heavies() map[string]string {
	all := files()
	for i := range 3 {
		all[fmt.Sprintf("huge%d.bin", i)] = strings.Repeat(fmt.Sprintf("%016d", i), 9<<20/16)
	}
	return all
}

// TestFellThenWentWell has put fall and go on: what its first calls have written was not there already.
func TestFellThenWentWell(t *testing.T) {
	replay.OneAtATime(t)
	for name, c := range map[string]struct {
		batch   int64
		falls   map[string]int
		existed string
	}{
		"once":                        {100, map[string]int{"huge1.bin": 1}, ""},
		"twice":                       {100, map[string]int{"huge1.bin": 1, "huge2.bin": 1}, ""},
		"two calls at one":            {100, map[string]int{"huge1.bin": 2}, ""},
		"one was there, seen late":    {100, map[string]int{"huge1.bin": 2}, "huge2.bin"},
		"one was there, seen at once": {100, map[string]int{"huge1.bin": 1, "huge2.bin": 1}, "a.txt"},
		"batches":                     {2, map[string]int{"a.txt": 1, "huge1.bin": 2}, "huge0.bin"},
	} {
		t.Run(name, func(t *testing.T) {
			replay.SmallBatches(t, c.batch)
			w := newWorld(t, heavies())
			want := 8
			if c.existed != "" {
				want--
				if err := os.WriteFile(filepath.Join(w.app.folder, c.existed), []byte(heavies()[c.existed]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.falls(c.falls)
			got := w.completed(w.run(w.toApp()))
			if got.Put.Written != want || got.Put.Existing != 8-want {
				t.Errorf("%+v", got.Put)
			}
			for name, n := range c.falls {
				if n > 0 {
					t.Errorf("%s has not failed %d times", name, n)
				}
			}
			w.holds(heavies())
		})
	}
}

// TestFellAgain has a batch fall until the restore fails, beside one that goes well: each file counts once. The next attempt,
// of which a batch falls before it goes well, begins to count anew.
func TestFellAgain(t *testing.T) {
	replay.OneAtATime(t)
	replay.SmallBatches(t, 4)
	const first = 6
	w := newWorld(t, heavies())
	w.falls(map[string]int{"huge2.bin": 100})
	got := w.failed(w.run(w.toApp()), failure.Transient)
	if _, err := os.Stat(filepath.Join(w.app.folder, "huge2.bin")); err == nil || got.Put.Written != first || got.Put.Existing != 0 {
		t.Errorf("%+v, %v", got.Put, err)
	}
	falls := map[string]int{"huge2.bin": 1}
	w.falls(falls)
	w.app.fail = func(call string) error {
		if call == "Replay" {
			return failure.New(failure.Denied, "the token is wrong")
		}
		return nil
	}
	got = w.failed(w.run(w.toApp()), failure.Denied)
	if got.Put.Written != 8-first || got.Put.Existing != first || falls["huge2.bin"] > 0 {
		t.Errorf("%+v, %v", got.Put, falls)
	}
}

// resuming is a bucket that fails before some of its units.
type resuming struct {
	*restore.BucketTarget
	unit func() error
}

func (r resuming) Resume(ctx context.Context, u restore.Unit, at *restore.Upload, stop <-chan struct{}) (*restore.Upload, bool, error) {
	if err := r.unit(); err != nil {
		return at, false, err
	}
	return r.BucketTarget.Resume(ctx, u, at, stop)
}

// TestFellInPieces has a batch that takes several calls fall in each of them.
func TestFellInPieces(t *testing.T) {
	replay.OneAtATime(t)
	for n := 1; ; n++ {
		w := newWorld(t, heavies())
		h := w.inBucket(4)
		if _, err := h.Put(t.Context(), "huge2.bin", []byte(heavies()["huge2.bin"]), vault.Always()); err != nil {
			t.Fatal(err)
		}
		units := 0
		open := w.app.put
		w.app.put = func(ctx context.Context, f replay.Files) (restore.Destination, error) {
			to, err := open(ctx, f)
			if err != nil {
				return nil, err
			}
			return resuming{to.(*restore.BucketTarget), func() error {
				if units++; units == n {
					return failure.New(failure.Transient, "the target does not answer")
				}
				return nil
			}}, nil
		}
		got := w.completed(w.run(w.toApp()))
		if units < n {
			if n < 5 {
				t.Errorf("only %d units", units)
			}
			return
		}
		if got.Put.Written != 7 || got.Put.Existing != 1 {
			t.Errorf("unit %d: %+v", n, got.Put)
		}
	}
}
