package apptest

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// roundTrip backs the application up, opens the archive with another program's reader, and restores it into a folder,
// twice.
func roundTrip(t *testing.T, v *vault.Vault, s Subject) {
	w := newWorld(t, v, s.Source)
	record := w.completed()
	if record.Objects != len(w.source.objects) || record.Documents != len(s.Documents) || record.Proof == "" {
		t.Errorf("the record counts %d objects and %d documents, proof %q", record.Objects, record.Documents, record.Proof)
	}
	contents := w.verified(record)
	holds(t, "the backup", contents, s)
	archive := w.download(record)[0]
	holds(t, "the archive", unzip(t, archive), s)
	folder := t.TempDir()
	first := restoreTo(t, archive, folder)
	restored(t, s, contents, folder, first)
	dated(t, w, folder)
	before := tree(t, folder)
	again := restoreTo(t, archive, folder)
	if again.Written != 0 || again.Existing != first.Written {
		t.Errorf("restored again: %d written, %d there already; the first time %d were written", again.Written, again.Existing, first.Written)
	}
	if diff := gocmp.Diff(before, tree(t, folder)); diff != "" {
		t.Errorf("restored again, the folder differs:\n%s", diff)
	}
}

// holds reports what differs from the application: its objects, and its documents as far as one can know.
func holds(t *testing.T, what string, contents map[string]string, s Subject) {
	t.Helper()
	got := files(contents)
	for _, path := range s.Documents {
		if _, ok := got[path]; !ok {
			t.Errorf("%s lacks the document %s", what, path)
		}
		delete(got, path)
	}
	if diff := gocmp.Diff(s.Objects(), got); diff != "" {
		t.Errorf("%s and the application differ (-application +backup):\n%s", what, diff)
	}
}

// files leaves out folders.
func files(contents map[string]string) map[string]string {
	got := maps.Clone(contents)
	maps.DeleteFunc(got, func(path, _ string) bool { return strings.HasSuffix(path, "/") })
	return got
}

// unzip reads an archive with archive/zip; lifeboat's own folder is left out.
func unzip(t *testing.T, path string) map[string]string {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	contents := map[string]string{}
	for _, f := range archive.File {
		if _, twice := contents[f.Name]; twice {
			t.Errorf("the archive has %q twice", f.Name)
		}
		if !strings.HasPrefix(f.Name, "lifeboat/") {
			contents[f.Name] = read(t, f)
			if reason := unfit(f.Name); reason != "" {
				t.Errorf("the name %q %s", f.Name, reason)
			}
		}
	}
	return contents
}

func read(t *testing.T, f *zip.File) string {
	t.Helper()
	body, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("read %q of the archive: %v", f.Name, err)
	}
	return string(data)
}

func restoreTo(t *testing.T, archive, folder string) restore.Result {
	t.Helper()
	image, file, err := verify.OpenVolumes(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	target, err := restore.OpenFolder(folder, true)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	result, err := target.Restore(t.Context(), image, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// restored compares a folder with the backup. What is not there is a problem that names it, and one that is expected.
func restored(t *testing.T, s Subject, contents map[string]string, folder string, result restore.Result) {
	t.Helper()
	want := files(contents)
	for _, p := range result.Problems {
		if !slices.Contains(s.Unwritable, p.Item) {
			t.Errorf("restore: %+v", p)
		}
		delete(want, p.Item)
	}
	if diff := gocmp.Diff(want, tree(t, folder)); diff != "" {
		t.Errorf("the backup and the restored folder differ (-backup +folder):\n%s", diff)
	}
}

// tree returns the contents of all files below a folder.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(folder, path))
		contents[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// dated wants the objects' own times on the restored files.
func dated(t *testing.T, w *world, folder string) {
	t.Helper()
	for _, o := range w.source.objects {
		info, err := os.Lstat(filepath.Join(folder, o.Path))
		if err == nil && !o.Dir && info.ModTime().Sub(o.Modified).Abs() > 2*time.Second {
			t.Errorf("%q has the time %v, the application says %v", o.Path, info.ModTime(), o.Modified)
		}
	}
}

// directories wants empty folders, and the permission bits of both kinds, in archive, manifest and restored folder.
func directories(t *testing.T, v *vault.Vault, s Subject) {
	if len(s.Folders)+len(s.Modes) == 0 {
		t.Skip("the application has neither")
	}
	w := newWorld(t, v, s.Source)
	record := w.completed()
	w.verified(record)
	archive := w.download(record)[0]
	contents := unzip(t, archive)
	want := atLeast(maps.Clone(s.Folders))
	maps.Copy(want, s.Modes)
	modes := manifestModes(t, archive)
	folder := t.TempDir()
	result := restoreTo(t, archive, folder)
	restored(t, s, contents, folder, result)
	for path, mode := range want {
		if content, ok := contents[path]; !ok || strings.HasSuffix(path, "/") && content != "" {
			t.Errorf("the archive lacks %q, or it has bytes", path)
		}
		if modes[path] != mode {
			t.Errorf("the manifest has the mode %o for %q, want %o", modes[path], path, mode)
		}
		info, err := os.Lstat(filepath.Join(folder, path))
		if slices.Contains(s.Unwritable, path) {
			continue
		}
		if err != nil {
			t.Errorf("restored: %v", err)
		} else if mode != 0 && uint32(info.Mode().Perm()) != mode || info.IsDir() != strings.HasSuffix(path, "/") {
			t.Errorf("%q was restored as %v, want %o", path, info.Mode(), mode)
		}
	}
	if again := restoreTo(t, archive, folder); again.Written != 0 {
		t.Errorf("restored again: %+v", again)
	}
	if record := w.completed(); record.PackedObjects != 0 {
		t.Errorf("nothing has changed, %d objects were packed", record.PackedObjects)
	}
}

// manifestModes reads the modes from the list of entries in the archive.
func manifestModes(t *testing.T, archive string) map[string]uint32 {
	t.Helper()
	reader, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	list, err := reader.Open(manifest.PathInArchive)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	modes := map[string]uint32{}
	lines := bufio.NewScanner(list)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Path string `json:"path"`
			Mode uint32 `json:"mode"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		modes[line.Path] = line.Mode
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return modes
}

// laterBackups wants a second backup to read nothing anew, and one after a change what has changed.
func laterBackups(t *testing.T, v *vault.Vault, s Subject) {
	w := newWorld(t, v, s.Source)
	w.completed()
	second := w.completed()
	if second.PackedObjects != 0 {
		t.Errorf("nothing has changed, %d objects were packed", second.PackedObjects)
	}
	holds(t, "the second backup", w.verified(second), s)
	changed := s.Change(t)
	third := w.completed()
	if third.PackedObjects != changed {
		t.Errorf("%d objects have changed, %d were packed", changed, third.PackedObjects)
	}
	holds(t, "the third backup", w.verified(third), s)
	gone := s.Remove(t)
	fourth := w.completed()
	contents := w.verified(fourth)
	if _, there := contents[gone]; there || fourth.PackedObjects != 0 {
		t.Errorf("%q was removed: it is in the backup: %v, %d objects were packed", gone, there, fourth.PackedObjects)
	}
	holds(t, "the fourth backup", contents, s)
	w.verified(third) // no later backup took anything from it
}
