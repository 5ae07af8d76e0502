// Package retention removes what is kept no longer: backups that a person names (delete.go), archives whose time is
// over and uploads that nobody goes on with (prune.go), and the packs that no manifest needs any more (sweep.go).
//
// A record is marked first and removed last, so that a delete which was interrupted is seen and finished. Packs go in
// two phases, a day apart. All of it happens under the lease of the source. Where anything of a source cannot be read,
// or a run may still go on, no pack of it goes.
package retention

import (
	"context"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Links withdraws the links of a backup.
type Links interface {
	Revoke(ctx context.Context, source backup.Source, id backup.ID) (int, error)
}

// Options of a deletion, and of pruning.
type Options struct {
	Holder string                   // who holds the source's lease meanwhile
	Stale  func(catalog.Lease) bool // as for catalog.Acquire
	Links  Links                    // of a deletion
	Now    bool                     // packs that nobody needs go at once, without Grace
	DryRun bool                     // of pruning: says what would go, and writes nothing
	Clock  func() time.Time         // nil: the system's
	MAC    manifest.Authenticator   // checks the manifests that have one; nil: their digests are enough

	// ExpireArchive reports whether the archive of a good backup has had its time; nil keeps all.
	ExpireArchive func(catalog.Record) bool
}

func (o Options) now() time.Time {
	if o.Clock == nil {
		return time.Now()
	}
	return o.Clock()
}

// Delete removes a backup and condemns the packs that no other backup of its source names; with o.Now they go too. It
// holds the source's lease; Conflict when another run holds it, also the backup's own, or may go on. Repeated after an
// interruption it does the rest; of a backup that is gone there is nothing to do. Where it is not known what the other
// backups need no pack goes, and Freed.Kept says so. With o.Now that is an error, and so is a pack that the store refuses
// to delete. A backup of which anything but packs is locked, by its record or by the store, is Denied; packs that are locked
// for longer than it stay until theirs ends. Of a record that cannot be read, which is removed like any other, Source and
// ID are enough.
func Delete(ctx context.Context, v *vault.Vault, record catalog.Record, o Options) (Freed, error) {
	if err := mayDelete(record, o.now()); err != nil {
		return Freed{}, err
	}
	c := catalog.New(v)
	var freed Freed
	err := holding(ctx, v, record.Source, "delete-"+record.ID, o, func(ctx context.Context) error {
		_, err := closeLost(ctx, v, record.Source, record.ID, o)
		if err == nil {
			err = nobodyGoesOn(ctx, c, record, o)
		}
		if err == nil {
			freed, err = remove(ctx, v, c, record, o)
		}
		return err
	})
	return freed, err
}

// nobodyGoesOn refuses, before anything is marked or withdrawn, while another run of the source was stopped and may go
// on: it may name any pack. A damaged record is in the way of packs that go at once only: a sweep sees it too.
func nobodyGoesOn(ctx context.Context, c *catalog.Catalog, record catalog.Record, o Options) error {
	for r, err := range c.All(ctx, record.Source) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt && (!o.Now || r.ID == record.ID):
		case err != nil:
			return unreadable(r, err)
		case r.ID == record.ID:
		case r.Status == backup.Canceled || r.Status == backup.InProgress:
			return mayGoOn(r)
		}
	}
	return nil
}

// unknown reports whether an error says that something of the source is damaged or gone, so that nobody knows what else
// is needed.
func unknown(err error) bool {
	kind := failure.KindOf(err)
	return kind == failure.Corrupt || kind == failure.NotFound || kind == failure.Invalid
}

// mark marks a record as being deleted, and returns it as it is: it may have changed since the caller read it. What is
// locked is not marked. A record that cannot be read cannot be marked, and is returned as the caller has it.
func mark(ctx context.Context, v *vault.Vault, c *catalog.Catalog, record catalog.Record, o Options) (catalog.Record, error) {
	marked, err := c.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		if err := mayDelete(*r, o.now()); err != nil {
			return err
		}
		if r.Status.Good() {
			if err := storeLets(ctx, v, record.Source, record.ID, o.now()); err != nil {
				return err
			}
		}
		r.Status = backup.Deleting
		return nil
	})
	if err == nil || failure.KindOf(err) != failure.Corrupt {
		return marked, err
	}
	return record, storeLets(ctx, v, record.Source, record.ID, o.now())
}

func remove(ctx context.Context, v *vault.Vault, c *catalog.Catalog, record catalog.Record, o Options) (Freed, error) {
	record, err := mark(ctx, v, c, record, o)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return Freed{}, nil // somebody else has finished it
	}
	if err != nil {
		return Freed{}, err
	}
	if _, err := o.Links.Revoke(ctx, record.Source, record.ID); err != nil {
		return Freed{}, err
	}
	uploads := []vault.Key{vault.ArchiveFiles(record.Source, record.ID), vault.Snapshot(record.Source, record.ID), vault.Packs(record.Source)}
	if err := v.AbortAll(ctx, uploads...); err != nil { // of a run that was stopped; the lease says that none is under way
		return Freed{}, err
	}
	freed, err := sweep{vault: v, source: record.Source, except: record.ID, now: o.now(), atOnce: o.Now, mac: o.MAC}.run(ctx)
	if err != nil && !o.Now && unknown(err) {
		freed.Kept, err = err, nil
	}
	if err != nil {
		return freed, err
	}
	if record.Archive.Key != "" {
		freed.Bytes += record.Archive.Bytes
	}
	if err := deleteArchive(ctx, v, record.Source, record.ID); err != nil {
		return freed, err
	}
	if err := v.DeleteAll(ctx, vault.Snapshot(record.Source, record.ID)); err != nil {
		return freed, err
	}
	if err := v.DeleteAll(ctx, vault.Messages(record.ID)); err != nil {
		return freed, err
	}
	if o.Now && freed.Refused > 0 { // the record stays: the same command tries again
		return freed, failure.New(failure.Denied, "the store does not let go of %d objects that only backup %s needed", freed.Refused, record.ID).
			WithHint("they may be locked: when the lock has ended, the same command finishes the deletion")
	}
	return freed, c.Remove(ctx, record.Source, record.ID)
}
