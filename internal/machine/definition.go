package machine

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Machine is a definition that the runner can execute. It is immutable and safe for concurrent use.
type Machine struct {
	name    string
	digest  string
	timeout time.Duration // 0 = none
	graph   *graph
	// What the definition mentions, for tests that compare it with the code.
	functions  map[string]bool
	errorNames map[string]bool
}

// Name returns what WithName set.
func (m *Machine) Name() string { return m.name }

// Digest returns the SHA-256 of the definition's bytes, in lower-case hex. Bound values are not part of it.
func (m *Machine) Digest() string { return m.digest }

// Functions returns the names of the functions that the definition invokes, sorted.
func (m *Machine) Functions() []string { return slices.Sorted(maps.Keys(m.functions)) }

// ErrorNames returns the error names that a Retry or a Catch matches, sorted.
func (m *Machine) ErrorNames() []string { return slices.Sorted(maps.Keys(m.errorNames)) }

// graph is the states of a machine or of an item processor.
type graph struct {
	start  string
	states map[string]*state
}

// The state types.
const (
	kindTask    = "Task"
	kindPass    = "Pass"
	kindChoice  = "Choice"
	kindWait    = "Wait"
	kindSucceed = "Succeed"
	kindFail    = "Fail"
	kindMap     = "Map"
)

// state is one state; the pointers and values below kind are set as its type wants them.
type state struct {
	name string
	kind string
	at   string // where it stands in the definition

	next   string // "" ends the graph
	input  flowPath
	output flowPath

	parameters template // nil: the effective input
	selector   template // ResultSelector; nil: the result
	result     flowPath // ResultPath

	retry []retrier
	catch []catcher

	task     taskFields
	constant *literal // Result of a Pass
	seconds  time.Duration
	choices  []rule
	orElse   string // Default; "" = none
	failing  failing
	mapping  *mapping

	refs  []reference
	reads []read
}

// flowPath is InputPath, OutputPath or ResultPath: a path, or null.
type flowPath struct {
	path path
	null bool
}

func (f flowPath) whole() bool { return !f.null && !f.path.context && len(f.path.steps) == 0 }

type taskFields struct {
	function string
	timeout  time.Duration // 0 = none
}

type failing struct {
	name, cause expression // nil = absent
}

type retrier struct {
	names    []string
	interval time.Duration
	attempts int
	rate     float64
	max      time.Duration // 0 = no cap
	full     bool          // JitterStrategy FULL
}

type catcher struct {
	names  []string
	next   string
	result flowPath
}

type mapping struct {
	graph       *graph
	distributed bool
	label       string
	items       path // ItemsPath
	reader      *itemReader
	writer      *resultWriter
	selector    template // ItemSelector; nil: the item
	fields      []string // the top-level keys of the selector
	concurrency int
	// Tolerances; nil = not given. Without either, nothing is tolerated.
	count   *int
	percent *float64
}

type itemReader struct {
	bucket, key template
}

// resultWriter is where Step Functions writes the outputs of the children. The runner does not write them: its journal
// has them, and Load makes sure that no state reads what Step Functions says of them.
type resultWriter struct {
	bucket, prefix template
}

// read is one definite path that a state looks up in its effective input, for the data-flow check.
type read struct {
	path path
	at   string
}

// reference is one place where a state names the state to continue with.
type reference struct {
	target string
	at     string
}

var emptyObject = json.RawMessage("{}")
