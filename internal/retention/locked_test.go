package retention_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
)

const day = 24 * time.Hour

// lock notes that objects of the pool are locked for so long from now on.
func (w *world) lock(keys map[vault.Key]time.Duration) {
	w.t.Helper()
	locks, err := w.catalog.Locks(w.t.Context(), "photos")
	if err != nil {
		w.t.Fatal(err)
	}
	for key, d := range keys {
		locks.Set(key, time.Now().Add(d))
	}
	if err := w.catalog.SaveLocks(w.t.Context(), locks, time.Now()); err != nil {
		w.t.Fatal(err)
	}
}

// TestLockedPackStays: what no backup needs is not even hidden before its lock has ended, and nobody looks for it each time.
func TestLockedPackStays(t *testing.T) {
	w := newWorld(t)
	w.lock(map[vault.Key]time.Duration{vault.Pack("photos", w.own): 30 * day})
	o := w.at(0)
	o.Now = true
	freed, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], o)
	if err != nil || freed.Packs != 0 || freed.Locked != 1 || freed.Condemned != 1 || !w.has(w.own) {
		t.Fatalf("%+v, %v", freed, err)
	}
	if until := time.Until(freed.LockedUntil); until < 29*day || until > 30*day || !freed.Due.Equal(freed.LockedUntil) {
		t.Errorf("until %s, due %s", freed.LockedUntil, freed.Due)
	}
	want := "1 pack that no backup needs any more: kept until the locks end, the last on " + freed.LockedUntil.UTC().Format("2 January 2006, 15:04 UTC")
	if got := freed.Locks(); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if pruned := w.prune(29 * day); pruned.Packs != 0 || pruned.Locked != 1 || !w.has(w.own) {
		t.Errorf("before the end: %+v", pruned)
	}
	if pruned, err := retention.AfterRun(t.Context(), w.Vault, "photos", false, w.at(3*day)); err != nil || pruned.Condemned != 0 {
		t.Errorf("a run has looked, though nothing is due: %+v, %v", pruned, err)
	}
	if pruned := w.prune(31 * day); pruned.Packs != 1 || pruned.Locked != 0 || w.has(w.own) || pruned.Locks() != "" {
		t.Errorf("after the end: %+v", pruned)
	}
}

// TestLockOnlyTheStoreKnows: a run that died before it could write down what it had locked.
func TestLockOnlyTheStoreKnows(t *testing.T) {
	w := newWorld(t)
	w.lock(nil) // locks are in use
	o := w.at(0)
	until := time.Now().Add(30 * day).UTC().Truncate(time.Second)
	shows := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, w.own) {
			answer.Header.Set("X-Amz-Object-Lock-Mode", "GOVERNANCE")
			answer.Header.Set("X-Amz-Object-Lock-Retain-Until-Date", until.Format(time.RFC3339))
		}
		return answer, err
	}
	w.Intercept(shows)
	if _, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], o); err != nil {
		t.Fatal(err)
	}
	if pruned := w.prune(2 * day); pruned.Locked != 1 || !pruned.LockedUntil.Equal(until) || !w.has(w.own) {
		t.Errorf("%+v", pruned)
	}
	if pruned := w.prune(31 * day); pruned.Packs != 1 || w.has(w.own) {
		t.Errorf("%+v", pruned)
	}
}

func TestDeleteLocked(t *testing.T) {
	w := newWorld(t)
	w.update("aaaaaa", func(r *catalog.Record) { r.LockedUntil = time.Now().Add(30 * day) })
	before := len(w.Keys(t))
	for _, now := range []bool{false, true} {
		o := w.at(29 * day)
		o.Now = now
		_, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], o)
		if failure.KindOf(err) != failure.Denied || !strings.Contains(err.Error(), "is locked until ") || failure.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
	}
	if n := len(w.Keys(t)); n != before || w.links.revoked != 0 {
		t.Errorf("%d objects of %d are left, %d links withdrawn", n, before, w.links.revoked)
	}
	if _, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.at(31*day)); err != nil {
		t.Error(err)
	}
}

