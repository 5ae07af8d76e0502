package replay_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/replay"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// stopper ends the work of every call after some progress of the check.
type stopper struct {
	after int // pieces of progress of a call, of which an entry has two at least
	late  bool

	mutex    sync.Mutex
	stop     func()
	checking bool // the first word after the phase is what was there before
	stopped  int
	seen     int
	read     int64          // bytes that were checked, over all calls
	between  func(call int) // called before the second and each later call
	calls    int
}

func (s *stopper) begin(stop func()) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.calls++; s.calls > 1 && s.between != nil {
		s.between(s.calls)
	}
	s.stop, s.seen = stop, 0
	return s.late
}

func (s *stopper) Phase(name string, _, _ int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.checking = name == "check"
}

func (s *stopper) Add(items, bytes int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.checking {
		s.checking = false
		return
	}
	if s.stop == nil {
		return
	}
	s.read += bytes
	if s.seen++; s.seen == s.after {
		s.stopped++
		s.stop()
		s.stop = nil
	}
}

// limitedBy has the restores of a world stopped.
func (w *world) limitedBy(s *stopper) {
	before := w.limits
	w.limits = func(steps *replay.Steps) {
		if before != nil {
			before(steps)
		}
		steps.Progress = s
		steps.Until(s.begin)
	}
}

// bulky are files of which some take several reads.
func bulky() map[string]string {
	all := files()
	all["large.bin"] = strings.Repeat("0123456789abcdef", 12<<10)
	all["middle.bin"] = strings.Repeat("fedcba9876543210", 6<<10)
	return all
}

// storedZIP is an archive of another program that compresses nothing but one file.
func storedZIP(t *testing.T, objects map[string]string) []byte {
	t.Helper()
	stored := slices.DeleteFunc(slices.Collect(maps.Keys(objects)), func(name string) bool { return name == "b.txt" })
	return foreignZIP(t, objects, stored...)
}

// alike compares two records of restores that must not show how many calls they took.
func alike(t *testing.T, want, got catalog.Restore) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(catalog.Restore{}, "ID", "Execution")); diff != "" {
		t.Error(diff)
	}
}

func count(calls []string, step string) (n int) {
	for _, c := range calls {
		if c == step {
			n++
		}
	}
	return n
}

// fromEverywhere are the ways in which the bytes of a restore are read.
var fromEverywhere = map[string]func(t *testing.T, w *world) events.Restore{
	"packs": func(_ *testing.T, w *world) events.Restore { return w.toApp() },
	"archive": func(t *testing.T, w *world) events.Restore {
		w.damageObject(t, "large.bin", 100)
		return w.toApp()
	},
	"volumes": func(t *testing.T, w *world) events.Restore { // of the archive in the vault
		w.damageObject(t, "large.bin", 100)
		return w.toApp()
	},
	"file": func(_ *testing.T, w *world) events.Restore {
		r := w.toApp()
		r.From.Backup, r.From.File = "", first(w.archive())
		return r
	},
	"fetched": func(_ *testing.T, w *world) events.Restore {
		_, data := w.archive()
		r := w.toApp()
		r.From = w.shop(map[string][]byte{"one": data}).url("one")
		return r
	},
	"foreign": func(t *testing.T, w *world) events.Restore {
		r := to(w.toApp(), events.To{Bucket: &events.Bucket{Name: w.bucket().Bucket()}})
		r.From, r.Trust = w.shop(map[string][]byte{"one": storedZIP(t, bulky())}).url("one"), true
		return r
	},
}

// withoutArchive is a world whose backup is in its packs only.
func withoutArchive(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, bulky())
	if err := w.Delete(t.Context(), vault.Archive("photos", firstRun)); err != nil {
		t.Fatal(err)
	}
	return w
}

func first(path string, _ []byte) string { return path }

