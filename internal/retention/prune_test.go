package retention_test

import (
	"errors"
	"net/http"
	"os"
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
		for n := range vaulttest.Calls(after) {
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

// TestAfterRun: where there is nothing to do, three requests show it, and two once somebody has looked; what is due goes;
// the lease stays the run's.
func TestAfterRun(t *testing.T) {
	w := newWorld(t)
	run := archivetest.ID("bbbbbb")
	begun := time.Since(run.Time())
	if _, err := w.catalog.Acquire(t.Context(), "photos", catalog.Lease{Run: run, Holder: "run"}, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	after := func(look bool, o retention.Options) retention.Pruned {
		t.Helper()
		requests.Store(0)
		w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			requests.Add(1)
			return next.RoundTrip(r)
		})
		defer w.Intercept(nil)
		pruned, err := retention.AfterRun(t.Context(), w.Vault, "photos", look, o)
		if err != nil {
			t.Error(err)
		}
		return pruned
	}
	afterRun := func(look bool, later time.Duration) retention.Pruned {
		t.Helper()
		return after(look, w.at(later-begun))
	}
	if diff := cmp.Diff(retention.Pruned{}, afterRun(false, 0)); diff != "" || requests.Load() != 3 {
		t.Errorf("%d requests\n%s", requests.Load(), diff)
	}
	o := w.at(-begun)
	o.ExpireArchive = func(catalog.Record) bool { return false }
	if diff := cmp.Diff(retention.Pruned{}, after(false, o)); diff != "" || requests.Load() != 5 { // of two records, one has an archive
		t.Errorf("%d requests\n%s", requests.Load(), diff)
	}
	stray := strings.Repeat("a", 32)
	if err := w.Create(t.Context(), vault.Pack("photos", stray), []byte("stray")); err != nil {
		t.Fatal(err)
	}
	if pruned := afterRun(false, retention.LookTime-time.Second); pruned.Condemned != 0 || requests.Load() != 3 {
		t.Errorf("it looked for garbage: %+v", pruned)
	}
	if pruned := afterRun(true, begun); pruned.Condemned != 1 || pruned.Kept != nil { // the object is younger than the backups
		t.Errorf("%+v", pruned)
	}
	if afterRun(false, begun+23*time.Hour); requests.Load() != 2 || !w.has(stray) {
		t.Errorf("%d requests, though nothing is due", requests.Load())
	}
	if pruned := afterRun(false, begun+25*time.Hour); pruned.Packs != 1 || w.has(stray) {
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

// TestLookAgain: garbage that nobody knows of, of an attempt that was killed, is found a week after the first backup or
// after somebody has looked; where it cannot be looked for, a week later again.
func TestLookAgain(t *testing.T) {
	w := newWorld(t)
	if w.Folder == "" {
		t.Skip("the modelled store has no files that could be made older")
	}
	first := w.records["aaaaaa"].ID.Time()
	begun := time.Since(first)
	stray := func(letter string) {
		t.Helper()
		key := vault.Pack("photos", strings.Repeat(letter, 32))
		if err := errors.Join(w.Create(t.Context(), key, []byte("stray")), os.Chtimes(w.Path(key), first, first)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(later time.Duration) retention.Pruned {
		t.Helper()
		pruned, err := retention.AfterRun(t.Context(), w.Vault, "photos", false, w.at(later-begun))
		if err != nil {
			t.Fatal(err)
		}
		return pruned
	}
	const week = retention.LookTime
	stray("a")
	if pruned := at(week - time.Minute); pruned.Condemned != 0 {
		t.Errorf("too early: %+v", pruned)
	}
	if pruned := at(week); pruned.Condemned != 1 {
		t.Errorf("a week after the first backup: %+v", pruned)
	}
	if pruned := at(week + 25*time.Hour); pruned.Packs != 1 || pruned.Condemned != 0 {
		t.Errorf("%+v", pruned)
	}
	stray("b")
	if pruned := at(2*week + 24*time.Hour); pruned.Condemned != 0 {
		t.Errorf("less than a week after the last look: %+v", pruned)
	}
	if err := w.Delete(t.Context(), vault.Pack("photos", w.shared)); err != nil {
		t.Fatal(err)
	}
	if pruned := at(2*week + 26*time.Hour); failure.KindOf(pruned.Kept) != failure.NotFound {
		t.Errorf("%+v", pruned)
	}
	if pruned := at(3*week + 25*time.Hour); pruned.Kept != nil {
		t.Errorf("less than a week after the last look: %+v", pruned)
	}
	if err := w.Create(t.Context(), vault.Pack("photos", w.shared), w.objects[vault.Pack("photos", w.shared)]); err != nil {
		t.Fatal(err)
	}
	if pruned := at(3*week + 27*time.Hour); pruned.Condemned != 1 {
		t.Errorf("a week after the last look: %+v", pruned)
	}
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
	if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now()); failure.KindOf(err) != failure.Corrupt || !w.has(stray) {
		t.Errorf("a manifest cannot be read: %v", err)
	}
	if _, err = w.Put(t.Context(), vault.Manifest("photos", w.records["bbbbbb"].ID), good, vault.IfMatch(etag)); err != nil {
		t.Fatal(err)
	}
	if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now()); err != nil || w.has(stray) || !w.has(w.shared) {
		t.Errorf("%v, stray: %v, shared: %v", err, w.has(stray), w.has(w.shared))
	}
}
