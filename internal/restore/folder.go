// Package restore replays a backup into a target: a folder, or a bucket.
//
// Both are a Destination (destination.go): a pure planner divides the entries into units (bucketplan.go), which one
// process or several do, many at a time (worker.go). A bucket (bucket.go) gets the large objects from the packs by way
// of the store itself (bucketlarge.go), small ones out of a few large reads (bucketput.go). A folder (foldertarget.go)
// is written through os.Root, so that no name, however hostile, reaches anything outside of it (tree.go); its
// directories get their modes and times at the end (made.go). A Folder (folder.go) is written in one go instead, while
// an image is checked. Nothing that is there is overwritten, so a restore that was interrupted is run again.
package restore

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/verify"
)

// Folder is a folder that is restored into, once.
type Folder struct {
	tree    tree
	result  Result
	fresh   bool     // it was empty
	folders []folder // that get their modes and times at the end
	kind    string   // of the source of what is restored
	last    written
	only    func(path string) bool
}

// Only restricts the restore to the entries whose path in the archive is chosen; every entry is checked all the same.
func (f *Folder) Only(chosen func(path string) bool) { f.only = chosen }

// folder is a directory that an entry describes.
type folder struct {
	entry manifest.Entry
	name  string
}

// written is the file that was written last; empty after it was taken back, and for an entry that wrote none.
type written struct {
	path  string // of the entry
	name  string // of the file
	bytes int64
}

// OpenFolder opens a folder, which it creates. One that is not empty is refused (Conflict) unless into says
// otherwise.
func OpenFolder(name string, into bool) (*Folder, error) {
	t, fresh, err := openTree(name, into)
	if err != nil {
		return nil, err
	}
	return &Folder{tree: t, fresh: fresh}, nil
}

// Close ends the restore.
func (f *Folder) Close() error { return f.tree.root.Close() }

// Restore writes every entry of an image below the folder. The image has been checked as a whole before; each
// content is checked again while it is written, and what does not match is not left behind.
func (f *Folder) Restore(ctx context.Context, image verify.Image, progress func(items, bytes int64)) (Result, error) {
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return f.result, err
	}
	f.kind = m.Header.Kind
	body.Close()
	_, err = verify.Whole(ctx, image, verify.Options{Visit: f.put, Found: f.found, Progress: progress})
	f.finishFolders()
	return f.result, err
}

// RestoreForeign writes the entries of an archive that is not lifeboat's, and was checked by whoever reads it: each
// hands them to put, one after the other.
func (f *Folder) RestoreForeign(each func(put func(e manifest.Entry, content io.Reader) error) error) (Result, error) {
	err := each(func(e manifest.Entry, content io.Reader) error {
		source := &source{r: content}
		err := f.put(e, source)
		if kind := failure.KindOf(source.err); err == nil && (kind == failure.Transient || kind == failure.Canceled) {
			return source.err
		}
		if err == nil && source.err != nil { // nobody else reports it
			f.result.problem(notWritten(e.Path, "could not be read: %v", source.err))
		}
		return err
	})
	f.finishFolders()
	return f.result, err
}

// finishFolders gives directories their times and modes, after nothing is written into them any more.
func (f *Folder) finishFolders() {
	for _, d := range slices.Backward(f.folders) {
		if err := f.tree.dress(d.entry, d.name); err != nil {
			f.result.problem(notWritten(d.entry.Path, "did not get its time and mode: %v", err))
		}
	}
}

func (f *Folder) makeFolder(e manifest.Entry, name string) error {
	info, err := f.tree.root.Lstat(name)
	switch {
	case err == nil && !info.IsDir():
		return errNoFolder
	case err == nil && !f.fresh: // somebody else's, perhaps: it stays as it is
		f.result.Existing++
		return nil
	case err != nil:
		if err := f.tree.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	f.folders = append(f.folders, folder{e, name})
	f.result.Written++
	f.result.Folders++
	return nil
}

// found takes back a file whose content turned out to be wrong. It touches nothing but what this restore wrote.
func (f *Folder) found(problem app.Finding) {
	if f.last.path != "" && f.last.path == problem.Item {
		_ = f.tree.root.Remove(f.last.name)
		f.result.Written--
		f.result.Bytes -= f.last.bytes
		f.last = written{}
	}
	f.result.problem(problem)
}

// put writes one entry. Trouble with one is a problem; a full disk ends the restore.
func (f *Folder) put(e manifest.Entry, content io.Reader) error {
	f.last = written{}
	if f.only != nil && !f.only(e.Path) {
		return nil
	}
	source := &source{r: content}
	err := f.tree.local(e.Path)
	if err == nil {
		err = f.write(e, source)
	}
	switch {
	case err == nil, source.err != nil: // what cannot be read is for the check to report
		return nil
	case failure.KindOf(err) == failure.Exhausted:
		return full(e, err)
	}
	f.result.problem(unwritten(e.Path, err))
	return nil
}

// source remembers the error of a content, to tell it from one of the folder.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (f *Folder) write(e manifest.Entry, content io.Reader) error {
	name := filepath.FromSlash(strings.TrimSuffix(original(f.kind, e.Path), "/"))
	if e.Dir() {
		return f.makeFolder(e, name)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := f.tree.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := f.tree.root.Lstat(name); err == nil {
		err := f.tree.accept(name, func(there io.Reader, _ int64) (bool, error) { return equal(there, content) })
		if err == nil {
			f.result.Existing++
		}
		return err
	}
	var n int64
	err := f.tree.write(e, name, func(out io.Writer) (err error) {
		n, err = io.Copy(out, content)
		return err
	})
	if err != nil {
		return err
	}
	f.result.Written++
	f.result.Bytes += n
	f.last = written{e.Path, name, n}
	return nil
}

// equal reports whether both have the same bytes.
func equal(a, b io.Reader) (bool, error) {
	left, right := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, left)
		m, errB := io.ReadFull(b, right)
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return true, nil // both ended: they have as many bytes
		}
	}
}
