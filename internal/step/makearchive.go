package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// MakeArchive makes the archive of a backup again, or for the first time: the same bytes whenever it is made. It holds
// the source's lease while it works.
func (s *Steps) MakeArchive(ctx context.Context, source backup.Source, id backup.ID) (catalog.Record, error) {
	record, err := s.catalog().Record(ctx, source, id)
	if err != nil {
		return record, err
	}
	if !record.Status.Good() {
		return record, failure.New(failure.Usage, "the backup %s is %s: there is nothing to make an archive of", id, record.Status)
	}
	if _, err := s.trusted(ctx, record); err != nil { // what it lists is signed below, in volumes
		return record, fmt.Errorf("the manifest of %s: %w", id, err)
	}
	lease := events.Run{ID: backup.NewID(s.Now()), Source: source} // nobody's id: two at the same archive must not share it
	if err := s.take(ctx, lease); err != nil {
		return record, err
	}
	working, stop := s.keep(ctx, lease)
	w := s.work(events.Run{ID: id, Source: source}, "archive-"+randomName())
	made, err := s.makeAndName(working, w, lease, record.Archive.Split)
	if lost := context.Cause(working); err != nil && errors.Is(lost, catalog.ErrLeaseLost) {
		err = failure.New(failure.Conflict, "%w", lost)
	}
	stop()
	if err == nil {
		record = made
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	s.recent.forget(vault.Work(source, id, ""))
	return record, errors.Join(err, s.Vault.AbortAll(clean, vault.ArchiveFiles(source, id)),
		s.Vault.DeleteAll(clean, vault.Work(source, id, "")), s.release(clean, source, lease.ID)) // what a killed call left goes too
}

// makeAndName makes an archive and names it in the record, once it is proven.
func (s *Steps) makeAndName(ctx context.Context, w work, lease events.Run, split int64) (catalog.Record, error) {
	file, err := s.makeArchive(ctx, w, lease, split)
	if err != nil {
		return catalog.Record{}, err
	}
	proof, err := s.prove(ctx, w.run, file)
	if err == nil {
		err = s.Vault.Sync(ctx)
	}
	if err == nil {
		err = s.hold(ctx, lease)
	}
	if err != nil {
		return catalog.Record{}, err
	}
	return s.catalog().Update(ctx, w.run.Source, w.run.ID, func(r *catalog.Record) error {
		if !r.Status.Good() {
			return failure.New(failure.Conflict, "the backup %s is %s by now", r.ID, r.Status)
		}
		r.Archive = file.record(s.Now().UTC())
		if r.DamageOf == catalog.DamagedArchive {
			r.Damage, r.DamageOf = "", ""
		}
		if r.Proof == "" && r.Damage == "" {
			r.Proof = proof
		}
		return nil
	})
}

func (s *Steps) makeArchive(ctx context.Context, w work, lease events.Run, split int64) (archiveFile, error) {
	packs, err := pool.Open(ctx, s.Vault, w.run.Source)
	if err != nil {
		return archiveFile{}, err
	}
	file, err := s.planArchive(ctx, w, packs, split)
	if err != nil {
		return file, err
	}
	var bytes int64
	for _, f := range file.Files {
		bytes += f.Bytes
	}
	s.phase("assemble", 0, bytes)
	at := events.Assembly{}
	for !at.Done {
		if at, err = s.join(ctx, w, file, at); err != nil {
			return file, err
		}
		if err := s.renew(ctx, lease); err != nil {
			return file, err
		}
	}
	return file, nil
}
