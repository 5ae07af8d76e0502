//go:build !(darwin || freebsd || linux || netbsd || openbsd)

package linkding

import (
	"errors"
	"os"
)

// errLocked says that another program holds the lock that we want.
var errLocked = errors.New("another program locks the database")

// lockShared is not written for this system: without the lock, a copy could be torn.
func lockShared(*os.File) error { return errors.ErrUnsupported }
