// Package archive makes and reads the ZIP of a backup.
//
// An archive is the live ranges of packs, one after the other, and a tail: lifeboat/backup.json,
// lifeboat/README.txt, lifeboat/manifest.jsonl, the central directory and the end records. Every byte of it follows
// from the manifest and the packs, so its size, its offsets and its CRC-32 are known before the first byte is
// moved, and the same backup gives the same bytes whenever it is made. FORMAT.md has the bytes.
//
// plan.go turns ranges into the parts of a multipart upload (a pure function), tail.go writes the tail, assemble.go
// has the store splice the parts, walk.go and file.go read archives and packs back, byte for byte.
package archive

import (
	"fmt"
	"slices"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Range is a run of bytes of one object in the vault.
type Range struct {
	Key    vault.Key `json:"key"`
	Offset int64     `json:"offset"`
	Length int64     `json:"length"`
	Object int64     `json:"object"` // size of the whole object
	// CRC32 is that of the range, as its entries have it; nil where nobody knows it, of a piece of a body.
	CRC32 *manifest.CRC `json:"crc32,omitempty"`
}

// Layout is the data of an archive, without its tail: ranges in their order.
type Layout struct {
	Ranges []Range
	Size   int64
	CRC32  uint32
	packs  Locator
	header []byte
}

// Locator knows where packs lie: a pool.
type Locator interface {
	Find(id string) (pool.Spot, bool)
}

// NewLayout returns an empty layout of entries whose bytes lie in packs.
func NewLayout(packs Locator) *Layout { return &Layout{packs: packs} }

// Add appends an entry: its header and its body, which join the range before them where they follow it in the pool.
// An entry whose pack is not in the pool is NotFound.
func (l *Layout) Add(e manifest.Entry) error {
	l.header = e.Zip().AppendLocal(l.header[:0])
	if err := l.add(e.Header, int64(len(l.header)), crcOf(l.header)); err != nil {
		return err
	}
	return l.add(e.Body(), e.StoredSize(), e.StoredCRC())
}

func (l *Layout) add(at manifest.Place, length int64, crc uint32) error {
	if length == 0 {
		return nil
	}
	spot, ok := l.packs.Find(at.Pack)
	if !ok {
		return failure.New(failure.NotFound, "the pack %s is gone from the pool", at.Pack)
	}
	l.Append(Range{Key: spot.Key, Offset: spot.Offset + at.Offset, Length: length, Object: spot.Object}, crc)
	return nil
}

// Append appends a range of which the CRC-32 is known; an empty one is left out.
func (l *Layout) Append(r Range, crc uint32) {
	if r.Length == 0 {
		return
	}
	l.CRC32 = zipfmt.CombineCRC(l.CRC32, crc, r.Length)
	l.Size += r.Length
	if n := len(l.Ranges); n > 0 {
		last := &l.Ranges[n-1]
		if last.Key == r.Key && last.Offset+last.Length == r.Offset {
			last.Length += r.Length
			*last.CRC32 = manifest.CRC(zipfmt.CombineCRC(uint32(*last.CRC32), crc, r.Length))
			return
		}
	}
	r.CRC32 = new(manifest.CRC(crc))
	l.Ranges = append(l.Ranges, r)
}

// Part is one part of the upload: one range that the store copies by itself, or bytes that pass through compute.
type Part struct {
	Ranges []Range `json:"ranges"`
	Copy   bool    `json:"copy,omitzero"` // one range, copied by the store
	Size   int64   `json:"size"`
}

// CRC32 returns the CRC-32 that the part must have, if it is known.
func (p Part) CRC32() (uint32, bool) {
	var crc uint32
	for _, r := range p.Ranges {
		if r.CRC32 == nil {
			return 0, false
		}
		crc = zipfmt.CombineCRC(crc, uint32(*r.CRC32), r.Length)
	}
	return crc, true
}

// Rules of the parts of one upload.
type Rules struct {
	// Fast cuts copies into small pieces, so that more of them run side by side.
	Fast bool
	// Equal makes all parts but the last of one size, and copies nothing: some stores take no other.
	Equal bool
}

const (
	// minSource is the size that the source of a ranged copy must exceed (CopySourceRange, S3 API reference).
	minSource = vault.MinPart
	// maxLiteral is the most that one literal part holds in memory, unless the parts would not suffice.
	maxLiteral = 16 << 20
	// mostLiteral is the most that one ever holds.
	mostLiteral = 64 << 20
	// budget is how many parts a plan uses; the rest of the 10,000 is left for what is written twice.
	budget = 9_500
)

// Parts plans the upload: every part but the last has at least 5 MiB, and none more than 5 GiB. A run of bytes that is
// too short to be copied is literal; a literal that is still too short takes the head of what follows. Where the parts
// would not suffice, longer runs are literal too. The same ranges and rules give the same plan.
func Parts(ranges []Range, rules Rules) ([]Part, error) {
	var size int64
	for _, r := range ranges {
		size += r.Length
	}
	if rules.Equal {
		return equal(ranges, size)
	}
	p := planner{piece: piece(size, rules.Fast), shortest: vault.MinPart, literal: maxLiteral}
	parts := p.plan(ranges)
	for len(parts) > budget && p.shortest < mostLiteral {
		p = planner{piece: vault.MaxPart, shortest: p.shortest * 2, literal: mostLiteral}
		parts = p.plan(ranges)
	}
	if len(parts) > budget {
		return nil, failure.New(failure.Exhausted, "the archive would need %d parts, a store takes %d", len(parts), vault.MaxParts).
			WithHint("set `split:` in the source's settings: each volume may have as many")
	}
	return parts, nil
}

// piece returns how much one copied part takes at most: a store copies at a fixed rate, so more parts are faster, and
// cost more.
func piece(size int64, fast bool) int64 {
	const pieces = 1_000
	least := int64(1 << 30)
	if fast {
		least = 32 << 20
	}
	return min(max(size/pieces, least), vault.MaxPart)
}

type planner struct {
	piece    int64 // most of a copy
	shortest int64 // least of a copy
	literal  int64 // most of a literal
}

func (p planner) plan(ranges []Range) []Part {
	var parts []Part
	var literal Part
	flush := func() {
		if literal.Size > 0 {
			parts = append(parts, split(literal, p.literal)...)
		}
		literal = Part{}
	}
	for _, r := range ranges {
		if literal.Size > 0 && literal.Size < vault.MinPart {
			r = literal.take(r, vault.MinPart-literal.Size)
		}
		switch {
		case r.Length == 0:
		case r.Length >= p.shortest && r.Object > minSource:
			flush()
			parts = append(parts, cut(r, p.piece)...)
		default:
			literal.add(r)
		}
	}
	flush()
	return parts
}

func (p *Part) add(r Range) {
	p.Ranges = append(p.Ranges, r)
	p.Size += r.Length
}

// take moves the first need bytes of r into the literal p, all of r where the rest would be too short to be copied.
func (p *Part) take(r Range, need int64) Range {
	if r.Length-need < vault.MinPart {
		p.add(r)
		return Range{}
	}
	p.add(r.part(0, need))
	return r.part(need, r.Length-need)
}

// part returns a piece of a range.
func (r Range) part(offset, length int64) Range {
	if offset == 0 && length == r.Length {
		return r
	}
	return Range{Key: r.Key, Offset: r.Offset + offset, Length: length, Object: r.Object}
}

// cut splits a copied range evenly, so that no piece is too short.
func cut(r Range, most int64) []Part {
	pieces := (r.Length + most - 1) / most
	parts := make([]Part, 0, pieces)
	for i := range pieces {
		from, to := r.Length*i/pieces, r.Length*(i+1)/pieces
		parts = append(parts, Part{Ranges: []Range{r.part(from, to-from)}, Copy: true, Size: to - from})
	}
	return parts
}

// split cuts a literal into parts, evenly.
func split(p Part, most int64) []Part {
	pieces := (p.Size + most - 1) / most
	parts := make([]Part, 0, pieces)
	var done int64
	rest := p.Ranges
	for i := range pieces {
		var part Part
		part, rest = take(rest, p.Size*(i+1)/pieces-done)
		done += part.Size
		parts = append(parts, part)
	}
	return parts
}

// take returns a literal of so many bytes off the front of ranges, which it shortens, and what is left of them.
func take(ranges []Range, want int64) (part Part, rest []Range) {
	for part.Size < want {
		n := min(want-part.Size, ranges[0].Length)
		part.add(ranges[0].part(0, n))
		if n == ranges[0].Length {
			ranges = ranges[1:]
			continue
		}
		ranges[0] = ranges[0].part(n, ranges[0].Length-n)
	}
	return part, ranges
}

// equal cuts everything into literals of one size.
func equal(ranges []Range, size int64) ([]Part, error) {
	one := int64(maxLiteral)
	for size > one*budget && one < mostLiteral {
		one *= 2
	}
	if size > one*vault.MaxParts {
		return nil, failure.New(failure.Exhausted, "the archive has %d bytes; a store that takes parts of equal size only gets %d from here", size, one*vault.MaxParts).
			WithHint("set `split:` in the source's settings")
	}
	var parts []Part
	ranges = slices.Clone(ranges)
	for size > 0 {
		var part Part
		part, ranges = take(ranges, min(one, size))
		size -= part.Size
		parts = append(parts, part)
	}
	return parts, nil
}

// String shows a part as "copy packs/…[0:5242880]" or "literal …", for logs and tests.
func (p Part) String() string {
	names := make([]string, len(p.Ranges))
	for i, r := range p.Ranges {
		names[i] = fmt.Sprintf("%s[%d:%d]", r.Key, r.Offset, r.Offset+r.Length)
	}
	word := "literal "
	if p.Copy {
		word = "copy "
	}
	return word + strings.Join(names, " + ")
}
