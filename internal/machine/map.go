package machine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// mapRun is one pass of a Map over its items.
type mapRun struct {
	run    *run
	s      *state
	sc     scope
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}

	mu      sync.Mutex
	results map[int]json.RawMessage
	size    int // of the results; past maxData they are dropped, because the state will fail
	failed  int
	err     error // the first that ends the Map
}

// runMap runs the children of a Map over its items, at most MaxConcurrency at a time, and returns their outputs in
// the order of the items; an empty list where a ResultWriter gets them. Children in done are not run again. It returns
// after the last child has.
func (r *run) runMap(ctx context.Context, s *state, sc scope, done map[int]json.RawMessage) (any, error) {
	if err := r.count(2); err != nil { // started, and how it ended
		return nil, err
	}
	if err := checkWriter(s.mapping.writer, sc); err != nil {
		return nil, err
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &mapRun{
		run: r, s: s, sc: sc, ctx: limited, cancel: cancel, results: map[int]json.RawMessage{},
		slots: make(chan struct{}, min(s.mapping.concurrency, r.engine.MaxConcurrency)),
	}
	total := m.each(done)
	if m.err == nil && ctx.Err() != nil {
		m.err = errStopped
	}
	if m.err == nil && m.exceeded(total) {
		m.err = m.threshold()
	}
	if m.err != nil {
		return nil, m.err
	}
	return m.collect(total)
}

// each starts a child for every item, waits for all of them, and returns how many items there are.
func (m *mapRun) each(done map[int]json.RawMessage) (total int) {
	var children sync.WaitGroup
	defer children.Wait()
	for item, err := range m.run.items(m.ctx, m.s, m.sc) {
		if err != nil {
			m.fail(err)
			return total
		}
		index := total
		total++
		if out, ok := done[index]; ok {
			m.keep(index, out)
			continue
		}
		input, err := m.input(index, item)
		if err != nil {
			m.fail(err)
			return total
		}
		select {
		case m.slots <- struct{}{}:
		case <-m.ctx.Done():
		}
		if m.ctx.Err() != nil {
			return total
		}
		children.Go(func() {
			defer func() { <-m.slots }()
			m.child(index, input)
		})
	}
	return total
}

// input makes the input of a child.
func (m *mapRun) input(index int, item any) (json.RawMessage, error) {
	if m.s.mapping.selector != nil {
		var err error
		if item, err = m.s.mapping.selector.fill(m.sc.withItem(index, item)); err != nil {
			return nil, err
		}
	}
	return checkSize(m.s.name, fmt.Sprintf("an input of child %d", index), item)
}

// child runs one child and records how it ended.
func (m *mapRun) child(index int, input json.RawMessage) {
	child := *m.run
	child.journal, child.child = nil, true
	if m.s.mapping.distributed {
		name := childName(m.run, m.s, index)
		child.events = new(atomic.Int64)
		child.execution = executionContext(m.run.machine.name+"/"+m.s.mapping.label, name, input, m.run.engine.Now())
	}
	err := m.run.count(m.iterationEvents())
	var out any
	if err == nil {
		out, err = child.walk(m.ctx, m.s.mapping.graph, position{state: m.s.mapping.graph.start, input: input})
	}
	var f *fault
	switch {
	case err == nil:
		m.succeed(index, out)
	case errors.As(err, &f):
		m.failChild(index, f)
	case !errors.Is(err, errStopped):
		m.fail(err)
	}
}

// iterationEvents is how many events the start and the end of a child cost the parent.
func (m *mapRun) iterationEvents() int64 {
	if m.s.mapping.distributed {
		return 0
	}
	return 2
}

// childName returns the name of a distributed child's own execution; it is the same when the run is resumed.
func childName(r *run, s *state, index int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", text(r.execution["Id"]), s.name, index))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (m *mapRun) succeed(index int, out any) {
	raw, err := encode(out)
	if err == nil {
		err = m.run.journal.write(record{Type: recordChild, State: m.s.name, Index: &index, Output: raw})
	}
	if err != nil {
		m.fail(err)
		return
	}
	m.keep(index, raw)
}

func (m *mapRun) keep(index int, out json.RawMessage) {
	if m.s.mapping.writer != nil { // Step Functions writes them, and nobody reads them
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size += len(out) + 1
	if m.size > maxData+1 {
		m.results = map[int]json.RawMessage{}
		return
	}
	m.results[index] = out
}

// failChild counts a failed child and ends the Map if that was one too many.
func (m *mapRun) failChild(index int, f *fault) {
	m.run.engine.Log.Warn("child failed", "run", m.run.execution["Name"], "state", m.s.name, "child", index, "error", f.name, "cause", f.cause)
	if err := m.run.journal.write(record{Type: recordChild, State: m.s.name, Index: &index, Error: f.name, Cause: f.cause, Failed: true}); err != nil {
		m.fail(err)
		return
	}
	if !m.s.mapping.distributed {
		m.fail(f)
		return
	}
	m.mu.Lock()
	m.failed++
	m.mu.Unlock()
	if m.exceededCount() {
		m.fail(m.threshold())
	}
}

// fail ends the Map with its first error and stops the other children.
func (m *mapRun) fail(err error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	m.mu.Unlock()
	m.cancel()
}

func (m *mapRun) threshold() error {
	return &fault{nameThreshold, "The specified tolerated failure threshold was exceeded"}
}

// exceededCount tells whether more children failed than ToleratedFailureCount, which is 0 if neither tolerance
// is given.
func (m *mapRun) exceededCount() bool {
	tolerated := m.s.mapping.count
	if tolerated == nil && m.s.mapping.percent == nil {
		tolerated = new(int)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return tolerated != nil && m.failed > *tolerated
}

// exceeded tells, once all children have ended, whether either tolerance is exceeded.
func (m *mapRun) exceeded(total int) bool {
	percent := m.s.mapping.percent
	return m.exceededCount() || percent != nil && float64(m.failed)*100 > *percent*float64(total)
}

// collect returns the outputs of the children in the order of their items; failed ones leave no entry.
func (m *mapRun) collect(total int) (any, error) {
	if m.size > maxData+1 {
		return nil, &fault{nameDataLimit, fmt.Sprintf("The state/task '%s' returned a result with a size exceeding the maximum number of bytes service limit.", m.s.name)}
	}
	list := make([]any, 0, len(m.results))
	for index := range total {
		raw, ok := m.results[index]
		if !ok {
			continue
		}
		v, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("output of child %d of %s: %w", index, m.s.name, err)
		}
		list = append(list, v)
	}
	_, err := checkSize(m.s.name, "a result", list)
	return list, err
}
