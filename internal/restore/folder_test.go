package restore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// restored is what a restore did.
type restored struct {
	restore.Result
	err   error
	files map[string]string // below the folder; links and other things by their kind
}

func image(t *testing.T, data []byte) verify.Image {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	i, file, err := verify.OpenFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return i
}

func into(t *testing.T, folder string, data []byte) restored {
	t.Helper()
	f, err := restore.OpenFolder(folder, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r restored
	r.Result, r.err = f.Restore(t.Context(), image(t, data), nil)
	r.files = tree(t, folder)
	return r
}

func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			files[name] = string(data)
			return err
		case !d.IsDir():
			files[name] = d.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func problems(r restored) []string {
	var list []string
	for _, p := range r.Problems {
		list = append(list, p.Kind+" "+p.Item)
	}
	slices.Sort(list)
	return list
}

func file(path, data string) archivetest.File {
	return archivetest.File{Path: path, Data: []byte(data)}
}

func TestRestore(t *testing.T) {
	old := time.Date(1999, 5, 4, 3, 2, 1, 0, time.UTC)
	b := archivetest.New(t, []archivetest.File{
		file("uploads/deep/er/ü:#&.txt", "alpha"), file("empty", ""),
		{Path: "old", Data: []byte("o"), Modified: old},
		{Path: "export.json", Data: []byte(`{"secret":1}`), Document: true, Secret: true},
		{Path: "nothing/in here/"},
	})
	b.Entries[1].Mode = 0o6755
	b.Entries[3].Mode = 0o644
	folder := filepath.Join(t.TempDir(), "new", "folder")
	r := into(t, folder, b.Zip(t))
	if r.err != nil || r.Written != 5 || r.Bytes != 18 || r.Existing != 0 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	want := map[string]string{"uploads/deep/er/ü:#&.txt": "alpha", "empty": "", "old": "o", "export.json": `{"secret":1}`}
	if diff := cmp.Diff(want, r.files); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]struct {
		mode fs.FileMode
		time time.Time
	}{
		"export.json": {0o600, archivetest.Noon}, "old": {0o644, old}, "empty": {0o755, archivetest.Noon}, "nothing/in here": {fs.ModeDir | 0o755, archivetest.Noon},
	} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want.mode || !info.ModTime().Equal(want.time) {
			t.Errorf("%s: %v, %v", name, info.Mode(), info.ModTime())
		}
	}
	again := into(t, folder, b.Zip(t))
	if again.err != nil || again.Written != 0 || again.Existing != 5 || len(again.Problems) > 0 {
		t.Errorf("again: %+v", again)
	}
}

func TestOpenFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.OpenFolder(folder, false); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := restore.OpenFolder(filepath.Join(folder, "mine"), true); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// TestHostileNames: whatever a name is, nothing appears outside of the folder, and the rest is restored.
func TestHostileNames(t *testing.T) {
	hostile := []string{
		"../evil", "../../evil", "a/../../evil", "/evil", "/", "//evil", "./evil", "a/./b", "a//b", "..", ".", "a/..", `..\evil`, `C:\evil`, "a\x00b",
		strings.Repeat("x", 300), strings.Repeat("d/", 3000) + "deep", "good/", "good/below",
	}
	files := []archivetest.File{file("good", "good")}
	for _, name := range hostile {
		files = append(files, file(name, "evil"))
	}
	files = append(files, file("last", "last"))
	outer := t.TempDir()
	folder := filepath.Join(outer, "a", "b", "target")
	r := into(t, folder, archivetest.New(t, files).Zip(t))
	if r.err != nil || r.Written != 2 {
		t.Errorf("%d written, %v: %v", r.Written, r.err, tree(t, outer))
	}
	if diff := cmp.Diff(map[string]string{"a/b/target/good": "good", "a/b/target/last": "last"}, tree(t, outer)); diff != "" {
		t.Error(diff)
	}
	if len(r.Problems) != len(hostile) {
		t.Errorf("%d problems for %d names: %v", len(r.Problems), len(hostile), problems(r))
	}
}

