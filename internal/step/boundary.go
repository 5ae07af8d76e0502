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

// Error returns message and hint.
func (b Boundary) Error() string {
	if hint := failure.HintOf(b.Err); hint != "" {
		return b.Err.Error() + hintLine + hint
	}
	return b.Err.Error()
}

// ErrorName returns the name for the state machine.
func (b Boundary) ErrorName() string { return failure.KindOf(b.Err).ErrorName() }

func splitHint(text string) (message, hint string) {
	message, hint, _ = strings.Cut(text, hintLine)
	return message, hint
}
