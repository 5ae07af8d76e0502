package retention_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
)

var killedPack = strings.Repeat("a", 32)

// kill leaves what a run that was killed leaves: dddddd, with its lease.
func (w *world) kill(started time.Time) catalog.Record {
	w.t.Helper()
	r := catalog.Record{ID: archivetest.ID("dddddd"), Source: "photos", Status: backup.InProgress, Started: started}
	if err := w.catalog.Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	result := `{"batch":0,"packs":[{"id":"` + killedPack + `","bytes":5,"crc32":"00000000"},{"id":"` + w.shared + `","bytes":1,"crc32":"00000000"}]}`
	for key, text := range map[vault.Key]string{
		vault.Work("photos", r.ID, "1/packed/0.json"): result, vault.Pack("photos", killedPack): "stray",
		vault.Manifest("photos", r.ID): "m", vault.Seal("photos", r.ID): "s", vault.VolumeManifest("photos", r.ID, 1): "v",
		vault.ArchiveVolume("photos", r.ID, 1): "first volume",
	} {
		if err := w.Create(w.t.Context(), key, []byte(text)); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, key := range []vault.Key{vault.ArchiveVolume("photos", r.ID, 2), vault.Work("photos", r.ID, "1/tail-1")} {
		if _, err := w.CreateUpload(w.t.Context(), key); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.catalog.Acquire(w.t.Context(), "photos", catalog.Lease{Run: r.ID, Holder: "dead"}, time.Now(), nil); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// left returns what there is of dddddd, but for its record.
func (w *world) left() (left []string) {
	w.t.Helper()
	for _, key := range w.Keys(w.t) {
		if strings.Contains(key, "dddddd") && !strings.HasPrefix(key, "catalog/backups/") || strings.Contains(key, killedPack) {
			left = append(left, key)
		}
	}
	return left
}

func (w *world) afterKill() retention.Options {
	o := w.at(0)
	o.Now, o.Stale = true, func(l catalog.Lease) bool { return l.Holder == "dead" }
	return o
}

// TestKilled: a run that was killed less than a day ago can be gone on with after a prune, and stops a deletion; an older
// one is closed, and nothing of it is left.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	run := w.kill(time.Now().Add(-23 * time.Hour))
	before := fmt.Sprint(w.left())
	pruned, err := retention.Prune(t.Context(), w.Vault, "photos", w.afterKill())
	if err != nil || failure.KindOf(pruned.Kept) != failure.Conflict || failure.HintOf(pruned.Kept) == "" || fmt.Sprint(w.left()) != before {
		t.Errorf("%+v, %v, left: %v", pruned, err, w.left())
	}
	if r, err := w.catalog.Record(t.Context(), "photos", run.ID); err != nil || r.Status != backup.InProgress {
		t.Errorf("%+v, %v", r, err)
	}
	if _, held, err := w.catalog.Holder(t.Context(), "photos"); held || err != nil {
		t.Errorf("the lease was not given back: %v", err)
	}
	if _, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.afterKill()); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if r, err := w.catalog.Record(t.Context(), "photos", w.records["aaaaaa"].ID); err != nil || r.Status != backup.Completed {
		t.Errorf("%+v, %v", r, err)
	}
	o := w.afterKill()
	o.Clock = w.at(2 * time.Hour).Clock
	if pruned, err = retention.Prune(t.Context(), w.Vault, "photos", o); err != nil || pruned.Kept != nil || len(w.left()) > 0 {
		t.Errorf("%+v, %v, left: %v", pruned, err, w.left())
	}
	r, err := w.catalog.Record(t.Context(), "photos", run.ID)
	if err != nil || r.Status != backup.Failed || r.Failure == nil || r.Failure.Kind != "lost" || r.Finished.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	w.NoUploads(t)
	if !w.has(w.shared) {
		t.Error("a pack that others name is gone")
	}
	w.gone()
}

// TestKilledInterrupted fails at each call, before and after it took effect: the next prune does the rest.
func TestKilledInterrupted(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := range vaulttest.Calls(after) {
			w := newWorld(t)
			w.kill(time.Now().Add(-25 * time.Hour))
			calls := w.failAt(n, after)
			o := w.afterKill()
			o.Stale = func(catalog.Lease) bool { return true }
			_, _ = retention.Prune(t.Context(), w.Vault, "photos", o)
			w.Intercept(nil)
			if int(calls.Load()) < n {
				break
			}
			pruned, err := retention.Prune(t.Context(), w.Vault, "photos", o)
			if err != nil || pruned.Kept != nil || len(w.left()) > 0 {
				t.Errorf("call %d, after %v: %+v, %v, left: %v", n, after, pruned, err, w.left())
			}
			w.NoUploads(t)
			w.gone()
		}
	}
}

// TestDeleteUnreadable: a record that cannot be read goes with all of its backup, and the others keep what they need; one
// of a later format stays.
func TestDeleteUnreadable(t *testing.T) {
	damage := func(w *world, text string) catalog.Record {
		t.Helper()
		r := catalog.Record{Source: "photos", ID: w.records["aaaaaa"].ID}
		if _, err := w.Put(t.Context(), vault.Record("photos", r.ID), []byte(text), vault.Always()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, now := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for n := range vaulttest.Calls(after) {
				w := newWorld(t)
				r := damage(w, "{")
				o := w.at(0)
				o.Now = now
				calls := w.failAt(n, after)
				freed, err := retention.Delete(t.Context(), w.Vault, r, o)
				w.Intercept(nil)
				if int(calls.Load()) < n {
					if err != nil || freed.Kept != nil || now && freed.Packs != 1 || !now && freed.Condemned != 1 {
						t.Errorf("now %v: %+v, %v", now, freed, err)
					}
					break
				}
				if err == nil {
					t.Errorf("call %d, after %v: no error", n, after)
				}
				if _, err := retention.Delete(t.Context(), w.Vault, r, o); err != nil || now == w.has(w.own) {
					t.Errorf("call %d, after %v: again: %v", n, after, err)
				}
				w.gone("aaaaaa")
			}
		}
	}
	w := newWorld(t)
	if _, err := retention.Delete(t.Context(), w.Vault, damage(w, `{"format":99}`), w.at(0)); failure.KindOf(err) != failure.Invalid {
		t.Errorf("of a later format: %v", err)
	}
	if !w.has(w.own) {
		t.Error("its pack is gone")
	}
}

// TestDeleteVolumes: uploads of volumes go with their backup.
func TestDeleteVolumes(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateUpload(t.Context(), vault.ArchiveVolume("photos", w.records["aaaaaa"].ID, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.delete("aaaaaa"); err != nil {
		t.Fatal(err)
	}
	w.NoUploads(t)
	w.gone("aaaaaa")
}
