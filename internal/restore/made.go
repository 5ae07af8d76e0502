package restore

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// madeName is the file of a folder that lists the directories that a restore has made: one a line, in the
// spelling of this system and Base64. Each process appends to it; who finishes the restore reads it, for only those directories
// get the mode and the time of the backup, and removes it.
const madeName = ".lifeboat-made"

// made is that file.
type made struct {
	root *os.Root

	mutex sync.Mutex
	file  *os.File // nil: not opened yet
}

// note adds a directory. A line is one write, so that processes don't mix them.
func (m *made) note(name string) error {
	line, err := json.Marshal([]byte(name)) // any bytes
	if err != nil {
		return err
	}
	line = append(append([]byte("\n"), line...), '\n') // a line that a full disk has cut off ends here
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.file == nil {
		if m.file, err = m.open(os.O_WRONLY | os.O_APPEND | os.O_CREATE); err != nil {
			return err
		}
	}
	_, err = m.file.Write(line)
	return err
}

// open opens the file, which nobody else may have put there as something other than a file.
func (m *made) open(flags int) (*os.File, error) {
	info, err := m.root.Lstat(madeName)
	if err == nil && !info.Mode().IsRegular() {
		return nil, failure.New(failure.Conflict, "%s in the folder is no file", madeName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m.root.OpenFile(madeName, flags, 0o600)
}

func (m *made) close() error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}

// digest stands for a name: a million of them are to fit in memory.
type digest [16]byte

func digestOf(name string) digest {
	sum := sha256.Sum256([]byte(name))
	return digest(sum[:16])
}

// read returns what was noted; nil where nothing was. A line that a crash has cut off is of a directory that was not made.
func (m *made) read() (map[digest]bool, error) {
	file, err := m.open(os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names := map[digest]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var name []byte
		if json.Unmarshal(lines.Bytes(), &name) == nil {
			names[digestOf(string(name))] = true
		}
	}
	return names, lines.Err()
}

// Finish gives the directories that the restore has made their modes and times, after nothing is written into them any
// more. Those that were there before stay as they are.
func (t *FolderTarget) Finish(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) error {
	ours, err := t.made.read()
	if err != nil || ours == nil {
		return err
	}
	folders, err := t.ourFolders(ctx, entries, ours)
	if err != nil {
		return err
	}
	for _, d := range folders {
		if err := t.tree.dress(d.entry, d.name); err != nil {
			t.problem(notWritten(d.entry.Path, "did not get its time and mode: %v", err))
		}
	}
	err = errors.Join(t.made.close(), t.tree.root.Remove(madeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ourFolders returns the entries of the directories that the restore has made, what is below another one before it.
func (t *FolderTarget) ourFolders(ctx context.Context, entries iter.Seq2[manifest.Entry, error], ours map[digest]bool) ([]folder, error) {
	var folders []folder
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if !e.Dir() {
			continue
		}
		key, err := t.key(e)
		if err != nil || key == "" { // Plan has said why
			continue
		}
		name := filepath.FromSlash(strings.TrimSuffix(key, "/"))
		if ours[digestOf(name)] {
			folders = append(folders, folder{manifest.Entry{Path: e.Path, Mode: e.Mode, Secret: e.Secret, Modified: e.Modified}, name})
		}
	}
	slices.SortFunc(folders, func(a, b folder) int { return cmp.Compare(b.name, a.name) })
	return folders, nil
}
