package files

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// TargetOptions say where a backup of files is restored to.
type TargetOptions struct {
	Place datasource.Datasource // the folder, or the bucket
	// Folder is the path of the folder, where Place is one: without it, nobody looks whether directories are there.
	Folder string
}

// Target is a folder or a bucket that gets files under the names that they had: there is nothing to replay but the
// files. It implements app.Target. A name that no file or object there can have keeps the spelling of the archive. The
// documents, which lifeboat has written, are left out; symbolic links stay in them. Memory holds about 40 bytes for each
// file of the backup or the target, whichever it looks at.
//
//	problems  missing size more
//	notes     exists symlinks left-out extra unseen more
type Target struct {
	options TargetOptions
	folder  bool // names are those of files
}

var _ app.Target = (*Target)(nil)

// NewTarget returns a target. It checks the options, with Usage errors, and touches neither folder nor bucket.
func NewTarget(options TargetOptions) (*Target, error) {
	if options.Place == nil {
		return nil, failure.New(failure.Usage, "a files target needs either a folder or a bucket").
			WithHint("set path to the folder or the s3:// address that files are restored to")
	}
	_, folder := options.Place.(*datasource.Folder)
	return &Target{options, folder}, nil
}

// Preflight implements app.Target. It lists the target: NotFound where there is no such bucket, Denied where it may not
// be listed.
func (t *Target) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	if err := t.proper(r); err != nil {
		return app.Forecast{}, err
	}
	there := newSizes()
	for o, err := range t.list(ctx) {
		if err != nil {
			return app.Forecast{}, err
		}
		there.set(o.Key, o.Size)
	}
	root, err := t.root()
	if err != nil {
		return app.Forecast{}, err
	}
	if root != nil {
		defer root.Close()
	}
	f := &forecast{target: t, root: root, there: there, files: app.Count{What: "files"}, directories: app.Count{What: "directories"}}
	for i, err := range r.Items(ctx) {
		if err != nil {
			return app.Forecast{}, err
		}
		f.item(i)
	}
	if n := r.Facts.Counts["symlinks"]; n > 0 {
		f.found("symlinks", symlinksPath, "%d symbolic links are not made: %s in the backup lists them with their targets", n, symlinksPath)
	}
	f.limit.rest(f.add)
	return app.Forecast{Application: "files", Counts: f.counts(), Findings: f.findings, Place: t.place}, nil
}

func (t *Target) proper(r *app.Replay) error {
	if r.Kind == "files" {
		return nil
	}
	return failure.New(failure.Invalid, "a backup of kind %q can't be restored into a target of kind files, whose names are others", r.Kind).
		WithHint("restore it to a folder or a bucket that is no target: --to dir:PATH")
}

// place is where an item goes.
func (t *Target) place(i app.Item) (string, bool) {
	name, ok := t.name(i)
	return name, ok && i.Chosen
}

// name returns the name that an item had; false for what is none of the files of a source. A folder's ends with "/".
func (t *Target) name(i app.Item) (string, bool) {
	rest, ok := strings.CutPrefix(i.Path, Folder)
	rest, slash := strings.CutSuffix(rest, "/")
	if !ok || rest == "" || i.Document || slash != i.Dir {
		return "", false
	}
	if decoded, err := Decode(rest); err == nil && t.takes(decoded) {
		rest = decoded
	}
	if slash {
		rest += "/"
	}
	return rest, true
}

// takes reports whether the target can have a name; one that it can't have keeps the spelling of the archive. No object's
// name holds bytes that are no text: a store that takes them can't list them any more.
func (t *Target) takes(name string) bool {
	if t.folder {
		return fileName(name)
	}
	return utf8.ValidString(name)
}

// fileName reports whether a file below a folder can have a name, by the rules of this system.
func fileName(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && name == path.Clean(name) && !strings.Contains(name, "\x00")
}

// lister is a place that lists its folder markers too.
type lister interface {
	Every(ctx context.Context) iter.Seq2[app.Object, error]
}

