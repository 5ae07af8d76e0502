package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// confirm looks at the target again, and closes the record. Where an earlier call has closed it and was not heard, what
// it needed is gone already, and what it left is done.
func (s *Steps) confirm(ctx context.Context, r events.Restore) (events.Confirmed, done, error) {
	record, err := s.catalog().Restore(ctx, r.ID)
	if err != nil {
		return events.Confirmed{}, done{}, err
	}
	d := done{over: true}
	if !record.Status.Good() {
		if record, d, err = s.compared(ctx, r); err != nil {
			return events.Confirmed{}, done{}, err
		}
	}
	err = s.drilled(ctx, record)
	return events.Confirmed{Status: record.Status}, d, errors.Join(err, s.tidy(ctx, r))
}

// compared finishes the files, looks at the target and closes the record.
func (s *Steps) compared(ctx context.Context, r events.Restore) (catalog.Restore, done, error) {
	b, place, only, err := s.reopen(ctx, r)
	if err != nil {
		return catalog.Restore{}, done{}, err
	}
	defer b.end()
	defer place.Close()
	s.phase("confirm", 0, 0)
	if err := s.finish(ctx, r, b, place, only); err != nil {
		return catalog.Restore{}, done{}, err
	}
	sum, err := s.results(ctx, r.ID)
	if err != nil {
		return catalog.Restore{}, done{}, err
	}
	var seen *app.Confirmation
	if place.App != nil {
		confirmation, err := place.App.Confirm(ctx, s.replayOf(r, b, only))
		if err != nil {
			return catalog.Restore{}, done{}, err
		}
		seen = &confirmation
	}
	record, err := s.close(ctx, r, sum, seen)
	d := done{message: fmt.Sprintf("%s; %s of files written", record.Status, plain.Size(sum.Bytes)), over: true}
	return record, d, err
}

// finish gives folders their times and modes, under the names that the plan gave them.
func (s *Steps) finish(ctx context.Context, r events.Restore, b *subject, place Place, only *files.Globs) error {
	folders, err := s.list(ctx, r.ID, "plan/folders.jsonl")
	if err != nil {
		return err
	}
	name := func(e manifest.Entry) (string, bool) {
		key, ok := folders[e.Path]
		return key, ok
	}
	to, err := s.destination(ctx, r, b, place, name, only)
	if err != nil || to == nil {
		return err
	}
	err = to.Finish(ctx, b.entries(ctx))
	return errors.Join(err, s.found(ctx, r.ID, "finish", to.Result()), to.Close())
}

// close writes into the record how the restore ended.
func (s *Steps) close(ctx context.Context, r events.Restore, sum restore.Result, seen *app.Confirmation) (catalog.Restore, error) {
	if r.Wishes.Name != "" {
		target, err := s.Targets.Name(r.To)
		if err == nil {
			err = s.catalog().TakeName(ctx, target, r.Wishes.Name, r.ID)
		}
		if err != nil {
			return catalog.Restore{}, err
		}
	}
	return s.update(ctx, r.ID, func(record *catalog.Restore) {
		if record.Status != backup.InProgress {
			return // an earlier call has closed it
		}
		record.Put = putOf(sum, record.Put.LeftOut)
		for _, f := range sum.Problems {
			record.Add(f)
		}
		record.ProblemsTotal += sum.Total - len(sum.Problems)
		record.Confirmation = seen
		if seen != nil {
			for _, f := range seen.Findings {
				if !hasFinding(record, f) {
					record.Add(f)
				}
			}
		}
		record.Status, record.Finished = end(*record), s.Now().UTC()
	})
}

func putOf(sum restore.Result, left int) catalog.Put {
	return catalog.Put{
		Written: sum.Written, Folders: sum.Folders, Existing: sum.Existing, LeftOut: left, Bytes: sum.Bytes,
		Spliced: sum.Spliced, SplicedBytes: sum.SplicedBytes, Streams: sum.Streams,
	}
}

// hasFinding reports whether the forecast has said the same of the same thing.
func hasFinding(record *catalog.Restore, f app.Finding) bool {
	if record.Forecast == nil {
		return false
	}
	for _, g := range record.Forecast.Findings {
		if g.Severity == f.Severity && g.Kind == f.Kind && g.Item == f.Item && (f.Severity == app.Note || g.Message == f.Message) {
			return true
		}
	}
	return false
}

func end(record catalog.Restore) backup.Status {
	if record.ProblemsTotal > 0 {
		return backup.Partial
	}
	return backup.Completed
}

// Proves reports whether a restore proves its backup: a drill of all of it, from its packs, signed with a known key, whose
// target was looked at, lacked nothing, and held nothing that is other than in the backup, for whatever reason.
func Proves(record catalog.Restore) bool {
	from := record.From
	archived := slices.ContainsFunc(record.Notes, func(f app.Finding) bool { return f.Kind == NoteArchive })
	seen := record.Confirmation
	asserted := seen != nil && len(seen.Asserted) > 0 && seen.Differs == 0 && anything(record.Put, seen.Counts)
	return record.Drill && record.Status == backup.Completed && from.Backup != "" && from.File == "" && from.URL == "" &&
		!archived && record.Part == "" && len(record.Only) == 0 && asserted && record.Signature == string(manifest.Authenticated)
}

// anything reports whether there was something to restore.
func anything(put catalog.Put, counts []app.Count) bool {
	return put.Written+put.Existing > 0 || slices.ContainsFunc(counts, func(c app.Count) bool { return c.Backup > 0 })
}

// drilled writes into the record of a backup that it was restored and asserted, as of when the target was looked at.
func (s *Steps) drilled(ctx context.Context, record catalog.Restore) error {
	if !Proves(record) {
		return nil
	}
	_, err := s.catalog().Update(ctx, record.From.Source, record.From.Backup, func(b *catalog.Record) error {
		b.Proof = backup.Drilled
		if record.Finished.After(b.Drilled) { // a call that is repeated looks at nothing again
			b.Drilled = record.Finished
		}
		if record.Finished.After(b.Proven) {
			b.Proven = record.Finished
		}
		return nil
	})
	return err
}

// tidy removes what only the restore needed. What the target remembers stays.
func (s *Steps) tidy(ctx context.Context, r events.Restore) error {
	if err := s.unknow(ctx, r); err != nil {
		return err
	}
	if r.To.ThrowAway() || r.DryRun { // there is nothing to remember
		var err error
		if !r.DryRun {
			err = s.throwAway(ctx, r)
		}
		return errors.Join(err, s.Vault.DeleteAll(ctx, vault.RestoreFolder(r.ID)), s.forget(ctx, r))
	}
	return errors.Join(s.clear(ctx, r.ID), s.forget(ctx, r), s.forgetURL(ctx, r))
}
