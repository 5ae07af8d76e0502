package standin

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// limiter counts requests within windows, by user and route.
type limiter struct {
	mutex   sync.Mutex
	windows map[string]*window
}

type window struct {
	ends  time.Time
	count int
}

// take counts a request and reports how many more are allowed, or -1, and when the window ends.
func (l *limiter) take(key string, most int, length time.Duration, now time.Time) (left int, ends time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.windows == nil {
		l.windows = map[string]*window{}
	}
	w := l.windows[key]
	if w == nil || !now.Before(w.ends) {
		w = &window{ends: now.Add(length)}
		l.windows[key] = w
	}
	if w.count == most {
		return -1, w.ends.Sub(now)
	}
	w.count++
	return most - w.count, w.ends.Sub(now)
}

// limit counts a request of a limited route, and returns the refusal where there were too many.
func (c *call) limit(most int, length time.Duration) error {
	left, ends := most-1, length
	if !c.s.options.NoRateLimits {
		left, ends = c.s.limiter.take(c.user.ID+" "+c.r.Method+" "+c.r.URL.Path, most, length, c.s.options.Now())
	}
	seconds := int(math.Ceil(ends.Seconds()))
	c.w.Header().Set("X-Ratelimit-Limit", strconv.Itoa(most))
	c.w.Header().Set("X-Ratelimit-Remaining", strconv.Itoa(max(left, 0)))
	c.w.Header().Set("X-Ratelimit-Reset", strconv.Itoa(seconds))
	if left >= 0 {
		return nil
	}
	c.w.Header().Set("Retry-After", strconv.Itoa(seconds))
	unit := "seconds"
	if seconds == 1 {
		unit = "second"
	}
	return refusal{fmt.Sprintf("Rate limit exceeded, retry in %d %s", seconds, unit), http.StatusTooManyRequests}
}
