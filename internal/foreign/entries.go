package foreign

import (
	"encoding/hex"
	"iter"
	"slices"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

const deflated = 8 // a method of a ZIP

// Entries yields what the archive holds, in the order of its bytes, under the paths that its kind has for them.
//
// An entry is one of a manifest without places in packs: Locate says where its bytes lie. Objects have Origin.Key.
// SHA256 is empty before Check. Deflated.CRC32 is zero and means nothing: no ZIP says the CRC-32 of compressed bytes, so
// that a reader must hold size and CRC-32 of the content against the entry, and nothing of the body.
func (a *Archive) Entries() iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for _, i := range a.items {
			if !yield(a.entry(i), nil) {
				return
			}
		}
	}
}

func (a *Archive) entry(i item) manifest.Entry {
	e := &a.report.Entries[i.entry]
	m := manifest.Entry{
		Path: i.path, Document: i.document, Secret: i.secret, Type: i.sort,
		Size: e.Size, CRC32: manifest.CRC(e.CRC32), Modified: e.Modified(),
	}
	if sum, ok := a.report.SHA256(i.entry); ok {
		m.SHA256 = hex.EncodeToString(sum[:])
	}
	if perm := e.Perm(); perm != 0 && perm&0o077 == 0 && !e.Dir() {
		m.Mode = 0o600 // private there, private here; no other mode of a stranger is taken over
	}
	if e.Method == deflated {
		m.Deflated = &manifest.Deflated{Size: e.Stored}
	}
	if !i.document {
		m.Origin = &manifest.Origin{Key: i.key}
	}
	return m
}

// Spot is where the bytes of an entry lie in the archive.
type Spot struct {
	Offset   int64
	Stored   int64 // bytes there
	Deflated bool  // they are compressed
}

// Locate returns where an entry's bytes lie: NotFound where there is none.
func (a *Archive) Locate(path string) (Spot, error) {
	at, found := slices.BinarySearchFunc(a.paths, path, func(i int32, path string) int { return strings.Compare(a.items[i].path, path) })
	if !found {
		return Spot{}, failure.New(failure.NotFound, "%s holds no entry %q", a.name, path)
	}
	e := &a.report.Entries[a.items[a.paths[at]].entry]
	return Spot{Offset: e.Data, Stored: e.Stored, Deflated: e.Method == deflated}, nil
}
