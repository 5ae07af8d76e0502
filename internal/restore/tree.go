package restore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lifeboat/internal/app/files"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// tree writes files below a folder, through os.Root. It is safe for concurrent use.
type tree struct{ root *os.Root }

// openTree opens a folder, which it creates. One that is not empty is refused (Conflict) unless into says otherwise.
func openTree(name string, into bool) (t tree, fresh bool, err error) {
	if err := os.MkdirAll(name, 0o755); err != nil {
		return t, false, fmt.Errorf("create the folder: %w", err)
	}
	fresh, err = empty(name)
	if err != nil {
		return t, false, fmt.Errorf("read the folder: %w", err)
	}
	if !fresh && !into {
		return t, false, failure.New(failure.Conflict, "the folder %s is not empty", name).
			WithHint("name an empty folder, or add --into-existing: files that are there are never overwritten")
	}
	if t.root, err = os.OpenRoot(name); err != nil {
		return t, false, fmt.Errorf("open the folder: %w", err)
	}
	return t, fresh, nil
}

func empty(name string) (bool, error) {
	folder, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer folder.Close()
	_, err = folder.Readdirnames(1)
	if err == io.EOF {
		return true, nil
	}
	return false, err
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

// proper reports whether a name stays below a folder, by the rules of this system.
func proper(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && strings.TrimSuffix(name, "/") == path.Clean(name) && !strings.Contains(name, "\x00")
}

// original returns the name that an entry had before its kind of source spelled it for an archive, where a file here
// can have it.
func original(kind, name string) string {
	rest, ok := strings.CutPrefix(name, files.Folder)
	if kind != "files" || !ok {
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

// local says why a path of an archive cannot be a path below the folder.
func (t tree) local(name string) error {
	switch {
	case len(name) > maxPath:
		return errors.New("its name is too long")
	case !proper(name), strings.Contains(name, "\\"):
		return errors.New("its name leads out of the folder, or is no name for a file")
	case len(t.root.Name())+1+len(name) > maxPath:
		return errors.New("its name is too long for this folder")
	}
	return nil
}

// outside reports whether os.Root has refused something because a symbolic link leads out of the folder. It has no error
// of its own for that, only this text.
func outside(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == "path escapes from parent" {
			return true
		}
	}
	return false
}

// What else has the name of an entry.
var (
	errTakenFile = failure.New(failure.Conflict, "a file with other bytes has its name already; it was left as it is")
	errNoFile    = failure.New(failure.Conflict, "something that is no file has its name already")
	errNoFolder  = failure.New(failure.Conflict, "something that is no folder has its name already")
	errMeanwhile = failure.New(failure.Conflict, "something got its name meanwhile; it was left as it is")
)

// errTwoAtOnce is about a unit that two processes do at the same time: one of them may have to do it again.
var errTwoAtOnce = failure.New(failure.Transient, "another process writes the same file").
	WithHint("wait until it has ended, then run the same command again: it goes on with what is missing")

// renames happen one at a time in this process: they would overwrite what got the name after a look.
var renames sync.Mutex

// write writes a file that is not there; its folder is. It gets its name when it is whole: an error of fill, which
// writes the content, leaves nothing behind. A name that is taken by then is errMeanwhile.
func (t tree) write(e manifest.Entry, name string, fill func(io.Writer) error) error {
	temp := filepath.Join(filepath.Dir(name), partName(e.Path, name))
	if err := t.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a restore that was killed
		return err
	}
	info, err := t.part(temp, e, fill)
	if err == nil {
		err = t.publish(temp, name, info)
	}
	if err != nil {
		_ = t.root.Remove(temp)
	}
	return full(e, err)
}

// partName is what a file is called until it is whole: a restore that is killed leaves it, the next one replaces it.
// Two entries of one name have two of them.
func partName(path, name string) string {
	sum := sha256.Sum256([]byte(path + "\x00" + name))
	return ".lifeboat-part-" + hex.EncodeToString(sum[:6])
}

// part writes a file that nobody else has.
func (t tree) part(temp string, e manifest.Entry, fill func(io.Writer) error) (fs.FileInfo, error) {
	out, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permissions(e, 0o644)|0o200)
	if errors.Is(err, fs.ErrExist) { // it was removed a moment ago
		err = errTwoAtOnce
	}
	if err != nil {
		return nil, err
	}
	err = fill(out)
	if err == nil && e.Mode != 0 {
		err = out.Chmod(permissions(e, 0)) // the umask of this process is not the file's
	}
	var info fs.FileInfo
	if err == nil {
		info, err = out.Stat()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil && datable(e.Modified) {
		err = stolen(t.root.Chtimes(temp, e.Modified, e.Modified))
	}
	return info, err
}

// stolen says who has removed a part that was there a moment ago: another process that writes the same unit.
func stolen(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errTwoAtOnce
	}
	return err
}

// publish gives a whole file its name, which nothing may have by then.
func (t tree) publish(temp, name string, info fs.FileInfo) error {
	err := t.root.Link(temp, name) // unlike a rename it refuses what is there
	switch {
	case err == nil:
		if linked, err := t.root.Lstat(name); err == nil && !os.SameFile(linked, info) {
			_ = t.root.Remove(name) // it is what another process has begun to write under the name of the part
			return errTwoAtOnce
		}
		return stolen(t.root.Remove(temp))
	case errors.Is(err, fs.ErrExist):
		return errMeanwhile
	case errors.Is(err, fs.ErrNotExist):
		return errTwoAtOnce
	}
	renames.Lock() // a file system without hard links
	defer renames.Unlock()
	if _, err := t.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return errMeanwhile
	}
	return stolen(t.root.Rename(temp, name))
}

// datable reports whether a file can have the time: file systems count nanoseconds from 1970 in 64 bits.
func datable(t time.Time) bool { return t.Year() > 1678 && t.Year() < 2262 }

// accept returns nil if a file is there that same, which reads it, takes for the entry's own; a Conflict otherwise.
func (t tree) accept(name string, same func(there io.Reader, size int64) (bool, error)) error {
	info, err := t.root.Lstat(name) // before it is opened: a pipe would not let us go on
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNoFile
	}
	there, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return failure.New(failure.Conflict, "a file that cannot be compared has its name already: %w", err)
	}
	defer there.Close()
	ok, err := same(there, info.Size())
	if err == nil && !ok {
		err = errTakenFile
	}
	return err
}

// dress gives a directory its mode and time, after nothing is written into it any more.
func (t tree) dress(e manifest.Entry, name string) error {
	err := t.root.Chmod(name, permissions(e, 0o755))
	if err == nil && datable(e.Modified) {
		err = t.root.Chtimes(name, e.Modified, e.Modified)
	}
	return err
}

// full gives the error of a full disk its hint.
func full(e manifest.Entry, err error) error {
	if err == nil || failure.KindOf(err) != failure.Exhausted {
		return err
	}
	return failure.New(failure.Exhausted, "write %s: %w", e.Path, err).
		WithHint("free some space, then run the same command again")
}
