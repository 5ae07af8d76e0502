package step

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
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
		if err := s.lockRecord(ctx, w.run); err != nil {
			return events.Sealed{}, err
		}
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
	var file archiveFile
	if err := w.getJSON(ctx, "archive.json", &file); err != nil {
		return events.Sealed{}, err
	}
	outcome, err := s.proven(ctx, w, file)
	if err != nil {
		return events.Sealed{}, err
	}
	if record, err = s.complete(ctx, w.run, outcome); err != nil {
		return events.Sealed{}, err
	}
	s.prune(ctx, w.run, outcome.manifest.Merged > 0)
	s.tidyUp(ctx, w.run)
	return events.Sealed{Status: record.Status}, nil
}

// complete says in the record what was proven. What that names is synced before, and the record after.
func (s *Steps) complete(ctx context.Context, run events.Run, outcome *outcome) (catalog.Record, error) {
	if err := s.Vault.Sync(ctx); err != nil {
		return catalog.Record{}, err
	}
	if err := s.hold(ctx, run); err != nil { // all of it may have taken long, and the machine may have slept
		return catalog.Record{}, err
	}
	record, err := s.catalog().Update(ctx, run.Source, run.ID, func(r *catalog.Record) error {
		if r.Status != backup.InProgress {
			return failure.New(failure.Conflict, "the run was closed meanwhile: it is %s", r.Status)
		}
		outcome.fill(r)
		r.Status = backup.Completed
		if r.ProblemsTotal > 0 {
			r.Status = backup.Partial
		}
		r.Finished = s.Now().UTC()
		r.Proven = r.Finished
		return nil
	})
	if err == nil {
		err = s.lockRecord(ctx, run)
	}
	if err == nil {
		err = s.Vault.Sync(ctx)
	}
	return record, err
}

// proven proves what the record is about to name, and locks it.
func (s *Steps) proven(ctx context.Context, w work, file archiveFile) (*outcome, error) {
	var proof backup.Proof
	var outcome *outcome
	var needed []vault.Key
	err := together(
		func() (err error) { proof, err = s.prove(ctx, w.run, file); return err },
		func() (err error) { needed, err = s.packsThere(ctx, w); return err },
		func() (err error) { outcome, err = s.outcome(ctx, w, file); return err },
	)
	if err != nil {
		return nil, err
	}
	outcome.proof = proof
	if outcome.mac, err = s.authenticate(ctx, w.run, file.Manifest); err != nil {
		return nil, err
	}
	outcome.locks, err = s.lockAll(ctx, w, file, outcome, needed)
	return outcome, err
}

// prune frees what no backup of the source needs any more, and archives that have had their time. The backup stays good
// whatever comes of that; the next run tries again.
func (s *Steps) prune(ctx context.Context, run events.Run, look bool) {
	policy, err := s.Sources.Policy(run.Source)
	if err == nil {
		_, err = retention.AfterRun(ctx, s.Vault, run.Source, look, retention.Options{
			Holder: s.Holder, Stale: s.Stale, Clock: s.Now, ExpireArchive: policy.Expired(s.Now()), MAC: s.MAC,
		})
	}
	if err != nil {
		s.Log.Error("what no backup needs any more could not be freed", "source", run.Source, "error", err)
	}
}

// tidyUp tidies behind a good backup, which stays good whatever comes of that; the next run tidies again.
func (s *Steps) tidyUp(ctx context.Context, run events.Run) {
	if err := s.tidy(ctx, run); err != nil {
		s.Log.Error("what the run needed could not be removed", "source", run.Source, "backup", run.ID, "error", err)
	}
}

