// Package pack turns objects into packs: pieces of a ZIP, local headers and bytes one after the other, written once
// into the pool of a source and spliced into every archive from then on.
//
// The planner (plan.go) does no I/O: it compares the list of a snapshot with earlier manifests and says what is reused,
// what has to be read, and in which batches. Each batch is packed by itself (batch.go).
package pack

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Limits of a batch. zip-assembly: packs below 32 MiB miss the request goals, a buffer per pack bounds memory.
const (
	BatchBytes   = 32 << 20  // of small objects
	BatchObjects = 5_000     // so that an index stays small
	LargeObject  = 32 << 20  // from here on an object streams
	LargeBatch   = 512 << 20 // of large objects in one pack; one larger object is a batch of its own

	spliceObjects = 8       // in one batch: their filler is as much as a batch of small objects
	eager         = 2       // batches instead of one, where time counts and the store copies most: workers share them more evenly
	spliceBytes   = 1 << 30 // in one batch
	// maxPacks is how many packs of each sort a first backup has at most, or nearly so: batches grow with the source,
	// so that the archive keeps within the parts of an upload.
	maxPacks = 1_500
	maxBatch = 5 << 29 // bytes of small objects: what one function can move in its time
	// window is how many new items are sorted and cut into batches at a time.
	window = 20_000
	// loose is how many bytes an archive may pass through compute again and again before they are packed anew, and
	// the size below which a pack is undersized.
	loose = 8 << 20
)

// Item is one thing to pack: an object of the datasource, a document that the snapshot stored, or an entry that lies
// in the pool already.
type Item struct {
	Object   *app.Object     `json:"object,omitzero"`
	Document *Document       `json:"document,omitzero"`
	Stored   *manifest.Entry `json:"stored,omitzero"`   // is packed anew, from its pack
	Previous *manifest.Entry `json:"previous,omitzero"` // of an object that is read again to see whether it changed
	Splice   bool            `json:"splice,omitzero"`   // the store copies the object by itself
}

// Document is a document as the snapshot stored it: compressed, under a work key of the run.
type Document struct {
	Entry manifest.Entry `json:"entry"` // without a place
	Name  string         `json:"name"`  // of the work file
}

func (i Item) path() string {
	switch {
	case i.Document != nil:
		return i.Document.Entry.Path
	case i.Stored != nil:
		return i.Stored.Path
	}
	return i.Object.Path
}

func (i Item) size() int64 {
	switch {
	case i.Document != nil:
		return i.Document.Entry.StoredSize()
	case i.Stored != nil:
		return i.Stored.StoredSize()
	}
	return i.Object.Size
}

// headerSize returns the length of the item's local header, if it keeps its size. A document of 4 GiB may be small
// once it is compressed, and has a long header all the same.
func (i Item) headerSize() int64 {
	switch {
	case i.Document != nil:
		return i.Document.Entry.Zip().LocalSize()
	case i.Stored != nil:
		return i.Stored.Zip().LocalSize()
	}
	return manifest.Entry{Path: i.Object.Path, Size: i.Object.Size}.Zip().LocalSize()
}

func (i Item) modified() time.Time {
	switch {
	case i.Object != nil:
		return i.Object.Modified
	case i.Stored != nil:
		return i.Stored.Modified
	}
	return time.Time{}
}

// Output receives a plan.
type Output struct {
	// Batch gets the items of one batch.
	Batch func([]Item) error
	// Reused gets the entries that stay where they are; those of one pack come one after the other.
	Reused func(manifest.Entry) error
}

// Planner plans one run, in bounded memory: about 16 bytes an object. It is fed in four passes:
//
//	Expect    every object of the snapshot
//	Previous  every entry of the earlier manifests, in their order, the newest manifest first; EndPrevious after each
//	Object    every object again, in the same order
//	Finish    the documents
//
// The same input gives the same plan.
type Planner struct {
	// Splice is the size from which on the store copies objects by itself; 0: it copies none.
	Splice int64
	// Eager packs loose entries anew also where that frees nothing, and makes smaller batches.
	Eager bool

	out   Output
	table table

	spliced    int64 // objects that the store copies
	smallBytes int64

	group  []manifest.Entry // of the earlier manifest, of one pack, that are still there
	pack   manifest.Pack    // their pack
	chains map[string][]span
	loose  []manifest.Entry // may be packed anew
	freed  int64            // bytes of loose

	items   struct{ splice, small, large, stored []Item }
	objects int
	bytes   int64

	moved      int
	movedBytes int64
}

// NewPlanner returns the planner of a snapshot with so many objects.
func NewPlanner(objects int, out Output) *Planner {
	return &Planner{out: out, table: newTable(objects), chains: map[string][]span{}}
}

// Total returns how much has to be read.
func (p *Planner) Total() (objects int, bytes int64) { return p.objects, p.bytes }

// Moved returns how much is packed anew from the pool.
func (p *Planner) Moved() (objects int, bytes int64) { return p.moved, p.movedBytes }

