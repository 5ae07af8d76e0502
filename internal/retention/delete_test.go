package retention_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

// links counts revocations.
type links struct{ revoked int }

func (l *links) Revoke(context.Context, backup.Source, backup.ID) (int, error) {
	l.revoked++
	return 0, nil
}

// fixture is what the vault of a world holds at first, made once.
type fixture struct {
	objects map[vault.Key][]byte
	records map[string]catalog.Record
	shared  string // a pack of aaaaaa and bbbbbb
	own     string // a pack of aaaaaa alone
}

var fixtures = sync.OnceValue(func() fixture {
	t := &testing.T{} // what archivetest does with it cannot fail
	f := fixture{objects: map[vault.Key][]byte{}, records: map[string]catalog.Record{}}
	shared := []archivetest.File{{Path: "a", Data: []byte("alpha")}, {Path: "b", Data: []byte("beta")}}
	halved := []archivetest.File{{Path: "a", Data: []byte("alpha"), Dead: true}, {Path: "b", Data: []byte("beta")}}
	a := f.add(t, "photos", "aaaaaa", shared, []archivetest.File{{Path: "export.json", Data: []byte("1"), Document: true}})
	f.shared, f.own = a.Order[0], a.Order[1]
	f.add(t, "photos", "bbbbbb", halved, []archivetest.File{{Path: "export.json", Data: []byte("2"), Document: true}})
	f.add(t, "other", "cccccc", shared)
	return f
})

func (f fixture) add(t *testing.T, source backup.Source, letters string, packs ...[]archivetest.File) *archivetest.Backup {
	b := archivetest.New(t, packs...)
	b.Header.Source, b.Header.Backup = source, archivetest.ID(letters)
	maps.Copy(f.objects, b.Objects(t))
	_, sum := b.Manifest(t)
	record := catalog.Record{
		Format: catalog.Format, ID: b.Header.Backup, Source: source, Status: backup.Completed, Started: archivetest.Noon,
		Manifest: catalog.Manifest{Key: string(vault.Manifest(source, b.Header.Backup)), SHA256: sum.SHA256, Entries: sum.Entries},
	}
	if archive := vault.Archive(source, b.Header.Backup); letters == "aaaaaa" {
		record.Archive = catalog.Archive{Key: string(archive), Bytes: int64(len(f.objects[archive]))}
	}
	f.records[letters] = record
	return b
}

// world is a vault with the backups aaaaaa, bbbbbb and, of another source, cccccc; the first two share a pack.
type world struct {
	*vaulttest.Store
	fixture
	t       *testing.T
	catalog *catalog.Catalog
	links   *links
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, Store: vaulttest.Any(t), links: &links{}, fixture: fixtures()}
	w.records = maps.Clone(w.records)
	w.catalog = catalog.New(w.Vault)
	for key, data := range w.objects {
		if key == vault.Archive("photos", archivetest.ID("bbbbbb")) || key == vault.Archive("other", archivetest.ID("cccccc")) {
			continue // archives are views: these were never made, or have expired
		}
		if err := w.Create(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.records {
		if _, err := w.PutJSON(t.Context(), vault.Record(r.Source, r.ID), r, vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) delete(letters string) (retention.Freed, error) {
	return retention.Delete(w.t.Context(), w.Vault, w.records[letters], retention.Options{Holder: "test", Links: w.links, Now: true})
}

// gone checks that nothing of the backups is left, and that the others verify.
func (w *world) gone(letters ...string) {
	w.t.Helper()
	for _, key := range w.Keys(w.t) {
		for _, l := range letters {
			if strings.Contains(key, l) {
				w.t.Errorf("left behind: %s", key)
			}
		}
		if strings.Contains(key, "lease") {
			w.t.Errorf("left behind: %s", key)
		}
	}
	for l, record := range w.records {
		if strings.Contains(strings.Join(letters, " "), l) {
			continue
		}
		report, err := verify.Backup(w.t.Context(), w.Vault, record, verify.Options{})
		if err != nil || !report.OK {
			w.t.Errorf("%s does not verify any more: %v, %v", l, report.Problems, err)
		}
	}
}

func (w *world) has(pack string) bool {
	_, err := w.Head(w.t.Context(), vault.Pack("photos", pack))
	return err == nil
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	freed, err := w.delete("aaaaaa")
	if err != nil || freed.Packs != 1 || freed.Bytes <= w.records["aaaaaa"].Archive.Bytes || w.links.revoked != 1 {
		t.Errorf("%+v, %v", freed, err)
	}
	if !w.has(w.shared) || w.has(w.own) {
		t.Errorf("shared pack: %v, own pack: %v", w.has(w.shared), w.has(w.own))
	}
	w.gone("aaaaaa")
	if _, err := w.delete("aaaaaa"); err != nil {
		t.Errorf("again: %v", err)
	}
	if freed, err = w.delete("bbbbbb"); err != nil || freed.Packs != 2 || w.has(w.shared) {
		t.Errorf("the last of the source: %+v, %v", freed, err)
	}
	w.gone("aaaaaa", "bbbbbb")
	for _, key := range w.Keys(t) {
		if strings.Contains(key, "photos") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// failAt has the store refuse the n-th call, before or after it took effect, and counts the calls.
func (w *world) failAt(n int, after bool) *atomic.Int64 {
	calls := &atomic.Int64{}
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if calls.Add(1) != int64(n) {
			return next.RoundTrip(r)
		}
		if after {
			if answer, err := next.RoundTrip(r); err == nil {
				answer.Body.Close()
			}
		}
		return refuse(r)
	})
	return calls
}

// TestInterrupted fails at each call of the vault, before and after it took effect, and repeats the command.
func TestInterrupted(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := range vaulttest.Calls(after) {
			w := newWorld(t)
			calls := w.failAt(n, after)
			_, err := w.delete("aaaaaa")
			w.Intercept(nil)
			if int(calls.Load()) < n {
				if n < 10 || err != nil {
					t.Errorf("only %d calls, %v", calls.Load(), err)
				}
				break
			}
			t.Run(fmt.Sprintf("call %d, after=%v", n, after), func(t *testing.T) {
				if err == nil {
					t.Error("nobody learned that it was interrupted")
				}
				w.t = t
				if !w.has(w.shared) {
					t.Error("the shared pack is gone")
				}
				if _, err := w.delete("aaaaaa"); err != nil {
					t.Errorf("repeated: %v", err)
				}
				w.gone("aaaaaa")
				if w.has(w.own) || !w.has(w.shared) {
					t.Errorf("own pack: %v, shared pack: %v", w.has(w.own), w.has(w.shared))
				}
			})
		}
	}
}

// TestUnreadable: what is not known to be unneeded stays.
func TestUnreadable(t *testing.T) {
	manifestOf := func(w *world, l string) vault.Key { return vault.Manifest("photos", w.records[l].ID) }
	for name, damage := range map[string]func(*world) error{
		"the manifest of another is gone": func(w *world) error { return w.Delete(t.Context(), manifestOf(w, "bbbbbb")) },
		"the manifest of another is damaged": func(w *world) error {
			_, err := w.Put(t.Context(), manifestOf(w, "bbbbbb"), []byte("damaged"), vault.Always())
			return err
		},
		"the manifest of another is a third one's": func(w *world) error {
			empty := archivetest.New(t)
			gz, _ := empty.Manifest(t)
			_, err := w.Put(t.Context(), manifestOf(w, "bbbbbb"), gz, vault.Always())
			return err
		},
		"the record of another is damaged": func(w *world) error {
			_, err := w.Put(t.Context(), vault.Record("photos", w.records["bbbbbb"].ID), []byte("{"), vault.Always())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := damage(w); err != nil {
				t.Fatal(err)
			}
			if _, err := w.delete("aaaaaa"); err == nil {
				t.Error("no error")
			}
			if !w.has(w.shared) || !w.has(w.own) {
				t.Error("a pack is gone")
			}
		})
	}
	w := newWorld(t)
	if err := w.Delete(t.Context(), manifestOf(w, "aaaaaa")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.delete("aaaaaa"); err != nil || !w.has(w.shared) {
		t.Errorf("a backup without manifest: %v", err)
	}
	w.gone("aaaaaa")
}

// TestTwoInterrupted: of two deletions, each got as far as its manifest.
func TestTwoInterrupted(t *testing.T) {
	w := newWorld(t)
	refuse := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "catalog/backups") {
			return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
		}
		return next.RoundTrip(r)
	}
	w.Intercept(refuse)
	for _, l := range []string{"aaaaaa", "bbbbbb"} {
		if _, err := w.delete(l); failure.KindOf(err) != failure.Denied {
			t.Errorf("%v", err)
		}
	}
	w.Intercept(nil)
	for _, l := range []string{"bbbbbb", "aaaaaa"} {
		if _, err := w.delete(l); err != nil {
			t.Error(err)
		}
	}
	w.gone("aaaaaa", "bbbbbb")
}

