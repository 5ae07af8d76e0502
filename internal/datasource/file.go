package datasource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Open implements Datasource. What is not a regular file any more, such as a symbolic link, is NotFound too.
func (f *Folder) Open(ctx context.Context, object app.Object) (app.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %q: %w", object.Key, err)
	}
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	before, err := root.Lstat(object.Key)
	if err != nil {
		return nil, f.faultOf(object.Key, err)
	}
	if !before.Mode().IsRegular() {
		return nil, failure.New(failure.NotFound, "%q in %s is no regular file", object.Key, f.Describe())
	}
	file, err := root.OpenFile(object.Key, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not stop us
	if err != nil {
		return nil, f.faultOf(object.Key, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, f.faultOf(object.Key, err)
	}
	if !os.SameFile(before, info) {
		file.Close()
		return nil, failure.New(failure.Conflict, "%q in %s was replaced just now", object.Key, f.Describe())
	}
	return &content{file: file, folder: f, key: object.Key, opened: info}, nil
}

func (f *Folder) lstat(key string) (fs.FileInfo, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Lstat(key)
}

// faultOf gives an error about one file its kind.
func (f *Folder) faultOf(key string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.NotFound, "%q is gone from %s", key, f.Describe())
	case errors.Is(err, fs.ErrPermission):
		return failure.New(failure.Denied, "%q in %s may not be read", key, f.Describe()).
			WithHint("give the user that runs lifeboat the right to read the file")
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // it holds the stranger's name, unescaped
	}
	if kind := kindOf(err); kind != failure.Internal {
		return failure.New(kind, "read %q in %s: %w", key, f.Describe(), err)
	}
	return failure.New(failure.Invalid, "read %q in %s: %w", key, f.Describe(), err)
}

// content is an open file.
type content struct {
	file   *os.File
	folder *Folder
	key    string
	opened fs.FileInfo
}

// Read implements io.Reader; errors keep the stranger's name escaped.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		err = c.folder.faultOf(c.key, err)
	}
	return n, err
}

// Close implements io.Closer.
func (c *content) Close() error { return c.file.Close() }

// Now implements app.Content. Removing or replacing a file changes the ctime of the version that is open here,
// but not its bytes: its identity is still the one it was opened with.
func (c *content) Now() (app.Object, error) {
	info, err := c.file.Stat()
	if err != nil {
		return app.Object{}, c.folder.faultOf(c.key, err)
	}
	object := objectOf(c.key, info, c.folder.now())
	sameBytes := info.Size() == c.opened.Size() && info.ModTime().Equal(c.opened.ModTime())
	if sameBytes && c.unlinked(info) {
		object.Identity = objectOf(c.key, c.opened, c.folder.now()).Identity
	}
	return object, nil
}

// unlinked reports whether the path names another file than the open one, or none.
func (c *content) unlinked(open fs.FileInfo) bool {
	named, err := c.folder.lstat(c.key)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return !os.SameFile(named, open)
}
