package step_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/s3model"
	"lifeboat/internal/vault"
)

// hurried is a context whose deadline has passed, and that does not end: a piece of a snapshot is as small as can be.
type hurried struct{ context.Context }

// Deadline implements context.Context.
func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// listedApp is an application of a few objects in a bucket.
func listedApp(t *testing.T) *modelled {
	m := newModelled(t, s3model.Options{})
	for n := range 9 {
		m.put(fmt.Sprintf("photos/%d", n), uint64(n), 1000, noon.Add(-time.Duration(n)*time.Hour))
	}
	return m
}

// scoped is a run whose scope leaves out some of them, so that every piece has something to find at its end.
func scoped(id backup.ID) json.RawMessage {
	data, err := json.Marshal(events.Input{Run: events.Run{
		ID: id, Source: "photos", Scope: backup.Scope{Since: noon.Add(-6 * time.Hour)}, StartedBy: catalog.Starter{By: "person"},
	}})
	if err != nil {
		panic(err)
	}
	return data
}

// through runs a backup of which the test takes the snapshot.
func (w *world) through(ctx context.Context, journal string, snapshot machine.Invoker) (machine.Outcome, error) {
	engine := &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.Request
		if err := events.Decode(payload, &request); err != nil {
			return nil, err
		}
		if request.Step == "snapshot" {
			return snapshot(ctx, function, payload)
		}
		return w.invoke(ctx, function, payload)
	}}
	return engine.Execute(ctx, w.machine(), machine.Execution{Name: string(firstRun), Input: scoped(firstRun), Journal: journal})
}

func (w *world) hurry(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	return w.invoke(hurried{ctx}, function, payload)
}

// inOneGo returns what the vault has after a backup that nothing disturbed.
func inOneGo(t *testing.T) map[string]string {
	t.Helper()
	m := listedApp(t)
	m.mustThrough(m.invoke)
	return m.sums()
}

// mustThrough makes a backup that completes and leaves nothing behind.
func (m *modelled) mustThrough(snapshot machine.Invoker) {
	m.t.Helper()
	outcome, err := m.through(m.t.Context(), "", snapshot)
	if err != nil || outcome.Status != machine.Succeeded {
		m.t.Fatalf("%+v, %v", outcome, err)
	}
	m.nothingLeft()
}

func (m *modelled) equals(want map[string]string) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.sums()); diff != "" {
		m.t.Errorf("the vault differs from one whose snapshot was taken in one go:\n%s", diff)
	}
}

// TestPieces takes a snapshot in pieces of one object, each of them twice, as after an answer that got lost.
func TestPieces(t *testing.T) {
	want := inOneGo(t)
	m, calls := listedApp(t), 0
	m.mustThrough(func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		if calls++; calls > 1 {
			if _, err := m.hurry(ctx, function, payload); err != nil {
				t.Error(err)
			}
		}
		answer, err := m.hurry(ctx, function, payload)
		if len(answer) > 200 {
			t.Errorf("the state holds %s", answer)
		}
		return answer, err
	})
	if calls < 4 {
		t.Errorf("the step was called %d times", calls)
	}
	m.equals(want)
}

// TestPiecesAfterCrash kills the function at every request of a snapshot in pieces, before and after it takes effect.
func TestPiecesAfterCrash(t *testing.T) {
	want := inOneGo(t)
	undisturbed := listedApp(t)
	undisturbed.faults.arm(0, false, false, nil)
	undisturbed.mustThrough(undisturbed.hurry)
	stride := 2
	if brief() {
		stride = 11
	}
	for n := 1; n <= undisturbed.faults.count; n += stride {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			for _, after := range []bool{false, true} {
				piecesAfterCrash(t, n, after, want)
			}
		})
	}
}

func piecesAfterCrash(t *testing.T, n int, after bool, want map[string]string) {
	m := listedApp(t)
	journal := filepath.Join(t.TempDir(), "run.jsonl")
	killed, stop := context.WithCancel(t.Context())
	defer stop()
	m.faults.arm(n, after, true, stop)
	engine := &machine.Engine{Read: m.read, Rand: func() float64 { return 0 }, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		if bytes.Contains(payload, []byte(`"step":"snapshot"`)) {
			ctx = hurried{ctx}
		}
		answer, err := m.steps.Handle(ctx, function, payload)
		if m.faults.hasFired() {
			stop()
			return nil, context.Canceled
		}
		return answer, err
	}}
	_, _ = engine.Execute(killed, m.machine(), machine.Execution{Name: string(firstRun), Input: scoped(firstRun), Journal: journal})
	m.faults.arm(0, false, false, nil)
	m.steps = m.newSteps()
	outcome, err := m.through(t.Context(), journal, m.hurry)
	if err != nil || outcome.Status != machine.Succeeded {
		t.Fatalf("after=%v: %+v, %v", after, outcome, err)
	}
	m.nothingLeft()
	if got := m.sums(); sameKeys(want, got) { // otherwise a pack was made again under another name
		m.equals(want)
	}
}

