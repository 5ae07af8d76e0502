package files

import (
	"strings"
	"testing"

	"lifeboat/internal/failure"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no string // names, cut at spaces; a folder ends with "/"
	}{
		{"a", "a a/", "b/a A ab a.txt"},
		{"a/", "a/", "a b/a/"},
		{"*.jpg", "x.jpg .jpg a.b.jpg x.jpg/", "d/x.jpg x.jpeg x.JPG"},
		{"*", "a .dot", "a/b"},
		{"a*c", "ac abc a.c", "a/c abcd"},
		{"?", "a ü %", "ab /"},
		{"[a-c]x", "ax cx", "dx Ax abx"},
		{"[^a]x", "bx", "ax"},
		{"[!]x", "!x", "ax"},
		{`\*`, "*", "a"},
		{"**/*.jpg", "x.jpg d/x.jpg d/e/x.jpg", "d/x.png x.jpg/y"},
		{"**", "a a/b a/b/c a/", ""},
		{"d/**", "d/a d/a/b d/e/", "d d/ x/d/a"},
		{"d/**/x", "d/x d/a/x d/a/b/x", "x d/xx d/x/y"},
		{"**/d/", "d/ a/d/ a/b/d/", "d a/d"},
		{"**/d/**", "d/a a/d/a d/d a/b/d/c/e", "d/ a/d/ dd/a"},
		{"a/*/c", "a/b/c", "a/c a/b/b/c"},
		{"a/**/b/**/c", "a/b/c a/x/b/y/c a/b/b/c a/c/b/c", "a/c a/b a/b/c/d"},
		{"**/a/**/a", "a/a x/a/y/a a/a/a", "a x/a"},
		{"Ärger", "Ärger", "A\u0308rger"},
	} {
		p, err := parse(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for want, names := range map[bool]string{true: test.yes, false: test.no} {
			for name := range strings.FieldsSeq(names) {
				bare, folder := strings.CutSuffix(name, "/")
				if got := p.matches(strings.Split(bare, "/"), folder); got != want {
					t.Errorf("%q matches %q: %v, want %v", test.pattern, name, got, want)
				}
			}
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, text := range []string{"", "/", "/a", "!a", "a//b", "./a", "a/../b", "a/.", "[a", "a[", `a\`, "a**", "**a/b", "***", "x/a**/b"} {
		_, err := newFilter([]string{"good", text}, nil)
		_, second := newFilter(nil, []string{text})
		if failure.KindOf(err) != failure.Usage || failure.KindOf(second) != failure.Usage || failure.HintOf(err) == "" {
			t.Errorf("%q: %v, %v", text, err, second)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, test := range []struct{ pattern, yes, no string }{
		{"a/b/c", "a a/b", "b a/c a/b/c a/b/c/d"},
		{"a/*/c", "a a/x", "b a/x/y"},
		{"**/c", "a a/b c", ""},
		{"a/**", "a a/b", "b"},
		{"*.jpg", "", "a"},
	} {
		p, err := parse(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for want, names := range map[bool]string{true: test.yes, false: test.no} {
			for name := range strings.FieldsSeq(names) {
				if got := p.below(strings.Split(name, "/")); got != want {
					t.Errorf("%q matches below %q: %v, want %v", test.pattern, name, got, want)
				}
			}
		}
	}
}

func TestTakes(t *testing.T) {
	for _, test := range []struct {
		include, exclude string
		yes, no          string
	}{
		{"", "", "a a/b d/", ""},
		{"a", "", "a a/b a/b/c a/d/", "b"},
		{"a/", "", "a/ a/b", "a b"},
		{"a *.txt", "", "a/b x.txt", "b/x.txt"},
		{"", "a", "b", "a a/b a/b/c"},
		{"", "a/", "a b", "a/ a/b"},
		{"", "a/**", "a/ b", "a/b a/b/c"},
		{"", "**/*.tmp", "a b/c", "x.tmp b/x.tmp x.tmp/y"},
		{"a", "a/b", "a/c", "a/b a/b/c"},
		{"a/b", "a", "", "a a/b a/b/c"}, // exclude wins
	} {
		f, err := newFilter(strings.Fields(test.include), strings.Fields(test.exclude))
		if err != nil {
			t.Fatal(err)
		}
		for want, names := range map[bool]string{true: test.yes, false: test.no} {
			for name := range strings.FieldsSeq(names) {
				bare, folder := strings.CutSuffix(name, "/")
				if got := f.takes(strings.Split(bare, "/"), folder, make([]bool, len(f.include))); got != want {
					t.Errorf("include %q exclude %q: %q is in: %v, want %v", test.include, test.exclude, name, got, want)
				}
			}
		}
	}
}

// TestPatternsAreQuick matches a name of many segments with a pattern of many **.
func TestPatternsAreQuick(t *testing.T) {
	p, err := parse(strings.Repeat("**/a/", 30) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if p.matches(strings.Split(strings.Repeat("a/", 2000)+"c", "/"), false) {
		t.Error("it matches")
	}
}
