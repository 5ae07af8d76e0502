package pool_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

// content returns bytes that nobody else has.
func content(seed uint64, size int64) []byte {
	data := make([]byte, size)
	chacha := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = chacha.Read(data)
	return data
}

// world is a vault with packs of the source photos.
type world struct {
	*vaulttest.Store
	t     *testing.T
	packs []manifest.Pack
	data  map[string][]byte
}

func newWorld(t *testing.T, sizes ...int64) *world {
	t.Helper()
	w := &world{Store: vaulttest.Any(t), t: t, data: map[string][]byte{}}
	for i, size := range sizes {
		w.add(uint64(i), size)
	}
	return w
}

func (w *world) add(seed uint64, size int64) manifest.Pack {
	w.t.Helper()
	data := content(seed, size)
	pack := manifest.Pack{ID: fmt.Sprintf("%032x", seed), Bytes: size, CRC32: manifest.CRC(crc32.ChecksumIEEE(data))}
	w.data[pack.ID] = data
	w.packs = append(w.packs, pack)
	w.put(vault.Pack("photos", pack.ID), data)
	return pack
}

func (w *world) put(key vault.Key, data []byte) {
	w.t.Helper()
	if _, err := w.Put(w.t.Context(), key, data, vault.Always()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() *pool.Pool {
	w.t.Helper()
	p, err := pool.Open(w.t.Context(), w.Vault, "photos")
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func whole(packs ...manifest.Pack) []pool.Use {
	list := make([]pool.Use, len(packs))
	for i, p := range packs {
		list[i] = pool.Use{Pack: p, Live: p.Bytes}
	}
	return list
}

// check reads every pack through the pool.
func (w *world) check(p *pool.Pool) {
	w.t.Helper()
	for id, data := range w.data {
		spot, ok := p.Find(id)
		if !ok || spot.Bytes != int64(len(data)) {
			w.t.Errorf("the pack %s is not found: %+v", id, spot)
			continue
		}
		body, _, err := w.Open(w.t.Context(), spot.Key, spot.Offset, spot.Bytes)
		if err != nil {
			w.t.Fatal(err)
		}
		got := bytes.NewBuffer(make([]byte, 0, len(data)+bytes.MinRead))
		_, err = got.ReadFrom(body)
		body.Close()
		if err != nil || !bytes.Equal(got.Bytes(), data) {
			w.t.Errorf("the pack %s has other bytes in %+v: %v", id, spot, err)
		}
	}
}

func (w *world) merge(p *pool.Pool, packs ...manifest.Pack) manifest.Pack {
	w.t.Helper()
	merged, err := p.Merge(w.t.Context(), w.Vault, whole(packs...), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return merged
}

// superseded returns how many objects are garbage though every pack is needed.
func (w *world) superseded(p *pool.Pool) int {
	w.t.Helper()
	garbage, missing := p.Garbage(w.named())
	if len(missing) > 0 {
		w.t.Errorf("missing: %v", missing)
	}
	return len(garbage)
}

// named names every pack.
func (w *world) named() map[string]manifest.Pack {
	all := map[string]manifest.Pack{}
	for _, p := range w.packs {
		all[p.ID] = p
	}
	return all
}

func TestMerge(t *testing.T) {
	w := newWorld(t, 5<<20, 6<<20, 5<<20+1, 7, 5<<20)
	p := w.open()
	var copied atomic.Int64
	first, err := p.Merge(t.Context(), w.Vault, whole(w.packs[:4]...), func(n int64) { copied.Add(n) })
	if err != nil || first.Bytes != 16<<20+8 || copied.Load() != first.Bytes {
		t.Fatalf("%+v, %d bytes copied, %v", first, copied.Load(), err)
	}
	w.check(p)
	w.check(w.open())
	at, _ := p.Find(w.packs[2].ID)
	want := pool.Spot{Key: vault.Pack("photos", first.ID), Offset: 11 << 20, Bytes: 5<<20 + 1, Object: first.Bytes}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Error(diff)
	}
	if n := w.superseded(p); n != 4 {
		t.Errorf("%d objects are superseded", n)
	}
	// The whole merged pack is merged again: its packs are found through two indexes.
	second := w.merge(p, first, w.packs[4])
	w.NoUploads(t)
	for _, gone := range []string{w.packs[0].ID, w.packs[1].ID, w.packs[2].ID, w.packs[3].ID, w.packs[4].ID, first.ID} {
		if at, ok := p.Find(gone); !ok || at.Key != vault.Pack("photos", second.ID) {
			t.Errorf("%s lies in %+v", gone, at)
		}
		if err := w.Delete(t.Context(), vault.Pack("photos", gone)); err != nil {
			t.Fatal(err)
		}
	}
	w.check(p)
	w.check(w.open())
	if n := w.superseded(w.open()); n != 0 {
		t.Errorf("%d objects are superseded", n)
	}
	uses := w.open().Objects(append(whole(w.packs[:2]...), pool.Use{Pack: w.packs[4], Live: 10}))
	wantUses := []pool.Use{{Pack: second, Live: 11<<20 + 10}}
	if diff := cmp.Diff(wantUses, uses); diff != "" {
		t.Error(diff)
	}
}

// TestMergeInterrupted fails at each call of the vault, before and after it took effect, and merges again.
func TestMergeInterrupted(t *testing.T) {
	undisturbed := newWorld(t, 5<<20, 5<<20+9, 5<<20)
	undisturbed.merge(undisturbed.open(), undisturbed.packs...)
	want := undisturbed.Keys(t)
	for _, after := range []bool{false, true} {
		for n := range vaulttest.Calls(after) {
			w := newWorld(t, 5<<20, 5<<20+9, 5<<20)
			p := w.open()
			var calls atomic.Int64
			w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if calls.Add(1) != int64(n) {
					return next.RoundTrip(r)
				}
				if after {
					if answer, err := next.RoundTrip(r); err == nil {
						_, _ = io.Copy(io.Discard, answer.Body)
						answer.Body.Close()
					}
				}
				return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
			})
			_, err := p.Merge(t.Context(), w.Vault, whole(w.packs...), nil)
			w.Intercept(nil)
			if int(calls.Load()) < n {
				if n < 7 || err != nil {
					t.Errorf("only %d calls, %v", calls.Load(), err)
				}
				break
			}
			w.check(p)
			w.check(w.open())
			w.merge(w.open(), w.packs...)
			w.check(w.open())
			w.NoUploads(t)
			if diff := cmp.Diff(want, w.Keys(t)); diff != "" {
				t.Errorf("call %d, after %v (-want +got):\n%s", n, after, diff)
			}
		}
	}
}

// TestMergeDamaged: a pack that rotted in the store is named, and nothing is made of it.
func TestMergeDamaged(t *testing.T) {
	w := newWorld(t, 5<<20+1, 5<<20+2, 5<<20+3)
	for i, bad := range w.packs {
		data := bytes.Clone(w.data[bad.ID])
		data[1000]++
		w.put(vault.Pack("photos", bad.ID), data)
		before := w.Keys(t)
		_, err := w.open().Merge(t.Context(), w.Vault, whole(w.packs...), nil)
		if failure.KindOf(err) != failure.Corrupt || !strings.Contains(fmt.Sprint(err), bad.ID) {
			t.Errorf("pack %d is damaged: %v", i, err)
		}
		if diff := cmp.Diff(before, w.Keys(t)); diff != "" {
			t.Error(diff)
		}
		w.NoUploads(t)
		w.put(vault.Pack("photos", bad.ID), w.data[bad.ID])
	}
	if err := w.Delete(t.Context(), vault.Pack("photos", w.packs[1].ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open().Merge(t.Context(), w.Vault, whole(w.packs...), nil); failure.KindOf(err) != failure.NotFound || err == nil {
		t.Errorf("a pack is gone: %v", err)
	}
	w.NoUploads(t)
}

// TestMergeWithoutChecksums: a store that copies parts and does not say their CRC-32.
func TestMergeWithoutChecksums(t *testing.T) {
	w := newWorld(t, 5<<20+1, 5<<20+2)
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err != nil || r.Header.Get("X-Amz-Copy-Source") == "" {
			return answer, err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		before, rest, _ := strings.Cut(string(body), "<ChecksumCRC32>")
		_, rest, _ = strings.Cut(rest, "</ChecksumCRC32>")
		answer.Body = io.NopCloser(strings.NewReader(before + rest))
		answer.ContentLength = int64(len(before + rest))
		answer.Header.Del("Content-Length")
		return answer, err
	})
	_, err := w.open().Merge(t.Context(), w.Vault, whole(w.packs...), nil)
	if failure.KindOf(err) != failure.Invalid || err == nil {
		t.Errorf("%v (%v)", err, failure.KindOf(err))
	}
	w.NoUploads(t)
	w.check(w.open())
}

func TestMergeRefuses(t *testing.T) {
	w := newWorld(t, 7, 5<<20, 5<<20)
	for name, group := range map[string][]pool.Use{
		"none": nil, "one": whole(w.packs[1]), "a short one in front": whole(w.packs...), "an empty one": whole(w.packs[1], manifest.Pack{ID: w.packs[2].ID}),
		"too large": whole(w.packs[1], manifest.Pack{ID: w.packs[2].ID, Bytes: vault.MaxPart + 1}),
	} {
		if _, err := w.open().Merge(t.Context(), w.Vault, group, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestIndexes: an index counts for nothing where it is damaged, or where its merged pack is not there as it should be.
func TestIndexes(t *testing.T) {
	w := newWorld(t, 5<<20, 5<<20+5)
	merged := w.merge(w.open(), w.packs...)
	key := vault.Merge("photos", merged.ID)
	var index pool.Merged
	if _, err := w.GetJSON(t.Context(), key, &index); err != nil {
		t.Fatal(err)
	}
	inMerged := func(p *pool.Pool) bool {
		at, ok := p.Find(w.packs[0].ID)
		return ok && at.Key == vault.Pack("photos", merged.ID)
	}
	write := func(change func(*pool.Merged)) {
		m := index
		m.Holds = slices.Clone(index.Holds)
		change(&m)
		data, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		w.put(key, append(data, '\n'))
	}
	for name, change := range map[string]func(*pool.Merged){
		"overlapping":      func(m *pool.Merged) { m.Holds[1].Offset-- },
		"of another order": func(m *pool.Merged) { slices.Reverse(m.Holds) },
		"short":            func(m *pool.Merged) { m.Holds = m.Holds[:1] },
		"empty":            func(m *pool.Merged) { m.Holds = nil },
		"negative":         func(m *pool.Merged) { m.Holds[0].Bytes = -1 },
		"of another pack":  func(m *pool.Merged) { m.Pack.ID = w.packs[0].ID },
		"of another sum":   func(m *pool.Merged) { m.Pack.CRC32++ },
		"of another size":  func(m *pool.Merged) { m.Pack.Bytes++ },
		"of other bytes":   func(m *pool.Merged) { m.Holds[0].CRC32++ },
		"of other packs":   func(m *pool.Merged) { m.Holds[0].ID = strings.Repeat("f", 32) },
		"of no format":     func(m *pool.Merged) { m.Format = 0 },
	} {
		write(change)
		p := w.open()
		if diff := cmp.Diff([]vault.Key{key}, p.Damaged()); diff != "" || inMerged(p) {
			t.Errorf("%s: in merged: %v\n%s", name, inMerged(p), diff)
		}
		w.check(p)
	}
	w.put(key, []byte("{"))
	if p := w.open(); len(p.Damaged()) != 1 {
		t.Error("text that is no JSON is not damaged")
	}
	write(func(m *pool.Merged) { m.Format = pool.Format + 1 })
	if _, err := pool.Open(t.Context(), w.Vault, "photos"); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Errorf("a later format: %v", err)
	}
	write(func(*pool.Merged) {})
	if p := w.open(); !inMerged(p) || len(p.Damaged()) != 0 {
		t.Error("a sound index is damaged")
	}
	w.put(vault.Pack("photos", merged.ID), []byte("cut off"))
	p := w.open()
	w.check(p)
	if err := w.Delete(t.Context(), vault.Pack("photos", merged.ID)); err != nil {
		t.Fatal(err)
	}
	w.check(w.open())
	w.put("packs/photos/xx/not-ours", nil) // counts for nothing
	garbage, missing := w.open().Garbage(map[string]manifest.Pack{w.packs[0].ID: w.packs[0], strings.Repeat("e", 32): {}})
	var keys []vault.Key
	for _, info := range garbage {
		keys = append(keys, info.Key)
	}
	if diff := cmp.Diff([]vault.Key{vault.Pack("photos", w.packs[1].ID), key}, keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{strings.Repeat("e", 32)}, missing); diff != "" {
		t.Error(diff)
	}
}

// TestGarbage: what a merge replaced is garbage, the indexes on the way to what is needed are not.
func TestGarbage(t *testing.T) {
	w := newWorld(t, 5<<20, 5<<20+1, 5<<20+2, 5<<20+3)
	p := w.open()
	first := w.merge(p, w.packs[0], w.packs[1])
	w.merge(p, first, w.packs[2])
	other := w.merge(p, w.packs[3], w.packs[0]) // made by a run that came to nothing
	named := map[string]manifest.Pack{w.packs[1].ID: w.packs[1]}
	keysOf := func() []string {
		garbage, missing := w.open().Garbage(named)
		if len(missing) > 0 {
			t.Errorf("missing: %v", missing)
		}
		list := []string{}
		for _, info := range garbage {
			list = append(list, string(info.Key))
		}
		return list
	}
	want := map[vault.Key]bool{
		vault.Pack("photos", first.ID): true, vault.Pack("photos", other.ID): true, vault.Merge("photos", other.ID): true,
		vault.Pack("photos", w.packs[0].ID): true, vault.Pack("photos", w.packs[1].ID): true, vault.Pack("photos", w.packs[2].ID): true, vault.Pack("photos", w.packs[3].ID): true,
	}
	sorted := []string{}
	for key := range want {
		sorted = append(sorted, string(key))
	}
	slices.Sort(sorted)
	if diff := cmp.Diff(sorted, keysOf()); diff != "" {
		t.Error(diff)
	}
	for _, key := range keysOf() {
		if err := w.Delete(t.Context(), vault.Key(key)); err != nil {
			t.Fatal(err)
		}
	}
	needed, missing := w.open().Needed(named) // what is left: the outermost pack, and both indexes on the way
	if len(needed) != 3 || len(missing) != 0 || !slices.Contains(needed, vault.Merge("photos", first.ID)) || !slices.IsSorted(needed) {
		t.Errorf("needed: %v, missing: %v", needed, missing)
	}
	gone := strings.Repeat("e", 32)
	if needed, missing = w.open().Needed(map[string]manifest.Pack{gone: {}}); len(needed) != 0 || !slices.Equal(missing, []string{gone}) {
		t.Errorf("a pack that is gone: needed %v, missing %v", needed, missing)
	}
	maps.DeleteFunc(w.data, func(id string, _ []byte) bool { return id == w.packs[3].ID })
	w.check(w.open()) // everything in the second merged pack is still found
	if got := keysOf(); len(got) != 0 {
		t.Errorf("still garbage: %v", got)
	}
	named = map[string]manifest.Pack{}
	if diff := cmp.Diff(3, len(keysOf())); diff != "" { // the second merged pack and both indexes
		t.Error(diff)
	}
}

func TestAdd(t *testing.T) {
	w := newWorld(t, 5<<20)
	p := w.open()
	late := manifest.Pack{ID: strings.Repeat("d", 32), Bytes: 9}
	if p.Has(late) {
		t.Error("it is there before it is written")
	}
	p.Add(late)
	if !p.Has(late) || p.Has(manifest.Pack{ID: late.ID, Bytes: 8}) {
		t.Error("it is not there as it was written")
	}
	if at, _ := p.Find(late.ID); at.Key != vault.Pack("photos", late.ID) || at.Object != 9 {
		t.Errorf("%+v", at)
	}
}
