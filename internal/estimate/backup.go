package estimate

import (
	"math"

	"lifeboat/internal/vault"
)

// What the estimates assume of lists and files of a run, in bytes.
const (
	listPage      = 1_000    // keys of one LIST request
	objectLine    = 250      // of objects.jsonl
	planLine      = 280      // of plan.jsonl
	entryLine     = 400      // of a batch's result, and of reused.jsonl
	manifestLine  = 150      // compressed
	directoryLine = 92       // of the central directory
	partLine      = 150      // of parts-0.jsonl
	documentBytes = 1 << 20  // of all documents, compressed
	streamPart    = 8 << 20  // of an upload that streams: pack/stream.go, vault/writer.go
	literalPart   = 16 << 20 // of what is read, in packs and archives: pack/layout.go, archive/plan.go
	onePart       = 42 << 20 // the largest pack that is one PUT: pack/batch.go
	copiedPart    = 1 << 30  // of an archive; 64 MiB where speed counts
	fastPart      = 32 << 20
	archivePieces = 1_000 // copied parts that a large archive is cut into at least
	largestPart   = 5 << 30
	fewBatches    = 40 // of the inline Map: step/plan.go
	assembleTime  = 30 // seconds of one call: step/assemble.go

	entrySeconds = 0.000_005 // to decode or encode one entry of a list
	startSeconds = 0.5       // of each call: cold start, clients, configuration
	kept         = 10        // earlier backups whose records are read, for a next one
	bucketKey    = 100       // S3 requests for each request to KMS, with a bucket key
)

// Step is what one step of the workflow asks of AWS, over all its calls.
type Step struct {
	Name string
	Usage
}

// Backup returns what a backup asks of AWS, with its archive if the policy has one. StoredBytes is what it adds.
func Backup(d Description) Usage {
	var all Usage
	for _, s := range Steps(d) {
		all = all.Add(s.Usage)
	}
	return all
}

// Steps returns what a backup asks of AWS by step, in the order of the workflow: the requests that package step makes
// when nothing goes wrong. Each step reads the lease, and the states around it are counted with it.
func Steps(d Description) []Step {
	b := bill{Description: d, batches: 1 + d.Packs(), news: d.All.Objects}
	if d.Reused {
		b = bill{Description: d, batches: 1, records: kept, previous: 1}
	}
	b.catalog = Usage{Put: 1, Get: b.records} // listed, and each record read
	steps := []Step{
		{"begin", b.begin()},
		{"snapshot", b.snapshot()},
		{"plan-packs", b.plan()},
		{"copy", b.copy()},
		{"assemble", b.assemble()},
		{"seal", b.seal()},
		{"notify", b.notify()},
	}
	for i := range steps {
		u := &steps[i].Usage
		u.KMS += ceil(u.Put+u.Get, bucketKey)
	}
	return steps
}

type bill struct {
	Description
	records  int64 // earlier ones
	previous int64 // manifests that are compared with
	news     int64 // objects to pack
	batches  int64 // the last one has the documents
	catalog  Usage // of looking through the records
}

// calls returns function time: of so many calls, with the time of their requests one after the other, and of work.
func (b bill) calls(n int64, u Usage, seconds float64) Usage {
	seconds += float64(n)*startSeconds + float64(u.Put)*putSeconds + float64(u.Get)*getSeconds
	u.GBSeconds += seconds * float64(b.MemoryMB) / 1024
	u.Invocations += n
	return u
}

// written returns the PUT-class requests of a file that is written as it comes.
func written(bytes int64) int64 {
	if bytes <= streamPart {
		return 1
	}
	return 2 + ceil(bytes, streamPart)
}

func pages(n int64) int64 { return max(1, ceil(n, listPage)) }

// entries returns the seconds that so many passes over the list of all objects take.
func (b bill) entries(passes int64) float64 { return float64(passes*b.All.Objects) * entrySeconds }

// begin: lease read and taken, lost runs looked for, record created. Begin, MayRun.
func (b bill) begin() Usage {
	u := b.catalog.Add(Usage{Put: 2, Get: 1, Transitions: 2})
	return b.calls(1, u, 0)
}

// snapshot: lease; the source is listed; documents, objects.jsonl, snapshot.json. Snapshot, SnapshotDone.
func (b bill) snapshot() Usage {
	u := Usage{Put: pages(b.All.Objects) + written(documentBytes) + written(b.All.Objects*objectLine) + 1, Get: 1, Transitions: 2}
	return b.calls(1, u, b.entries(1))
}

