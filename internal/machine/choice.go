package machine

import (
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

// rule is one entry of Choices.
type rule struct {
	next string
	test test
}

// test decides a rule; its error is States.Runtime.
type test func(scope) (bool, error)

// compare says how v stands to want; a type mismatch is false.
type compare func(v, want any) bool

// comparisons are the operators that compare with a constant, or with "…Path" a second path.
var comparisons = map[string]compare{
	"BooleanEquals": func(v, want any) bool {
		a, okA := v.(bool)
		b, okB := want.(bool)
		return okA && okB && a == b
	},
	"StringMatches": func(v, want any) bool {
		a, okA := v.(string)
		b, okB := want.(string)
		return okA && okB && glob(b, a)
	},
	"StringEquals":               ordered(compareStrings, func(c int) bool { return c == 0 }),
	"StringLessThan":             ordered(compareStrings, func(c int) bool { return c < 0 }),
	"StringGreaterThan":          ordered(compareStrings, func(c int) bool { return c > 0 }),
	"StringLessThanEquals":       ordered(compareStrings, func(c int) bool { return c <= 0 }),
	"StringGreaterThanEquals":    ordered(compareStrings, func(c int) bool { return c >= 0 }),
	"NumericEquals":              ordered(compareNumbers, func(c int) bool { return c == 0 }),
	"NumericLessThan":            ordered(compareNumbers, func(c int) bool { return c < 0 }),
	"NumericGreaterThan":         ordered(compareNumbers, func(c int) bool { return c > 0 }),
	"NumericLessThanEquals":      ordered(compareNumbers, func(c int) bool { return c <= 0 }),
	"NumericGreaterThanEquals":   ordered(compareNumbers, func(c int) bool { return c >= 0 }),
	"TimestampEquals":            ordered(compareTimes, func(c int) bool { return c == 0 }),
	"TimestampLessThan":          ordered(compareTimes, func(c int) bool { return c < 0 }),
	"TimestampGreaterThan":       ordered(compareTimes, func(c int) bool { return c > 0 }),
	"TimestampLessThanEquals":    ordered(compareTimes, func(c int) bool { return c <= 0 }),
	"TimestampGreaterThanEquals": ordered(compareTimes, func(c int) bool { return c >= 0 }),
}

// typeTests are the operators that ask what a value is; IsPresent is apart, because it alone bears a missing one.
var typeTests = map[string]func(any) bool{
	"IsNull":      func(v any) bool { return v == nil },
	"IsString":    func(v any) bool { _, ok := v.(string); return ok },
	"IsBoolean":   func(v any) bool { _, ok := v.(bool); return ok },
	"IsNumeric":   func(v any) bool { _, ok := number(v); return ok },
	"IsTimestamp": func(v any) bool { _, ok := timestamp(v); return ok },
}

func ordered(order func(a, b any) (int, bool), want func(int) bool) compare {
	return func(a, b any) bool {
		c, ok := order(a, b)
		return ok && want(c)
	}
}

func compareStrings(a, b any) (int, bool) {
	x, okX := a.(string)
	y, okY := b.(string)
	return strings.Compare(x, y), okX && okY
}

func compareNumbers(a, b any) (int, bool) {
	x, okX := number(a)
	y, okY := number(b)
	if !okX || !okY {
		return 0, false
	}
	return x.Cmp(y), true
}

func compareTimes(a, b any) (int, bool) {
	x, okX := timestamp(a)
	y, okY := timestamp(b)
	return x.Compare(y), okX && okY
}

// number reads a JSON number without bending integers above 2^53.
func number(v any) (*big.Float, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	f, _, err := big.ParseFloat(string(n), 10, 256, big.ToNearestEven)
	return f, err == nil
}

func timestamp(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

// glob matches s against a pattern in which * is any run of characters and \ makes the next one literal.
func glob(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	switch {
	case pattern[0] == '*':
		for strings.HasPrefix(pattern, "**") {
			pattern = pattern[1:]
		}
		for i := 0; i <= len(s); i++ {
			if glob(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	case pattern[0] == '\\' && len(pattern) > 1:
		pattern = pattern[1:]
	}
	return s != "" && s[0] == pattern[0] && glob(pattern[1:], s[1:])
}

// variable looks up the Variable of a rule.
func variable(sc scope, p path) (any, error) {
	v, ok := sc.find(p)
	if !ok {
		return nil, runtimeFault("Invalid path '%s': The choice state's condition path references an invalid value.", p.src)
	}
	return v, nil
}

func testCompare(p path, with compare, want func(scope) (any, error)) test {
	return func(sc scope) (bool, error) {
		v, err := variable(sc, p)
		if err != nil {
			return false, err
		}
		w, err := want(sc)
		return err == nil && with(v, w), err
	}
}

func testType(p path, is func(any) bool, want bool) test {
	return func(sc scope) (bool, error) {
		v, err := variable(sc, p)
		return err == nil && is(v) == want, err
	}
}

func testPresent(p path, want bool) test {
	return func(sc scope) (bool, error) {
		_, ok := sc.find(p)
		return ok == want, nil
	}
}

// testAll is And (stop at the first false) or, with stop true, Or (stop at the first true).
func testAll(tests []test, stop bool) test {
	return func(sc scope) (bool, error) {
		for _, t := range tests {
			ok, err := t(sc)
			if err != nil || ok == stop {
				return ok, err
			}
		}
		return !stop, nil
	}
}

func testNot(t test) test {
	return func(sc scope) (bool, error) {
		ok, err := t(sc)
		return err == nil && !ok, err
	}
}
