package datasource

import (
	"io/fs"
	"time"

	"lifeboat/internal/app"
)

// StateOf returns the state of a regular file as a listing of its Folder has it that began at start. It is for who
// walks a folder himself; info is that of Lstat, and Open and Now of the Folder give equal identities.
func StateOf(key string, info fs.FileInfo, start time.Time) app.Object {
	return objectOf(key, info, start)
}