// list yields what lies in the target; what can't be read is left out, and a folder that is not there holds nothing.
func (t *Target) list(ctx context.Context) iter.Seq2[app.Object, error] {
	all := t.options.Place.List
	if l, ok := t.options.Place.(lister); ok {
		all = l.Every
	}
	return func(yield func(app.Object, error) bool) {
		for o, err := range all(ctx) {
			skipped, unreadable := errors.AsType[*datasource.Skipped](err)
			switch {
			case unreadable:
				o, err = app.Object{Key: skipped.Key, Size: odd}, nil
			case err != nil && t.folder && failure.KindOf(err) == failure.NotFound:
				return
			case err != nil:
				err = fmt.Errorf("look at the target: %w", err)
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// What sizes can be beside bytes.
const (
	odd   = -1 // something that is no file, or can't be read
	found = -2
)

// sizes are the sizes of many names. It keeps no name: two of a million have one hash with a probability of 1 in 10^7.
type sizes struct {
	seed maphash.Seed
	of   map[uint64]int64
}

func newSizes() sizes { return sizes{maphash.MakeSeed(), map[uint64]int64{}} }

func (s sizes) set(name string, size int64) { s.of[maphash.String(s.seed, name)] = size }

func (s sizes) get(name string) (int64, bool) {
	size, ok := s.of[maphash.String(s.seed, name)]
	return size, ok
}

// maxFindings is how many findings of a kind of trouble are listed one by one.
const maxFindings = 1000

// limit bounds the findings.
type limit struct{ n int }

func (l *limit) more() bool {
	l.n++
	return l.n <= maxFindings
}

func (l *limit) rest(add func(app.Finding)) {
	if more := l.n - maxFindings; more > 0 {
		add(app.Finding{Severity: app.Note, Kind: "more", Message: fmt.Sprintf("%d more findings are not listed", more)})
	}
}

// forecast is one look at backup and target.
type forecast struct {
	target             *Target
	root               *os.Root
	there              sizes
	files, directories app.Count
	findings           []app.Finding
	limit              limit
}

func (f *forecast) add(finding app.Finding) { f.findings = append(f.findings, finding) }

func (f *forecast) found(kind, item, format string, args ...any) {
	if f.limit.more() {
		f.add(app.Finding{Severity: app.Note, Kind: kind, Item: item, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *forecast) item(i app.Item) {
	name, ok := f.target.name(i)
	switch {
	case !ok && !i.Document && i.Chosen:
		f.found("left-out", i.Path, "it is not put into the target: it is none of the files of a backup of this kind")
		return
	case !ok:
		return
	}
	count := &f.files
	if i.Dir {
		count = &f.directories
	}
	count.Backup++
	size, exists := f.there.get(name)
	if i.Dir && f.target.folder {
		exists, _ = f.target.directory(f.root, name)
		size = i.Size
	}
	switch {
	case !i.Chosen:
		count.Skip++
	case exists && size == i.Size:
		count.Exists++
	case exists:
		count.Skip++
		f.found("exists", i.Path, "something else has its name in the target already: it is left as it is")
	case f.blocked(name):
		count.Skip++
		f.found("exists", i.Path, "it can't be put there: a folder on its way is a file in the target, or a symbolic link that leads out of it")
	default:
		count.Create++
	}
}

// blocked reports whether something on the way to a name can't be entered: a file, or a link that leads out of the folder.
// A link within it is as good as a folder.
func (f *forecast) blocked(name string) bool {
	if f.root == nil {
		return false
	}
	name = strings.TrimSuffix(name, "/")
	for i := range min(len(name), 4096) { // a longer way would cost more time than it tells
		if name[i] != '/' {
			continue
		}
		if _, listed := f.there.get(name[:i]); !listed { // the list has all that is no folder
			continue
		}
		if info, err := f.root.Stat(filepath.FromSlash(name[:i])); err != nil || !info.IsDir() {
			return true
		}
	}
	return false
}

func (f *forecast) counts() []app.Count {
	if f.directories.Backup == 0 {
		return []app.Count{f.files}
	}
	return []app.Count{f.files, f.directories}
}

// Replay implements app.Target: there is nothing to do once the files are there.
func (t *Target) Replay(ctx context.Context, _ *app.Replay) (app.Progress, error) {
	return app.Progress{Done: true}, ctx.Err()
}

// root opens the folder, to look for directories; nil where nobody can, or where it is not there.
func (t *Target) root() (*os.Root, error) {
	if !t.folder || t.options.Folder == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(t.options.Folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, rootFault(t.options.Folder, err)
	}
	return root, nil
}

// directory reports whether a directory is there; known is false where nobody can say.
func (t *Target) directory(root *os.Root, name string) (there, known bool) {
	if root == nil {
		return false, false
	}
	info, err := root.Lstat(filepath.FromSlash(strings.TrimSuffix(name, "/")))
	return err == nil && info.IsDir(), err == nil || errors.Is(err, fs.ErrNotExist)
}
