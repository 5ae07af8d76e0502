//go:build darwin || freebsd || linux || netbsd || openbsd

package linkding

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// The bytes of a database file that SQLite locks (https://www.sqlite.org/src/file/src/os.h: PENDING_BYTE and on).
const (
	pendingByte = 0x40000000
	sharedFirst = pendingByte + 2
	sharedSize  = 510
)

// errLocked says that another program holds the lock that we want.
var errLocked = errors.New("another program locks the database")

// lockShared takes SQLite's SHARED lock on an open database, as a reader does: errLocked while another program
// writes to the file itself. POSIX locks belong to the process: closing any descriptor of the file drops them.
func lockShared(file *os.File) error {
	if err := setLock(file, syscall.F_RDLCK, pendingByte, 1); err != nil {
		return err
	}
	err := setLock(file, syscall.F_RDLCK, sharedFirst, sharedSize)
	return errors.Join(err, setLock(file, syscall.F_UNLCK, pendingByte, 1))
}

func setLock(file *os.File, kind int16, start, length int64) error {
	lock := syscall.Flock_t{Type: kind, Whence: io.SeekStart, Start: start, Len: length}
	for {
		err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
			return errLocked
		}
		return os.NewSyscallError("fcntl", err)
	}
}
