package step

import (
	"time"

	"lifeboat/internal/failure"
)

// planTime is what a plan reckons with for one object, with reading and writing its lines. Up to 62 µs were measured on one
// thread of a busy machine, without earlier manifests (decision 17); the rest is for these. Of memory an object takes 34
// bytes: time ends first.
const planTime = 110 * time.Microsecond

// planFits refuses a plan that takes longer than the time that is left for a call, before any work: a plan is made in one
// go. A snapshot asks with its own time, which is that of the same function.
func planFits(left time.Duration, objects int) error {
	if most := int64(left / planTime); left > 0 && int64(objects) > most {
		return failure.New(failure.Exhausted, "%d objects are too many for one plan: one of more than %d may take longer than the %s that a call has for it", objects, most, left.Round(time.Second)).
			WithHint("divide it into several sources, each with a part of the objects")
	}
	return nil
}
