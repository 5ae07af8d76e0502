package catalog

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Newest yields what says how a source stands, newest first: its records down to the newest good one, and of the older
// ones those that were written since, as one is that damage was found in. What it reads does not grow with the number of
// backups. Errors are yielded as All does.
func (c *Catalog) Newest(ctx context.Context, source backup.Source, since time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var infos []vault.Info
		for info, err := range c.vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			infos = append(infos, info)
		}
		slices.SortFunc(infos, func(a, b vault.Info) int { return cmp.Compare(b.Key, a.Key) }) // an id begins with its time
		good := false
		for _, info := range infos {
			if good && info.Modified.Before(since) {
				continue
			}
			r, _, err := c.read(ctx, info.Key)
			if failure.KindOf(err) == failure.NotFound {
				continue // it was removed since it was listed
			}
			if err != nil {
				r.Source, r.ID = keyed(info.Key)
			}
			good = good || err == nil && r.Status.Good() && r.Damage == "" && r.Scope.AllObjects() && !r.Suspicious()
			if !yield(r, err) {
				return
			}
		}
	}
}
