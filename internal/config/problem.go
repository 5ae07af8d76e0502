package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lifeboat/internal/plain"

	"lifeboat/internal/failure"
)

// Problem is one thing that is wrong, or odd, at one line of the file.
type Problem struct {
	Line    int // from 1
	Message string
	Hint    string // what to do about it; mostly ""
}

// At returns the problem as one line of output, "lifeboat.yaml:12: message", and its hint, where it has one, as another.
func (p Problem) At(file string) string {
	text := fmt.Sprintf("%s:%d: %s", file, p.Line, p.Message)
	if p.Hint != "" {
		text += "\n  hint: " + p.Hint
	}
	return text
}

// Error is what Parse returns, inside a failure of kind Usage, for a file with problems.
type Error struct {
	File     string
	Problems []Problem // by line, at least one
}

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.At(e.File)
	}
	return strings.Join(lines, "\n")
}

// Wrong makes of at least one problem what Parse returns.
func Wrong(file string, problems []Problem) error {
	sorted(problems)
	count := "the problem"
	if n := len(problems); n > 1 {
		count = fmt.Sprintf("all %d problems", n)
	}
	return failure.New(failure.Usage, "%w", &Error{File: file, Problems: problems}).
		WithHint("correct %s in %s and try again", count, file)
}

func sorted(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}

// didYouMean returns `did you mean "x"? ` for the candidate that is closest to text, or "" when none is close.
func didYouMean(text string, candidates []string) string {
	best := Closest(text, candidates)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q? ", best)
}

// Closest returns the candidate that is closest to text, or "" when none is close.
func Closest(text string, candidates []string) string {
	best, distance := "", 1+len(text)/3
	for _, candidate := range candidates {
		if d := plain.Distance(text, candidate); d <= distance && d < len(candidate) {
			best, distance = candidate, d-1
		}
	}
	return best
}

// enumerate returns "a", "a and b" or "a, b and c".
func enumerate(words []string, conjunction string) string {
	n := len(words)
	if n < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:n-1], ", ") + " " + conjunction + " " + words[n-1]
}
