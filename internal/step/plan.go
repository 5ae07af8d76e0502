package step

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// fewBatches is how many batches the inline Map takes (its limit is 40 children at a time).
const fewBatches = 40

// planPacks compares the list of the snapshot with the last manifest of the scope and cuts what has to be read into
// batches.
func (s *Steps) planPacks(ctx context.Context, w work) (events.Plan, error) {
	if err := s.renew(ctx, w.run); err != nil {
		return events.Plan{}, err
	}
	var snapshot snapshotFile
	if _, err := s.Vault.GetJSON(ctx, w.key("snapshot.json"), &snapshot); err != nil {
		return events.Plan{}, err
	}
	objects, err := w.objects(ctx)
	if err != nil {
		return events.Plan{}, err
	}
	record, err := s.catalog().Record(ctx, w.run.Source, w.run.ID)
	if err != nil {
		return events.Plan{}, err
	}
	last, err := s.catalog().LastGood(ctx, w.run.Source, record.Scope, record.Started)
	if err != nil {
		return events.Plan{}, err
	}
	earlier, err := s.catalog().LastOfEach(ctx, w.run.Source, record.Started, scopesReused)
	if err != nil {
		return events.Plan{}, err
	}
	own := backup.ID("")
	if last != nil {
		own = last.ID
		earlier = append(earlier, *last)
		slices.SortFunc(earlier, func(a, b catalog.Record) int { return a.Started.Compare(b.Started) })
	}
	file := planFile{source: w.run.Source}
	previous, err := s.reusable(ctx, &file, earlier, own)
	if err != nil {
		return events.Plan{}, err
	}
	file.Findings = append(file.Findings, suspicious(last, len(snapshot.Documents), len(objects))...)
	plan := pack.Make(snapshot.Documents, objects, previous, w.run.Rehash)
	return s.writePlan(ctx, w, snapshot.Documents, plan, file)
}