func TestExpireLocked(t *testing.T) {
	w := newWorld(t)
	w.addArchives()
	w.update("bbbbbb", func(r *catalog.Record) { r.Archive.LockedUntil = time.Now().Add(7 * day) })
	for later, want := range map[time.Duration]int{6 * day: 0, 8 * day: 1} {
		o := w.at(later)
		o.DryRun = true
		o.ExpireArchive = func(r catalog.Record) bool { return r.ID == w.records["bbbbbb"].ID }
		if pruned, err := retention.Prune(t.Context(), w.Vault, "photos", o); err != nil || pruned.Archives != want {
			t.Errorf("after %s: %+v, %v", later, pruned, err)
		}
	}
}

// TestFreeLocked: what a failed run had locked already waits, too.
func TestFreeLocked(t *testing.T) {
	w := newWorld(t)
	id := w.records["aaaaaa"].ID
	stray := strings.Repeat("a", 32)
	for key, body := range map[vault.Key]string{
		vault.Pack("photos", stray):                 "stray",
		vault.Work("photos", id, "x/packed/0.json"): `{"packs":[{"id":"` + stray + `","bytes":5,"crc32":"00000000"}]}`,
	} {
		if err := w.Create(t.Context(), key, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	w.lock(map[vault.Key]time.Duration{vault.Pack("photos", stray): day})
	for later, there := range map[time.Duration]bool{0: true, 23 * time.Hour: true} {
		if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now().Add(later)); err != nil || w.has(stray) != there {
			t.Errorf("%v, there: %v", err, w.has(stray))
		}
	}
	if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now().Add(2*day)); err != nil || w.has(stray) {
		t.Errorf("when the lock has ended: %v, there: %v", err, w.has(stray))
	}
}

// shown makes the store say, in its answers to HEAD, that some objects are locked.
func (w *world) shown(until time.Time, keys ...vault.Key) {
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodHead && answer.StatusCode == http.StatusOK && slices.ContainsFunc(keys, func(key vault.Key) bool {
			return strings.HasSuffix(r.URL.Path, "/"+string(key))
		}) {
			answer.Header.Set("X-Amz-Object-Lock-Mode", "GOVERNANCE")
			answer.Header.Set("X-Amz-Object-Lock-Retain-Until-Date", until.UTC().Format(time.RFC3339))
		}
		return answer, err
	})
}

