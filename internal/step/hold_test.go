package step_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
)

// late makes a backup whose first copy comes, or goes on, when the run has been closed meanwhile, as after somebody stopped
// the execution.
type late struct {
	*limited
}

// close closes the run, as the rule on the execution's status does.
func (l *late) close(status backup.Status) {
	l.t.Helper()
	run := events.Run{ID: firstRun, Source: "photos"}
	if err := l.newSteps().End(l.t.Context(), run, status, catalog.Failure{Kind: "canceled", Message: "somebody stopped it"}); err != nil {
		l.t.Error(err)
	}
}

// nothingOfIt wants the source free and no work file or upload of the closed run in the vault.
func (l *late) nothingOfIt() {
	l.t.Helper()
	if lease, held, err := catalog.New(l.vault).Holder(l.t.Context(), "photos"); err != nil || held {
		l.t.Errorf("the source is held: %+v, %v", lease, err)
	}
	l.nothingLeft()
}

// TestLateCopy: a call of copy that comes when its run is closed takes nothing back.
func TestLateCopy(t *testing.T) {
	t.Parallel()
	l := &late{limited: newLimited(t)}
	var first sync.Once // of several calls at the same time
	engine := l.engineThat(func(name string) {
		if name == "copy" {
			first.Do(func() { l.close(backup.Failed) })
		}
	})
	outcome, err := engine.Execute(t.Context(), l.machine(), machine.Execution{Name: string(firstRun), Input: l.input(firstRun)})
	if err != nil || outcome.Error != failure.Conflict.ErrorName() {
		t.Errorf("%+v, %v", outcome, err)
	}
	l.nothingOfIt()
}

// closing closes the run while one of its objects is read.
type closing struct {
	*fake
	close func()
}

func (c closing) Open(ctx context.Context, o app.Object) (app.Content, error) {
	content, err := c.fake.Open(ctx, o)
	if err == nil && o.Size >= largeFile {
		c.close()
	}
	return content, err
}

// TestLateResult: a call of copy during which its run is closed leaves no result, and no lease.
func TestLateResult(t *testing.T) {
	t.Parallel()
	l := &late{limited: newLimited(t)}
	l.app = closing{l.source, func() { l.close(backup.Failed) }}
	l.steps = l.newSteps()
	outcome, record, err := l.world.run(firstRun, "")
	if err != nil || outcome.Error != failure.Conflict.ErrorName() || record.Status != backup.Failed {
		t.Errorf("%+v, %+v, %v", outcome, record, err)
	}
	l.nothingOfIt()
}

// lingering is an application whose large object gives some bytes; then the run is closed; and then nothing comes until the
// reader's time is over.
type lingering struct {
	stalling
	close func()
}

func (s lingering) Open(ctx context.Context, o app.Object) (app.Content, error) {
	content, err := s.stalling.Open(ctx, o)
	if stalled, ok := content.(*stallingContent); ok {
		return &lingeringContent{stalled, s.close}, err
	}
	return content, err
}

type lingeringContent struct {
	*stallingContent
	close func()
}

func (c *lingeringContent) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.close()
	}
	return c.stallingContent.Read(p)
}

// TestLateCursor: a call that has not come to its end when its run is closed, in its first piece or in one that goes on,
// keeps no cursor and leaves no upload.
func TestLateCursor(t *testing.T) {
	for name, at := range map[string]int{"the first call": 1, "the second call": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &late{limited: newLimited(t)}
			call := 0
			l.app = lingering{stalling{l.source}, func() {
				if call++; call == at {
					l.close(backup.Failed)
				}
			}}
			l.steps = l.newSteps()
			engine := &machine.Engine{Invoke: l.invoke, Read: l.read, Rand: func() float64 { return 0 }}
			outcome, err := engine.Execute(t.Context(), l.machine(), machine.Execution{Name: string(firstRun), Input: l.input(firstRun)})
			if err != nil || outcome.Error != failure.Conflict.ErrorName() || call < at {
				t.Errorf("%+v, %v", outcome, err)
			}
			l.nothingOfIt()
		})
	}
}

