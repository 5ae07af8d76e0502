package progress

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"lifeboat/internal/plain"
)

// units are decimal, as disks and stores are sold.
var units = []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// bytes returns n bytes in few characters: "999 B", "46.1 MB", "120 GB".
func bytes(n int64) string {
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
		return fmt.Sprintf("under %s %s", plain.Number(max(to, 1)), name)
	case from == to:
		return fmt.Sprintf("about %s %s", plain.Number(to), name)
	}
	return fmt.Sprintf("%s–%s %s", plain.Number(from), plain.Number(to), name)
}
