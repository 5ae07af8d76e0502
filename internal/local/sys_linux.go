package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem flushes the file system that holds the folder, and reports what could not be written back.
func syncFileSystem(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// freeSpace returns the bytes that this user can still write; 0 when no file can be made any more.
func freeSpace(folder string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false
	}
	if s.Files > 0 && s.Ffree == 0 {
		return 0, true
	}
	return int64(s.Bavail) * s.Bsize, true
}
