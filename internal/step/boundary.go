package step

import (
	"strings"

	"lifeboat/internal/failure"
)

// hintLine separates message and hint in the one text that crosses a function's boundary.
const hintLine = "\nhint: "

// Boundary makes of an error what crosses a function's boundary: the name that Retry and Catch match, and one text
// that holds the message and the hint.
type Boundary struct{ Err error }

// What crosses stands in a state, beside references, and a state has at most 32 KB; the log has the whole of it.
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

// cut leaves out what a text has too much, in its middle: its ends say the most. No letter is cut in two.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	half := (limit - len("…")) / 2
	return strings.ToValidUTF8(text[:half], "") + "…" + strings.ToValidUTF8(text[len(text)-half:], "")
}

// ErrorName returns the name for the state machine.
func (b Boundary) ErrorName() string { return failure.KindOf(b.Err).ErrorName() }

func splitHint(text string) (message, hint string) {
	message, hint, _ = strings.Cut(text, hintLine)
	return message, hint
}
