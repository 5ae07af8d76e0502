//go:build !linux

package linkding

func freeSpace(string) (int64, bool) { return 0, false }

func writable(string) bool { return true }
