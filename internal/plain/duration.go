package plain

import (
	"fmt"
	"strings"
	"time"
)

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
