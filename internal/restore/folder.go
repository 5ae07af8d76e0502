// Package restore replays a backup into a target. So far a target is a folder; a folder is written through os.Root,
// so that no name, however hostile, reaches anything outside of it.
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
	"strings"

	"lifeboat/internal/app"
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
}

// Folder is a folder that is restored into.
type Folder struct {
	root   *os.Root
	result Result
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
	return &Folder{root: root}, nil
}

// Close ends the restore.
func (f *Folder) Close() error { return f.root.Close() }

// Restore writes every entry of an image below the folder. The image has been checked as a whole before; each
// content is checked again while it is written, and what does not match is not left behind.
func (f *Folder) Restore(ctx context.Context, image verify.Image, progress func(items, bytes int64)) (Result, error) {
	report, err := verify.Whole(ctx, image, verify.Options{Visit: f.put, Progress: progress})
	if err != nil {
		return f.result, err
	}
	for _, problem := range report.Problems {
		if local(problem.Item) == nil {
			_ = f.root.Remove(problem.Item)
		}
		f.result.Problems = append(f.result.Problems, problem)
	}
	return f.result, nil
}

// local says why a path of an archive cannot be a path below a folder.
func local(name string) error {
	switch {
	case !filepath.IsLocal(filepath.FromSlash(name)), name != path.Clean(name), strings.ContainsAny(name, "\x00\\"):
		return errors.New("its name leads out of the folder, or is no name for a file")
	}
	return nil
}

// put writes one entry. Trouble with one is a problem; a full disk ends the restore.
func (f *Folder) put(e manifest.Entry, content io.Reader) error {
	err := local(e.Path)
	if err == nil {
		err = f.write(e, content)
	}
	switch {
	case err == nil:
		return nil
	case failure.KindOf(err) == failure.Exhausted:
		return failure.New(failure.Exhausted, "write %s: %w", e.Path, err).
			WithHint("free some space, then run the same command with --into-existing: it goes on with what is missing")
	}
	f.result.Problems = append(f.result.Problems, app.Finding{
		Severity: app.Problem, Kind: "not written", Item: e.Path, Message: fmt.Sprintf("was not written: %v", err),
	})
	return nil
}

func (f *Folder) write(e manifest.Entry, content io.Reader) error {
	name := filepath.FromSlash(e.Path)
	if dir := filepath.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := fs.FileMode(0o644)
	if e.Secret {
		mode = 0o600
	}
	out, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return f.compare(e, name)
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(out, content)
	if err = errors.Join(err, out.Close()); err == nil {
		err = f.root.Chtimes(name, e.Modified, e.Modified)
	}
	if err != nil {
		_ = f.root.Remove(name)
		return err
	}
	f.result.Written++
	f.result.Bytes += n
	return nil
}

// compare accepts a file that is there already if it has the entry's bytes.
func (f *Folder) compare(e manifest.Entry, name string) error {
	there, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer there.Close()
	if info, err := there.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.New("something that is no file has its name already")
	}
	sum := sha256.New()
	n, err := io.Copy(sum, there)
	if err != nil {
		return err
	}
	want, _ := hex.DecodeString(e.SHA256)
	if n != e.Size || !bytes.Equal(want, sum.Sum(nil)) {
		return errors.New("a file with other bytes has its name already; it was left as it is")
	}
	f.result.Existing++
	return nil
}
