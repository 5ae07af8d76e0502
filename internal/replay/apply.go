package replay

import (
	"context"

	"lifeboat/events"
	"lifeboat/internal/app/files"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// What events.Replayed.Next says.
const (
	nextDone  = "done"
	nextAgain = "again"
	nextPut   = "put"
)

// apply brings the documents into the application.
func (s *Steps) apply(ctx context.Context, r events.Restore) (events.Replayed, done, error) {
	b, place, only, err := s.reopen(ctx, r)
	if err != nil {
		return events.Replayed{}, done{}, err
	}
	defer b.end()
	defer place.Close()
	if place.App == nil || !r.Wishes.Documents {
		return events.Replayed{Next: nextDone}, done{message: "files only"}, nil
	}
	if b.about.Kind != "files" { // whose documents refer to nothing
		if err := s.settled(ctx, r.ID); err != nil {
			return events.Replayed{}, done{}, err
		}
	}
	s.phase("replay", 0, 0)
	progress, err := place.App.Replay(ctx, s.replayOf(r, b, only))
	switch {
	case err != nil:
		return events.Replayed{}, done{}, err
	case progress.Put:
		return events.Replayed{Next: nextPut}, done{message: "what an interrupted import had made was taken back"}, nil
	case !progress.Done:
		return events.Replayed{Next: nextAgain}, done{}, nil
	}
	return events.Replayed{Next: nextDone}, done{}, nil
}

// reopen opens again what the check has proven.
func (s *Steps) reopen(ctx context.Context, r events.Restore) (*subject, Place, *files.Globs, error) {
	var plan planFile
	if _, err := s.Vault.GetJSON(ctx, vault.RestoreWork(r.ID, "plan/plan.json"), &plan); err != nil {
		return nil, Place{}, nil, err
	}
	only, err := files.ParseGlobs(r.Only)
	if err != nil {
		return nil, Place{}, nil, err
	}
	b, err := s.open(ctx, r, plan.Use)
	if err != nil {
		return nil, Place{}, nil, err
	}
	if now := b.state(); now != plan.State {
		b.end()
		return nil, Place{}, nil, failure.New(failure.Conflict, "%s is another one than was checked: it was changed meanwhile", b.name).
			WithHint("run the same command again: it is checked anew")
	}
	b.plan = plan
	b.as(plan.Kind)
	place, err := s.Targets.Open(ctx, r.ID, r.To, b.about, r.Wishes)
	if err != nil {
		b.end()
		return nil, Place{}, nil, err
	}
	return b, place, only, nil
}
