package step_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

func secretOf(text string) secret.String { return secret.New(text) }

const (
	firstRun  backup.ID = "20261121T120000Z-aaaaaa"
	secondRun backup.ID = "20261121T130000Z-bbbbbb"
)

func files() map[string]string {
	return map[string]string{"a.txt": "alpha", "b.txt": strings.Repeat("beta ", 1000), "empty": "", "ü:#&.txt": "odd"}
}

func TestBackup(t *testing.T) {
	w := newWorld(t, files())
	outcome, record, err := w.run(firstRun, "")
	if err != nil || outcome.Status != machine.Succeeded {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if record.Status != backup.Completed || record.Proof != backup.Stored || record.Objects != 4 || record.Documents != 1 ||
		record.PackedObjects != 4 || !record.Secrets || record.Notified.Status != "sent" || record.Archive.Bytes == 0 {
		t.Errorf("%+v", record)
	}
	for key := range w.contents() {
		if strings.Contains(key, "/work/") || strings.HasPrefix(key, "upload") || strings.Contains(key, "leases") {
			t.Errorf("left behind: %s", key)
		}
	}
	if diff := cmp.Diff([]backup.Status{backup.Completed}, w.told.statuses); diff != "" {
		t.Error(diff)
	}
}

func TestSecondBackupReadsWhatChanged(t *testing.T) {
	w := newWorld(t, files())
	if _, _, err := w.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Hour)
	w.source.opened = nil
	w.source.set("a.txt", "ALPHA")
	w.source.remove("empty")
	w.source.set("new", "news")
	_, record, err := w.run(secondRun, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.txt", "new"}, sortedList(w.source.opened)); diff != "" {
		t.Errorf("objects read: %s", diff)
	}
	if record.Status != backup.Completed || record.PackedObjects != 2 || record.Objects != 4 {
		t.Errorf("%+v", record)
	}
}

func sortedList(list []string) []string {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return sorted(m)
}

// TestSyncOrder shows that everything a record names is on the disk before the record says so, and the record
// before anybody is told.
func TestSyncOrder(t *testing.T) {
	w := newWorld(t, files())
	w.faults.arm(0, false, false, nil)
	if _, _, err := w.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, call := range w.faults.passed {
		switch {
		case call == "SYNC":
			order = append(order, "sync")
		case strings.HasPrefix(call, "PUT packs/"):
			order = append(order, "pack")
		case strings.HasPrefix(call, "PUT snapshots/") && strings.HasSuffix(call, "manifest.jsonl.gz"):
			order = append(order, "manifest")
		case strings.HasPrefix(call, "POST archives/"):
			order = append(order, "archive")
		case strings.HasPrefix(call, "PUT catalog/backups/"):
			order = append(order, "record")
		}
	}
	// Record in progress, two packs, manifest, archive (begin and complete), then the proof of
	// durability around the record; the last one says who was told.
	want := []string{"record", "pack", "pack", "manifest", "archive", "archive", "sync", "record", "sync", "record"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

// volatile is what differs between runs that do the same: names of attempts and times are fixed by the test, the
// random attempt is gone with the work files. The outcome of a resumed run must be the undisturbed one's.
var volatile = regexp.MustCompile(`"(expires|at)": "[^"]*"`)

func normal(contents map[string]string) map[string]string {
	out := map[string]string{}
	for key, data := range contents {
		out[key] = volatile.ReplaceAllString(data, "")
	}
	return out
}

// TestCrashSweep kills the run at every request to the store, before and after the request takes effect, runs the
// same command again, and compares the vault with that of a run that nothing disturbed.
func TestCrashSweep(t *testing.T) {
	undisturbed := newWorld(t, files())
	undisturbed.faults.arm(0, false, false, nil)
	if _, _, err := undisturbed.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	want := normal(undisturbed.contents())
	requests := undisturbed.faults.count
	if requests < 20 {
		t.Fatalf("only %d requests", requests)
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for _, after := range []bool{false, true} {
		for n := 1; n <= requests; n += stride {
			t.Run(fmt.Sprintf("request %d after=%v", n, after), func(t *testing.T) {
				t.Parallel()
				crashAt(t, n, after, want)
			})
		}
	}
}

func crashAt(t *testing.T, n int, after bool, want map[string]string) {
	w := newWorld(t, files())
	journal := filepath.Join(t.TempDir(), "run.jsonl")
	killed, stop := context.WithCancel(t.Context())
	defer stop()
	w.faults.arm(n, after, true, stop)
	w.kill(killed, stop, firstRun, journal)
	w.faults.arm(0, false, false, nil)
	outcome, record, err := w.run(firstRun, journal)
	if err != nil || outcome.Status != machine.Succeeded || record.Status != backup.Completed {
		t.Fatalf("%+v, %+v, %v", outcome, record, err)
	}
	if diff := cmp.Diff(want, normal(w.contents())); diff != "" {
		t.Errorf("the vault differs from an undisturbed one:\n%s", diff)
	}
}

// kill executes a run in which the first failing request ends everything, as SIGKILL would: nothing is cleaned up.
func (w *world) kill(ctx context.Context, stop func(), id backup.ID, journal string) {
	m := w.machine()
	engine := &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }}
	engine.Invoke = func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		answer, err := w.steps.Handle(ctx, function, payload)
		if w.faults.hasFired() {
			stop()
			return nil, context.Canceled
		}
		return answer, err
	}
	_, _ = engine.Execute(ctx, m, machine.Execution{Name: string(id), Input: input(id), Journal: journal})
}

