package machine

import (
	"context"
	"errors"
	"math"
	"time"
)

// The defaults of a retrier.
const (
	defaultInterval = time.Second
	defaultAttempts = 3
	defaultRate     = 2.0
)

// seconds turns a number of seconds into a Duration without overflow.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, maxSeconds) * float64(time.Second))
}

// delay returns how long to wait before the n-th retry, n from 1.
func (r retrier) delay(n int, random func() float64) time.Duration {
	d := r.interval.Seconds() * math.Pow(r.rate, float64(n-1))
	if r.max > 0 {
		d = min(d, r.max.Seconds())
	}
	if r.full {
		d *= random()
	}
	return seconds(d)
}

// retries counts how often each retrier of a state was used in one visit.
type retries struct {
	list   []retrier
	used   []int
	total  int
	random func() float64
}

// next returns how long to wait before another attempt, or false when name goes to Catch: the first retrier that
// matches decides alone.
func (r *retries) next(name string) (time.Duration, bool) {
	for i, candidate := range r.list {
		if !matches(candidate.names, name) {
			continue
		}
		if r.used[i] >= candidate.attempts {
			return 0, false
		}
		r.used[i]++
		r.total++
		return candidate.delay(r.used[i], r.random), true
	}
	return 0, false
}

// caught returns the first catcher for an error's name.
func (s *state) caught(name string) (catcher, bool) {
	for _, c := range s.catch {
		if matches(c.names, name) {
			return c, true
		}
	}
	return catcher{}, false
}

var (
	// errStopped ends a run whose context ended; the context's cause tells why.
	errStopped = errors.New("the run was stopped")
	// errRunTimeout is the cause of a context that TimeoutSeconds of the machine ended.
	errRunTimeout = errors.New("the run took longer than the machine's TimeoutSeconds")
)

// sleep waits for d, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errStopped
	}
}
