package step

import (
	"context"
	"time"

	"lifeboat/internal/failure"
)

// planTime is how long planning one object may take, with reading and writing its lines: four million were measured on
// one thread of a busy machine (decision 17). Of memory an object takes 34 bytes: time ends first.
const planTime = 50 * time.Microsecond

// planFits refuses a plan that takes longer than its call may, before any work: a plan is made in one go.
func planFits(ctx context.Context, objects int) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	left := time.Until(deadline)
	if most := int64(left / planTime); left > 0 && int64(objects) > most {
		return failure.New(failure.Exhausted, "the source has %d objects: a plan of more than %d of them may take longer than the %s that are left for it", objects, most, left.Round(time.Second)).
			WithHint("divide it into several sources, each with a part of the objects")
	}
	return nil
}
