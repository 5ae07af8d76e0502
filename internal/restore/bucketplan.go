package restore

import (
	"errors"
	"iter"
	"path"
	"strings"
	"unicode/utf8"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Sizes of the plan, in bytes.
const (
	DefaultPiece = 512 << 20 // of one copy by the store, at least
	DefaultFloor = 8 << 20   // of an object from which on the store copies it, where it can
	windowSize   = 16 << 20  // of one read over many entries
	gapSize      = 256 << 10 // that is read along rather than asked around
	inflatedSize = 1 << 20   // of a document that is inflated in memory
	windowItems  = 4096      // entries of one window
	maxKey       = 1024      // of the name of an object in a store
)

// Item is one entry on its way to the destination.
type Item struct {
	Key    string         `json:"key"` // in the bucket, or below the folder
	Entry  manifest.Entry `json:"entry"`
	Offset int64          `json:"offset"` // of its body
}

// Unit is a piece of a restore that one worker does: either a window, which is one read over neighbouring entries, or
// one large object by itself. Units don't depend on one another.
type Unit struct {
	From   Spot   `json:"from"`
	Length int64  `json:"length"` // bytes from there on
	Large  bool   `json:"large,omitzero"`
	Copy   bool   `json:"copy,omitzero"`  // large, and the store can copy it by itself
	Fresh  bool   `json:"fresh,omitzero"` // the target was empty: most likely none of it is there yet
	Items  []Item `json:"items"`
}

// Plan says how PlanBucket divides the work, which is the same for a folder.
type Plan struct {
	Fresh  bool  // the target is empty
	Floor  int64 // as in BucketOptions
	Copy   bool  // the store of the bytes is that of the target
	Locate func(manifest.Entry) (Spot, error)
	// Name returns the key of an entry; "" leaves it out. An error says what is wrong with its name.
	Name  func(manifest.Entry) (string, error)
	Found func(app.Finding) // gets the entries that no key can name
}

// PlanBucket divides the entries of a manifest into units, in their order. It holds one window in memory, and reads
// and writes nothing.
func PlanBucket(entries iter.Seq2[manifest.Entry, error], p Plan) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		window := Unit{Fresh: p.Fresh}
		for e, err := range entries {
			var at Spot
			if err == nil {
				at, err = p.Locate(e)
			}
			if err != nil {
				yield(Unit{}, err)
				return
			}
			key, err := p.Name(e)
			if err != nil {
				p.Found(notWritten(e.Path, "was not written: %v", err))
			}
			if key == "" || err != nil {
				continue
			}
			item := Item{Key: key, Entry: e, Offset: at.Offset}
			if unit, large := p.large(item, at); large {
				if !yield(unit, nil) {
					return
				}
				continue
			}
			if !window.takes(item, at) {
				if !yield(window, nil) {
					return
				}
				window = Unit{Fresh: p.Fresh}
			}
			window.add(item, at)
		}
		if len(window.Items) > 0 {
			yield(window, nil)
		}
	}
}

// large returns the unit of an entry that goes by itself.
func (p Plan) large(i Item, at Spot) (Unit, bool) {
	e := i.Entry
	u := Unit{From: at, Length: e.StoredSize(), Large: true, Fresh: p.Fresh, Items: []Item{i}}
	u.Copy = p.Copy && e.Deflated == nil && e.Size > 0 && e.Size >= p.Floor && at.Object > vault.MinPart
	return u, u.Copy || e.StoredSize() > windowSize || e.Deflated != nil && e.Size > inflatedSize
}

// takes reports whether an entry joins a window: it lies behind what the window has, and near enough.
func (u Unit) takes(i Item, at Spot) bool {
	size := i.Entry.StoredSize()
	switch {
	case len(u.Items) == 0:
		return true
	case len(u.Items) == windowItems:
		return false
	case size == 0 || u.Length == 0:
		return true
	}
	gap := at.Offset - u.From.Offset - u.Length
	return at.Key == u.From.Key && gap >= 0 && gap <= gapSize && u.Length+gap+size <= windowSize
}

func (u *Unit) add(i Item, at Spot) {
	if size := i.Entry.StoredSize(); size > 0 {
		if u.Length == 0 {
			u.From = at
		}
		u.Length = at.Offset + size - u.From.Offset
	}
	u.Items = append(u.Items, i)
}

// Layout says by which names a bucket gets its objects.
type Layout string

// The layouts.
const (
	// ByPath writes objects and documents under their paths in the archive. Those of kind files get the very names
	// that they had, without files/; the documents, which lifeboat has written there, are left out.
	ByPath Layout = "archive"
	// ByKey writes objects under the names that they have in the application's datasource, so that the bucket takes
	// its place. Documents are left out.
	ByKey Layout = "datasource"
)

// naming gives entries their keys.
type naming struct {
	kind    string
	prefix  string // "" or ending with "/"
	layout  Layout
	objects bool // no documents
	only    func(path string) bool
	named   func(manifest.Entry) (string, bool) // nil: by the above
	wanted  func(manifest.Entry) bool           // nil: all
	opaque  bool                                // the store takes any name as it is
}

// key implements Plan.Name.
func (n naming) key(e manifest.Entry) (string, error) {
	name, put := n.choose(e)
	if !put {
		return "", nil
	}
	if err := n.check(name); err != nil {
		return "", err
	}
	return n.prefix + name, nil
}

// choose returns the name of an entry, which is not checked yet, or false where it is left out.
func (n naming) choose(e manifest.Entry) (string, bool) {
	switch {
	case n.wanted != nil && !n.wanted(e):
		return "", false
	case n.named != nil:
		return n.named(e)
	}
	return n.name(e), n.wants(e)
}

// wants reports whether an entry is restored at all. Empty directories have a meaning in a bucket only where they were
// markers, or folders, of kind files.
func (n naming) wants(e manifest.Entry) bool {
	isFiles := n.kind == "files"
	switch {
	case n.only != nil && !n.only(e.Path):
		return false
	case e.Document:
		return !n.objects && n.layout == ByPath && !isFiles
	case e.Dir():
		return isFiles
	}
	return true
}

func (n naming) name(e manifest.Entry) string {
	if n.kind != "files" {
		if n.layout == ByKey && e.Origin != nil {
			return e.Origin.Key
		}
		return e.Path
	}
	rest, slash := strings.CutSuffix(strings.TrimPrefix(e.Path, files.Folder), "/")
	if decoded, err := files.Decode(rest); err == nil && utf8.ValidString(decoded) { // a store can't list other names
		rest = decoded
	}
	if slash {
		rest += "/"
	}
	return rest
}

// check says why a name cannot be written. Segments that a path resolves would leave the prefix in stores that keep
// objects as files.
func (n naming) check(name string) error {
	switch {
	case name == "" || len(n.prefix)+len(name) > maxKey:
		return errors.New("its name is empty or too long for a store, whose names have up to 1,024 bytes")
	case n.kind == "files" && n.opaque:
		return nil
	case strings.Contains("/"+name+"/", "/../"), strings.Contains("/"+name+"/", "/./"):
		return errors.New("its name holds a segment . or .., which leads elsewhere")
	case n.kind != "files" && (strings.HasPrefix(name, "/") || name != path.Clean(name)):
		return errors.New("its name is none of an object")
	}
	return nil
}
