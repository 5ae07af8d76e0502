package replay

import (
	"context"
	"path"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// sumTime bounds how long it takes to sum up what a restore that did not complete has put.
var sumTime = 5 * time.Second

// sumAtOnce is how many batches are read at a time for that.
const sumAtOnce = 16

// soFar sums up what a restore that did not complete has put: its batches, and those that it fell on. It is for people: what
// cannot be read, or not in time, counts as nothing.
func (s *Steps) soFar(ctx context.Context, id backup.RestoreID) (sum restore.Result) {
	ctx, cancel := context.WithTimeout(ctx, sumTime)
	defer cancel()
	keys, err := s.putFiles(ctx, id)
	if err != nil {
		s.unsummed(id, err)
	}
	parts := make([]restore.Result, len(keys))
	var group errgroup.Group
	group.SetLimit(sumAtOnce)
	for i, key := range keys {
		group.Go(func() error {
			var r restore.Result
			if _, err := s.Vault.GetJSON(ctx, key, &r); err != nil {
				s.unsummed(id, err)
				return nil
			}
			r.Problems = nil // they are not for the record
			parts[i] = r
			return nil
		})
	}
	_ = group.Wait()
	for _, r := range parts {
		sum.Add(r)
	}
	return sum
}

func (s *Steps) unsummed(id backup.RestoreID, err error) {
	s.Log.Warn("not all of what was put can be summed up", "restore", id, "error", err)
}

// putFiles lists what is kept of the batches, one file of each. With an error it returns those that it has found.
func (s *Steps) putFiles(ctx context.Context, id backup.RestoreID) (keys []vault.Key, err error) {
	whole := map[string]bool{}
	for _, folder := range []string{"put/", "fell/"} {
		for info, err := range s.Vault.List(ctx, vault.RestoreWork(id, folder)) {
			if err != nil {
				return keys, err
			}
			batch := path.Base(string(info.Key))
			if whole[batch] {
				continue // another call of it went well
			}
			whole[batch] = true
			keys = append(keys, info.Key)
		}
	}
	return keys, nil
}

// after returns what has become of a batch that was put again, as a whole: what an earlier put of it, whole or not, has
// written counts as written, and not as found there.
func after(before, now restore.Result) restore.Result {
	existing := min(now.Existing, max(before.Existing, now.Existing-before.Written))
	now.Written, now.Existing = now.Written+now.Existing-existing, existing
	now.Bytes += before.Bytes
	now.Folders = min(now.Folders+before.Folders, now.Written)
	now.Spliced, now.SplicedBytes = min(now.Spliced+before.Spliced, now.Written), now.SplicedBytes+before.SplicedBytes
	return now
}

// fallen returns what has become of a batch that was put again and fell again: which of the files of the earlier put it has
// come across is not known.
func fallen(before, now restore.Result) restore.Result {
	now.Existing = max(before.Existing, now.Existing-before.Written)
	now.Written += before.Written
	now.Bytes += before.Bytes
	now.Folders += before.Folders
	now.Spliced, now.SplicedBytes = now.Spliced+before.Spliced, now.SplicedBytes+before.SplicedBytes
	return now
}
