package replay

import (
	"context"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// notify tells people how the restore ended, and writes into the record whom it told.
func (s *Steps) notify(ctx context.Context, id backup.RestoreID) error {
	record, err := s.catalog().Restore(ctx, id)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return nil
		}
		return err
	}
	if record.Status == backup.InProgress || record.Status == backup.Canceled {
		return nil
	}
	s.phase("notify", 0, 0)
	notified, err := s.Notifier.NotifyRestore(ctx, record)
	if err != nil {
		notified = catalog.Notified{Status: "failed", Message: err.Error()}
	}
	notified.At = s.Now().UTC()
	_, updateErr := s.update(ctx, id, func(r *catalog.Restore) { r.Notified = notified })
	if updateErr != nil {
		return updateErr
	}
	return err
}

// Tell sends the notification of a restore that ended without doing so itself.
func (s *Steps) Tell(ctx context.Context, id backup.RestoreID) error { return s.notify(ctx, id) }
