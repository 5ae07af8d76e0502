package files_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/files"
	"lifeboat/internal/datasource"
)

// TestFolderConforms holds a folder with everything that a file system may hold against the suite.
func TestFolderConforms(t *testing.T) {
	t.Parallel()
	apptest.Run(t, func(t *testing.T) apptest.Subject {
		folder := t.TempDir()
		contents := map[string]string{}
		for name, path := range map[string]string{
			"a.txt": "a.txt", "d/b": "d/b", "d/sub/c": "d/sub/c", "100%": "100%25", `back\slash`: "back%5Cslash", "new\nline": "new%0Aline",
			"bad\xff": "bad%FF", "\u00fc": "\u00fc", "u\u0308": "u\u0308", "A.TXT": "A.TXT", "..x": "..x", ".hidden/y": ".hidden/y",
		} {
			contents["files/"+path] = strings.Repeat(name, 500)
			write(t, folder, name, contents["files/"+path])
		}
		contents["files/empty"] = ""
		write(t, folder, "empty", "")
		write(t, folder, "cache/left out", "x")
		modes := map[string]os.FileMode{"a.txt": 0o600, "d/b": 0o755, "empty": 0o444}
		for name, mode := range modes {
			must(t, os.Chmod(filepath.Join(folder, name), mode))
		}
		for name, mode := range map[string]os.FileMode{"hollow": 0o700, "nested/deep\n": 0o755} {
			must(t, os.MkdirAll(filepath.Join(folder, name), 0o755))
			must(t, os.Chmod(filepath.Join(folder, name), mode))
		}
		must(t, os.Symlink("nowhere", filepath.Join(folder, "link")))
		must(t, syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600))
		version := 0
		return apptest.Subject{
			Source:    newSource(t, files.Options{Path: folder, Exclude: []string{"cache/"}}),
			Objects:   func() map[string]string { return maps.Clone(contents) },
			Documents: []string{"files.json", "symlinks.jsonl"},
			Change: func(t *testing.T) int {
				version++
				for _, name := range []string{"d/b", fmt.Sprint("new ", version)} {
					contents["files/"+name] = fmt.Sprint("version ", version)
					write(t, folder, name, contents["files/"+name])
				}
				return 2
			},
			Remove: func(t *testing.T) string {
				must(t, os.Remove(filepath.Join(folder, "A.TXT")))
				delete(contents, "files/A.TXT")
				return "files/A.TXT"
			},
			Folders: map[string]uint32{"files/hollow/": 0o700, "files/nested/deep%0A/": 0o755},
			Modes:   map[string]uint32{"files/a.txt": 0o600, "files/d/b": 0o755, "files/empty": 0o444, "files/100%25": 0o644},
		}
	})
}

// TestBucketConforms holds a bucket with odd keys against the suite.
func TestBucketConforms(t *testing.T) {
	t.Parallel()
	apptest.Run(t, func(t *testing.T) apptest.Subject {
		var requests, failAt atomic.Int64
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
			n := requests.Add(1)
			return n == failAt.Load() && refuse(w, n)
		})
		contents, folders := map[string]string{}, map[string]uint32{}
		for key, path := range odd {
			put(t, c, "in/"+strings.TrimPrefix(key, longest[:10]), text(key))
			if path = strings.Replace(path, longest[:10], "", 1); strings.HasSuffix(path, "/") {
				folders[path] = 0
			} else {
				contents[path] = text(key)
			}
		}
		version := 0
		return apptest.Subject{
			Source:    newSource(t, files.Options{Bucket: datasource.NewBucket(c, "data", "in")}),
			Pauses:    true,
			Objects:   func() map[string]string { return maps.Clone(contents) },
			Documents: []string{"files.json"},
			Change: func(t *testing.T) int {
				version++
				contents["files/a/%2Fb"] = fmt.Sprint("version ", version)
				put(t, c, "in/a//b", contents["files/a/%2Fb"])
				return 1
			},
			Remove: func(t *testing.T) string {
				remove(t, c, "in/Case")
				delete(contents, "files/Case")
				return "files/Case"
			},
			Fail: func(_ *testing.T, n int) func() bool {
				requests.Store(0)
				failAt.Store(int64(n))
				return func() bool {
					failAt.Store(0)
					return requests.Load() >= int64(n)
				}
			},
			Folders:    folders,
			Unwritable: unwritable(slices.Concat(slices.Collect(maps.Keys(contents)), slices.Collect(maps.Keys(folders)))),
		}
	})
}

// unwritable returns the paths that a folder may refuse: with segments that no file system here takes, or with a name
// that another path has as a folder.
func unwritable(paths []string) []string {
	var refused []string
	for _, a := range paths {
		long := slices.ContainsFunc(strings.Split(a, "/"), func(s string) bool { return len(s) > 255 })
		clash := slices.ContainsFunc(paths, func(b string) bool {
			file, folder := strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")
			return !strings.HasSuffix(a, "/") && strings.HasPrefix(b, file+"/") || !strings.HasSuffix(b, "/") && strings.HasPrefix(a, folder+"/")
		})
		if long || clash {
			refused = append(refused, a)
		}
	}
	return refused
}

// refuse answers a request in one of the ways in which stores fail.
func refuse(w http.ResponseWriter, n int64) bool {
	switch n % 5 {
	case 0:
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // in the middle of an answer
	case 1:
		w.WriteHeader(http.StatusForbidden)
	case 2:
		w.WriteHeader(http.StatusServiceUnavailable)
	case 3:
		w.WriteHeader(http.StatusNotFound)
	case 4:
		_, _ = w.Write([]byte("<html>this is no store</html>"))
	}
	return true
}
