package standin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// shape checks a decoded value that may be missing, and returns its problems as Zipline words them. at is where the
// value stands, such as /export4/data.
type shape func(value any, given bool, at string) []issue

// kindOf names the type of a value as JavaScript does.
func kindOf(value any, given bool) string {
	switch value.(type) {
	case nil:
		if given {
			return "null"
		}
		return "undefined"
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "array"
	}
	return "object"
}

// pathTo is the path of an issue; that of the whole is a slash.
func pathTo(at string) string {
	if at == "" {
		return "/"
	}
	return at
}

func problem(at, keyword, message string, params map[string]any) []issue {
	if params == nil {
		params = map[string]any{}
	}
	return []issue{{keyword, pathTo(at), "#" + strings.TrimSuffix(pathTo(at), "/") + "/" + keyword, message, params}}
}

func wrongType(at, expected string, value any, given bool) []issue {
	return problem(at, "invalid_type", "Invalid input: expected "+expected+", received "+kindOf(value, given), map[string]any{"expected": expected})
}

// plain checks a type and nothing else.
func plain(expected string) shape {
	return func(value any, given bool, at string) []issue {
		if kindOf(value, given) != expected {
			return wrongType(at, expected, value, given)
		}
		return nil
	}
}

var (
	text  = plain("string")
	num   = plain("number")
	truth = plain("boolean")
)

// anything takes every value, and none.
func anything(any, bool, string) []issue { return nil }

// record is an object with members of one sort.
func record(member shape) shape {
	return func(value any, given bool, at string) (problems []issue) {
		object, ok := value.(map[string]any)
		if !ok {
			return wrongType(at, "record", value, given)
		}
		for _, name := range sorted(object) {
			problems = append(problems, member(object[name], true, at+"/"+name)...)
		}
		return problems
	}
}

func sorted(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// field is a member of an object.
type field struct {
	name string
	is   shape
}

// object takes an object; members that it doesn't name are ignored.
func object(fields ...field) shape {
	return func(value any, given bool, at string) (problems []issue) {
		members, ok := value.(map[string]any)
		if !ok {
			return wrongType(at, "object", value, given)
		}
		for _, f := range fields {
			member, has := members[f.name]
			problems = append(problems, f.is(member, has, at+"/"+f.name)...)
		}
		return problems
	}
}

func array(entry shape) shape {
	return func(value any, given bool, at string) (problems []issue) {
		entries, ok := value.([]any)
		if !ok {
			return wrongType(at, "array", value, given)
		}
		for i, e := range entries {
			problems = append(problems, entry(e, true, at+"/"+strconv.Itoa(i))...)
		}
		return problems
	}
}

// some is an array with one entry at least.
func some(entry shape) shape {
	return func(value any, given bool, at string) []issue {
		if problems := array(entry)(value, given, at); len(problems) > 0 || len(value.([]any)) > 0 {
			return problems
		}
		return problem(at, "too_small", "Too small: expected array to have >=1 items", map[string]any{"origin": "array", "minimum": 1, "inclusive": true})
	}
}

// optional is a member that may be missing; orNull also one that is null.
func optional(s shape) shape {
	return func(value any, given bool, at string) []issue {
		if !given {
			return nil
		}
		return s(value, given, at)
	}
}

func orNull(s shape) shape {
	return func(value any, given bool, at string) []issue {
		if value == nil && given {
			return nil
		}
		return s(value, given, at)
	}
}

func nullish(s shape) shape { return optional(orNull(s)) }

// oneOf takes some words.
func oneOf(words ...string) shape {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(word)
	}
	message := "Invalid option: expected one of " + strings.Join(quoted, "|")
	if len(words) == 1 {
		message = "Invalid input: expected " + quoted[0]
	}
	return func(value any, _ bool, at string) []issue {
		if word, ok := value.(string); ok && slices.Contains(words, word) {
			return nil
		}
		return problem(at, "invalid_value", message, map[string]any{"values": words})
	}
}

// union is oneOf for what Zipline checks word by word.
func union(words ...string) shape {
	return func(value any, _ bool, at string) []issue {
		if word, ok := value.(string); ok && slices.Contains(words, word) {
			return nil
		}
		return problem(at, "invalid_union", "Invalid input", nil)
	}
}

// such is a shape with a further condition.
func such(s shape, message string, fits func(any) bool) shape {
	return func(value any, given bool, at string) []issue {
		if problems := s(value, given, at); len(problems) > 0 {
			return problems
		}
		if value != nil && !fits(value) {
			return problem(at, "custom", message, nil)
		}
		return nil
	}
}

// name is a text that is not empty after trimming.
func name(value any, given bool, at string) []issue {
	if problems := text(value, given, at); len(problems) > 0 || trim(value.(string)) != "" {
		return problems
	}
	return problem(at, "too_small", "Too small: expected string to have >=1 characters", map[string]any{"origin": "string", "minimum": 1, "inclusive": true})
}

// least takes numbers from a lowest one on.
func least(lowest float64) shape {
	return func(value any, given bool, at string) []issue {
		if problems := num(value, given, at); len(problems) > 0 || value.(float64) >= lowest {
			return problems
		}
		return problem(at, "too_small", fmt.Sprintf("Too small: expected number to be >=%v", lowest), map[string]any{"origin": "number", "minimum": lowest, "inclusive": true})
	}
}

// trim trims as JavaScript does.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return strings.ContainsRune("\t\n\v\f\r\u2028\u2029\ufeff", r) || unicode.Is(unicode.Zs, r)
	})
}

// queryFlag is a parameter that is true or false.
var queryFlag = optional(oneOf("true", "false"))
