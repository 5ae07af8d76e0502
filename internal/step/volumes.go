package step

import (
	"context"
	"fmt"
	"iter"
	"path"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// volumes cuts the entries into volumes and writes the signed list of each. A list that is there already, of the same
// entries, is kept as it is: a compressor may make other bytes another day.
func (p *archivePlan) volumes(ctx context.Context, split int64) ([]list, error) {
	header, cuts, err := p.cut(ctx, split)
	if err != nil {
		return nil, err
	}
	source, id := p.work.run.Source, p.work.run.ID
	all := make([]manifest.VolumeFile, len(cuts))
	lists := make([]list, len(cuts))
	for i, c := range cuts {
		lists[i] = list{vault.VolumeManifest(source, id, i+1), vault.VolumeSeal(source, id, i+1), vault.ArchiveVolume(source, id, i+1)}
		all[i] = manifest.VolumeFile{Name: path.Base(string(lists[i].file)), Entries: c.entries, Data: c.data}
	}
	m, body, err := p.steps.openManifest(ctx, source, id)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	next, stop := iter.Pull2(m.Entries())
	defer stop()
	for i, c := range cuts {
		header.Volume = &manifest.Volume{Number: i + 1, All: all}
		if err := p.writeVolume(ctx, lists[i], header, m, c, next); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

// volumeCut is the entries of one volume.
type volumeCut struct {
	entries int
	data    int64
	packs   map[string]bool
}

// cut decides where the volumes begin: each has at most split bytes, unless a single entry has more.
func (p *archivePlan) cut(ctx context.Context, split int64) (manifest.Header, []volumeCut, error) {
	m, body, err := p.steps.openManifest(ctx, p.work.run.Source, p.work.run.ID)
	if err != nil {
		return manifest.Header{}, nil, err
	}
	defer body.Close()
	const frame = 64 << 10 // end records, README, seal, head of the manifest
	var cuts []volumeCut
	var size int64
	for e, err := range m.Entries() {
		if err != nil {
			return m.Header, nil, err
		}
		data := e.Zip().LocalSize() + e.StoredSize()
		cost := data + 2*int64(len(e.Path)) + 600 // its central header, its line and that of its pack, uncompressed
		if n := len(cuts); n == 0 || size+cost > split-frame && cuts[n-1].entries > 0 {
			cuts, size = append(cuts, volumeCut{packs: map[string]bool{}}), int64(len(m.RawHeader))*2
		}
		size += cost
		c := &cuts[len(cuts)-1]
		c.entries++
		c.data += data
		c.packs[e.Header.Pack], c.packs[e.Body().Pack] = true, true
	}
	if len(cuts) == 0 {
		cuts = []volumeCut{{}}
	}
	return m.Header, cuts, nil
}

func (p *archivePlan) writeVolume(ctx context.Context, l list, header manifest.Header, m *manifest.Reader, c volumeCut, next func() (manifest.Entry, error, bool)) error {
	filled := false // a Conflict of what is read for the list says nothing of the list
	list, err := p.work.writeList(ctx, l.manifest, header, func(volume *manifest.Writer) error {
		for _, id := range m.PackOrder {
			if c.packs[id] {
				if err := volume.Pack(m.Packs[id]); err != nil {
					return err
				}
			}
		}
		for range c.entries {
			e, err, ok := next()
			if err == nil && !ok {
				err = failure.New(failure.Internal, "the manifest ends early")
			}
			if err == nil {
				err = volume.Entry(e)
			}
			if err != nil {
				return err
			}
		}
		filled = true
		return nil
	})
	switch {
	case filled && failure.KindOf(err) == failure.Conflict:
		return p.sameVolume(ctx, l, list)
	case err != nil:
		return err
	}
	return p.steps.sealList(ctx, p.work, l, list)
}

// sameVolume makes sure that the list of a volume that is there already is of the same entries, and sealed by us. An
// attempt that died between the two has left no seal.
func (p *archivePlan) sameVolume(ctx context.Context, l list, want manifest.Sum) error {
	there, err := p.sum(ctx, l.manifest)
	if err == nil && there.SHA256 != want.SHA256 {
		err = failure.New(failure.Conflict, "the volumes of %s were cut in another way before", p.work.run.ID).
			WithHint("the record's `split` says how")
	}
	if err != nil {
		return err
	}
	m, body, err := p.work.list(ctx, l.manifest)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := m.Skip(); err != nil {
		return err
	}
	err = p.steps.signed(ctx, string(l.seal), l.seal, m, want.Entries)
	if failure.KindOf(err) == failure.NotFound {
		return p.steps.sealList(ctx, p.work, l, there)
	}
	return err
}

// sum reads a list that was written before.
func (p *archivePlan) sum(ctx context.Context, key vault.Key) (manifest.Sum, error) {
	body, err := p.work.open(ctx, key, 0, -1)
	if err != nil {
		return manifest.Sum{}, err
	}
	defer body.Close()
	return manifest.SumOf(body)
}

// oversized notes volumes that a single entry makes larger than they should be.
func (a archiveFile) oversized() []app.Finding {
	var found []app.Finding
	for _, f := range a.Files {
		if a.Split > 0 && f.Bytes > a.Split && f.Entries == 1 {
			found = append(found, app.Finding{
				Severity: app.Note, Kind: "volume", Item: path.Base(string(f.Key)),
				Message: fmt.Sprintf("has %d bytes: a single entry is larger than `split: %d`", f.Bytes, a.Split),
			})
		}
	}
	return found
}
