package archive

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// randomRanges has runs of tiny, short and huge ranges, of objects short and long, next to one another or with holes.
func randomRanges(random *rand.Rand) []Range {
	size := func() int64 {
		switch random.IntN(9) {
		case 0:
			return 1
		case 1:
			return vault.MinPart + random.Int64N(3) - 1
		case 2:
			return maxLiteral + random.Int64N(3) - 1
		case 3:
			return 1<<30 + random.Int64N(3) - 1
		case 4:
			return random.Int64N(20 << 30)
		case 5:
			return random.Int64N(vault.MinPart)
		}
		return random.Int64N(12 << 20)
	}
	var ranges []Range
	for n := random.IntN(60); len(ranges) < n; {
		key := vault.Key(fmt.Sprintf("packs/a/%02d", len(ranges)))
		offset := random.Int64N(100)
		for range 1 + random.IntN(4) {
			length := 1 + size()
			ranges = append(ranges, Range{Key: key, Offset: offset, Length: length, CRC32: new(manifest.CRC)})
			offset += length + random.Int64N(1000)
		}
		for i := range ranges {
			if ranges[i].Key == key {
				ranges[i].Object = offset
			}
		}
	}
	return ranges
}

// TestParts holds random plans against the store's rules.
func TestParts(t *testing.T) {
	for seed := range uint64(100) {
		ranges := randomRanges(rand.New(rand.NewPCG(seed, 1)))
		before := fmt.Sprint(ranges)
		rules := Rules{Fast: seed%3 == 0, Equal: seed%5 == 0}
		parts, err := Parts(ranges, rules)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Parts(ranges, rules)
		if fmt.Sprint(parts) != fmt.Sprint(again) || fmt.Sprint(ranges) != before {
			t.Fatalf("seed %d: another plan for the same ranges, or the ranges were changed", seed)
		}
		if problem := breach(parts, rules); problem != "" {
			t.Errorf("seed %d: %s\n%v", seed, problem, parts)
		}
		var copied []Range
		for _, p := range parts {
			copied = append(copied, p.Ranges...)
		}
		if diff := cmp.Diff(joinRanges(ranges), joinRanges(copied)); diff != "" {
			t.Errorf("seed %d: the parts hold other bytes: %s", seed, diff)
		}
	}
}

// breach says what a store would not take, or memory would not hold.
func breach(parts []Part, rules Rules) string {
	for i, p := range parts {
		last := i == len(parts)-1
		var size int64
		for _, r := range p.Ranges {
			if r.Length <= 0 || r.Offset < 0 || r.Offset+r.Length > r.Object {
				return fmt.Sprintf("part %d has the range %+v", i, r)
			}
			size += r.Length
		}
		switch {
		case size != p.Size:
			return fmt.Sprintf("part %d says %d bytes and has %d", i, p.Size, size)
		case p.Size < vault.MinPart && !last:
			return fmt.Sprintf("part %d has %d bytes", i, p.Size)
		case rules.Equal && (p.Copy || !last && p.Size != parts[0].Size || p.Size > parts[0].Size):
			return fmt.Sprintf("part %d of %d bytes is not like the others", i, p.Size)
		case p.Copy && (len(p.Ranges) != 1 || p.Size > vault.MaxPart || p.Ranges[0].Object <= minSource):
			return fmt.Sprintf("part %d is no possible copy", i)
		case !p.Copy && p.Size > mostLiteral || !p.Copy && len(parts) < 5_000 && p.Size > maxLiteral:
			return fmt.Sprintf("part %d holds %d bytes in memory", i, p.Size)
		}
	}
	return ""
}

// joinRanges joins neighbours, so that lists which mean the same bytes are equal.
func joinRanges(ranges []Range) []Range {
	l := NewLayout(nil)
	for _, r := range ranges {
		r.CRC32 = nil
		l.Append(r, 0)
	}
	for i := range l.Ranges {
		l.Ranges[i].CRC32 = nil
	}
	return l.Ranges
}

