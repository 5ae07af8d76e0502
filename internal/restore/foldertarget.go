package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// FolderOptions say what a folder gets, and how.
type FolderOptions struct {
	Folder   string
	Existing bool // it need not be empty; true for each process but the first, and when a restore goes on
	Kind     string
	// Name returns the name below the folder, or false where an entry is left out; nil: the path in the archive, in
	// the spelling that it had before where Kind is files. It is asked by Plan, Wants and Finish.
	Name     func(e manifest.Entry) (name string, put bool)
	Wants    func(e manifest.Entry) bool // false: it is left out, whatever Name says; nil: all
	Only     func(path string) bool      // of an entry in the archive; nil: all
	Progress func(items, bytes int64)
}

// FolderTarget is a folder that is restored into by units. It is safe for concurrent use, and several processes may
// work on the units of one plan. What is there is never overwritten: a file with the same size, CRC-32 and, where it
// is known, SHA-256 counts as restored, whatever its mode. Until Finish there is a file .lifeboat-made in the folder.
type FolderTarget struct {
	*worker
	o    FolderOptions
	tree tree
	made *made
}

// OpenFolderTarget opens a folder, which it creates. One that is not empty is refused (Conflict) unless Existing says
// otherwise.
func OpenFolderTarget(o FolderOptions) (*FolderTarget, error) {
	t, _, err := openTree(o.Folder, o.Existing)
	if err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	return &FolderTarget{worker: &worker{places: filePlaces, progress: o.Progress}, o: o, tree: t, made: &made{root: t.root}}, nil
}

// String names the target.
func (t *FolderTarget) String() string { return t.o.Folder }

// From says where the bytes come from; before Plan and Do.
func (t *FolderTarget) From(source Bytes) { t.source = source }

// Close ends the restore.
func (t *FolderTarget) Close() error { return errors.Join(t.made.close(), t.tree.root.Close()) }

// Result returns what was done so far.
func (t *FolderTarget) Result() Result { return t.counted() }

// Plan divides the entries of the backup into units.
func (t *FolderTarget) Plan(entries iter.Seq2[manifest.Entry, error]) iter.Seq2[Unit, error] {
	return PlanBucket(entries, Plan{Locate: t.source.Locate, Name: t.key, Found: t.problem})
}

// Restore does every unit, and leaves Finish to do. Trouble with one entry is a problem of the result; a full disk ends
// it, and the same restore again goes on with what is missing.
func (t *FolderTarget) Restore(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) (Result, error) {
	err := t.all(ctx, t.Plan(entries), t.Do)
	return t.Result(), err
}

// Wants reports whether an entry is to be restored here, so far as its name allows it.
func (t *FolderTarget) Wants(e manifest.Entry) bool {
	_, put := t.choose(e)
	return put
}

// choose returns the name of an entry, which is not checked yet, or false where it is left out.
func (t *FolderTarget) choose(e manifest.Entry) (string, bool) {
	switch {
	case t.o.Only != nil && !t.o.Only(e.Path), t.o.Wants != nil && !t.o.Wants(e):
		return "", false
	case t.o.Name != nil:
		return t.o.Name(e)
	}
	return e.Path, true
}

