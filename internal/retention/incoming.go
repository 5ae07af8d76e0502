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

// KeepFetched is how long what a restore has fetched is kept for another attempt of it.
const KeepFetched = 7 * 24 * time.Hour

// Incoming deletes the archives that were fetched for restores which nobody has gone on with for KeepFetched, and what
// was uploaded of them. It returns how many archives there were, and their bytes.
func Incoming(ctx context.Context, v *vault.Vault, now time.Time, dryRun bool) (files int, bytes int64, err error) {
	for info, err := range v.List(ctx, vault.AllIncoming) {
		if err != nil {
			return files, bytes, err
		}
		old, err := abandoned(ctx, v, info, now)
		if err != nil {
			return files, bytes, err
		}
		if !old {
			continue
		}
		if !dryRun {
			if err := v.Delete(ctx, info.Key); err != nil && failure.KindOf(err) != failure.NotFound {
				return files, bytes, err
			}
		}
		files, bytes = files+1, bytes+info.Size
	}
	if dryRun {
		return files, bytes, nil
	}
	for upload, err := range v.Uploads(ctx, vault.AllIncoming) {
		if err != nil {
			return files, bytes, err
		}
		if now.Sub(upload.Begun) > KeepFetched {
			if err := v.Abort(ctx, upload); err != nil && failure.KindOf(err) != failure.NotFound {
				return files, bytes, err
			}
		}
	}
	return files, bytes, nil
}

// abandoned reports whether nobody has gone on with the restore that an archive was fetched for.
func abandoned(ctx context.Context, v *vault.Vault, info vault.Info, now time.Time) (bool, error) {
	if now.Sub(info.Modified) <= KeepFetched {
		return false, nil
	}
	id := backup.RestoreID(strings.TrimSuffix(strings.TrimPrefix(string(info.Key), string(vault.AllIncoming)), ".zip"))
	r, err := catalog.New(v).Restore(ctx, id)
	switch {
	case err != nil && (failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Corrupt):
		return true, nil
	case err != nil:
		return false, err
	}
	return now.Sub(r.Started) > KeepFetched, nil
}
