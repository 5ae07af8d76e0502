package secret

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"lifeboat/internal/failure"
)

// Resolver asks AWS for the values behind secretsmanager: and ssm: references. It is safe for concurrent use.
type Resolver interface {
	// Resolve returns the value of what a reference names after its scheme, which is "secretsmanager" or "ssm". The
	// error has a kind and never holds the value.
	Resolve(ctx context.Context, scheme, name string) (String, error)
}

// resolveTime bounds one question.
const resolveTime = 20 * time.Second

var installed atomic.Pointer[cache]

// Install makes r answer for secretsmanager: and ssm: references in this process, from now on. An answer is kept for
// keep; errors are not kept. nil takes the resolver away.
func Install(r Resolver, keep time.Duration) {
	if r == nil {
		installed.Store(nil)
		return
	}
	installed.Store(&cache{resolver: r, keep: keep, answers: map[string]answer{}})
}

// cache keeps the answers of a resolver for a while.
type cache struct {
	resolver Resolver
	keep     time.Duration

	mutex   sync.Mutex
	answers map[string]answer
}

type answer struct {
	value String
	until time.Time
}

// resolve asks at most once at a time: a warm function has few secrets, and a burst of questions would be throttled.
func (c *cache) resolve(reference, scheme, name string) (String, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := time.Now()
	if a, ok := c.answers[reference]; ok && now.Before(a.until) {
		return a.value, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	value, err := c.resolver.Resolve(ctx, scheme, name)
	if err != nil {
		return String{}, err
	}
	if value.Empty() {
		return String{}, failure.New(failure.Usage, "the secret %s is empty", reference).WithHint("write its value there")
	}
	c.answers[reference] = answer{value, now.Add(c.keep)}
	return value, nil
}

func fromAWS(reference, scheme, name string) (String, error) {
	c := installed.Load()
	if c == nil {
		return String{}, failure.New(failure.Usage, "%s: references are resolved on AWS only", scheme).
			WithHint("on one machine use env:NAME or file:PATH")
	}
	if name == "" {
		return String{}, failure.New(failure.Usage, "%s: names no secret", scheme).WithHint("write %s:NAME", scheme)
	}
	return c.resolve(reference, scheme, name)
}
