package machine

import (
	"maps"
	"slices"
)

// fieldSet is the top-level fields that a state's input may have; open means that nobody can say.
type fieldSet struct {
	open  bool
	names map[string]bool
}

func known(names ...string) fieldSet {
	f := fieldSet{names: map[string]bool{}}
	for _, name := range names {
		f.names[name] = true
	}
	return f
}

var unknown = fieldSet{open: true}

// with returns f and one more name.
func (f fieldSet) with(name string) fieldSet {
	if f.open {
		return f
	}
	names := maps.Clone(f.names)
	names[name] = true
	return fieldSet{names: names}
}

// join returns the fields that are in f or in g, and whether that is more than f.
func (f fieldSet) join(g fieldSet) (fieldSet, bool) {
	if f.open || g.open {
		return unknown, !f.open
	}
	joined := fieldSet{names: maps.Clone(f.names)}
	maps.Copy(joined.names, g.names)
	return joined, len(joined.names) > len(f.names)
}

// checkFields reports every read of a field that no input declares and no state before it writes: what would be
// States.Runtime when the run gets there. It follows all ways through the graph, so a field that is written on
// one way only counts as written.
func (l *loader) checkFields(g *graph, inputs fieldSet) {
	entry := map[string]fieldSet{g.start: inputs}
	for queue := []string{g.start}; len(queue) > 0; queue = queue[1:] {
		s := g.states[queue[0]]
		for target, out := range s.leaves(entry[s.name]) {
			before, seen := entry[target]
			joined, more := out, !seen
			if seen {
				joined, more = before.join(out)
			}
			if more {
				entry[target] = joined
				queue = append(queue, target)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		l.checkReads(g.states[name], entry[name])
	}
}

// leaves yields what s hands to each state that may follow it.
func (s *state) leaves(in fieldSet) func(func(string, fieldSet) bool) {
	return func(yield func(string, fieldSet) bool) {
		out := s.outputFields(in)
		for _, target := range slices.Concat([]string{s.next, s.orElse}, s.choiceTargets()) {
			if target != "" && !yield(target, out) {
				return
			}
		}
		for _, c := range s.catch {
			if !yield(c.next, in.written(c.result, unknown)) {
				return
			}
		}
	}
}

func (s *state) choiceTargets() []string {
	targets := make([]string, 0, len(s.choices))
	for _, r := range s.choices {
		targets = append(targets, r.next)
	}
	return targets
}

// at returns the fields of what a path selects from a value with the fields f.
func (f fieldSet) at(p flowPath) fieldSet {
	switch {
	case p.null:
		return known()
	case p.whole():
		return f
	}
	return unknown
}

// written returns the fields after a ResultPath wrote a value with the fields result.
func (f fieldSet) written(p flowPath, result fieldSet) fieldSet {
	switch name, ok := p.path.top(); {
	case p.null:
		return f
	case ok:
		return f.with(name)
	}
	return result
}

// outputFields returns what a state makes of its input.
func (s *state) outputFields(in fieldSet) fieldSet {
	return s.beforeOutput(in).at(s.output)
}

// beforeOutput is outputFields without OutputPath.
func (s *state) beforeOutput(in fieldSet) fieldSet {
	switch s.kind {
	case kindTask, kindMap, kindPass:
		return in.written(s.result, s.resultFields(in.at(s.input)))
	}
	return in.at(s.input)
}

func (s *state) resultFields(effective fieldSet) fieldSet {
	if names, ok := topFields(s.selector); ok {
		return known(names...)
	}
	switch s.kind {
	case kindTask:
		return known("ExecutedVersion", "Payload", "StatusCode")
	case kindMap:
		return known()
	}
	if s.constant != nil {
		object, _ := s.constant.v.(map[string]any)
		return known(slices.Collect(maps.Keys(object))...)
	}
	if names, ok := topFields(s.parameters); ok {
		return known(names...)
	}
	return effective
}

func (l *loader) checkReads(s *state, in fieldSet) {
	l.checkRead(read{s.input.path, join(s.at, "InputPath")}, in)
	effective := in.at(s.input)
	for _, r := range s.reads {
		l.checkRead(r, effective)
	}
	l.checkRead(read{s.output.path, join(s.at, "OutputPath")}, s.beforeOutput(in))
	if s.mapping == nil {
		return
	}
	children := unknown
	if s.mapping.selector != nil {
		children = known(s.mapping.fields...)
	}
	l.checkFields(s.mapping.graph, children)
}

func (l *loader) checkRead(r read, in fieldSet) {
	name, ok := r.path.top()
	if ok && !r.path.context && !in.open && !in.names[name] {
		l.report(r.at, "%q: no input and no state before this one sets %q", r.path.src, name)
	}
}
