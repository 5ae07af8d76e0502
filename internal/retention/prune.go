package retention

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// UploadTime is how old a multipart upload is that nobody goes on with: a run that was stopped is resumed for as long.
const UploadTime = 24 * time.Hour

// Pruned is what pruning a source has removed, or would with Options.DryRun.
type Pruned struct {
	Freed
	Archives     int // that have expired
	ArchiveBytes int64
	Uploads      int // that nobody goes on with; the store does not say how large they were
}

// LookTime is how long AfterRun does not look for garbage of which nobody has said that it is there, such as packs of an
// attempt that died before it wrote down what it had packed.
const LookTime = 7 * 24 * time.Hour

// Prune closes runs that died and that nobody can go on with, sweeps the pool of a source, expires archives, and aborts
// uploads that are older than UploadTime. It holds the source's lease, but for a dry run. Where the pool cannot be swept,
// because something of it cannot be read or a run may go on, Freed.Kept says why and the rest is done all the same.
func Prune(ctx context.Context, v *vault.Vault, source backup.Source, o Options) (Pruned, error) {
	if o.DryRun {
		return pruneAll(ctx, v, source, o)
	}
	var pruned Pruned
	err := holding(ctx, v, source, backup.ID("prune-"+source), o, func(ctx context.Context) error {
		refused, err := closeLost(ctx, v, source, "", o)
		if err != nil {
			return err
		}
		pruned, err = pruneAll(ctx, v, source, o)
		pruned.Refused += refused
		return err
	})
	return pruned, err
}

func pruneAll(ctx context.Context, v *vault.Vault, source backup.Source, o Options) (Pruned, error) {
	var pruned Pruned
	if err := expire(ctx, v, source, o, &pruned); err != nil {
		return pruned, err
	}
	return pruned, prune(ctx, v, source, o, true, &pruned)
}

// AfterRun is Prune at the end of a run that holds the source's lease and whose record is closed. Archives are looked at
// only where Options.ExpireArchive is set: one listing, and the record of each backup that has one. The pool is looked
// through only where something is condemned and due, where nobody has looked for LookTime, or where look says that there
// is new garbage, as after a merge. Otherwise two requests, and one more as long as nobody has ever looked, find that
// there is nothing to do. Its error makes no backup worse: it is to be logged.
func AfterRun(ctx context.Context, v *vault.Vault, source backup.Source, look bool, o Options) (Pruned, error) {
	var pruned Pruned
	s := sweep{vault: v, source: source, now: o.now()}
	if !look {
		var err error
		if look, err = s.worthIt(ctx); err != nil {
			return pruned, err
		}
	}
	if o.ExpireArchive != nil {
		if err := expire(ctx, v, source, o, &pruned); err != nil {
			return pruned, err
		}
	}
	err := prune(ctx, v, source, o, look, &pruned)
	if err == nil && pruned.Kept != nil && unknown(pruned.Kept) {
		err = s.looked(ctx) // each run would read all manifests until a person has dealt with it
	}
	return pruned, err
}

func prune(ctx context.Context, v *vault.Vault, source backup.Source, o Options, look bool, pruned *Pruned) error {
	if err := abortOld(ctx, v, source, o, pruned); err != nil || !look {
		return err
	}
	freed, err := sweep{vault: v, source: source, now: o.now(), atOnce: o.Now, dry: o.DryRun, mac: o.MAC}.run(ctx)
	freed.Refused += pruned.Refused
	mayGoOn := failure.KindOf(err) == failure.Conflict && !errors.Is(context.Cause(ctx), catalog.ErrLeaseLost)
	if err != nil && (mayGoOn || unknown(err)) {
		freed.Kept, err = err, nil
	}
	pruned.Freed = freed
	return err
}

