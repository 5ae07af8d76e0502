package step

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/archive"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// assembleTime is how long one call works before it returns a cursor.
const assembleTime = 30 * time.Second

// assemble writes the manifest and the tail at its first call, then has the store join packs and tail to the
// archive, part by part. The id of the upload is in the run's state before the first part is written.
func (s *Steps) assemble(ctx context.Context, w work, at *events.Assembly) (events.Assembly, error) {
	if at == nil {
		return events.Assembly{}, failure.New(failure.Usage, "the step assemble needs an assembly")
	}
	if err := s.renew(ctx, w.run); err != nil {
		return events.Assembly{}, err
	}
	key := vault.Archive(w.run.Source, w.run.ID)
	if at.Upload == "" {
		file, err := s.prepare(ctx, w)
		if err != nil {
			return events.Assembly{}, err
		}
		s.phase("assemble", 0, file.Data+file.Tail)
		// An attempt that died before it could say so may have left an upload.
		if err := s.Vault.AbortAll(ctx, key); err != nil {
			return events.Assembly{}, err
		}
		upload, err := s.Vault.CreateUpload(ctx, key)
		return events.Assembly{Upload: upload.ID}, err
	}
	parts, _, err := w.parts(ctx)
	if err != nil {
		return events.Assembly{}, err
	}
	assembler := archive.Assembler{Vault: s.Vault, Progress: s.add}
	until := s.Now().Add(assembleTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-2*time.Minute).Before(until) {
		until = deadline.Add(-2 * time.Minute)
	}
	first := true
	next, err := assembler.Write(ctx, vault.Upload{Key: key, ID: at.Upload}, parts, at.Next, func() bool {
		more := first || s.Now().Before(until)
		first = false
		return more
	})
	if kind := failure.KindOf(err); err != nil && (kind == failure.Corrupt || kind == failure.NotFound) {
		err = failure.New(kind, "a pack is damaged or gone: %w", err).WithHint("%s", rehashHint(w.run.Source))
	}
	return events.Assembly{Done: next == len(parts), Upload: at.Upload, Next: next}, err
}

// parts reads back what prepare planned.
func (w work) parts(ctx context.Context) ([]archive.Part, assemblyFile, error) {
	var file assemblyFile
	if _, err := w.vault.GetJSON(ctx, w.key("assembly.json"), &file); err != nil {
		return nil, file, err
	}
	layout, err := w.layout(ctx, file)
	if err != nil {
		return nil, file, err
	}
	parts, err := archive.Parts(layout.Ranges)
	return parts, file, err
}

// prepare writes the signed manifest and the tail of the archive.
func (s *Steps) prepare(ctx context.Context, w work) (assemblyFile, error) {
	var snapshot snapshotFile
	if _, err := s.Vault.GetJSON(ctx, w.key("snapshot.json"), &snapshot); err != nil {
		return assemblyFile{}, err
	}
	record, err := s.catalog().Record(ctx, w.run.Source, w.run.ID)
	if err != nil {
		return assemblyFile{}, err
	}
	pool, err := s.pool(ctx, w)
	if err != nil {
		return assemblyFile{}, err
	}
	header := manifest.Header{
		Backup: w.run.ID, Source: w.run.Source, Kind: record.Kind, Name: record.Name, Description: record.Description,
		Scope: record.Scope, Started: w.run.ID.Time(), Facts: snapshot.Facts, Secrets: snapshot.Facts.Secrets,
		Readme: archive.Readme(record.Kind, w.run.Source, w.run.ID),
	}
	list, file, err := s.writeManifest(ctx, w, header, pool)
	if err != nil {
		return assemblyFile{}, err
	}
	if err := s.writeTail(ctx, w, header, list, &file); err != nil {
		return assemblyFile{}, err
	}
	_, err = s.Vault.PutJSON(ctx, w.key("assembly.json"), file, vault.Always())
	return file, err
}

// pool is what a manifest is made of: the entries by pack, and the packs.
type pool struct {
	packs   map[string]manifest.Pack
	entries map[string][]manifest.Entry
}

func (p *pool) add(e manifest.Entry) {
	p.entries[e.Header.Pack] = append(p.entries[e.Header.Pack], e)
}

// pool gathers what is reused and what the batches packed.
func (s *Steps) pool(ctx context.Context, w work) (*pool, error) {
	p := &pool{packs: map[string]manifest.Pack{}, entries: map[string][]manifest.Entry{}}
	var plan planFile
	if _, err := s.Vault.GetJSON(ctx, w.key("plan.json"), &plan); err != nil {
		return nil, err
	}
	for _, id := range plan.Previous {
		m, body, err := openManifest(ctx, s.Vault, w.run.Source, id)
		if err != nil {
			return nil, err
		}
		body.Close()
		maps.Copy(p.packs, m.Packs)
	}
	for e, err := range readLines[manifest.Entry](ctx, w, "reused.jsonl", 0, -1) {
		if err != nil {
			return nil, err
		}
		p.add(e)
	}
	for n := range plan.Batches {
		result, err := pack.ReadResult(ctx, s.Vault, w.key(fmt.Sprintf("packed/%d.json", n)))
		if err != nil {
			return nil, err
		}
		for _, made := range result.Packs {
			p.packs[made.ID] = made
		}
		for _, e := range slices.Concat(result.Entries, result.Unchanged) {
			p.add(e)
		}
	}
	return p, nil
}

