package retention_test

import (
	"net/http"
	"strings"
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
)

// archives gives bbbbbb an archive of two volumes, and returns the record of aaaaaa as it is.
func (w *world) addArchives() {
	w.t.Helper()
	b := w.records["bbbbbb"]
	first := vault.ArchiveVolume("photos", b.ID, 1)
	for _, key := range []vault.Key{first, vault.ArchiveVolume("photos", b.ID, 2)} {
		if err := w.Create(w.t.Context(), key, []byte("volume")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.update("bbbbbb", func(r *catalog.Record) {
		r.Archive = catalog.Archive{Key: string(first), Bytes: 12, CRC32: "12345678", Parts: 2}
	})
}

func (w *world) update(letters string, change func(*catalog.Record)) {
	w.t.Helper()
	r, err := w.catalog.Update(w.t.Context(), "photos", w.records[letters].ID, func(r *catalog.Record) error {
		change(r)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.records[letters] = r
}

// archiveFiles returns the letters of the backups whose archives have files.
func (w *world) archiveFiles() string {
	w.t.Helper()
	var found []string
	for _, key := range w.Keys(w.t) {
		if name, ok := strings.CutPrefix(key, "archives/photos/20261121T120000Z-"); ok {
			found = append(found, name)
		}
	}
	return strings.Join(found, " ")
}

func TestExpire(t *testing.T) {
	w := newWorld(t)
	w.addArchives()
	running := catalog.Record{ID: archivetest.ID("dddddd"), Source: "photos", Status: backup.Canceled, Started: archivetest.Noon}
	running.Archive.Key = string(vault.Archive("photos", running.ID))
	if err := w.catalog.Create(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	if err := w.Create(t.Context(), vault.Archive("photos", running.ID), []byte("of a run")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("aaaaaa.zip bbbbbb.v001.zip bbbbbb.v002.zip dddddd.zip", w.archiveFiles()); diff != "" {
		t.Fatal(diff)
	}
	o := w.at(time.Hour)
	o.ExpireArchive = func(r catalog.Record) bool { return r.ID != archivetest.ID("aaaaaa") }
	o.DryRun = true
	pruned, err := retention.Prune(t.Context(), w.Vault, "photos", o)
	if err != nil || pruned.Archives != 1 || pruned.ArchiveBytes != 12 || strings.Count(w.archiveFiles(), "bbbbbb") != 2 {
		t.Errorf("%+v, %v, %s", pruned, err, w.archiveFiles())
	}
	o.DryRun = false
	pruned, err = retention.Prune(t.Context(), w.Vault, "photos", o)
	if err != nil || pruned.Archives != 1 || pruned.ArchiveBytes != 12 || w.archiveFiles() != "aaaaaa.zip dddddd.zip" {
		t.Errorf("%+v, %v, %s", pruned, err, w.archiveFiles())
	}
	r, err := w.catalog.Record(t.Context(), "photos", w.records["bbbbbb"].ID)
	if err != nil || r.Archive.Key != "" || r.Archive.Expired.IsZero() || r.Archive.Bytes != 12 || r.Archive.CRC32 != "12345678" || r.Status != backup.Completed {
		t.Errorf("%+v, %v", r.Archive, err)
	}
	w.records["bbbbbb"] = r
	w.gone() // all verify
	if pruned, err = retention.Prune(t.Context(), w.Vault, "photos", o); err != nil || pruned.Archives != 0 {
		t.Errorf("again: %+v, %v", pruned, err)
	}
}

// TestExpireInterrupted fails at each call, before and after it took effect: the record never names an archive that is
// gone, and the next prune does the rest.
func TestExpireInterrupted(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			w.addArchives()
			o := w.at(0)
			o.Stale = func(catalog.Lease) bool { return true }
			o.ExpireArchive = func(r catalog.Record) bool { return r.ID == w.records["bbbbbb"].ID }
			calls := w.failAt(n, after)
			_, _ = retention.Prune(t.Context(), w.Vault, "photos", o)
			w.Intercept(nil)
			r, err := w.catalog.Record(t.Context(), "photos", w.records["bbbbbb"].ID)
			if err != nil || r.Archive.Key != "" && strings.Count(w.archiveFiles(), "bbbbbb") != 2 {
				t.Errorf("call %d, after %v: the record names an archive that is not whole: %s, %v", n, after, w.archiveFiles(), err)
			}
			if int(calls.Load()) < n {
				break
			}
			if _, err := retention.Prune(t.Context(), w.Vault, "photos", o); err != nil || w.archiveFiles() != "aaaaaa.zip" {
				t.Errorf("call %d, after %v: again: %v, %s", n, after, err, w.archiveFiles())
			}
		}
	}
}

func TestOldUploads(t *testing.T) {
	w := newWorld(t)
	for _, key := range []vault.Key{
		vault.Pack("photos", w.own), vault.Archive("photos", archivetest.ID("dddddd")), vault.Work("photos", archivetest.ID("dddddd"), "x"),
		vault.Pack("other", w.own), "links/photos.json",
	} {
		if _, err := w.CreateUpload(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		for _, err := range w.Uploads(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if pruned := w.prune(23 * time.Hour); pruned.Uploads != 0 || count() != 5 {
		t.Errorf("%+v, %d left", pruned, count())
	}
	if pruned := w.prune(25 * time.Hour); pruned.Uploads != 3 || count() != 2 {
		t.Errorf("%+v, %d left", pruned, count())
	}
}

// TestAfterRun: where there is nothing to do, three requests show it; what is due goes; the lease stays the run's.
func TestAfterRun(t *testing.T) {
	w := newWorld(t)
	if err := w.Delete(t.Context(), vault.Archive("photos", w.records["aaaaaa"].ID)); err != nil {
		t.Fatal(err)
	}
	run := archivetest.ID("bbbbbb")
	if _, err := w.catalog.Acquire(t.Context(), "photos", catalog.Lease{Run: run, Holder: "run"}, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	afterRun := func(look bool, later time.Duration) retention.Pruned {
		t.Helper()
		requests.Store(0)
		w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			requests.Add(1)
			return next.RoundTrip(r)
		})
		defer w.Intercept(nil)
		o := w.at(later)
		o.ExpireArchive = func(catalog.Record) bool { return true }
		pruned, err := retention.AfterRun(t.Context(), w.Vault, "photos", look, o)
		if err != nil {
			t.Error(err)
		}
		return pruned
	}
	if diff := cmp.Diff(retention.Pruned{}, afterRun(false, 0)); diff != "" || requests.Load() > 3 {
		t.Errorf("%d requests\n%s", requests.Load(), diff)
	}
	stray := strings.Repeat("a", 32)
	if err := w.Create(t.Context(), vault.Pack("photos", stray), []byte("stray")); err != nil {
		t.Fatal(err)
	}
	if pruned := afterRun(false, 0); pruned.Condemned != 0 {
		t.Errorf("it looked for garbage: %+v", pruned)
	}
	if pruned := afterRun(true, 0); pruned.Condemned != 1 || pruned.Kept != nil {
		t.Errorf("%+v", pruned)
	}
	if afterRun(false, 23*time.Hour); requests.Load() > 3 || !w.has(stray) {
		t.Errorf("%d requests, though nothing is due", requests.Load())
	}
	if pruned := afterRun(false, 25*time.Hour); pruned.Packs != 1 || w.has(stray) {
		t.Errorf("%+v", pruned)
	}
	if lease, held, err := w.catalog.Holder(t.Context(), "photos"); err != nil || !held || lease.Run != run {
		t.Errorf("%+v, %v, %v", lease, held, err)
	}
	w.Intercept(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	})
	if _, err := retention.AfterRun(t.Context(), w.Vault, "photos", true, w.at(0)); failure.KindOf(err) != failure.Denied {
		t.Errorf("nothing can be read: %v", err)
	}
	w.Intercept(nil)
}

// TestFree: the packs of a failed run go, but for those that others name, and none where that is not known.
func TestFree(t *testing.T) {
	w := newWorld(t)
	id := archivetest.ID("dddddd")
	stray := strings.Repeat("a", 32)
	result := `{"batch":0,"packs":[{"id":"` + stray + `","bytes":5,"crc32":"00000000"},{"id":"` + w.shared + `","bytes":1,"crc32":"00000000"}]}`
	for key, text := range map[vault.Key]string{vault.Work("photos", id, "1/packed/0.json"): result, vault.Pack("photos", stray): "stray"} {
		if err := w.Create(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	good, etag, err := w.Get(t.Context(), vault.Manifest("photos", w.records["bbbbbb"].ID))
	if err != nil {
		t.Fatal(err)
	}
	etag, err = w.Put(t.Context(), vault.Manifest("photos", w.records["bbbbbb"].ID), []byte("damaged"), vault.IfMatch(etag))
	if err != nil {
		t.Fatal(err)
	}
	if err := retention.Free(t.Context(), w.Vault, "photos", id); failure.KindOf(err) != failure.Corrupt || !w.has(stray) {
		t.Errorf("a manifest cannot be read: %v", err)
	}
	if _, err = w.Put(t.Context(), vault.Manifest("photos", w.records["bbbbbb"].ID), good, vault.IfMatch(etag)); err != nil {
		t.Fatal(err)
	}
	if err := retention.Free(t.Context(), w.Vault, "photos", id); err != nil || w.has(stray) || !w.has(w.shared) {
		t.Errorf("%v, stray: %v, shared: %v", err, w.has(stray), w.has(w.shared))
	}
}
