package replay

import (
	"context"
	"testing"

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
	_, _, err := s.check(ctx, r, nil)
	return err
}
