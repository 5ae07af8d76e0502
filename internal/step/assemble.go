package step

import (
	"context"

	"lifeboat/events"
	"lifeboat/internal/archive"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// assemble writes the manifest at its first call and plans the archive, then has the store join packs and tail, part by
// part. The id of the upload is in the run's state before the first part is written.
func (s *Steps) assemble(ctx context.Context, w work, at *events.Assembly) (events.Assembly, error) {
	if at == nil {
		return events.Assembly{}, failure.New(failure.Usage, "the step assemble needs an assembly")
	}
	if err := s.renew(ctx, w.run); err != nil {
		return events.Assembly{}, err
	}
	var file archiveFile
	if at.Upload != "" || at.Volume > 0 {
		if err := w.getJSON(ctx, "archive.json", &file); err != nil {
			return events.Assembly{}, err
		}
		return s.join(ctx, w, file, *at)
	}
	file, done, err := s.prepare(ctx, w)
	if err != nil || !done {
		return events.Assembly{}, err
	}
	var size int64
	for _, f := range file.Files {
		size += f.Bytes
	}
	s.phase("assemble", 0, size)
	var begun events.Assembly
	err = together(
		func() error { return w.putJSON(ctx, "archive.json", file) },
		func() (err error) { begun, err = s.join(ctx, w, file, *at); return err }, // begins an upload, no more
	)
	return begun, err
}

// prepare writes the signed manifest and plans the archive. It is not done when the time was not enough to merge packs.
func (s *Steps) prepare(ctx context.Context, w work) (file archiveFile, done bool, err error) {
	var snapshot snapshotFile
	if err := w.getJSON(ctx, "snapshot.json", &snapshot); err != nil {
		return file, false, err
	}
	policy, err := s.Sources.Policy(w.run.Source)
	if err != nil {
		return file, false, err
	}
	all, err := s.gather(ctx, w)
	if err != nil {
		return file, false, err
	}
	if all.merged, done, err = s.merge(ctx, w, all); err != nil || !done {
		return file, false, err
	}
	record := all.run
	header := manifest.Header{
		Backup: w.run.ID, Source: w.run.Source, Kind: record.Kind, Name: record.Name, Description: record.Description,
		Scope: record.Scope, Started: w.run.ID.Time(), Facts: snapshot.Facts, Secrets: snapshot.Facts.Secrets,
		Readme: archive.Readme(record.Kind, w.run.Source, w.run.ID),
	}
	list, err := s.writeManifest(ctx, w, header, all)
	if err != nil {
		return file, false, err
	}
	if policy.OnDemand {
		file.Split = policy.Split
	} else if file, err = s.planArchive(ctx, w, all.pool, policy.Split); err != nil {
		return file, false, err
	}
	file.Manifest = list
	return file, true, nil
}

// manifestFile says what the manifest lists.
type manifestFile struct {
	SHA256    string `json:"sha256"` // of its lines
	Entries   int    `json:"entries"`
	Documents int    `json:"documents"`
	Objects   int    `json:"objects"`
	Bytes     int64  `json:"bytes"` // of contents

	Found         bool  `json:"found,omitzero"`  // something was noticed
	Merged        int   `json:"merged,omitzero"` // packs that became others
	PackedObjects int   `json:"packed_objects"`
	PackedBytes   int64 `json:"packed_bytes"`
}

func (f *manifestFile) count(e manifest.Entry) {
	f.Bytes += e.Size
	if e.Document {
		f.Documents++
	} else {
		f.Objects++
	}
}

// writeManifest writes the manifest of all entries, pack by pack, and seals it.
func (s *Steps) writeManifest(ctx context.Context, w work, header manifest.Header, all *gathered) (manifestFile, error) {
	order := all.inOrder()
	key := vault.Manifest(w.run.Source, w.run.ID)
	file := manifestFile{Found: all.found, Merged: all.merged, PackedObjects: all.packedObjects, PackedBytes: all.packedBytes}
	sum, err := w.writeList(ctx, key, header, func(m *manifest.Writer) error {
		for _, p := range order {
			if err := m.Pack(p.Pack); err != nil {
				return err
			}
		}
		for entries, err := range all.entries(ctx, order) {
			if err != nil {
				return err
			}
			for _, e := range entries {
				file.count(e)
				if err := m.Entry(e); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return file, err
	}
	file.SHA256, file.Entries = sum.SHA256, sum.Entries
	return file, s.sealList(ctx, w, list{manifest: key, seal: vault.Seal(w.run.Source, w.run.ID)}, sum)
}

// writeList writes a list of entries: Conflict where another one is there, and the sum all the same.
func (w work) writeList(ctx context.Context, key vault.Key, header manifest.Header, fill func(*manifest.Writer) error) (sum manifest.Sum, err error) {
	out := w.create(ctx, key, vault.IfAbsent())
	list, err := manifest.NewWriter(out, header)
	if err == nil {
		err = fill(list)
	}
	if err == nil {
		sum, err = list.Close()
	}
	if err != nil {
		out.Abort()
		return sum, err
	}
	err = out.Close()
	sum.Compressed = out.Size()
	return sum, err
}

// sealList signs a list of entries that was written.
func (s *Steps) sealList(ctx context.Context, w work, l list, sum manifest.Sum) error {
	m, body, err := w.list(ctx, l.manifest)
	if err != nil {
		return err
	}
	defer body.Close()
	seal, err := manifest.Sign(s.Signer, sum, m.RawHeader)
	if err != nil {
		return err
	}
	if err := s.Vault.Create(ctx, l.seal, seal); err != nil {
		return err
	}
	w.recent.put(l.seal, seal)
	return nil
}
