package step

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
)

// abort ends a run that failed: its record says why, its uploads, work files and packs go, the source is free again.
// A run that another execution is at is left alone.
func (s *Steps) abort(ctx context.Context, run events.Run, caught *events.Error, execution string) error {
	record, err := s.catalog().Record(ctx, run.Source, run.ID)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return err
	}
	if record.Twin(execution) {
		s.Log.Info("the run of another execution is left alone", "source", run.Source, "backup", run.ID)
		return nil
	}
	return s.End(ctx, run, backup.Failed, catalog.FailureOf(Reason(caught)))
}

// End closes the record of a run that did not complete, if it is still open, and cleans up behind it. A canceled
// run keeps its work files: the same command goes on with them.
func (s *Steps) End(ctx context.Context, run events.Run, status backup.Status, why catalog.Failure) error {
	return s.end(ctx, run.Source, run.ID, run.ID, status, why)
}

// end closes a run; holder is the run that holds the source's lease while it does. A run that has failed before is
// cleaned up again: the attempt that closed it may have died over that.
func (s *Steps) end(ctx context.Context, source backup.Source, id, holder backup.ID, status backup.Status, why catalog.Failure) error {
	record, err := s.catalog().Update(ctx, source, id, func(r *catalog.Record) error {
		if r.Status == backup.InProgress || r.Status == backup.Canceled {
			r.Status, r.Failure, r.Finished = status, &why, s.Now().UTC()
		}
		return nil
	})
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound: // it failed before its record was written
	case err != nil:
		return err
	case record.Status != status:
		return nil
	}
	if status == backup.Canceled {
		return s.release(ctx, source, id)
	}
	for _, prefix := range []vault.Key{vault.ArchiveFiles(source, id), vault.VolumeLists(source, id)} {
		if err := s.Vault.DeleteAll(ctx, prefix); err != nil {
			return err
		}
	}
	if err := s.Vault.DeleteKeys(ctx, []vault.Key{vault.Manifest(source, id), vault.Seal(source, id), vault.MAC(source, id)}); err != nil {
		return err
	}
	if err := s.alone(ctx, source, holder, func() error {
		var gone error
		if holder != id { // tidy leaves the uploads of a source that another run holds
			gone = s.Vault.AbortAll(ctx, vault.Packs(source))
		}
		return errors.Join(gone, retention.Free(ctx, s.Vault, source, id, s.Now()))
	}); err != nil {
		s.Log.Info("what the failed run packed could not be freed", "error", err)
	}
	return s.tidy(ctx, events.Run{Source: source, ID: id})
}

// Reason reads what a state machine caught: an error's name, and as its cause the JSON {"errorMessage": …} of a
// function's answer. A hint, if there is one, follows the message on a line of its own (see Boundary).
func Reason(caught *events.Error) *failure.Error {
	if caught == nil {
		return failure.New(failure.Internal, "no reason was given")
	}
	kind, known := failure.KindOfName(caught.Error)
	message := caught.Cause
	var cause struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal([]byte(caught.Cause), &cause) == nil && cause.Message != "" {
		message = cause.Message
	}
	message, hint, _ := strings.Cut(message, hintLine)
	if !known {
		message = caught.Error + ": " + message
	}
	return failure.New(kind, "%s", message).WithHint("%s", hint)
}