// damageObject changes a byte in the pack that holds an object.
func (w *world) damageObject(t *testing.T, name string, at int) {
	t.Helper()
	for _, key := range w.Keys(w) {
		if !strings.HasPrefix(key, "packs/") {
			continue
		}
		data, err := os.ReadFile(w.Path(vault.Key(key)))
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(data, []byte("uploads/"+name)); i >= 0 {
			data[i+len("uploads/"+name)+at] ^= 1
			if err := os.WriteFile(w.Path(vault.Key(key)), data, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no pack holds %s", name)
}

// TestCheckInPieces stops the check at every piece of progress: it ends as one does that nobody stopped, and no byte was
// read twice but those of what is compressed.
func TestCheckInPieces(t *testing.T) {
	short := map[string]bool{"packs": false, "volumes": false, "foreign": true}
	for name, prepare := range fromEverywhere {
		if _, chosen := short[name]; testing.Short() && !chosen {
			continue
		}
		for _, late := range []bool{false, true} {
			if late && name != "packs" && name != "foreign" {
				continue
			}
			if testing.Short() && late != short[name] {
				continue
			}
			t.Run(fmt.Sprintf("%s late=%v", name, late), func(t *testing.T) {
				var policy []step.Policy
				if name == "volumes" {
					policy = append(policy, step.Policy{Split: 400 << 10})
				}
				plain := newWorld(t, bulky(), policy...)
				want := plain.completed(plain.run(prepare(t, plain)))
				w := newWorld(t, bulky(), policy...)
				r := prepare(t, w)
				s := &stopper{after: 3, late: late}
				w.limitedBy(s)
				got := w.completed(w.run(r))
				if n := count(w.calls, "check"); n < 6 || s.stopped < 6 {
					t.Errorf("%d calls, stopped %d times", n, s.stopped)
				}
				for _, r := range []*catalog.Restore{&want, &got} { // the servers' addresses
					r.From.URL, r.From.File, r.Target = "", "", ""
					r.Steps = slices.DeleteFunc(r.Steps, func(l catalog.StepLog) bool { return l.Step == "fetch" })
				}
				alike(t, want, got)
				if name == "foreign" {
					if diff := cmp.Diff(contents(t, vault.New(plain.Client, plain.Bucket()+"-to", nil)), contents(t, vault.New(w.Client, w.Bucket()+"-to", nil))); diff != "" {
						t.Error(diff)
					}
					return
				}
				w.holds(bulky())
			})
		}
	}
}

// TestDamageInPieces damages what is restored, in what an early call reads or a late one: every call finds it.
func TestDamageInPieces(t *testing.T) {
	names := []string{"large.bin", "a.txt", "middle.bin"}
	if testing.Short() {
		names = names[:1]
	}
	for _, name := range names {
		for _, way := range []string{"packs", "foreign"} {
			t.Run(way+" "+name, func(t *testing.T) {
				message := func(limited bool) string {
					w := withoutArchive(t)
					r := fromEverywhere["packs"](t, w)
					if way == "foreign" {
						r = to(w.toApp(), events.To{Folder: filepath.Join(t.TempDir(), "to")})
						data := storedZIP(t, bulky())
						data[bytes.Index(data, []byte(bulky()[name]))+len(bulky()[name])-1] ^= 1
						r.From, r.Trust = w.shop(map[string][]byte{"one": data}).url("one"), true
					} else {
						w.damageObject(t, name, len(bulky()[name])-1)
					}
					if limited {
						w.limitedBy(&stopper{after: 3})
					}
					e := w.run(r)
					w.failed(e, failure.Corrupt)
					if w.app.puts > 0 {
						t.Error("something was written")
					}
					return e.message
				}
				if want, got := message(false), message(true); want != got || want == "" {
					t.Errorf("%q, without stops %q", got, want)
				}
			})
		}
	}
}

// TestSwappedBetweenCalls puts other bytes into the place of those that an earlier call has proven.
func TestSwappedBetweenCalls(t *testing.T) {
	w := withoutArchive(t)
	s := &stopper{after: 3}
	var swapped string
	s.between = func(call int) {
		if call != 5 {
			return
		}
		for _, key := range w.Keys(w) {
			if !strings.HasPrefix(key, "packs/") {
				continue
			}
			data, _, err := w.Get(t.Context(), vault.Key(key))
			if err != nil {
				t.Error(err)
			}
			if i := bytes.Index(data, []byte("uploads/a.txtalpha")); i >= 0 {
				data[i+len("uploads/a.txt")] ^= 1
				if _, err := w.Put(t.Context(), vault.Key(key), data, vault.Always()); err != nil {
					t.Error(err)
				}
				swapped = key
			}
		}
	}
	w.limitedBy(s)
	e := w.run(w.toApp())
	w.failed(e, failure.Corrupt)
	if swapped == "" || !strings.Contains(e.message, "a.txt") {
		t.Errorf("%q: %s", swapped, e)
	}
}

// TestKeepsChanging swaps before every call: it ends with a word.
func TestKeepsChanging(t *testing.T) {
	w := withoutArchive(t)
	s := &stopper{after: 3}
	s.between = func(int) {
		for _, key := range w.Keys(w) {
			if data, _, err := w.Get(t.Context(), vault.Key(key)); err == nil && strings.HasPrefix(key, "packs/") {
				info, _ := w.Head(t.Context(), vault.Key(key))
				_ = os.Chtimes(w.Path(vault.Key(key)), info.Modified.Add(1e9), info.Modified.Add(1e9))
				if _, err := w.Put(t.Context(), vault.Key(key), data, vault.Always()); err != nil {
					t.Error(err)
				}
				_ = os.Chtimes(w.Path(vault.Key(key)), info.Modified.Add(1e9), info.Modified.Add(1e9))
			}
		}
	}
	w.limitedBy(s)
	w.failed(w.run(w.toApp()), failure.Conflict)
}

// TestCheckTooSlow stops before anything is proven: the check fails with a word instead of going on for ever.
func TestCheckTooSlow(t *testing.T) {
	w := newWorld(t, bulky())
	w.limits = func(steps *replay.Steps) {
		steps.Until(func(stop func()) bool { stop(); return false })
	}
	e := w.run(w.toApp())
	w.failed(e, failure.Exhausted)
	if n := count(w.calls, "check"); n != 1 || e.hint == "" {
		t.Errorf("%d calls: %s", n, e)
	}
}

// TestDryRunInPieces leaves nothing behind.
func TestDryRunInPieces(t *testing.T) {
	w := newWorld(t, bulky())
	w.limitedBy(&stopper{after: 3})
	r := w.toApp()
	r.DryRun = true
	if got := w.completed(w.run(r)); got.Status != backup.Completed || len(w.app.rows) > 0 || len(tree(t, w.app.folder)) > 0 {
		t.Errorf("%+v", got)
	}
}
