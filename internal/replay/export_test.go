package replay

import (
	"context"
	"testing"
	"time"

	"lifeboat/events"
)

// SmallBatches has a plan of many batches.
func SmallBatches(t *testing.T, items int64) {
	before := batchItems
	batchItems = items
	t.Cleanup(func() { batchItems = before })
}

// Checked does the step check and nothing around it.
func (s *Steps) Checked(ctx context.Context, r events.Restore) error {
	_, _, err := s.check(ctx, r)
	return err
}

// Until has the work of every call end when stop is called, as before a deadline; late: what follows the check gets a call of its own.
func (s *Steps) Until(begin func(stop func()) (late bool)) {
	s.until = func(ctx context.Context) (context.Context, limit) {
		working, cancel := context.WithCancelCause(ctx)
		stop := func() { cancel(errPause) }
		late := begin(stop)
		return working, limit{late: func() bool { return late }, stop: stop}
	}
}

// OneAtATime has a batch do its units one after the other.
func OneAtATime(t *testing.T) {
	before := underWay
	underWay = 1
	t.Cleanup(func() { underWay = before })
}

// SumWithin has a restore that fails sum up what it has put in so long.
func SumWithin(t *testing.T, d time.Duration) {
	before := sumTime
	sumTime = d
	t.Cleanup(func() { sumTime = before })
}
