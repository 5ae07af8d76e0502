// Package pool knows the packs of a source: which there are, and where the bytes of each lie.
//
// A pack lies under its own key, or within a merged pack: several packs that the store has joined to one, so that an
// archive of a large source keeps within the parts of an upload. The index of a merged pack says at which offset each
// of them lies in it. Manifests name packs by the ids that they had when they were written, and stay true for ever.
//
// Merging works on objects of the store, not on ids: a merged pack may be merged again as a whole, and a pack within it
// is then found through two indexes. A pack that lies under its own key and in a merged pack is found in the merged one:
// its own object waits to be swept.
//
// Layout: packs/<source>/<xx>/<id> (packs, merged ones too), packs/<source>/merged/<id>.json (indexes). The pack of an
// index is written before the index, and removed before it.
package pool

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Spot is where the bytes of a pack lie.
type Spot struct {
	Key    vault.Key
	Offset int64 // in the object
	Bytes  int64 // of the pack
	Object int64 // bytes of the whole object
}

// Pool is the packs of one source as they were at one time. It may be read by several goroutines; Add and Merge want it
// for themselves.
type Pool struct {
	source  backup.Source
	objects map[string]vault.Info // under its own key, by id
	merged  map[string]Merged     // indexes that are sound, by the id of the merged pack
	indexes map[string]vault.Info // of every index, by the id of the merged pack
	damaged []vault.Key           // indexes that are not sound
	spots   map[string]found
}

// found is a spot, and the ids of the merged packs on the way to it, the inner one first.
type found struct {
	Spot
	through []string
	crc32   manifest.CRC // that an index says; nothing says it where through is empty
}

