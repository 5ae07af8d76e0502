package pool_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// forge writes an index that is sound in itself, and an object of the size that it says.
func (w *world) forge(held ...manifest.Pack) manifest.Pack {
	w.t.Helper()
	m := pool.Merged{Format: pool.Format}
	var ids []string
	var crc uint32
	for _, h := range held {
		m.Holds = append(m.Holds, pool.Held{Pack: h, Offset: m.Pack.Bytes})
		m.Pack.Bytes += h.Bytes
		crc = zipfmt.CombineCRC(crc, uint32(h.CRC32), h.Bytes)
		ids = append(ids, h.ID)
	}
	m.Pack.ID, m.Pack.CRC32 = pool.MergedID(ids), manifest.CRC(crc)
	w.index(m)
	w.put(vault.Pack("photos", m.Pack.ID), make([]byte, m.Pack.Bytes))
	return m.Pack
}

func (w *world) index(m pool.Merged) {
	w.t.Helper()
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(vault.Merge("photos", m.Pack.ID), append(data, '\n'))
}

// TestForged: an index is not signed. One that says of a pack what its manifest does not say makes nothing garbage that
// the manifest needs, and where the pack's own object contradicts it, the pack is found there.
func TestForged(t *testing.T) {
	short := func(p manifest.Pack) manifest.Pack { p.Bytes = 100; return p }
	other := func(p manifest.Pack) manifest.Pack { p.CRC32++; return p }
	for name, c := range map[string]struct {
		forge   func(w *world) manifest.Pack
		own     bool // the pack's own object is there
		found   bool // the pack is found as it is
		missing bool
	}{
		"a size":              {func(w *world) manifest.Pack { return w.forge(short(w.packs[0]), w.packs[1]) }, true, true, false},
		"a size, without own": {func(w *world) manifest.Pack { return w.forge(short(w.packs[0]), w.packs[1]) }, false, false, true},
		"a larger size":       {func(w *world) manifest.Pack { p := w.packs[0]; p.Bytes++; return w.forge(p, w.packs[1]) }, true, true, false},
		"a CRC-32":            {func(w *world) manifest.Pack { return w.forge(other(w.packs[0]), w.packs[1]) }, true, false, true},
		"a CRC-32, no own":    {func(w *world) manifest.Pack { return w.forge(other(w.packs[0]), w.packs[1]) }, false, false, true},
		"beside a true index": {func(w *world) manifest.Pack {
			w.merge(w.open(), w.packs...)
			return w.forge(short(w.packs[0]), w.packs[1], w.packs[2])
		}, false, false, true},
		"CRC-32, true index": {func(w *world) manifest.Pack {
			w.merge(w.open(), w.packs...)
			return w.forge(other(w.packs[0]), w.packs[1], w.packs[2])
		}, true, false, true},
		"of a merged pack": {func(w *world) manifest.Pack {
			return w.forge(short(w.merge(w.open(), w.packs[0], w.packs[1])), w.packs[2])
		}, true, true, false},
		"sum of a merged pack": {func(w *world) manifest.Pack {
			return w.forge(other(w.merge(w.open(), w.packs[0], w.packs[1])), w.packs[2])
		}, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 6<<20, 5<<20, 5<<20+1)
			first := w.packs[0]
			forged := c.forge(w)
			if !c.own {
				if err := w.Delete(t.Context(), vault.Pack("photos", first.ID)); err != nil {
					t.Fatal(err)
				}
			}
			p := w.open()
			if len(p.Damaged()) > 0 || p.Has(first) != c.found {
				t.Errorf("damaged: %v, found as it is: %v", p.Damaged(), p.Has(first))
			}
			for _, beside := range w.packs[1:] { // an index that is wrong in one thing is not believed in another
				if at, ok := p.Find(beside.ID); c.found && (!ok || at.Key == vault.Pack("photos", forged.ID)) {
					t.Errorf("%s lies in %+v", beside.ID, at)
				}
			}
			garbage, missing := p.Garbage(map[string]manifest.Pack{first.ID: first})
			if slices.Contains(missing, first.ID) != c.missing {
				t.Errorf("missing: %v", missing)
			}
			at, _ := p.Find(first.ID)
			for _, info := range garbage {
				if info.Key == at.Key || !c.found && info.Key == vault.Pack("photos", first.ID) {
					t.Errorf("%s is garbage", info.Key)
				}
			}
		})
	}
}

// TestForgedOffset: packs in a merged one lie without gaps: another offset makes the index damaged, and the merged pack
// counts for nothing.
func TestForgedOffset(t *testing.T) {
	w := newWorld(t, 6<<20, 5<<20)
	merged := w.merge(w.open(), w.packs...)
	var m pool.Merged
	if _, err := w.GetJSON(t.Context(), vault.Merge("photos", merged.ID), &m); err != nil {
		t.Fatal(err)
	}
	m.Holds[1].Offset--
	w.index(m)
	p := w.open()
	w.check(p)
	if diff := cmp.Diff([]vault.Key{vault.Merge("photos", merged.ID)}, p.Damaged()); diff != "" {
		t.Error(diff)
	}
	// Sizes that shift a pack contradict the packs beside it.
	m.Holds[0].Bytes, m.Holds[1].Bytes, m.Holds[1].Offset = 6<<20-1, 5<<20+1, 6<<20-1
	m.Pack.CRC32 = manifest.CRC(zipfmt.CombineCRC(uint32(m.Holds[0].CRC32), uint32(m.Holds[1].CRC32), m.Holds[1].Bytes))
	w.index(m)
	p = w.open()
	w.check(p)
	if garbage, missing := p.Garbage(w.named()); len(p.Damaged()) > 0 || len(missing) > 0 || len(garbage) != 2 {
		t.Errorf("damaged %v, missing %v, garbage %v", p.Damaged(), missing, garbage)
	}
}
