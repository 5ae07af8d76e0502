package machine

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"
)

// path is a definite JSONPath: names, ['…'] and [n] below $ (the data) or $$ (the context object). It selects
// exactly one value or none.
type path struct {
	src     string
	context bool
	steps   []step
}

type step struct {
	name    string
	index   int
	isIndex bool
}

// parsePath reads a path and refuses whatever could select more than one value.
func parsePath(src string) (path, error) {
	p := path{src: src}
	rest, ok := strings.CutPrefix(src, "$")
	if !ok {
		return p, fmt.Errorf("%q is not a path: it must start with $", src)
	}
	if cut, ok := strings.CutPrefix(rest, "$"); ok {
		p.context, rest = true, cut
	}
	if rest != "" && rest[0] != '.' && rest[0] != '[' {
		return p, fmt.Errorf("%q: variables are not supported", src)
	}
	for rest != "" {
		st, tail, err := parseStep(rest)
		if err != nil {
			return p, fmt.Errorf("path %q: %w", src, err)
		}
		p.steps, rest = append(p.steps, st), tail
	}
	return p, nil
}

func parseStep(s string) (step, string, error) {
	switch {
	case strings.HasPrefix(s, ".."):
		return step{}, "", errors.New("'..' is not supported: use names, ['…'] and [n]")
	case s[0] == '.':
		n := nameLength(s[1:])
		if n == 0 {
			return step{}, "", fmt.Errorf("no name at %q: use names, ['…'] and [n]", s)
		}
		return step{name: s[1 : 1+n]}, s[1+n:], nil
	case strings.HasPrefix(s, "['"):
		return parseQuoted(s)
	case s[0] == '[':
		return parseIndex(s)
	}
	return step{}, "", fmt.Errorf("unexpected %q: use names, ['…'] and [n]", s)
}

// nameLength returns how many bytes of s are a name without quotes, as in RFC 9535.
func nameLength(s string) int {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80 && r != utf8.RuneError
		if !letter && (i == 0 || r < '0' || r > '9') {
			return i
		}
	}
	return len(s)
}

func parseQuoted(s string) (step, string, error) {
	var name strings.Builder
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' && strings.HasPrefix(s[i:], "']"):
			return step{name: name.String()}, s[i+2:], nil
		case c == '\'' || c < 0x20:
			return step{}, "", fmt.Errorf("unexpected %q in %q", c, s)
		case c == '\\':
			i++
			if i == len(s) || s[i] != '\'' && s[i] != '\\' {
				return step{}, "", fmt.Errorf(`only \' and \\ are escapes in %q`, s)
			}
			name.WriteByte(s[i])
		default:
			name.WriteByte(c)
		}
	}
	return step{}, "", fmt.Errorf("no '] after %q", s)
}

func parseIndex(s string) (step, string, error) {
	digits, tail, ok := strings.Cut(s[1:], "]")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return step{}, "", fmt.Errorf("%q is not an index: use names, ['…'] and [n]", s)
	}
	return step{index: int(n), isIndex: true}, tail, nil
}

// find returns the value that p selects below root.
func (p path) find(root any) (any, bool) {
	for _, st := range p.steps {
		if st.isIndex {
			list, ok := root.([]any)
			if !ok || st.index >= len(list) {
				return nil, false
			}
			root = list[st.index]
			continue
		}
		object, ok := root.(map[string]any)
		if !ok {
			return nil, false
		}
		if root, ok = object[st.name]; !ok {
			return nil, false
		}
	}
	return root, true
}

// top returns the first name of p and whether there is one.
func (p path) top() (string, bool) {
	if len(p.steps) == 0 || p.steps[0].isIndex {
		return "", false
	}
	return p.steps[0].name, true
}

// write returns a copy of root with value at p; what is missing on the way is made. Root itself stays as it was.
// It reports false where something on the way is not an object.
func (p path) write(root, value any) (any, bool) {
	return writeSteps(p.steps, root, value)
}

func writeSteps(steps []step, root, value any) (any, bool) {
	if len(steps) == 0 {
		return value, true
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, false
	}
	below, ok := object[steps[0].name]
	if !ok {
		below = map[string]any{}
	}
	written, ok := writeSteps(steps[1:], below, value)
	if !ok {
		return nil, false
	}
	changed := make(map[string]any, len(object)+1)
	maps.Copy(changed, object)
	changed[steps[0].name] = written
	return changed, true
}
