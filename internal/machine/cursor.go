package machine

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cursor is a place in a definition; its methods report what they don't find.
type cursor struct {
	l    *loader
	path string
	v    any
}

func (c cursor) fail(format string, args ...any) { c.l.report(c.path, format, args...) }

// key returns the value of a key, if there is one.
func (c cursor) key(name string) (cursor, bool) {
	object, _ := c.v.(map[string]any)
	v, ok := object[name]
	return cursor{c.l, join(c.path, name), v}, ok
}

// need is key for a field that must be there.
func (c cursor) need(name string) (cursor, bool) {
	below, ok := c.key(name)
	if !ok {
		c.fail("%s is missing", name)
	}
	return below, ok
}

// each returns the keys of an object in order.
func (c cursor) each() iter.Seq2[string, cursor] {
	return func(yield func(string, cursor) bool) {
		object, _ := c.v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if !yield(name, cursor{c.l, join(c.path, name), object[name]}) {
				return
			}
		}
	}
}

// elements returns the elements of an array.
func (c cursor) elements() []cursor {
	list, _ := c.v.([]any)
	below := make([]cursor, 0, len(list))
	for i, v := range list {
		below = append(below, cursor{c.l, fmt.Sprintf("%s[%d]", c.path, i), v})
	}
	return below
}

// list is elements for an array that must be there and must not be empty.
func (c cursor) list() []cursor {
	below := c.elements()
	if len(below) == 0 {
		c.fail("expected an array that is not empty")
	}
	return below
}

func (c cursor) isObject() bool {
	if _, ok := c.v.(map[string]any); !ok {
		c.fail("expected an object")
		return false
	}
	return true
}

// str returns a string without placeholders.
func (c cursor) str() (string, bool) {
	switch v := c.v.(type) {
	case string:
		return v, true
	case bound:
		c.fail("a placeholder may not stand here")
	default:
		c.fail("expected a string")
	}
	return "", false
}

func (c cursor) oneOf(allowed ...string) string {
	s, ok := c.str()
	if ok && !slices.Contains(allowed, s) {
		c.fail("%q is not supported here: use %s", s, strings.Join(allowed, " or "))
	}
	return s
}

// integer returns a whole number between low and high.
func (c cursor) integer(low, high int) int {
	n, ok := c.v.(json.Number)
	i, err := strconv.Atoi(string(n))
	if !ok || err != nil || i < low || i > high {
		c.fail("expected a whole number from %d to %d", low, high)
		return low
	}
	return i
}

func (c cursor) number(low, high float64) float64 {
	n, ok := c.v.(json.Number)
	f, err := strconv.ParseFloat(string(n), 64)
	if !ok || err != nil || f < low || f > high {
		c.fail("expected a number from %v to %v", low, high)
		return low
	}
	return f
}

// maxSeconds is the longest time of the Amazon States Language, about three years.
const maxSeconds = 99_999_999

func (c cursor) seconds(low int) time.Duration {
	return time.Duration(c.integer(low, maxSeconds)) * time.Second
}

// unsupported says why the runner takes no such field; everything not listed is simply unknown.
var unsupported = map[string]string{
	"Arguments": "JSONata is not supported", "Output": "JSONata is not supported", "Items": "JSONata is not supported",
	"Condition": "JSONata is not supported", "Assign": "variables are not supported",
	"Iterator": "use ItemProcessor", "Branches": "Parallel is not supported",
	"ItemBatcher": "make batches beforehand", "WriterConfig": "results are written as Step Functions writes them by default",
	"TimeoutSecondsPath": "use TimeoutSeconds", "HeartbeatSeconds": "tasks have no heartbeat", "HeartbeatSecondsPath": "tasks have no heartbeat",
	"SecondsPath": "use Seconds", "Timestamp": "use Seconds", "TimestampPath": "use Seconds",
	"MaxConcurrencyPath": "use MaxConcurrency", "ToleratedFailureCountPath": "use ToleratedFailureCount",
	"ToleratedFailurePercentagePath": "use ToleratedFailurePercentage", "Credentials": "cross-account calls are not supported",
	"ReaderConfig": "it belongs into ItemReader", "QueryLanguage": "only JSONPath is",
}

// fields refuses every key that is not allowed; Comment always is, and QueryLanguage if it says JSONPath.
// what names the owner of the fields in messages.
func (c cursor) fields(what string, allowed ...string) bool {
	if !c.isObject() {
		return false
	}
	for name, below := range c.each() {
		reason, refused := unsupported[name]
		switch {
		case slices.Contains(allowed, name):
		case name == "Comment":
			c.comment(below)
		case name == "QueryLanguage":
			below.oneOf("JSONPath")
		case refused:
			below.fail("not supported: %s", reason)
		case stateFields[name]:
			below.fail("%s takes no %s", what, name)
		default:
			below.fail("unknown field")
		}
	}
	return true
}

func (cursor) comment(below cursor) {
	switch below.v.(type) {
	case string, bound:
	default:
		below.fail("expected a string")
	}
}
