package retention

import (
	"context"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// closeLost ends the records of runs that died without a word and are too old to be gone on with, and cleans up behind
// them, also behind those that failed and died over that. Younger ones stay open: the same command goes on with them.
// The caller holds the source's lease, so that none of them works. refused counts runs that the store does not let go of.
func closeLost(ctx context.Context, v *vault.Vault, source backup.Source, except backup.ID, o Options) (refused int, err error) {
	c := catalog.New(v)
	working, err := workFiles(ctx, v, source)
	if err != nil {
		return 0, err
	}
	for r, err := range c.All(ctx, source) {
		switch {
		case err != nil && unknown(err):
			continue
		case err != nil:
			return refused, err
		case r.ID == except:
			continue
		case r.Status == backup.InProgress && !mayResume(r, o.now()):
			if err := markLost(ctx, c, r, o); err != nil {
				return refused, err
			}
		case r.Status != backup.Failed || !working[r.ID]:
			continue
		}
		err = clean(ctx, v, source, r.ID, o.now())
		switch {
		case err != nil && failure.KindOf(err) == failure.Denied:
			refused++
		case err != nil:
			return refused, err
		}
	}
	return refused, nil
}

// mayResume reports whether a run that was killed may still be gone on with.
func mayResume(r catalog.Record, now time.Time) bool { return now.Sub(r.Started) < UploadTime }

func markLost(ctx context.Context, c *catalog.Catalog, record catalog.Record, o Options) error {
	_, err := c.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		if r.Status == backup.InProgress {
			r.Status, r.Finished = backup.Failed, o.now().Round(0).UTC()
			r.Failure = &catalog.Failure{Kind: "lost", Message: "the run ended without a word: its process was killed, or the machine went down"}
		}
		return nil
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return nil
	}
	return err
}

// workFiles returns the runs of a source that have work files.
func workFiles(ctx context.Context, v *vault.Vault, source backup.Source) (map[backup.ID]bool, error) {
	working := map[backup.ID]bool{}
	for info, err := range v.List(ctx, vault.Snapshots(source)) {
		if err != nil {
			return nil, err
		}
		name, _ := strings.CutPrefix(string(info.Key), string(vault.Snapshots(source)))
		if id, rest, _ := strings.Cut(name, "/"); strings.HasPrefix(rest, "work/") {
			working[backup.ID(id)] = true
		}
	}
	return working, nil
}

// clean removes what a failed run has made: its archive, its lists, the packs that nobody else names, and last its work
// files, so that a cleaning which was interrupted is seen. Packs stay where it is not known who needs them, and uploads
// of packs, which do not tell whose they are: a later prune finds both.
func clean(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID, now time.Time) error {
	for _, prefix := range []vault.Key{vault.ArchiveFiles(source, id), vault.VolumeLists(source, id)} {
		if err := v.DeleteAll(ctx, prefix); err != nil {
			return err
		}
	}
	if err := v.DeleteKeys(ctx, []vault.Key{vault.Manifest(source, id), vault.Seal(source, id), vault.MAC(source, id)}); err != nil {
		return err
	}
	err := Free(ctx, v, source, id, now)
	if err != nil && failure.KindOf(err) != failure.Conflict && !unknown(err) {
		return err
	}
	if err := v.AbortAll(ctx, vault.ArchiveFiles(source, id), vault.Work(source, id, "")); err != nil {
		return err
	}
	return v.DeleteAll(ctx, vault.Work(source, id, ""))
}
