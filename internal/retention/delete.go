// Package retention removes backups: so far those that a person names. The record is marked first and removed
// last, so that a delete which was interrupted is seen and finished.
package retention

import (
	"context"
	"errors"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// Links withdraws the links of a backup.
type Links interface {
	Revoke(ctx context.Context, source backup.Source, id backup.ID) (int, error)
}

// Options of a deletion.
type Options struct {
	Holder string                   // who holds the source's lease meanwhile
	Stale  func(catalog.Lease) bool // as for catalog.Acquire
	Links  Links
}

// Freed is what a deletion removed.
type Freed struct {
	Packs int
	Bytes int64 // of the archive and the packs
}

// Delete removes a backup and the packs that no other backup of its source names. It holds the source's lease, so
// that no run can begin to reuse a pack that is about to go; Conflict when another run holds it, also the backup's own.
// Repeated after an interruption it does the rest; of a backup that is gone there is nothing to do.
func Delete(ctx context.Context, v *vault.Vault, record catalog.Record, o Options) (Freed, error) {
	c := catalog.New(v)
	// Not the backup's own id: its run, if it lives, must not take the lease for its own.
	lease := catalog.Lease{Run: "delete-" + record.ID, Holder: o.Holder}
	lost, err := c.Acquire(ctx, record.Source, lease, time.Now(), o.Stale)
	if held := (catalog.Held{}); errors.As(err, &held) {
		return Freed{}, failure.New(failure.Conflict, "the source %s is at work: %w", record.Source, err).WithHint("wait for the run to end")
	}
	if err != nil {
		return Freed{}, err
	}
	freed := Freed{}
	err = closeLost(ctx, c, record, lost)
	if err == nil {
		err = nobodyGoesOn(ctx, c, record)
	}
	if err == nil {
		freed, err = remove(ctx, v, c, record, o)
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return freed, errors.Join(err, c.Release(release, record.Source, lease.Run))
}

// closeLost ends the record of a dead run whose lease was taken over: the next run would not learn of it any more.
func closeLost(ctx context.Context, c *catalog.Catalog, record catalog.Record, lost backup.ID) error {
	if lost == "" || lost == record.ID {
		return nil
	}
	_, err := c.Update(ctx, record.Source, lost, func(r *catalog.Record) error {
		if r.Status == backup.InProgress {
			r.Status, r.Finished = backup.Failed, time.Now().UTC()
			r.Failure = &catalog.Failure{Kind: "lost", Message: "the run ended without a word: its process was killed, or the machine went down"}
		}
		return nil
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return nil // it was a deletion, or had no record yet
	}
	return err
}

// nobodyGoesOn refuses, before anything is marked or withdrawn, while another run of the source was stopped and may go
// on: it may name any pack.
func nobodyGoesOn(ctx context.Context, c *catalog.Catalog, record catalog.Record) error {
	for r, err := range c.All(ctx, record.Source) {
		if err != nil {
			return err
		}
		if r.ID != record.ID && (r.Status == backup.Canceled || r.Status == backup.InProgress) {
			return failure.New(failure.Conflict, "backup %s of this source was stopped and may go on: it may need what would be deleted", r.ID).
				WithHint("finish it with `lifeboat backup %s`, or delete it first: lifeboat delete %s", record.Source, r.ID)
		}
	}
	return nil
}

func remove(ctx context.Context, v *vault.Vault, c *catalog.Catalog, record catalog.Record, o Options) (Freed, error) {
	_, err := c.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		r.Status = backup.Deleting
		return nil
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return Freed{}, nil // somebody else has finished it
	}
	if err != nil {
		return Freed{}, err
	}
	if _, err := o.Links.Revoke(ctx, record.Source, record.ID); err != nil {
		return Freed{}, err
	}
	for _, prefix := range []vault.Key{vault.Archive(record.Source, record.ID), vault.Snapshot(record.Source, record.ID), vault.Packs(record.Source)} {
		if err := v.AbortAll(ctx, prefix); err != nil { // of a run that was stopped; the lease says that none is under way
			return Freed{}, err
		}
	}
	only, err := ownPacks(ctx, v, c, record)
	if err != nil {
		return Freed{}, err
	}
	freed := Freed{Bytes: record.Archive.Bytes}
	if err := v.Delete(ctx, vault.Archive(record.Source, record.ID)); err != nil {
		return freed, err
	}
	for id, p := range only {
		if err := v.Delete(ctx, vault.Pack(record.Source, id)); err != nil {
			return freed, err
		}
		freed.Packs++
		freed.Bytes += p.Bytes
	}
	if err := v.DeleteAll(ctx, vault.Snapshot(record.Source, record.ID)); err != nil {
		return freed, err
	}
	if err := v.DeleteAll(ctx, vault.Messages(record.ID)); err != nil {
		return freed, err
	}
	return freed, c.Remove(ctx, record.Source, record.ID)
}

// ownPacks returns the packs that the backup names and no other does. Where another backup's manifest cannot be read,
// or is not the one that its record names, nothing is known of its packs: that is an error, and nothing goes.
func ownPacks(ctx context.Context, v *vault.Vault, c *catalog.Catalog, record catalog.Record) (map[string]manifest.Pack, error) {
	own, err := packs(ctx, v, record)
	switch kind := failure.KindOf(err); {
	case err == nil:
	case kind == failure.NotFound: // it never came to a manifest
		if own, err = pack.Written(ctx, v, record.Source, record.ID); err != nil {
			return nil, err
		}
	case kind == failure.Corrupt:
		return nil, nil
	default:
		return nil, err
	}
	for r, err := range c.All(ctx, record.Source) {
		if err != nil {
			return nil, err
		}
		if r.ID == record.ID {
			continue
		}
		if r.Manifest.Key == "" {
			continue
		}
		others, err := packs(ctx, v, r)
		if err != nil && r.Status == backup.Deleting && failure.KindOf(err) == failure.NotFound {
			continue // its own deletion got that far
		}
		if err != nil {
			return nil, failure.New(failure.KindOf(err), "find out which packs backup %s needs: %w", r.ID, err).
				WithHint("`lifeboat verify %s` says what is wrong with it; once it is deleted, this one can go", r.ID)
		}
		for id := range others {
			delete(own, id)
		}
	}
	return own, nil
}

// packs reads the head of a manifest, and the rest of it to know that the head is right.
func packs(ctx context.Context, v *vault.Vault, record catalog.Record) (map[string]manifest.Pack, error) {
	body, _, err := v.Open(ctx, vault.Manifest(record.Source, record.ID), 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m, err := manifest.Open(body)
	if err != nil {
		return nil, err
	}
	if err := m.Skip(); err != nil {
		return nil, err
	}
	if record.Manifest.SHA256 != "" && m.Digest() != record.Manifest.SHA256 {
		return nil, failure.New(failure.Corrupt, "the manifest of backup %s is not the one that its record names", record.ID)
	}
	return m.Packs, nil
}
