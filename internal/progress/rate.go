package progress

import (
	"fmt"
	"math"
	"slices"
	"time"

	"lifeboat/internal/plain"
)

const (
	memory  = 30 * time.Second       // how far back rates look
	spacing = 200 * time.Millisecond // the least time between two samples
	settled = 2 * time.Second        // before this much time, a rate says nothing about the rest
	doubt   = 1.1                    // even a speed that never changed is no promise
)

// windows are the spans over which the speed is looked at to tell a slow from a fast estimate.
var windows = []time.Duration{3 * time.Second, 10 * time.Second, memory}

// sample is how far a phase was at one time.
type sample struct {
	at   time.Time
	done int64
}

// meter is the recent past of one count, bytes or items.
type meter struct{ samples []sample }

func (m *meter) note(at time.Time, done int64) {
	if n := len(m.samples); n > 0 && at.Sub(m.samples[n-1].at) < spacing {
		return
	}
	m.samples = append(m.samples, sample{at, done})
	old := 0 // the newest sample beyond memory stays, so that there is always a whole span
	for old+1 < len(m.samples) && at.Sub(m.samples[old+1].at) >= memory {
		old++
	}
	m.samples = slices.Delete(m.samples, 0, old)
}

// over returns the rate per second within the span before now; false while there is no sample to compare with.
func (m *meter) over(span time.Duration, now sample) (float64, bool) {
	i, _ := slices.BinarySearchFunc(m.samples, now.at.Add(-span), func(s sample, at time.Time) int { return s.at.Compare(at) })
	if i == len(m.samples) || i > 0 && m.samples[i].at.After(now.at.Add(-span)) {
		i--
	}
	if i < 0 {
		return 0, false
	}
	elapsed := now.at.Sub(m.samples[i].at).Seconds()
	if elapsed <= 0 {
		return 0, false
	}
	return float64(now.done-m.samples[i].done) / elapsed, true
}

// left is how long the rest may take. The zero value is "nobody knows".
type left struct {
	low, high time.Duration
	open      bool // it stands still at the moment: high is not known
}

func (l left) String() string {
	switch {
	case l.open && l.low < 10*time.Second:
		return fmt.Sprintf("over %d s left", max(l.low/time.Second, 1))
	case l.open:
		return "over " + plain.Duration(l.low.Truncate(time.Second)) + " left"
	case l.high > 0:
		return between(l.low, l.high) + " left"
	}
	return ""
}

// left estimates the time for the rest from the fastest and the slowest of the recent rates.
func (m *meter) left(now sample, rest int64) left {
	if rest <= 0 || len(m.samples) == 0 || now.at.Sub(m.samples[0].at) < settled {
		return left{}
	}
	slow, fast := math.Inf(1), 0.0
	for _, span := range windows {
		if rate, ok := m.over(span, now); ok {
			slow, fast = min(slow, rate), max(fast, rate)
		}
	}
	low, high := wait(rest, fast*doubt), wait(rest, slow/doubt)
	switch {
	case low == 0:
		return left{}
	case high == 0:
		return left{low: low, open: true}
	}
	return left{low: low, high: high}
}

// wait returns how long rest takes at a rate; 0 for "for ever", or more than a year.
func wait(rest int64, rate float64) time.Duration {
	seconds := float64(rest) / rate
	if rate <= 0 || seconds > (365*24*time.Hour).Seconds() {
		return 0
	}
	return max(time.Duration(seconds*float64(time.Second)), 1)
}