// engineThat tells of each step before it is done.
func (w *world) engineThat(before func(step string)) *machine.Engine {
	return &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.Request
		if err := json.Unmarshal(payload, &request); err != nil {
			return nil, err
		}
		before(request.Step)
		return w.invoke(ctx, function, payload)
	}}
}

func (f *faults) hasFired() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.fired
}

func input(id backup.ID) json.RawMessage { return (&world{}).input(id) }

func (w *world) input(id backup.ID) json.RawMessage {
	data, _ := json.Marshal(events.Input{Run: events.Run{ID: id, Source: "photos", Scope: w.scope, Rehash: w.rehash, StartedBy: catalog.Starter{By: "test"}}})
	return data
}

// TestEveryStateFails fails every step, for good, and expects one terminal status and one notification.
func TestEveryStateFails(t *testing.T) {
	for _, step := range []string{"begin", "snapshot", "plan-packs", "copy", "assemble", "seal", "notify"} {
		for _, kind := range failure.Kinds() {
			if kind == failure.Canceled || kind == failure.Transient { // the one stops the run, the other waits
				continue
			}
			t.Run(step+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				failStep(t, step, kind)
			})
		}
	}
}

func failStep(t *testing.T, name string, kind failure.Kind) {
	w := newWorld(t, files())
	m := w.machine()
	engine := &machine.Engine{Read: w.read, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.Request
		if err := json.Unmarshal(payload, &request); err != nil {
			t.Error(err)
		}
		if request.Step == name {
			return nil, failure.New(kind, "told to fail")
		}
		return w.invoke(ctx, function, payload)
	}}
	outcome, err := engine.Execute(t.Context(), m, machine.Execution{Name: string(firstRun), Input: input(firstRun)})
	if err != nil {
		t.Fatal(err)
	}
	record, err := catalog.New(w.vault).Record(t.Context(), "photos", firstRun)
	switch name {
	case "begin":
		if failure.KindOf(err) != failure.NotFound || outcome.Error != kind.ErrorName() || len(w.told.statuses) != 0 {
			t.Errorf("%+v, %v, told %v", outcome, err, w.told.statuses)
		}
	case "notify": // the backup is good whatever becomes of the mail
		if err != nil || outcome.Status != machine.Succeeded || record.Status != backup.Completed {
			t.Errorf("%+v, %+v, %v", outcome, record, err)
		}
	default:
		if err != nil || outcome.Status != machine.Failed || outcome.Error != kind.ErrorName() || record.Status != backup.Failed ||
			record.Failure == nil || record.Failure.Kind != kind.String() || record.Failure.Message != "told to fail" {
			t.Errorf("%+v, %+v, %v", outcome, record, err)
		}
		if diff := cmp.Diff([]backup.Status{backup.Failed}, w.told.statuses); diff != "" {
			t.Error(diff)
		}
		for key := range w.contents() {
			if strings.Contains(key, "/work/") || strings.HasPrefix(key, "upload") || strings.Contains(key, "leases") ||
				strings.HasPrefix(key, "archives") || strings.HasPrefix(key, "packs") {
				t.Errorf("left behind: %s", key)
			}
		}
	}
}

