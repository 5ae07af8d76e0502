package estimate

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"slices"

	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// Class is some objects of about the same size.
type Class struct {
	Objects int64
	Bytes   int64 // of all of them
}

func (c Class) mean() int64 { return c.Bytes / max(c.Objects, 1) }

func (c Class) add(d Class) Class { return Class{c.Objects + d.Objects, c.Bytes + d.Bytes} }

// Sizes is the objects of a source by size.
type Sizes []Class

// from returns the objects of at least so many bytes each.
func (s Sizes) from(size int64) Class {
	var all Class
	for _, c := range s {
		if c.mean() >= size {
			all = all.add(c)
		}
	}
	return all
}

// Count returns the objects of a source, given their sizes in bytes. The bounds of its classes are the powers of two
// and 5/4 of them, and with these every floor that SpliceFloor may return.
func Count(sizes iter.Seq[int64]) Sizes {
	var all [128]Class
	for size := range sizes {
		n := 0
		if size > 0 {
			power := bits.Len64(uint64(size)) - 1
			n = 2 * power
			if float64(size) >= 1.25*float64(int64(1)<<power) {
				n++
			}
		}
		all[n] = all[n].add(Class{1, size})
	}
	return slices.DeleteFunc(all[:], func(c Class) bool { return c.Objects == 0 })
}

// Uniform returns objects of one size.
func Uniform(objects, size int64) Sizes { return Sizes{{Objects: objects, Bytes: objects * size}} }

// The made-up media of the benchmarks: sizes of e^N(ln 400 kB, 1.8).
const (
	mediaMedian = 400_000
	mediaSigma  = 1.8
)

// Media returns a made-up source of images and videos with so many bytes in all, in the classes of Count.
func Media(bytes int64) Sizes {
	const sigma2 = mediaSigma * mediaSigma
	below := func(size, shift float64) float64 { // share of a log-normal distribution
		return 0.5 * math.Erfc(-(math.Log(size/mediaMedian)-shift)/(mediaSigma*math.Sqrt2))
	}
	objects := float64(bytes) / (mediaMedian * math.Exp(sigma2/2))
	var sizes Sizes
	var done Class
	upTo := func(bound float64) {
		cut := Class{int64(math.Round(objects * below(bound, 0))), int64(math.Round(float64(bytes) * below(bound, sigma2)))}
		if cut.Objects > done.Objects { // the bytes of less than one object join the next class
			sizes, done = append(sizes, Class{cut.Objects - done.Objects, cut.Bytes - done.Bytes}), cut
		}
	}
	for bound := 64.0; bound < 1<<35; bound *= 2 {
		upTo(bound)
		upTo(1.25 * bound)
	}
	if len(sizes) == 0 {
		return Sizes{{Objects: 1, Bytes: bytes}}
	}
	last := &sizes[len(sizes)-1]
	*last = last.add(Class{0, bytes - done.Bytes})
	return sizes
}

// Policy is how a source is backed up.
type Policy struct {
	Splice   int64 // bytes from which on the store copies objects; 0: none, the source is in another store
	MemoryMB int   // of a function; DefaultMemory when 0
	Archive  bool  // each backup makes an archive
	Fast     bool  // its copies are cut small, so that more of them run side by side
	Locked   bool  // what a backup needs is locked: immutability
	MAC      bool  // KMS makes a MAC of the manifest
}

// Group is objects that are packed in the same way.
type Group struct {
	Class
	Packs int64
}

// Description is what a backup of a source has to do.
type Description struct {
	Policy
	All          Class
	Spliced      Group // copied by the store
	SplicedParts int64 // that it copies them in
	Filler       Class // small objects in the packs of spliced ones
	Streamed     Group // large, through functions
	Small        Group // without the filler
	Reused       bool  // nothing has changed since the backup before
}

// How the planner cuts, as in package pack (plan.go), where these are not exported; a test holds Describe against it.
const (
	maxPacks      = 1_500 // of small objects, and of spliced ones
	maxBatch      = 5 << 29
	spliceObjects = 8
	spliceBytes   = 1 << 30
	fillerBytes   = vault.MinPart + 1<<20 // of each spliced object

	splicePieces = 64 // that the objects of a pack are copied in: pack/layout.go
	leastPiece   = 64 << 20
	mostPiece    = 1 << 30
)

// Describe returns what a first backup of a source has to do.
func Describe(sizes Sizes, policy Policy) Description {
	policy.MemoryMB = cmp.Or(policy.MemoryMB, DefaultMemory)
	d := Description{Policy: policy}
	for _, c := range sizes {
		d.All = d.All.add(c)
		switch {
		case policy.Splice > 0 && c.mean() >= policy.Splice:
			d.Spliced.Class = d.Spliced.add(c)
		case c.mean() >= pack.LargeObject:
			d.Streamed.Class = d.Streamed.add(c)
		default:
			d.Small.Class = d.Small.add(c)
		}
	}
	small := d.Small.Bytes
	most := max(d.Spliced.Objects/maxPacks, spliceObjects)
	d.Spliced.Packs = max(ceil(d.Spliced.Objects, most), ceil(d.Spliced.Bytes, spliceBytes*most/spliceObjects))
	if d.Spliced.Packs > 0 {
		piece := min(max(d.Spliced.Bytes/d.Spliced.Packs/splicePieces, leastPiece), mostPiece)
		for _, c := range sizes {
			if c.mean() >= policy.Splice {
				d.SplicedParts += c.Objects * ceil(c.mean(), piece)
			}
		}
	}
	if d.Filler.Bytes = min(small, d.Spliced.Objects*fillerBytes); d.Filler.Bytes > 0 {
		d.Filler.Objects = min(d.Small.Objects, max(1, d.Filler.Bytes/max(d.Small.mean(), 1)))
		d.Small.Objects, d.Small.Bytes = d.Small.Objects-d.Filler.Objects, d.Small.Bytes-d.Filler.Bytes
	}
	d.Streamed.Packs = ceil(d.Streamed.Bytes, pack.LargeBatch)
	d.Small.Packs = max(ceil(d.Small.Bytes, min(max(small/maxPacks, pack.BatchBytes), maxBatch)), ceil(d.Small.Objects, pack.BatchObjects))
	return d
}

// Next returns what the next backup has to do when nothing has changed.
func (d Description) Next() Description {
	d.Reused = true
	return d
}

// Packs returns how many packs hold the objects.
func (d Description) Packs() int64 { return d.Spliced.Packs + d.Streamed.Packs + d.Small.Packs }

func ceil(n, by int64) int64 { return (n + by - 1) / by }