func TestPlans(t *testing.T) {
	const mib = 1 << 20
	of := func(name string, offset, length, object int64) Range {
		return Range{Key: vault.Key(name), Offset: offset, Length: length, Object: object}
	}
	for name, test := range map[string]struct {
		ranges []Range
		want   []string
	}{
		"nothing": {},
		"whole packs are copied": {
			[]Range{of("a", 0, 32*mib, 32*mib), of("b", 0, 3*mib, 3*mib)},
			[]string{"copy a[0:33554432]", "literal b[0:3145728]"},
		},
		"a short literal takes the head of what follows": {
			[]Range{of("a", 0, mib, mib), of("b", 0, 32*mib, 32*mib)},
			[]string{"literal a[0:1048576] + b[0:4194304]", "copy b[4194304:33554432]"},
		},
		"or all of it": {
			[]Range{of("a", 0, mib, mib), of("b", 0, 8*mib, 8*mib)},
			[]string{"literal a[0:1048576] + b[0:8388608]"},
		},
		"a source of 5 MiB cannot be copied": {
			[]Range{of("a", 0, 5*mib, 5*mib), of("b", 0, 6*mib, 6*mib)},
			[]string{"literal a[0:5242880]", "copy b[0:6291456]"},
		},
		"long literals are split evenly": {
			[]Range{of("a", 0, 4*mib, 4*mib), of("b", 0, 4*mib, 4*mib), of("c", 0, 4*mib, 4*mib), of("d", 0, 4*mib, 4*mib), of("e", 0, 4*mib, 4*mib)},
			[]string{"literal a[0:4194304] + b[0:4194304] + c[0:2097152]", "literal c[2097152:4194304] + d[0:4194304] + e[0:4194304]"},
		},
		"long copies are split evenly": {
			[]Range{of("a", 100, 1<<30+1, 1<<30+200)},
			[]string{"copy a[100:536871012]", "copy a[536871012:1073741925]"},
		},
	} {
		parts, err := Parts(test.ranges, Rules{})
		got := []string{}
		for _, p := range parts {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(append([]string{}, test.want...), got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

// TestBudget: where the parts would not suffice, ranges that could be copied pass through compute; where that does not
// help, it says what does.
func TestBudget(t *testing.T) {
	of := func(n int, size int64) (ranges []Range) {
		for i := range n {
			ranges = append(ranges, Range{Key: vault.Key(fmt.Sprint(i)), Length: size, Object: size})
		}
		return ranges
	}
	for name, test := range map[string]struct {
		ranges []Range
		copied bool
		most   int
	}{
		"just enough":     {of(budget, 6<<20), true, budget},
		"fragments":       {of(90_000, 6<<20), false, 9_000},
		"very many tiny":  {of(150_000, 20<<10), false, 500},
		"10 TB in packs":  {of(2_400, 4<<30), true, 2_400},
		"48 TB in packs":  {of(9_400, 5<<30), true, 9_400},
		"46 TiB in four":  {of(4, 11<<40+1<<39), true, 9_500},
		"packs of 40 MiB": {of(30_000, 40<<20), false, 30_000},
	} {
		parts, err := Parts(test.ranges, Rules{Fast: true})
		if name == "packs of 40 MiB" { // 1.2 TB that nobody merged
			if failure.KindOf(err) != failure.Exhausted || failure.HintOf(err) == "" {
				t.Errorf("%s: %d parts, %v", name, len(parts), err)
			}
			continue
		}
		if problem := breach(parts, Rules{}); problem != "" || err != nil || len(parts) > test.most || parts[0].Copy != test.copied {
			t.Errorf("%s: %d parts, %v, %s", name, len(parts), err, problem)
		}
	}
}

// TestExpected: what is known of a part's CRC-32 is right.
func TestExpected(t *testing.T) {
	data := make([]byte, 30<<20)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	l := NewLayout(nil)
	cuts := []int{0, 3 << 20, 3<<20 + 7, 9 << 20, 28 << 20, 28<<20 + 1, 30 << 20}
	for i := range len(cuts) - 1 {
		from, to := int64(cuts[i]), int64(cuts[i+1])
		key := vault.Key(fmt.Sprint(i / 2))
		l.Append(Range{Key: key, Offset: from, Length: to - from, Object: int64(len(data))}, crcOf(data[from:to]))
	}
	parts, err := Parts(l.Ranges, Rules{})
	if err != nil {
		t.Fatal(err)
	}
	known, at := 0, int64(0)
	for _, p := range parts {
		if crc, ok := p.CRC32(); ok {
			known++
			if want := crcOf(data[at : at+p.Size]); crc != want {
				t.Errorf("%s: %08x, want %08x", p, crc, want)
			}
		}
		at += p.Size
	}
	if known == 0 || at != int64(len(data)) || l.CRC32 != crcOf(data) {
		t.Errorf("%d parts of %d are known", known, len(parts))
	}
}

func packID(n int) string { return strings.Repeat(fmt.Sprintf("%02x", n), 16) }

// sizes is a pool of packs by their sizes.
type sizes map[string]int64

func (s sizes) Find(id string) (pool.Spot, bool) {
	size, ok := s[id]
	return pool.Spot{Key: vault.Pack("a", id), Bytes: size, Object: size}, ok
}

func layoutOf(packs sizes) *Layout { return NewLayout(packs) }

func TestLayout(t *testing.T) {
	bytesOf := func(e manifest.Entry, body string) []byte { return append(e.Zip().AppendLocal(nil), body...) }
	entry := func(pack int, offset int64, name, body string) manifest.Entry {
		return manifest.Entry{
			Path: name, Size: int64(len(body)), CRC32: manifest.CRC(crc32.ChecksumIEEE([]byte(body))),
			Header: manifest.Place{Pack: packID(pack), Offset: offset},
		}
	}
	a := entry(1, 0, "a", "alpha")
	next := int64(len(bytesOf(a, "alpha")))
	b := entry(1, next, "empty", "")
	c := entry(1, next+100, "c", "gamma") // behind a hole
	d := entry(2, 0, "d", "delta")
	d.BodyPlace = &manifest.Place{Pack: packID(3), Offset: 7} // its header lies elsewhere
	l := layoutOf(sizes{packID(1): 500, packID(2): 60, packID(3): 70})
	var all []byte
	for _, x := range []struct {
		manifest.Entry
		body string
	}{{a, "alpha"}, {b, ""}, {c, "gamma"}, {d, "delta"}} {
		all = append(all, bytesOf(x.Entry, x.body)...)
		if err := l.Add(x.Entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Add(entry(9, 0, "gone", "x")); failure.KindOf(err) != failure.NotFound {
		t.Errorf("a pack that is not there: %v", err)
	}
	want := []Range{
		{Key: vault.Pack("a", packID(1)), Length: next + b.Zip().LocalSize(), Object: 500},
		{Key: vault.Pack("a", packID(1)), Offset: next + 100, Length: c.Zip().LocalSize() + 5, Object: 500},
		{Key: vault.Pack("a", packID(2)), Length: d.Zip().LocalSize(), Object: 60},
		{Key: vault.Pack("a", packID(3)), Offset: 7, Length: 5, Object: 70},
	}
	crc := uint32(0)
	for i, r := range l.Ranges {
		crc = zipfmt.CombineCRC(crc, uint32(*r.CRC32), r.Length)
		l.Ranges[i].CRC32 = nil
	}
	if crc != l.CRC32 {
		t.Errorf("the ranges have the CRC-32 %08x together, the layout %08x", crc, l.CRC32)
	}
	if diff := cmp.Diff(want, l.Ranges); diff != "" {
		t.Error(diff)
	}
	if l.Size != int64(len(all)) || l.CRC32 != crc32.ChecksumIEEE(all) {
		t.Errorf("%d bytes with %08x, want %d with %08x", l.Size, l.CRC32, len(all), crc32.ChecksumIEEE(all))
	}
}

func BenchmarkParts(b *testing.B) {
	ranges := make([]Range, 9000)
	for i := range ranges {
		length := int64(32 << 20)
		if i%7 == 0 {
			length = 1 << 20
		}
		ranges[i] = Range{Key: vault.Key(fmt.Sprintf("packs/a/%02x/%d", i%256, i)), Length: length, Object: length}
	}
	for b.Loop() {
		if _, err := Parts(ranges, Rules{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(ranges)), "ranges/op")
}

func BenchmarkLayout(b *testing.B) {
	const count = 100_000
	entries := make([]manifest.Entry, count)
	packs := sizes{}
	var offset int64
	for i := range entries {
		if i%1000 == 0 {
			offset = 0
		}
		e := manifest.Entry{Path: fmt.Sprintf("uploads/%08d.jpg", i), Size: 20_000, CRC32: manifest.CRC(i), Header: manifest.Place{Pack: packID(i / 1000), Offset: offset}}
		offset += e.Zip().LocalSize() + e.Size
		packs[e.Header.Pack] = offset
		entries[i] = e
	}
	b.ReportAllocs()
	for b.Loop() {
		l := layoutOf(packs)
		for _, e := range entries {
			if err := l.Add(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(count, "entries/op")
}

func BenchmarkCombineCRC(b *testing.B) {
	crc := uint32(1)
	for b.Loop() {
		crc = zipfmt.CombineCRC(crc, 0x12345678, 123_456_789)
	}
	_ = crc
}
