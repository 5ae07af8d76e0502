package step

import (
	"context"
	"errors"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// begin takes the source's lease and creates the record, before any work. The answer is "skip" when another run
// holds the source, and "duplicate" when this run has ended before.
func (s *Steps) begin(ctx context.Context, run events.Run) (events.Began, error) {
	if len(run.Name) > 200 || len(run.Description) > 4000 || len(run.Scope.Folder) > 200 || len(run.StartedBy.By)+len(run.StartedBy.Who) > 400 {
		return events.Began{}, failure.New(failure.Usage, "a name has at most 200 bytes, a description 4000, a folder's id 200, and who started it 400")
	}
	if !s.Vault.Excludes() {
		return events.Began{}, failure.New(failure.Invalid, "the vault's store does not refuse to create what is there (If-None-Match): two runs could overwrite one another").
			WithHint("use a store that honours it; after an update of this one run `lifeboat doctor --probe-store`")
	}
	_, kind, err := s.Sources.Open(ctx, run.Source)
	if err != nil {
		return events.Began{}, err
	}
	_, err = s.catalog().Acquire(ctx, run.Source, catalog.Lease{Run: run.ID, Holder: s.Holder}, s.Now(), s.stale)
	var held catalog.Held
	switch {
	case errors.As(err, &held):
		return events.Began{Answer: "skip"}, nil
	case err != nil:
		return events.Began{}, err
	}
	if err := s.closeLost(ctx, run); err != nil {
		return events.Began{}, err
	}
	return s.record(ctx, run, kind)
}

func (s *Steps) record(ctx context.Context, run events.Run, kind string) (events.Began, error) {
	record, err := s.catalog().Begin(ctx, catalog.Record{
		ID: run.ID, Source: run.Source, Kind: kind, Name: run.Name, Description: run.Description,
		Status: backup.InProgress, Scope: run.Scope, StartedBy: run.StartedBy, Started: s.Now().UTC(), Lifeboat: s.Version,
	})
	if err == nil && record.Status == backup.Canceled { // a run that was stopped goes on
		record, err = s.catalog().Update(ctx, run.Source, run.ID, func(r *catalog.Record) error {
			if r.Status == backup.Canceled {
				r.Status, r.Failure = backup.InProgress, nil
			}
			return nil
		})
	}
	if err != nil {
		return events.Began{}, err
	}
	if record.Status == backup.InProgress {
		return events.Began{Answer: "run"}, nil
	}
	return events.Began{Answer: "duplicate"}, s.release(ctx, run.Source, run.ID)
}

// closeLost ends every run of the source that is in progress by its record but does not hold the lease: it died
// without closing itself.
func (s *Steps) closeLost(ctx context.Context, run events.Run) error {
	for r, err := range s.catalog().All(ctx, run.Source) {
		if err != nil && failure.KindOf(err) != failure.Corrupt {
			return err
		}
		if err != nil || r.ID == run.ID || r.Status != backup.InProgress {
			continue
		}
		if err := s.end(ctx, run.Source, r.ID, run.ID, backup.Failed, catalog.Failure{
			Kind: "lost", Message: "the run ended without a word: its process was killed, or the machine went down",
		}); err != nil {
			return err
		}
	}
	return nil
}