// is reports whether what was found can be the pack that a manifest names.
func (f found) is(pack manifest.Pack) bool {
	return f.Bytes == pack.Bytes && (len(f.through) == 0 || f.crc32 == pack.CRC32)
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

// requests is how many requests a pool has in flight.
const requests = 64

// Open lists the packs of a source and reads the indexes of the merged ones. An index that is damaged counts for
// nothing here, and Damaged names it; so does one whose merged pack is not there or has another size. One of a later
// format is a Usage error.
func Open(ctx context.Context, v *vault.Vault, source backup.Source) (*Pool, error) {
	p := &Pool{source: source, objects: map[string]vault.Info{}, merged: map[string]Merged{}, indexes: map[string]vault.Info{}}
	for info, err := range v.List(ctx, vault.Packs(source)) {
		if err != nil {
			return nil, err
		}
		id := indexID(info.Key)
		switch {
		case !isID(id): // not ours
		case info.Key == vault.Merge(source, id):
			p.indexes[id] = info
		case info.Key == vault.Pack(source, id):
			p.objects[id] = info
		}
	}
	if err := p.readIndexes(ctx, v); err != nil {
		return nil, err
	}
	p.resolve()
	return p, nil
}

// indexID is the id of the merged pack that an index is of; that of the pack where key is a pack's.
func indexID(key vault.Key) string { return strings.TrimSuffix(vault.PackID(key), ".json") }

func isID(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 16 && strings.ToLower(text) == text
}

// readIndexes reads every index, many at a time: a source of 10 TB has two thousand.
func (p *Pool) readIndexes(ctx context.Context, v *vault.Vault) error {
	ids := p.sortedIndexes()
	read := make([]Merged, len(ids))
	errs := make([]error, len(ids))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(requests)
	for i, id := range ids {
		group.Go(func() error {
			read[i], errs[i] = readIndex(groupCtx, v, vault.Merge(p.source, id))
			if kind := failure.KindOf(errs[i]); errs[i] == nil || kind == failure.NotFound || kind == failure.Corrupt {
				return nil
			}
			return errs[i]
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		switch {
		case errs[i] != nil && failure.KindOf(errs[i]) == failure.NotFound: // it was swept meanwhile
			delete(p.indexes, id)
		case errs[i] == nil && read[i].Format > Format:
			return failure.New(failure.Usage, "%s was written by a newer lifeboat", vault.Merge(p.source, id)).WithHint("use a newer lifeboat")
		case errs[i] != nil || !read[i].sound(id):
			p.damaged = append(p.damaged, vault.Merge(p.source, id))
		default:
			p.merged[id] = read[i]
		}
	}
	return nil
}

// readIndex reads an index. One that is not byte for byte as it was written is Corrupt, of a later format none is.
func readIndex(ctx context.Context, v *vault.Vault, key vault.Key) (Merged, error) {
	var m Merged
	data, _, err := v.Get(ctx, key)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, failure.New(failure.Corrupt, "read %s: %w", key, err)
	}
	if again, err := m.encode(); err != nil || m.Format <= Format && !bytes.Equal(again, data) {
		return m, failure.New(failure.Corrupt, "%s is not as it was written", key)
	}
	return m, nil
}

// encode returns the bytes of an index.
func (m Merged) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

func (p *Pool) sortedIndexes() []string {
	ids := make([]string, 0, len(p.indexes))
	for id := range p.indexes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// sound reports whether an index can be true: its packs lie one behind the other, and sizes, CRC-32 and the id of the
// merged pack follow from them.
func (m Merged) sound(id string) bool {
	var size int64
	var crc uint32
	ids := make([]string, len(m.Holds))
	for i, held := range m.Holds {
		if held.Offset != size || held.Bytes <= 0 || size+held.Bytes < size {
			return false
		}
		crc = zipfmt.CombineCRC(crc, uint32(held.CRC32), held.Bytes)
		size += held.Bytes
		ids[i] = held.ID
	}
	return m.Format == Format && m.Pack.ID == id && MergedID(ids) == id && m.Pack.Bytes == size && uint32(m.Pack.CRC32) == crc
}

// resolve finds where every pack lies. A merged pack may lie in a further one. The outermost object counts; where there
// are several, the largest. An index is doubted where it contradicts what is known of one of its packs: the size of its own
// object, or its own index. No pack that lies elsewhere is looked for there, since the offsets of the others may be as wrong.
func (p *Pool) resolve() {
	holders := map[string][]holder{}
	for _, id := range p.sortedIndexes() {
		holds := p.merged[id].Holds
		doubted := slices.ContainsFunc(holds, func(h Held) bool { return !p.agrees(h) })
		for _, held := range holds {
			holders[held.ID] = append(holders[held.ID], holder{id, held, doubted})
		}
	}
	p.spots = map[string]found{}
	for id := range p.objects {
		p.locate(id, holders, map[string]bool{})
	}
	for id := range holders {
		p.locate(id, holders, map[string]bool{})
	}
}

// holder is the place of a pack in a merged one.
type holder struct {
	merged  string
	held    Held
	doubted bool
}

func (p *Pool) locate(id string, holders map[string][]holder, asking map[string]bool) (found, bool) {
	if at, ok := p.spots[id]; ok {
		return at, true
	}
	if asking[id] { // the id of a merged pack is a hash of those in it: nobody can make a circle
		return found{}, false
	}
	asking[id] = true
	defer delete(asking, id)
	best := p.within(holders[id], false, holders, asking)
	if own, ok := p.objects[id]; ok && best.Key == "" {
		best.Spot = Spot{Key: own.Key, Bytes: own.Size, Object: own.Size}
	}
	if best.Key == "" {
		best = p.within(holders[id], true, holders, asking)
	}
	if best.Key == "" {
		return found{}, false
	}
	p.spots[id] = best
	return best, true
}

// within finds a pack in the largest of the merged packs that hold it, those that are doubted or the others.
func (p *Pool) within(places []holder, doubted bool, holders map[string][]holder, asking map[string]bool) (best found) {
	for _, h := range places {
		if h.doubted != doubted {
			continue
		}
		outer, ok := p.locate(h.merged, holders, asking)
		if !ok || outer.Bytes != p.merged[h.merged].Pack.Bytes {
			continue
		}
		at := found{Spot{outer.Key, outer.Offset + h.held.Offset, h.held.Bytes, outer.Object}, append([]string{h.merged}, outer.through...), h.held.CRC32}
		if best.Key == "" || cmp.Or(cmp.Compare(at.Object, best.Object), cmp.Compare(best.Key, at.Key)) > 0 {
			best = at
		}
	}
	return best
}

// agrees reports whether what an index says of a pack is what its own object and its own index say.
func (p *Pool) agrees(held Held) bool {
	own, alone := p.objects[held.ID]
	m, merged := p.merged[held.ID]
	return (!alone || own.Size == held.Bytes) && (!merged || m.Pack == held.Pack)
}

// Find returns where a pack lies; false when it is not in the pool.
func (p *Pool) Find(id string) (Spot, bool) {
	at, ok := p.spots[id]
	return at.Spot, ok
}

// Has reports whether the pool has a pack with this id and size. Where it lies in a merged one the index must say its
// CRC-32 too.
func (p *Pool) Has(pack manifest.Pack) bool {
	at, ok := p.spots[pack.ID]
	return ok && at.is(pack)
}

// Add tells the pool of a pack that was written after it was opened.
func (p *Pool) Add(pack manifest.Pack) {
	key := vault.Pack(p.source, pack.ID)
	p.objects[pack.ID] = vault.Info{Key: key, Size: pack.Bytes}
	if _, known := p.spots[pack.ID]; !known {
		p.spots[pack.ID] = found{Spot: Spot{Key: key, Bytes: pack.Bytes, Object: pack.Bytes}}
	}
}

// Damaged returns the indexes that cannot be read or cannot be true. What lies in their packs is not found.
func (p *Pool) Damaged() []vault.Key { return p.damaged }

// Merges returns the index of the merged pack that an object is; false for a pack that is not a merged one.
func (p *Pool) Merges(key vault.Key) (Merged, bool) {
	m, ok := p.merged[vault.PackID(key)]
	return m, ok && key == vault.Pack(p.source, m.Pack.ID)
}

// Garbage returns what none of the packs named needs, in the order of keys: packs, constituents of merged packs,
// merged packs, and indexes. It also returns the packs that are named and nowhere to be found, or only with another size
// or CRC-32 than named (Find still says where): of those the own object is needed, whatever an index says.
func (p *Pool) Garbage(named map[string]manifest.Pack) (garbage []vault.Info, missing []string) {
	needed, missing := p.needed(named)
	for _, all := range []map[string]vault.Info{p.objects, p.indexes} {
		for _, info := range all {
			if !needed[info.Key] {
				garbage = append(garbage, info)
			}
		}
	}
	slices.SortFunc(garbage, func(a, b vault.Info) int { return cmp.Compare(a.Key, b.Key) })
	return garbage, missing
}
