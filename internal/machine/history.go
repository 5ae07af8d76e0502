package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"lifeboat/internal/failure"
)

// Event is one event of a run's history, in the shape of GetExecutionHistory: MarshalJSON puts Details under the
// name that belongs to the type, such as taskFailedEventDetails. Times are written as RFC 3339.
type Event struct {
	ID       int64
	Previous int64
	Time     time.Time
	Type     string
	Details  Details
}

// Details are those of an event; an event has only a few of them.
type Details struct {
	Name         string `json:"name,omitzero"`
	Index        *int   `json:"index,omitempty"`
	Input        string `json:"input,omitzero"`
	Output       string `json:"output,omitzero"`
	Error        string `json:"error,omitzero"`
	Cause        string `json:"cause,omitzero"`
	Resource     string `json:"resource,omitzero"`
	ResourceType string `json:"resourceType,omitzero"`
	Parameters   string `json:"parameters,omitzero"`
	MapRunArn    string `json:"mapRunArn,omitzero"`
	RedriveCount int    `json:"redriveCount,omitzero"`
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	fields := map[string]any{
		"id": e.ID, "previousEventId": e.Previous, "timestamp": e.Time.UTC().Format(time.RFC3339Nano), "type": e.Type,
	}
	if e.Details != (Details{}) {
		name := strings.ToLower(e.Type[:1]) + e.Type[1:]
		for _, shared := range []string{"StateEntered", "StateExited"} {
			if strings.HasSuffix(e.Type, shared) {
				name = strings.ToLower(shared[:1]) + shared[1:]
			}
		}
		fields[name+"EventDetails"] = e.Details
	}
	return json.Marshal(fields)
}

// History derives the events of a run from its journal, oldest first. Of the children of a Map it tells only how
// they ended. The times of an attempt's start are those of what came before it.
func History(path string) ([]Event, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, failure.New(failure.NotFound, "read journal: %w", err)
	}
	defer file.Close()
	var h history
	_, err = readRecords(file, h.apply)
	return h.events, err
}

// history builds events from records.
type history struct {
	events   []Event
	run      string
	machine  string
	entered  record // the state that is open
	waiting  bool   // an attempt has begun, or is about to, whose start has not been told
	begins   time.Time
	redriven int
}

func (h *history) add(at time.Time, kind string, d Details) {
	n := int64(len(h.events))
	h.events = append(h.events, Event{ID: n + 1, Previous: n, Time: at, Type: kind, Details: d})
}

func (h *history) apply(r record) {
	switch r.Type {
	case recordStarted:
		h.run, h.machine = r.Name, r.Machine
		h.add(r.Time, "ExecutionStarted", Details{Input: string(r.Input)})
	case recordResumed:
		h.redriven++
		h.add(r.Time, "ExecutionRedriven", Details{RedriveCount: h.redriven})
		h.waiting, h.begins = h.attempts(), r.Time
	case recordEntered:
		h.entered = r
		h.waiting, h.begins = h.attempts(), r.Time
		h.add(r.Time, r.Kind+"StateEntered", Details{Name: r.State, Input: string(r.Input)})
	case recordChild:
		h.begin()
		h.child(r)
	case recordFailed:
		h.begin()
		h.attemptFailed(r)
	case recordExited:
		h.exited(r)
	case recordStopped:
		h.add(r.Time, "ExecutionAborted", Details{})
	case recordEnded:
		h.ended(r)
	}
}

// attempts tells whether the open state is of a type whose attempts have events of their own.
func (h *history) attempts() bool { return h.entered.Kind == kindTask || h.entered.Kind == kindMap }

// begin tells that an attempt of a Task or a Map started, if that is still to be told.
func (h *history) begin() {
	if !h.waiting {
		return
	}
	h.waiting = false
	switch {
	case h.entered.Kind == kindTask:
		parameters := text(map[string]any{"FunctionName": h.entered.Function})
		h.add(h.begins, "TaskScheduled", Details{ResourceType: "lambda", Resource: "invoke", Parameters: parameters})
		h.add(h.begins, "TaskStarted", lambdaDetails())
	case h.entered.Mode == modeDistributed:
		h.add(h.begins, "MapRunStarted", Details{MapRunArn: h.mapRun()})
	default:
		h.add(h.begins, "MapStateStarted", Details{})
	}
}

func lambdaDetails() Details { return Details{ResourceType: "lambda", Resource: "invoke"} }

func (h *history) mapRun() string {
	return fmt.Sprintf("arn:aws:states:%s:mapRun:%s/%s:%s", account, h.machine, h.entered.Label, h.run)
}

// child tells how an iteration of an inline Map ended; those of a distributed one have histories of their own.
func (h *history) child(r record) {
	if h.entered.Mode == modeDistributed {
		return
	}
	kind := "MapIterationSucceeded"
	if r.Failed {
		kind = "MapIterationFailed"
	}
	d := Details{Name: r.State, Index: r.Index}
	h.add(r.Time, "MapIterationStarted", d)
	h.add(r.Time, kind, d)
}

func (h *history) attemptFailed(r record) {
	d := Details{Error: r.Error, Cause: r.Cause}
	switch {
	case h.entered.Mode == modeDistributed:
		h.add(r.Time, "MapRunFailed", d)
	case h.entered.Kind == kindMap:
		h.add(r.Time, "MapStateFailed", Details{})
	case r.Error == nameTimeout:
		d.Resource, d.ResourceType = "invoke", "lambda"
		h.add(r.Time, "TaskTimedOut", d)
	default:
		d.Resource, d.ResourceType = "invoke", "lambda"
		h.add(r.Time, "TaskFailed", d)
	}
	h.waiting = r.Again
	h.begins = r.Time.Add(time.Duration(r.Wait * float64(time.Second)))
}

func (h *history) exited(r record) {
	started := h.waiting
	h.begin()
	switch {
	case !started && h.lastFailed(): // caught
	case h.entered.Kind == kindTask:
		h.add(r.Time, "TaskSucceeded", lambdaDetails())
	case h.entered.Mode == modeDistributed:
		h.add(r.Time, "MapRunSucceeded", Details{})
	case h.entered.Kind == kindMap:
		h.add(r.Time, "MapStateSucceeded", Details{})
	}
	h.waiting, h.entered = false, record{}
	h.add(r.Time, r.Kind+"StateExited", Details{Name: r.State, Output: string(r.Output)})
}

// lastFailed tells whether the open state has failed for good.
func (h *history) lastFailed() bool {
	switch h.events[len(h.events)-1].Type {
	case "TaskFailed", "TaskTimedOut", "MapRunFailed", "MapStateFailed":
		return true
	}
	return false
}

func (h *history) ended(r record) {
	switch r.Status {
	case Succeeded:
		h.add(r.Time, "ExecutionSucceeded", Details{Output: string(r.Output)})
	case TimedOut:
		h.add(r.Time, "ExecutionTimedOut", Details{Error: r.Error, Cause: r.Cause})
	default:
		h.add(r.Time, "ExecutionFailed", Details{Error: r.Error, Cause: r.Cause})
	}
}