// plan: lease, snapshot.json, record; the records, the run's own among them; objects.jsonl twice. With a backup before: packs
// listed, its manifest and its seal. Writes plan.jsonl, plan.json; what is reused as reused.jsonl, packs.jsonl; many batches
// as batches.jsonl. PlanPacks, HowMany, the Map.
func (b bill) plan() Usage {
	u := b.catalog.Add(Usage{Put: written(b.news*planLine) + 1, Get: 3 + 1 + 2 + 2*b.previous, Transitions: 3})
	if b.previous > 0 {
		u.Put += pages(b.Packs()) + written((b.All.Objects-b.news)*entryLine) + 1
	}
	if b.batches > fewBatches {
		u.Put++
	}
	return b.calls(1, u, b.entries(2+b.previous))
}

// copy, once a batch: result looked for, lease, plan, the cursor of an earlier call; the pack; before the result lease, behind
// it record: whether the run is still open. Three states (Copy, whether it is done, the end of the item), and the start of a
// child of its own where the Map is distributed; it reads its list then, and writes a manifest and a file of results.
func (b bill) copy() Usage {
	u := Usage{Get: 6 * b.batches, Put: b.batches, Transitions: 3 * b.batches}
	if b.batches > fewBatches {
		u.Transitions += b.batches + ceil(b.batches, listPage)
		u.Get++
		u.Put += 2
	}
	u = b.calls(b.batches, u, 0)
	u = u.Add(b.calls(0, Usage{Put: 1, Get: 1}, 0)) // documents: read from the snapshot's, one pack
	u.StoredBytes += documentBytes
	if b.Reused {
		return u
	}
	return u.Add(b.packSpliced()).Add(b.packThrough(b.Streamed, streamPart)).Add(b.packThrough(b.Small, literalPart))
}

// packSpliced: name and old uploads looked for, both by lists, Create, Complete; for each object a look, its copied parts, and the part
// with its header; one more part for what is left of the filler, which is read.
func (b bill) packSpliced() Usage {
	g := b.Spliced
	if g.Packs == 0 {
		return Usage{}
	}
	literal := g.Objects + g.Packs
	u := Usage{Put: 4*g.Packs + b.SplicedParts + literal, Get: g.Objects + b.Filler.Objects, StoredBytes: g.Bytes + b.Filler.Bytes}
	atOnce := float64(max(1, min(copies, b.SplicedParts/g.Packs)))
	seconds := float64(4*g.Packs)*putSeconds +
		float64(b.SplicedParts+literal)*putSeconds/atOnce + float64(g.Bytes)/(copyRate*atOnce) +
		float64(g.Objects+b.Filler.Objects)*getSeconds/reads + float64(b.Filler.Bytes)/passRate
	u.GBSeconds = seconds * float64(b.MemoryMB) / 1024
	return u
}

// packThrough: each object is read with one GET. A pack of up to 42 MiB is one PUT; a larger one looks for its name
// and for old uploads, and is written in parts of so many bytes.
func (b bill) packThrough(g Group, part int64) Usage {
	if g.Packs == 0 {
		return Usage{}
	}
	u := Usage{Put: g.Packs, Get: g.Objects, StoredBytes: g.Bytes}
	if each := g.Bytes / g.Packs; each > onePart {
		u.Put = g.Packs * (4 + ceil(each, part))
	}
	seconds := float64(g.Packs)*putSeconds + float64(g.Objects)*getSeconds/reads + float64(g.Bytes)/passRate
	u.GBSeconds = seconds * float64(b.MemoryMB) / 1024
	return u
}

// Parts returns the parts of the archive: those that the store copies, and the literal ones at its end.
func (d Description) Parts() (copied, literal int64) {
	literal = ceil(d.tail()+documentBytes+d.tiny().Bytes, literalPart)
	piece := int64(copiedPart)
	if d.Fast {
		piece = fastPart
	}
	for _, part := range []int64{min(max(d.All.Bytes/archivePieces, piece), largestPart), largestPart} {
		copied = 0
		for _, g := range []Group{{d.Spliced.add(d.Filler), d.Spliced.Packs}, d.Streamed, d.Small} {
			if g.Packs > 0 && g.Bytes/g.Packs >= vault.MinPart {
				copied += g.Packs * ceil(g.Bytes/g.Packs, part)
			}
		}
		if copied <= PartBudget {
			break
		}
	}
	return copied, literal
}

