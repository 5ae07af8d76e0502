package pack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// show writes a layout as "[fillers ^stolen body] …, tail parts in brackets, > chained".
func show(l layout) string {
	var b strings.Builder
	for _, s := range l.sections {
		b.WriteString("[")
		for _, item := range s.filler {
			b.WriteString(item.path() + " ")
		}
		if s.steal > 0 {
			fmt.Fprintf(&b, "^%d ", s.steal)
		}
		fmt.Fprintf(&b, "%s] ", s.body.path())
	}
	for _, part := range l.tail {
		b.WriteString("(")
		for i, item := range part {
			if i > 0 {
				b.WriteString(" ")
			}
			b.WriteString(item.path())
		}
		b.WriteString(") ")
	}
	for _, item := range l.chain {
		b.WriteString("> " + item.path() + " ")
	}
	return strings.TrimSpace(b.String())
}

func TestLay(t *testing.T) {
	const head = 31 // bytes of a header with a name of one byte
	items := func(text string) []Item {
		var list []Item
		for field := range strings.FieldsSeq(text) {
			name, number, _ := strings.Cut(field, "=")
			number, again := strings.CutSuffix(number, "?")
			var size int64
			unit := int64(1)
			if n, ok := strings.CutSuffix(number, "M"); ok {
				number, unit = n, mib
			}
			fmt.Sscan(number, &size)
			item := Item{Object: &app.Object{Path: name, Size: size * unit}}
			if again {
				item.Previous = &manifest.Entry{}
			}
			list = append(list, item)
		}
		return list
	}
	for name, test := range map[string]struct{ small, bodies, want string }{
		"nothing":                     {},
		"small ones":                  {small: "a=1M b=2M", want: "(a b)"},
		"many small ones":             {small: "a=9M b=9M c=1M", want: "(a) (b c)"},
		"one body":                    {bodies: "A=20M", want: fmt.Sprintf("[^%d A]", vault.MinPart-head)},
		"filler":                      {small: "a=5M b=1M", bodies: "A=20M", want: "[a A] (b)"},
		"filler that just suffices":   {small: fmt.Sprintf("a=%d", vault.MinPart-2*head), bodies: "A=20M", want: "[a A]"},
		"filler that is a byte short": {small: fmt.Sprintf("a=%d", vault.MinPart-2*head-1), bodies: "A=20M", want: "[a ^1 A]"},
		"filler for one":              {small: "a=6M b=1M", bodies: "A=20M B=20M", want: fmt.Sprintf("[a A] [b ^%d B]", 4*mib-2*head)},
		"too short to lose a head":    {bodies: "A=9M B=20M", want: "[A B]"},
		"short with filler":           {small: "a=5M b=5M", bodies: "A=6M B=6M", want: "[a A] [b B]"},
		"all too short":               {bodies: "A=6M B=6M C=6M", want: "[A B] (C)"},
		"chain":                       {bodies: "A=70M B=64M C=80M", want: fmt.Sprintf("[^%d A] > B > C", vault.MinPart-head)},
		"chain behind the shorter":    {bodies: "A=70M B=20M C=80M", want: fmt.Sprintf("[^%d B] > A > C", vault.MinPart-head)},
		"chain behind a tail":         {small: "a=5M b=1M", bodies: "A=70M B=64M C=80M", want: "[a A] (b) > B > C"},
		"filler rather than a chain":  {small: "a=5M b=5M", bodies: "A=70M B=64M", want: "[a A] [b B]"},
		"what may be there already":   {small: "a=6M? b=6M", bodies: "A=20M", want: "[b A] (a)"},
		"just long enough":            {bodies: fmt.Sprintf("A=%d", 2*vault.MinPart-head), want: fmt.Sprintf("[^%d A]", vault.MinPart-head)},
		"not long enough":             {bodies: fmt.Sprintf("A=%d", 2*vault.MinPart-head-1), want: "(A)"},
	} {
		l := lay(items(test.small), items(test.bodies), chainObject, literalPart)
		if diff := cmp.Diff(test.want, show(l)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, s := range l.sections {
			if s.literal() < vault.MinPart || s.body.size()-s.steal < vault.MinPart {
				t.Errorf("%s: a part of %d bytes and one of %d", name, s.literal(), s.body.size()-s.steal)
			}
		}
	}
}

func TestPieces(t *testing.T) {
	for _, size := range []int64{5*mib + 1, 64 * mib, 64*mib + 1, 1 << 30, 100<<30 + 7, 5 << 40, 46 << 40} {
		for _, steal := range []int64{0, vault.MinPart - 31} {
			at := steal
			split := split(steal, size, pieceSize(size))
			for _, e := range split {
				if e.offset != at || e.length > vault.MaxPart || len(split) > 1 && e.length < vault.MinPart {
					t.Errorf("%d: a piece of %d bytes at %d, expected at %d", size, e.length, e.offset, at)
				}
				at += e.length
			}
			if at != size || len(split) > 9_500 {
				t.Errorf("%d: %d pieces end at %d", size, len(split), at)
			}
		}
	}
}

// TestGrowth: an object that is longer than it was listed still fits.
func TestGrowth(t *testing.T) {
	s := newStream(t.Context(), nil, "", 0, streamPart)
	var total int64
	for s.number = 1; s.number <= vault.MaxParts; s.number++ {
		if s.limit() > grownPart {
			t.Fatalf("part %d has %d bytes", s.number, s.limit())
		}
		total += int64(s.limit())
	}
	if total < 490<<30 {
		t.Errorf("%d bytes fit", total)
	}
}
