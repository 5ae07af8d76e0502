package step

import (
	"cmp"
	"context"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// notify tells people how the run ended, and writes into the record whom it told. A run without a record failed
// before it began: there is nothing to tell but what the command says itself.
func (s *Steps) notify(ctx context.Context, run events.Run) error {
	record, err := s.catalog().Record(ctx, run.Source, run.ID)
	switch {
	case failure.KindOf(err) == failure.NotFound:
		return nil
	case err != nil:
		return err
	case record.Status == backup.InProgress, record.Status == backup.Canceled:
		return nil
	}
	s.phase("notify", 0, 0)
	before, err := s.catalog().Before(ctx, run.Source, record.Scope, record.Started)
	if err != nil {
		s.Log.Info("the runs before cannot be found", "error", err)
	}
	notified, err := s.Notifier.Notify(ctx, record, before.Good, before.Ended)
	if err != nil {
		notified = catalog.Notified{Status: "failed", Message: err.Error()}
	}
	notified.At = s.Now().UTC()
	_, updateErr := s.catalog().Update(ctx, run.Source, run.ID, func(r *catalog.Record) error {
		r.Notified = notified
		return nil
	})
	return cmp.Or(updateErr, err)
}

// Tell sends the notification of a run that ended without doing so itself.
func (s *Steps) Tell(ctx context.Context, run events.Run) error { return s.notify(ctx, run) }