// tiny returns the packs that are too small for a part of their own: they are read, as the tail is.
func (d Description) tiny() Group {
	var all Group
	for _, g := range []Group{d.Streamed, d.Small} {
		if g.Packs > 0 && g.Bytes/g.Packs < vault.MinPart {
			all = Group{all.add(g.Class), all.Packs + g.Packs}
		}
	}
	return all
}

// tail returns the bytes of manifest and central directory.
func (d Description) tail() int64 { return d.All.Objects * (manifestLine + directoryLine) }

// assemble: the first call reads lease, snapshot.json, plan.json and what the batches packed, of what is reused packs.jsonl
// and the lines of each pack; lists the packs; writes manifest and seal, then tail, parts and archive.json, and begins the
// upload. Each further one reads lease, archive.json and the parts, lists those that are there, copies for 30 seconds; the
// last one completes. What is read for literal parts: the tail, the documents, and packs that are too small to be copied.
// Assemble, AssembleDone.
func (b bill) assemble() Usage {
	first := Usage{
		Get: 3 + b.batches + b.previous*(1+b.Packs()),
		Put: pages(b.Packs()) + written(b.All.Objects*manifestLine) + 1, Transitions: 2,
	}
	if !b.Archive {
		first = b.calls(1, first, b.entries(2))
		first.StoredBytes = b.All.Objects * manifestLine
		return first
	}
	copied, literal := b.Parts()
	first = first.Add(Usage{Put: written(b.tail()) + written((copied+literal)*partLine) + 2})
	first = b.calls(1, first, b.entries(4)+float64(b.tail())/passRate)
	first.StoredBytes = b.All.Objects * manifestLine
	seconds := float64(copied+literal)*putSeconds/copies + float64(b.tail())/passRate +
		float64(b.All.Bytes)/float64(copyRate*max(1, min(copied, copies)))
	n := int64(math.Max(1, math.Ceil(seconds/assembleTime)))
	each := b.calls(n, Usage{Get: 3 * n, Put: n*pages(copied+literal) + 1, Transitions: 2 * n}, seconds)
	return first.Add(each).Add(Usage{Put: copied + literal, Get: literal + 1 + b.tiny().Packs, StoredBytes: b.All.Bytes + b.tail()})
}

// seal: record, lease, archive.json, snapshot.json, the manifest; each archive, the manifest and its seal looked at; packs
// listed against the manifest; lease and record read, record written. Pruning: what is condemned read; the records listed,
// as long as nobody has looked for garbage; uploads listed; lease. Left uploads and work files looked for, lease read and given
// back (what is deleted costs nothing, but time). Seal.
func (b bill) seal() Usage {
	work := b.batches + 15
	u := Usage{Get: 5 + 2 + 2 + 1 + 2, Put: pages(b.Packs()) + 1 + 2 + 1 + pages(work), Transitions: 1}
	if b.Archive {
		u.Get++
	}
	return b.calls(1, u, float64(work)*putSeconds).Add(b.lock()).Add(b.mac())
}

// lock: the list of what is locked, read and written; each pack that is not in it, the description of the vault, manifest,
// seal, findings, archive and record looked at and locked. A later backup finds its packs in the list, until a tenth of the
// time is over.
func (b bill) lock() Usage {
	if !b.Locked {
		return Usage{}
	}
	n := b.batches + 6
	seconds := float64(n) * (putSeconds + getSeconds) / copies
	return Usage{Get: n + 1, Put: n + 1, GBSeconds: seconds * float64(b.MemoryMB) / 1024}
}

// mac: one is made and written, and those of earlier backups that freeing packs depends on are checked.
func (b bill) mac() Usage {
	if !b.MAC {
		return Usage{}
	}
	return Usage{Put: 1, Get: b.previous, KMS: 1 + b.previous, GBSeconds: float64(1+b.previous) * putSeconds * float64(b.MemoryMB) / 1024}
}

// notify: record; the records, the run's own among them; claim, link and outcome of one mail; the record updated. Notify, Done.
func (b bill) notify() Usage {
	u := b.catalog.Add(Usage{Get: 2 + 2 + 2, Put: 1 + 3, Transitions: 2})
	return b.calls(1, u, 0)
}
