package pack

import (
	"lifeboat/internal/vault"
)

const (
	// minSource is the size that the source of a ranged copy must exceed (CopySourceRange, S3 API reference).
	minSource = vault.MinPart
	// literalPart is how many bytes a part has that passes through compute, where nothing else decides.
	literalPart = 16 << 20
	// chainObject is the size from which on the header of an object may lie in another pack than its bytes: it
	// saves 5 MiB through compute and costs a pack more.
	chainObject = 64 << 20
	minPiece    = 64 << 20 // bytes of a part that the store copies, where there is a choice
	maxPiece    = 1 << 30  // the same, unless the object is so large that it would need too many
	pieces      = 64       // that are copied side by side
)

// layout says how the store makes packs of a batch: the first has sections, then what is left to be read; then follows
// one pack for each object whose header rides at the end of the pack before it.
type layout struct {
	sections []section
	tail     [][]Item // parts
	chain    []Item
}

// section is one part that is read and, behind it, the bytes of one object that the store copies. The part ends with
// the object's header, and with the head of its bytes where there are too few small items to fill the part.
type section struct {
	filler []Item
	body   Item
	steal  int64 // bytes of the head
}

// literal returns the size of the part that is read.
func (s section) literal() int64 { return needs(s.filler) + s.body.headerSize() + s.steal }

func (l layout) copies() bool { return len(l.sections) > 0 }

// lay decides how a batch becomes packs; the same items give the same layout. Every part but the last of a pack has at
// least 5 MiB. Headers ride on small items as long as there are some. Then those of objects of at least chain bytes
// ride on the pack before; the others take the head of their object. An object that is too short to lose its head is
// read as a whole.
func lay(small, bodies []Item, chain, part int64) layout {
	var l layout
	var filler, rest []Item
	for _, item := range small {
		if item.Previous != nil { // it may turn out to be there already
			rest = append(rest, item)
		} else {
			filler = append(filler, item)
		}
	}
	bodies = longLast(bodies, chain)
	for i, body := range bodies {
		n, have := 0, body.headerSize()
		for n < len(filler) && have < vault.MinPart {
			have += filler[n].headerSize() + filler[n].size()
			n++
		}
		steal := max(0, vault.MinPart-have)
		if steal > 0 && len(l.sections) > 0 && body.size() >= chain {
			l.chain = bodies[i:]
			break
		}
		if steal > 0 && body.size()-steal < vault.MinPart {
			filler = append([]Item{body}, filler...)
			continue
		}
		l.sections = append(l.sections, section{filler: filler[:n:n], body: body, steal: steal})
		filler = filler[n:]
	}
	l.tail = cutLiterals(append(filler[:len(filler):len(filler)], rest...), part)
	return l
}

// longLast returns the items with those of at least so many bytes behind the others.
func longLast(items []Item, long int64) []Item {
	var first, last []Item
	for _, item := range items {
		if item.size() >= long {
			last = append(last, item)
		} else {
			first = append(first, item)
		}
	}
	return append(first, last...)
}

// cutLiterals cuts what is read into parts of about so many bytes, each but the last of at least 5 MiB.
func cutLiterals(items []Item, part int64) [][]Item {
	var parts [][]Item
	from, have := 0, int64(0)
	for i, item := range items {
		size := item.headerSize() + item.size()
		if have >= vault.MinPart && have+size > part {
			parts = append(parts, items[from:i:i])
			from, have = i, 0
		}
		have += size
	}
	if from < len(items) {
		parts = append(parts, items[from:])
	}
	return parts
}

// extent is a run of bytes of an object.
type extent struct{ offset, length int64 }

// pieceSize returns how long the copied parts of a batch are, in which objects have so many bytes together.
func pieceSize(total int64) int64 {
	return min(max(total/pieces, minPiece), max(maxPiece, total/streamParts+1), vault.MaxPart)
}

// split cuts the bytes of an object from an offset on evenly into pieces of at most so many bytes.
func split(offset, size, piece int64) []extent {
	n := max(1, (size-offset+piece-1)/piece)
	extents := make([]extent, 0, n)
	for i := range n {
		from, to := (size-offset)*i/n, (size-offset)*(i+1)/n
		extents = append(extents, extent{offset + from, to - from})
	}
	return extents
}