// gated is an application whose n-th object waits, in whichever call it comes.
type gated struct {
	app.Pausing
	mutex sync.Mutex
	left  int
	at    chan struct{} // closed when it waits
	open  chan struct{} // close it to let it go on
}

// SnapshotFrom implements app.Pausing.
func (g *gated) SnapshotFrom(ctx context.Context, scope backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	return g.Pausing.SnapshotFrom(ctx, scope, from, gatedSink{sink, g})
}

type gatedSink struct {
	app.PausingSink
	*gated
}

// Object implements app.Sink.
func (s gatedSink) Object(o app.Object) error {
	s.mutex.Lock()
	s.left--
	mine := s.left == 0
	s.mutex.Unlock()
	if mine {
		close(s.at)
		<-s.open
	}
	return s.PausingSink.Object(o)
}

// TestPiecesOfTwo lets a call that was given up live on, while its repetition works on the same attempt: whoever ends
// first, and whether he pauses or ends the list, the other one's files count for nothing, or his count alone.
func TestPiecesOfTwo(t *testing.T) {
	want := inOneGo(t)
	for _, orphanHurries := range []bool{false, true} {
		for _, orphanFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("the orphan hurries: %v, ends first: %v", orphanHurries, orphanFirst), func(t *testing.T) {
				m := listedApp(t)
				g := &gated{Pausing: m.app.(app.Pausing), left: 3, at: make(chan struct{}), open: make(chan struct{})}
				m.app = g
				m.steps = m.newSteps()
				m.mustThrough(m.withOrphan(g, orphanHurries, orphanFirst))
				m.equals(want)
			})
		}
	}
}

// withOrphan takes a snapshot whose second call waits at its first object.
func (m *modelled) withOrphan(g *gated, hurries, first bool) machine.Invoker {
	calls, done := 0, make(chan struct{})
	return func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		calls++
		if calls != 3 {
			return m.hurry(ctx, function, payload)
		}
		orphan := m.newSteps() // another process
		go func() {
			defer close(done)
			working := ctx
			if hurries {
				working = hurried{ctx}
			}
			if _, err := orphan.Handle(working, function, payload); err != nil {
				m.t.Errorf("the orphan: %v", err)
			}
		}()
		<-g.at
		if first {
			close(g.open)
			<-done
			return m.hurry(ctx, function, payload)
		}
		answer, err := m.hurry(ctx, function, payload)
		close(g.open)
		<-done
		return answer, err
	}
}

// stuck is an application that does what the test says.
type stuck struct {
	*fake
	piece func(ctx context.Context, from []byte, sink app.PausingSink) (app.Facts, error)
}

// SnapshotFrom implements app.Pausing.
func (s *stuck) SnapshotFrom(ctx context.Context, _ backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	return s.piece(ctx, from, sink)
}

// pieceFails takes a snapshot in pieces that has to fail and returns the record's word for it.
func pieceFails(t *testing.T, source func(m *modelled) app.Source) catalog.Failure {
	t.Helper()
	m := newModelled(t, s3model.Options{})
	m.app = source(m)
	m.steps = m.newSteps()
	outcome, err := m.through(t.Context(), "", m.hurry)
	if err != nil || outcome.Status != machine.Failed {
		t.Fatalf("%+v, %v", outcome, err)
	}
	m.nothingLeft()
	record, err := catalog.New(m.vault).Record(t.Context(), "photos", firstRun)
	if err != nil || record.Failure == nil {
		t.Fatalf("%+v, %v", record, err)
	}
	return *record.Failure
}

