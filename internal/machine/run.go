package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"time"
)

// run is one execution: the one that was started, or a child of a Map. Only the former has a journal.
type run struct {
	engine    *Engine
	machine   *Machine
	journal   *journal // nil: none
	execution map[string]any
	events    *atomic.Int64 // of the execution's history
	caught    *atomic.Bool
	child     bool   // of a Map
	last      string // the state that was entered last
}

// position is where a run stands: before a state, in one (open), or behind the last.
type position struct {
	state   string
	input   json.RawMessage
	open    bool // the state was entered before
	entered time.Time
	done    map[int]json.RawMessage // outputs of a Map's children that succeeded
	over    bool                    // no state is left: input is the output
}

// maxEvents is how many events the history of an execution may have.
const maxEvents = 25_000

// count adds events to the history. The last event is kept for the end of the run.
func (r *run) count(n int64) error {
	if r.events.Add(n) >= maxEvents {
		return runtimeFault("The execution reached the maximum number of history events (%d).", maxEvents)
	}
	return nil
}

// timeFormat is how AWS writes times in the context object.
const timeFormat = "2006-01-02T15:04:05.000Z"

const account = "local:000000000000"

// executionContext returns $$.Execution.
func executionContext(machine, name string, input json.RawMessage, started time.Time) map[string]any {
	v, err := decode(input)
	if err != nil {
		v = nil // the caller has decoded it before
	}
	return map[string]any{
		"Id":        fmt.Sprintf("arn:aws:states:%s:execution:%s:%s", account, machine, name),
		"Name":      name,
		"Input":     v,
		"StartTime": started.UTC().Format(timeFormat),
		"RoleArn":   "arn:aws:iam::000000000000:role/local",
	}
}

// scope returns what the paths of a state read.
func (r *run) scope(s *state, input any, entered time.Time, retries int) scope {
	return scope{input: input, context: map[string]any{
		"Execution": r.execution,
		"State": map[string]any{
			"Name": s.name, "EnteredTime": entered.UTC().Format(timeFormat), "RetryCount": json.Number(strconv.Itoa(retries)),
		},
		"StateMachine": map[string]any{
			"Id": fmt.Sprintf("arn:aws:states:%s:stateMachine:%s", account, r.machine.name), "Name": r.machine.name,
		},
	}}
}

// withItem returns the scope of an ItemSelector.
func (sc scope) withItem(index int, item any) scope {
	context := maps.Clone(sc.context)
	context["Map"] = map[string]any{"Item": map[string]any{"Index": json.Number(strconv.Itoa(index)), "Value": item}}
	return scope{sc.input, context}
}

// walk goes from state to state until one ends the graph, and returns its output. The error is a *fault,
// errStopped, or that of the journal.
func (r *run) walk(ctx context.Context, g *graph, at position) (any, error) {
	if at.over {
		return decode(at.input)
	}
	for {
		if ctx.Err() != nil {
			return nil, errStopped
		}
		s := g.states[at.state]
		input, err := decode(at.input)
		if err != nil {
			return nil, fmt.Errorf("input of state %s: %w", s.name, err)
		}
		if err := r.enter(s, &at); err != nil {
			return nil, err
		}
		next, out, err := r.visit(ctx, s, input, at)
		if err != nil {
			return nil, err
		}
		if errors.Is(context.Cause(ctx), errRunTimeout) {
			return nil, errStopped
		}
		raw, err := checkSize(s.name, "an output", out)
		if err != nil {
			return nil, err
		}
		if err := r.exit(s, raw, next); err != nil {
			return nil, err
		}
		if next == "" {
			return out, nil
		}
		at = position{state: next, input: raw}
	}
}

func (r *run) enter(s *state, at *position) error {
	r.last = s.name
	if at.open {
		return nil
	}
	at.entered = r.engine.Now()
	if err := r.count(1); err != nil {
		return err
	}
	r.engine.Log.Debug("state entered", "run", r.execution["Name"], "state", s.name)
	return r.journal.entered(s, at.input)
}

func (r *run) exit(s *state, out json.RawMessage, next string) error {
	if err := r.count(1); err != nil {
		return err
	}
	return r.journal.write(record{Type: recordExited, State: s.name, Kind: s.kind, Output: out, Next: next})
}

// visit does what a state does, as often as its Retry says, and returns where to go next with what.
func (r *run) visit(ctx context.Context, s *state, input any, at position) (string, any, error) {
	tries := &retries{list: s.retry, used: make([]int, len(s.retry)), random: r.engine.Rand}
	for {
		next, out, err := r.work(ctx, s, input, at, tries.total)
		var f *fault
		if !errors.As(err, &f) {
			return next, out, err
		}
		if s.kind != kindTask && s.kind != kindMap {
			return "", nil, err
		}
		wait, again := tries.next(f.name)
		if err := r.failed(s, f, wait, again); err != nil {
			return "", nil, err
		}
		if !again {
			return r.catch(s, input, f)
		}
		at.done = nil // a retried Map starts anew
		if err := sleep(ctx, wait); err != nil {
			return "", nil, err
		}
	}
}

// failed records a failed attempt of a Task or a Map.
func (r *run) failed(s *state, f *fault, wait time.Duration, again bool) error {
	r.engine.Log.Warn("state failed", "run", r.execution["Name"], "state", s.name, "error", f.name, "cause", f.cause, "retry", again)
	if isTerminal(f.name) { // the run ends here, and its end is recorded
		return nil
	}
	return r.journal.write(record{Type: recordFailed, State: s.name, Kind: s.kind, Error: f.name, Cause: f.cause, Again: again, Wait: wait.Seconds()})
}

// catch hands an error to the first catcher that matches it.
func (r *run) catch(s *state, input any, f *fault) (string, any, error) {
	c, ok := s.caught(f.name)
	if !ok {
		return "", nil, f
	}
	if !r.child {
		r.caught.Store(true)
	}
	out, err := put(c.result, input, f.output())
	return c.next, out, err
}

// work does what a state does, once.
func (r *run) work(ctx context.Context, s *state, raw any, at position, retries int) (string, any, error) {
	sc := r.scope(s, raw, at.entered, retries)
	effective, err := sc.choose(s.input)
	if err != nil {
		return "", nil, err
	}
	sc.input = effective
	next, result := s.next, effective
	switch s.kind {
	case kindTask:
		result, err = r.invoke(ctx, s, sc)
	case kindMap:
		result, err = r.runMap(ctx, s, sc, at.done)
	case kindPass:
		result, err = s.pass(sc)
	case kindWait:
		err = sleep(ctx, min(s.seconds, at.entered.Add(s.seconds).Sub(r.engine.Now())))
	case kindChoice:
		next, err = s.choose(sc)
	case kindFail:
		err = s.fail(sc)
	}
	if err != nil {
		return "", nil, err
	}
	out, err := s.finish(sc, raw, result)
	return next, out, err
}
