package retention

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
)

// mayDelete refuses to delete a backup before all of its locks have ended, as far as its record knows them: on a bucket that
// keeps versions the store would hide it without a word, and its bytes would stay where nobody sees them.
func mayDelete(record catalog.Record, now time.Time) error {
	return ended(record.ID, later(record.LockedUntil, record.Archive.LockedUntil), now)
}

// ended refuses while a lock of a backup has not ended.
func ended(id backup.ID, until, now time.Time) error {
	if !now.Before(until) {
		return nil
	}
	return failure.New(failure.Denied, "the backup %s is locked until %s: nothing of it can be deleted before", id, moment(until)).
		WithHint("the same command deletes it once the lock has ended")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// storeLets is mayDelete by the store's own word: a record says when the first of the locks ends, while manifest and archive
// may be locked for the spare time longer, and one that cannot be read says nothing. Of a run that came to nothing the store
// is not asked: what it had sealed is hidden as soon as it is closed.
func storeLets(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID, now time.Time) error {
	keys := []vault.Key{vault.Record(source, id)}
	for _, prefix := range []vault.Key{vault.Snapshot(source, id), vault.ArchiveFiles(source, id)} {
		for info, err := range v.List(ctx, prefix) {
			if err != nil {
				return err
			}
			if !strings.HasPrefix(string(info.Key), string(vault.Work(source, id, ""))) { // work files are never locked
				keys = append(keys, info.Key)
			}
		}
	}
	ends, err := lockEnds(ctx, v, keys)
	if err != nil {
		return err
	}
	var last time.Time
	for _, until := range ends {
		last = later(last, until)
	}
	return ended(id, last, now)
}

// lockEnds asks the store when the locks of objects end; one that has none, or is gone, is not in the answer. Who may not
// know (s3:GetObjectRetention) gets none.
func lockEnds(ctx context.Context, v *vault.Vault, keys []vault.Key) (map[vault.Key]time.Time, error) {
	ends := map[vault.Key]time.Time{}
	var mutex sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for _, key := range keys {
		group.Go(func() error {
			info, err := v.Head(groupCtx, key)
			if err != nil && failure.KindOf(err) != failure.NotFound {
				return err
			}
			if !info.Locked.Until.IsZero() {
				mutex.Lock()
				defer mutex.Unlock()
				ends[key] = info.Locked.Until
			}
			return nil
		})
	}
	return ends, group.Wait()
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
	var keys []vault.Key
	for _, c := range all.due {
		keys = append(keys, c.Key)
	}
	ends, err := lockEnds(ctx, s.vault, keys)
	waiting = all.waiting
	for _, c := range all.due {
		if c.Locked = ends[c.Key]; c.Locked.After(s.now) {
			waiting = append(waiting, c)
		} else {
			due = append(due, c)
		}
	}
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
