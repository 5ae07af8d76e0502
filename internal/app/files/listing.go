package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
)

const (
	reportPath   = "files.json"
	symlinksPath = "symlinks.jsonl"
	// maxPath is the longest name that an entry of a ZIP can have, in bytes.
	maxPath = 65535
	// maxSpecial is how many special files have a finding of their own, and how many set-id bits.
	maxSpecial = 100
)

// listing is one snapshot being taken.
type listing struct {
	filter filter
	used   []bool // include patterns that matched something
	sink   app.Sink
	began  time.Time

	pausing app.PausingSink // nil: it is taken in one go
	mark    datasource.Mark
	what    string // a digest of the place and the patterns

	counts  counts
	special int
	setIDs  int
	left    int // things that were left out with a problem
	links   bytes.Buffer
	digest  hash.Hash
}

// counts says how much is in the snapshot.
type counts struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"` // in which something is, or could be, in the backup; markers of a bucket
	Symlinks    int64 `json:"symlinks"`
	Bytes       int64 `json:"bytes"`
}

func newListing(f filter, began time.Time, sink app.Sink) *listing {
	return &listing{filter: f, used: make([]bool, len(f.include)), sink: sink, began: began, digest: sha256.New()}
}

// file adds a file; o has all but its names.
func (l *listing) file(name string, o app.Object) error {
	o.Key, o.Path = key(name), Folder+Encode(name)
	if l.tooLong(o.Path) {
		return nil
	}
	l.counts.Files++
	l.counts.Bytes += o.Size
	return l.add(o)
}

// directory adds a folder as an object of its own; name doesn't end with "/".
func (l *listing) directory(name string, o app.Object) error {
	o.Key, o.Path, o.Dir = key(name)+"/", Folder+Encode(name)+"/", true
	if l.tooLong(o.Path) {
		return nil
	}
	return l.add(o)
}

func (l *listing) add(o app.Object) error {
	// A path has no control characters, and an identity no line breaks.
	fmt.Fprintf(l.digest, "%s\t%d\t%s\n", o.Path, o.Size, o.Identity)
	return l.sink.Object(o)
}

func (l *listing) symlink(name, target string) {
	l.counts.Symlinks++
	line, _ := json.Marshal(struct { // strings of UTF-8 always encode
		Path   string `json:"path"`
		Target string `json:"target"`
	}{Folder + Encode(name), plain(target)})
	l.links.Write(append(line, '\n'))
}

func (l *listing) tooLong(path string) bool {
	if len(path) <= maxPath {
		return false
	}
	l.problem("bad-name", path[:200]+"…", "is not in the backup: its name has more than the %d bytes that a name in a ZIP can have", maxPath)
	return true
}

// skip is about something that can't be read.
func (l *listing) skip(name, format string, args ...any) {
	l.problem("unreadable", Folder+Encode(name), "is not in the backup: "+format, args...)
}

func (l *listing) problem(kind, item, format string, args ...any) {
	l.left++
	l.sink.Found(app.Finding{Severity: app.Problem, Kind: kind, Item: item, Message: fmt.Sprintf(format, args...)})
}

func (l *listing) note(kind, item, format string, args ...any) {
	l.sink.Found(app.Finding{Severity: app.Note, Kind: kind, Item: item, Message: fmt.Sprintf(format, args...)})
}

// irregular is about a socket, a pipe or a device.
func (l *listing) irregular(name string) {
	if l.special++; l.special <= maxSpecial {
		l.note("special", Folder+Encode(name), "is not in the backup: it is a socket, a pipe or a device, which has no content of its own")
	}
}

// setID is about a file or a folder that is in the backup without bits that nobody gets from an archive.
func (l *listing) setID(name string, mode fs.FileMode) {
	if mode&(fs.ModeSetuid|fs.ModeSetgid) == 0 {
		return
	}
	item := Folder + Encode(name)
	if mode.IsDir() {
		item += "/"
	}
	if l.setIDs++; l.setIDs <= maxSpecial {
		l.note("set-id", item, "is in the backup without its set-user-id or set-group-id bit: where it needs it, set it after a restore")
	}
}

// conclude says what only the end of the list shows.
func (l *listing) conclude(place string) {
	if more := l.special - maxSpecial; more > 0 {
		l.note("special", "", "%d more sockets, pipes and devices are not in the backup", more)
	}
	if more := l.setIDs - maxSpecial; more > 0 {
		l.note("set-id", "", "%d more files and folders are in the backup without their set-id bits", more)
	}
	if l.counts.Symlinks > 0 {
		l.note("symlinks", symlinksPath, "%d symbolic links are listed there with their targets; they were not followed", l.counts.Symlinks)
	}
	for i, p := range l.filter.include {
		if !l.used[i] {
			l.problem("unmatched", p.text, "the include pattern matches nothing in %s, or only what is excluded: correct it or remove it", place)
		}
	}
	switch {
	case l.counts.Files > 0 || l.left > 0:
	case l.counts.Directories+l.counts.Symlinks+int64(l.special) == 0 && len(l.filter.include)+len(l.filter.exclude) == 0:
		l.problem("empty", "", "there is nothing at all in %s: is it the right place, and is the volume mounted?", place)
	default:
		l.note("empty", "", "there are no files in %s: if that is wrong, is the volume mounted?", place)
	}
}

// report is files.json.
type report struct {
	Format  int       `json:"lifeboat_files"` // version of this document
	Place   string    `json:"place"`          // "the folder /srv/photos"
	Include []string  `json:"include,omitempty"`
	Exclude []string  `json:"exclude,omitempty"`
	Began   time.Time `json:"began"` // of the list
	Counts  counts    `json:"counts"`
	Names   string    `json:"names"` // how to read paths
}

func (s *Source) report(began time.Time) report {
	return report{
		Format: 1, Place: s.place.Describe(), Include: s.options.Include, Exclude: s.options.Exclude, Began: began.UTC(),
		Names: "In paths, % and two hex digits stand for a byte that a name in a ZIP can't have.",
	}
}

func (l *listing) documents(ctx context.Context, r report) error {
	r.Counts = l.counts
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", reportPath, err)
	}
	if err := l.sink.Document(ctx, app.Document{Path: reportPath}, bytes.NewReader(append(text, '\n'))); err != nil {
		return err
	}
	if l.counts.Symlinks == 0 {
		return nil
	}
	l.digest.Write(l.links.Bytes())
	return l.sink.Document(ctx, app.Document{Path: symlinksPath}, bytes.NewReader(l.links.Bytes()))
}

func (l *listing) facts() app.Facts {
	return app.Facts{
		Application: "files",
		Counts: map[string]int64{
			"files": l.counts.Files, "directories": l.counts.Directories, "symlinks": l.counts.Symlinks, "bytes": l.counts.Bytes,
		},
		Digest: hex.EncodeToString(l.digest.Sum(nil)),
	}
}
