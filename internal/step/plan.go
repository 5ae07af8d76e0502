package step

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lines"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

const (
	// fewBatches is how many batches the inline Map takes (its limit is 40 children at a time).
	fewBatches = 40
	// fewBytes is how much is read by then: a batch that takes many calls writes a history, which is the run's own there.
	fewBytes = 160 << 30
)

// planPacks compares the list of the snapshot with the last manifest of the scope and cuts what has to be read into
// batches. Its memory does not hold the objects, only a few bytes of each.
func (s *Steps) planPacks(ctx context.Context, w work) (events.Plan, error) {
	if err := s.renew(ctx, w.run); err != nil {
		return events.Plan{}, err
	}
	var snapshot snapshotFile
	if err := w.getJSON(ctx, "snapshot.json", &snapshot); err != nil {
		return events.Plan{}, err
	}
	if err := planFits(timeLeft(ctx), snapshot.Objects); err != nil {
		return events.Plan{}, err
	}
	record, err := s.catalog().Record(ctx, w.run.Source, w.run.ID)
	if err != nil {
		return events.Plan{}, err
	}
	last, earlier, unread, err := s.earlier(ctx, record)
	if err != nil {
		return events.Plan{}, err
	}
	file := planFile{Run: record, pieces: snapshot.pieces, Findings: append(suspicious(last, len(snapshot.Documents), snapshot.Objects), unread...)}
	if w.run.Rehash { // nothing that lies in the pool is trusted
		earlier = nil
	}
	out, err := s.beginPlan(ctx, w, snapshot.Objects)
	if err != nil {
		return events.Plan{}, err
	}
	err = s.divide(ctx, &file, out, snapshot, earlier, last)
	items, size := out.planner.Total()
	out.many = len(out.batches) > fewBatches || size > fewBytes
	if err := out.end(err); err != nil {
		return events.Plan{}, err
	}
	file.Batches, file.Packs = len(out.batches), len(out.packs)
	file.Findings = append(file.Findings, out.apart.findings()...)
	file.Moved, file.MovedBytes = out.planner.Moved()
	if err := w.putJSON(ctx, "plan.json", file); err != nil {
		return events.Plan{}, err
	}
	for _, d := range snapshot.Documents {
		items, size = items+1, size+d.Entry.StoredSize()
	}
	s.phase("pack", int64(items), size)
	answer := events.Plan{Bucket: s.Vault.Bucket(), List: string(w.key("batches.jsonl")), Results: string(w.key("results")), Few: []events.Batch{}}
	if answer.Many = out.many; !answer.Many {
		answer.Few = out.batches
	}
	return answer, nil
}

// divide shows the planner what the snapshot lists and what earlier backups have, and has it cut what is to be read.
func (s *Steps) divide(ctx context.Context, file *planFile, out *planned, snapshot snapshotFile, earlier []catalog.Record, own *catalog.Record) error {
	if err := out.work.objects(ctx, snapshot, func(o app.Object) error { out.planner.Expect(o); return nil }); err != nil {
		return err
	}
	if err := s.previous(ctx, file, out, earlier, own); err != nil {
		return err
	}
	if err := out.work.objects(ctx, snapshot, out.planner.Object); err != nil {
		return err
	}
	return out.planner.Finish(snapshot.Documents)
}

// splice returns from which size on the store copies the objects of a source by itself, 0 for none, and whether the
// source would rather be fast than cheap. It fills off where nobody but the source may copy.
func (s *Steps) splice(ctx context.Context, name backup.Source, off *apart) (floor int64, eager bool, err error) {
	policy, err := s.Sources.Policy(name)
	if err != nil || policy.Floor == 0 || s.Vault.EqualParts() || !s.Vault.TellsParts() {
		return 0, policy.Eager, err
	}
	source, _, err := s.Sources.Open(ctx, name)
	if err != nil {
		return 0, false, err
	}
	floor = max(policy.Floor, vault.MinPart)
	stored, ok := source.(app.Stored)
	if !ok {
		return 0, policy.Eager, nil
	}
	switch at, ok := anyOf(stored); {
	case !s.Vault.SameStore(at.Endpoint):
	case !ok:
		off.why, off.floor = at.Apart, floor
	default:
		return floor, policy.Eager, nil
	}
	return 0, policy.Eager, nil
}

