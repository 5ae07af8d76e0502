package step

import (
	"context"
	"encoding/json"
	"errors"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// maxRun is how many bytes of JSON an input may have: every state of the run holds it. A control character takes six.
const maxRun = 16 << 10

// fits refuses an input that is too large for the states of a run.
func fits(run events.Run) error {
	if len(run.Name) > 200 || len(run.Description) > 4000 || len(run.Scope.Folder) > 200 || len(run.StartedBy.By)+len(run.StartedBy.Who) > 400 {
		return failure.New(failure.Usage, "a name has at most 200 bytes, a description 4000, a folder's id 200, and who started it 400")
	}
	if text, err := json.Marshal(run); err != nil || len(text) > maxRun {
		return failure.New(failure.Usage, "what is said of the run (name, description, folder, who started it) has more than %d bytes as JSON", maxRun).
			WithHint("leave out control characters and the like: each of them takes six bytes there")
	}
	return nil
}

// begin takes the source's lease and creates the record, before any work. The answer is "skip" when another run
// holds the source, and "duplicate" when this run has ended before, or another execution is at it.
func (s *Steps) begin(ctx context.Context, run events.Run, execution string) (events.Began, error) {
	if err := fits(run); err != nil {
		return events.Began{}, err
	}
	if !s.Vault.Excludes() {
		return events.Began{}, failure.New(failure.Invalid, "the vault's store does not refuse to create what is there (If-None-Match): two runs could overwrite one another").
			WithHint("use a store that honours it; after an update of this one run `lifeboat doctor --probe-store`")
	}
	_, kind, err := s.Sources.Open(ctx, run.Source)
	if err != nil {
		return events.Began{}, err
	}
	if err = s.take(ctx, run); err != nil {
		if _, held := errors.AsType[catalog.Held](err); held {
			return events.Began{Answer: "skip"}, nil
		}
		return events.Began{}, err
	}
	if err := s.closeLost(ctx, run); err != nil {
		return events.Began{}, err
	}
	return s.record(ctx, run, kind, execution)
}

func (s *Steps) record(ctx context.Context, run events.Run, kind, execution string) (events.Began, error) {
	record, err := s.catalog().Begin(ctx, catalog.Record{
		ID: run.ID, Source: run.Source, Kind: kind, Name: run.Name, Description: run.Description,
		Status: backup.InProgress, Scope: run.Scope, StartedBy: run.StartedBy, Started: s.Now().UTC(), Lifeboat: s.Version,
		Execution: execution,
	})
	if err == nil && record.Status == backup.Canceled { // a run that was stopped goes on
		record, err = s.catalog().Update(ctx, run.Source, run.ID, func(r *catalog.Record) error {
			if r.Status == backup.Canceled {
				r.Status, r.Failure, r.Execution = backup.InProgress, nil, execution
			}
			return nil
		})
	}
	if err != nil {
		return events.Began{}, err
	}
	switch {
	case record.Twin(execution):
		return events.Began{Answer: "duplicate"}, nil // the source stays held: the other one works
	case record.Status == backup.InProgress:
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
