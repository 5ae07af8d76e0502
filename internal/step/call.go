package step

import (
	"context"
	"time"
)

// longestCall is how far away a deadline may be behind which another call goes on: no function of Lambda has more than 15
// minutes. One farther away is the workflow's own, on one machine, where nothing ends a call early.
const longestCall = 20 * time.Minute

// Limited returns the context of what one call does and the next may go on with: it ends some time before the deadline of
// the call, at most a quarter of what is left, for the reason why. near is false where there is no such deadline.
func Limited(ctx context.Context, margin time.Duration, why error) (working context.Context, stop context.CancelFunc, near bool) {
	deadline, ok := ctx.Deadline()
	left := time.Until(deadline)
	if !ok || left > longestCall {
		return ctx, func() {}, false
	}
	working, stop = context.WithDeadlineCause(ctx, deadline.Add(-min(margin, left/4)), why)
	return working, stop, true
}

// timeLeft returns how long a call may still take; 0 where nobody has set a time.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return time.Until(deadline)
}
