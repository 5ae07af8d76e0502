package machine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"lifeboat/internal/failure"
)

const (
	modeInline      = "INLINE"
	modeDistributed = "DISTRIBUTED"
)

// JournalState is what a journal tells about its run.
type JournalState struct {
	Name       string
	Machine    string
	Input      json.RawMessage
	Definition string // SHA-256 of the definition's bytes, hex
	Started    time.Time
	Updated    time.Time // of the last record
	// Ended tells that the run is over. A run that has not ended, stopped or not, can be resumed; whether a
	// process is still executing it is what Held says.
	Ended   bool
	Stopped bool
	Status  Status // Running unless it was stopped or has ended
	State   string // the state that was entered last
	Outcome Outcome
}

// past is a journal replayed.
type past struct {
	JournalState
	begun   bool
	size    int64 // of the whole records
	events  int
	open    bool // State was entered and not left
	broke   bool // and has failed for good
	entered time.Time
	input   json.RawMessage // of State
	next    string          // after State
	output  json.RawMessage // of State
	done    map[int]json.RawMessage
}

// ReadJournal reads what a journal tells about its run, which may be going on. A torn last record is ignored.
// A journal that holds no whole record is failure.NotFound, damage before the last record failure.Corrupt.
func ReadJournal(path string) (JournalState, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return JournalState{}, failure.New(failure.NotFound, "read journal: %w", err)
	}
	if err != nil {
		return JournalState{}, fmt.Errorf("read journal: %w", err)
	}
	defer file.Close()
	p, err := readPast(file)
	if err == nil && !p.begun {
		err = failure.New(failure.NotFound, "journal %s holds no run", path)
	}
	return p.JournalState, err
}

func readPast(file *os.File) (past, error) {
	p := past{}
	var h history
	size, err := readRecords(file, func(r record) {
		p.apply(r)
		h.apply(r)
	})
	p.size, p.events = size, len(h.events)
	return p, err
}

// readRecords hands every whole record to apply and returns how many bytes they have.
func readRecords(file *os.File, apply func(record)) (size int64, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read journal %s: %w", file.Name(), err)
	}
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil // what is left is torn
		}
		if err != nil {
			return size, fmt.Errorf("read journal %s: %w", file.Name(), err)
		}
		r, err := parseRecord(line, n)
		if err != nil {
			if _, more := lines.Peek(1); errors.Is(more, io.EOF) && failure.KindOf(err) == failure.Corrupt {
				return size, nil // torn, though its end was written
			}
			return size, fmt.Errorf("journal %s: %w", file.Name(), err)
		}
		apply(r)
		size += int64(len(line))
	}
}

func parseRecord(line []byte, n int) (record, error) {
	var r record
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&r); err != nil {
		return r, failure.New(failure.Corrupt, "line %d: %w", n, err)
	}
	switch {
	case (n == 1) != (r.Type == recordStarted), r.Type == recordChild && r.Index == nil:
		return r, failure.New(failure.Corrupt, "line %d: unexpected record %q", n, r.Type)
	case n == 1 && r.Format != journalFormat:
		return r, failure.New(failure.Invalid, "format %d is not supported", r.Format)
	}
	return r, nil
}

// apply takes one record into account.
func (p *past) apply(r record) {
	p.Updated, p.Stopped, p.Status = r.Time, false, Running
	switch r.Type {
	case recordStarted:
		p.begun, p.Name, p.Machine, p.Definition, p.Input, p.Started = true, r.Name, r.Machine, r.Definition, r.Input, r.Time
		p.done = map[int]json.RawMessage{}
	case recordResumed:
		p.broke = false
	case recordEntered:
		p.State, p.open, p.broke, p.entered, p.input, p.done = r.State, true, false, r.Time, r.Input, map[int]json.RawMessage{}
	case recordFailed:
		p.broke, p.done = !r.Again, map[int]json.RawMessage{}
	case recordChild:
		if !r.Failed {
			p.done[*r.Index] = r.Output
		}
	case recordExited:
		p.Outcome.Caught = p.Outcome.Caught || p.broke
		p.open, p.broke, p.next, p.output = false, false, r.Next, r.Output
	case recordStopped:
		p.Stopped, p.Status = true, Aborted
	case recordEnded:
		p.Ended, p.Status = true, r.Status
		p.Outcome = Outcome{Status: r.Status, Output: r.Output, Error: r.Error, Cause: r.Cause, State: r.State, Caught: r.Caught}
	}
}

// check tells whether x may go on with what the journal holds.
func (p *past) check(m *Machine, x Execution) error {
	switch {
	case !p.begun:
		return nil
	case p.Name != x.Name:
		return failure.New(failure.Conflict, "journal %s is of run %s, not of %s", x.Journal, p.Name, x.Name)
	case !sameJSON(p.Input, x.Input):
		return failure.New(failure.Conflict, "run %s was started with another input", x.Name)
	case !p.Ended && p.Definition != m.digest:
		return failure.New(failure.Conflict, "run %s was started with another definition of the workflow", x.Name).
			WithHint("start a new run: steps that are done already are found and not repeated")
	}
	return nil
}

// position returns where to go on.
func (p *past) position(m *Machine) (position, error) {
	at := position{state: m.graph.start, input: p.Input}
	switch {
	case p.open:
		at = position{state: p.State, input: p.input, open: true, entered: p.entered, done: p.done}
	case p.State != "":
		at = position{state: p.next, input: p.output, over: p.next == ""}
	}
	if !at.over && m.graph.states[at.state] == nil {
		return at, failure.New(failure.Corrupt, "the journal names state %q, which the definition does not have", at.state)
	}
	return at, nil
}
