package datasource_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// list collects a listing: the objects, and the skipped as "key: reason".
func list(t *testing.T, source datasource.Datasource) (objects []app.Object, skipped []string, fatal error) {
	t.Helper()
	for object, err := range source.List(t.Context()) {
		var skip *datasource.Skipped
		switch {
		case errors.As(err, &skip):
			skipped = append(skipped, skip.Key+": "+skip.Reason)
		case err != nil:
			return objects, skipped, err
		default:
			objects = append(objects, object)
		}
	}
	return objects, skipped, nil
}

func keys(objects []app.Object) []string {
	all := []string{}
	for _, object := range objects {
		all = append(all, object.Key)
	}
	return all
}

func write(t *testing.T, folder, name, content string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func later() time.Time { return time.Now().Add(time.Hour) }

func TestFolderList(t *testing.T) {
	folder := t.TempDir()
	names := []string{"a", "a-b", "a.txt", "dir/b", "dir/sub/c", "dir-x", ".dot", "ü 🌊 a:b", "back\\slash", "bad\xff"}
	for _, name := range names {
		write(t, folder, name, name)
	}
	outside := write(t, t.TempDir(), "secret", "x")
	for name, target := range map[string]string{"link": outside, "dirlink": filepath.Dir(outside), "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, skipped, err := list(t, datasource.NewFolder(folder, later))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names) // the lexical order of whole keys
	if diff := cmp.Diff(names, keys(objects)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	want := []string{"dangling: it is a symbolic link", "dirlink: it is a symbolic link", "link: it is a symbolic link", "pipe: it is no regular file"}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	for _, object := range objects {
		if object.Size != int64(len(object.Key)) || object.Path != "" || object.Identity == "" || object.Modified.IsZero() {
			t.Errorf("%+v", object)
		}
	}
}

// TestSettled trusts an identity only when both times lie two seconds before the listing.
func TestSettled(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	path := write(t, folder, "a", "a")
	for _, test := range []struct {
		mtime   time.Time
		listing time.Time
		want    bool
	}{
		{now.Add(-time.Hour), now.Add(time.Minute), true},
		{now.Add(-time.Hour), now, false}, // the ctime is now
		{now.Add(time.Hour), now.Add(time.Minute), false},
	} {
		if err := os.Chtimes(path, test.mtime, test.mtime); err != nil {
			t.Fatal(err)
		}
		objects, _, err := list(t, datasource.NewFolder(folder, func() time.Time { return test.listing }))
		if err != nil || objects[0].Settled != test.want {
			t.Errorf("%+v: %+v, %v", test, objects, err)
		}
	}
}

func TestFolderListStops(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "a", "")
	write(t, folder, "d/b", "")
	seen := 0
	for range datasource.NewFolder(folder, nil).List(t.Context()) {
		seen++
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range datasource.NewFolder(folder, nil).List(ctx) {
		cancel()
		last = err
	}
	if seen != 1 || failure.KindOf(last) != failure.Canceled {
		t.Errorf("%d, %v", seen, last)
	}
}

func TestFolderFails(t *testing.T) {
	folder := t.TempDir()
	file := write(t, folder, "a", "")
	for path, want := range map[string]failure.Kind{
		filepath.Join(folder, "none"): failure.NotFound, file: failure.Usage, filepath.Join(file, "b"): failure.NotFound,
	} {
		source := datasource.NewFolder(path, nil)
		_, _, err := list(t, source)
		if failure.KindOf(err) != want || failure.HintOf(err) == "" {
			t.Errorf("list %s: %v", path, err)
		}
		if _, err := source.Open(t.Context(), app.Object{Key: "x"}); failure.KindOf(err) != want {
			t.Errorf("open in %s: %v", path, err)
		}
	}
}

func TestFolderOpen(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "d/a", "hello")
	source := datasource.NewFolder(folder, later)
	objects, _, err := list(t, source)
	if err != nil {
		t.Fatal(err)
	}
	content, err := source.Open(t.Context(), objects[0])
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	if err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	if now, err := content.Now(); err != nil || !cmp.Equal(now, objects[0]) {
		t.Errorf("%+v, %v", now, err)
	}
}

func TestFolderOpenFails(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "d/a", "")
	if err := os.Symlink("d/a", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]failure.Kind{
		"none": failure.NotFound, "d/a/b": failure.NotFound, "d": failure.NotFound, "link": failure.NotFound,
		"pipe": failure.NotFound, "../x": failure.Invalid, "a\x00\x1b": failure.Invalid,
	} {
		_, err := datasource.NewFolder(folder, nil).Open(t.Context(), app.Object{Key: key})
		if failure.KindOf(err) != want || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("open %q: kind %s, %v", key, failure.KindOf(err), err)
		}
	}
}

// TestNow changes a file while it is open.
func TestNow(t *testing.T) {
	for name, test := range map[string]struct {
		change func(path string) error
		same   bool
	}{
		"nothing":  {func(string) error { return nil }, true},
		"deleted":  {os.Remove, true},
		"replaced": {func(path string) error { return os.Rename(path+".new", path) }, true},
		"grown": {func(path string) error {
			file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.WriteString("more")
			return err
		}, false},
		"touched": {func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := write(t, folder, "a", "old")
			write(t, folder, "a.new", "new")
			content, err := datasource.NewFolder(folder, later).Open(t.Context(), app.Object{Key: "a"})
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			before, err := content.Now()
			if err != nil {
				t.Fatal(err)
			}
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			after, err := content.Now()
			if err != nil || (before.Identity == after.Identity) != test.same {
				t.Errorf("before %s, after %s, %v", before.Identity, after.Identity, err)
			}
		})
	}
}
