package files

import (
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"lifeboat/internal/failure"
)

func TestEncode(t *testing.T) {
	long := strings.Repeat("n", 300)
	for name, want := range map[string]string{
		"a.txt":             "a.txt",
		"dir/ü 🌊 a:b.txt":   "dir/ü 🌊 a:b.txt",
		"e\u0301":           "e\u0301",
		"100%":              "100%25",
		"%2F":               "%252F",
		`back\slash`:        "back%5Cslash",
		"new\nline\x7f\x00": "new%0Aline%7F%00",
		"bad\xff":           "bad%FF",
		"half\xc3":          "half%C3",
		"\ufffd":            "\ufffd",
		".":                 "%2E",
		"a/../b":            "a/%2E%2E/b",
		"a/./b/..":          "a/%2E/b/%2E%2E",
		".../.a/a.":         ".../.a/a.",
		"/etc/passwd":       "%2Fetc/passwd",
		"a//b":              "a/%2Fb",
		"a///b":             "a/%2F/b",
		"a/":                "a%2F",
		"a//":               "a/%2F",
		"/":                 "%2F",
		"//":                "%2F%2F",
		"/..":               "%2F..",
		"..//":              "%2E%2E/%2F",
		"C:\\x":             "C:%5Cx",
		long:                long,
		"a b+c&d#e":         "a b+c&d#e",
	} {
		if got := Encode(name); got != want {
			t.Errorf("Encode(%q) = %q, want %q", name, got, want)
		}
		if back, err := Decode(want); back != name || err != nil {
			t.Errorf("Decode(%q) = %q, %v", want, back, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, path := range []string{
		"%", "a%2", "%2f", "%zz", "%41", "a//b", "/a", "a/", ".", "a/..", "bad\xff", "a\nb", `a\b`, "a%2Fb", "a/%2E.",
	} {
		if name, err := Decode(path); failure.KindOf(err) != failure.Invalid {
			t.Errorf("Decode(%q) = %q, %v", path, name, err)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"a", "a//b", "../x", "%", "\xff\xc3", `\`, "//", "a/./", "..", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path := Encode(name)
		if back, err := Decode(path); back != name || err != nil {
			t.Fatalf("Decode(Encode(%q) = %q) = %q, %v", name, path, back, err)
		}
		if name == "" {
			return
		}
		if !fs.ValidPath(path) || path == "." || !utf8.ValidString(path) || strings.ContainsRune(path, '\\') ||
			strings.ContainsFunc(path, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
			t.Fatalf("Encode(%q) = %q, which no archive should hold", name, path)
		}
		if text := plain(name); !utf8.ValidString(text) {
			t.Fatalf("plain(%q) = %q", name, text)
		} else if back, ok := unescape(text); !ok || back != name {
			t.Fatalf("plain(%q) = %q, which is read as %q", name, text, back)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"a", "a/%2Fb", "%2E%2E/x", "%25", "%", "%FF", "a%2Fb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if name, err := Decode(path); err == nil && Encode(name) != path {
			t.Fatalf("Decode(%q) = %q, whose path is %q", path, name, Encode(name))
		}
	})
}

// TestEveryShortName encodes all names of up to five of the bytes that matter: no two have one path.
func TestEveryShortName(t *testing.T) {
	names, last := []string{""}, []string{""}
	for range 5 {
		var next []string
		for _, name := range last {
			for _, c := range []string{"/", ".", "%", "2", "F", "E", "\\", "\xc3"} {
				next = append(next, name+c)
			}
		}
		names, last = append(names, next...), next
	}
	paths := map[string]string{}
	for _, name := range names {
		path := Encode(name)
		if other, taken := paths[path]; taken {
			t.Fatalf("%q and %q are both %q", name, other, path)
		}
		paths[path] = name
		if back, err := Decode(path); back != name || err != nil {
			t.Fatalf("Decode(Encode(%q) = %q) = %q, %v", name, path, back, err)
		}
	}
}
