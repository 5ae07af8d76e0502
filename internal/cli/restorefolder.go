package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
)

// folderDestination is a folder.
type folderDestination struct {
	name string
	into bool
	only func(path string) bool
	free func()
}

func (d *folderDestination) release() { d.free() }

func (d *folderDestination) String() string { return d.name }

func (d *folderDestination) wants(e manifest.Entry) bool { return d.only == nil || d.only(e.Path) }

func (d *folderDestination) write(ctx context.Context, b *opened, progress func(items, bytes int64)) (restore.Result, error) {
	folder, err := restore.OpenFolder(d.name, d.into)
	if err != nil {
		return restore.Result{}, inaccessible(d.name, err)
	}
	defer folder.Close()
	folder.Only(d.only)
	return folder.Restore(ctx, b.image, progress)
}

// reserve says early what would be said late: that a folder is not empty, or may not be written. It makes the folder
// where there is none; release takes what it made back, unless something lies in it by then.
func reserve(name string, into bool) (release func(), err error) {
	var made []string
	for dir := filepath.Clean(name); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		made = append(made, dir)
	}
	release = func() {
		for _, dir := range made {
			if os.Remove(dir) != nil {
				return
			}
		}
	}
	folder, err := restore.OpenFolder(name, into)
	if err == nil {
		err = folder.Close()
	}
	if err == nil {
		err = writable(name)
	}
	if err != nil {
		release()
		return nil, inaccessible(name, err)
	}
	return release, nil
}

// writable writes a file into a folder and removes it.
func writable(folder string) error {
	probe, err := os.CreateTemp(folder, ".lifeboat-*")
	if err != nil {
		return err
	}
	_, err = probe.WriteString("lifeboat restore\n")
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}

// inaccessible gives the error of a folder that is to be written its kind.
func inaccessible(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.New(failure.Denied, "the folder %s may not be written", name).WithHint("name a folder that you may write to")
	case errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.Conflict, "%s is not a folder", name).WithHint("name a folder that is empty or does not exist yet")
	case errors.Is(err, fs.ErrNotExist):
		return failure.New(failure.NotFound, "the folder %s cannot be created", name).WithHint("check the path")
	}
	return err
}
