// Package restore replays a backup into a target: a folder, or a bucket.
//
// A folder is written through os.Root, so that no name, however hostile, reaches anything outside of it (folder.go).
// A bucket is written by ranges (bucket.go): a pure planner divides the entries into units (bucketplan.go); the store
// copies the large objects from the packs by itself (bucketlarge.go), small ones come out of a few large reads
// (bucketput.go). Nothing that is there is overwritten, so a restore that was interrupted is run again.
package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/verify"
)

// Result is what became of a restore.
type Result struct {
	Written  int   // entries
	Bytes    int64 // of their contents
	Existing int   // entries that were there already, with the same bytes
	Problems []app.Finding
	Total    int // of all problems, of which Problems has the first verify.MaxProblems

	// Of a bucket only.
	Spliced      int // of Written: objects that the store copied by itself, so that no byte passed through here
	SplicedBytes int64
	Streams      string // why the store copied nothing, or no more; "" where it did what it could
}

// Folder is a folder that is restored into, once.
type Folder struct {
	root    *os.Root
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
	if err := os.MkdirAll(name, 0o755); err != nil {
		return nil, fmt.Errorf("create the folder: %w", err)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, fmt.Errorf("read the folder: %w", err)
	}
	if len(entries) > 0 && !into {
		return nil, failure.New(failure.Conflict, "the folder %s is not empty", name).
			WithHint("name an empty folder, or add --into-existing: files that are there are never overwritten")
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	return &Folder{root: root, fresh: len(entries) == 0}, nil
}

// Close ends the restore.
func (f *Folder) Close() error { return f.root.Close() }

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
		if err == nil && source.err != nil { // nobody else reports it
			f.problem(app.Finding{Severity: app.Problem, Kind: "not written", Item: e.Path, Message: fmt.Sprintf("could not be read: %v", source.err)})
		}
		return err
	})
	f.finishFolders()
	return f.result, err
}

// finishFolders gives directories their times and modes, after nothing is written into them any more.
func (f *Folder) finishFolders() {
	for _, d := range slices.Backward(f.folders) {
		err := f.root.Chmod(d.name, permissions(d.entry, 0o755))
		if err == nil && datable(d.entry.Modified) {
			err = f.root.Chtimes(d.name, d.entry.Modified, d.entry.Modified)
		}
		if err != nil {
			f.problem(app.Finding{Severity: app.Problem, Kind: "not written", Item: d.entry.Path, Message: fmt.Sprintf("did not get its time and mode: %v", err)})
		}
	}
}

// permissions returns the mode that an entry is restored with: its own, without set-id bits, or the default. Secrets
// are for their owner only.
func permissions(e manifest.Entry, otherwise fs.FileMode) fs.FileMode {
	mode := otherwise
	if e.Mode != 0 {
		mode = fs.FileMode(e.Mode) & fs.ModePerm
		if e.Dir() && e.Mode&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
	}
	if e.Secret {
		mode &= 0o700 // whatever it had: its folder was another one there
	}
	return mode
}

