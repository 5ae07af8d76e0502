package foreign

import (
	"context"
	"encoding/hex"
	"io"
	"iter"
	"sort"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

const (
	stored   = 0 // the methods of a ZIP
	deflated = 8
)

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
	i, ok := a.find(path)
	if !ok {
		return Spot{}, a.absent(path)
	}
	e := &a.report.Entries[i.entry]
	return Spot{Offset: e.Data, Stored: e.Stored, Deflated: e.Method == deflated}, nil
}

// find returns the item of a path.
func (a *Archive) find(path string) (item, bool) {
	at := sort.Search(len(a.paths), func(k int) bool { return a.items[a.paths[k]].path >= path })
	if at == len(a.paths) || a.items[a.paths[at]].path != path {
		return item{}, false
	}
	return a.items[a.paths[at]], true
}

// Open opens the content of an entry: NotFound where there is none. It ends with a Corrupt error instead of io.EOF where
// size, CRC-32 or, after Check, SHA-256 are not those of the archive.
func (a *Archive) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	i, ok := a.find(path)
	if !ok {
		return nil, a.absent(path)
	}
	return a.report.Open(ctx, i.entry)
}

// Stored reads a range of the archive as it lies there. It is safe for concurrent use as far as the archive's
// io.ReaderAt is.
func (a *Archive) Stored(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset > a.size-length {
		return nil, failure.New(failure.Corrupt, "%s ends before byte %d", a.name, offset+length)
	}
	return io.NopCloser(stoppable{ctx, io.NewSectionReader(a.source, offset, length)}), nil
}
