package machine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"lifeboat/internal/failure"
)

// Invoker calls a function and returns its answer, one JSON value. The name of an error, which Retry and Catch
// match, is what the ErrorName method of an error in its tree says, else the one of its failure.Kind. An Invoker
// must return soon after its context ended: a time-out waits for it, because no goroutine may outlive a run.
type Invoker func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error)

// Reader opens an object of JSON lines, the items of a Distributed Map.
type Reader func(ctx context.Context, bucket, key string) (io.ReadCloser, error)

// Engine executes machines. Only Invoke must be set, and Read for a machine with an ItemReader. An Engine may
// execute many runs at once.
type Engine struct {
	Invoke Invoker
	Read   Reader
	Now    func() time.Time // nil: time.Now
	Rand   func() float64   // jitter, in [0, 1); nil: random
	Log    *slog.Logger     // nil: silent
	// MaxConcurrency caps the children of each Map below what the definition says; 0 = no cap.
	MaxConcurrency int
}

// Execution is one run to be.
type Execution struct {
	Name    string          // 1 to 80 characters; the same rules as on AWS
	Input   json.RawMessage // empty: {}
	Journal string          // path of the journal; "" = none
}

// Status says how a run stands.
type Status string

// The statuses, as Step Functions names them.
const (
	Running   Status = "RUNNING" // in a JournalState only
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
	TimedOut  Status = "TIMED_OUT"
	Aborted   Status = "ABORTED"
)

// Outcome is how a run ended.
type Outcome struct {
	Status Status
	Output json.RawMessage // of a run that succeeded
	// Error and Cause are those of a run that failed or timed out.
	Error, Cause string
	// State is the state in which a run ended that did not succeed.
	State string
	// Caught tells whether a Catch was taken on the way. A run that failed without it left the workflow's own
	// clean-up undone, and so may one that failed after it outside of the catching branch.
	Caught bool
}

// Execute runs m to its end and returns how it ended. An error means that the run could not be started or that its
// journal could not be written; whatever the workflow itself does is an Outcome.
//
// With a journal that holds an unfinished or stopped run of the same definition, name and input, that run is
// resumed; of one that has ended, the outcome is returned. A journal of anything else, or one that a live process
// holds, is a failure.Conflict. When ctx ends, children are stopped and waited for, the run is recorded as stopped
// and the status is Aborted.
func (e *Engine) Execute(ctx context.Context, m *Machine, x Execution) (Outcome, error) {
	if err := checkName(x.Name); err != nil {
		return Outcome{}, err
	}
	if len(x.Input) == 0 {
		x.Input = emptyObject
	}
	if _, err := decode(x.Input); err != nil {
		return Outcome{}, failure.New(failure.Usage, "input of run %s: %w", x.Name, err)
	}
	j, past, err := openJournal(x.Journal)
	if err != nil {
		return Outcome{}, err
	}
	defer j.close()
	return e.proceed(ctx, m, x, j, past)
}

// proceed executes what the journal says is left of a run.
func (e *Engine) proceed(ctx context.Context, m *Machine, x Execution, j *journal, past past) (Outcome, error) {
	if err := past.check(m, x); err != nil {
		return Outcome{}, err
	}
	if past.Ended {
		return past.Outcome, nil
	}
	return e.with(j).start(ctx, m, x, past)
}

// with returns a run of e with its defaults filled in.
func (e *Engine) with(j *journal) *run {
	filled := *e
	if filled.Now == nil {
		filled.Now = time.Now
	}
	if filled.Rand == nil {
		filled.Rand = rand.Float64
	}
	if filled.Log == nil {
		filled.Log = slog.New(slog.DiscardHandler)
	}
	if filled.MaxConcurrency == 0 {
		filled.MaxConcurrency = maxDistributed
	}
	if j != nil {
		j.now = filled.Now
	}
	return &run{engine: &filled, journal: j, events: new(atomic.Int64), caught: new(atomic.Bool)}
}

// checkName applies the rules of AWS for the name of an execution.
func checkName(name string) error {
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>{}[]?*\"#%\\^|~`$&,;:/", r)
	}
	if n := len([]rune(name)); n == 0 || n > 80 || strings.ContainsFunc(name, bad) {
		return failure.New(failure.Usage, "run name %q: 1 to 80 characters, no whitespace and none of < > { } [ ] ? * \" # %% \\ ^ | ~ ` $ & , ; : /", name)
	}
	return nil
}

// start begins or resumes a run, drives it and records its end.
func (r *run) start(ctx context.Context, m *Machine, x Execution, past past) (Outcome, error) {
	at, err := r.begin(m, x, past)
	if err != nil {
		return Outcome{}, err
	}
	if m.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, m.timeout, errRunTimeout)
		defer cancel()
	}
	out, err := r.whole(ctx, at, x.Input)
	outcome, err := r.outcome(ctx, out, err)
	if err != nil {
		return Outcome{}, err
	}
	r.engine.Log.Info("run ended", "run", x.Name, "status", outcome.Status, "error", outcome.Error)
	return outcome, r.journal.ended(outcome)
}

// begin records the start of a run, or that it is resumed, and returns where to go on.
func (r *run) begin(m *Machine, x Execution, past past) (position, error) {
	r.machine = m
	started := r.engine.Now()
	if past.begun {
		started = past.Started
		r.events.Store(int64(past.events))
		r.caught.Store(past.Outcome.Caught)
		r.execution = executionContext(m.name, x.Name, x.Input, started)
		r.engine.Log.Info("run resumed", "run", x.Name, "state", past.State)
		if err := r.journal.write(record{Type: recordResumed}); err != nil {
			return position{}, err
		}
		return past.position(m)
	}
	r.execution = executionContext(m.name, x.Name, x.Input, started)
	r.events.Add(1)
	r.engine.Log.Info("run started", "run", x.Name)
	err := r.journal.write(record{Type: recordStarted, Format: journalFormat, Name: x.Name, Machine: m.name, Definition: m.digest, Input: x.Input})
	return position{state: m.graph.start, input: x.Input}, err
}

// whole checks the run's input and walks the graph.
func (r *run) whole(ctx context.Context, at position, input json.RawMessage) (any, error) {
	v, err := decode(input)
	if err != nil {
		return nil, err
	}
	if _, err := checkSize("", "an input", v); err != nil {
		return nil, err
	}
	return r.walk(ctx, r.machine.graph, at)
}

// outcome turns the end of a walk into an Outcome.
func (r *run) outcome(ctx context.Context, out any, err error) (Outcome, error) {
	o := Outcome{Caught: r.caught.Load()}
	var f *fault
	switch {
	case err == nil:
		raw, err := encode(out)
		o.Status, o.Output = Succeeded, raw
		return o, err
	case errors.As(err, &f):
		o.Status, o.Error, o.Cause = Failed, f.name, f.cause
	case !errors.Is(err, errStopped):
		return Outcome{}, err
	case errors.Is(context.Cause(ctx), errRunTimeout):
		o.Status, o.Error, o.Cause = TimedOut, nameTimeout, errRunTimeout.Error()
	default:
		o.Status = Aborted
	}
	o.State = r.last
	return o, nil
}
