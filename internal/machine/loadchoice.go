package machine

import "strings"

func (l *loader) loadChoice(s *state, c cursor) {
	if choices, ok := c.need("Choices"); ok {
		for _, below := range choices.list() {
			r := rule{test: l.loadRule(s, below, true)}
			if next, ok := below.key("Next"); ok {
				r.next = l.reference(s, next)
			} else {
				below.fail("Next is missing")
			}
			s.choices = append(s.choices, r)
		}
	}
	if orElse, ok := c.key("Default"); ok {
		s.orElse = l.reference(s, orElse)
	}
}

// loadRule reads a rule; only one at the top has a Next.
func (l *loader) loadRule(s *state, c cursor, top bool) test {
	if !c.isObject() {
		return nil
	}
	var operators []cursor
	var names []string
	for name, below := range c.each() {
		switch {
		case name == "Variable", name == "Comment", name == "Next" && top:
		case isOperator(name):
			operators, names = append(operators, below), append(names, name)
		case unsupported[name] != "":
			below.fail("not supported: %s", unsupported[name])
		default:
			below.fail("unknown comparison operator or field")
		}
	}
	if len(operators) != 1 {
		c.fail("a rule has exactly one comparison, not %d", len(operators))
		return nil
	}
	if name := names[0]; name == "And" || name == "Or" || name == "Not" {
		if v, ok := c.key("Variable"); ok {
			v.fail("%s takes no Variable", name)
		}
		return l.loadBoolean(s, name, operators[0])
	}
	variable, ok := c.need("Variable")
	if !ok {
		return nil
	}
	p, _ := l.loadPath(variable, false)
	s.note(p, variable.path)
	return l.loadComparison(s, p, names[0], operators[0])
}

// isOperator tells whether a rule may have such a comparison.
func isOperator(name string) bool {
	stem, _ := strings.CutSuffix(name, "Path")
	switch name {
	case "And", "Or", "Not", "IsPresent":
		return true
	case "StringMatchesPath":
		return false
	}
	return comparisons[stem] != nil || typeTests[name] != nil
}

func (l *loader) loadBoolean(s *state, name string, c cursor) test {
	if name == "Not" {
		return testNot(l.loadRule(s, c, false))
	}
	var tests []test
	for _, below := range c.list() {
		tests = append(tests, l.loadRule(s, below, false))
	}
	return testAll(tests, name == "Or")
}

func (l *loader) loadComparison(s *state, p path, name string, c cursor) test {
	if stem, ok := strings.CutSuffix(name, "Path"); ok {
		other, _ := l.loadPath(c, false)
		s.note(other, c.path)
		return testCompare(p, comparisons[stem], func(sc scope) (any, error) { return variable(sc, other) })
	}
	if with := comparisons[name]; with != nil {
		c.checkConstant(name)
		return testCompare(p, with, func(scope) (any, error) { return c.v, nil })
	}
	want, ok := c.v.(bool)
	if !ok {
		c.fail("expected true or false")
	}
	if name == "IsPresent" {
		return testPresent(p, want)
	}
	return testType(p, typeTests[name], want)
}

// checkConstant refuses a constant of the wrong type, which no value could equal.
func (c cursor) checkConstant(name string) {
	is, what := typeTests["IsString"], "a string"
	switch {
	case strings.HasPrefix(name, "Numeric"):
		is, what = typeTests["IsNumeric"], "a number"
	case strings.HasPrefix(name, "Boolean"):
		is, what = typeTests["IsBoolean"], "true or false"
	case strings.HasPrefix(name, "Timestamp"):
		is, what = typeTests["IsTimestamp"], "a timestamp as in RFC 3339"
	}
	if !is(c.v) {
		c.fail("expected %s", what)
	}
}
