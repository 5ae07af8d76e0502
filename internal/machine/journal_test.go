package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
)

// journey visits every type of state: a failed and retried task, a loop, both Maps and a caught error.
var journey = `{"StartAt":"Begin","States":{
	"Begin":` + task(`,"ResultPath":"$.begin","Next":"Ready","Retry":[{"ErrorEquals":["Lifeboat.Transient"]}]`) + `,
	"Ready":{"Type":"Choice","Choices":[{"Variable":"$.ready","IsPresent":true,"Next":"Few"}],"Default":"Rest"},
	"Rest":{"Type":"Wait","Seconds":1,"Next":"Set"},
	"Set":{"Type":"Pass","Result":true,"ResultPath":"$.ready","Next":"Ready"},
	"Few":` + replace(inlineMap(`,"ResultPath":"$.few"`), `"End":true,"ItemsPath":"$.list"`, `"Next":"Many","ItemsPath":"$.items"`, "Child", "FewChild", "${F}", "${G}") + `,
	"Many":` + replace(distributedMap(`,"ResultPath":"$.many","Label":"Many","ToleratedFailureCount":1`), `"MaxConcurrency":2,"End":true`, `"MaxConcurrency":2,"Next":"Break"`, "Child", "ManyChild", "${F}", "${H}") + `,
	"Break":` + replace(task(`,"End":true,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.error","Next":"Done"}]`), "${F}", "${I}") + `,
	"Done":{"Type":"Succeed"}}}`

func replace(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

const journeyInput = `{"items":[10,11,12],"list":"list.jsonl"}`

// world is the functions of the journey, and what they have finished.
func world() *steps {
	return &steps{functions: map[string]function{
		"F": failTimes(1, failure.Transient),
		"H": failItems("1"),
		"I": func(context.Context, any) (any, error) { return nil, failure.New(failure.Denied, "no") },
	}}
}

func travel(t *testing.T, s *steps, path string) Outcome {
	t.Helper()
	e := &Engine{Invoke: s.invoke, Read: object(lines(4)), MaxConcurrency: 1}
	x := Execution{Name: "run-1", Input: json.RawMessage(journeyInput), Journal: path}
	j, past, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	j.sync = func() error { return nil } // a thousand of them take their time
	o, err := e.proceed(t.Context(), mustLoad(t, journey), x, j, past)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestCrashSweep cuts the journal of a whole run after every record, and in the midst of every record, and runs
// again: the outcome is the same, and nothing that the journal knows as done is done again.
func TestCrashSweep(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	var want Outcome
	synctest.Test(t, func(t *testing.T) { want = travel(t, world(), whole) })
	wantOutput(t, want, journeyOutput())
	journal, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	records := bytes.SplitAfter(journal, []byte("\n"))
	records = records[:len(records)-1]
	for n := range len(records) + 1 {
		for _, torn := range []int{0, 40} {
			if n == len(records) && torn > 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d+%d", n, torn), func(t *testing.T) {
				t.Parallel()
				cut := bytes.Join(records[:n], nil)
				if torn > 0 {
					cut = append(cut, records[n][:torn]...)
				}
				path := filepath.Join(t.TempDir(), "journal")
				if err := os.WriteFile(path, cut, 0o600); err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) { resume(t, path, records[:n], want) })
			})
		}
	}
}

// journeyOutput is what the journey ends with.
func journeyOutput() string {
	return `{"items":[10,11,12],"list":"list.jsonl","ready":true,"few":[10,11,12],"many":[0,2,3],` +
		`"begin":{"ExecutedVersion":"$LATEST","StatusCode":200,"Payload":` + journeyInput + `},` +
		`"error":{"Error":"Lifeboat.Denied","Cause":"{\"errorMessage\":\"no\",\"errorType\":\"Lifeboat.Denied\"}"}}`
}

