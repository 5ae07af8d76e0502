package progress

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// units are decimal, as disks and stores are sold.
var units = []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// Bytes returns n bytes for a person: "999 B", "46.1 MB", "120 GB".
func Bytes(n int64) string {
	unit := unitOf(n)
	return scaled(n, unit) + " " + units[unit]
}

// unitOf returns the largest unit in which n, rounded as scaled does, is at least 1.
func unitOf(n int64) int {
	unit, value := 0, math.Abs(float64(n))
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	return unit
}

func scaled(n int64, unit int) string {
	value := float64(n) / math.Pow(1000, float64(unit))
	if unit == 0 || math.Abs(value) >= 99.95 {
		return strconv.FormatFloat(value, 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'f', 1, 64)
}

// bytesOf returns "28.6 of 46.1 MB": both in the unit of the total.
func bytesOf(done, total int64) string {
	unit := unitOf(total)
	return scaled(done, unit) + " of " + scaled(total, unit) + " " + units[unit]
}

// Count returns n with a comma between thousands: "1,204".
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return sign + b.String()
}

// Duration returns d for a person, in its two largest units: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d".
// A negative d counts as 0.
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour-time.Second/2:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour-time.Minute/2:
		return two(d, time.Hour, "h", time.Minute, "min")
	}
	return two(d, 24*time.Hour, "d", time.Hour, "h")
}

// two returns d, rounded to the small unit, in both units; one that is 0 is left out.
func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	d = d.Round(small)
	var parts []string
	if n := d / large; n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", n, largeName))
	}
	if n := d % large / small; n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", n, smallName))
	}
	return strings.Join(parts, " ")
}

// between returns a range of time to wait, rounded outwards: "3–5 s", "about 2 min", "under 1 h".
func between(low, high time.Duration) string {
	unit, name := time.Second, "s"
	switch {
	case high > 90*time.Minute:
		unit, name = time.Hour, "h"
	case high > 90*time.Second:
		unit, name = time.Minute, "min"
	}
	from, to := int64(low/unit), int64((high+unit-1)/unit)
	switch {
	case from == 0:
		return fmt.Sprintf("under %s %s", Count(max(to, 1)), name)
	case from == to:
		return fmt.Sprintf("about %s %s", Count(to), name)
	}
	return fmt.Sprintf("%s–%s %s", Count(from), Count(to), name)
}

// Escape returns a stranger's text fit for a terminal: what doesn't print (control characters, line breaks, bidi
// marks, broken UTF-8) becomes \n, \x1b, \u202e and the like. What prints stays.
func Escape(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		text = text[size:]
	}
	return b.String()
}
