package machine

import (
	"maps"
	"slices"
)

// kindFields lists the fields of each state type, besides Type and Comment.
var kindFields = map[string][]string{
	kindTask: {
		"Next", "End", "InputPath", "OutputPath", "Resource", "Parameters", "ResultSelector", "ResultPath",
		"Retry", "Catch", "TimeoutSeconds",
	},
	kindPass:    {"Next", "End", "InputPath", "OutputPath", "Parameters", "Result", "ResultPath"},
	kindWait:    {"Next", "End", "InputPath", "OutputPath", "Seconds"},
	kindChoice:  {"InputPath", "OutputPath", "Choices", "Default"},
	kindSucceed: {"InputPath", "OutputPath"},
	kindFail:    {"Error", "ErrorPath", "Cause", "CausePath"},
	kindMap: {
		"Next", "End", "InputPath", "OutputPath", "ItemsPath", "ItemReader", "ItemSelector", "ItemProcessor",
		"MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage", "Label", "ResultWriter", "ResultSelector",
		"ResultPath",
		"Retry", "Catch",
	},
}

// stateFields is every field that some state type takes.
var stateFields = func() map[string]bool {
	all := map[string]bool{}
	for _, names := range kindFields {
		for _, name := range names {
			all[name] = true
		}
	}
	return all
}()

func (l *loader) loadState(name string, c cursor) *state {
	s := &state{name: name, at: c.path}
	if !c.isObject() {
		return s
	}
	kind, ok := c.need("Type")
	if !ok {
		return s
	}
	s.kind, ok = kind.str()
	if fields, known := kindFields[s.kind]; known {
		c.fields("a "+s.kind+" state", slices.Concat([]string{"Type"}, fields)...)
	} else {
		if ok {
			kind.fail("state type %q is not supported: use %v", s.kind, slices.Sorted(maps.Keys(kindFields)))
		}
		return s
	}
	l.loadFlow(s, c)
	switch s.kind {
	case kindTask:
		l.loadTask(s, c)
	case kindPass:
		l.loadPass(s, c)
	case kindWait:
		if seconds, ok := c.need("Seconds"); ok {
			s.seconds = seconds.seconds(0)
		}
	case kindChoice:
		l.loadChoice(s, c)
	case kindFail:
		l.loadFail(s, c)
	case kindMap:
		l.loadMap(s, c)
	}
	return s
}

// loadFlow reads what most states share: Next or End, the paths, ResultSelector, Retry and Catch.
func (l *loader) loadFlow(s *state, c cursor) {
	s.input = l.loadFlowPath(c, "InputPath")
	s.output = l.loadFlowPath(c, "OutputPath")
	s.result = l.loadResultPath(c)
	if s.kind == kindTask || s.kind == kindPass || s.kind == kindWait || s.kind == kindMap {
		l.loadNext(s, c)
	}
	if selector, ok := c.key("ResultSelector"); ok {
		s.selector = l.loadResultSelector(s, selector)
	}
	if retry, ok := c.key("Retry"); ok {
		s.retry = l.loadRetry(retry)
	}
	if catch, ok := c.key("Catch"); ok {
		s.catch = l.loadCatch(s, catch)
	}
}

func (l *loader) loadNext(s *state, c cursor) {
	next, hasNext := c.key("Next")
	end, hasEnd := c.key("End")
	switch {
	case hasNext && hasEnd:
		c.fail("Next and End exclude each other")
	case hasNext:
		s.next = l.reference(s, next)
	case !hasEnd:
		c.fail("neither Next nor End")
	case end.v != true:
		end.fail("expected true")
	}
}

// reference reads the name of a state to continue with.
func (l *loader) reference(s *state, c cursor) string {
	name, ok := c.str()
	if ok {
		s.refs = append(s.refs, reference{name, c.path})
	}
	return name
}

func (l *loader) loadTask(s *state, c cursor) {
	if resource, ok := c.need("Resource"); ok {
		resource.oneOf("arn:aws:states:::lambda:invoke")
	}
	if timeout, ok := c.key("TimeoutSeconds"); ok {
		s.task.timeout = timeout.seconds(1)
	}
	parameters, ok := c.need("Parameters")
	if !ok || !parameters.fields("lambda:invoke", "FunctionName", "Payload", "Payload.$") {
		return
	}
	if name, ok := parameters.need("FunctionName"); ok {
		s.task.function = l.loadFunction(name)
	}
	_, plain := parameters.key("Payload")
	_, computed := parameters.key("Payload.$")
	if !plain && !computed {
		parameters.fail("Payload is missing")
	}
	s.parameters = l.loadTemplate(s, parameters)
}

// loadFunction accepts one placeholder and nothing else, so that no function is named that is not deployed.
func (l *loader) loadFunction(c cursor) string {
	b, ok := c.v.(bound)
	if !ok || placeholder.FindString(b.raw) != b.raw {
		c.fail("a function is named by exactly one placeholder, like ${CopyFunction}")
		return ""
	}
	l.machine.functions[b.value] = true
	return b.value
}

func (l *loader) loadPass(s *state, c cursor) {
	result, hasResult := c.key("Result")
	parameters, hasParameters := c.key("Parameters")
	switch {
	case hasResult && hasParameters:
		c.fail("Result and Parameters exclude each other")
	case hasResult:
		s.constant = &literal{plain(result.v)}
	case hasParameters:
		s.parameters = l.loadTemplate(s, parameters)
	}
}

// plain returns a tree with the values of its placeholders.
func plain(v any) any {
	switch v := v.(type) {
	case bound:
		return v.value
	case map[string]any:
		object := make(map[string]any, len(v))
		for k, e := range v {
			object[k] = plain(e)
		}
		return object
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	}
	return v
}

func (l *loader) loadFail(s *state, c cursor) {
	s.failing.name = l.loadFailText(s, c, "Error")
	s.failing.cause = l.loadFailText(s, c, "Cause")
}

// loadFailText reads Error or Cause, which is either a text or an expression.
func (l *loader) loadFailText(s *state, c cursor, field string) expression {
	fixed, hasFixed := c.key(field)
	computed, hasComputed := c.key(field + "Path")
	switch {
	case hasFixed && hasComputed:
		c.fail("%s and %sPath exclude each other", field, field)
	case hasFixed:
		if v, ok := fixed.str(); ok {
			return constant{v}
		}
	case hasComputed:
		return l.loadExpression(s, computed)
	}
	return nil
}
