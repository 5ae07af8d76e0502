package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// format is States.Format, the only intrinsic: literals and arguments take turns, and there is always one
// literal more than there are arguments.
type format struct {
	src      string
	literals []string
	args     []expression
}

// constant is an argument of an intrinsic that is not computed.
type constant struct{ v any }

func (c constant) value(scope, string) (any, error) { return c.v, nil }

func (f format) value(sc scope, field string) (any, error) {
	var b strings.Builder
	b.WriteString(f.literals[0])
	for i, arg := range f.args {
		if p, ok := arg.(path); ok {
			if _, found := sc.find(p); !found {
				return nil, runtimeFault("The function '%s' had the following error: The JsonPath argument for the field '%s' could not be found in the input '%s'",
					f.src, p.src, text(sc.root(p)))
			}
		}
		v, err := arg.value(sc, field)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case string:
			b.WriteString(v)
		case map[string]any, []any:
			return nil, &fault{nameIntrinsic, fmt.Sprintf("The function '%s' takes no objects and no arrays", f.src)}
		default:
			b.WriteString(text(v))
		}
		b.WriteString(f.literals[i+1])
	}
	return b.String(), nil
}

// maxNesting is how deep intrinsics may be nested, as on AWS.
const maxNesting = 10

var intrinsicName = regexp.MustCompile(`^States\.[A-Za-z0-9]+`)

// parseExpression reads the value of a ".$" field.
func parseExpression(src string) (expression, error) {
	switch {
	case strings.HasPrefix(src, "$"):
		return parsePath(src)
	case strings.HasPrefix(src, "States."):
		f, tail, err := parseFormat(src, 1)
		if err == nil && tail != "" {
			err = fmt.Errorf("%q after the intrinsic's end", tail)
		}
		return f, err
	}
	return nil, fmt.Errorf("%q is neither a path ($…), a context path ($$…) nor an intrinsic (States.…)", src)
}

// parseFormat reads States.Format('…', …) from the start of s and returns the rest.
func parseFormat(s string, depth int) (format, string, error) {
	name := intrinsicName.FindString(s)
	rest, ok := strings.CutPrefix(s[len(name):], "(")
	switch {
	case name != "States.Format":
		return format{}, "", fmt.Errorf("intrinsic %q is not supported: only States.Format is", name)
	case !ok:
		return format{}, "", errors.New("no ( after States.Format")
	case depth > maxNesting:
		return format{}, "", fmt.Errorf("intrinsics are nested more than %d deep", maxNesting)
	}
	f := format{}
	literals, rest, err := parseQuote(strings.TrimLeft(rest, " "), true)
	if err != nil {
		return f, "", fmt.Errorf("the template of States.Format: %w", err)
	}
	f.literals = literals
	for {
		rest = strings.TrimLeft(rest, " ")
		if tail, ok := strings.CutPrefix(rest, ")"); ok {
			f.src = s[:len(s)-len(tail)]
			if len(f.args) != len(f.literals)-1 {
				return f, "", fmt.Errorf("States.Format has %d {} and %d arguments", len(f.literals)-1, len(f.args))
			}
			return f, tail, nil
		}
		tail, ok := strings.CutPrefix(rest, ",")
		if !ok {
			return f, "", fmt.Errorf("expected , or ) at %q", rest)
		}
		var arg expression
		if arg, rest, err = parseArgument(strings.TrimLeft(tail, " "), depth); err != nil {
			return f, "", err
		}
		f.args = append(f.args, arg)
	}
}

var bareArgument = regexp.MustCompile(`^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)`)

func parseArgument(s string, depth int) (expression, string, error) {
	switch {
	case strings.HasPrefix(s, "'"):
		parts, rest, err := parseQuote(s, false)
		return constant{strings.Join(parts, "")}, rest, err
	case strings.HasPrefix(s, "$"):
		n := pathLength(s)
		p, err := parsePath(s[:n])
		return p, s[n:], err
	case strings.HasPrefix(s, "States."):
		return parseFormatArgument(s, depth)
	}
	word := bareArgument.FindString(s)
	switch word {
	case "":
		return nil, "", fmt.Errorf("%q is not an argument of an intrinsic", s)
	case "true", "false":
		b, err := strconv.ParseBool(word)
		return constant{b}, s[len(word):], err
	case "null":
		return constant{nil}, s[len(word):], nil
	}
	return constant{json.Number(word)}, s[len(word):], nil
}

func parseFormatArgument(s string, depth int) (expression, string, error) {
	f, rest, err := parseFormat(s, depth+1)
	return f, rest, err
}

// pathLength returns where a path argument ends: at a comma, a blank or a parenthesis outside of quotes.
func pathLength(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '\'':
			quoted = !quoted
		case !quoted && strings.IndexByte(", ()", s[i]) >= 0:
			return i
		}
	}
	return len(s)
}

// parseQuote reads '…' with the escapes \' \\ \{ \} and splits it at {} where that is allowed.
func parseQuote(s string, split bool) (parts []string, rest string, err error) {
	if !strings.HasPrefix(s, "'") {
		return nil, "", fmt.Errorf("expected a string in apostrophes at %q", s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			return append(parts, b.String()), s[i+1:], nil
		case c == '\\':
			i++
			if i == len(s) || strings.IndexByte(`'\{}`, s[i]) < 0 {
				return nil, "", fmt.Errorf(`only \' \\ \{ and \} are escapes in %q`, s)
			}
			b.WriteByte(s[i])
		case split && strings.HasPrefix(s[i:], "{}"):
			parts = append(parts, b.String())
			b.Reset()
			i++
		case c == '{' || c == '}':
			return nil, "", fmt.Errorf(`a single %q must be written \%c in %q`, c, c, s)
		default:
			b.WriteByte(c)
		}
	}
	return nil, "", fmt.Errorf("no closing apostrophe in %q", s)
}
