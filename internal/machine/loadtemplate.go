package machine

import "strings"

// templateLoader reads one payload template.
type templateLoader struct {
	l    *loader
	item bool                          // $$.Map.Item exists
	note func(e expression, at cursor) // sees every expression
}

// loadTemplate reads a template that is evaluated on the state's effective input.
func (l *loader) loadTemplate(s *state, c cursor) template {
	return l.readTemplate(c, templateLoader{l: l, note: func(e expression, at cursor) { s.note(e, at.path) }})
}

// loadResultSelector reads a template that is evaluated on the state's result.
func (l *loader) loadResultSelector(s *state, c cursor) template {
	return l.readTemplate(c, templateLoader{l: l, note: func(e expression, at cursor) {
		for p := range pathsOf(e) {
			top, named := p.top()
			if s.kind == kindTask && !p.context && (!named || top != "Payload") {
				at.fail("%q: read only $.Payload of a function's result; the rest differs between the engines", p.src)
			}
		}
	}})
}

func (l *loader) readTemplate(c cursor, t templateLoader) template {
	if !c.isObject() {
		return nil
	}
	return t.object(c)
}

func (t templateLoader) value(c cursor) template {
	switch v := c.v.(type) {
	case map[string]any:
		return t.object(c)
	case []any:
		filled := make(arrayTemplate, 0, len(v))
		for _, below := range c.elements() {
			filled = append(filled, t.value(below))
		}
		return filled
	}
	return literal{plain(c.v)}
}

func (t templateLoader) object(c cursor) template {
	filled := objectTemplate{}
	for key, below := range c.each() {
		name, computed := strings.CutSuffix(key, ".$")
		if !computed {
			filled = append(filled, fieldTemplate{name: key, constant: t.value(below)})
			continue
		}
		if _, ok := c.key(name); ok {
			below.fail("%s and %s exclude each other", name, key)
		}
		if e, ok := t.l.parseExpression(below, t.item); ok {
			t.note(e, below)
			filled = append(filled, fieldTemplate{name: name, computed: e})
		}
	}
	return filled
}

// topFields returns the keys of a template, or false if it is none or no object.
func topFields(t template) ([]string, bool) {
	object, ok := t.(objectTemplate)
	names := make([]string, 0, len(object))
	for _, f := range object {
		names = append(names, f.name)
	}
	return names, ok
}
