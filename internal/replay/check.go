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
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
)

// check proves what is restored, asks the target what a replay would do, and plans the work. Nothing is written to the
// target before it has ended well. What does not fit into one call goes on in the next one: see proof.go.
func (s *Steps) check(ctx context.Context, r events.Restore) (events.Checked, done, error) {
	if record, over, err := s.ended(ctx, r); err != nil {
		return events.Checked{}, done{}, err
	} else if over {
		err = errors.Join(s.reread(ctx, r, record), s.tidy(ctx, r))
		return events.Checked{Done: true, Stop: true, Plan: noPlan()}, done{over: true}, err
	}
	working, limit := s.limited(ctx)
	defer limit.stop()
	p, err := s.proofSoFar(ctx, r, limit)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	answer, d, err := s.prepared(working, r, p)
	switch {
	case err == nil:
	case limit.paused(ctx, working):
		return s.pause(ctx, p)
	default:
		err = errors.Join(err, p.keep(ctx)) // another attempt of this call goes on with it
	}
	if kind := failure.KindOf(err); err != nil && (kind == failure.Corrupt || kind == failure.Invalid) {
		err = errors.Join(err, s.forget(ctx, r)) // or the next attempt would find the same again
	}
	return answer, d, err
}

// ended reports whether an earlier call of a dry run has closed its record and was not heard, or has failed behind that.
func (s *Steps) ended(ctx context.Context, r events.Restore) (record catalog.Restore, over bool, err error) {
	if !r.DryRun {
		return record, false, nil
	}
	record, err = s.catalog().Restore(ctx, r.ID)
	return record, err == nil && record.Status.Good(), err
}

func noPlan() events.Plan { return events.Plan{Few: []events.Batch{}} }

func (s *Steps) prepared(ctx context.Context, r events.Restore, known *proof) (events.Checked, done, error) {
	only, err := files.ParseGlobs(r.Only)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	b, use, signature, all, err := s.signed(ctx, r)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	defer b.end()
	if err := mayRestore(b, signature, r); err != nil {
		return events.Checked{}, done{}, err
	}
	place, err := s.Targets.Open(ctx, r.ID, r.To, b.about, r.Wishes)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	p := &planner{steps: s, restore: r, subject: b, place: place, only: only, file: planFile{Use: use, Kind: b.about.Kind}, signature: signature, proof: known}
	defer p.end()
	if err := s.nameFree(ctx, r); err != nil { // what is refused is said now, not after an hour of checking
		return events.Checked{}, done{}, err
	}
	undo, err := s.ready(ctx, r, place)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	answer, d, err := s.proven(ctx, p, all)
	if err != nil || r.DryRun {
		undo()
	}
	return answer, d, err
}

// ready asks a place whether files could be put.
func (s *Steps) ready(ctx context.Context, r events.Restore, place Place) (undo func(), err error) {
	if place.Ready == nil {
		return func() {}, nil
	}
	began, err := s.began(ctx, r)
	if err != nil {
		return nil, err
	}
	return place.Ready(began || r.To.Existing)
}

// began reports whether an earlier attempt of this restore has begun to write: what its folder holds may be its own.
func (s *Steps) began(ctx context.Context, r events.Restore) (bool, error) {
	where := ""
	there, err := s.notesOf(r).Get(ctx, noteBegan, &where)
	return there && where == s.machine(), err
}

// proven proves the backup and plans its restore.
func (s *Steps) proven(ctx context.Context, p *planner, all amount) (events.Checked, done, error) {
	r := p.restore
	if err := s.prove(ctx, p, all); err != nil {
		return events.Checked{}, done{}, err
	}
	if p.proof.late() {
		p.proof.limit.stop() // the rest gets a call of its own
		return events.Checked{}, done{}, errPause
	}
	if err := mayRestore(p.subject, p.signature, r); err != nil { // the check may have found another kind, or other signers
		return events.Checked{}, done{}, err
	}
	if err := s.sameContent(ctx, r, p.subject); err != nil {
		return events.Checked{}, done{}, err
	}
	if err := p.reopen(ctx); err != nil {
		return events.Checked{}, done{}, err
	}
	if err := p.forecast(ctx); err != nil {
		return events.Checked{}, done{}, err
	}
	plan, err := p.write(ctx)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	if unused := p.only.Unused(); len(unused) > 0 {
		return events.Checked{}, done{}, failure.New(failure.NotFound, "nothing in the backup matches --only %s", unused[0]).
			WithHint("`lifeboat files` lists the paths; a pattern starts at the first of their folders")
	}
	if err := s.checked(ctx, p); err != nil {
		return events.Checked{}, done{}, err
	}
	words := checkWords[r.Check]
	if p.file.Use == fromArchive {
		words = checkWords[CheckFull]
	}
	shown := p.proof.Shown
	d := done{all.entries - shown.Entries, all.bytes - shown.Bytes, fmt.Sprintf("%s, %s; %s to be written, %s", words, p.signature, plain.Number(p.file.Items), plain.Size(p.file.Bytes)), r.DryRun}
	return events.Checked{Done: true, Offset: all.entries, Stop: r.DryRun, Plan: plan}, d, nil
}

