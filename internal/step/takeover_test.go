package step_test

import (
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/vault"
)

// closed is what another run does that finds this one dead: it ends its record.
func (w *world) closed(id backup.ID) {
	_, err := catalog.New(w.vault).Update(w.t.Context(), "photos", id, func(r *catalog.Record) error {
		r.Status, r.Failure = backup.Failed, &catalog.Failure{Kind: "lost", Message: "it seemed dead"}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// taken gives the source to another run.
func (w *world) taken() {
	lease := catalog.Lease{Run: secondRun, Holder: "another", Expires: w.clock.Add(catalog.LeaseTime)}
	if _, err := w.vault.PutJSON(w.t.Context(), vault.Lease("photos"), lease, vault.Always()); err != nil {
		w.t.Fatal(err)
	}
}

// TestSealAfterTakeover: a process that slept while it sealed must not complete what another one has ended meanwhile.
func TestSealAfterTakeover(t *testing.T) {
	for name, happens := range map[string]func(*world){
		"the record is closed":    func(w *world) { w.closed(firstRun) },
		"another holds the lease": func(w *world) { w.taken() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, files())
			w.onSync = func() { w.onSync = nil; happens(w) }
			outcome, record, err := w.run(firstRun, "")
			if err != nil || outcome.Status != machine.Failed || outcome.Error != failure.Conflict.ErrorName() || record.Status.Good() {
				t.Errorf("%+v, %+v, %v", outcome, record, err)
			}
		})
	}
}

// TestRecordNamesWhatIsThere: a manifest that was removed while its run sealed is not named.
func TestRecordNamesWhatIsThere(t *testing.T) {
	w := newWorld(t, files())
	engine := w.engineThat(func(stepName string) {
		if stepName == "seal" {
			if err := w.vault.Delete(t.Context(), vault.Manifest("photos", firstRun)); err != nil {
				t.Fatal(err)
			}
		}
	})
	outcome, err := engine.Execute(t.Context(), w.machine(), machine.Execution{Name: string(firstRun), Input: w.input(firstRun)})
	if err != nil || outcome.Status != machine.Failed {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// withoutArchive makes a backup and expires its archive.
func (w *world) withoutArchive(id backup.ID) catalog.Record {
	w.t.Helper()
	if _, record, err := w.run(id, ""); err != nil || !record.Status.Good() {
		w.t.Fatalf("%+v, %v", record, err)
	}
	record, err := catalog.New(w.vault).Update(w.t.Context(), "photos", id, func(r *catalog.Record) error {
		r.Archive.Key, r.Archive.Expired = "", w.clock
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.vault.DeleteAll(w.t.Context(), vault.ArchiveFiles("photos", id)); err != nil {
		w.t.Fatal(err)
	}
	return record
}

// archives is true when the vault has an archive of the backup.
func (w *world) hasArchive(id backup.ID) bool {
	for key := range w.contents() {
		if strings.HasPrefix(key, string(vault.ArchiveFiles("photos", id))) {
			return true
		}
	}
	return false
}

func TestMakeArchiveOfAnother(t *testing.T) {
	w := newWorld(t, files())
	w.withoutArchive(firstRun)
	w.clock = w.clock.Add(time.Hour)
	w.source.set("new", "something else")
	if _, _, err := w.run(secondRun, ""); err != nil {
		t.Fatal(err)
	}
	for _, key := range []func(backup.Source, backup.ID) vault.Key{vault.Manifest, vault.Seal} {
		data, _, err := w.vault.Get(t.Context(), key("photos", secondRun))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.vault.Put(t.Context(), key("photos", firstRun), data, vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	record, err := w.newSteps().MakeArchive(t.Context(), "photos", firstRun)
	if failure.KindOf(err) != failure.Corrupt || record.Archive.Key != "" || w.hasArchive(firstRun) {
		t.Errorf("the archive of another backup: %+v, %v", record.Archive, err)
	}
}

// TestMakeArchiveTakenOver: an archive is not named by a process that no longer holds the source, whose prune may have
// deleted it.
func TestMakeArchiveTakenOver(t *testing.T) {
	w := newWorld(t, files())
	w.withoutArchive(firstRun)
	w.onSync = w.taken
	_, err := w.newSteps().MakeArchive(t.Context(), "photos", firstRun)
	record, readErr := catalog.New(w.vault).Record(t.Context(), "photos", firstRun)
	if failure.KindOf(err) != failure.Conflict || readErr != nil || record.Archive.Key != "" {
		t.Errorf("%+v, %v, %v", record.Archive, err, readErr)
	}
}

// TestDamagedStaysDamaged: an archive that is made again proves nothing about a backup that was found damaged.
func TestDamagedStaysDamaged(t *testing.T) {
	w := newWorld(t, files())
	w.withoutArchive(firstRun)
	if _, err := catalog.New(w.vault).Update(t.Context(), "photos", firstRun, func(r *catalog.Record) error {
		r.Proof, r.Damage = backup.Unproven, "1 problem"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	record, err := w.newSteps().MakeArchive(t.Context(), "photos", firstRun)
	if err != nil || record.Proof != backup.Unproven || record.Damage == "" || record.Archive.Key == "" {
		t.Errorf("%q, %q, %+v, %v", record.Proof, record.Damage, record.Archive, err)
	}
}

// TestOnDemandIsProven: without an archive it is the packs that the store is asked about.
func TestOnDemandIsProven(t *testing.T) {
	w := newWorld(t, files())
	w.policy.OnDemand = true
	w.faults.arm(0, false, false, nil)
	_, record, err := w.run(firstRun, "")
	if err != nil || record.Status != backup.Completed || record.Proof != backup.Stored || record.Archive.Key != "" {
		t.Fatalf("%+v, %v", record, err)
	}
	heads := 0
	for _, call := range w.faults.passed {
		if strings.HasPrefix(call, "HEAD packs/") {
			heads++
		}
	}
	if heads == 0 {
		t.Error("no pack was looked at")
	}
}
