package retention

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// mayDelete refuses to delete a backup before its lock has ended: on a bucket that keeps versions the store would hide it
// without a word, and its bytes would stay where nobody sees them.
func mayDelete(record catalog.Record, now time.Time) error {
	if !now.Before(record.LockedUntil) {
		return nil
	}
	return failure.New(failure.Denied, "the backup %s is locked until %s: nothing of it can be deleted before", record.ID, moment(record.LockedUntil)).
		WithHint("the same command deletes it once the lock has ended")
}

// due is when a condemned object may go: after Grace, and not before its lock ends.
func (c condemned) due() time.Time {
	if at := c.Since.Add(Grace); at.After(c.Locked) {
		return at
	}
	return c.Locked
}

// unlocked asks the store about the locks of what is due, where locks are in use: it may know of one that was written down
// nowhere. What is locked waits.
func (s sweep) unlocked(ctx context.Context, locks catalog.Locks, all verdict) (due, waiting []condemned, err error) {
	if !locks.Kept() {
		return all.due, all.waiting, nil
	}
	waiting = all.waiting
	var mutex sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for _, c := range all.due {
		group.Go(func() error {
			info, err := s.vault.Head(groupCtx, c.Key)
			if err != nil && failure.KindOf(err) != failure.NotFound {
				return err
			}
			mutex.Lock()
			defer mutex.Unlock()
			if c.Locked = info.Locked.Until; c.Locked.After(s.now) {
				waiting = append(waiting, c)
			} else {
				due = append(due, c)
			}
			return nil
		})
	}
	err = group.Wait()
	return due, waiting, err
}

// Locks says what stays because it is locked; "" where nothing does.
func (f Freed) Locks() string {
	if f.Locked == 0 {
		return ""
	}
	return fmt.Sprintf("%s that no backup needs any more: kept until the locks end, the last on %s", plain.Count(int64(f.Locked), "pack"), moment(f.LockedUntil))
}

func moment(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }
