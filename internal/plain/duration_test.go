package plain_test

import (
	"testing"
	"time"

	"lifeboat/internal/plain"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"-5s": "0.0 s", "0s": "0.0 s", "420ms": "0.4 s", "9.94s": "9.9 s", "9.95s": "10 s", "59.4s": "59 s", "59.5s": "1 min",
		"60s": "1 min", "200s": "3 min 20 s", "59m59.4s": "59 min 59 s", "59m59.5s": "1 h", "125m": "2 h 5 min",
		"23h59m29s": "23 h 59 min", "23h59m30s": "1 d", "76h": "3 d 4 h",
	} {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := plain.Duration(d); got != want {
			t.Errorf("Duration(%s) = %q, want %q", text, got, want)
		}
	}
}
