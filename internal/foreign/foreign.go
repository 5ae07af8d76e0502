// Package foreign reads ZIPs that other programs made as what a restore needs: entries with names, sizes and checksums,
// and where their bytes lie. It tells the archives of Zipline, linkding, Squidex and Labii by what is in them, never by
// what the file is called.
//
// Structure, names and contents are judged by internal/zipcheck, with what the recognised kind is known for. Nothing of
// an archive that was rejected is handed out; one that has entries which only lifeboat writes is no other program's and
// is refused too. What nothing tells is of kind "": it can still be restored to a folder. Nobody signed such archives:
// whether they are trusted is for the caller to ask.
//
// Memory holds the list of entries, about 300 bytes and the name of each. The package stores nothing but a temporary
// folder for linkding's database, which it removes.
package foreign

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/zipcheck"
)

// limits are those of somebody who waits for it, with a whole machine.
var limits = zipcheck.Limits{Entries: 1_000_000, Names: 128 << 20}

// Archive is a ZIP of another program. It needs no closing.
type Archive struct {
	Kind string // "zipline", "linkding", "squidex", "labii", or ""
	Why  string // one sentence: what the kind was recognised by, or why there is none; holds a stranger's names
	// Facts are what the archive says about the application: what is cheap to know after Open, all of it after Check.
	Facts app.Facts
	// Findings are what is odd about the archive as one of its kind; complete after Check.
	Findings []app.Finding

	name   string
	source io.ReaderAt
	size   int64
	report *zipcheck.Report
	items  []item  // in the order of the archive's bytes
	paths  []int32 // items in the order of their paths
	export int     // of Zipline: the entry that is the export
}

// item is one entry as its kind has it.
type item struct {
	entry    int // in the report
	path     string
	key      string // of an object
	sort     string // what the application calls it
	document bool
	secret   bool
}

// Open reads the structure and names of an archive of size bytes and tells its kind; name is what errors call it. No
// content is checked yet, but for what tells the kind. Corrupt: it is rejected, or pretends to be lifeboat's. Invalid: it
// holds nothing, is no ZIP, or one that lifeboat does not read. Other errors are of reading r, or of ctx.
func Open(ctx context.Context, r io.ReaderAt, size int64, name string) (*Archive, error) {
	a, err := Inspect(ctx, r, size, name)
	if err != nil {
		return nil, err
	}
	if err := a.Refusal(); err != nil {
		return nil, err
	}
	return a, nil
}