func (w work) objects(ctx context.Context) ([]app.Object, error) {
	var objects []app.Object
	for o, err := range readLines[app.Object](ctx, w, "objects.jsonl", 0, -1) {
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// scopesReused is of how many scopes the last backup is looked through for what need not be packed again.
const scopesReused = 3

// reusable gathers the entries that need not be packed again: those of the last backups of the scopes that were used
// last, since packs are shared by all, and of the run's own; the newest counts. A manifest that is damaged costs reading everything again and
// is a problem; trouble with the store is an error.
func (s *Steps) reusable(ctx context.Context, file *planFile, backups []catalog.Record, own backup.ID) (map[string]manifest.Entry, error) {
	all := map[string]manifest.Entry{}
	sizes, err := s.poolSizes(ctx, file.source)
	if err != nil {
		return nil, err
	}
	seen := map[backup.ID]bool{}
	for _, last := range backups {
		if seen[last.ID] {
			continue
		}
		seen[last.ID] = true
		severity := app.Note
		if last.ID == own {
			severity = app.Problem
		}
		entries, lost, err := s.previous(ctx, last, sizes)
		switch kind := failure.KindOf(err); {
		case err == nil:
			file.Previous = append(file.Previous, last.ID)
			maps.Copy(all, entries)
		case kind != failure.Corrupt && kind != failure.NotFound && kind != failure.Invalid:
			return nil, err
		default:
			file.Findings = append(file.Findings, app.Finding{
				Severity: severity, Kind: "previous", Item: string(last.ID),
				Message: fmt.Sprintf("the manifest of an earlier backup cannot be used (%v): what it has was read again; run `lifeboat verify %s`", err, last.ID),
			})
		}
		if len(lost) > 0 {
			file.Findings = append(file.Findings, app.Finding{
				Severity: severity, Kind: "previous", Item: string(last.ID),
				Message: fmt.Sprintf("packs of an earlier backup are gone or cut off (%s): what they held was read again; that backup cannot be restored as a whole", strings.Join(lost, ", ")),
			})
		}
	}
	return all, nil
}

// previous reads the objects of a manifest by path, without those whose packs are not in the pool as they should be;
// these packs are returned too.
func (s *Steps) previous(ctx context.Context, last catalog.Record, pool map[string]int64) (map[string]manifest.Entry, []string, error) {
	m, body, err := openManifest(ctx, s.Vault, last.Source, last.ID)
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	entries := make(map[string]manifest.Entry, last.Manifest.Entries)
	count := 0
	for e, err := range m.Entries() {
		if err != nil {
			return nil, nil, err
		}
		if count++; !e.Document && pool[e.Header.Pack] == m.Packs[e.Header.Pack].Bytes {
			entries[e.Path] = e
		}
	}
	var lost []string
	for _, id := range m.PackOrder {
		if pool[id] != m.Packs[id].Bytes {
			lost = append(lost, id)
		}
	}
	if m.Digest() != last.Manifest.SHA256 || m.Header.Backup != last.ID || m.Header.Source != last.Source {
		return nil, nil, failure.New(failure.Corrupt, "it is not the one that its record names")
	}
	return entries, lost, s.signed(ctx, last, m, count)
}

// signed makes sure that a manifest is ours before its places are trusted: a new signature must not cover what
// somebody put into the vault.
func (s *Steps) signed(ctx context.Context, last catalog.Record, m *manifest.Reader, entries int) error {
	data, _, err := s.Vault.Get(ctx, vault.Seal(last.Source, last.ID))
	if err != nil {
		return err
	}
	seal, err := manifest.ParseSeal(data)
	if err != nil {
		return err
	}
	authenticity, err := seal.Check(m, entries, s.Signer.Public().(ed25519.PublicKey))
	if err == nil && authenticity != manifest.Authenticated {
		err = failure.New(failure.Corrupt, "it is not signed with the key of this vault (%s)", authenticity)
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

func (s *Steps) writePlan(ctx context.Context, w work, documents []pack.Document, plan pack.Plan, file planFile) (events.Plan, error) {
	batches, err := w.writeItems(ctx, plan.Batches)
	if err != nil {
		return events.Plan{}, err
	}
	if err := writeLines(ctx, w, "batches.jsonl", slices.Values(batches)); err != nil {
		return events.Plan{}, err
	}
	if err := writeLines(ctx, w, "reused.jsonl", slices.Values(plan.Reused)); err != nil {
		return events.Plan{}, err
	}
	file.Batches = len(batches)
	if _, err := s.Vault.PutJSON(ctx, w.key("plan.json"), file, vault.Always()); err != nil {
		return events.Plan{}, err
	}
	items, size := int64(plan.Objects), plan.Bytes
	for _, d := range documents {
		items, size = items+1, size+d.Entry.StoredSize()
	}
	s.phase("pack", items, size)
	answer := events.Plan{Bucket: s.Vault.Bucket(), List: string(w.key("batches.jsonl")), Few: []events.Batch{}}
	if answer.Many = len(batches) > fewBatches; !answer.Many {
		answer.Few = batches
	}
	return answer, nil
}

// writeItems writes the items of all batches into one file and returns where each batch lies in it.
func (w work) writeItems(ctx context.Context, planned [][]pack.Item) ([]events.Batch, error) {
	out := w.vault.NewWriter(ctx, w.key("plan.jsonl"), vault.Always())
	batches := []events.Batch{}
	var offset int64
	for n, items := range planned {
		batch := events.Batch{Batch: n, Offset: offset}
		for _, item := range items {
			line, err := json.Marshal(item)
			if err == nil {
				_, err = out.Write(append(line, '\n'))
			}
			if err != nil {
				out.Abort()
				return nil, err
			}
			offset += int64(len(line)) + 1
		}
		batch.Length = offset - batch.Offset
		batches = append(batches, batch)
	}
	return batches, out.Close()
}