// packsThere makes sure, as the last thing before the record says so, that the manifest and every pack that it names
// are there. It returns the objects of the pool that these lie in.
func (s *Steps) packsThere(ctx context.Context, w work) (needed []vault.Key, err error) {
	there := func(key vault.Key) func() error {
		return func() error {
			_, err := s.Vault.Head(ctx, key)
			return err
		}
	}
	var packs *pool.Pool
	err = together(
		there(vault.Manifest(w.run.Source, w.run.ID)), there(vault.Seal(w.run.Source, w.run.ID)),
		func() (err error) { packs, err = pool.Open(ctx, s.Vault, w.run.Source); return err },
	)
	if err != nil {
		return nil, err
	}
	m, body, err := s.openManifest(ctx, w.run.Source, w.run.ID)
	if err != nil {
		return nil, err
	}
	body.Close()
	needed, missing := packs.Needed(m.Packs)
	if len(missing) > 0 {
		return nil, failure.New(failure.Corrupt, "the pack %s is gone from the pool, or has another size", missing[0]).WithHint("%s", rehashHint(w.run.Source))
	}
	return needed, nil
}

// rehashHint says how to get away from a pack that is damaged.
func rehashHint(source backup.Source) string {
	return fmt.Sprintf("`lifeboat backup %s --rehash` reads and packs everything anew; `lifeboat verify` says which backups are damaged", source)
}

// outcome is what a run found and made.
type outcome struct {
	findings catalog.Record // only its notes and problems
	snapshot snapshotFile
	manifest manifestFile
	archive  catalog.Archive
	run      events.Run
	signer   string
	proof    backup.Proof
	mac      vault.Key
	locks    locks
}

// outcome reads what the steps before wrote, so that the record can be filled in more than once.
func (s *Steps) outcome(ctx context.Context, w work, file archiveFile) (*outcome, error) {
	o := &outcome{run: w.run, manifest: file.Manifest, archive: file.record(s.Now().UTC()), signer: manifest.KeyID(s.Signer.Public().(ed25519.PublicKey))}
	if err := w.getJSON(ctx, "snapshot.json", &o.snapshot); err != nil {
		return nil, err
	}
	if file.Manifest.Found {
		for f, err := range linesOf[app.Finding](ctx, w, vault.Findings(w.run.Source, w.run.ID), 0, -1) {
			if err != nil {
				return nil, err
			}
			o.findings.Add(f)
		}
	}
	for _, f := range file.oversized() {
		o.findings.Add(f)
	}
	return o, nil
}

func (o *outcome) fill(r *catalog.Record) {
	m := o.manifest
	r.Facts, r.Secrets = o.snapshot.Facts, o.snapshot.Facts.Secrets
	r.Documents, r.Objects, r.Bytes, r.PackedObjects, r.PackedBytes = m.Documents, m.Objects, m.Bytes, m.PackedObjects, m.PackedBytes
	r.Manifest = catalog.Manifest{
		Key: string(vault.Manifest(o.run.Source, o.run.ID)), SHA256: m.SHA256, Entries: m.Entries, Signer: o.signer, MAC: string(o.mac),
	}
	r.Proof, r.Archive, r.LockedUntil = o.proof, o.archive, o.locks.backup
	r.Archive.LockedUntil = o.locks.archive
	r.Notes, r.NotesTotal, r.Problems, r.ProblemsTotal = o.findings.Notes, o.findings.NotesTotal, o.findings.Problems, o.findings.ProblemsTotal
}

// tidy removes the work files and whatever uploads attempts of this run left, and gives the source back. Uploads of
// packs don't tell whose they are: they are left alone where another run works on the source.
func (s *Steps) tidy(ctx context.Context, run events.Run) error {
	s.recent.forget(vault.Snapshot(run.Source, run.ID))
	ours := []vault.Key{vault.ArchiveFiles(run.Source, run.ID), vault.Work(run.Source, run.ID, "")}
	if err := s.alone(ctx, run.Source, run.ID, func() error { ours = append(ours, vault.Packs(run.Source)); return nil }); err != nil {
		return err
	}
	err := together(
		func() error { return s.Vault.AbortAll(ctx, ours...) },
		func() error { return s.Vault.DeleteAll(ctx, vault.Work(run.Source, run.ID, "")) },
	)
	if err != nil {
		return err
	}
	return s.release(ctx, run.Source, run.ID)
}

// alone does what concerns all of a source's packs, unless another run works on the source.
func (s *Steps) alone(ctx context.Context, source backup.Source, id backup.ID, do func() error) error {
	lease, held, err := s.catalog().Holder(ctx, source)
	if err != nil || held && lease.Run != id {
		return err
	}
	return do()
}
