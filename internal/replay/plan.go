package replay

import (
	"context"
	"iter"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/lines"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// planFile says what the plan rests on.
type planFile struct {
	State   string `json:"state"`          // of what was checked: another state is another archive
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

	passing int64 // bytes of the units that no store copies

	proof *proof // what was proven before, and is now

	unwritten restore.Result // entries whose names the target cannot have

	signature manifest.Authenticity // as the last look at the seal found it
}

// end closes what the planner itself has opened.
func (p *planner) end() {
	p.place.Close()
	if p.spare != nil {
		p.spare.end()
	}
}

// reopen opens the place for what the check has found the archive to be, if that is something else than it seemed.
func (p *planner) reopen(ctx context.Context) error {
	b, r := p.subject, p.restore
	if p.spare == nil && b.about.Kind == p.file.Kind {
		return nil
	}
	p.file.Kind = b.about.Kind
	place, err := p.steps.Targets.Open(ctx, r.ID, r.To, b.about, r.Wishes)
	if err != nil {
		return err
	}
	p.place.Close()
	p.place = place
	return nil
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
		Wishes: r.Wishes, Notes: s.notesOf(r), Working: s.add,
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

// How much a batch has at most: of bytes that pass through a process, of which those that a store copies count little;
// of entries; and of the plan, which a process holds in memory.
var (
	batchBytes int64 = 2 << 30
	batchItems int64 = 20_000
	batchPlan  int64 = 16 << 20
)

const (
	copyShare  = 64
	fewBatches = 40
	fewBytes   = 160 << 30 // that pass through the process: each call of an inline Map adds to the workflow's own history
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
	if to == nil {
		err = p.look(ctx)
	}
	if err != nil {
		return events.Plan{}, err
	}
	p.file.State = p.subject.state()
	p.file.Batches = len(batches)
	if _, err := s.Vault.PutJSON(ctx, vault.RestoreWork(r.ID, "plan/plan.json"), p.file, vault.Always()); err != nil {
		return events.Plan{}, err
	}
	plan := events.Plan{Few: []events.Batch{}, Bucket: s.Vault.Bucket()}
	if len(batches) <= fewBatches && p.passing <= fewBytes {
		plan.Few = append(plan.Few, batches...)
		return plan, nil
	}
	list := vault.RestoreWork(r.ID, "plan/batches.jsonl")
	plan.Many, plan.List, plan.Results = true, string(list), string(vault.RestoreWork(r.ID, "results"))
	out := s.Vault.NewWriter(ctx, list, vault.Always())
	for _, b := range batches {
		if _, err := lines.Write(out, b); err != nil {
			out.Abort()
			return plan, err
		}
	}
	return plan, out.Close()
}

// look asks of every entry whether it is wanted, where no plan does.
func (p *planner) look(ctx context.Context) error {
	for e, err := range p.subject.entries(ctx) {
		if err != nil {
			return err
		}
		if !chosen(p.restore, p.only, e) {
			p.file.LeftOut++
		}
	}
	return nil
}

// units writes the units of the plan, and returns their batches.
func (p *planner) units(ctx context.Context, to restore.Destination) ([]events.Batch, error) {
	out := p.steps.Vault.NewWriter(ctx, vault.RestoreWork(p.restore.ID, "plan/units.jsonl"), vault.Always())
	var batches []events.Batch
	var written, begun, weight, items int64 // of the plan's bytes, and of the batch
	end := func() {
		if items > 0 {
			batches = append(batches, events.Batch{Batch: len(batches), Offset: begun, Length: written - begun})
		}
		begun, weight, items = written, 0, 0
	}
	folders := map[string]string{}
	for u, err := range to.Plan(p.counting(p.subject.entries(ctx), to)) {
		if err == nil {
			n := 0
			n, err = lines.Write(out, u)
			written += int64(n)
		}
		for _, i := range u.Items {
			if i.Entry.Dir() {
				folders[i.Entry.Path] = i.Key
			}
		}
		if err != nil {
			out.Abort()
			return nil, err
		}
		if u.Copy {
			weight += u.Length / copyShare
		} else {
			weight, p.passing = weight+u.Length, p.passing+u.Length
		}
		items += int64(len(u.Items))
		if weight >= batchBytes || items >= batchItems || written-begun >= batchPlan {
			end()
		}
	}
	end()
	if err := out.Close(); err != nil {
		return nil, err
	}
	if err := p.steps.putList(ctx, p.restore.ID, "plan/folders.jsonl", folders); err != nil {
		return nil, err
	}
	p.unwritten = to.Result()
	return batches, p.steps.found(ctx, p.restore.ID, "plan", p.unwritten)
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