// undersized packs come behind the others: they pass through compute, at best together with the tail.
const undersized = 8 << 20

// order returns the packs in the order of the archive: those that live as a whole first, then those with holes,
// then undersized ones, then documents; within each by id. Entries are ordered by their place.
func (p *pool) order() []string {
	type ranked struct {
		id   string
		rank int
	}
	var packs []ranked
	for id, entries := range p.entries {
		slices.SortFunc(entries, func(a, b manifest.Entry) int { return cmp.Compare(a.Header.Offset, b.Header.Offset) })
		var live int64
		for _, e := range entries {
			live += e.Zip().LocalSize() + e.StoredSize()
		}
		rank := 0
		switch size := p.packs[id].Bytes; {
		case entries[0].Document:
			rank = 3
		case size < undersized:
			rank = 2
		case live < size:
			rank = 1
		}
		packs = append(packs, ranked{id, rank})
	}
	slices.SortFunc(packs, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id)) })
	ids := make([]string, len(packs))
	for i, r := range packs {
		ids[i] = r.id
	}
	return ids
}

// writeManifest writes the manifest and returns what the tail says of it.
func (s *Steps) writeManifest(ctx context.Context, w work, header manifest.Header, p *pool) (manifest.Sum, assemblyFile, error) {
	out := s.Vault.NewWriter(ctx, vault.Manifest(w.run.Source, w.run.ID), vault.IfAbsent())
	layout := archive.NewLayout(packKey(w.run.Source, p.packs))
	var file assemblyFile
	sum, err := func() (manifest.Sum, error) {
		m, err := manifest.NewWriter(out, header)
		if err != nil {
			return manifest.Sum{}, err
		}
		order := p.order()
		for _, id := range order {
			if err := m.Pack(p.packs[id]); err != nil {
				return manifest.Sum{}, err
			}
		}
		for _, id := range order {
			for _, e := range p.entries[id] {
				layout.Add(e)
				file.count(e)
				if err := m.Entry(e); err != nil {
					return manifest.Sum{}, err
				}
			}
		}
		return m.Close()
	}()
	if err != nil {
		out.Abort()
		return sum, file, err
	}
	if err := out.Close(); err != nil {
		return sum, file, err
	}
	file.Manifest, file.Entries, file.Data, file.DataCRC = sum.SHA256, sum.Entries, layout.Size, manifest.CRC(layout.CRC32)
	sum.Compressed = out.Size()
	return sum, file, nil
}

func (a *assemblyFile) count(e manifest.Entry) {
	a.Bytes += e.Size
	if e.Document {
		a.Documents++
	} else {
		a.Objects++
	}
}

// writeTail writes what follows the packs.
func (s *Steps) writeTail(ctx context.Context, w work, header manifest.Header, list manifest.Sum, file *assemblyFile) error {
	m, body, err := openManifest(ctx, s.Vault, w.run.Source, w.run.ID)
	if err != nil {
		return err
	}
	defer body.Close()
	seal, err := manifest.Sign(s.Signer, list, m.RawHeader)
	if err != nil {
		return err
	}
	if err := s.Vault.Create(ctx, vault.Seal(w.run.Source, w.run.ID), seal); err != nil {
		return err
	}
	gzip, _, err := s.Vault.Open(ctx, vault.Manifest(w.run.Source, w.run.ID), 0, -1)
	if err != nil {
		return err
	}
	defer gzip.Close()
	out := s.Vault.NewWriter(ctx, w.key("tail"), vault.Always())
	tail := archive.Tail{
		Seal: seal, Readme: header.Readme, Started: header.Started, Data: file.Data,
		List: archive.CompressedDoc{Size: list.Bytes, CRC32: list.CRC32, Gzip: gzip, Length: list.Compressed},
	}
	crc := crc32.NewIEEE()
	if err := tail.Write(io.MultiWriter(out, crc), m.Entries()); err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	file.Tail, file.TailCRC = out.Size(), manifest.CRC(crc.Sum32())
	return nil
}

// record writes what the archive is into the record.
func (a assemblyFile) record(r *catalog.Record, w work, parts int, crc uint32) {
	r.Documents, r.Objects, r.Bytes = a.Documents, a.Objects, a.Bytes
	r.Manifest.Key, r.Manifest.SHA256, r.Manifest.Entries = string(vault.Manifest(w.run.Source, w.run.ID)), a.Manifest, a.Entries
	r.Archive = catalog.Archive{
		Key: string(vault.Archive(w.run.Source, w.run.ID)), Bytes: a.Data + a.Tail, CRC32: manifest.CRC(crc).String(), Parts: parts,
	}
}
