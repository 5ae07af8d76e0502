package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Result is what became of one batch. It is the index of the packs that the batch wrote.
type Result struct {
	Batch     int              `json:"batch"`
	Packs     []manifest.Pack  `json:"packs,omitempty"`
	Entries   []manifest.Entry `json:"entries,omitempty"`   // packed, with their places
	Unchanged []manifest.Entry `json:"unchanged,omitempty"` // read again and found equal: the old places
	Findings  []app.Finding    `json:"findings,omitempty"`
}

// Packer packs batches of one run. It is safe for concurrent use.
type Packer struct {
	Vault    *vault.Vault
	Source   backup.Source
	Backup   backup.ID
	Fresh    bool // packs are written anew even where the pool has the same bytes, which may be damaged
	Open     func(ctx context.Context, o app.Object) (app.Content, error)
	Progress func(items, bytes int64) // may be nil
	Pool     *pool.Pool               // needed for items that are stored already

	// Located returns where the vault's store has the listed version of an object; false where it has not. It may
	// be nil: then nothing is copied by the store.
	Located func(o app.Object) (app.Location, bool)
	// Describe returns what the store knows of an object that it copies. It may be nil.
	Describe func(ctx context.Context, o app.Object) (app.Description, error)
	// Equal is for stores that take an upload only where all its parts but the last have the same size: everything
	// passes through compute.
	Equal bool
	// Chain is the size from which on the header of an object may lie in another pack than its bytes; chainObject
	// when zero.
	Chain int64
	// Hold makes sure that the run still holds its source: Conflict where it does not. It is called before anything is
	// kept for another call, or begun anew. It may be nil.
	Hold func(ctx context.Context) error

	part  int64 // bytes of a part; streamPart or literalPart when zero
	piece int64 // bytes of a part that the store copies; as many as serve speed when zero
}

// Pack reads the items of a batch and writes them into the pool. Trouble with one object is a finding; an error
// means that the batch as a whole could not be packed and may be tried again.
func (p *Packer) Pack(ctx context.Context, batch int, items []Item) (Result, error) {
	result, _, err := p.PackSome(ctx, ctx, "", batch, items)
	return result, err
}

// packFirst packs what does not stream, and returns the items that do.
func (p *Packer) packFirst(ctx context.Context, names *ids, batch int, items []Item) (Result, []Item, error) {
	result := Result{Batch: batch}
	items = named(items, &result)
	small, bodies, large := p.sort(items)
	if len(bodies) == 0 && len(large) > 0 || p.Equal && needs(small) > onePart {
		small, large = nil, items
	}
	rest, err := p.packMixed(ctx, names, small, bodies, &result)
	return result, append(large, rest...), err
}

// sort tells apart what is read into memory, what the store copies and what streams.
func (p *Packer) sort(items []Item) (small, bodies, large []Item) {
	for _, item := range items {
		switch {
		case p.copied(item):
			bodies = append(bodies, item)
		case item.size() >= LargeObject:
			large = append(large, item)
		default:
			small = append(small, item)
		}
	}
	return small, bodies, large
}

// copied reports whether the store can copy an item.
func (p *Packer) copied(item Item) bool {
	switch {
	case p.Equal:
		return false
	case item.Stored != nil:
		return item.size() >= LargeObject
	case !item.Splice || item.Object == nil || item.Previous != nil || p.Located == nil || item.size() <= minSource:
		return false
	}
	_, ok := p.Located(*item.Object)
	return ok
}

// onePart is how many bytes of headers and bodies are written with one request.
const onePart = BatchBytes + 10<<20

// needs returns how many bytes items take up.
func needs(items []Item) int64 {
	var total int64
	for _, item := range items {
		total += item.headerSize() + item.size()
	}
	return total
}

// named returns the items whose path can stand in a ZIP; the others are findings.
func named(items []Item, result *Result) []Item {
	return slices.DeleteFunc(slices.Clone(items), func(item Item) bool {
		name := item.path()
		bad := name == "" || len(name) > zipfmt.MaxName || !utf8.ValidString(name)
		if bad {
			result.Findings = append(result.Findings, app.Finding{
				Severity: app.Problem, Kind: "name", Item: name[:min(len(name), 200)], Message: "has a name that no ZIP can hold",
			})
		}
		return bad
	})
}

func (p *Packer) progress(items, bytes int64) {
	if p.Progress != nil {
		p.Progress(items, bytes)
	}
}

// reading is one attempt to read an object or a document.
type reading struct {
	object app.Object // as it was when it was opened
	size   int64      // bytes read
	crc    hash.Hash32
	sha    hash.Hash
	steady bool // what was read is one version
}