func resume(t *testing.T, path string, before [][]byte, want Outcome) {
	s := world()
	if diff := cmp.Diff(text(want), text(travel(t, s, path))); diff != "" {
		t.Errorf("outcome: %s", diff)
	}
	for _, line := range before {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		f := map[string]string{"Few": "G", "Many": "H"}[r.State]
		for _, call := range s.calls {
			if r.Type == recordChild && !r.Failed && call == f+" "+string(r.Output) {
				t.Errorf("child %d of %s ran again", *r.Index, r.State)
			}
			if r.Type == recordExited && r.State == "Begin" && strings.HasPrefix(call, "F ") {
				t.Error("Begin ran again")
			}
		}
	}
	state, err := ReadJournal(path)
	if err != nil || !state.Ended || state.Status != Succeeded || state.State != "Done" {
		t.Errorf("journal: %+v, %v", state, err)
	}
	calls := len(s.calls)
	if diff := cmp.Diff(text(want), text(travel(t, s, path))); diff != "" || len(s.calls) != calls {
		t.Errorf("a run that has ended: %d more calls, %s", len(s.calls)-calls, diff)
	}
}

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) { travel(t, world(), path) })
	events, err := History(path)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for i, e := range events {
		if e.ID != int64(i+1) || e.Previous != int64(i) {
			t.Errorf("event %d: %+v", i, e)
		}
		types = append(types, e.Type)
	}
	want := strings.Fields(`ExecutionStarted
		TaskStateEntered TaskScheduled TaskStarted TaskFailed TaskScheduled TaskStarted TaskSucceeded TaskStateExited
		ChoiceStateEntered ChoiceStateExited WaitStateEntered WaitStateExited PassStateEntered PassStateExited ChoiceStateEntered ChoiceStateExited
		MapStateEntered MapStateStarted MapIterationStarted MapIterationSucceeded MapIterationStarted MapIterationSucceeded
		MapIterationStarted MapIterationSucceeded MapStateSucceeded MapStateExited
		MapStateEntered MapRunStarted MapRunSucceeded MapStateExited
		TaskStateEntered TaskScheduled TaskStarted TaskFailed TaskStateExited
		SucceedStateEntered SucceedStateExited ExecutionSucceeded`)
	if diff := cmp.Diff(want, types); diff != "" {
		t.Error(diff)
	}
	for i, want := range map[int]string{
		1: `{"id":2,"previousEventId":1,"stateEnteredEventDetails":{"name":"Begin","input":"{\"items\":[10,11,12],\"list\":\"list.jsonl\"}"},"type":"TaskStateEntered"}`,
		4: `{"id":5,"previousEventId":4,"taskFailedEventDetails":{"error":"Lifeboat.Transient","cause":"{\"errorMessage\":\"attempt failed\",\"errorType\":\"Lifeboat.Transient\"}","resource":"invoke","resourceType":"lambda"},"type":"TaskFailed"}`,
	} {
		v, err := decode([]byte(text(events[i])))
		if err != nil {
			t.Fatal(err)
		}
		delete(v.(map[string]any), "timestamp")
		if diff := cmp.Diff(want, text(v)); !sameJSON(json.RawMessage(want), json.RawMessage(text(v))) {
			t.Error(diff)
		}
	}
	if waited := events[5].Time.Sub(events[4].Time); waited != time.Second {
		t.Errorf("the second attempt began %v after the first", waited)
	}
}

