package linkding

import "golang.org/x/sys/unix"

// freeSpace returns the bytes that this user can still write where a folder lies; false where nobody says.
func freeSpace(folder string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

// writable reports whether this user may make files in a folder, as far as its mode says.
func writable(folder string) bool { return unix.Access(folder, unix.W_OK|unix.X_OK) == nil }
