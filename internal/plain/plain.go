// Package plain shows names, sizes and counts to people: in mails, pages and terminals.
//
// Names come from strangers. Text makes them harmless to look at; it does not escape HTML, which is the template's
// work. The package imports nothing of ours.
package plain

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text returns s with everything escaped that a reader does not see or that changes how its neighbours are shown:
// control characters, line breaks, bidi and zero-width characters, and bytes that are no UTF-8.
func Text(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// Short returns Text(s), cut to at most n characters; the last one then is an ellipsis.
func Short(s string, n int) string {
	s = Text(strings.TrimSpace(prefix(s, n+1)))
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return strings.TrimSpace(string(runes[:max(0, n-1)])) + "…"
}

// prefix bounds the work on very long text: each of its characters gives at least one of Text's.
func prefix(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

var units = []string{"kB", "MB", "GB", "TB", "PB", "EB"}

// Size returns a number of bytes as people say it, in powers of ten: "812 bytes", "46.1 MB".
func Size(n int64) string {
	if n < 0 {
		return "-" + Size(-max(n, -math.MaxInt64))
	}
	if n < 1000 {
		return Count(n, "byte")
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// ExactSize adds the exact number to Size: "46.1 MB (46,123,456 bytes)".
func ExactSize(n int64) string {
	if n < 1000 {
		return Size(n)
	}
	return fmt.Sprintf("%s (%s bytes)", Size(n), Number(n))
}

// Change returns a difference of sizes with its sign: "+1.2 MB", "-812 bytes", "no change".
func Change(n int64) string {
	switch {
	case n == 0:
		return "no change"
	case n > 0:
		return "+" + Size(n)
	}
	return Size(n)
}

// Number returns n with commas between thousands.
func Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Count returns a number of things: "1 object", "1,204 objects".
func Count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return Number(n) + " " + thing + "s"
}

// Counts returns numbers of things by kind, most of them at most, in the order of the kinds: "18 files, 2 users".
// Kinds of which there are none are left out.
func Counts(of map[string]int64, most int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		if of[kind] == 0 {
			continue
		}
		if len(list) == most {
			list = append(list, "…")
			break
		}
		list = append(list, Number(of[kind])+" "+Short(kind, 40))
	}
	return strings.Join(list, ", ")
}

// Distance counts the letters to insert, drop, change or swap with their neighbour to make b of a.
func Distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
