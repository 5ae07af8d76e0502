package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"lifeboat/internal/app"
)

// TestFindingLine bounds what a name takes of a line, and leaves all others as they are.
func TestFindingLine(t *testing.T) {
	for item, want := range map[string]string{
		"":       "kind: says",
		" a b":   "kind:  a b: says",
		"a\nb":   `kind: a\nb: says`,
		"a/b/ü ": "kind: a/b/ü : says",
	} {
		if got := findingLine(app.Finding{Kind: "kind", Item: item, Message: "says"}); got != want {
			t.Errorf("%q: %q, want %q", item, got, want)
		}
	}
	got := findingLine(app.Finding{Kind: "kind", Item: strings.Repeat("dä/", 5000), Message: "says"})
	if utf8.RuneCountInString(got) > maxItem+20 || !strings.HasPrefix(got, "kind: dä/dä/") || !strings.HasSuffix(got, "…: says") {
		t.Errorf("a deep one: %q", got)
	}
}