// TestStop ends the context in every kind of work: the run is Aborted, no goroutine is left, and it can be resumed.
func TestStop(t *testing.T) {
	for name, state := range map[string]string{
		"task":   task(`,"OutputPath":"$.Payload","End":true,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":null,"Next":"S"}],"Retry":[{"ErrorEquals":["States.ALL"]}]`),
		"inline": inlineMap(""), "distributed": distributedMap(`,"ToleratedFailurePercentage":100`),
		"wait": `{"Type":"Wait","Seconds":100,"OutputPath":"$.list","End":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			m, x := mustLoad(t, one(state)), Execution{Name: "run-1", Input: json.RawMessage(`{"list":[1,2,3]}`), Journal: path}
			if name == "distributed" {
				x.Input = json.RawMessage(`{"list":"list.jsonl"}`)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				e := &Engine{Invoke: (&steps{functions: map[string]function{"F": hang}}).invoke, Read: object(lines(3))}
				o, err := e.Execute(ctx, m, x)
				if err != nil || o.Status != Aborted || o.State != "S" {
					t.Errorf("%+v, %v", o, err)
				}
				state, err := ReadJournal(path)
				if err != nil || state.Ended || !state.Stopped || state.Status != Aborted || Held(path) {
					t.Errorf("journal: %+v, %v", state, err)
				}
				events, _ := History(path)
				if last := events[len(events)-1].Type; last != "ExecutionAborted" {
					t.Errorf("last event %s", last)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				e := &Engine{Invoke: (&steps{}).invoke, Read: object(lines(3))}
				o, err := e.Execute(t.Context(), m, x)
				if err != nil || o.Status != Succeeded {
					t.Errorf("resumed: %+v, %v", o, err)
				}
				events, _ := History(path)
				if text(events) == "" || !strings.Contains(text(events), `"ExecutionRedriven"`) {
					t.Errorf("history: %s", text(events))
				}
			})
		})
	}
}

// TestNoGoroutineIsLeft: no function is under way when Execute returns, and the end of the bubble, which waits for
// its goroutines, shows that nothing else is.
func TestNoGoroutineIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var active atomic.Int32
		f := func(ctx context.Context, payload any) (any, error) {
			active.Add(1)
			defer active.Add(-1)
			if text(payload) == "3" {
				return nil, failure.New(failure.Corrupt, "item 3")
			}
			<-ctx.Done()
			time.Sleep(time.Second) // a function that takes its time to stop
			return nil, ctx.Err()
		}
		e := &Engine{Invoke: (&steps{functions: map[string]function{"F": f}}).invoke, Read: object(lines(50))}
		m := mustLoad(t, replace(one(distributedMap("")), `{"StartAt"`, `{"TimeoutSeconds":60,"StartAt"`, `"MaxConcurrency":2`, `"MaxConcurrency":7`))
		wantFailure(t, execute(t, e, m, `{"list":"list.jsonl"}`), nameThreshold, "")
		if n := active.Load(); n != 0 {
			t.Errorf("%d functions are still running", n)
		}
	})
}

func TestConflicts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	m := mustLoad(t, one(task(`,"End":true`)))
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e := &Engine{Invoke: func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		once.Do(func() { close(started) })
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	x := Execution{Name: "run-1", Input: json.RawMessage(`{"a": 1, "b":2}`), Journal: path}
	go func() {
		defer close(done)
		if _, err := e.Execute(ctx, m, x); err != nil {
			t.Error(err)
		}
	}()
	<-started
	if !Held(path) {
		t.Error("the journal is not held")
	}
	conflict := func(what string, m *Machine, x Execution) {
		t.Helper()
		if _, err := e.Execute(t.Context(), m, x); failure.KindOf(err) != failure.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	conflict("a run that another process executes", m, x)
	if s, err := ReadJournal(path); err != nil || s.Status != Running || s.State != "S" || s.Definition != m.Digest() {
		t.Errorf("journal: %+v, %v", s, err)
	}
	cancel()
	<-done
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || Held(path) {
		t.Errorf("journal: %v, %v", info.Mode(), err)
	}
	conflict("another name", m, Execution{Name: "run-2", Input: x.Input, Journal: path})
	conflict("another input", m, Execution{Name: "run-1", Input: json.RawMessage(`{"a":1}`), Journal: path})
	conflict("another definition", mustLoad(t, one(task(`,"End":true`))+"\n"), x)
	e.Invoke = (&steps{}).invoke
	x.Input = json.RawMessage(`{"b":2,"a":1}`)
	if o, err := e.Execute(t.Context(), m, x); err != nil || o.Status != Succeeded {
		t.Errorf("the same input in another order: %+v, %v", o, err)
	}
}

func TestBadExecutions(t *testing.T) {
	m := mustLoad(t, one(`{"Type":"Succeed"}`))
	for _, x := range []Execution{
		{}, {Name: strings.Repeat("x", 81)}, {Name: "a b"}, {Name: "a/b"}, {Name: "a:b"}, {Name: "x", Input: json.RawMessage(`{`)}, {Name: "x", Input: json.RawMessage(`1 2`)},
	} {
		if _, err := (&Engine{}).Execute(t.Context(), m, x); failure.KindOf(err) != failure.Usage {
			t.Errorf("%+v: %v", x, err)
		}
	}
	if o := execute(t, &Engine{}, m, ""); string(o.Output) != "{}" {
		t.Errorf("no input: %+v", o)
	}
}

func TestDamagedJournals(t *testing.T) {
	started := `{"type":"started","time":"2026-03-01T12:00:00Z","format":1,"name":"run-1","input":{}}` + "\n"
	entered := `{"type":"entered","time":"2026-03-01T12:00:00Z","state":"S","kind":"Succeed","input":{}}` + "\n"
	for _, test := range []struct {
		name, content string
		kind          failure.Kind
	}{
		{"nothing", "", failure.NotFound},
		{"only a torn record", started[:30], failure.NotFound},
		{"no start", entered + entered, failure.Corrupt},
		{"two starts", started + started + entered, failure.Corrupt},
		{"damage in the midst", started + "{\n" + entered, failure.Corrupt},
		{"a later format", strings.Replace(started, `"format":1`, `"format":2`, 1), failure.Invalid},
		{"a child without an index", started + `{"type":"child"}` + "\n" + entered, failure.Corrupt},
	} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJournal(path); failure.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := ReadJournal(filepath.Join(t.TempDir(), "none")); failure.KindOf(err) != failure.NotFound {
		t.Error(err)
	}
	if Held(filepath.Join(t.TempDir(), "none")) {
		t.Error("a journal that isn't there is held")
	}
}

// TestJournalFails: a run whose journal can't be written ends with that error, not with an outcome.
func TestJournalFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, p, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	m := mustLoad(t, one(inlineMap(`,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":null,"Next":"S"}]`)))
	e := &Engine{Invoke: func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		j.file.Close()
		return emptyObject, nil
	}}
	o, err := e.with(j).start(t.Context(), m, Execution{Name: "run-1", Input: json.RawMessage(`{"list":[1,2,3,4,5]}`)}, p)
	if !errors.Is(err, os.ErrClosed) || o.Status != "" {
		t.Errorf("%+v, %v", o, err)
	}
	if s, err := ReadJournal(path); err != nil || s.Status != Running || s.State != "S" {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzJournal(f *testing.F) {
	started := `{"type":"started","time":"2026-03-01T12:00:00Z","format":1,"name":"run-1","input":{}}` + "\n"
	f.Add([]byte(started + `{"type":"entered","state":"S","kind":"Map","mode":"DISTRIBUTED","input":{}}` + "\n" + `{"type":"child","index":0,"output":1}` + "\n"))
	f.Add([]byte(started + `{"type":"failed","again":true,"wait":1e300}` + "\n" + `{"type":"exited"}` + "\n" + `{"type":"resumed"}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		state, err := ReadJournal(path)
		events, _ := History(path)
		if err == nil && len(events) == 0 {
			t.Errorf("no events, but %+v", state)
		}
		if _, err := json.Marshal(events); err != nil {
			t.Error(err)
		}
	})
}
