package step

import (
	"encoding/json"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// hintLine separates message and hint in the one text that crosses a function's boundary.
const hintLine = "\nhint: "

// Boundary makes of an error what crosses a function's boundary: the name that Retry and Catch match, and one text
// that holds the message and the hint.
type Boundary struct{ Err error }

// What crosses stands in a state, beside references, and a state has at most 32 KB; the log has the whole of it. It is JSON
// within JSON there, in which one character may take more bytes than it has: those are what is counted.
const (
	maxMessage = 2 << 10 // bytes
	maxHint    = 1 << 10 // bytes
)

// Error returns message and hint.
func (b Boundary) Error() string {
	message := cut(b.Err.Error(), maxMessage)
	if hint := failure.HintOf(b.Err); hint != "" {
		return message + hintLine + cut(hint, maxHint)
	}
	return message
}

// cut makes a text fit to be shown, line by line, and leaves out what it has too much, in its middle: its ends say the
// most. No letter is cut in two.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) > 2*limit { // more than could stay
		text = strings.ToValidUTF8(text[:limit], "") + "…" + strings.ToValidUTF8(text[len(text)-limit:], "")
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = plain.Text(line)
	}
	text = strings.Join(lines, "\n")
	if crossing(text) <= limit {
		return text
	}
	half := min(limit, len(text)) / 2
	for {
		short := strings.ToValidUTF8(text[:half], "") + "…" + strings.ToValidUTF8(text[len(text)-half:], "")
		over := crossing(short) - limit
		if over <= 0 || half == 0 {
			return short
		}
		half -= min(half, max(1, over/16)) // one byte takes no more than eight
	}
}

// crossing returns how many bytes a text takes in a state: a function's answer is a text of JSON in its JSON.
func crossing(text string) int {
	once, _ := json.Marshal(text) // a text always encodes
	twice, _ := json.Marshal(string(once))
	return len(twice) - len(`"\"\""`)
}

// ErrorName returns the name for the state machine.
func (b Boundary) ErrorName() string { return failure.KindOf(b.Err).ErrorName() }