func (f *Folder) makeFolder(e manifest.Entry, name string) error {
	info, err := f.root.Lstat(name)
	switch {
	case err == nil && !info.IsDir():
		return errors.New("something that is no folder has its name already")
	case err == nil && !f.fresh: // somebody else's, perhaps: it stays as it is
		f.result.Existing++
		return nil
	case err != nil:
		if err := f.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	f.folders = append(f.folders, folder{e, name})
	f.result.Written++
	return nil
}

// found takes back a file whose content turned out to be wrong. It touches nothing but what this restore wrote.
func (f *Folder) found(problem app.Finding) {
	if f.last.path != "" && f.last.path == problem.Item {
		_ = f.root.Remove(f.last.name)
		f.result.Written--
		f.result.Bytes -= f.last.bytes
		f.last = written{}
	}
	f.problem(problem)
}

func (f *Folder) problem(p app.Finding) {
	f.result.Total++
	if len(f.result.Problems) < verify.MaxProblems {
		f.result.Problems = append(f.result.Problems, p)
	}
}

// proper reports whether a name stays below a folder, by the rules of this system.
func proper(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && strings.TrimSuffix(name, "/") == path.Clean(name) && !strings.Contains(name, "\x00")
}

// original returns the name that an entry had before its kind of source spelled it for an archive, where a file here
// can have it.
func (f *Folder) original(name string) string {
	rest, ok := strings.CutPrefix(name, files.Folder)
	if f.kind != "files" || !ok {
		return name
	}
	rest, slash := strings.CutSuffix(rest, "/")
	decoded, err := files.Decode(rest)
	if err != nil || !proper(decoded) || strings.HasSuffix(decoded, "/") {
		return name
	}
	if slash {
		decoded += "/"
	}
	return files.Folder + decoded
}

// maxPath is the longest path that is written, in bytes. os.Root could write longer ones, which no other program of
// the system could then read or remove (PATH_MAX).
const maxPath = 4095

// local says why a path of an archive cannot be a path below a folder.
func local(name string) error {
	switch {
	case len(name) > maxPath:
		return errors.New("its name is too long")
	case !proper(name), strings.Contains(name, "\\"):
		return errors.New("its name leads out of the folder, or is no name for a file")
	}
	return nil
}

// put writes one entry. Trouble with one is a problem; a full disk ends the restore.
func (f *Folder) put(e manifest.Entry, content io.Reader) error {
	f.last = written{}
	if f.only != nil && !f.only(e.Path) {
		return nil
	}
	source := &source{r: content}
	err := local(e.Path)
	if err == nil && len(f.root.Name())+1+len(e.Path) > maxPath {
		err = errors.New("its name is too long for this folder")
	}
	if err == nil {
		err = f.write(e, source)
	}
	switch {
	case err == nil, source.err != nil: // what cannot be read is for the check to report
		return nil
	case failure.KindOf(err) == failure.Exhausted:
		return failure.New(failure.Exhausted, "write %s: %w", e.Path, err).
			WithHint("free some space, then run the same command with --into-existing: it goes on with what is missing")
	}
	f.problem(app.Finding{
		Severity: app.Problem, Kind: "not written", Item: e.Path, Message: fmt.Sprintf("was not written: %v", err),
	})
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
	name := filepath.FromSlash(strings.TrimSuffix(f.original(e.Path), "/"))
	if e.Dir() {
		return f.makeFolder(e, name)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := f.root.Lstat(name); err == nil {
		return f.compare(name, content)
	}
	temp := filepath.Join(filepath.Dir(name), partName(name))
	if err := f.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a restore that was killed
		return err
	}
	n, err := f.fill(temp, e, content)
	if err == nil {
		err = f.publish(temp, name)
	}
	if err != nil {
		_ = f.root.Remove(temp)
		return err
	}
	f.result.Written++
	f.result.Bytes += n
	f.last = written{e.Path, name, n}
	return nil
}

// partName is what a file is called until it is whole: a restore that is killed leaves it, the next one replaces it.
func partName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return ".lifeboat-part-" + hex.EncodeToString(sum[:6])
}

// fill writes a file that nobody else has.
func (f *Folder) fill(temp string, e manifest.Entry, content io.Reader) (int64, error) {
	out, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permissions(e, 0o644)|0o200)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, content)
	if err == nil && e.Mode != 0 {
		err = out.Chmod(permissions(e, 0)) // the umask of this process is not the file's
	}
	if err = errors.Join(err, out.Close()); err == nil && datable(e.Modified) {
		err = f.root.Chtimes(temp, e.Modified, e.Modified)
	}
	return n, err
}

// publish gives a whole file its name, which nothing may have by then.
func (f *Folder) publish(temp, name string) error {
	err := f.root.Link(temp, name) // unlike a rename it refuses what is there
	switch {
	case err == nil:
		return f.root.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return errors.New("something got its name meanwhile; it was left as it is")
	}
	return f.root.Rename(temp, name) // a file system without hard links
}

// datable reports whether a file can have the time: file systems count nanoseconds from 1970 in 64 bits.
func datable(t time.Time) bool { return t.Year() > 1678 && t.Year() < 2262 }

// compare accepts a file that is there already if it has the content's bytes.
func (f *Folder) compare(name string, content io.Reader) error {
	info, err := f.root.Lstat(name) // before it is opened: a pipe would not let us go on
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("something that is no file has its name already")
	}
	there, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer there.Close()
	same, err := equal(there, content)
	if err != nil {
		return err
	}
	if !same {
		return errors.New("a file with other bytes has its name already; it was left as it is")
	}
	f.result.Existing++
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
