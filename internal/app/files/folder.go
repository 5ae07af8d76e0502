package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// folder lists a folder of this machine.
func (l *listing) folder(ctx context.Context, path string, began time.Time) error {
	root, entries, err := openRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &walk{listing: l, ctx: ctx, began: began}
	_, err = w.entries(place{root: root, covered: len(l.filter.include) == 0}, entries)
	return err
}

// openRoot opens the folder and reads its entries; an error has its kind.
func openRoot(path string) (*os.Root, []fs.DirEntry, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, rootFault(path, err)
	}
	if !info.IsDir() {
		return nil, nil, failure.New(failure.Usage, "%s is not a folder", path).
			WithHint("name the folder whose files are to be backed up in the source's settings")
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, rootFault(path, err)
	}
	entries, err := entriesOf(root)
	if err != nil {
		root.Close()
		return nil, nil, rootFault(path, err)
	}
	return root, entries, nil
}

func rootFault(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.NotFound, "the folder %s does not exist", path).
			WithHint("check the path in the source's settings, and whether the volume is mounted on this machine")
	case errors.Is(err, fs.ErrPermission):
		return failure.New(failure.Denied, "the folder %s may not be read", path).
			WithHint("give the user that runs lifeboat the right to read and enter the folder")
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ETIMEDOUT):
		return failure.New(failure.Transient, "read the folder %s: %w", path, err)
	}
	return fmt.Errorf("read the folder %s: %w", path, err)
}

// entriesOf returns what lies in a folder, in the order of the names' bytes.
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
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// walk goes through a folder. It holds one open file per level.
type walk struct {
	*listing
	ctx   context.Context
	began time.Time
}

// place is a folder on the way.
type place struct {
	root    *os.Root
	name    []string
	covered bool // an include pattern covers it, or there are none
}

func (p place) child(entry string) []string { return append(p.name[:len(p.name):len(p.name)], entry) }

// entries lists what lies in a folder and reports whether anything of it is in the snapshot as an object.
func (w *walk) entries(p place, entries []fs.DirEntry) (kept bool, err error) {
	for _, entry := range entries {
		if err := w.ctx.Err(); err != nil {
			return kept, fmt.Errorf("list the files: %w", err)
		}
		added, err := w.entry(p, entry)
		if err != nil {
			return kept, err
		}
		kept = kept || added
	}
	return kept, nil
}

func (w *walk) entry(p place, entry fs.DirEntry) (kept bool, err error) {
	name := p.child(entry.Name())
	if w.filter.excluded(name, entry.IsDir()) {
		return false, nil
	}
	covered := w.filter.included(name, entry.IsDir(), w.used) || p.covered
	switch {
	case entry.IsDir() && (covered || w.filter.below(name)):
		return w.enter(p.root, place{name: name, covered: covered})
	case entry.IsDir(), !covered:
		return false, nil
	case entry.Type().IsRegular():
		return w.regular(p.root, name)
	case entry.Type()&fs.ModeSymlink != 0:
		w.link(p.root, name)
	default:
		w.irregular(strings.Join(name, "/"))
	}
	return false, nil
}

// usualMode is the mode of folders that a restore makes by itself.
const usualMode = 0o755

// enter lists a folder. One in which nothing is kept, or whose mode is unusual, becomes an object itself.
func (w *walk) enter(parent *os.Root, p place) (kept bool, err error) {
	info, err := parent.Lstat(last(p.name))
	if err != nil {
		w.trouble(p.name, err)
		return false, nil
	}
	kept, gone, err := w.inside(parent, p)
	if err != nil || gone || !kept && !p.covered {
		return false, err
	}
	w.counts.Directories++
	w.setID(strings.Join(p.name, "/"), info.Mode())
	mode, modified := unixMode(info.Mode()), info.ModTime().UTC()
	if kept && mode == usualMode {
		return true, nil
	}
	return true, w.directory(strings.Join(p.name, "/"), app.Object{
		Mode: mode, Modified: modified, Settled: true, Identity: fmt.Sprintf("%o:%d", mode, modified.UnixNano()),
	})
}

// inside lists what lies in a folder; gone says that it vanished. Of one that can't be read nothing is kept.
func (w *walk) inside(parent *os.Root, p place) (kept, gone bool, err error) {
	if p.root, err = parent.OpenRoot(last(p.name)); err != nil {
		return false, w.trouble(p.name, err), nil
	}
	defer p.root.Close()
	entries, err := entriesOf(p.root)
	if err != nil {
		return false, w.trouble(p.name, err), nil
	}
	kept, err = w.entries(p, entries)
	return kept, false, err
}

func (w *walk) regular(root *os.Root, name []string) (kept bool, err error) {
	info, err := root.Lstat(last(name))
	if err != nil {
		w.trouble(name, err)
		return false, nil
	}
	if !info.Mode().IsRegular() {
		w.skip(strings.Join(name, "/"), "it was replaced while the folder was listed; back up again")
		return false, nil
	}
	if info.Mode().Perm()&0o444 != 0o444 { // perhaps not for us: only an attempt tells
		file, err := root.OpenFile(last(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			w.trouble(name, err)
			return false, nil
		}
		file.Close()
	}
	w.setID(strings.Join(name, "/"), info.Mode())
	o := datasource.StateOf("", info, w.began)
	o.Mode = uint32(info.Mode().Perm())
	return true, w.file(strings.Join(name, "/"), o)
}

func (w *walk) link(root *os.Root, name []string) {
	target, err := root.Readlink(last(name))
	if err != nil {
		w.trouble(name, err)
		return
	}
	w.symlink(strings.Join(name, "/"), target)
}

// trouble reports what can't be read. What is gone by now is as if it had never been.
func (w *walk) trouble(name []string, err error) (gone bool) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case errors.Is(err, fs.ErrPermission):
		w.skip(strings.Join(name, "/"), "it may not be read; give the user that runs lifeboat the right to, or exclude it")
		return false
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err // the rest is a stranger's name, unescaped
	}
	w.skip(strings.Join(name, "/"), "it can't be read: %v", err)
	return false
}

func last(name []string) string { return name[len(name)-1] }

// unixMode returns the permission bits, and the sticky bit, without which a folder for all would be one where
// everybody may delete everything.
func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
