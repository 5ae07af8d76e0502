package manifest

import (
	"errors"
	"fmt"
	"hash/maphash"
	"unicode/utf8"

	"lifeboat/internal/zipfmt"
)

// Limits of a manifest. They lie beyond what any store takes; they keep sums of hostile numbers from overflowing and
// hostile lists from filling memory.
const (
	maxPacks   = 1 << 18
	maxArchive = 1 << 50 // bytes of an archive, of a pack, and of all contents together
	maxRatio   = 1032    // of deflate
	packIDSize = 32      // hex digits
)

// rules is what holds of the packs and entries of one manifest: every place lies inside of a pack that is listed, no
// path occurs twice, no sum overflows. Writer and Reader ask the same rules.
type rules struct {
	packs   map[string]Pack
	paths   map[uint64]struct{} // hashes, with a seed of this process; nil: not asked for
	seed    maphash.Seed
	entries int
	stored  int64 // headers and bodies so far
	content int64
}

func newRules() rules {
	return rules{packs: map[string]Pack{}, paths: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
}

func (r *rules) pack(p Pack) error {
	_, twice := r.packs[p.ID]
	switch {
	case !isPackID(p.ID):
		return fmt.Errorf("%q is no id of a pack", p.ID)
	case twice:
		return fmt.Errorf("the pack %s is listed twice", p.ID)
	case p.Bytes < 0 || p.Bytes > maxArchive:
		return fmt.Errorf("no pack has %d bytes", p.Bytes)
	case len(r.packs) == maxPacks:
		return fmt.Errorf("there are more than %d packs", maxPacks)
	}
	r.packs[p.ID] = p
	return nil
}

// isPackID reports whether id can be one: it becomes part of a key.
func isPackID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) == packIDSize
}

func (r *rules) entry(e Entry) error {
	if err := sizes(e); err != nil {
		return err
	}
	header, stored := e.Zip().LocalSize(), e.StoredSize()
	if !r.inside(e.Header, header) || !r.inside(e.Body(), stored) {
		return fmt.Errorf("%q is placed outside of the packs", e.Path)
	}
	r.entries++
	r.stored += header + stored
	r.content += e.Size
	if r.stored > maxArchive || r.content > maxArchive {
		return errors.New("the entries have more bytes than any archive")
	}
	if r.paths == nil {
		return nil
	}
	hash := maphash.String(r.seed, e.Path)
	if _, twice := r.paths[hash]; twice {
		return fmt.Errorf("%q is listed twice", e.Path)
	}
	r.paths[hash] = struct{}{}
	return nil
}

func sizes(e Entry) error {
	stored := e.Size
	if e.Deflated != nil {
		stored = e.Deflated.Size
	}
	switch {
	case e.Path == "" || len(e.Path) > zipfmt.MaxName:
		return fmt.Errorf("a name of %d bytes is none that a ZIP can hold", len(e.Path))
	case e.Path == PathInArchive || e.Path == SealInArchive || e.Path == ReadmeInArchive:
		return fmt.Errorf("%q is lifeboat's own", e.Path)
	case !utf8.ValidString(e.Path):
		return fmt.Errorf("%q is no UTF-8", e.Path)
	case e.Size < 0 || e.Size > maxArchive || stored < 0 || stored > maxArchive:
		return fmt.Errorf("%q has a size that is none", e.Path)
	case e.Deflated != nil && e.Size/maxRatio > stored:
		return fmt.Errorf("%q cannot have %d bytes: deflate makes no more than %d of one", e.Path, e.Size, maxRatio)
	}
	return nil
}

func (r *rules) inside(at Place, length int64) bool {
	p, ok := r.packs[at.Pack]
	return ok && at.Offset >= 0 && at.Offset <= p.Bytes-length
}