func TestHeld(t *testing.T) {
	w := newWorld(t)
	acquire := func(run backup.ID, now time.Time) {
		t.Helper()
		if _, err := w.catalog.Acquire(t.Context(), "photos", catalog.Lease{Run: run, Holder: "another"}, now, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Another run works on the source, or the run of this very backup does.
	for _, run := range []backup.ID{archivetest.ID("zzzzzz"), w.records["aaaaaa"].ID} {
		acquire(run, time.Now())
		if _, err := w.delete("aaaaaa"); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
			t.Errorf("%s holds the source: %v", run, err)
		}
		if r, err := w.catalog.Record(t.Context(), "photos", w.records["aaaaaa"].ID); r.Status != backup.Completed || err != nil {
			t.Errorf("%s, %v", r.Status, err)
		}
		if err := w.catalog.Release(t.Context(), "photos", run); err != nil {
			t.Fatal(err)
		}
	}
	// A run that died holds it: its record is closed, since no later run would learn of it.
	dead := catalog.Record{ID: archivetest.ID("dddddd"), Source: "photos", Status: backup.InProgress, Started: time.Now().Add(-25 * time.Hour)}
	if err := w.catalog.Create(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	acquire(dead.ID, time.Now().Add(-2*catalog.LeaseTime))
	if _, err := w.delete("aaaaaa"); err != nil {
		t.Error(err)
	}
	if r, err := w.catalog.Record(t.Context(), "photos", dead.ID); err != nil || r.Status != backup.Failed || r.Failure == nil {
		t.Errorf("%+v, %v", r, err)
	}
	w.gone("aaaaaa")
}

// TestUnfinished: a run that failed half-way has no manifest, and goes too.
func TestUnfinished(t *testing.T) {
	w := newWorld(t)
	failed := catalog.Record{ID: archivetest.ID("dddddd"), Source: "photos", Status: backup.Failed, Started: archivetest.Noon}
	if err := errors.Join(
		w.catalog.Create(t.Context(), failed), w.Create(t.Context(), vault.Work("photos", failed.ID, "x/plan.json"), []byte("{}")),
	); err != nil {
		t.Fatal(err)
	}
	w.records["dddddd"] = failed
	freed, err := w.delete("dddddd")
	if diff := cmp.Diff(retention.Freed{}, freed); diff != "" || err != nil {
		t.Error(err, diff)
	}
	w.gone("dddddd")
}
