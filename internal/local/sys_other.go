//go:build !unix

package local

import (
	"errors"
	"os"
	"syscall"
)

// tryLock refuses: without this kind of lock two servers could write to one folder.
func tryLock(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func ownGroup() *syscall.SysProcAttr { return nil }

func restrictNewFiles() {}

func syncFileSystem(string) error { return errors.ErrUnsupported }

func freeSpace(string) (int64, bool) { return 0, false }