// TestStoppedGoesOn: a run that was stopped gave its source back; it takes it again when its next step goes on.
func TestStoppedGoesOn(t *testing.T) {
	w := newWorld(t, files())
	stopped := false
	engine := w.engineThat(func(name string) {
		if name != "plan-packs" || stopped {
			return
		}
		stopped = true
		run := events.Run{ID: firstRun, Source: "photos"}
		if err := w.newSteps().End(t.Context(), run, backup.Canceled, catalog.Failure{Kind: "canceled"}); err != nil {
			t.Fatal(err)
		}
		_, err := catalog.New(w.vault).Update(t.Context(), "photos", firstRun, func(r *catalog.Record) error {
			r.Status, r.Failure = backup.InProgress, nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.steps = w.newSteps()
	})
	outcome, err := engine.Execute(t.Context(), w.machine(), machine.Execution{Name: string(firstRun), Input: w.input(firstRun)})
	if err != nil || outcome.Status != machine.Succeeded || !stopped {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// TestNoFurther: a piece that had time, and whose cursor is that of the piece before it, is the last.
func TestNoFurther(t *testing.T) {
	m := newModelled(t, s3model.Options{})
	m.app = &stuck{newFake(nil), func(_ context.Context, _ []byte, sink app.PausingSink) (app.Facts, error) {
		for {
			if err := sink.Pause(func() ([]byte, error) { return []byte(`"here"`), nil }); err != nil {
				return app.Facts{}, err
			}
		}
	}}
	m.steps = m.newSteps()
	outcome, err := m.through(t.Context(), "", func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return m.invoke(limited, function, payload)
	})
	if err != nil || outcome.Error != failure.Exhausted.ErrorName() || !strings.Contains(outcome.Cause, "got no further") || !strings.Contains(outcome.Cause, "hint: ") {
		t.Errorf("%+v, %v", outcome, err)
	}
	m.nothingLeft()
}

// TestOneCallNeverPauses: who gives no snapshot to go on with does not ask again.
func TestOneCallNeverPauses(t *testing.T) {
	m := listedApp(t)
	for _, name := range []string{"begin", "snapshot"} {
		payload, err := json.Marshal(events.Request{Step: name, Run: events.Run{ID: firstRun, Source: "photos"}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := m.steps.Handle(hurried{t.Context()}, "export", payload)
		if err != nil || name == "snapshot" && !strings.Contains(string(answer), `"done":true`) {
			t.Errorf("%s, %v", answer, err)
		}
	}
}

// TestTooManyObjects: a list that no plan can take ends as soon as that is known.
func TestTooManyObjects(t *testing.T) {
	m := listedApp(t)
	calls := 0
	m.app = &stuck{newFake(nil), func(_ context.Context, _ []byte, sink app.PausingSink) (app.Facts, error) {
		for {
			if calls++; calls > 20_000 {
				return app.Facts{}, failure.New(failure.Internal, "nobody stops it")
			}
			if err := sink.Object(app.Object{Key: "a", Path: "files/a", Modified: noon}); err != nil {
				return app.Facts{}, err
			}
		}
	}}
	m.steps = m.newSteps()
	outcome, err := m.through(t.Context(), "", func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return m.invoke(limited, function, payload)
	})
	if err != nil || outcome.Error != failure.Exhausted.ErrorName() || !strings.Contains(outcome.Cause, "too many for one plan") {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// TestInputFits: begin refuses what would not fit into the states of a run.
func TestInputFits(t *testing.T) {
	for text, kind := range map[string]failure.Kind{
		strings.Repeat("語", 1333):         failure.NotFound,
		strings.Repeat("\"", 4000):        failure.NotFound,
		strings.Repeat("d", 4001):         failure.Usage,
		strings.Repeat("\x01", 16<<10/6):  failure.Usage,
		strings.Repeat("\u2028", 4000/3):  failure.NotFound,
		strings.Repeat("<", 16<<10/6+100): failure.Usage,
	} {
		steps := step.Steps{Sources: noSources{}, Vault: newWorld(t, nil).vault}
		payload, err := json.Marshal(events.Request{Step: "begin", Run: events.Run{ID: firstRun, Source: "photos", Description: text}})
		if err != nil {
			t.Fatal(err)
		}
		steps.Now, steps.Log = func() time.Time { return noon }, newWorld(t, nil).steps.Log
		if _, err := steps.Handle(t.Context(), "export", payload); failure.KindOf(err) != kind {
			t.Errorf("%.10q, %d bytes: %v", text, len(text), err)
		}
	}
}

// noSources has no source.
type noSources struct{}

func (noSources) Open(context.Context, backup.Source) (app.Source, string, error) {
	return nil, "", failure.New(failure.NotFound, "there is none")
}
func (noSources) Policy(backup.Source) (step.Policy, error) { return step.Policy{}, nil }