// Expect is told of an object. Its bytes are those of an earlier entry that equals it in all that Expect remembers.
func (p *Planner) Expect(o app.Object) {
	switch {
	case p.splices(o):
		p.spliced++
	case o.Size < LargeObject:
		p.smallBytes += o.Size
	}
	if o.Dir || o.Identity != "" {
		p.table.add(identify(o), o.Settled, o.Mode)
	}
}

func (p *Planner) splices(o app.Object) bool { return p.Splice > 0 && o.Size >= p.Splice && !o.Dir }

// identify returns all by which an object is known again. The time is part of the local header, so a touched file is
// packed anew; of a directory there is nothing but its name and time.
func identify(o app.Object) digest {
	date, clock := zipfmt.DOSTime(o.Modified)
	if o.Dir {
		return sum("dir", o.Path, "", "", 0, date, clock)
	}
	return sum(o.Type, o.Path, o.Key, o.Identity, o.Size, date, clock)
}

// listed returns the object that an earlier entry was made of.
func listed(e manifest.Entry) app.Object {
	o := app.Object{Path: e.Path, Size: e.Size, Modified: e.Modified, Type: e.Type, Dir: e.Dir()}
	if e.Origin != nil {
		o.Key, o.Identity = e.Origin.Key, e.Origin.Identity
	}
	return o
}

// Previous is told of an entry of an earlier manifest, and of the pack that its header lies in.
func (p *Planner) Previous(e manifest.Entry, in manifest.Pack) error {
	o := listed(e)
	if !o.Dir && o.Identity == "" {
		return nil
	}
	settled, mode, ok := p.table.claim(identify(o))
	if !ok {
		return nil
	}
	if !o.Dir && !e.Origin.Settled { // it may have changed without a sign
		o.Settled, o.Mode = settled, mode
		return p.add(Item{Object: &o, Previous: &e})
	}
	if in.ID != p.pack.ID {
		if err := p.endGroup(); err != nil {
			return err
		}
		p.pack = in
	}
	e.Mode = mode
	p.group = append(p.group, e)
	if e.BodyPlace != nil {
		p.chains[e.BodyPlace.Pack] = append(p.chains[e.BodyPlace.Pack], span{from: e.BodyPlace.Offset, to: e.BodyPlace.Offset + e.StoredSize()})
	}
	return nil
}

// EndPrevious ends an earlier manifest.
func (p *Planner) EndPrevious() error {
	err := p.endGroup()
	p.pack = manifest.Pack{}
	return err
}

// span is a live range of a pack, and which entries of the group lie in it.
type span struct {
	from, to    int64
	first, last int // entries first ≤ i < last
}

// endGroup decides about the entries of one pack: ranges that the store can splice stay; what is shorter, and packs
// that are too small, are loose.
func (p *Planner) endGroup() error {
	group := p.group
	p.group = nil
	var live int64
	spans := p.spans(group)
	for _, s := range spans {
		live += s.to - s.from
	}
	var short int64
	for _, s := range spans {
		if s.to-s.from < vault.MinPart {
			short += s.to - s.from
		}
	}
	pays := p.Eager || short <= p.pack.Bytes-live
	for _, s := range spans {
		entries := group[s.first:s.last]
		if live < loose || pays && s.to-s.from < vault.MinPart {
			if err := p.loosen(entries); err != nil {
				return err
			}
			continue
		}
		if err := p.keep(entries); err != nil {
			return err
		}
	}
	return nil
}

