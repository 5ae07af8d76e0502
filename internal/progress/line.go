package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"lifeboat/internal/plain"
)

// state is a phase at one time, as every renderer gets it.
type state struct {
	phase      string
	items      int64
	bytes      int64
	totalItems int64 // 0: not known
	totalBytes int64 // 0: not known
	elapsed    time.Duration
	rate       float64 // bytes per second, recent; of the whole phase once it has ended; 0: not known
	left       left
	ended      bool
	failed     bool // it ended before its work was done
}

// complete reports whether all that was announced is done.
func (s state) complete() bool {
	return !s.failed && s.items >= s.totalItems && s.bytes >= s.totalBytes
}

// percent returns how much is done, rounded down, of the bytes or else of the items; false when the total is not
// known or turned out too low.
func (s state) percent() (int64, bool) {
	done, total := s.bytes, s.totalBytes
	if total <= 0 {
		done, total = s.items, s.totalItems
	}
	if total <= 0 || done > total {
		return 0, false
	}
	return int64(float64(done) / float64(total) * 100), true
}

// fields returns the parts of a line, the most important ones first.
func (s state) fields() []string {
	all := []string{fmt.Sprintf("%-9s %s", s.phase, s.mark()), s.objects(), s.size(), speed(s.rate), s.left.String()}
	if s.ended {
		all[4] = "in " + plain.Duration(s.elapsed)
	}
	shown := all[:0]
	for _, field := range all {
		if field != "" {
			shown = append(shown, field)
		}
	}
	return shown
}

func (s state) mark() string {
	percent, known := s.percent()
	switch {
	case s.failed:
		return "failed"
	case s.ended && s.complete():
		return " done"
	case s.ended:
		return "ended"
	case known:
		return fmt.Sprintf("%3d %%", percent)
	}
	return "    …"
}

func (s state) objects() string {
	noun := "objects"
	switch {
	case s.totalItems > 0 && s.items <= s.totalItems && !(s.ended && s.complete()):
		return plain.Number(s.items) + "/" + plain.Number(s.totalItems) + " " + noun
	case s.items == 1:
		noun = "object"
	case s.items == 0:
		return ""
	}
	return plain.Number(s.items) + " " + noun
}

func (s state) size() string {
	switch {
	case s.totalBytes > 0 && s.bytes <= s.totalBytes && !(s.ended && s.complete()):
		return bytesOf(s.bytes, s.totalBytes)
	case s.bytes == 0:
		return ""
	}
	return bytes(s.bytes)
}

// speed returns "87 MB/s", with a decimal below 10.
func speed(rate float64) string {
	if rate <= 0 {
		return ""
	}
	unit := unitOf(int64(rate))
	for range unit {
		rate /= 1000
	}
	if rate >= 9.95 || unit == 0 {
		return fmt.Sprintf("%.0f %s/s", rate, units[unit])
	}
	return fmt.Sprintf("%.1f %s/s", rate, units[unit])
}

// line returns the state in at most width columns; the last fields go first where it is narrow. 0 is any width.
func (s state) line(width int) string {
	fields := s.fields()
	for width > 0 && len(fields) > 1 && utf8.RuneCountInString(strings.Join(fields, "  ")) > width {
		fields = fields[:len(fields)-1]
	}
	line := []rune(strings.Join(fields, "  "))
	if width > 0 && len(line) > width {
		line = line[:width]
	}
	return string(line)
}

// message is one JSON line.
type message struct {
	Type       string    `json:"message_type"` // "progress"
	Phase      string    `json:"phase,omitempty"`
	State      string    `json:"state,omitempty"` // running, done (all of it), ended (less than announced), failed
	Note       string    `json:"note,omitempty"`
	Items      int64     `json:"items,omitzero"`
	TotalItems int64     `json:"total_items,omitzero"` // left out: not known
	Bytes      int64     `json:"bytes,omitzero"`
	TotalBytes int64     `json:"total_bytes,omitzero"` // left out: not known
	Elapsed    float64   `json:"seconds,omitzero"`
	Rate       int64     `json:"bytes_per_second,omitzero"`
	Left       []float64 `json:"seconds_left,omitempty"` // the least and, where known, the most
}

func (s state) message() message {
	m := message{
		Type: "progress", Phase: s.phase, State: "running",
		Items: s.items, TotalItems: s.totalItems, Bytes: s.bytes, TotalBytes: s.totalBytes,
		Elapsed: seconds(s.elapsed), Rate: int64(s.rate),
	}
	switch {
	case s.failed:
		m.State = "failed"
	case s.ended && s.complete():
		m.State = "done"
	case s.ended:
		m.State = "ended"
	case s.left.open:
		m.Left = []float64{seconds(s.left.low)}
	case s.left.high > 0:
		m.Left = []float64{seconds(s.left.low), seconds(s.left.high)}
	}
	return m
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// encode returns m as one line with its line break.
func (m message) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		return nil // numbers and text always encode
	}
	return append(data, '\n')
}
