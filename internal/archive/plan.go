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
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Range is a run of bytes of one object in the vault.
type Range struct {
	Key    vault.Key
	Offset int64
	Length int64
	Object int64 // size of the whole object
}

// Layout is the data of an archive, without its tail: ranges in their order.
type Layout struct {
	Ranges []Range
	Size   int64
	CRC32  uint32
	locate func(pack string) (vault.Key, int64)
	known  map[string]Range // the whole of each pack that was located
	header []byte
}

// NewLayout returns an empty layout. locate returns the key and the size of a pack; it is asked once for each.
func NewLayout(locate func(pack string) (vault.Key, int64)) *Layout {
	return &Layout{locate: locate, known: map[string]Range{}}
}

// Add appends an entry: its header and its body, which join the range before them where they follow it in the pack.
func (l *Layout) Add(e manifest.Entry) {
	l.header = e.Zip().AppendLocal(l.header[:0])
	l.add(e.Header, int64(len(l.header)), crcOf(l.header))
	l.add(e.Body(), e.StoredSize(), e.StoredCRC())
}

func (l *Layout) add(at manifest.Place, length int64, crc uint32) {
	pack, ok := l.known[at.Pack]
	if !ok {
		pack.Key, pack.Object = l.locate(at.Pack)
		l.known[at.Pack] = pack
	}
	l.Append(Range{Key: pack.Key, Offset: at.Offset, Length: length, Object: pack.Object}, crc)
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
			return
		}
	}
	l.Ranges = append(l.Ranges, r)
}

// Part is one part of the upload: one range that the store copies by itself, or bytes that pass through compute.
type Part struct {
	Ranges []Range
	Copy   bool // one range, copied by the store
	Size   int64
}

const (
	// minSource is the size that the source of a ranged copy must exceed (CopySourceRange, S3 API reference).
	minSource = vault.MinPart
	// maxCopy is the most that one copied part takes, so that several copies run side by side.
	maxCopy = 1 << 30
	// maxLiteral is the most that one literal part holds in memory.
	maxLiteral = 16 << 20
)

// Parts plans the upload: every part but the last has at least 5 MiB. A run of bytes that is too short to be copied
// is literal; a literal that is still too short takes the head of what follows. The same ranges give the same plan.
func Parts(ranges []Range) ([]Part, error) {
	var parts []Part
	var literal Part
	flush := func() {
		if literal.Size > 0 {
			parts = append(parts, split(literal)...)
		}
		literal = Part{}
	}
	for _, r := range ranges {
		if literal.Size > 0 && literal.Size < vault.MinPart {
			r = literal.take(r, vault.MinPart-literal.Size)
		}
		switch {
		case r.Length == 0:
		case r.Length >= vault.MinPart && r.Object > minSource:
			flush()
			parts = append(parts, cut(r)...)
		default:
			literal.add(r)
		}
	}
	flush()
	if len(parts) > vault.MaxParts {
		return nil, failure.New(failure.Exhausted, "the archive would need %d parts, a store takes %d", len(parts), vault.MaxParts)
	}
	return parts, nil
}

func (p *Part) add(r Range) {
	p.Ranges = append(p.Ranges, r)
	p.Size += r.Length
}

// take moves the first need bytes of r into the literal p, all of r where the rest would be too short to be copied.
func (p *Part) take(r Range, need int64) Range {
	if r.Length-need < vault.MinPart {
		need = r.Length
	}
	p.add(Range{r.Key, r.Offset, need, r.Object})
	return Range{r.Key, r.Offset + need, r.Length - need, r.Object}
}

// cut splits a copied range evenly, so that no piece is too short.
func cut(r Range) []Part {
	pieces := (r.Length + maxCopy - 1) / maxCopy
	parts := make([]Part, 0, pieces)
	for i := range pieces {
		from, to := r.Length*i/pieces, r.Length*(i+1)/pieces
		piece := Range{r.Key, r.Offset + from, to - from, r.Object}
		parts = append(parts, Part{Ranges: []Range{piece}, Copy: true, Size: piece.Length})
	}
	return parts
}

// split cuts a literal into parts of at most maxLiteral, evenly.
func split(p Part) []Part {
	pieces := (p.Size + maxLiteral - 1) / maxLiteral
	parts := make([]Part, 0, pieces)
	var done int64
	rest := p.Ranges
	for i := range pieces {
		var part Part
		for want := p.Size*(i+1)/pieces - done; part.Size < want; {
			n := min(want-part.Size, rest[0].Length)
			part.add(Range{rest[0].Key, rest[0].Offset, n, rest[0].Object})
			rest[0].Offset, rest[0].Length = rest[0].Offset+n, rest[0].Length-n
			if rest[0].Length == 0 {
				rest = rest[1:]
			}
		}
		done += part.Size
		parts = append(parts, part)
	}
	return parts
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