var checkWords = map[string]string{CheckFull: "every byte matches", CheckStored: "the stored checksums match"}

// Kinds of notes that concern a restore as a whole.
const (
	NoteArchive   = "archive"   // the archive was restored instead of the packs
	NoteSignature = "signature" // nobody whose key is known signed it
	NotePassed    = "passed"    // "latest" might have meant this backup
)

// checked writes into the record what the check has shown. A dry run ends with it.
func (s *Steps) checked(ctx context.Context, p *planner) error {
	r, b := p.restore, p.subject
	record, err := s.update(ctx, r.ID, func(record *catalog.Restore) {
		record.Kind, record.Signature, record.Forecast = b.about.Kind, string(p.signature), p.cast
		record.From, record.Signer = b.origin(record.From), b.signer()
		record.Put.LeftOut = int(p.file.LeftOut)
		record.Notes, record.Problems, record.NotesTotal, record.ProblemsTotal = nil, nil, 0, 0
		for _, f := range p.findings() {
			record.Add(f)
		}
		if r.DryRun { // what can't be written, too: no other step will say it
			for _, f := range p.unwritten.Problems {
				record.Add(f)
			}
			record.ProblemsTotal += p.unwritten.Total - len(p.unwritten.Problems)
			record.Status, record.Finished = end(*record), s.Now().UTC()
		}
	})
	if err != nil {
		return err
	}
	if r.DryRun {
		return errors.Join(s.reread(ctx, r, record), s.tidy(ctx, r))
	}
	return notes{s.Vault, r.ID}.Put(ctx, noteBegan, s.machine())
}

// reread keeps in the record of a backup what the dry run of a drill has proven: that every byte is there. Drills on one
// machine say nothing but what they have restored.
func (s *Steps) reread(ctx context.Context, r events.Restore, record catalog.Restore) error {
	archived := slices.ContainsFunc(record.Notes, func(f app.Finding) bool { return f.Kind == NoteArchive })
	if !r.To.Drill || s.Local && r.To.ThrowAway() || r.Check != CheckFull || r.From.Backup == "" || archived || record.Signature != string(manifest.Authenticated) {
		return nil
	}
	_, err := s.catalog().Update(ctx, record.From.Source, record.From.Backup, func(b *catalog.Record) error {
		if backup.ReRead.Better(b.Proof) {
			b.Proof = backup.ReRead
		}
		if record.Finished.After(b.Proven) {
			b.Proven = record.Finished
		}
		return nil
	})
	return err
}

// findings are what is to be said of a restore before its first write.
func (p *planner) findings() []app.Finding {
	var all []app.Finding
	b := p.subject
	for _, over := range p.restore.Passed {
		severity, may := app.Note, ""
		if over.Unreadable() && p.restore.To.Drill { // it proves the newest backup, or it says that it may not have
			severity, may = app.Problem, ", and it may be the newest"
		}
		all = append(all, app.Finding{Severity: severity, Kind: NotePassed, Item: string(over.Backup), Message: fmt.Sprintf("%s%s: %s is restored in its place", over.Why, may, b.id)})
	}
	if p.file.Use == fromArchive {
		all = append(all, app.Finding{Severity: app.Note, Kind: NoteArchive, Item: string(b.record.ID), Message: "packs of this backup are damaged; its archive in the vault is whole and is restored instead"})
	}
	if p.signature != manifest.Authenticated {
		all = append(all, app.Finding{Severity: app.Note, Kind: NoteSignature, Item: b.name, Message: fmt.Sprintf("nobody whose key is known here signed it (%s): look at it before you use it", p.signature)})
	}
	if b.foreign != nil {
		all = append(all, b.foreign.Findings...)
	}
	if p.cast != nil {
		all = append(all, p.cast.Findings...)
	}
	return all
}
