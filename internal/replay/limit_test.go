package replay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimited: the work of a call ends some time before its deadline, and not at all where there is none.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Steps{}
		if working, l := s.limited(t.Context()); working != t.Context() || l.any() || l.paused(t.Context(), working) {
			t.Error("there is a limit")
		}
		far, end := context.WithTimeout(t.Context(), 24*time.Hour)
		defer end()
		if working, l := s.limited(far); working != far || l.any() {
			t.Error("the time of a workflow is taken for that of a function")
		}
		for all, want := range map[time.Duration]time.Duration{15 * time.Minute: 15*time.Minute - pauseMargin, 20 * time.Second: 15 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), all)
			began := time.Now()
			working, l := s.limited(ctx)
			if !l.any() || l.late() || l.paused(ctx, working) {
				t.Error("it is over before it begins")
			}
			time.Sleep(all/2 + time.Second)
			if !l.late() || l.paused(ctx, working) {
				t.Error("half of the time is not much")
			}
			<-working.Done()
			synctest.Wait()
			if took := time.Since(began); took != want || !l.paused(ctx, working) {
				t.Errorf("of %s it had %s, paused %v", all, took, l.paused(ctx, working))
			}
			cancel()
			if l.paused(ctx, working) {
				t.Error("nobody waits any more, and it is paused")
			}
			l.stop()
		}
	})
}
