// Package pack turns objects into packs: pieces of a ZIP, local headers and bytes one after the other, written once
// into the pool of a source and spliced into every archive from then on.
//
// The planner (plan.go) is a pure function: it compares the list of a snapshot with the last manifest of the scope
// and says what is reused, what has to be read, and in which batches. A batch becomes one pack: small objects are
// read side by side into one buffer and written with one request (small.go); large ones stream through a multipart
// upload whose parts with headers are written last, when the CRC is known (stream.go).
package pack

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/zipfmt"
)

// Limits of a batch. zip-assembly: packs below 32 MiB miss the request goals, a buffer per pack bounds memory.
const (
	BatchBytes   = 32 << 20  // of small objects
	BatchObjects = 5_000     // so that an index stays small
	LargeObject  = 16 << 20  // from here on an object streams
	LargeBatch   = 512 << 20 // of large objects in one pack; one larger object is a batch of its own
)

// Item is one thing to pack: an object of the datasource or a document that the snapshot stored.
type Item struct {
	Object   *app.Object     `json:"object,omitzero"`
	Document *Document       `json:"document,omitzero"`
	Previous *manifest.Entry `json:"previous,omitzero"` // of an object that is read again to see whether it changed
}

// Document is a document as the snapshot stored it: compressed, under a work key of the run.
type Document struct {
	Entry manifest.Entry `json:"entry"` // without a place
	Name  string         `json:"name"`  // of the work file
}

func (i Item) path() string {
	if i.Document != nil {
		return i.Document.Entry.Path
	}
	return i.Object.Path
}

func (i Item) size() int64 {
	if i.Document != nil {
		return i.Document.Entry.StoredSize()
	}
	return i.Object.Size
}

// headerSize returns the length of the item's local header, if it keeps its size. A document of 4 GiB may be small
// once it is compressed, and has a long header all the same.
func (i Item) headerSize() int64 {
	if i.Document != nil {
		return i.Document.Entry.Zip().LocalSize()
	}
	return manifest.Entry{Path: i.Object.Path, Size: i.Object.Size}.Zip().LocalSize()
}

func (i Item) modified() time.Time {
	if i.Object != nil {
		return i.Object.Modified
	}
	return time.Time{}
}

// Plan is what a run has to do.
type Plan struct {
	Reused  []manifest.Entry // unchanged since the last manifest
	Batches [][]Item         // each becomes one pack; the last one holds the documents
	Objects int              // to be read
	Bytes   int64            // to be read
}

// Make plans. previous holds the entries of the last manifest of the scope by path. With rehash every object is
// read and packed, whatever its identity. The same input gives the same plan.
func Make(documents []Document, objects []app.Object, previous map[string]manifest.Entry, rehash bool) Plan {
	var plan Plan
	var small, large []Item
	for i := range objects {
		o := &objects[i]
		item := Item{Object: o}
		if before, ok := previous[o.Path]; ok && reusable(before, *o) {
			switch {
			case rehash: // nothing that lies in the pool is trusted
			case o.Dir, before.Origin.Settled:
				before.Mode = o.Mode
				plan.Reused = append(plan.Reused, before)
				continue
			default:
				item.Previous = &before
			}
		}
		plan.Objects++
		plan.Bytes += o.Size
		if o.Size >= LargeObject {
			large = append(large, item)
		} else {
			small = append(small, item)
		}
	}
	plan.Batches = append(batches(large, LargeBatch), batches(small, BatchBytes)...)
	if len(documents) > 0 {
		// Documents die with every backup: they get a pack of their own, which comes last in the archive.
		last := make([]Item, len(documents))
		for i := range documents {
			last[i] = Item{Document: &documents[i]}
		}
		plan.Batches = append(plan.Batches, last)
	}
	return plan
}

// reusable reports whether the entry may still hold the object's bytes. The time is part of the local header, so a
// touched file is packed anew.
func reusable(before manifest.Entry, o app.Object) bool {
	if o.Dir { // it has no bytes
		return before.Dir() && sameTime(before.Modified, o.Modified)
	}
	return before.Origin != nil && before.Origin.Identity != "" && before.Origin.Identity == o.Identity &&
		before.Origin.Key == o.Key && before.Size == o.Size && sameTime(before.Modified, o.Modified) && before.Type == o.Type
}

// sameTime reports whether two times are one in a local header. A store may tell an object's time more exactly in a
// listing than in an answer.
func sameTime(a, b time.Time) bool {
	dateA, clockA := zipfmt.DOSTime(a)
	dateB, clockB := zipfmt.DOSTime(b)
	return dateA == dateB && clockA == clockB
}

// batches cuts items by bytes and count, in the order of their times: what was made together dies together.
func batches(items []Item, limit int64) [][]Item {
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(a.modified().Compare(b.modified()), strings.Compare(a.path(), b.path()))
	})
	var cut [][]Item
	var bytes int64
	for i, item := range items {
		last := len(cut) - 1
		if i == 0 || bytes+item.size() > limit || len(cut[last]) == BatchObjects {
			cut, bytes = append(cut, nil), 0
			last++
		}
		cut[last] = append(cut[last], item)
		bytes += item.size()
	}
	return cut
}
