package step

import (
	"context"
	"errors"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Only begin takes a source for a run. A call may outlive its run: neither somebody who stops an execution nor a child that
// fails ends the functions that are under way, and so abort works beside them. Such a call renews no lease that is gone,
// and what it writes behind abort's back it removes again.

// renew keeps the lease of a run while it works. A lease that this process has looked at a moment ago is not looked at
// again; the moment is one of the wall's clock, since others stand still while a machine sleeps.
func (s *Steps) renew(ctx context.Context, run events.Run) error {
	if at, ok := s.leases.Load(run.ID); ok {
		if age := s.Now().Round(0).Sub(at.(time.Time)); age >= 0 && age < catalog.LeaseTime/16 {
			return nil
		}
	}
	return s.hold(ctx, run)
}

// hold makes sure that the run holds the source at this very moment.
func (s *Steps) hold(ctx context.Context, run events.Run) error {
	now := s.Now()
	err := s.catalog().Renew(ctx, run.Source, s.lease(run), now)
	if errors.Is(err, catalog.ErrLeaseLost) {
		err = s.retake(ctx, run)
	}
	if err == nil {
		s.leases.Store(run.ID, now.Round(0))
	}
	return err
}

// holdOpen is hold for a run that abort may be closing: its lease goes last.
func (s *Steps) holdOpen(ctx context.Context, run events.Run) error {
	if err := s.hold(ctx, run); err != nil {
		return err
	}
	return s.open(ctx, run)
}

// take takes the source for a run that is nobody's.
func (s *Steps) take(ctx context.Context, run events.Run) error {
	_, err := s.catalog().Acquire(ctx, run.Source, s.lease(run), s.Now(), s.Stale)
	return err
}

// lease is what a run of these steps holds its source with.
func (s *Steps) lease(run events.Run) catalog.Lease {
	return catalog.Lease{Run: run.ID, Holder: s.Holder}
}

// retake takes the source for a run that has begun and has no lease: one that was stopped gave it back, and goes on. A run
// that was closed takes nothing. Its record says so before its lease goes: where it is closed between the two looks, the
// second one sees it.
func (s *Steps) retake(ctx context.Context, run events.Run) error {
	if err := s.open(ctx, run); err != nil {
		return err
	}
	if err := s.take(ctx, run); err != nil {
		return err
	}
	err := s.open(ctx, run)
	if err != nil {
		err = errors.Join(err, s.release(ctx, run.Source, run.ID))
	}
	return err
}

// open makes sure that nobody has closed the run: ErrLeaseLost.
func (s *Steps) open(ctx context.Context, run events.Run) error {
	record, err := s.catalog().Record(ctx, run.Source, run.ID)
	if failure.KindOf(err) == failure.NotFound || err == nil && record.Status != backup.InProgress {
		return catalog.ErrLeaseLost
	}
	return err
}

// written looks once more whether the run is open, after a call has written what only an open run needs: abort may have
// tidied up before. Its work files are removed then; a run that was stopped keeps what it has.
func (s *Steps) written(ctx context.Context, run events.Run) error {
	record, err := s.catalog().Record(ctx, run.Source, run.ID)
	if err != nil || record.Status == backup.InProgress {
		return err
	}
	if record.Status != backup.Canceled { // abort has done the rest, or will
		err = s.Vault.DeleteAll(ctx, vault.Work(run.Source, run.ID, ""))
	}
	return errors.Join(catalog.ErrLeaseLost, err)
}