// TestFreeAsksTheStore: a run that was killed while it locked has left no list of what it had locked.
func TestFreeAsksTheStore(t *testing.T) {
	w := newWorld(t)
	id := w.records["aaaaaa"].ID
	stray := strings.Repeat("a", 32)
	for key, body := range map[vault.Key]string{
		vault.Pack("photos", stray):                 "stray",
		vault.Work("photos", id, "x/packed/0.json"): `{"packs":[{"id":"` + stray + `","bytes":5,"crc32":"00000000"}]}`,
	} {
		if err := w.Create(t.Context(), key, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	w.shown(time.Now().Add(30*day), vault.Pack("photos", stray))
	if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now()); err != nil || !w.has(stray) {
		t.Errorf("%v, there: %v", err, w.has(stray))
	}
	if err := retention.Free(t.Context(), w.Vault, "photos", id, time.Now().Add(31*day)); err != nil || w.has(stray) {
		t.Errorf("when the lock has ended: %v, there: %v", err, w.has(stray))
	}
}

// refused checks that a deletion is denied and has changed nothing.
func (w *world) refused(record catalog.Record, o retention.Options) {
	w.t.Helper()
	before := w.Keys(w.t)
	_, err := retention.Delete(w.t.Context(), w.Vault, record, o)
	if failure.KindOf(err) != failure.Denied || !strings.Contains(err.Error(), "is locked until ") || failure.HintOf(err) == "" {
		w.t.Errorf("%v", err)
	}
	if after := w.Keys(w.t); !slices.Equal(before, after) || w.links.revoked != 0 {
		w.t.Errorf("%d objects of %d are left, %d links withdrawn", len(after), len(before), w.links.revoked)
	}
	if r, err := w.catalog.Record(w.t.Context(), record.Source, record.ID); err == nil && r.Status == backup.Deleting {
		w.t.Error("it is marked as being deleted")
	}
}

// TestDeleteLockedMeanwhile: what counts is the record, not what the caller read before.
func TestDeleteLockedMeanwhile(t *testing.T) {
	w := newWorld(t)
	stale := w.records["aaaaaa"]
	w.update("aaaaaa", func(r *catalog.Record) { r.LockedUntil = time.Now().Add(30 * day) })
	w.refused(stale, w.at(0))
}

// TestDeleteLockedLonger: archive and manifest may be locked for longer than the record promises for all.
func TestDeleteLockedLonger(t *testing.T) {
	w := newWorld(t)
	w.update("aaaaaa", func(r *catalog.Record) {
		r.LockedUntil, r.Archive.LockedUntil = time.Now().Add(-time.Hour), time.Now().Add(3*day)
	})
	w.refused(w.records["aaaaaa"], w.at(0))
	id := w.records["aaaaaa"].ID
	for _, key := range []vault.Key{vault.Manifest("photos", id), vault.Archive("photos", id), vault.Record("photos", id)} {
		w.shown(time.Now().Add(5*day), key)
		w.refused(w.records["aaaaaa"], w.at(4*day))
	}
	freed, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.at(6*day))
	if err != nil || freed.Bytes != w.records["aaaaaa"].Archive.Bytes {
		t.Errorf("when all have ended: %+v, %v", freed, err)
	}
}

// TestDeleteLockedUnreadable: of a record that cannot be read the store knows whether its backup is locked.
func TestDeleteLockedUnreadable(t *testing.T) {
	w := newWorld(t)
	r := w.records["aaaaaa"]
	if _, err := w.Put(t.Context(), vault.Record(r.Source, r.ID), []byte("{"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	w.shown(time.Now().Add(5*day), vault.Manifest(r.Source, r.ID))
	w.refused(catalog.Record{Source: r.Source, ID: r.ID}, w.at(4*day))
	if _, err := retention.Delete(t.Context(), w.Vault, catalog.Record{Source: r.Source, ID: r.ID}, w.at(6*day)); err != nil {
		t.Error(err)
	}
}

// doubting finds every code wrong.
type doubting struct{ asked int }

func (*doubting) Key() string                                  { return "key" }
func (*doubting) Make(context.Context, []byte) ([]byte, error) { return make([]byte, 32), nil }
func (d *doubting) Verify(context.Context, []byte, []byte) (bool, error) {
	d.asked++
	return false, nil
}

// TestWrongMAC: where the MAC of a manifest does not verify, nobody knows what its backup needs.
func TestWrongMAC(t *testing.T) {
	w := newWorld(t)
	b := w.records["bbbbbb"]
	mac := &doubting{}
	data, err := manifest.Authenticate(t.Context(), mac, manifest.Sealed{Source: b.Source, Backup: b.ID, SHA256: b.Manifest.SHA256, Entries: b.Manifest.Entries})
	if err == nil {
		err = w.Create(t.Context(), vault.MAC(b.Source, b.ID), data)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.update("bbbbbb", func(r *catalog.Record) { r.Manifest.MAC = string(vault.MAC(b.Source, b.ID)) })
	o := w.at(0)
	o.MAC = mac
	freed, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], o)
	if err != nil || failure.KindOf(freed.Kept) != failure.Corrupt || mac.asked != 1 || freed.Condemned != 0 {
		t.Errorf("%+v, %v", freed, err)
	}
}