// TestPlanted: what lies in the folder already stays as it is, and leads nowhere.
func TestPlanted(t *testing.T) {
	outer := t.TempDir()
	folder := filepath.Join(outer, "target")
	write := func(name, data string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(outer, name)), 0o700), os.WriteFile(filepath.Join(outer, name), []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("outside/secret", "secret")
	write("target/differs", "mine")
	write("target/same", "same")
	write("target/shorter", "sam")
	write("target/longer", "same and more")
	write("target/lifeboat/backup.json", "of an archive that was unpacked here")
	write("target/is a folder/mine", "mine")
	write("target/is a file", "mine")
	for name, to := range map[string]string{
		"out": "../outside", "out file": "../outside/secret", "dangling": "../outside/new", "absolute": outer + "/outside", "inside": "differs",
	} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, outer)
	names := []string{
		"differs", "shorter", "longer", "out/secret", "out/new", "out file", "dangling", "absolute/new", "inside", "pipe", "is a folder", "is a file/below",
	}
	files := []archivetest.File{file("same", "same")}
	for _, name := range names {
		files = append(files, file(name, "same"))
	}
	r := into(t, folder, archivetest.New(t, append(files, file("new", "new"))).Zip(t))
	if r.err != nil || r.Written != 1 || r.Existing != 1 || r.Bytes != 3 {
		t.Errorf("%+v", r.Result)
	}
	before["target/new"] = "new"
	if diff := cmp.Diff(before, tree(t, outer)); diff != "" {
		t.Error(diff)
	}
	want := []string{}
	for _, name := range names {
		kind := "conflict "
		if strings.Contains(name, "/") { // a folder on its way cannot be
			kind = "not written "
		}
		want = append(want, kind+name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, problems(r)); diff != "" {
		t.Error(diff)
	}
}

// TestDamagedContent: the archive was damaged since it was checked.
func TestDamagedContent(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{
		file("good", "good"), file("bad", "contents to be damaged"), file("also bad", "contents to be damaged"), file("last", "last"),
		{Path: "bad.json", Data: bytes.Repeat([]byte("document"), 100), Document: true},
	})
	for name, damage := range map[string]func([]byte) []byte{
		"flipped": func(data []byte) []byte {
			data = bytes.ReplaceAll(data, []byte("contents to be damaged"), []byte("contents to be dAmaged"))
			data[len(b.Data())-5] ^= 0x10
			return data
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			mine := filepath.Join(folder, "also bad") // somebody's file of the same name and the damaged bytes
			if err := os.WriteFile(mine, []byte("contents to be dAmaged"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := into(t, folder, damage(b.Zip(t)))
			if r.err != nil || r.Written != 2 || r.Bytes != 8 {
				t.Errorf("%+v", r.Result)
			}
			if diff := cmp.Diff(map[string]string{"good": "good", "last": "last", "also bad": "contents to be dAmaged"}, r.files); diff != "" {
				t.Error(diff)
			}
			for _, want := range []string{"corrupt bad", "corrupt bad.json", "corrupt also bad"} {
				if !slices.Contains(problems(r), want) {
					t.Errorf("%s is missing: %v", want, problems(r))
				}
			}
		})
	}
}

// TestDamagedTail: a problem that is not about an entry takes nothing away.
func TestDamagedTail(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{file("a", "alpha")})
	data := b.Zip(t)
	data[len(b.Data())+100] ^= 1 // in lifeboat/backup.json
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := verify.OpenFile(t.Context(), name); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("%v", err)
	}
	folder := t.TempDir()
	own := filepath.Join(folder, "lifeboat", "README.txt")
	if err := errors.Join(os.Mkdir(filepath.Dir(own), 0o700), os.WriteFile(own, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	other := b.Header
	other.Readme = "another\n"
	swapped := bytes.Replace(b.Zip(t), []byte(b.Header.Readme), []byte("X"+b.Header.Readme[1:]), 1)
	r := into(t, folder, swapped)
	if r.err != nil || len(r.Problems) == 0 {
		t.Errorf("%+v", r.Result)
	}
	if diff := cmp.Diff(map[string]string{"a": "alpha", "lifeboat/README.txt": "mine"}, r.files); diff != "" {
		t.Error(diff)
	}
}

func TestOddTimes(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{
		{Path: "far", Modified: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Path: "long ago", Modified: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Path: "before 1980", Modified: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
	})
	if r := into(t, t.TempDir(), b.Zip(t)); r.err != nil || r.Written != 3 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestForeign: entries that somebody else reads are written by the same rules.
func TestForeign(t *testing.T) {
	folder := t.TempDir()
	f, err := restore.OpenFolder(folder, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	broken := errors.New("a bad block")
	result, err := f.RestoreForeign(func(put func(manifest.Entry, io.Reader) error) error {
		return errors.Join(
			put(manifest.Entry{Path: "a"}, strings.NewReader("alpha")), put(manifest.Entry{Path: "../b"}, strings.NewReader("beta")),
			put(manifest.Entry{Path: "c"}, io.MultiReader(strings.NewReader("gam"), failing{broken})),
		)
	})
	if err != nil || result.Written != 1 || len(result.Problems) != 2 || !strings.Contains(fmt.Sprint(result.Problems), broken.Error()) {
		t.Errorf("%+v, %v", result, err)
	}
	if diff := cmp.Diff(map[string]string{"a": "alpha"}, tree(t, folder)); diff != "" {
		t.Error(diff)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
