package idle_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/datasource/idle"
	"lifeboat/internal/failure"
)

// body gives a byte, then nothing until its request is canceled.
type body struct {
	wait  time.Duration // before each byte
	bytes int
	done  <-chan struct{}
}

func (b *body) Read(p []byte) (int, error) {
	if b.bytes == 0 {
		<-b.done
		return 0, io.ErrClosedPipe
	}
	time.Sleep(b.wait)
	b.bytes--
	return 1, nil
}

func (b *body) Close() error { return nil }

func TestBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, guard := idle.New(t.Context(), time.Second)
		reader := guard.Body(&body{wait: 50 * time.Second, bytes: 3, done: ctx.Done()}, time.Minute)
		defer reader.Close()
		buffer := make([]byte, 1)
		for range 3 {
			if _, err := reader.Read(buffer); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // the reader's own time doesn't count
		}
		start := time.Now()
		_, err := reader.Read(buffer)
		if failure.KindOf(err) != failure.Transient || time.Since(start) != time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, guard := idle.New(t.Context(), time.Second)
		defer guard.Stop()
		<-ctx.Done()
		if !guard.Expired() {
			t.Error("not expired")
		}
	})
}
