package step

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// seal completes the archive, proves it, and only then says so in the record. What the record names survives a
// power loss before the record is written, and so does the record before anybody is told.
func (s *Steps) seal(ctx context.Context, w work, at *events.Assembly) (events.Sealed, error) {
	if at == nil {
		return events.Sealed{}, failure.New(failure.Usage, "the step seal needs an assembly")
	}
	record, err := s.catalog().Record(ctx, w.run.Source, w.run.ID)
	if err != nil {
		return events.Sealed{}, err
	}
	if record.Status.Good() { // an earlier attempt got this far
		s.tidyUp(ctx, w.run)
		return events.Sealed{Status: record.Status}, nil
	}
	if record.Status != backup.InProgress {
		return events.Sealed{}, failure.New(failure.Conflict, "the run was closed meanwhile: it is %s", record.Status)
	}
	if err := s.renew(ctx, w.run); err != nil {
		return events.Sealed{}, err
	}
	s.phase("seal", 0, 0)
	parts, file, err := w.parts(ctx)
	if err != nil {
		return events.Sealed{}, err
	}
	size, crc := file.Data+file.Tail, zipfmt.CombineCRC(uint32(file.DataCRC), uint32(file.TailCRC), file.Tail)
	upload := vault.Upload{Key: vault.Archive(w.run.Source, w.run.ID), ID: at.Upload}
	if err := (archive.Assembler{Vault: s.Vault}).Complete(ctx, upload, parts, size, crc); err != nil {
		if failure.KindOf(err) == failure.Corrupt {
			err = failure.New(failure.Corrupt, "a pack is damaged: %w", err).WithHint("%s", rehashHint(w.run.Source))
		}
		return events.Sealed{}, err
	}
	proof, err := s.prove(ctx, upload.Key, size, crc)
	if err != nil {
		return events.Sealed{}, err
	}
	if err := s.packsThere(ctx, w); err != nil {
		return events.Sealed{}, err
	}
	if err := s.writeFindings(ctx, w); err != nil {
		return events.Sealed{}, err
	}
	if err := s.Vault.Sync(ctx); err != nil {
		return events.Sealed{}, err
	}
	record, err = s.catalog().Update(ctx, w.run.Source, w.run.ID, func(r *catalog.Record) error {
		file.record(r, w, len(parts), crc)
		return s.finish(ctx, w, r, proof)
	})
	if err != nil {
		return events.Sealed{}, err
	}
	if err := s.Vault.Sync(ctx); err != nil {
		return events.Sealed{}, err
	}
	s.tidyUp(ctx, w.run)
	return events.Sealed{Status: record.Status}, nil
}

// tidyUp tidies behind a good backup, which stays good whatever comes of that; the next run tidies again.
func (s *Steps) tidyUp(ctx context.Context, run events.Run) {
	if err := s.tidy(ctx, run); err != nil {
		s.Log.Error("what the run needed could not be removed", "source", run.Source, "backup", run.ID, "error", err)
	}
}

// packsThere makes sure, as the last thing before the record says so, that every pack of the manifest is in the pool.
func (s *Steps) packsThere(ctx context.Context, w work) error {
	m, body, err := openManifest(ctx, s.Vault, w.run.Source, w.run.ID)
	if err != nil {
		return err
	}
	body.Close()
	sizes, err := s.poolSizes(ctx, w.run.Source)
	if err != nil {
		return err
	}
	for id, p := range m.Packs {
		if sizes[id] != p.Bytes {
			return failure.New(failure.Corrupt, "the pack %s is gone from the pool, or has another size", id).WithHint("%s", rehashHint(w.run.Source))
		}
	}
	return nil
}

// poolSizes returns the sizes of all packs of a source.
func (s *Steps) poolSizes(ctx context.Context, source backup.Source) (map[string]int64, error) {
	sizes := map[string]int64{}
	for info, err := range s.Vault.List(ctx, vault.Packs(source)) {
		if err != nil {
			return nil, err
		}
		sizes[vault.PackID(info.Key)] = info.Size
	}
	return sizes, nil
}

// rehashHint says how to get away from a pack that is damaged.
func rehashHint(source backup.Source) string {
	return fmt.Sprintf("`lifeboat backup %s --rehash` reads and packs everything anew; `lifeboat verify` says which backups are damaged", source)
}

// prove holds the store's own size and checksum of the archive against those that follow from its pieces. A store
// that has no checksum of the whole gets every byte read again.
func (s *Steps) prove(ctx context.Context, key vault.Key, size int64, crc uint32) (backup.Proof, error) {
	info, err := s.Vault.Head(ctx, key)
	if err != nil {
		return "", err
	}
	proof := backup.Stored
	if !info.HasCRC32 {
		body, _, err := s.Vault.Open(ctx, key, 0, size)
		if err != nil {
			return "", err
		}
		defer body.Close()
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, body); err != nil {
			return "", err
		}
		info.CRC32, proof = sum.Sum32(), backup.ReRead
	}
	if info.Size != size || info.CRC32 != crc {
		return "", failure.New(failure.Corrupt, "the store has an archive of %d bytes with CRC-32 %08x, its pieces make %d bytes with %08x",
			info.Size, info.CRC32, size, crc)
	}
	return proof, nil
}

