//go:build !linux && !darwin

package datasource

import (
	"io/fs"
	"time"
)

// changed has neither ctime nor inode here: identities rest on size and mtime alone.
func changed(info fs.FileInfo) (ctime time.Time, inode uint64) { return info.ModTime(), 0 }
