// Package idle ends a request that makes no progress.
//
// A deadline for a whole download is either too short for a large file or too long for a dead server. A Guard
// limits the two waits that matter instead: the time until an answer starts, and the time that a single read of
// its body takes without a byte. Time that the reader of the body spends elsewhere doesn't count.
package idle

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"lifeboat/internal/failure"
)

// Guard watches one request.
type Guard struct {
	cancel context.CancelFunc
	timer  *time.Timer
	fired  atomic.Bool
}

// New returns a context for one request, and its guard. The context is canceled when the answer has not started
// after limit. The caller ends with Stop, or with Body and the body's Close.
func New(ctx context.Context, limit time.Duration) (context.Context, *Guard) {
	ctx, cancel := context.WithCancel(ctx)
	g := &Guard{cancel: cancel}
	g.timer = time.AfterFunc(limit, func() {
		g.fired.Store(true)
		cancel()
	})
	return ctx, g
}

// Stop ends the request and frees what the guard holds. It may be called more than once.
func (g *Guard) Stop() {
	g.timer.Stop()
	g.cancel()
}

// Expired reports whether the guard has canceled the request.
func (g *Guard) Expired() bool { return g.fired.Load() }

// Body says that the answer has started and returns its body: a read that waits longer than limit for a byte
// ends with a Transient error. Close closes body and stops the guard.
func (g *Guard) Body(body io.ReadCloser, limit time.Duration) io.ReadCloser {
	g.timer.Stop()
	return &guarded{guard: g, body: body, limit: limit}
}

type guarded struct {
	guard *Guard
	body  io.ReadCloser
	limit time.Duration
}

func (r *guarded) Read(p []byte) (int, error) {
	r.guard.timer.Reset(r.limit)
	n, err := r.body.Read(p)
	r.guard.timer.Stop()
	if err != nil && err != io.EOF && r.guard.Expired() {
		err = failure.New(failure.Transient, "no byte came for %s", r.limit)
	}
	return n, err
}

func (r *guarded) Close() error {
	err := r.body.Close()
	r.guard.Stop()
	return err
}