// expire gives up the archives whose time is over: in the record first, then their bytes. What no good record names,
// since a prune or the making of an archive was stopped, goes too. A run's archive is none of a good backup before the run has ended.
func expire(ctx context.Context, v *vault.Vault, source backup.Source, o Options, pruned *Pruned) error {
	c := catalog.New(v)
	sizes, order, err := archives(ctx, v, source)
	if err != nil {
		return err
	}
	records, err := readSome(ctx, c, source, order)
	if err != nil {
		return err
	}
	for _, record := range records {
		switch {
		case !record.Status.Good():
			continue
		case record.Archive.Key == "": // an earlier prune was stopped, or the making of an archive
		case o.now().Before(record.Archive.LockedUntil): // it was to be kept longer when it was made
			continue
		case o.ExpireArchive == nil || !o.ExpireArchive(record):
			continue
		}
		if !o.DryRun {
			refused, err := giveUp(ctx, v, c, record, o)
			if err != nil {
				return err
			}
			if refused {
				pruned.Refused++
				continue
			}
		}
		pruned.Archives++
		pruned.ArchiveBytes += sizes[record.ID]
	}
	return nil
}

// readers is how many records are read at the same time.
const readers = 16

// readSome reads the records of some backups. Of one that cannot be read nothing is known: it has no status.
func readSome(ctx context.Context, c *catalog.Catalog, source backup.Source, ids []backup.ID) ([]catalog.Record, error) {
	records := make([]catalog.Record, len(ids))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, id := range ids {
		group.Go(func() error {
			record, err := c.Record(groupCtx, source, id)
			if err != nil && !unknown(err) {
				return err
			}
			if err == nil {
				records[i] = record
			}
			return nil
		})
	}
	return records, group.Wait()
}

// archives returns the backups of a source that have an archive in the vault, and the bytes of it, in one volume or
// several.
func archives(ctx context.Context, v *vault.Vault, source backup.Source) (sizes map[backup.ID]int64, order []backup.ID, err error) {
	sizes = map[backup.ID]int64{}
	for info, err := range v.List(ctx, vault.AllArchives(source)) {
		if err != nil {
			return nil, nil, err
		}
		name, _ := strings.CutPrefix(string(info.Key), string(vault.AllArchives(source)))
		name, _, _ = strings.Cut(name, ".")
		id, err := backup.ParseID(name)
		if err != nil {
			continue // not ours
		}
		if _, seen := sizes[id]; !seen {
			order = append(order, id)
		}
		sizes[id] += info.Size
	}
	return sizes, order, nil
}

// giveUp marks an archive as expired and deletes it; refused where the store does not let it go.
func giveUp(ctx context.Context, v *vault.Vault, c *catalog.Catalog, record catalog.Record, o Options) (refused bool, err error) {
	gone := false
	_, err = c.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		if gone = r.Status.Good() && (r.Archive.Key == record.Archive.Key); gone && r.Archive.Key != "" {
			r.Archive.Key, r.Archive.Expired = "", o.now().Round(0).UTC()
		}
		return nil
	})
	if err != nil || !gone {
		return false, err
	}
	err = deleteArchive(ctx, v, record.Source, record.ID)
	if err != nil && failure.KindOf(err) == failure.Denied {
		return true, nil
	}
	return false, err
}

// deleteArchive deletes the archive of a backup, all volumes of it.
func deleteArchive(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) error {
	return v.DeleteAll(ctx, vault.ArchiveFiles(source, id))
}

// abortOld frees the parts of uploads that nobody goes on with.
func abortOld(ctx context.Context, v *vault.Vault, source backup.Source, o Options, pruned *Pruned) error {
	for u, err := range v.Uploads(ctx, "") { // one listing of the few there are, rather than one for each prefix
		if err != nil {
			return err
		}
		ours := false
		for _, prefix := range []vault.Key{vault.Packs(source), vault.AllArchives(source), vault.Snapshots(source)} {
			ours = ours || strings.HasPrefix(string(u.Key), string(prefix))
		}
		if !ours || u.Begun.IsZero() || o.now().Sub(u.Begun) < UploadTime {
			continue
		}
		if !o.DryRun {
			if err := v.Abort(ctx, u); err != nil {
				return err
			}
		}
		pruned.Uploads++
	}
	return nil
}
