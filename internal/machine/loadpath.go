package machine

import (
	"slices"
	"strings"
)

// loadPath reads a path; context paths must name something that the runner provides.
func (l *loader) loadPath(c cursor, item bool) (path, bool) {
	src, ok := c.str()
	if !ok {
		return path{}, false
	}
	p, err := parsePath(src)
	if err != nil {
		c.fail("%v", err)
		return p, false
	}
	if p.context {
		l.checkContext(c, p, item)
	}
	return p, true
}

// contextPaths are the names of the context object; those with a star have values below them.
var contextPaths = []string{
	"Execution.Id", "Execution.Name", "Execution.Input*", "Execution.StartTime", "Execution.RoleArn",
	"State.Name", "State.EnteredTime", "State.RetryCount", "StateMachine.Id", "StateMachine.Name",
}

// itemPaths exist only while an ItemSelector is evaluated.
var itemPaths = []string{"Map.Item.Index", "Map.Item.Value*"}

func (l *loader) checkContext(c cursor, p path, item bool) {
	names := make([]string, 0, len(p.steps))
	for _, st := range p.steps {
		if st.isIndex {
			names = append(names, "[]")
			continue
		}
		names = append(names, st.name)
	}
	name := strings.Join(names, ".")
	is := func(pattern string) bool {
		stem, star := strings.CutSuffix(pattern, "*")
		return name == stem || star && strings.HasPrefix(name, stem+".")
	}
	switch {
	case slices.ContainsFunc(contextPaths, is):
	case !slices.ContainsFunc(itemPaths, is):
		c.fail("%q is not in the context object", p.src)
	case !item:
		c.fail("%q exists in an ItemSelector only", p.src)
	}
}

// loadFlowPath reads InputPath or OutputPath: $ by default, or null.
func (l *loader) loadFlowPath(c cursor, field string) flowPath {
	below, ok := c.key(field)
	switch {
	case !ok:
		return flowPath{path: path{src: "$"}}
	case below.v == nil:
		return flowPath{null: true}
	}
	p, _ := l.loadPath(below, false)
	return flowPath{path: p}
}

// loadResultPath reads ResultPath of a state or of a catcher: a reference path of names.
func (l *loader) loadResultPath(c cursor) flowPath {
	f := l.loadFlowPath(c, "ResultPath")
	for _, st := range f.path.steps {
		if st.isIndex {
			f.path.context = true // report once, below
		}
	}
	if f.path.context {
		l.report(join(c.path, "ResultPath"), "%q is not a reference path: use $ and names", f.path.src)
	}
	return f
}

// loadExpression reads the value of a ".$" field or of ErrorPath and CausePath, and notes what it reads.
func (l *loader) loadExpression(s *state, c cursor) expression {
	e, ok := l.parseExpression(c, false)
	if ok {
		s.note(e, c.path)
	}
	return e
}

func (l *loader) parseExpression(c cursor, item bool) (expression, bool) {
	src, ok := c.str()
	if !ok {
		return nil, false
	}
	e, err := parseExpression(src)
	if err != nil {
		c.fail("%v", err)
		return nil, false
	}
	for p := range pathsOf(e) {
		if p.context {
			l.checkContext(c, p, item)
		}
	}
	return e, true
}

// pathsOf yields the paths of an expression.
func pathsOf(e expression) func(func(path) bool) {
	return func(yield func(path) bool) { yieldPaths(e, yield) }
}

func yieldPaths(e expression, yield func(path) bool) bool {
	switch e := e.(type) {
	case path:
		return yield(e)
	case format:
		for _, arg := range e.args {
			if !yieldPaths(arg, yield) {
				return false
			}
		}
	}
	return true
}

// note remembers the paths of an expression that is evaluated on the state's effective input.
func (s *state) note(e expression, at string) {
	for p := range pathsOf(e) {
		s.reads = append(s.reads, read{p, at})
	}
}
