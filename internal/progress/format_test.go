package progress

import (
	"math"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "1.0 kB", 1049: "1.0 kB", 99_949: "99.9 kB", 99_950: "100 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 46_100_000: "46.1 MB", 120e9: "120 GB", -1500: "-1.5 kB",
		math.MaxInt64: "9.2 EB", math.MinInt64: "-9.2 EB",
	} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestBetween(t *testing.T) {
	for _, test := range []struct {
		low, high time.Duration
		want      string
	}{
		{3900 * time.Millisecond, 4100 * time.Millisecond, "3–5 s"},
		{4 * time.Second, 4 * time.Second, "about 4 s"},
		{10 * time.Millisecond, 20 * time.Millisecond, "under 1 s"},
		{50 * time.Second, 2 * time.Minute, "under 2 min"},
		{70 * time.Second, 2 * time.Minute, "1–2 min"},
		{2 * time.Hour, 1500 * time.Hour, "2–1,500 h"},
	} {
		if got := between(test.low, test.high); got != test.want {
			t.Errorf("between(%v, %v) = %q, want %q", test.low, test.high, got, test.want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for rate, want := range map[float64]string{0: "", -1: "", 87e6: "87 MB/s", 6.74e6: "6.7 MB/s", 9.96e6: "10 MB/s", 12.5: "12 B/s"} {
		if got := speed(rate); got != want {
			t.Errorf("speed(%v) = %q, want %q", rate, got, want)
		}
	}
}

// TestMeterForgets holds the meter to its memory: it keeps 30 seconds, and one sample more.
func TestMeterForgets(t *testing.T) {
	var m meter
	start := time.Unix(0, 0)
	for i := range 1000 {
		m.note(start.Add(time.Duration(i)*time.Second), int64(i))
	}
	if len(m.samples) != 31 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
	if rate, ok := m.over(10*time.Second, sample{start.Add(999 * time.Second), 999}); !ok || rate != 1 {
		t.Errorf("rate %v, %v", rate, ok)
	}
}
