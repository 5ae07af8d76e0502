package retention

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// need is the packs that the manifests of a source name.
type need struct {
	packs map[string]manifest.Pack
	by    map[string]backup.ID // one backup that names the pack
}

// named reads all manifests of a source but that of the run except. Where one of them cannot be read, or is not the one
// that its record names, nothing is known of its packs: that is an error, and nothing may go. So is a run that works or
// was stopped: it may go on, and name any pack. A backup that is being deleted needs nothing any more.
func named(ctx context.Context, v *vault.Vault, source backup.Source, except backup.ID, mac manifest.Authenticator) (need, error) {
	var records []catalog.Record
	for r, err := range catalog.New(v).All(ctx, source) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt && r.ID == except && except != "": // it is being deleted
		case err != nil:
			return need{}, unreadable(r, err)
		case r.ID == except || r.Status == backup.Deleting:
		case r.Status == backup.InProgress || r.Status == backup.Canceled:
			return need{}, mayGoOn(r)
		case r.Manifest.Key == "" && r.Status.Good():
			return need{}, failure.New(failure.Corrupt, "the record of backup %s names no manifest", r.ID)
		case r.Manifest.Key != "":
			records = append(records, r)
		}
	}
	all := need{packs: map[string]manifest.Pack{}, by: map[string]backup.ID{}}
	var mutex sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range records {
		group.Go(func() error {
			packs, err := packs(groupCtx, v, r)
			if err == nil {
				err = catalog.New(v).Authentic(groupCtx, mac, r, r.Manifest.SHA256, r.Manifest.Entries)
			}
			if err != nil {
				return failure.New(failure.KindOf(err), "find out which packs backup %s needs: %w", r.ID, err).
					WithHint("`lifeboat verify %s` says what is wrong with it; once it is deleted, what nobody else needs can go", r.ID)
			}
			mutex.Lock()
			defer mutex.Unlock()
			maps.Copy(all.packs, packs)
			for id := range packs {
				all.by[id] = r.ID
			}
			return nil
		})
	}
	return all, group.Wait()
}

// unreadable is why nothing goes while a record cannot be read.
func unreadable(r catalog.Record, err error) error {
	if failure.KindOf(err) != failure.Corrupt || r.ID == "" {
		return err
	}
	return failure.New(failure.Corrupt, "find out which packs backup %s needs: %w", r.ID, err).
		WithHint("once it is deleted, by `lifeboat delete %s`, what nobody else needs can go", r.ID)
}

// mayGoOn is why nothing goes while a run works, or was stopped and may go on.
func mayGoOn(r catalog.Record) error {
	return failure.New(failure.Conflict, "backup %s of this source was stopped and may go on: it may need what would be deleted", r.ID).
		WithHint("finish it with `lifeboat backup %s`, or delete it first: lifeboat delete %s", r.Source, r.ID)
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
	if m.Digest() != record.Manifest.SHA256 {
		return nil, failure.New(failure.Corrupt, "the manifest of backup %s is not the one that its record names", record.ID)
	}
	return m.Packs, nil
}

// Free deletes at once the packs that a run wrote and that no manifest of its source names: what a failed run packed
// would take space for nobody. What is locked at the time stays: the store is asked, since a run that died while it locked
// has written nothing down. A sweep finds it when the lock has ended. The caller holds the source's lease, or knows that nobody does. Where another run may go
// on, or a manifest cannot be read, none goes: that is an error.
func Free(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID, now time.Time) error {
	written, err := pack.Written(ctx, v, source, id)
	if err != nil || len(written) == 0 {
		return err
	}
	all, err := named(ctx, v, source, id, nil)
	if err != nil {
		return err
	}
	locks, err := catalog.New(v).Locks(ctx, source)
	if err != nil {
		return err
	}
	var keys []vault.Key
	for unnamed := range written {
		key := vault.Pack(source, unnamed)
		if _, needed := all.packs[unnamed]; !needed && !locks.Until(key).After(now) {
			keys = append(keys, key)
		}
	}
	ends, err := lockEnds(ctx, v, keys)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if ends[key].After(now) {
			continue
		}
		if err := v.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
