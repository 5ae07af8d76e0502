package fetch

import (
	"context"
	"errors"
	"time"

	"lifeboat/internal/failure"
)

// again is trouble that another try may get over.
type again struct {
	error               // what is said when there are no more tries
	after time.Duration // that the server asks for
}

func (a again) Unwrap() error { return a.error }

const (
	maxTries = 6 // one after the other, without a part that was stored in between
	maxWait  = 2 * time.Minute
)

// persist does work again while it ends with trouble that may pass. Progress that was made begins the count anew.
func (d *download) persist(work context.Context, progress func() int64, do func() error) error {
	for tries, last := 1, progress(); ; tries++ {
		err := do()
		var trouble again
		if !errors.As(err, &trouble) {
			return err
		}
		if now := progress(); now != last {
			tries, last = 1, now
		}
		pause := max(trouble.after, time.Second<<(tries-1))
		if tries == maxTries || pause > maxWait {
			return trouble.error
		}
		d.o.Again(trouble.error, pause)
		if err := d.o.Sleep(work, pause); err != nil {
			return failure.New(failure.Canceled, "wait for %s: %w", d.host, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
