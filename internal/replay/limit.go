package replay

import (
	"context"
	"errors"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/step"
)

// pauseMargin is how long before the deadline of a call its work ends: what was done is kept then. A call that has little
// time gets most of it.
const pauseMargin = 15 * time.Second

// errPause is why the work of a call ends before its deadline.
var errPause = errors.New("the time of this call is over")

// limit is when the work of a call has to end. On one machine there is none.
type limit struct {
	late func() bool // reports whether most of its time is used; nil: there is no limit
	stop func()
}

// limited returns the context of a call's work. One that has ended before ctx pauses the work.
func (s *Steps) limited(ctx context.Context) (context.Context, limit) {
	if s.until != nil {
		return s.until(ctx)
	}
	working, stop, near := step.Limited(ctx, pauseMargin, errPause)
	if !near {
		return working, limit{stop: stop}
	}
	deadline, _ := ctx.Deadline()
	half := time.Now().Add(time.Until(deadline) / 2)
	return working, limit{late: func() bool { return time.Now().After(half) }, stop: stop}
}

// any reports whether there is a limit at all.
func (l limit) any() bool { return l.late != nil }

// paused reports whether the work has ended for its limit, and not because nobody waits for it any more. Whatever error the
// work has returned then means nothing.
func (l limit) paused(ctx, working context.Context) bool {
	return l.any() && working.Err() != nil && ctx.Err() == nil
}

// stuck is the error of a call that has not got on: the next one would not either.
func stuck(what, piece string) error {
	return failure.New(failure.Exhausted, "%s does not get on: the time of one call is too short for %s", what, piece).
		WithHint("give the function more memory, which makes it faster, or run the restore with `lifeboat restore` on a machine, where nothing limits its time")
}
