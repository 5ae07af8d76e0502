package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// check proves what is restored, asks the target what a replay would do, and plans the work. Nothing is written to the
// target before it has ended well.
func (s *Steps) check(ctx context.Context, r events.Restore, _ *events.Checked) (events.Checked, done, error) {
	b, err := s.open(ctx, r, fromPacks)
	use := fromPacks
	if err != nil && r.From.Backup != "" && failure.KindOf(err) == failure.Corrupt {
		use = fromArchive
		var archived error
		if b, archived = s.open(ctx, r, use); archived != nil {
			return events.Checked{}, done{}, err
		}
	}
	if err != nil && use == fromPacks {
		return events.Checked{}, done{}, err
	}
	defer b.end()
	only, err := files.ParseGlobs(r.Only)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	signature, all, err := b.signature(ctx, s.Trusted)
	if err != nil {
		return events.Checked{}, done{}, wrong(b, err)
	}
	if err := mayRestore(b, signature, r); err != nil {
		return events.Checked{}, done{}, err
	}
	place, err := s.Targets.Open(ctx, r.ID, r.To, b.about, r.Wishes)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	defer place.Close()
	undo, err := s.ready(ctx, r, place) // what it refuses is said now, not after an hour of checking
	if err != nil {
		return events.Checked{}, done{}, err
	}
	answer, d, err := s.proven(ctx, r, b, place, only, use, signature, all)
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
func (s *Steps) began(ctx context.Context, r events.Restore) (began bool, err error) {
	_, err = notes{s.Vault, r.ID}.Get(ctx, noteBegan, &began)
	return began, err
}

// proven proves the backup and plans its restore.
func (s *Steps) proven(ctx context.Context, r events.Restore, b *subject, place Place, only *files.Globs, use string, signature manifest.Authenticity, all amount) (events.Checked, done, error) {
	p := &planner{steps: s, restore: r, subject: b, place: place, only: only, file: planFile{Use: use}}
	defer func() {
		if p.spare != nil {
			p.spare.end()
		}
	}()
	if err := s.prove(ctx, p, all); err != nil {
		return events.Checked{}, done{}, err
	}
	if b = p.subject; b.split() {
		signature = p.signature
		if err := mayRestore(b, signature, r); err != nil {
			return events.Checked{}, done{}, err
		}
	}
	if err := p.forecast(ctx); err != nil {
		return events.Checked{}, done{}, err
	}
	plan, err := p.write(ctx)
	if err != nil {
		return events.Checked{}, done{}, err
	}
	if unused := only.Unused(); len(unused) > 0 {
		return events.Checked{}, done{}, failure.New(failure.NotFound, "nothing in the backup matches --only %s", unused[0]).
			WithHint("`lifeboat files` lists the paths; a pattern starts at the first of their folders")
	}
	if err := s.checked(ctx, r, b, signature, p); err != nil {
		return events.Checked{}, done{}, err
	}
	d := done{all.entries, all.bytes, fmt.Sprintf("%s, %s; %s to be written, %s", checkWords[r.Check], signature, plain.Number(p.file.Items), plain.Size(p.file.Bytes))}
	return events.Checked{Done: true, Offset: all.entries, Stop: r.DryRun, Plan: plan}, d, nil
}

var checkWords = map[string]string{CheckFull: "every byte matches", CheckStored: "the stored checksums match"}

// wrong names what cannot be read.
func wrong(b *subject, err error) error {
	if failure.KindOf(err) == failure.Corrupt {
		return failure.New(failure.Corrupt, "%s is damaged: %w", b.name, err).WithHint("nothing was written; restore another backup")
	}
	return err
}

// mayRestore refuses what nobody signed whose key is known here, where it is to be brought into an application.
func mayRestore(b *subject, signature manifest.Authenticity, r events.Restore) error {
	application := r.To.Target != ""
	switch {
	case signature == manifest.Authenticated, r.Trust, r.To.Drill:
		return nil
	case b.about.Kind == "linkding" && b.foreign != nil && !application: // its own check proves it
		return nil
	case b.foreign != nil:
		what := "an archive of another program"
		if b.foreign.Kind != "" {
			what = b.foreign.Why
		}
		return failure.New(failure.Denied, "%s is not lifeboat's: nobody signed it (%s)", b.name, what).
			WithHint("if you know where it is from, add --trust")
	case application:
		return failure.New(failure.Denied, "nobody whose key is known here signed %s (%s)", b.name, signature).
			WithHint("if you know where it is from, add --trust; `lifeboat key import` makes a key known")
	}
	return nil
}

// prove checks every byte, or what the store says of them. Where packs are damaged and the archive in the vault is
// whole, the backup is read from there from then on.
func (s *Steps) prove(ctx context.Context, p *planner, all amount) error {
	b, r := p.subject, p.restore
	if b.foreign != nil {
		s.phase("check", all.entries, all.bytes)
		err := b.foreign.Check(ctx, s.add)
		b.learn()
		p.file.Kind = b.foreign.Kind
		return err
	}
	report, err := s.verified(ctx, r, b, p.file.Use, all)
	if err != nil {
		return err
	}
	p.signature = report.Signature
	if report.OK {
		return nil
	}
	if r.From.Backup != "" && p.file.Use == fromPacks && r.Check == CheckFull {
		archive, err := s.open(ctx, r, fromArchive)
		if err == nil {
			again, err := s.verified(ctx, r, archive, fromArchive, all)
			if err == nil && again.OK && again.Header.Backup == b.record.ID {
				p.spare, p.subject, p.file.Use = archive, archive, fromArchive
				return nil
			}
			archive.end()
		}
	}
	return s.damaged(ctx, r, b, report)
}

func (s *Steps) verified(ctx context.Context, r events.Restore, b *subject, use string, all amount) (verify.Report, error) {
	if r.Check == CheckStored && use == fromPacks {
		s.phase("check", 0, 0)
		return restore.Stored(ctx, s.Vault, b.pool, b.image, s.Trusted, s.add)
	}
	s.phase("check", all.entries, all.bytes)
	return verify.Whole(ctx, b.image, verify.Options{Trusted: s.Trusted, Progress: s.add})
}

// damaged writes into the record what is wrong with the backup.
func (s *Steps) damaged(ctx context.Context, r events.Restore, b *subject, report verify.Report) error {
	_, err := s.update(ctx, r.ID, func(record *catalog.Restore) {
		record.Problems, record.ProblemsTotal = nil, 0
		for _, f := range report.Problems {
			record.Add(f)
		}
		record.ProblemsTotal = report.Total
	})
	first := "what it says of itself is not true"
	if len(report.Problems) > 0 {
		first = fmt.Sprintf("%s: %s", plain.Text(report.Problems[0].Item), report.Problems[0].Message)
	}
	return errors.Join(failure.New(failure.Corrupt, "%s is damaged, %d %s, and nothing was written; the first: %s", b.name, report.Total, problems(report.Total), first).
		WithHint("restore another backup; `lifeboat verify` says all that is wrong with this one"), err)
}

func problems(n int) string {
	if n == 1 {
		return "problem"
	}
	return "problems"
}

// planFile says what the plan rests on.
type planFile struct {
	Kind    string `json:"kind,omitempty"` // of an archive of another program, as its check has found it
	Use     string `json:"use"`            // where a backup in the vault is read from
	Items   int64  `json:"items"`          // that go to the target's files
	Bytes   int64  `json:"bytes"`          // of them
	LeftOut int64  `json:"left_out"`       // entries that were not chosen
	Batches int    `json:"batches"`
}

// planner divides the work.
type planner struct {
	steps   *Steps
	restore events.Restore
	subject *subject
	spare   *subject // the archive, where it is read instead of the packs
	place   Place
	only    *files.Globs
	file    planFile
	cast    *app.Forecast

	signature manifest.Authenticity // as the check of all bytes found it
}

// chosen reports whether an entry is to be restored at all.
func chosen(r events.Restore, only *files.Globs, e manifest.Entry) bool {
	if e.Document && !r.Wishes.Documents || !e.Document && !r.Wishes.Objects {
		return false
	}
	return only.Match(e.Path)
}

// forecast asks an application what the replay would do.
func (p *planner) forecast(ctx context.Context) error {
	if p.place.App == nil {
		return nil
	}
	p.steps.phase("preflight", 0, 0)
	cast, err := p.place.App.Preflight(ctx, p.steps.replayOf(p.restore, p.subject, p.only))
	if err == nil {
		p.cast = &cast
	}
	return err
}

// replayOf is the backup as the target of a restore sees it.
func (s *Steps) replayOf(r events.Restore, b *subject, only *files.Globs) *app.Replay {
	return &app.Replay{
		ID: string(r.ID), Kind: b.about.Kind, Folder: b.about.Folder, Facts: b.about.Facts, Open: b.content,
		Items: func(ctx context.Context) iter.Seq2[app.Item, error] {
			return func(yield func(app.Item, error) bool) {
				for e, err := range b.entries(ctx) {
					if !yield(item(e, chosen(r, only, e)), err) || err != nil {
						return
					}
				}
			}
		},
		Wishes: r.Wishes, Notes: notes{s.Vault, r.ID}, Working: s.add,
	}
}

// destination opens where the files go; nil where none go anywhere by themselves.
func (s *Steps) destination(ctx context.Context, r events.Restore, b *subject, place Place, name func(manifest.Entry) (string, bool), only *files.Globs) (restore.Destination, error) {
	if place.Put == nil {
		return nil, nil
	}
	began, err := s.began(ctx, r)
	if err != nil {
		return nil, err
	}
	wants := func(e manifest.Entry) bool { return chosen(r, only, e) }
	d, err := place.Put(ctx, Files{Name: name, Wants: wants, Existing: began || r.To.Existing, Progress: s.add})
	if err == nil {
		d.From(b.bytes())
	}
	return d, err
}

// name says which names an application wants its files to have; nil where they go as they are.
func (p *planner) name() func(manifest.Entry) (string, bool) {
	if p.cast == nil || p.cast.Place == nil {
		return nil
	}
	return func(e manifest.Entry) (string, bool) { return p.cast.Place(item(e, chosen(p.restore, p.only, e))) }
}

// noteBegan remembers that this restore has begun to write: what its folder holds may be its own.
const noteBegan = "began"

// How much a batch has at most: of bytes that pass through a process, of which those that a store copies count little,
// and of entries.
const (
	batchBytes = 2 << 30
	batchItems = 20_000
	copyShare  = 64
	fewBatches = 40
)

// write divides what goes to the target's files into batches and stores the plan.
func (p *planner) write(ctx context.Context) (events.Plan, error) {
	s, r := p.steps, p.restore
	to, err := s.destination(ctx, r, p.subject, p.place, p.name(), p.only)
	if err != nil {
		return events.Plan{}, err
	}
	var batches []events.Batch
	if to != nil {
		defer to.Close()
		s.phase("plan", 0, 0)
		if batches, err = p.units(ctx, to); err != nil {
			return events.Plan{}, err
		}
	}
	p.file.Batches = len(batches)
	if _, err := s.Vault.PutJSON(ctx, workKey(r.ID, "plan/plan.json"), p.file, vault.Always()); err != nil {
		return events.Plan{}, err
	}
	plan := events.Plan{Few: []events.Batch{}, Bucket: s.Vault.Bucket()}
	if len(batches) <= fewBatches {
		plan.Few = append(plan.Few, batches...)
		return plan, nil
	}
	list := workKey(r.ID, "plan/batches.jsonl")
	plan.Many, plan.List = true, string(list)
	out := s.Vault.NewWriter(ctx, list, vault.Always())
	for _, b := range batches {
		if err := writeLine(out, b); err != nil {
			out.Abort()
			return plan, err
		}
	}
	return plan, out.Close()
}

// units writes the units of the plan, and returns their batches.
func (p *planner) units(ctx context.Context, to restore.Destination) ([]events.Batch, error) {
	out := &counted{w: p.steps.Vault.NewWriter(ctx, workKey(p.restore.ID, "plan/units.jsonl"), vault.Always())}
	var batches []events.Batch
	var weight, items int64
	begun := int64(0)
	end := func() {
		if items > 0 {
			batches = append(batches, events.Batch{Batch: len(batches), Offset: begun, Length: out.n - begun})
		}
		begun, weight, items = out.n, 0, 0
	}
	folders := map[string]string{}
	for u, err := range to.Plan(p.counting(p.subject.entries(ctx), to)) {
		if err == nil {
			err = writeLine(out, u)
		}
		for _, i := range u.Items {
			if i.Entry.Dir() {
				folders[i.Entry.Path] = i.Key
			}
		}
		if err != nil {
			out.w.Abort()
			return nil, err
		}
		if u.Copy {
			weight += u.Length / copyShare
		} else {
			weight += u.Length
		}
		items += int64(len(u.Items))
		if weight >= batchBytes || items >= batchItems {
			end()
		}
	}
	end()
	if err := out.w.Close(); err != nil {
		return nil, err
	}
	if err := p.steps.putList(ctx, p.restore.ID, "plan/folders.jsonl", folders); err != nil {
		return nil, err
	}
	return batches, p.steps.found(ctx, p.restore.ID, "plan", to.Result()) // names that can't be written
}

// counting counts what is wanted of the entries that pass.
func (p *planner) counting(entries iter.Seq2[manifest.Entry, error], to restore.Destination) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for e, err := range entries {
			if err == nil {
				if to.Wants(e) {
					p.file.Items, p.file.Bytes = p.file.Items+1, p.file.Bytes+e.Size
				} else {
					p.file.LeftOut++
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Kinds of notes that concern a restore as a whole.
const (
	NoteArchive   = "archive"   // the archive was restored instead of the packs
	NoteSignature = "signature" // nobody whose key is known signed it
)

// checked writes into the record what the check has shown. A dry run ends with it.
func (s *Steps) checked(ctx context.Context, r events.Restore, b *subject, signature manifest.Authenticity, p *planner) error {
	_, err := s.update(ctx, r.ID, func(record *catalog.Restore) {
		record.Kind, record.Signature, record.Forecast = b.about.Kind, string(signature), p.cast
		record.From, record.Signer = b.origin(record.From), b.signer()
		record.Put.LeftOut = int(p.file.LeftOut)
		record.Notes, record.Problems, record.NotesTotal, record.ProblemsTotal = nil, nil, 0, 0
		if p.file.Use == fromArchive {
			record.Add(app.Finding{Severity: app.Note, Kind: NoteArchive, Item: string(b.record.ID), Message: "packs of this backup are damaged; its archive in the vault is whole and is restored instead"})
		}
		if signature != manifest.Authenticated {
			record.Add(app.Finding{Severity: app.Note, Kind: NoteSignature, Item: b.name, Message: fmt.Sprintf("nobody whose key is known here signed it (%s): look at it before you use it", signature)})
		}
		if b.foreign != nil {
			for _, f := range b.foreign.Findings {
				record.Add(f)
			}
		}
		if p.cast != nil {
			for _, f := range p.cast.Findings {
				record.Add(f)
			}
		}
		if r.DryRun {
			record.Status, record.Finished = end(*record), s.Now().UTC()
		}
	})
	if err != nil {
		return err
	}
	if r.DryRun {
		return s.free(ctx, r)
	}
	return notes{s.Vault, r.ID}.Put(ctx, noteBegan, true)
}
