package pool

import (
	"slices"

	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Needed returns the objects of the pool that hold the packs named, in the order of keys: packs, merged ones, and the
// indexes that say what lies where in these. missing is as in Garbage.
func (p *Pool) Needed(named map[string]manifest.Pack) (keys []vault.Key, missing []string) {
	needed, missing := p.needed(named)
	for key := range needed {
		if p.there(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, missing
}

// there reports whether an object or an index lies in the pool under its own key.
func (p *Pool) there(key vault.Key) bool {
	if vault.IsMerge(key) {
		_, ok := p.indexes[indexID(key)]
		return ok
	}
	_, ok := p.objects[vault.PackID(key)]
	return ok
}

// needed marks the objects without which one of the packs named could not be read.
func (p *Pool) needed(named map[string]manifest.Pack) (needed map[vault.Key]bool, missing []string) {
	needed = map[vault.Key]bool{}
	for id, pack := range named {
		at, ok := p.spots[id]
		if !ok || !at.is(pack) {
			missing = append(missing, id)
			needed[vault.Pack(p.source, id)] = true
		}
		if !ok {
			continue
		}
		needed[at.Key] = true
		for _, merged := range at.through {
			needed[vault.Merge(p.source, merged)] = true
		}
	}
	slices.Sort(missing)
	return needed, missing
}
