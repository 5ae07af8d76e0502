package replay

import (
	"cmp"
	"context"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// tell is notify for what the input of a workflow named: one that a person or a schedule started has no id there. It is
// asked so only once the execution has ended, perhaps before the restore is closed.
func (s *Steps) tell(ctx context.Context, r events.Restore) error {
	if r.ID != "" {
		return s.notify(ctx, r.ID)
	}
	whole, err := s.meant(ctx, r)
	switch kind := failure.KindOf(err); {
	case err != nil && (kind == failure.Usage || kind == failure.NotFound || kind == failure.Invalid):
		return nil // what the input named was refused: nothing began, and nobody is told but who asked
	case err != nil:
		return err
	}
	record, err := s.catalog().Restore(ctx, whole.ID)
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		return nil
	case err != nil:
		return err
	case r.Execution != "" && record.Execution != "" && record.Execution != r.Execution:
		return nil // another execution is at the same restore, or was: it tells of itself
	case record.Status == backup.InProgress:
		return failure.New(failure.Transient, "the restore is not closed yet")
	}
	return s.notify(ctx, whole.ID)
}

// notify tells people how the restore ended, and writes into the record whom it told.
func (s *Steps) notify(ctx context.Context, id backup.RestoreID) error {
	record, err := s.catalog().Restore(ctx, id)
	switch {
	case failure.KindOf(err) == failure.NotFound:
		return nil
	case err != nil:
		return err
	case record.Status == backup.InProgress, record.Status == backup.Canceled:
		return nil
	}
	s.phase("notify", 0, 0)
	notified, err := s.Notifier.NotifyRestore(ctx, record)
	if err != nil {
		notified = catalog.Notified{Status: "failed", Message: err.Error()}
	}
	notified.At = s.Now().UTC()
	_, updateErr := s.update(ctx, id, func(r *catalog.Restore) { r.Notified = notified })
	return cmp.Or(updateErr, err)
}

// Tell sends the notification of a restore that ended without doing so itself.
func (s *Steps) Tell(ctx context.Context, id backup.RestoreID) error { return s.notify(ctx, id) }
