// Package stranger lets a test meet files that may not be read, even when root runs it. It is for tests, on Linux.
package stranger

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Become runs the rest of the test with the rights of a user who owns nothing, where root runs it; for anybody else the
// modes of the files do it.
func Become(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Skipf("can't become another user: %v", err)
	}
	t.Cleanup(func() {
		_, _ = unix.SetfsuidRetUid(0)
		runtime.UnlockOSThread()
	})
}
