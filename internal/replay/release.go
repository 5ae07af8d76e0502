package replay

import (
	"context"
	"errors"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/restore"
	"lifeboat/internal/step"
)

// release ends a restore that failed: its record says why, its name and its target are free again. What it fetched and
// what the target remembers stays: the same restore goes on with it.
func (s *Steps) release(ctx context.Context, r events.Restore, caught *events.Error) error {
	whole, err := s.meant(ctx, r) // begin may not have answered
	if err != nil && failure.KindOf(err) == failure.Transient {
		return err
	}
	if err == nil {
		r = whole
	}
	return s.End(ctx, r, backup.Failed, catalog.FailureOf(step.Reason(caught)))
}

// End closes the record of a restore that did not complete, if it is still open, and gives back what it holds. Where
// another process is at the same restore, all of that is the other's.
func (s *Steps) End(ctx context.Context, r events.Restore, status backup.Status, why catalog.Failure) error {
	if r.ID == "" {
		return nil // it failed before it began
	}
	if other, err := s.elsewhere(ctx, r); other || err != nil {
		return err
	}
	sum := s.soFar(ctx, r.ID)
	_, err := s.update(ctx, r.ID, func(record *catalog.Restore) {
		if record.Status == backup.InProgress || record.Status == backup.Canceled {
			record.Status, record.Failure, record.Finished = status, &why, s.Now().UTC()
			notePut(record, sum)
		}
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		err = nil // it failed before its record was written
	}
	if r.Wishes.Name != "" {
		target, nameErr := s.Targets.Name(r.To)
		if nameErr == nil {
			nameErr = s.catalog().ReleaseName(ctx, target, r.Wishes.Name, r.ID)
		}
		err = errors.Join(err, nameErr)
	}
	s.abandon(ctx, r)
	err = errors.Join(err, s.throwAway(ctx, r))
	return errors.Join(err, s.clear(ctx, r.ID), s.forgetURL(ctx, r), s.free(ctx, r))
}

// notePut writes what a restore that did not complete has put into its record. Where that is nothing, an earlier call may have
// tidied up already.
func notePut(record *catalog.Restore, sum restore.Result) {
	if sum.Written+sum.Existing > 0 {
		record.Put = putOf(sum, record.Put.LeftOut)
	}
}
