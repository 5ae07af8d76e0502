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
			return maxCopy + random.Int64N(3) - 1
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
			ranges = append(ranges, Range{Key: key, Offset: offset, Length: length})
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
	for seed := range uint64(300) {
		ranges := randomRanges(rand.New(rand.NewPCG(seed, 1)))
		before := fmt.Sprint(ranges)
		parts, err := Parts(ranges)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Parts(ranges)
		if fmt.Sprint(parts) != fmt.Sprint(again) || fmt.Sprint(ranges) != before {
			t.Fatalf("seed %d: another plan for the same ranges, or the ranges were changed", seed)
		}
		if problem := breach(parts); problem != "" {
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
func breach(parts []Part) string {
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
		case p.Copy && (len(p.Ranges) != 1 || p.Size > maxCopy || p.Size > vault.MaxPart || p.Ranges[0].Object <= minSource):
			return fmt.Sprintf("part %d is no possible copy", i)
		case !p.Copy && p.Size > maxLiteral:
			return fmt.Sprintf("part %d holds %d bytes in memory", i, p.Size)
		}
	}
	return ""
}

// joinRanges joins neighbours, so that lists which mean the same bytes are equal.
func joinRanges(ranges []Range) []Range {
	l := NewLayout(nil)
	for _, r := range ranges {
		l.Append(r, 0)
	}
	return l.Ranges
}

func TestPlans(t *testing.T) {
	const mib = 1 << 20
	of := func(name string, offset, length, object int64) Range {
		return Range{vault.Key(name), offset, length, object}
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
			[]Range{of("a", 100, maxCopy+1, maxCopy+200)},
			[]string{"copy a[100:536871012]", "copy a[536871012:1073741925]"},
		},
	} {
		parts, err := Parts(test.ranges)
		got := []string{}
		for _, p := range parts {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(append([]string{}, test.want...), got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestTooManyParts(t *testing.T) {
	var ranges []Range
	for i := range vault.MaxParts + 1 {
		ranges = append(ranges, Range{vault.Key(fmt.Sprint(i)), 0, 6 << 20, 6 << 20})
	}
	if parts, err := Parts(ranges[1:]); err != nil || len(parts) != vault.MaxParts {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	if _, err := Parts(ranges); failure.KindOf(err) != failure.Exhausted {
		t.Errorf("%v", err)
	}
}

func packID(n int) string { return strings.Repeat(fmt.Sprintf("%02x", n), 16) }

func layoutOf(packs map[string]int64) *Layout {
	return NewLayout(func(id string) (vault.Key, int64) { return vault.Pack("a", id), packs[id] })
}

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
	l := layoutOf(map[string]int64{packID(1): 500, packID(2): 60, packID(3): 70})
	var all []byte
	for _, x := range []struct {
		manifest.Entry
		body string
	}{{a, "alpha"}, {b, ""}, {c, "gamma"}, {d, "delta"}} {
		all = append(all, bytesOf(x.Entry, x.body)...)
		l.Add(x.Entry)
	}
	want := []Range{
		{vault.Pack("a", packID(1)), 0, next + b.Zip().LocalSize(), 500},
		{vault.Pack("a", packID(1)), next + 100, c.Zip().LocalSize() + 5, 500},
		{vault.Pack("a", packID(2)), 0, d.Zip().LocalSize(), 60},
		{vault.Pack("a", packID(3)), 7, 5, 70},
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
		ranges[i] = Range{vault.Key(fmt.Sprintf("packs/a/%02x/%d", i%256, i)), 0, length, length}
	}
	for b.Loop() {
		if _, err := Parts(ranges); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(ranges)), "ranges/op")
}

func BenchmarkLayout(b *testing.B) {
	const count = 100_000
	entries := make([]manifest.Entry, count)
	packs := map[string]int64{}
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
			l.Add(e)
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
