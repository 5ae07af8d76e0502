package machine

// scope is what paths read: the data at $ and the context object at $$.
type scope struct {
	input   any
	context map[string]any
}

func (sc scope) find(p path) (any, bool) {
	if p.context {
		return p.find(any(sc.context))
	}
	return p.find(sc.input)
}

// root returns what p is looked up in, for messages.
func (sc scope) root(p path) any {
	if p.context {
		return sc.context
	}
	return sc.input
}

// expression is the value of a field whose name ends in ".$".
type expression interface {
	// value computes the expression; field names it in messages.
	value(sc scope, field string) (any, error)
}

func (p path) value(sc scope, field string) (any, error) {
	v, ok := sc.find(p)
	if !ok {
		return nil, runtimeFault("The JSONPath '%s' specified for the field '%s' could not be found in the input '%s'",
			p.src, field, text(sc.root(p)))
	}
	return v, nil
}

// template is a payload template (Parameters, ItemSelector, ResultSelector).
type template interface {
	fill(sc scope) (any, error)
}

type (
	literal        struct{ v any }
	objectTemplate []fieldTemplate
	arrayTemplate  []template
)

// fieldTemplate is one key of an objectTemplate, with either a computed or a constant value.
type fieldTemplate struct {
	name     string
	computed expression
	constant template
}

func (l literal) fill(scope) (any, error) { return l.v, nil }

func (o objectTemplate) fill(sc scope) (any, error) {
	filled := make(map[string]any, len(o))
	for _, f := range o {
		var v any
		var err error
		if f.computed != nil {
			v, err = f.computed.value(sc, f.name+".$")
		} else {
			v, err = f.constant.fill(sc)
		}
		if err != nil {
			return nil, err
		}
		filled[f.name] = v
	}
	return filled, nil
}

func (a arrayTemplate) fill(sc scope) (any, error) {
	filled := make([]any, 0, len(a))
	for _, t := range a {
		v, err := t.fill(sc)
		if err != nil {
			return nil, err
		}
		filled = append(filled, v)
	}
	return filled, nil
}