func newReading(o app.Object) *reading {
	return &reading{object: o, crc: crc32.NewIEEE(), sha: sha256.New()}
}

func (r *reading) write(b []byte) {
	r.crc.Write(b)
	r.sha.Write(b)
	r.size += int64(len(b))
}

// entry returns what the manifest says of what was read, without a place.
func (r *reading) entry(listed app.Object) manifest.Entry {
	origin := manifest.Origin{Key: listed.Key, Media: r.object.Media}
	if r.steady {
		origin.Identity = r.object.Identity
		origin.Settled = listed.Settled && r.object.Identity == listed.Identity
	}
	return manifest.Entry{
		Path: listed.Path, Type: listed.Type, Mode: listed.Mode, Size: r.size, CRC32: manifest.CRC(r.crc.Sum32()),
		SHA256: hex.EncodeToString(r.sha.Sum(nil)), Modified: r.object.Modified.UTC(), Origin: &origin,
	}
}

// directory is the reading of an empty directory, of which there is nothing to read.
func directory(o app.Object) *reading {
	r := newReading(o)
	r.steady = true
	return r
}

// equal returns the previous entry with what is known now, where the bytes are the same.
func (r *reading) equal(item Item) (manifest.Entry, bool) {
	before := item.Previous
	if before == nil || !r.steady || before.Size != r.size || before.SHA256 == "" ||
		before.SHA256 != hex.EncodeToString(r.sha.Sum(nil)) || !sameTime(before.Modified, r.object.Modified) {
		return manifest.Entry{}, false
	}
	same := *before
	same.Origin, same.Mode = r.entry(*item.Object).Origin, item.Object.Mode
	return same, true
}

// finding says how what was read differs from what was listed, if it does.
func (r *reading) finding(listed app.Object) (app.Finding, bool) {
	f := app.Finding{Severity: app.Problem, Kind: "changed", Item: listed.Path}
	switch {
	case !r.steady:
		f.Message = fmt.Sprintf("kept changing while it was copied: %d bytes of it are in the backup, perhaps of different versions; back up again when nobody writes to it", r.size)
	case r.changed(listed):
		f.Message = fmt.Sprintf("changed after it was listed: the backup has the version of %s with %d bytes, which may not fit the metadata",
			r.object.Modified.UTC().Format(time.RFC3339), r.size)
	default:
		return app.Finding{}, false
	}
	return f, true
}

func (r *reading) changed(listed app.Object) bool {
	if listed.Identity == "" { // then the list knows no better than this
		return r.size != listed.Size || !r.object.Modified.Equal(listed.Modified)
	}
	return r.object.Identity != listed.Identity
}

// lost turns an error with one object into a finding; an error that concerns the whole datasource stays one.
func lost(err error, o app.Object) (app.Finding, error) {
	f := app.Finding{Severity: app.Problem, Item: o.Path}
	if archived(err) {
		f.Kind, f.Message = "archived", "is not in the backup: it lies in an archive class of its store (Glacier); restore it there first, then back up again"
		return f, nil
	}
	switch kind := failure.KindOf(err); kind {
	case failure.Transient, failure.Canceled, failure.Exhausted:
		return f, err
	case failure.NotFound:
		f.Kind, f.Message = "missing", "was listed, but was gone when it was to be copied"
	default:
		f.Kind, f.Message = "unreadable", fmt.Sprintf("could not be read: %v", err)
	}
	return f, nil
}

// archived reports whether an object has to be restored by its store before it can be read.
func archived(err error) bool {
	return errors.Is(err, app.ErrArchived) || errors.Is(err, vault.ErrArchived)
}

// open opens an object: the listed version, or, once that is gone, whatever version is there.
func (p *Packer) open(ctx context.Context, o app.Object) (app.Content, app.Object, error) {
	content, err := p.Open(ctx, o)
	if failure.KindOf(err) == failure.Conflict && err != nil {
		o.Identity = ""
		content, err = p.Open(ctx, o)
	}
	if err != nil {
		return nil, o, err
	}
	now, err := content.Now()
	if err != nil {
		content.Close()
		return nil, o, err
	}
	return content, now, nil
}

// attempts is how often an object that changes while it is read is read.
const attempts = 2

// document opens the stored bytes of a document and returns its entry.
func (p *Packer) document(ctx context.Context, d *Document) (io.ReadCloser, error) {
	body, _, err := p.Vault.Open(ctx, vault.Work(p.Source, p.Backup, d.Name), 0, -1)
	return body, err
}