// spans returns the live ranges of the group's pack, in their order: its entries, and bodies whose headers lie in
// another pack.
func (p *Planner) spans(group []manifest.Entry) []span {
	slices.SortFunc(group, func(a, b manifest.Entry) int { return cmp.Compare(a.Header.Offset, b.Header.Offset) })
	all := p.chains[p.pack.ID]
	delete(p.chains, p.pack.ID)
	for i, e := range group {
		s := span{e.Header.Offset, e.Header.Offset + e.Zip().LocalSize(), i, i + 1}
		if e.BodyPlace == nil {
			s.to += e.StoredSize()
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined []span
	for _, s := range all {
		if n := len(joined); n > 0 && joined[n-1].to == s.from {
			last := &joined[n-1]
			last.to = s.to
			if last.first == last.last {
				last.first = s.first
			}
			if s.first != s.last {
				last.last = s.last
			}
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

func (p *Planner) keep(entries []manifest.Entry) error {
	for _, e := range entries {
		if err := p.out.Reused(e); err != nil {
			return err
		}
	}
	return nil
}

// loosen holds entries back until it is clear whether they are packed anew. One whose body lies elsewhere stays.
func (p *Planner) loosen(entries []manifest.Entry) error {
	for _, e := range entries {
		if e.BodyPlace != nil {
			if err := p.out.Reused(e); err != nil {
				return err
			}
			continue
		}
		p.loose = append(p.loose, e)
		p.freed += e.Zip().LocalSize() + e.StoredSize()
	}
	if p.freed < loose {
		return nil
	}
	return p.packLoose()
}

func (p *Planner) packLoose() error {
	for _, e := range p.loose {
		if err := p.add(Item{Stored: &e}); err != nil {
			return err
		}
	}
	p.loose = p.loose[:0]
	return nil
}

// Object is told of an object again. Those that nothing was found for are packed.
func (p *Planner) Object(o app.Object) error {
	if (o.Dir || o.Identity != "") && p.table.claimed(identify(o)) {
		return nil
	}
	return p.add(Item{Object: &o, Splice: p.splices(o)})
}

func (p *Planner) add(item Item) error {
	if item.Object != nil {
		p.objects++
		p.bytes += item.Object.Size
	} else {
		p.moved++
		p.movedBytes += item.Stored.Size
	}
	switch {
	case item.Splice && item.Previous == nil:
		p.items.splice = append(p.items.splice, item)
	case item.Stored != nil:
		p.items.stored = append(p.items.stored, item)
	case item.size() >= LargeObject:
		p.items.large = append(p.items.large, item)
	default:
		p.items.small = append(p.items.small, item)
	}
	if len(p.items.splice)+len(p.items.stored)+len(p.items.large)+len(p.items.small) < window {
		return nil
	}
	return p.cut(false)
}

// Finish ends the plan. Documents die with every backup: they get a pack of their own, which comes last in the archive.
func (p *Planner) Finish(documents []Document) error {
	var err error
	if p.objects > 0 {
		err = p.packLoose()
	} else {
		err = p.keep(p.loose)
	}
	if err == nil {
		err = p.cut(true)
	}
	if err != nil || len(documents) == 0 {
		return err
	}
	last := make([]Item, len(documents))
	for i := range documents {
		last[i] = Item{Document: &documents[i]}
	}
	return p.out.Batch(last)
}

// cut makes batches of what came so far; unless it is the end, what does not fill one waits.
func (p *Planner) cut(end bool) error {
	items := &p.items
	sortByTime(items.splice)
	sortByTime(items.small)
	sortByTime(items.large)
	if err := p.cutSplice(end); err != nil {
		return err
	}
	var err error
	if items.large, err = p.emit(items.large, LargeBatch, 0, end); err != nil {
		return err
	}
	size := min(max(p.smallBytes/maxPacks, BatchBytes/p.shares()), maxBatch)
	// What is packed anew comes first, in the order in which it lies: it is read in a few long ranges.
	joined := append(items.stored, items.small...)
	items.stored = nil
	items.small, err = p.emit(joined, size, loose, end)
	return err
}

// shares returns how many batches are made of what would else be one.
func (p *Planner) shares() int64 {
	if p.Eager && p.spliced > 0 {
		return eager
	}
	return 1
}

// sortByTime sorts what was made together, and dies together, together.
func sortByTime(items []Item) {
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(a.modified().Compare(b.modified()), strings.Compare(a.path(), b.path()))
	})
}

// cutSplice makes batches of objects that the store copies, each with small objects to fill the parts that hold their
// headers, as long as there are some.
func (p *Planner) cutSplice(end bool) error {
	most := max(p.spliced/maxPacks, spliceObjects/p.shares())
	items := &p.items
	for len(items.splice) > 0 {
		n, bytes := 0, int64(0)
		for n < len(items.splice) && int64(n) < most && (n == 0 || bytes+items.splice[n].size() <= spliceBytes*max(most/spliceObjects, 1)) {
			bytes += items.splice[n].size()
			n++
		}
		if n == len(items.splice) && int64(n) < most && bytes < spliceBytes && !end {
			return nil
		}
		filler, have := 0, int64(0)
		for filler < len(items.small) && have < int64(n)*(vault.MinPart+1<<20) {
			have += items.small[filler].headerSize() + items.small[filler].size()
			filler++
		}
		batch := append(slices.Clone(items.splice[:n]), items.small[:filler]...)
		items.splice, items.small = items.splice[n:], items.small[filler:]
		if err := p.out.Batch(batch); err != nil {
			return err
		}
	}
	return nil
}

// emit cuts items by bytes and count. A batch takes up to slack more bytes where it, or the rest, would be too small
// for one. It returns what did not fill a batch, unless it is the end.
func (p *Planner) emit(items []Item, limit, slack int64, end bool) ([]Item, error) {
	total := int64(0)
	for _, item := range items {
		total += item.size()
	}
	for len(items) > 0 {
		n, bytes := 0, int64(0)
		for n < len(items) && n < BatchObjects && (n == 0 || bytes < slack || bytes+items[n].size() <= limit) {
			bytes += items[n].size()
			n++
		}
		full := n < len(items)
		if full && total-bytes < slack && len(items) <= BatchObjects && bytes < limit+slack {
			n, bytes = len(items), total
		}
		if !full && !end {
			return items, nil
		}
		total -= bytes
		if err := p.out.Batch(slices.Clone(items[:n])); err != nil {
			return nil, err
		}
		items = items[n:]
	}
	return nil, nil
}

// sameTime reports whether two times are one in a local header. A store may tell an object's time more exactly in a
// listing than in an answer.
func sameTime(a, b time.Time) bool {
	dateA, clockA := zipfmt.DOSTime(a)
	dateB, clockB := zipfmt.DOSTime(b)
	return dateA == dateB && clockA == clockB
}
