package step_test

import (
	"encoding/json"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// TestTwin: a second execution of a run, under another name, neither joins the first nor closes it.
func TestTwin(t *testing.T) {
	w := newWorld(t, nil)
	ctx, steps := t.Context(), w.newSteps()
	ask := func(function string, r events.Request) (json.RawMessage, error) {
		t.Helper()
		message, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return steps.Handle(ctx, function, message)
	}
	run := events.Run{ID: firstRun, Source: "photos"}
	if answer, err := ask("export", events.Request{Step: "begin", Run: run, Execution: string(firstRun)}); err != nil || string(answer) != `{"answer":"run"}` {
		t.Fatalf("%s, %v", answer, err)
	}
	if answer, err := ask("export", events.Request{Step: "begin", Run: run, Execution: "by hand"}); err != nil || string(answer) != `{"answer":"duplicate"}` {
		t.Errorf("%s, %v", answer, err)
	}
	stopped := &events.Error{Error: failure.Canceled.ErrorName(), Cause: "somebody stopped the execution"}
	if _, err := ask("package", events.Request{Step: "abort", Run: run, Error: stopped, Execution: "by hand"}); err != nil {
		t.Error(err)
	}
	if r, err := catalog.New(w.vault).Record(ctx, run.Source, run.ID); err != nil || r.Status != backup.InProgress {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ask("package", events.Request{Step: "abort", Run: run, Error: stopped, Execution: string(firstRun)}); err != nil {
		t.Error(err)
	}
	if r, err := catalog.New(w.vault).Record(ctx, run.Source, run.ID); err != nil || r.Status != backup.Failed {
		t.Errorf("%+v, %v", r, err)
	}
}
