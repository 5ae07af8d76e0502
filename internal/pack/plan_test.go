package pack

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// plan is what a Planner made.
type plan struct {
	Reused  []manifest.Entry
	Batches [][]Item
}

// made runs a planner over all its passes. earlier are manifests, the newest first.
func made(t testing.TB, set func(*Planner), documents []Document, objects []app.Object, earlier ...[]manifest.Entry) plan {
	t.Helper()
	var got plan
	p := NewPlanner(len(objects), Output{
		Batch:  func(items []Item) error { got.Batches = append(got.Batches, items); return nil },
		Reused: func(e manifest.Entry) error { got.Reused = append(got.Reused, e); return nil },
	})
	if set != nil {
		set(p)
	}
	for _, o := range objects {
		p.Expect(o)
	}
	sizes := map[string]int64{}
	for _, entries := range earlier {
		for _, e := range entries {
			body := e.Body()
			sizes[e.Header.Pack] = max(sizes[e.Header.Pack], e.Header.Offset+e.Zip().LocalSize())
			sizes[body.Pack] = max(sizes[body.Pack], body.Offset+e.StoredSize())
		}
	}
	for _, entries := range earlier {
		for _, e := range entries {
			if err := p.Previous(e, manifest.Pack{ID: e.Header.Pack, Bytes: sizes[e.Header.Pack]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.EndPrevious(); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range objects {
		if err := p.Object(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(documents); err != nil {
		t.Fatal(err)
	}
	return got
}

// names shows a plan: paths, with what is to be done with them.
func (p plan) names() (reused []string, batches [][]string) {
	for _, e := range p.Reused {
		reused = append(reused, e.Path)
	}
	for _, b := range p.Batches {
		var names []string
		for _, i := range b {
			name := i.path()
			switch {
			case i.Previous != nil:
				name += " again"
			case i.Stored != nil:
				name += " moved"
			case i.Splice:
				name += " spliced"
			}
			names = append(names, name)
		}
		batches = append(batches, names)
	}
	return reused, batches
}

// packed returns the entries of objects as if they had been packed, in packs of so many.
func packed(objects []app.Object, perPack int) []manifest.Entry {
	var entries []manifest.Entry
	var offset int64
	for i, o := range objects {
		if i%perPack == 0 {
			offset = 0
		}
		e := manifest.Entry{
			Path: o.Path, Size: o.Size, Modified: o.Modified, Type: o.Type, Mode: o.Mode,
			Origin: &manifest.Origin{Key: o.Key, Identity: o.Identity, Settled: true},
			Header: manifest.Place{Pack: fmt.Sprintf("%032x", i/perPack), Offset: offset},
		}
		offset += e.Zip().LocalSize() + e.StoredSize()
		entries = append(entries, e)
	}
	return entries
}

func thing(name string, size int64, age time.Duration) app.Object {
	return app.Object{Key: name, Path: name, Size: size, Modified: noon.Add(-age), Identity: "1", Settled: true}
}

func TestReuse(t *testing.T) {
	objects := []app.Object{
		thing("new", 10, 30), thing("kept", loose, 20), thing("touched", 10, 10), thing("unsettled", 10, 0), thing("large", LargeObject, 0),
		thing("moved", 10, 0), thing("untrusted", 10, 0), thing("retyped", 10, 0), thing("mode", loose, 0),
	}
	before := packed(objects[1:], 1)
	entry := func(name string) *manifest.Entry {
		return &before[slices.IndexFunc(before, func(e manifest.Entry) bool { return e.Path == name })]
	}
	entry("unsettled").Origin.Settled = false
	entry("moved").Origin.Key = "elsewhere"
	entry("untrusted").Origin.Identity, objects[6].Identity = "", ""
	objects[2].Modified = noon.Add(time.Hour)
	objects[7].Type = "thumbnail"
	objects[8].Mode = 0o4750
	documents := []Document{{Name: "d", Entry: manifest.Entry{Path: "export.json", Deflated: &manifest.Deflated{Size: 5, CRC32: manifest.CRC(crc32.ChecksumIEEE(nil))}}}}
	got := made(t, nil, documents, objects, before)
	reused, batches := got.names()
	if diff := cmp.Diff([]string{"kept", "large", "mode"}, reused); diff != "" || got.Reused[2].Mode != 0o4750 {
		t.Error(diff, got.Reused[2].Mode)
	}
	want := [][]string{{"new", "moved", "retyped", "unsettled again", "untrusted", "touched"}, {"export.json"}}
	if diff := cmp.Diff(want, batches); diff != "" {
		t.Error(diff)
	}
	again := got.Batches[0][3]
	if again.Object.Key != "unsettled" || again.Object.Identity != "1" || !again.Object.Settled || again.Previous.Header.Pack == "" {
		t.Errorf("%+v", again)
	}
	_, batches = made(t, nil, nil, objects).names() // as with --rehash
	want = [][]string{{"large"}, {"new", "kept", "mode", "moved", "retyped", "unsettled", "untrusted", "touched"}}
	if diff := cmp.Diff(want, batches); diff != "" {
		t.Error(diff)
	}
}

// TestNewestCounts: of two manifests that have an object, the newer one's place counts.
func TestNewestCounts(t *testing.T) {
	objects := []app.Object{thing("a", LargeObject, 0), thing("b", LargeObject, 0)}
	newer, older := packed(objects[:1], 1), packed(objects, 1)
	older[0].Header.Pack = fmt.Sprintf("%032x", 99)
	got := made(t, nil, nil, objects, newer, older)
	if len(got.Reused) != 2 || got.Reused[0].Header.Pack != newer[0].Header.Pack || got.Reused[1].Path != "b" || len(got.Batches) > 0 {
		t.Errorf("%+v", got)
	}
}

// TestLoose: what an archive cannot splice is packed anew with what is new, and only where that pays.
func TestLoose(t *testing.T) {
	const mib = 1 << 20
	var all []app.Object
	for i := range 32 {
		all = append(all, thing(fmt.Sprintf("%02d", i), mib, time.Duration(40-i)*time.Hour))
	}
	before := packed(all, 32) // one pack of 32 MiB
	fresh := thing("zz", mib, 0)
	small := packed([]app.Object{thing("small", mib, 0)}, 1)
	small[0].Header.Pack = fmt.Sprintf("%032x", 7)
	for name, test := range map[string]struct {
		objects []app.Object
		earlier []manifest.Entry
		eager   bool
		reused  int
		moved   int
	}{
		"all of it":               {all, before, false, 32, 0},
		"and something new":       {append(slices.Clone(all), fresh), before, false, 32, 0},
		"half of it":              {append(slices.Clone(all[:16]), fresh), before, false, 16, 0},
		"fragments":               {append(slices.Clone(all[:3]), all[10:]...), before, false, 25, 0},
		"fragments, and new":      {slices.Concat(all[:3], all[10:], []app.Object{fresh}), before, false, 22, 3},
		"more than is dead":       {slices.Concat(all[:3], all[4:], []app.Object{fresh}), before, false, 31, 0},
		"more than is dead, fast": {slices.Concat(all[:3], all[4:], []app.Object{fresh}), before, true, 28, 3},
		"undersized, nothing new": {append(slices.Clone(all), thing("small", mib, 0)), append(slices.Clone(before), small...), false, 33, 0},
		"undersized, and new":     {append(slices.Clone(all), thing("small", mib, 0), fresh), append(slices.Clone(before), small...), false, 32, 1},
		"little is left":          {append(slices.Clone(all[:2]), fresh), before, false, 0, 2},
	} {
		got := made(t, func(p *Planner) { p.Eager = test.eager }, nil, test.objects, test.earlier)
		moved := 0
		for _, b := range got.Batches {
			for _, i := range b {
				if i.Stored != nil {
					moved++
				}
			}
		}
		if len(got.Reused) != test.reused || moved != test.moved {
			t.Errorf("%s: %d reused, %d moved; want %d, %d", name, len(got.Reused), moved, test.reused, test.moved)
		}
	}
}

// TestChained: an entry whose body lies in another pack stays, and its body counts as live there.
func TestChained(t *testing.T) {
	objects := []app.Object{thing("a", 64<<20, 0), thing("b", 64<<20, 0), thing("new", 10, 0)}
	before := packed(objects[:2], 1)
	a := before[0].Zip().LocalSize() + before[0].Size
	before[1].Header = manifest.Place{Pack: before[0].Header.Pack, Offset: a} // the header of b ends the pack of a
	before[1].BodyPlace = &manifest.Place{Pack: fmt.Sprintf("%032x", 1)}
	reused, batches := made(t, nil, nil, objects, before).names()
	if diff := cmp.Diff([]string{"a", "b"}, reused); diff != "" || len(batches) != 1 {
		t.Error(diff, batches)
	}
}

// TestCuts holds random sources against the limits of batches: each item is in one, none is too large, none too small
// where that can be helped, and objects that the store copies have filler while there is some.
func TestCuts(t *testing.T) {
	seeds := uint64(16)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 5))
		var objects []app.Object
		for i := range random.IntN(30_000) {
			size := int64(random.ExpFloat64() * float64(int64(1)<<(8+random.IntN(16))))
			objects = append(objects, thing(fmt.Sprintf("%06d", i), size, time.Duration(random.IntN(1e9))*time.Second))
		}
		floor := int64(0)
		if seed%2 == 0 {
			floor = vault.MinPart << (seed % 3)
		}
		got := made(t, func(p *Planner) { p.Splice = floor }, nil, objects)
		seen := map[string]bool{}
		short := 0
		for _, batch := range got.Batches {
			var bytes, filler int64
			spliced := 0
			for _, item := range batch {
				if seen[item.path()] {
					t.Fatalf("seed %d: %s is packed twice", seed, item.path())
				}
				seen[item.path()] = true
				if item.Splice != (floor > 0 && item.size() >= floor) {
					t.Fatalf("seed %d: %d bytes, spliced %v", seed, item.size(), item.Splice)
				}
				bytes += item.size()
				if item.Splice {
					spliced++
				} else {
					filler += item.size()
				}
			}
			most := int64(BatchBytes + loose)
			if spliced == 0 && batch[0].size() >= LargeObject {
				most = max(LargeBatch, batch[0].size())
			}
			switch {
			case spliced == 0 && (bytes > most || len(batch) > BatchObjects):
				t.Errorf("seed %d: a batch of %d objects, %d bytes", seed, len(batch), bytes)
			case spliced > spliceObjects:
				t.Errorf("seed %d: %d objects are spliced in one batch", seed, spliced)
			case spliced == 0 && bytes < loose && len(batch) < BatchObjects:
				short++
			}
		}
		if len(seen) != len(objects) || short > 2 {
			t.Errorf("seed %d: %d of %d objects, %d short batches", seed, len(seen), len(objects), short)
		}
	}
}

// TestBatchesGrow: however large the source, its packs keep within the parts of an archive.
func TestBatchesGrow(t *testing.T) {
	for name, test := range map[string]struct {
		objects int
		size    int64
		splice  int64
	}{
		"3 TB in photos":         {60_000, 50 << 20, 5 << 20},
		"600 GB in small ones":   {60_000, 10 << 20, 0},
		"600 GB in larger ones":  {60_000, 10 << 20, 5 << 20},
		"1 TB in documents":      {120_000, 9 << 20, 32 << 20},
		"very many of no weight": {120_000, 2 << 10, 5 << 20},
	} {
		batches := 0
		p := NewPlanner(test.objects, Output{Batch: func([]Item) error { batches++; return nil }})
		p.Splice = test.splice
		object := func(i int) app.Object { return thing(fmt.Sprintf("%07d", i), test.size, time.Duration(i)) }
		for i := range test.objects {
			p.Expect(object(i))
		}
		for i := range test.objects {
			if err := p.Object(object(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Finish(nil); err != nil {
			t.Fatal(err)
		}
		if batches > 4_000 {
			t.Errorf("%s: %d packs", name, batches)
		}
	}
}

func TestSameInputSamePlan(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var objects []app.Object
	for i := range 30_000 {
		objects = append(objects, thing(fmt.Sprint(i), random.Int64N(1<<20), time.Duration(random.IntN(1000))*time.Second))
	}
	before := packed(objects[:20_000], 30)
	if diff := cmp.Diff(made(t, nil, nil, objects[100:], before), made(t, nil, nil, objects[100:], before)); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkPlanner plans a source of which nothing changed.
func BenchmarkPlanner(b *testing.B) {
	const count = 200_000
	var objects []app.Object
	for i := range count {
		objects = append(objects, thing(fmt.Sprintf("uploads/%08d.jpg", i), 20_000, time.Duration(i)*time.Second))
	}
	before := packed(objects, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if got := made(b, nil, nil, objects, before); len(got.Reused) != count {
			b.Fatal(len(got.Reused))
		}
	}
	b.ReportMetric(count, "objects/op")
}