// key implements Plan.Name.
func (t *FolderTarget) key(e manifest.Entry) (string, error) {
	name, put := t.choose(e)
	if !put {
		return "", nil
	}
	plain := name
	if t.o.Name != nil && t.o.Kind == "files" && runtime.GOOS != "windows" {
		plain = strings.ReplaceAll(name, `\`, "_") // it was a file's name there, and can be one here
	}
	if err := t.tree.local(plain); err != nil {
		return "", err
	}
	if t.o.Name == nil {
		name = original(t.o.Kind, name)
	}
	if strings.EqualFold(strings.TrimSuffix(name, "/"), madeName) {
		return "", errors.New("its name is that of a file that lifeboat keeps there until the restore is finished")
	}
	return name, nil
}

// Do does one unit. An error concerns more than its entries.
func (t *FolderTarget) Do(ctx context.Context, u Unit) error {
	if u.Large {
		return t.large(ctx, u)
	}
	return t.small(ctx, u, t)
}

// file returns the name of an item's file by the rules of this system. It was planned so; but a unit is only data.
func file(i Item) (string, error) {
	if !proper(i.Key) || path.Clean(i.Key) == "." {
		return "", failure.New(failure.Invalid, "its name leads out of the folder")
	}
	return filepath.FromSlash(strings.TrimSuffix(i.Key, "/")), nil
}

// there implements putter. Directories are done here.
func (t *FolderTarget) there(ctx context.Context, _ bool, i Item) (bool, error) {
	name, err := file(i)
	switch {
	case err != nil:
		return true, t.settle(i, existed, err)
	case i.Entry.Dir():
		o, err := t.makeFolder(name)
		return true, t.settle(i, o, full(i.Entry, err))
	}
	if _, err := t.tree.root.Lstat(name); err != nil { // the write will say it better
		return false, nil
	}
	return true, t.settle(i, existed, t.compare(ctx, i, name))
}

// makeFolder makes a directory that an entry describes, if nothing is there.
func (t *FolderTarget) makeFolder(name string) (outcome, error) {
	info, err := t.tree.root.Lstat(name)
	switch {
	case err == nil && !info.IsDir():
		return existed, errNoFolder
	case err == nil:
		return existed, nil
	}
	return wrote, t.folders(name)
}

// folders makes a directory and those above it, and notes which ones are ours.
func (t *FolderTarget) folders(name string) error {
	if info, err := t.tree.root.Stat(name); name == "." || err == nil && info.IsDir() {
		return nil
	}
	if err := t.folders(filepath.Dir(name)); err != nil {
		return err
	}
	if _, err := t.tree.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if err := t.made.note(name); err != nil { // before it is there: a crash in between forgets nothing
			return err
		}
	}
	err := t.tree.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := t.tree.root.Stat(name)
		switch {
		case statErr != nil:
			return statErr
		case info.IsDir():
			return nil // another worker was faster
		}
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	}
	return err
}

// put implements putter.
func (t *FolderTarget) put(ctx context.Context, i Item, content []byte) (outcome, error) {
	return t.write(ctx, i, func(out io.Writer) error {
		_, err := out.Write(content)
		return err
	})
}

// write writes a file. What got its name meanwhile may have its bytes.
func (t *FolderTarget) write(ctx context.Context, i Item, fill func(io.Writer) error) (outcome, error) {
	name, err := file(i)
	if err == nil {
		err = full(i.Entry, t.folders(filepath.Dir(name)))
	}
	if err == nil {
		err = t.tree.write(i.Entry, name, fill)
	}
	if errors.Is(err, errMeanwhile) {
		return existed, t.compare(ctx, i, name)
	}
	return wrote, err
}

// compare accepts a file that is there already if it is the entry's.
func (t *FolderTarget) compare(ctx context.Context, i Item, name string) error {
	return t.tree.accept(name, func(there io.Reader, size int64) (bool, error) {
		if size != i.Entry.Size {
			return false, nil
		}
		crc, sha := crc32.NewIEEE(), sha256.New()
		if _, err := io.Copy(io.MultiWriter(crc, sha), app.Stoppable(ctx, there)); err != nil {
			return false, err
		}
		known := i.Entry.SHA256 == "" || hex.EncodeToString(sha.Sum(nil)) == i.Entry.SHA256
		return known && manifest.CRC(crc.Sum32()) == i.Entry.CRC32, nil
	})
}

// large does a file by itself, from a stream. It is checked before it gets its name.
func (t *FolderTarget) large(ctx context.Context, u Unit) error {
	if !acquire(ctx, t.places) {
		return ctx.Err()
	}
	defer func() { <-t.places }()
	i := u.Items[0]
	if there, err := t.there(ctx, u.Fresh, i); there || err != nil {
		return err
	}
	var shown int64
	o, err := t.write(ctx, i, func(out io.Writer) error {
		body, err := t.source.open(ctx, u.From, u.Length)
		if err != nil {
			return err
		}
		defer body.Close()
		return t.source.check(i.Entry, body, nil, func(content io.Reader) error {
			from := &source{r: content}
			_, err := io.Copy(shower{out, &shown, t.progress}, from)
			if from.err != nil { // the check says it
				return nil
			}
			return err
		})
	})
	t.progress(0, -shown) // settle counts it
	return t.settle(i, o, err)
}

// shower tells what is written.
type shower struct {
	out   io.Writer
	shown *int64
	tell  func(items, bytes int64)
}

func (s shower) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	*s.shown += int64(n)
	s.tell(0, int64(n))
	return n, err
}
