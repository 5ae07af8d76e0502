package files

import (
	"strings"
	"unicode/utf8"

	"lifeboat/internal/failure"
)

// Encode returns a name, which is any bytes, as a path that an archive can hold and that stays inside of a folder:
// UTF-8, relative, without control characters, backslashes, and empty, "." or ".." segments. Bytes that would not do
// are written as % and two hex digits, and so is every %. A "/" that would make a segment empty is such a byte.
// Different names have different paths, and Decode gives the name back. Segments may be of any length.
func Encode(name string) string {
	var path, segment strings.Builder
	end := func() {
		switch text := segment.String(); text {
		case ".", "..":
			path.WriteString(strings.Repeat("%2E", len(text)))
		default:
			path.WriteString(text)
		}
		segment.Reset()
	}
	for i := 0; i < len(name); {
		_, width := utf8.DecodeRuneInString(name[i:])
		switch c := name[i]; {
		case c == '/' && segment.Len() > 0 && i < len(name)-1:
			end()
			path.WriteByte('/')
		case c == '/', c == '\\', bare(name[i:]):
			escape(&segment, c)
		default:
			segment.WriteString(name[i : i+width])
		}
		i += width
	}
	end()
	return path.String()
}

// bare reports whether the text starts with a byte that no text may hold as it is: a control character, a byte that
// is no UTF-8, or the % of escapes.
func bare(text string) bool {
	r, width := utf8.DecodeRuneInString(text)
	return r < 0x20 || r == 0x7f || r == '%' || r == utf8.RuneError && width == 1
}

const digits = "0123456789ABCDEF"

func escape(b *strings.Builder, c byte) {
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}

// Decode is the inverse of Encode: what Encode doesn't write is Invalid.
func Decode(path string) (string, error) {
	name, ok := unescape(path)
	if !ok || Encode(name) != path {
		return "", failure.New(failure.Invalid, "%q is not the path of a file as this program writes it", path)
	}
	return name, nil
}

func unescape(text string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		high, low := strings.IndexByte(digits, text[i+1]), strings.IndexByte(digits, text[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), true
}

// plain returns text, which is any bytes, so that JSON can hold it: escaped as in Encode, but any slash, backslash and
// segment is as good as another.
func plain(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		_, width := utf8.DecodeRuneInString(text[i:])
		if bare(text[i:]) {
			escape(&b, text[i])
		} else {
			b.WriteString(text[i : i+width])
		}
		i += width
	}
	return b.String()
}