// finish fills in what the run found and how it ended.
func (s *Steps) finish(ctx context.Context, w work, r *catalog.Record, proof backup.Proof) error {
	var snapshot snapshotFile
	if _, err := s.Vault.GetJSON(ctx, w.key("snapshot.json"), &snapshot); err != nil {
		return err
	}
	r.Facts, r.Secrets = snapshot.Facts, snapshot.Facts.Secrets
	r.Manifest.Signer = manifest.KeyID(s.Signer.Public().(ed25519.PublicKey))
	r.Notes, r.NotesTotal, r.Problems, r.ProblemsTotal = nil, 0, nil, 0
	for f, err := range s.findings(ctx, w) {
		if err != nil {
			return err
		}
		r.Add(f)
	}
	r.PackedObjects, r.PackedBytes = 0, 0
	for result, err := range s.results(ctx, w) {
		if err != nil {
			return err
		}
		for _, e := range result.Entries {
			if !e.Document {
				r.PackedObjects++
				r.PackedBytes += e.Size
			}
		}
	}
	r.Status, r.Proof = backup.Completed, proof
	if r.ProblemsTotal > 0 {
		r.Status = backup.Partial
	}
	r.Finished = s.Now().UTC()
	r.Proven = r.Finished
	return nil
}

// results yields what became of each batch.
func (s *Steps) results(ctx context.Context, w work) iter.Seq2[pack.Result, error] {
	return func(yield func(pack.Result, error) bool) {
		var plan planFile
		if _, err := s.Vault.GetJSON(ctx, w.key("plan.json"), &plan); err != nil {
			yield(pack.Result{}, err)
			return
		}
		for n := range plan.Batches {
			result, err := pack.ReadResult(ctx, s.Vault, w.key(fmt.Sprintf("packed/%d.json", n)))
			if !yield(result, err) || err != nil {
				return
			}
		}
	}
}

// findings yields what every step of the run noticed.
func (s *Steps) findings(ctx context.Context, w work) iter.Seq2[app.Finding, error] {
	return func(yield func(app.Finding, error) bool) {
		var plan planFile
		if _, err := s.Vault.GetJSON(ctx, w.key("plan.json"), &plan); err != nil {
			yield(app.Finding{}, err)
			return
		}
		for _, f := range plan.Findings {
			if !yield(f, nil) {
				return
			}
		}
		for f, err := range readLines[app.Finding](ctx, w, "findings.jsonl", 0, -1) {
			if !yield(f, err) || err != nil {
				return
			}
		}
		for result, err := range s.results(ctx, w) {
			if err != nil {
				yield(app.Finding{}, err)
				return
			}
			for _, f := range result.Findings {
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// writeFindings keeps the complete list beside the manifest; the record has only the first ones.
func (s *Steps) writeFindings(ctx context.Context, w work) error {
	out := s.Vault.NewWriter(ctx, vault.Findings(w.run.Source, w.run.ID), vault.Always())
	for f, err := range s.findings(ctx, w) {
		if err == nil {
			err = writeLine(out, f)
		}
		if err != nil {
			out.Abort()
			return err
		}
	}
	return out.Close()
}

// tidy removes the work files and whatever uploads attempts of this run left, and gives the source back. Uploads of
// packs don't tell whose they are: they are left alone where another run works on the source.
func (s *Steps) tidy(ctx context.Context, run events.Run) error {
	if err := s.Vault.AbortAll(ctx, vault.Archive(run.Source, run.ID)); err != nil {
		return err
	}
	if err := s.alone(ctx, run.Source, run.ID, func() error { return s.Vault.AbortAll(ctx, vault.Packs(run.Source)) }); err != nil {
		return err
	}
	if err := s.Vault.AbortAll(ctx, vault.Work(run.Source, run.ID, "")); err != nil {
		return err
	}
	if err := s.Vault.DeleteAll(ctx, vault.Work(run.Source, run.ID, "")); err != nil {
		return err
	}
	return s.catalog().Release(ctx, run.Source, run.ID)
}

// alone does what concerns all of a source's packs, unless another run works on the source.
func (s *Steps) alone(ctx context.Context, source backup.Source, id backup.ID, do func() error) error {
	lease, held, err := s.catalog().Holder(ctx, source)
	if err != nil || held && lease.Run != id {
		return err
	}
	return do()
}
