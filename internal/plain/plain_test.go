package plain_test

import (
	"math"
	"strconv"
	"testing"
	"unicode/utf8"

	"lifeboat/internal/plain"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"Größe 🚢 <b>\"&":  "Größe 🚢 <b>\"&",
		"a\r\nBcc: x":     `a\r\nBcc: x`,
		"fdp.\u202eexe":   `fdp.\u202eexe`,
		"a\u200bb\u2028c": `a\u200bb\u2028c`,
		"\x1b[31m\x00":    `\x1b[31m\x00`,
		"\xff\xfe":        `\xff\xfe`,
		"a\u00a0b":        `a\u00a0b`,
		"\U000e0041":      `\U000e0041`,
	} {
		if got := plain.Text(in); got != want {
			t.Errorf("Text(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"abcde":        "abcde",
		"abcdef":       "abcd…",
		" abc ":        "abc",
		"äöüßäö":       "äöüß…",
		"\u202e\u202e": `\u20…`,
	} {
		if got := plain.Short(in, 5); got != want {
			t.Errorf("Short(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{plain.Size(0), "0 bytes"},
		{plain.Size(1), "1 byte"},
		{plain.Size(999), "999 bytes"},
		{plain.Size(1000), "1.0 kB"},
		{plain.Size(999_949), "999.9 kB"},
		{plain.Size(999_950), "1.0 MB"},
		{plain.Size(46_123_456), "46.1 MB"},
		{plain.Size(math.MaxInt64), "9.2 EB"},
		{plain.ExactSize(46_123_456), "46.1 MB (46,123,456 bytes)"},
		{plain.Change(1_200_000), "+1.2 MB"},
		{plain.Change(-812), "-812 bytes"},
		{plain.Change(0), "no change"},
		{plain.Number(-1_204), "-1,204"},
		{plain.Number(-204), "-204"},
		{plain.Count(1, "object"), "1 object"},
		{plain.Count(1204, "object"), "1,204 objects"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, text := range []string{plain.Text(s), plain.Short(s, 20)} {
			if !utf8.ValidString(text) {
				t.Errorf("%q is no UTF-8", text)
			}
			for _, r := range text {
				if !strconv.IsPrint(r) {
					t.Errorf("%q holds %U", text, r)
				}
			}
		}
		if n := utf8.RuneCountInString(plain.Short(s, 20)); n > 20 {
			t.Errorf("%d characters", n)
		}
	})
}
