package linkding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// folder is what lies in a data folder.
type folder struct {
	sizes map[string]int64 // of the database and of the files in assets/, favicons/ and previews/, by path
	odd   []string         // the first things that are not a part of a backup, and in its way
}

// maxOdd is how many odd things are listed.
const maxOdd = 10

func (f *folder) stray(name string) {
	if len(f.odd) < maxOdd {
		f.odd = append(f.odd, name)
	}
}

// look lists what lies in the data folder; nothing where there is no folder.
func (t *Target) look(ctx context.Context) (folder, error) {
	f := folder{sizes: map[string]int64{}}
	entries, err := t.top()
	if err != nil {
		return f, err
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case kinds[name] != "" && entry.IsDir():
			err = t.lookInto(ctx, name, &f)
		case name == database && entry.Type().IsRegular():
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				f.sizes[name] = info.Size()
			}
		case !harmless(name):
			f.stray(name)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// top returns what lies directly in the data folder.
func (t *Target) top() ([]fs.DirEntry, error) {
	data := t.options.Data
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !writable(existing(data)) {
			return nil, t.unwritable(existing(data))
		}
		return nil, nil
	case err != nil:
		return nil, t.source().denied(data, err)
	case !info.IsDir():
		return nil, failure.New(failure.Usage, "%s is not a folder", data).WithHint(hintData)
	case !writable(data):
		return nil, t.unwritable(data)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return nil, t.source().denied(data, err)
	}
	return entries, nil
}

func (t *Target) unwritable(folder string) error {
	return failure.New(failure.Denied, "%s may not be written", folder).WithHint("give the user that runs lifeboat the right to write there")
}

// harmless reports whether something in a data folder is in nobody's way: linkding's secret key, what a restore leaves
// behind when it is interrupted, and what a file system has of its own.
func harmless(name string) bool {
	return name == "secretkey.txt" || name == "lost+found" || leftover(name)
}

// leftover reports whether a name is that of a file of a restore that is under way.
func leftover(name string) bool { return strings.HasPrefix(name, ".lifeboat-") }

// occupied says what the data folder holds that is not a backup's.
func (t *Target) occupied(name string) error {
	if strings.HasPrefix(name, database+"-") {
		return failure.New(failure.Conflict, "linkding runs on its data folder %s, or was not shut down: there is %q", t.options.Data, name).WithHint(hintEmpty)
	}
	return failure.New(failure.Conflict, "linkding's data folder %s is not empty: there is %q", t.options.Data, name).WithHint(hintEmpty)
}

// lookInto adds the files of one folder.
func (t *Target) lookInto(ctx context.Context, name string, f *folder) error {
	for object, err := range datasource.NewFolder(filepath.Join(t.options.Data, name), nil).List(ctx) {
		skipped, unreadable := errors.AsType[*datasource.Skipped](err)
		switch {
		case unreadable:
			f.stray(name + "/" + skipped.Key)
		case err != nil && failure.KindOf(err) == failure.NotFound:
			return nil // it has just gone
		case err != nil:
			return err
		case !leftover(object.Key[strings.LastIndexByte(object.Key, '/')+1:]):
			f.sizes[name+"/"+object.Key] = object.Size
		}
	}
	return ctx.Err()
}

// source is the data folder as one to read from.
func (t *Target) source() *Source {
	return &Source{options: Options{Data: t.options.Data, LockTimeout: t.options.LockTimeout, TempDir: t.options.TempDir, Now: time.Now}}
}

// sameDatabase reports whether the database in the folder is that of the backup, byte for byte. Conflict: somebody uses
// it.
func (t *Target) sameDatabase(ctx context.Context, i app.Item) (bool, error) {
	copying.Lock()
	defer copying.Unlock()
	path := filepath.Join(t.options.Data, database)
	file, err := os.Open(path)
	if err != nil {
		return false, t.source().denied(path, err)
	}
	defer file.Close()
	if err := lockShared(file); errors.Is(err, errLocked) {
		return false, failure.New(failure.Conflict, "another program writes to %s at this moment", path).WithHint(hintEmpty)
	}
	crc, sha := crc32.NewIEEE(), sha256.New()
	n, err := io.Copy(io.MultiWriter(crc, sha), app.Stoppable(ctx, file))
	if err != nil {
		return false, t.source().denied(path, err)
	}
	same := n == i.Size && crc.Sum32() == i.CRC32
	return same && (i.SHA256 == "" || i.SHA256 == hex.EncodeToString(sha.Sum(nil))), nil
}
