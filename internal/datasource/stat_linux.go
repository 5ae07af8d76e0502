package datasource

import (
	"io/fs"
	"syscall"
	"time"
)

// changed returns a file's ctime and inode: what a tool that sets the mtime back cannot hide.
func changed(info fs.FileInfo) (ctime time.Time, inode uint64) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime(), 0
	}
	return time.Unix(stat.Ctim.Unix()), stat.Ino
}