// TestPiecesThatFail wants one clear sentence and a hint from snapshots that can't go on.
func TestPiecesThatFail(t *testing.T) {
	pauseAt := func(sink app.PausingSink, cursor string) error {
		return sink.Pause(func() ([]byte, error) { return []byte(cursor), nil })
	}
	for name, c := range map[string]struct {
		piece      func(m *modelled) func(ctx context.Context, from []byte, sink app.PausingSink) (app.Facts, error)
		kind, says string
	}{
		"for ever": {func(*modelled) func(context.Context, []byte, app.PausingSink) (app.Facts, error) {
			return func(_ context.Context, from []byte, sink app.PausingSink) (app.Facts, error) {
				return app.Facts{}, pauseAt(sink, fmt.Sprint("1", string(from)))
			}
		}, "exhausted", "has not ended after 101 functions"},
		"goes on after a pause": {func(*modelled) func(context.Context, []byte, app.PausingSink) (app.Facts, error) {
			return func(_ context.Context, _ []byte, sink app.PausingSink) (app.Facts, error) {
				_ = pauseAt(sink, `"here"`)
				return app.Facts{}, nil
			}
		}, "internal", "was to pause"},
		"pauses by itself": {func(*modelled) func(context.Context, []byte, app.PausingSink) (app.Facts, error) {
			return func(context.Context, []byte, app.PausingSink) (app.Facts, error) { return app.Facts{}, app.ErrPaused }
		}, "internal", "pauses"},
		"another document": {func(m *modelled) func(context.Context, []byte, app.PausingSink) (app.Facts, error) {
			return func(ctx context.Context, from []byte, sink app.PausingSink) (app.Facts, error) {
				if from == nil {
					if err := sink.Document(ctx, app.Document{Path: "export.json"}, strings.NewReader(`{"a":1}`)); err != nil {
						return app.Facts{}, err
					}
					return app.Facts{}, pauseAt(sink, `"here"`)
				}
				m.spoil("documents/0")
				return app.Facts{}, sink.Reread(ctx, "export.json", func(r io.Reader) error {
					_, err := io.ReadAll(r)
					return err
				})
			}
		}, "corrupt", "is not what was stored"},
		"no such document": {func(*modelled) func(context.Context, []byte, app.PausingSink) (app.Facts, error) {
			return func(ctx context.Context, from []byte, sink app.PausingSink) (app.Facts, error) {
				return app.Facts{}, sink.Reread(ctx, "export.json", func(io.Reader) error { return nil })
			}
		}, "not found", "no document"},
	} {
		t.Run(name, func(t *testing.T) {
			why := pieceFails(t, func(m *modelled) app.Source { return &stuck{newFake(nil), c.piece(m)} })
			if why.Kind != c.kind || !strings.Contains(why.Message, c.says) || (why.Hint == "") != (c.kind == "internal" || c.kind == "not found") {
				t.Errorf("%+v", why)
			}
		})
	}
}

// spoil puts other bytes in the place of a work file of the run.
func (m *modelled) spoil(file string) {
	m.t.Helper()
	for info, err := range m.vault.List(m.t.Context(), vault.Work("photos", firstRun, "")) {
		if err != nil {
			m.t.Fatal(err)
		}
		if strings.HasSuffix(string(info.Key), "/"+file) {
			if _, err := m.vault.Put(m.t.Context(), info.Key, []byte("\x00\x00"), vault.Always()); err != nil {
				m.t.Fatal(err)
			}
			return
		}
	}
	m.t.Fatalf("there is no %s", file)
}

// TestCursorGone asks for the next piece of an attempt that has left nothing.
func TestCursorGone(t *testing.T) {
	m := listedApp(t)
	call := func(name string, at *events.Snapshot) error {
		payload, err := json.Marshal(events.Request{Step: name, Run: events.Run{ID: firstRun, Source: "photos"}, Snapshot: at})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.steps.Handle(t.Context(), "export", payload)
		return err
	}
	if err := call("begin", nil); err != nil {
		t.Fatal(err)
	}
	err := call("snapshot", &events.Snapshot{Attempt: "abcdefghij"})
	if failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestPlanFits asks for a plan that its call has no time for.
func TestPlanFits(t *testing.T) {
	for _, c := range []struct {
		objects int
		left    time.Duration
		kind    failure.Kind
	}{
		{7_900_000, 870 * time.Second, failure.NotFound}, // of the list, which is not there
		{7_920_000, 870 * time.Second, failure.Exhausted},
		{50_000_000, 0, failure.NotFound},
		{1, time.Hour, failure.NotFound},
	} {
		m := listedApp(t)
		run := events.Run{ID: firstRun, Source: "photos"}
		record := catalog.Record{ID: run.ID, Source: run.Source, Kind: "fake", Status: backup.InProgress, Started: noon}
		if err := catalog.New(m.vault).Create(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if _, err := m.vault.PutJSON(t.Context(), vault.Work(run.Source, run.ID, "a/snapshot.json"), map[string]any{"objects": c.objects}, vault.Always()); err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(events.Request{Step: "plan-packs", Run: run, Snapshot: &events.Snapshot{Done: true, Attempt: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if c.left > 0 {
			limited, cancel := context.WithTimeout(ctx, c.left)
			defer cancel()
			ctx = limited
		}
		_, err = m.steps.Handle(ctx, "export", payload)
		if kind := failure.KindOf(err); kind != c.kind || kind == failure.Exhausted && failure.HintOf(err) == "" {
			t.Errorf("%d objects in %s: %v", c.objects, c.left, err)
		}
	}
}
