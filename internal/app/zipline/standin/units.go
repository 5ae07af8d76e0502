package standin

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// amount reads a number with a unit, such as "95mb" or "30 m".
func amount(text string, units map[string]float64) (float64, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	end := strings.LastIndexAny(text, "0123456789.") + 1
	n, err := strconv.ParseFloat(strings.TrimSpace(text[:end]), 64)
	factor, known := units[strings.TrimSpace(text[end:])]
	return n * factor, err == nil && known
}

var byteUnits = map[string]float64{"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}

// bytesOf returns how many bytes a text such as "95mb" means; 0 for what it can't read.
func bytesOf(text string) float64 {
	n, ok := amount(text, byteUnits)
	if !ok {
		return 0
	}
	return math.Floor(n)
}

var timeUnits = func() map[string]float64 {
	units := map[string]float64{"": 1}
	for names, length := range map[string]time.Duration{
		"ms msec msecs millisecond milliseconds": time.Millisecond, "s sec secs second seconds": time.Second,
		"m min mins minute minutes": time.Minute, "h hr hrs hour hours": time.Hour, "d day days": 24 * time.Hour,
		"w week weeks": 7 * 24 * time.Hour, "y yr yrs year years": 8766 * time.Hour,
	} {
		for name := range strings.FieldsSeq(names) {
			units[name] = float64(length.Milliseconds())
		}
	}
	return units
}()

// millisecondsOf returns how long a text such as "30m" means.
func millisecondsOf(text string) (float64, bool) { return amount(text, timeUnits) }

// expiry reads when something ends: "date=…" or a length such as "2d". A time that is over is none.
func (s *Server) expiry(text string) (at string, ok bool) {
	now := s.options.Now()
	if date, given := strings.CutPrefix(text, "date="); given {
		t, ok := parseDate(strings.ToUpper(date))
		return moment(t), ok && t.After(now)
	}
	length, ok := millisecondsOf(text)
	return moment(now.Add(time.Duration(length) * time.Millisecond)), ok && length > 0
}
