package step_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"lifeboat/internal/failure"
	"lifeboat/internal/step"
)

// TestBoundary: what crosses says what happened and what to do, and fits beside references in a state.
func TestBoundary(t *testing.T) {
	short := step.Boundary{Err: failure.New(failure.Denied, "the key is wrong").WithHint("bring the other one")}
	if got := short.Error(); got != "the key is wrong\nhint: bring the other one" || short.ErrorName() != failure.Denied.ErrorName() {
		t.Errorf("%q, %s", got, short.ErrorName())
	}
	for _, letter := range []string{"x", "ü", "語", "🚣"} {
		long := step.Boundary{Err: failure.New(failure.Corrupt, "begin %s end", strings.Repeat(letter, 20_000)).WithHint("do %s now", strings.Repeat(letter, 20_000))}
		got := long.Error()
		if len(got) > 4<<10 || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid: %v", len(got), utf8.ValidString(got))
		}
		message, hint, _ := strings.Cut(got, "\nhint: ")
		if !strings.HasPrefix(message, "begin ") || !strings.HasSuffix(message, " end") || !strings.HasPrefix(hint, "do ") || !strings.HasSuffix(hint, " now") {
			t.Errorf("the ends are gone: %.40q…", got)
		}
	}
	if got := (step.Boundary{Err: errors.New("plain")}).Error(); got != "plain" {
		t.Error(got)
	}
}
