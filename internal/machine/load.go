package machine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/internal/failure"
)

// maxDefinition is what Step Functions allows for a definition.
const maxDefinition = 1 << 20

// Problem is one reason to refuse a definition.
type Problem struct {
	Path    string // JSON path of the offender, such as $.States.Copy.Retry[0].ErrorEquals
	Message string
}

func (p Problem) String() string { return p.Path + ": " + p.Message }

// LoadError is all that is wrong with a definition, sorted by path.
type LoadError struct {
	Problems []Problem
}

func (e *LoadError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Option changes how Load works.
type Option func(*loader)

// WithInputs declares the fields of a run's input and switches on the check that every field a state reads is
// an input or was written by a state before it.
func WithInputs(fields ...string) Option {
	return func(l *loader) { l.inputs, l.checkFlow = fields, true }
}

// WithName sets the machine's name, as $$.StateMachine.Name and in identifiers; without it, it is "machine".
func WithName(name string) Option {
	return func(l *loader) { l.machine.name = name }
}

// loader collects a machine and its problems.
type loader struct {
	bind      map[string]string
	used      map[string]bool
	inputs    []string
	checkFlow bool
	names     map[string]string // state name → where it was first seen
	labels    map[string]string
	machine   *Machine
	problems  []Problem
}

func (l *loader) report(path, format string, args ...any) {
	l.problems = append(l.problems, Problem{path, fmt.Sprintf(format, args...)})
}

// Load reads a definition, binds its ${Placeholders} and refuses what the runner cannot execute or what is known
// to fail on AWS. All problems are reported at once: the error is of the kind failure.Internal, because a
// definition is a part of the program, and wraps a *LoadError.
//
// A FunctionName is exactly one placeholder. Elsewhere placeholders may stand inside the strings of Parameters,
// ItemSelector, ResultSelector, Result and Comment. Every placeholder needs a value and every value a placeholder.
func Load(definition []byte, bind map[string]string, options ...Option) (*Machine, error) {
	sum := sha256.Sum256(definition)
	l := &loader{
		bind: bind, used: map[string]bool{}, names: map[string]string{}, labels: map[string]string{},
		machine: &Machine{
			name: "machine", digest: hex.EncodeToString(sum[:]),
			functions: map[string]bool{}, errorNames: map[string]bool{},
		},
	}
	for _, o := range options {
		o(l)
	}
	l.load(definition)
	if len(l.problems) == 0 {
		return l.machine, nil
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	return nil, failure.New(failure.Internal, "load workflow %s: %w", l.machine.name, &LoadError{l.problems})
}

func (l *loader) load(definition []byte) {
	if len(definition) > maxDefinition {
		l.report("$", "the definition has %d bytes: at most %d are allowed", len(definition), maxDefinition)
		return
	}
	tree := l.decodeDefinition(definition)
	if tree == nil {
		if len(l.problems) == 0 {
			l.report("$", "expected an object")
		}
		return
	}
	l.loadMachine(cursor{l, "$", tree})
	for _, name := range slices.Sorted(maps.Keys(l.bind)) {
		if !l.used[name] {
			l.report("$", "the value of ${%s} is not used", name)
		}
	}
	if l.checkFlow && len(l.problems) == 0 {
		l.checkFields(l.machine.graph, known(l.inputs...))
	}
}

func (l *loader) loadMachine(c cursor) {
	if !c.fields("the definition", "StartAt", "States", "TimeoutSeconds", "Version") {
		return
	}
	if v, ok := c.key("Version"); ok {
		v.oneOf("1.0")
	}
	if t, ok := c.key("TimeoutSeconds"); ok {
		l.machine.timeout = t.seconds(1)
	}
	l.machine.graph = l.loadGraph(c)
}

// loadGraph reads StartAt and States of the machine or of an item processor.
func (l *loader) loadGraph(c cursor) *graph {
	g := &graph{states: map[string]*state{}}
	start, hasStart := c.need("StartAt")
	if hasStart {
		g.start, hasStart = start.str()
	}
	states, ok := c.need("States")
	if !ok || !states.isObject() {
		return g
	}
	for name, at := range states.each() {
		l.checkStateName(name, at.path)
		g.states[name] = l.loadState(name, at)
	}
	if hasStart {
		l.checkGraph(g, start)
	}
	return g
}

func (l *loader) checkStateName(name, at string) {
	if n := len([]rune(name)); n == 0 || n > 80 {
		l.report(at, "a state name has 1 to 80 characters, not %d", n)
	}
	if first, ok := l.names[name]; ok {
		l.report(at, "the state name is already used at %s", first)
		return
	}
	l.names[name] = at
}

// checkGraph looks for targets that don't exist and for states that nothing leads to.
func (l *loader) checkGraph(g *graph, start cursor) {
	if g.states[g.start] == nil {
		start.fail("there is no state %q here", g.start)
		return
	}
	reached := map[string]bool{g.start: true}
	for queue := []string{g.start}; len(queue) > 0; queue = queue[1:] {
		for _, ref := range g.states[queue[0]].refs {
			if g.states[ref.target] != nil && !reached[ref.target] {
				reached[ref.target] = true
				queue = append(queue, ref.target)
			}
		}
	}
	for name, s := range g.states {
		for _, ref := range s.refs {
			if g.states[ref.target] == nil {
				l.report(ref.at, "there is no state %q here", ref.target)
			}
		}
		if !reached[name] {
			l.report(s.at, "no state leads here")
		}
	}
}
