// Package pool knows the packs of a source: which there are, and where the bytes of each lie.
//
// A pack lies under its own key, or within a merged pack: several packs that the store has joined to one, so that an
// archive of a large source keeps within the parts of an upload. The index of a merged pack says at which offset each
// of them lies in it. Manifests name packs by the ids that they had when they were written, and stay true for ever.
package pool

import (
	"context"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Spot is where the bytes of a pack lie.
type Spot struct {
	Key    vault.Key
	Offset int64 // in the object
	Bytes  int64 // of the pack
	Object int64 // bytes of the whole object
}

// Pool is the packs of one source as they were at one time.
type Pool struct {
	source backup.Source
	spots  map[string]Spot
}

// Merged is the index of a merged pack, vault.Merge(source, id).
type Merged struct {
	Format int           `json:"lifeboat_merge"`
	Pack   manifest.Pack `json:"pack"`
	Holds  []Held        `json:"holds"` // in the order of their bytes, without gaps
}

// Held is a pack within a merged one.
type Held struct {
	manifest.Pack
	Offset int64 `json:"offset"`
}

// Format is the version of the index; a later one is refused.
const Format = 1

// Open lists the packs of a source and reads the indexes of the merged ones. An index whose merged pack is not there,
// or has another size, counts for nothing. A pack that lies under its own key is found there.
func Open(ctx context.Context, v *vault.Vault, source backup.Source) (*Pool, error) {
	p := &Pool{source: source, spots: map[string]Spot{}}
	var indexes []vault.Key
	for info, err := range v.List(ctx, vault.Packs(source)) {
		if err != nil {
			return nil, err
		}
		if vault.IsMerge(info.Key) {
			indexes = append(indexes, info.Key)
			continue
		}
		p.spots[vault.PackID(info.Key)] = Spot{Key: info.Key, Bytes: info.Size, Object: info.Size}
	}
	if err := p.resolve(ctx, v, indexes); err != nil {
		return nil, err
	}
	return p, nil
}

// resolve finds the packs that lie in others: a merged pack may lie in a further one.
func (p *Pool) resolve(ctx context.Context, v *vault.Vault, indexes []vault.Key) error {
	var merged []Merged
	for _, key := range indexes {
		var m Merged
		if _, err := v.GetJSON(ctx, key, &m); err != nil {
			if failure.KindOf(err) == failure.NotFound {
				continue // it was swept meanwhile
			}
			return err
		}
		if m.Format > Format {
			return failure.New(failure.Usage, "%s was written by a newer lifeboat", key).WithHint("use a newer lifeboat")
		}
		merged = append(merged, m)
	}
	for changed := true; changed; {
		changed = false
		for _, m := range merged {
			outer, ok := p.spots[m.Pack.ID]
			if !ok || outer.Bytes != m.Pack.Bytes {
				continue
			}
			for _, held := range m.Holds {
				if _, known := p.spots[held.ID]; !known && held.Offset >= 0 && held.Offset+held.Bytes <= outer.Bytes {
					p.spots[held.ID] = Spot{Key: outer.Key, Offset: outer.Offset + held.Offset, Bytes: held.Bytes, Object: outer.Object}
					changed = true
				}
			}
		}
	}
	return nil
}

// Find returns where a pack lies; false when it is not in the pool.
func (p *Pool) Find(id string) (Spot, bool) {
	s, ok := p.spots[id]
	return s, ok
}

// Has reports whether the pool has a pack with this id and size.
func (p *Pool) Has(pack manifest.Pack) bool {
	s, ok := p.spots[pack.ID]
	return ok && s.Bytes == pack.Bytes
}

// Add tells the pool of a pack that was written after it was opened.
func (p *Pool) Add(pack manifest.Pack) {
	p.spots[pack.ID] = Spot{Key: vault.Pack(p.source, pack.ID), Bytes: pack.Bytes, Object: pack.Bytes}
}
