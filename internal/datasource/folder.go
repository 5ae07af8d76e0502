package datasource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"syscall"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// settle is how long before a listing the last change of a file must lie for its identity to be trusted: file
// systems stamp times in steps, so that two changes within one step look like one.
const settle = 2 * time.Second

// Folder is a datasource in a folder of this machine. Nothing outside of the folder is ever read, whatever
// symbolic links in it say.
type Folder struct {
	path string
	now  func() time.Time
	side side
}

// NewFolder returns the folder at path as a datasource. It doesn't touch the folder yet: a missing or unreadable
// one is an error of List and Open. A nil now is time.Now.
func NewFolder(path string, now func() time.Time) *Folder {
	if now == nil {
		now = time.Now
	}
	return &Folder{path: path, now: now}
}

// OfTarget says that it is where restores go: errors then speak of the target's settings. It returns f.
func (f *Folder) OfTarget() *Folder {
	f.side = ofTarget
	return f
}

// Describe implements Datasource.
func (f *Folder) Describe() string { return "the folder " + f.path }

// List implements Datasource. It yields regular files, with "/" between the parts of a key; symbolic links,
// special files, and what can't be read are *Skipped. What vanishes while the listing runs is left out silently.
// The names of one folder at a time are held in memory, about 150 bytes each.
func (f *Folder) List(ctx context.Context) iter.Seq2[app.Object, error] {
	return func(yield func(app.Object, error) bool) {
		start := f.now()
		root, err := f.open()
		if err != nil {
			yield(app.Object{}, err)
			return
		}
		defer root.Close()
		w := walk{start: start, yield: yield}
		entries, err := entriesOf(root)
		if err != nil {
			yield(app.Object{}, f.fault(err))
			return
		}
		w.entries(ctx, root, "", entries)
	}
}

func (f *Folder) open() (*os.Root, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, f.fault(err)
	}
	if !info.IsDir() {
		return nil, failure.New(failure.Usage, "%s is not a folder", f.path).
			WithHint("name the folder that holds the application's files in %s", f.side)
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, f.fault(err)
	}
	return root, nil
}

// fault gives an error about the folder as a whole its kind.
func (f *Folder) fault(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.NotFound, "the %sdatasource folder %s does not exist", f.side.whose(), f.path).
			WithHint("check the path in %s, and whether the volume is mounted on this machine", f.side)
	case errors.Is(err, fs.ErrPermission):
		return failure.New(failure.Denied, "the %sdatasource folder %s may not be read", f.side.whose(), f.path).
			WithHint("give the user that runs lifeboat the right to read and enter the folder")
	}
	return failure.New(kindOf(err), "read the %sdatasource folder %s: %w", f.side.whose(), f.path, err)
}

// kindOf returns the kind of a file system's error that is about neither existence nor permission.
func kindOf(err error) failure.Kind {
	switch {
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EINTR):
		return failure.Transient
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return failure.Exhausted
	}
	return failure.Internal
}

// walk is one listing.
type walk struct {
	start time.Time
	yield func(app.Object, error) bool
}

func entriesOf(root *os.Root) ([]fs.DirEntry, error) {
	folder, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) })
	return entries, nil
}

// sortKey makes the order of entries the order of whole keys: "a-b" comes before "a/b", though "a" does not
// come after "a-b".
func sortKey(entry fs.DirEntry) string {
	if entry.IsDir() {
		return entry.Name() + "/"
	}
	return entry.Name()
}

// entries lists what lies in root, whose own key is prefix; false when the listing is over.
func (w *walk) entries(ctx context.Context, root *os.Root, prefix string, entries []fs.DirEntry) bool {
	for _, entry := range entries {
		if ctx.Err() != nil {
			w.yield(app.Object{}, fmt.Errorf("list the folder: %w", ctx.Err()))
			return false
		}
		key, more := prefix+entry.Name(), true
		switch {
		case entry.IsDir():
			more = w.folder(ctx, root, entry.Name(), key+"/")
		case entry.Type().IsRegular():
			more = w.file(root, entry.Name(), key)
		case entry.Type()&fs.ModeSymlink != 0:
			more = w.skip(key, "it is a symbolic link")
		default:
			more = w.skip(key, "it is no regular file")
		}
		if !more {
			return false
		}
	}
	return true
}

func (w *walk) folder(ctx context.Context, root *os.Root, name, key string) bool {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return w.trouble(key, err)
	}
	defer sub.Close()
	entries, err := entriesOf(sub)
	if err != nil {
		return w.trouble(key, err)
	}
	return w.entries(ctx, sub, key, entries)
}

func (w *walk) file(root *os.Root, name, key string) bool {
	info, err := root.Lstat(name)
	if err != nil {
		return w.trouble(key, err)
	}
	if !info.Mode().IsRegular() {
		return w.skip(key, "it is no regular file")
	}
	if info.Mode().Perm()&0o444 != 0o444 { // perhaps not for us: only an attempt tells
		file, err := root.Open(name)
		if err != nil {
			return w.trouble(key, err)
		}
		file.Close()
	}
	return w.yield(objectOf(key, info, w.start), nil)
}

func (w *walk) skip(key, reason string) bool {
	return w.yield(app.Object{Key: key}, &Skipped{Key: key, Reason: reason})
}

// trouble skips what can't be read; what is gone by now is as if it had never been.
func (w *walk) trouble(key string, err error) bool {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case errors.Is(err, fs.ErrPermission):
		return w.skip(key, "it may not be read: permission denied")
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the path is in the key already
	}
	return w.skip(key, "it can't be read: "+err.Error())
}

func objectOf(key string, info fs.FileInfo, start time.Time) app.Object {
	ctime, inode := changed(info)
	mtime, last := info.ModTime().UTC(), info.ModTime()
	if ctime.After(last) {
		last = ctime
	}
	return app.Object{
		Key: key, Size: info.Size(), Modified: mtime,
		Identity: fmt.Sprintf("%d:%d:%d:%d", info.Size(), mtime.UnixNano(), ctime.UnixNano(), inode),
		Settled:  !last.After(start.Add(-settle)),
	}
}
