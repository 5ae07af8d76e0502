package step

import (
	"context"
	"testing"
	"time"
)

// TestPauseAt leaves a piece of a snapshot time to store what it has listed.
func TestPauseAt(t *testing.T) {
	for _, c := range []struct{ left, margin time.Duration }{
		{6 * time.Hour, time.Minute},
		{14*time.Minute + 30*time.Second, time.Minute},
		{4 * time.Minute, time.Minute},
		{8 * time.Second, 2 * time.Second},
		{0, 0},
		{-time.Minute, 0},
	} {
		deadline := time.Now().Add(c.left)
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		if margin := deadline.Sub(pauseAt(ctx)); (margin - c.margin).Abs() > time.Second {
			t.Errorf("%s before the deadline, the margin is %s, want %s", c.left, margin, c.margin)
		}
	}
	if at := pauseAt(t.Context()); !at.IsZero() {
		t.Errorf("without a deadline it is %s", at)
	}
}
