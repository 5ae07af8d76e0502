package replay

import (
	"context"
	"errors"
	"time"
)

// pauseMargin is how long before the deadline of a call its work ends: what was done is kept then. A call that has little
// time gets most of it.
const pauseMargin = 15 * time.Second

// longestCall is the most time that a function has, with a margin: a deadline farther away is the workflow's, on one machine,
// where nothing ends a call early.
const longestCall = 20 * time.Minute

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
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > longestCall {
		return ctx, limit{stop: func() {}}
	}
	all := time.Until(deadline)
	working, cancel := context.WithDeadlineCause(ctx, deadline.Add(-min(pauseMargin, all/4)), errPause)
	half := time.Now().Add(all / 2)
	return working, limit{late: func() bool { return time.Now().After(half) }, stop: cancel}
}

// any reports whether there is a limit at all.
func (l limit) any() bool { return l.late != nil }

// paused reports whether the work has ended for its limit, and not because nobody waits for it any more. Whatever error the
// work has returned then means nothing.
func (l limit) paused(ctx, working context.Context) bool {
	return l.any() && working.Err() != nil && ctx.Err() == nil
}