// anyOf returns where the objects of a source lie, whatever they are called; false where nobody may copy them.
func anyOf(source app.Stored) (app.Location, bool) {
	return source.Located(app.Object{Key: "any", Path: "files/any", Identity: `"any":0:0`})
}

// objects reads the list of the snapshot.
func (w work) objects(ctx context.Context, snapshot snapshotFile, each func(app.Object) error) error {
	for o, err := range readAll[app.Object](ctx, w, snapshot.objects()) {
		if err == nil {
			err = each(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scopesReused is of how many scopes the last backup is looked through for what need not be packed again.
const scopesReused = 3

// earlier returns the last good backup of the run's scope, or nil, and those backups whose entries may be reused, the
// newest first: the last of the scopes that were used last, since packs are shared by all, and the run's own. unread says
// that the record of one which may be the last cannot be read: the run is compared with an older one, or with none. It is a
// note in the first run of a scope where a newer backup of another scope can be read.
func (s *Steps) earlier(ctx context.Context, record catalog.Record) (last *catalog.Record, earlier []catalog.Record, unread []app.Finding, err error) {
	before, err := s.catalog().Before(ctx, record.Source, record.Scope, record.Started)
	earlier = before.Each[:min(len(before.Each), scopesReused)]
	if before.Good != nil && !slices.ContainsFunc(earlier, func(r catalog.Record) bool { return r.ID == before.Good.ID }) {
		earlier = append(slices.Clone(earlier), *before.Good)
	}
	note := func(severity app.Severity, ids []backup.ID) {
		for _, id := range ids {
			unread = append(unread, app.Finding{
				Severity: severity, Kind: "previous", Item: string(id),
				Message: "the record of this earlier backup cannot be read: nothing was compared with it; run `lifeboat list`",
			})
		}
	}
	note(app.Problem, before.Unreadable)
	note(app.Note, before.Older)
	return before.Good, earlier, unread, err
}

// previous shows the planner the entries of earlier backups. A manifest that is damaged costs reading everything again
// and is a problem; trouble with the store is an error.
func (s *Steps) previous(ctx context.Context, file *planFile, out *planned, earlier []catalog.Record, own *catalog.Record) error {
	if len(earlier) == 0 {
		return nil
	}
	packs, err := pool.Open(ctx, s.Vault, out.work.run.Source)
	if err != nil {
		return err
	}
	for _, record := range earlier {
		severity := app.Note
		if own != nil && record.ID == own.ID {
			severity = app.Problem
		}
		found := func(format string, args ...any) {
			file.Findings = append(file.Findings, app.Finding{Severity: severity, Kind: "previous", Item: string(record.ID), Message: fmt.Sprintf(format, args...)})
		}
		whole, err := s.trusted(ctx, record)
		switch kind := failure.KindOf(err); {
		case err == nil:
		case kind == failure.Corrupt || kind == failure.NotFound || kind == failure.Invalid:
			found("the manifest of an earlier backup cannot be used (%v): what it has was read again; run `lifeboat verify %s`", err, record.ID)
			continue
		default:
			return err
		}
		file.Previous = append(file.Previous, record.ID)
		lost, err := s.show(ctx, out, packs, whole, record.Manifest.SHA256)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			found("packs of an earlier backup are gone or cut off (%s): what they held was read again; that backup can be restored as a whole only from its archive", strings.Join(lost, ", "))
		}
	}
	return nil
}

// show feeds the entries of a manifest to the planner, but for those whose packs are not in the pool as they should
// be. It returns these packs.
func (s *Steps) show(ctx context.Context, out *planned, packs *pool.Pool, open opener, digest string) (lost []string, err error) {
	m, body, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m.Trusted()
	for _, id := range m.PackOrder {
		if p := m.Packs[id]; packs.Has(p) {
			out.packs[id] = p
		} else {
			lost = append(lost, id)
		}
	}
	for e, err := range m.Entries() {
		if err != nil {
			return nil, err
		}
		in := m.Packs[e.Header.Pack]
		if e.Document || !packs.Has(in) || !packs.Has(m.Packs[e.Body().Pack]) {
			continue
		}
		if err := out.planner.Previous(e, in); err != nil {
			return nil, err
		}
	}
	if m.Digest() != digest { // it was another one when it was checked
		return nil, failure.New(failure.Corrupt, "the manifest of an earlier backup was changed while it was read")
	}
	return lost, out.planner.EndPrevious()
}

// opener opens a manifest that was read and found to be ours.
type opener func(ctx context.Context) (*manifest.Reader, io.Closer, error)

// trusted reads a manifest to its end and makes sure that it is the one that its record names and that it is signed by
// us, before any of its places is believed. One of moderate size is read from the store once.
func (s *Steps) trusted(ctx context.Context, record catalog.Record) (opener, error) {
	const moderate = 16 << 20 // bytes, compressed
	key := vault.Manifest(record.Source, record.ID)
	body, info, err := s.Vault.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	open := func(ctx context.Context) (*manifest.Reader, io.Closer, error) {
		return s.openManifest(ctx, record.Source, record.ID)
	}
	var source io.Reader = body
	if info.Size <= moderate {
		data, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		source = bytes.NewReader(data)
		open = func(context.Context) (*manifest.Reader, io.Closer, error) {
			m, err := manifest.Open(bytes.NewReader(data))
			return m, io.NopCloser(nil), err
		}
	}
	m, err := manifest.Open(source)
	if err != nil {
		return nil, err
	}
	if err := m.Skip(); err != nil {
		return nil, err
	}
	if m.Digest() != record.Manifest.SHA256 || m.Header.Backup != record.ID || m.Header.Source != record.Source {
		return nil, failure.New(failure.Corrupt, "it is not the one that its record names")
	}
	if err := s.signed(ctx, "it", vault.Seal(record.Source, record.ID), m, record.Manifest.Entries); err != nil {
		return nil, err
	}
	return open, s.catalog().Authentic(ctx, s.MAC, record, m.Digest(), record.Manifest.Entries)
}

// signed makes sure that a list of entries is ours, by its seal, before its places are trusted: a new signature must not
// cover what somebody put into the vault. what is how an error calls it.
func (s *Steps) signed(ctx context.Context, what string, key vault.Key, m *manifest.Reader, entries int) error {
	data, _, err := s.Vault.Get(ctx, key)
	if err != nil {
		return err
	}
	seal, err := manifest.ParseSeal(data)
	if err != nil {
		return err
	}
	authenticity, err := seal.Check(m, entries, s.Signer.Public().(ed25519.PublicKey))
	if err == nil && authenticity != manifest.Authenticated {
		err = failure.New(failure.Corrupt, "%s is not signed with the key of this vault (%s)", what, authenticity)
	}
	return err
}

// suspicious finds what a green must not hide: nothing to keep, or much less than last time.
func suspicious(last *catalog.Record, documents, objects int) []app.Finding {
	if last == nil {
		last = &catalog.Record{}
	}
	found := func(format string, args ...any) []app.Finding {
		return []app.Finding{{Severity: app.Problem, Kind: "suspicious", Message: fmt.Sprintf(format, args...)}}
	}
	switch lost := last.Objects - objects; {
	case documents == 0:
		return found("the source gave no documents at all")
	case lost > 20 && lost*2 > last.Objects:
		return found("there are %d objects, backup %s had %d: was something deleted, or is a folder not mounted?", objects, last.ID, last.Objects)
	}
	return nil
}

// planned writes a plan while it is made: plan.jsonl with the items of all batches, reused.jsonl with the entries that
// stay, and which packs these lie in.
type planned struct {
	ctx     context.Context
	work    work
	planner *pack.Planner
	items   *writer
	reused  *writer
	packs   map[string]manifest.Pack // of the earlier backups
	batches []events.Batch
	many    bool // they are for the Map of many
	groups  []group
	apart   apart
	offset  struct{ items, reused int64 }
}

// group is the entries of one pack in reused.jsonl.
type group struct {
	Pack   manifest.Pack `json:"pack"`
	Offset int64         `json:"offset"`
	Length int64         `json:"length"`
	Tally  tally         `json:"tally"`
}

func (s *Steps) beginPlan(ctx context.Context, w work, objects int) (*planned, error) {
	p := &planned{ctx: ctx, work: w, packs: map[string]manifest.Pack{}}
	p.planner = pack.NewPlanner(objects, pack.Output{Batch: p.batch, Reused: p.reuse})
	var err error
	if p.planner.Splice, p.planner.Eager, err = s.splice(ctx, w.run.Source, &p.apart); err != nil {
		return nil, err
	}
	p.items = w.create(ctx, w.key("plan.jsonl"), vault.Always())
	p.reused = w.create(ctx, w.key("reused.jsonl"), vault.Always())
	return p, nil
}

func (p *planned) batch(items []pack.Item) error {
	batch := events.Batch{Batch: len(p.batches), Offset: p.offset.items}
	for _, item := range items {
		p.apart.see(item)
		n, err := lines.Write(p.items, item)
		if err != nil {
			return err
		}
		p.offset.items += int64(n)
	}
	batch.Length = p.offset.items - batch.Offset
	p.batches = append(p.batches, batch)
	return nil
}

func (p *planned) reuse(e manifest.Entry) error {
	if n := len(p.groups); n == 0 || p.groups[n-1].Pack.ID != e.Header.Pack {
		p.groups = append(p.groups, group{Pack: p.packs[e.Header.Pack], Offset: p.offset.reused})
	}
	n, err := lines.Write(p.reused, e)
	if err != nil {
		return err
	}
	p.offset.reused += int64(n)
	last := &p.groups[len(p.groups)-1]
	last.Length = p.offset.reused - last.Offset
	last.Tally.see(e)
	return nil
}

// end writes what is left, or gives up with err.
func (p *planned) end(err error) error {
	if err != nil {
		p.items.Abort()
		p.reused.Abort()
		return err
	}
	work := []func() error{p.items.Close}
	if len(p.packs) > 0 {
		work = append(work, func() error { return writeLines(p.ctx, p.work, "packs.jsonl", p.lines()) })
	}
	if len(p.groups) > 0 {
		work = append(work, p.reused.Close)
	} else {
		p.reused.Abort()
	}
	if p.many { // otherwise they are in the answer
		work = append(work, func() error { return writeLines(p.ctx, p.work, "batches.jsonl", slices.Values(p.batches)) })
	}
	return together(work...)
}

// packLine is a line of packs.jsonl: a pack of the earlier backups, or where entries that stay lie in reused.jsonl.
type packLine struct {
	Pack  *manifest.Pack `json:"pack,omitempty"`
	Group *group         `json:"group,omitempty"`
}

func (p *planned) lines() iter.Seq[packLine] {
	return func(yield func(packLine) bool) {
		for _, id := range slices.Sorted(maps.Keys(p.packs)) {
			if !yield(packLine{Pack: new(p.packs[id])}) {
				return
			}
		}
		for i := range p.groups {
			if !yield(packLine{Group: &p.groups[i]}) {
				return
			}
		}
	}
}