func TestSkipWhileAnotherRuns(t *testing.T) {
	w := newWorld(t, files())
	_, err := w.vault.PutJSON(t.Context(), vault.Lease("photos"), catalog.Lease{Run: secondRun, Holder: "another", Expires: noon.Add(time.Minute)}, vault.Always())
	if err != nil {
		t.Fatal(err)
	}
	outcome, _, err := w.run(firstRun, "")
	if outcome.Status != machine.Succeeded || failure.KindOf(err) != failure.NotFound {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if !strings.Contains(string(outcome.Output), `"answer":"skip"`) {
		t.Errorf("%s", outcome.Output)
	}
}

// TestLostRunIsClosed lets a run expire and sees the next one close its record and free what it left.
func TestLostRunIsClosed(t *testing.T) {
	w := newWorld(t, files())
	w.source.fail = func(call string) error {
		if call == "listed" {
			return context.Canceled // the process dies here
		}
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	engine := &machine.Engine{Read: w.read, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		answer, err := w.steps.Handle(ctx, function, payload)
		if errors.Is(err, context.Canceled) {
			stop()
		}
		return answer, err
	}}
	_, _ = engine.Execute(ctx, w.machine(), machine.Execution{Name: string(firstRun), Input: input(firstRun)})
	stop()
	w.source.fail = nil
	w.clock = w.clock.Add(catalog.LeaseTime + time.Minute)
	if _, record, err := w.run(secondRun, ""); err != nil || record.Status != backup.Completed {
		t.Fatalf("%+v, %v", record, err)
	}
	lost, err := catalog.New(w.vault).Record(t.Context(), "photos", firstRun)
	if err != nil || lost.Status != backup.Failed || lost.Failure == nil || lost.Failure.Kind != "lost" {
		t.Errorf("%+v, %v", lost, err)
	}
}

func TestSuspicious(t *testing.T) {
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprintf("%02d", i)] = "x"
	}
	w := newWorld(t, many)
	if _, _, err := w.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		w.source.remove(fmt.Sprintf("%02d", i))
	}
	w.clock = w.clock.Add(time.Hour)
	_, record, err := w.run(secondRun, "")
	if err != nil || record.Status != backup.Partial || len(record.Problems) != 1 || record.Problems[0].Kind != "suspicious" {
		t.Errorf("%+v, %v", record, err)
	}
}

// TestScope shows that a filtered backup leaves out what lies outside, reuses the packs of the full one, and is
// compared with its own kind only.
func TestScope(t *testing.T) {
	w := newWorld(t, files())
	if _, _, err := w.run(firstRun, ""); err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Hour)
	w.source.opened = nil
	w.source.set("new", "news") // a minute before noon, the others are of 11 o'clock
	w.scope = backup.Scope{Since: noon.Add(-30 * time.Minute)}
	_, filtered, err := w.run(secondRun, "")
	if err != nil || filtered.Status != backup.Completed || filtered.Objects != 1 || len(filtered.Notes) != 1 || filtered.Notes[0].Kind != "scope" {
		t.Fatalf("%+v, %v", filtered, err)
	}
	w.clock = w.clock.Add(time.Hour)
	w.scope = backup.Scope{Until: noon.Add(-30 * time.Minute)}
	_, rest, err := w.run("20261121T140000Z-cccccc", "")
	if err != nil || rest.Status != backup.Completed || rest.Objects != 4 {
		t.Fatalf("%+v, %v", rest, err)
	}
	w.clock = w.clock.Add(time.Hour)
	w.scope = backup.Scope{}
	_, full, err := w.run("20261121T150000Z-dddddd", "")
	if err != nil || full.Status != backup.Completed || full.Objects != 5 || full.PackedObjects != 0 {
		t.Fatalf("%+v, %v", full, err)
	}
	if diff := cmp.Diff([]string{"new"}, sortedList(w.source.opened)); diff != "" {
		t.Errorf("objects read: %s", diff)
	}
}
