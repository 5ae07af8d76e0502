package step_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/machine"
	"lifeboat/internal/manifest"
	"lifeboat/internal/retention"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// spliced returns an application whose objects the store splices into a pack, and whose archive has two volumes.
func spliced(t *testing.T) *modelled {
	m := newModelled(t, s3model.Options{})
	for n := range 3 {
		m.put(fmt.Sprintf("small/%d", n), uint64(n), 100_000, noon)
	}
	m.put("large/1", 11, 10*mib, noon)
	m.put("large/2", 12, 5*mib+9, noon)
	m.policy = step.Policy{Floor: 5 * mib, Split: 12 * mib}
	return m
}

// TestSplicedRunResumes kills a run of spliced packs and two volumes at every request, before and after it takes effect,
// runs the same command in another process, and compares the vault with that of a run that nothing disturbed.
func TestSplicedRunResumes(t *testing.T) {
	undisturbed := spliced(t)
	undisturbed.faults.arm(0, false, false, nil)
	record := undisturbed.good(firstRun)
	if len(record.Archive.Volumes) != 2 {
		t.Fatalf("%+v", record.Archive)
	}
	requests := undisturbed.faults.count
	if report, err := undisturbed.checked(record); err != nil || !report.OK {
		t.Fatalf("%+v, %v", report, err)
	}
	want, listed := undisturbed.sums(), undisturbed.listed(firstRun)
	stride := 1
	if brief() {
		stride = 9
	}
	var renamed atomic.Int64
	t.Run("killed", func(t *testing.T) {
		for n := 1; n <= requests; n += stride {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for _, after := range []bool{false, true} {
					got := resumed(t, n, after, want, listed)
					if !sameKeys(want, got) {
						renamed.Add(1) // a pack was complete, and the attempt died before it could say so
					} else if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("after=%v: the vault differs from an undisturbed one:\n%s", after, diff)
					}
				}
			})
		}
	})
	t.Logf("%d requests, %d times packs were made again", requests, renamed.Load())
	if n := renamed.Load(); n > 5 {
		t.Errorf("in %d of %d cases the packs have other names", n, 2*requests/stride)
	}
}

// resumed kills a run and starts it again. It returns the sums of what the vault has once what nobody needs is swept;
// where those cannot be the wanted ones, the backup has been read.
func resumed(t *testing.T, n int, after bool, want map[string]string, listed []string) map[string]string {
	t.Helper()
	m := spliced(t)
	journal := filepath.Join(t.TempDir(), "run.jsonl")
	killed, stop := context.WithCancel(t.Context())
	defer stop()
	m.faults.arm(n, after, true, stop)
	m.kill(killed, stop, firstRun, journal)
	m.faults.arm(0, false, false, nil)
	m.steps = m.newSteps()
	outcome, record, err := m.run(firstRun, journal)
	if err != nil || outcome.Status != machine.Succeeded || record.Status != backup.Completed {
		t.Fatalf("%+v, %+v, %v", outcome, record, err)
	}
	m.nothingLeft()
	if diff := cmp.Diff(listed, m.listed(firstRun)); diff != "" {
		t.Errorf("after=%v: other entries:\n%s", after, diff)
	}
	if _, err := retention.Prune(t.Context(), m.vault, "photos", retention.Options{Holder: "test", Now: true}); err != nil {
		t.Fatal(err)
	}
	got := m.sums()
	delete(got, string(vault.Condemned("photos"))) // says when the pool was looked through
	if sameKeys(want, got) {
		return got
	}
	if report, err := m.checked(record); err != nil || !report.OK || len(got) != len(want) {
		t.Errorf("%d objects, %d in an undisturbed vault; %+v, %v", len(got), len(want), report, err)
	}
	return got
}

func sameKeys(a, b map[string]string) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
}

// listed returns what the manifest of a backup lists, but for where it lies.
func (w *world) listed(id backup.ID) []string {
	w.t.Helper()
	list, body, err := w.open(vault.Manifest("photos", id))
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	var lines []string
	for e, err := range list.Entries() {
		if err != nil {
			w.t.Fatal(err)
		}
		e.Header, e.BodyPlace = manifest.Place{Offset: e.Header.Offset}, nil
		line, err := json.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}