// Inspect is Open for who wants to see all that speaks against an archive: one that is rejected or holds nothing is
// returned, with its Report; Refusal says so.
func Inspect(ctx context.Context, r io.ReaderAt, size int64, name string) (*Archive, error) {
	strict, err := zipcheck.Check(ctx, r, size, limits, zipcheck.Strict)
	if err != nil {
		return nil, reading(name, err)
	}
	a := &Archive{name: name, source: r, size: size, report: strict, export: -1}
	if a.pretends() {
		return nil, forged(name)
	}
	if strict.Counts[zipcheck.Unreadable] > 0 {
		if err := a.bare(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.recognise(ctx); err != nil {
		return nil, reading(name, err)
	}
	return a, nil
}

// recognise tries every kind, each with its own rules for names.
func (a *Archive) recognise(ctx context.Context) error {
	strict := a.report
	for _, k := range kinds {
		if !k.named(strict) {
			continue
		}
		if strict.Verdict != zipcheck.Accept && k.profile != zipcheck.Strict {
			lenient, err := zipcheck.Check(ctx, a.source, a.size, limits, k.profile)
			if err != nil {
				return err
			}
			a.report = lenient
		}
		if a.report.Verdict != zipcheck.Reject {
			if err := k.open(a, ctx); err != nil || a.Kind != "" {
				return err
			}
		}
		a.report = strict
	}
	a.plain()
	return nil
}

// kinds are the kinds in the order in which they are tried. The names of one archive fit one of them only, nearly always.
var kinds = []struct {
	profile zipcheck.Profile
	named   func(*zipcheck.Report) bool           // whether the names may be those of the kind
	open    func(*Archive, context.Context) error // sets Kind and items where it is of the kind
}{
	{zipcheck.Strict, namedLinkding, (*Archive).openLinkding},
	{zipcheck.Squidex, namedSquidex, (*Archive).openSquidex},
	{zipcheck.Labii, namedLabii, (*Archive).openLabii},
	{zipcheck.Zipline, namedZipline, (*Archive).openZipline},
}

// Plain returns the archive as one of no kind: every entry under the name that it has in the ZIP. It is for a restore to
// a folder. What Check found holds for both.
func (a *Archive) Plain() *Archive {
	p := *a
	p.Why, p.Findings = "", slices.Clone(a.Findings)
	p.plain()
	return &p
}

func (a *Archive) plain() {
	if a.Why == "" {
		a.Why = "nothing in it says which program made it"
	}
	a.Kind, a.Facts, a.export = "", app.Facts{}, -1
	items := make([]item, 0, len(a.report.Entries))
	for i := range a.report.Entries {
		if e := &a.report.Entries[i]; !e.Shadowed {
			items = append(items, item{entry: i, path: e.Name, key: e.Name})
		}
	}
	a.arrange(items)
}

// arrange keeps the items, in the order of their bytes. It reports false, and keeps nothing, where two have one path.
func (a *Archive) arrange(items []item) bool {
	entries := a.report.Entries
	slices.SortFunc(items, func(x, y item) int {
		return int(min(max(entries[x.entry].Header-entries[y.entry].Header, -1), 1))
	})
	paths := make([]int32, len(items))
	for i := range paths {
		paths[i] = int32(i)
	}
	slices.SortFunc(paths, func(x, y int32) int { return strings.Compare(items[x].path, items[y].path) })
	for i := 1; i < len(paths); i++ {
		if items[paths[i-1]].path == items[paths[i]].path && a.report.Verdict != zipcheck.Reject {
			return false
		}
	}
	a.items, a.paths = items, paths
	return true
}

// Report is what the check of the ZIP found: structure and names after Open, contents after Check. Don't change it.
func (a *Archive) Report() *zipcheck.Report { return a.report }

// Check reads every byte of the archive against its CRC-32, then as its kind's own reader does. progress gets what
// the first of these reads. Corrupt: bytes are not what the archive says, or linkding has left it broken. After it,
// Entries have their SHA-256, and Facts and Findings are complete; an archive that is laid out as linkding's but has
// the database of another program has become one of no kind.
func (a *Archive) Check(ctx context.Context, progress func(items, bytes int64)) error {
	return a.CheckFrom(ctx, &zipcheck.Position{}, progress)
}

// CheckFrom is Check from where an earlier one of the very same bytes has ended, which it moves on: after an error, that is
// where another one can go on. What the kind's own reader does is done in one go, when all contents are read.
func (a *Archive) CheckFrom(ctx context.Context, at *zipcheck.Position, progress func(items, bytes int64)) error {
	if err := a.Refusal(); err != nil {
		return err
	}
	if err := a.report.ReadFrom(ctx, at, progress); err != nil {
		return reading(a.name, err)
	}
	if err := a.Refusal(); err != nil {
		return err
	}
	var err error
	switch a.Kind {
	case "linkding":
		err = a.checkLinkding(ctx)
	case "zipline":
		err = a.checkZipline(ctx)
	case "squidex":
		a.checkSquidex()
	}
	if err != nil {
		return reading(a.name, err)
	}
	return nil
}

// Digest returns the SHA-256, in hex, of the list of entries as the ZIP has them: names, sizes, CRC-32s. Equal archives
// have equal digests, before and after Check; that of two different ones can be made equal on purpose, so it names an
// archive and proves nothing.
func (a *Archive) Digest() string {
	h := sha256.New()
	for i := range a.report.Entries {
		e := &a.report.Entries[i]
		text(h, e.Name)
		number(h, uint64(e.Size))
		number(h, uint64(e.CRC32))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func text(h hash.Hash, s string) {
	number(h, uint64(len(s)))
	_, _ = io.WriteString(h, s)
}

func number(h hash.Hash, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	_, _ = h.Write(b[:])
}

// pretends reports whether the archive has entries that only lifeboat writes.
func (a *Archive) pretends() bool {
	own := []string{manifest.SealInArchive, manifest.PathInArchive}
	return slices.ContainsFunc(a.report.Entries, func(e zipcheck.Entry) bool {
		return slices.ContainsFunc(own, func(name string) bool { return strings.EqualFold(e.Name, name) })
	})
}

func (a *Archive) note(kind, message string) {
	a.Findings = append(a.Findings, app.Finding{Severity: app.Note, Kind: kind, Message: message})
}

func (a *Archive) problem(kind, item, message string) {
	a.Findings = append(a.Findings, app.Finding{Severity: app.Problem, Kind: kind, Item: item, Message: message})
}
