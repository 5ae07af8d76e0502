package apptest

import (
	"fmt"
	"testing"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/vault"
)

// honest wants a run that met trouble to be a failure that says why, or a backup that says what it lacks: an object
// that was listed is there as it was, or there is a problem that names it.
func (w *world) honest(record catalog.Record, s Subject, want map[string]string) {
	w.t.Helper()
	if record.Status == backup.Failed {
		if record.Failure == nil || record.Failure.Message == "" || record.Archive.Key != "" || w.hasArchive(record.ID) {
			w.t.Errorf("a failed backup has no reason, or an archive: %+v", record)
		}
		return
	}
	if !record.Status.Good() || (record.Status == backup.Completed) != (record.ProblemsTotal == 0) {
		w.t.Errorf("the backup is %s with %d problems", record.Status, record.ProblemsTotal)
	}
	contents, named := w.verified(record), map[string]bool{}
	for _, p := range record.Problems {
		named[p.Item] = true
	}
	for _, path := range s.Documents {
		if _, ok := contents[path]; !ok {
			w.t.Errorf("a backup that is %s lacks the document %s", record.Status, path)
		}
	}
	for path, content := range want {
		if got, ok := contents[path]; (!ok || got != content) && !named[path] {
			w.t.Errorf("a backup that is %s has %q %s, and no problem names it", record.Status, path,
				map[bool]string{true: "with other bytes", false: "not"}[ok])
		}
	}
}

// changesMeanwhile changes objects after they were listed: what is in the backup is one version or the other, and the
// newer one is a problem. The next backup is a good one again.
func changesMeanwhile(t *testing.T, v *vault.Vault, s Subject) {
	w := newWorld(t, v, s.Source)
	before := s.Objects()
	w.source.listed = func() { s.Change(t) }
	record := w.backup()
	w.honest(record, s, before)
	after, contents := s.Objects(), w.verified(record)
	for path := range before {
		if got, ok := contents[path]; ok && got != before[path] && got != after[path] {
			t.Errorf("%q is in the backup with bytes that it never had", path)
		}
	}
	if record.Status != backup.Partial {
		t.Errorf("objects changed after they were listed, the backup is %s", record.Status)
	}
	holds(t, "the next backup", w.verified(w.completed()), s)
}

// vanishesMeanwhile removes an object after it was listed: a problem names it, and the others are there.
func vanishesMeanwhile(t *testing.T, v *vault.Vault, s Subject) {
	w := newWorld(t, v, s.Source)
	before, gone := s.Objects(), ""
	w.source.listed = func() { gone = s.Remove(t) }
	record := w.backup()
	w.honest(record, s, before)
	if record.Status != backup.Partial || len(record.Problems) != 1 || record.Problems[0].Item != gone {
		t.Errorf("%q vanished, the backup is %s: %+v", gone, record.Status, record.Problems)
	}
	if _, there := w.verified(record)[gone]; there {
		t.Errorf("%q is in the backup, though it was gone", gone)
	}
	holds(t, "the next backup", w.verified(w.completed()), s)
}

// failsAtEveryCall lets one call of the adapter fail, run for run: each sort of call in some of the ways, now the first
// of them, now a later one.
func failsAtEveryCall(t *testing.T, v *vault.Vault, s Subject) {
	want, stride := s.Objects(), 3
	if s.Thorough {
		stride = 1
	}
	for i, call := range calls {
		for j := i % stride; j < len(faults); j += stride {
			t.Run(fmt.Sprintf("%s: %v", call, faults[j]), func(t *testing.T) {
				t.Parallel()
				n := 1
				if call != "Snapshot" && j%3 > 0 {
					n = max(1, len(want)/2)
				}
				failsOnce(t, newWorld(t, v, s.Source), s, want, faults[j], call, n)
			})
		}
	}
}

func failsOnce(t *testing.T, w *world, s Subject, want map[string]string, fault error, call string, n int) {
	w.source.arm(call, n, fault)
	record := w.backup()
	w.honest(record, s, want)
	if !w.source.fired {
		t.Errorf("the run got along without %d calls of %s", n, call)
	}
	if call == "Open" { // what is left behind must not hurt the next one
		holds(t, "the next backup", w.verified(w.completed()), s)
	}
}

// applicationFails lets the application fail at its n-th request: at each of the first, then at some of the others.
func applicationFails(t *testing.T, v *vault.Vault, s Subject) {
	if s.Fail == nil {
		t.Skip("the application can't be made to fail")
	}
	want := s.Objects()
	for n := 1; ; n += 1 + n/5*4 {
		w := newWorld(t, v, s.Source)
		end := s.Fail(t, n)
		record := w.backup()
		if !end() {
			return
		}
		if w.honest(record, s, want); t.Failed() {
			t.Fatalf("request %d failed", n)
		}
	}
}
