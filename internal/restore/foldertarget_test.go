package restore_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// process opens a folder as one process of several does.
func process(t *testing.T, o restore.FolderOptions, source restore.Bytes) *restore.FolderTarget {
	t.Helper()
	o.Existing = true
	target, err := restore.OpenFolderTarget(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	target.From(source)
	return target
}

// fromFile returns the entries of a backup and a source of their bytes, for one plan.
func fromFile(t *testing.T, b *archivetest.Backup) restore.Bytes {
	t.Helper()
	return restore.FileBytes(image(t, b.Zip(t)))
}

// inOne restores a backup in one process.
func inOne(t *testing.T, o restore.FolderOptions, b *archivetest.Backup) restored {
	t.Helper()
	target := process(t, o, fromFile(t, b))
	var r restored
	_, r.err = target.Restore(t.Context(), b.All())
	if r.err == nil {
		r.err = target.Finish(t.Context(), b.All())
	}
	r.Result, r.files = target.Result(), tree(t, o.Folder)
	return r
}

// varied is a backup with everything that a folder can get.
func varied(t *testing.T) (*archivetest.Backup, map[string]string) {
	t.Helper()
	contents := map[string]string{
		"uploads/a.txt": "alpha", "uploads/deep/er/ü:#&.txt": "beta", "uploads/empty": "", "uploads/c.JPG": "gamma",
		"uploads/huge.bin": string(noise(17<<20, 4)), // larger than a window
		"export.json":      strings.Repeat(`{"secret":1}`, 100), "long.json": strings.Repeat("0123456789abcdef", 2<<20/16),
	}
	var files []archivetest.File
	for _, path := range slices.Sorted(maps.Keys(contents)) {
		document := strings.HasSuffix(path, ".json")
		files = append(files, archivetest.File{Path: path, Data: []byte(contents[path]), Document: document, Secret: path == "export.json"})
	}
	return archivetest.New(t, append(files[:4:4], archivetest.File{Path: "uploads/nothing/in/"}), files[4:]), contents
}

// TestFolderWorkers hands the units of one plan, as text, to two targets, and has a third finish.
func TestFolderWorkers(t *testing.T) {
	b, want := varied(t)
	o := restore.FolderOptions{Folder: filepath.Join(t.TempDir(), "new", "folder"), Kind: "zipline"}
	var items, shown atomic.Int64
	o.Progress = func(i, n int64) { items.Add(i); shown.Add(n) }
	planner, err := restore.OpenFolderTarget(o)
	if err != nil {
		t.Fatal(err)
	}
	defer planner.Close()
	planner.From(fromFile(t, b))
	var lines [][]byte
	for u, err := range planner.Plan(b.All()) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	workers := []restore.Destination{process(t, o, fromFile(t, b)), process(t, o, fromFile(t, b))}
	for i, line := range lines {
		var u restore.Unit
		if err := errors.Join(json.Unmarshal(line, &u), workers[i%2].Do(t.Context(), u)); err != nil {
			t.Fatal(err)
		}
	}
	var sum restore.Result
	for _, w := range workers {
		text, err := json.Marshal(w.Result())
		var part restore.Result
		if err := errors.Join(err, json.Unmarshal(text, &part)); err != nil {
			t.Fatal(err)
		}
		sum.Add(part)
	}
	all := restore.Result{Written: 8, Folders: 1, Bytes: 19<<20 + 1214}
	if diff := cmp.Diff(all, sum); diff != "" || len(lines) < 3 || items.Load() != 8 || shown.Load() != all.Bytes {
		t.Errorf("%d units, %d items, %d bytes:\n%s", len(lines), items.Load(), shown.Load(), diff)
	}
	last := process(t, o, fromFile(t, b))
	if err := last.Finish(t.Context(), b.All()); err != nil || last.Result().Total > 0 {
		t.Errorf("finish: %v, %+v", err, last.Result())
	}
	if diff := cmp.Diff(want, tree(t, o.Folder)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(o.Folder, "uploads/nothing/in"))
	if err != nil || !info.IsDir() || !info.ModTime().Equal(archivetest.Noon) {
		t.Errorf("%v, %v", info, err)
	}
	info, err = os.Stat(filepath.Join(o.Folder, "export.json"))
	if err != nil || info.Mode() != 0o600 || !info.ModTime().Equal(archivetest.Noon) {
		t.Errorf("%v, %v", info, err)
	}
	again := inOne(t, o, b)
	if diff := cmp.Diff(restore.Result{Existing: 8}, again.Result); diff != "" || again.err != nil {
		t.Errorf("again: %v\n%s", again.err, diff)
	}
}

// TestFolderPacks reads the packs of a vault.
func TestFolderPacks(t *testing.T) {
	s := newScene(t, mixed(t))
	o := restore.FolderOptions{Folder: t.TempDir(), Kind: "zipline"}
	target := process(t, o, restore.PackBytes(s.vault.Vault, s.pool()))
	r, err := target.Restore(t.Context(), verify.Entries(t.Context(), s.image()))
	if err != nil || r.Written != 9 || r.Total > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := tree(t, o.Folder); got["uploads/apart.bin"] != string(noise(large, 3)) || got["uploads/ü #+%.txt"] != "beta" {
		t.Error("the contents differ")
	}
}

func TestOpenFolderTarget(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.OpenFolderTarget(restore.FolderOptions{Folder: folder}); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestFolderChoice: what Only and Name leave out is not there, and the rest has the names that it was given.
func TestFolderChoice(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{
		file("files/100%25", "%"), file("files/back%5Cslash", "b"), file("files/%2E%2E/evil", "e"), file("files/d/a", "a"), {Path: "files/d/e/"},
	})
	for name, test := range map[string]struct {
		o    restore.FolderOptions
		want map[string]string
	}{
		"original": {restore.FolderOptions{Kind: "files"}, map[string]string{
			"files/100%": "%", `files/back\slash`: "b", "files/%2E%2E/evil": "e", "files/d/a": "a",
		}},
		"only": {restore.FolderOptions{Kind: "zipline", Only: func(path string) bool { return strings.HasPrefix(path, "files/1") }}, map[string]string{"files/100%25": "%"}},
		"wants": {restore.FolderOptions{Kind: "files", Wants: func(e manifest.Entry) bool { return !strings.HasPrefix(e.Path, "files/b") }}, map[string]string{
			"files/100%": "%", "files/%2E%2E/evil": "e", "files/d/a": "a",
		}},
		"name": {restore.FolderOptions{Kind: "zipline", Name: func(e manifest.Entry) (string, bool) {
			return "data/" + filepath.Base(e.Path), e.Path == "files/d/a"
		}}, map[string]string{"data/a": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.o.Folder = t.TempDir()
			r := inOne(t, test.o, b)
			if diff := cmp.Diff(test.want, r.files); diff != "" || r.err != nil || r.Total > 0 {
				t.Errorf("%v, %v\n%s", r.err, r.Problems, diff)
			}
			wanted := 0
			for e := range b.All() {
				if process(t, test.o, restore.Bytes{}).Wants(e) {
					wanted++
				}
			}
			if wanted != r.Written {
				t.Errorf("%d are wanted, %d were written", wanted, r.Written)
			}
		})
	}
}

var hostileNames = []string{
	"../evil", "../../evil", "a/../../evil", "/evil", "/", "//evil", "./evil", "a/./b", "a//b", "..", ".", "./", "a/..", `..\evil`, `C:\evil`, "a\x00b",
	strings.Repeat("x", 300), strings.Repeat("d/", 3000) + "deep", ".lifeboat-made", ".Lifeboat-Made/",
}

// TestFolderHostileNames: whatever a name is, and whoever gives it, nothing appears outside of the folder.
func TestFolderHostileNames(t *testing.T) {
	files := []archivetest.File{file("good", "good")}
	for _, name := range hostileNames {
		files = append(files, file(name, "evil"))
	}
	outer := t.TempDir()
	o := restore.FolderOptions{Folder: filepath.Join(outer, "a", "b", "target"), Kind: "zipline"}
	r := inOne(t, o, archivetest.New(t, append(files, file("last", "last"))))
	if r.err != nil || r.Written != 2 || r.Total != len(hostileNames) {
		t.Errorf("%d written, %d problems, %v", r.Written, r.Total, r.err)
	}
	plain := archivetest.New(t, []archivetest.File{file("x", "evil")})
	for _, name := range hostileNames {
		o.Name = func(manifest.Entry) (string, bool) { return name, true }
		if r := inOne(t, o, plain); r.err != nil || r.Written != 0 || r.Total != 1 || r.Problems[0].Kind != "not written" {
			t.Errorf("%q as a name: %v, %+v", name, r.err, r.Result)
		}
		if len(name) > 250 || strings.ContainsAny(name, `\`) || strings.Contains(strings.ToLower(name), "lifeboat") { // harmless where no plan has checked them
			continue
		}
		target := process(t, o, fromFile(t, plain))
		unit := restore.Unit{Length: 4, From: restore.Spot{Offset: 31}, Items: []restore.Item{{Key: name, Entry: plain.Entries[0], Offset: 31}}}
		if err := target.Do(t.Context(), unit); err != nil || target.Result().Written != 0 || target.Result().Total != 1 {
			t.Errorf("%q in a unit: %v, %+v", name, err, target.Result())
		}
	}
	if diff := cmp.Diff(map[string]string{"a/b/target/good": "good", "a/b/target/last": "last"}, tree(t, outer)); diff != "" {
		t.Error(diff)
	}
}

// TestFolderFileAndFolder: of a file and what should lie below it one is there, and the other is a problem.
func TestFolderFileAndFolder(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{file("x", "file"), file("x/below", "below"), file("last", "last")})
	for range 20 {
		r := inOne(t, restore.FolderOptions{Folder: t.TempDir()}, b)
		if r.err != nil || r.Written != 2 || r.Total != 1 || r.files["last"] != "last" || (r.files["x"] == "file") == (r.files["x/below"] == "below") {
			t.Errorf("%v, %+v: %v", r.err, r.Result, r.files)
		}
	}
}

// TestFolderPlanted: what lies in the folder already stays as it is, leads nowhere, and holds nothing up.
func TestFolderPlanted(t *testing.T) {
	outer := t.TempDir()
	folder := filepath.Join(outer, "target")
	for name, data := range map[string]string{
		"outside/secret": "secret", "target/differs": "MINE", "target/same": "same", "target/longer": "same and more", "target/is a folder/mine": "mine", "target/is a file": "mine",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(outer, name)), 0o700), os.WriteFile(filepath.Join(outer, name), []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"out": "../outside", "out file": "../outside/secret", "dangling": "../outside/new", "inside": "differs"} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, outer)
	want := []string{
		"conflict dangling", "conflict differs", "conflict inside", "conflict is a file/", "conflict is a folder", "conflict longer", "conflict out file", "conflict out/",
		"conflict pipe", "not written is a file/below", "not written out/new", "not written out/secret", "not written pipe/below",
	}
	files := []archivetest.File{file("same", "same"), file("new", "new")}
	for _, problem := range want {
		path := strings.TrimPrefix(strings.TrimPrefix(problem, "conflict "), "not written ")
		if strings.HasSuffix(path, "/") {
			files = append(files, file(path, ""))
			continue
		}
		files = append(files, file(path, "same"))
	}
	r := inOne(t, restore.FolderOptions{Folder: folder}, archivetest.New(t, files))
	if r.err != nil || r.Written != 1 || r.Existing != 1 {
		t.Errorf("%+v, %v", r.Result, r.err)
	}
	if diff := cmp.Diff(want, problems(r)); diff != "" {
		t.Error(diff)
	}
	before["target/new"] = "new"
	if diff := cmp.Diff(before, tree(t, outer)); diff != "" {
		t.Error(diff)
	}
}

// TestFolderPlantedNotes: the file that notes what was made leads nowhere either.
func TestFolderPlantedNotes(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{file("d/a", "alpha")})
	for name, plant := range map[string]func(string) error{
		"link": func(at string) error { return os.Symlink("victim", at) },
		"pipe": func(at string) error { return syscall.Mkfifo(at, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := errors.Join(os.WriteFile(filepath.Join(folder, "victim"), []byte("mine"), 0o600), plant(filepath.Join(folder, ".lifeboat-made"))); err != nil {
				t.Fatal(err)
			}
			r := inOne(t, restore.FolderOptions{Folder: folder}, b)
			if failure.KindOf(r.err) != failure.Conflict || r.files["victim"] != "mine" {
				t.Errorf("%v, %v", r.err, r.files)
			}
		})
	}
}

// TestFolderRot: bytes that changed where they lie are never left behind, and what is whole is written.
func TestFolderRot(t *testing.T) {
	b, want := varied(t)
	for _, path := range []string{"uploads/a.txt", "uploads/huge.bin", "export.json", "long.json"} {
		t.Run(strings.ReplaceAll(path, "/", "-"), func(t *testing.T) {
			data := b.Zip(t)
			source := fromFile(t, b)
			for e := range b.All() {
				at, err := source.Locate(e)
				if err != nil {
					t.Fatal(err)
				}
				if e.Path == path {
					data[at.Offset+e.StoredSize()/2] ^= 0x10
				}
			}
			folder := t.TempDir()
			target := process(t, restore.FolderOptions{Folder: folder}, restore.FileBytes(image(t, data)))
			r, err := target.Restore(t.Context(), b.All())
			if err := errors.Join(err, target.Finish(t.Context(), b.All())); err != nil {
				t.Error(err)
			}
			if r.Written != 7 || len(r.Problems) != 1 || r.Problems[0].Kind != "corrupt" || r.Problems[0].Item != path {
				t.Errorf("%+v", r)
			}
			left := maps.Clone(want)
			delete(left, path)
			if diff := cmp.Diff(left, tree(t, folder)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// breaking ends its source's bodies in the middle, from a call on.
func breaking(source restore.Bytes, from int64, with error) restore.Bytes {
	var calls atomic.Int64
	open := source.Open
	source.Open = func(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error) {
		body, err := open(ctx, key, offset, length)
		if err != nil || calls.Add(1) < from {
			return body, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, length/2), failing{with}), body}, nil
	}
	return source
}

// TestFolderInterrupted breaks a restore off at each read, in the middle, and goes on in another process.
func TestFolderInterrupted(t *testing.T) {
	b, want := varied(t)
	for i, broken := range []error{context.Canceled, failure.New(failure.Transient, "the line is cut")} {
		for n := range vaulttest.Calls(i == 1) {
			o := restore.FolderOptions{Folder: t.TempDir()}
			target := process(t, o, breaking(fromFile(t, b), int64(n), broken))
			r, err := target.Restore(t.Context(), b.All())
			if err == nil {
				if n < 4 || r.Written != 8 {
					t.Errorf("%d reads, %+v", n, r)
				}
				break
			}
			if failure.KindOf(err) != failure.KindOf(broken) || r.Total > 0 {
				t.Errorf("read %d: %v, %+v", n, err, r)
			}
			for name, data := range tree(t, o.Folder) {
				if name != ".lifeboat-made" && want[name] != data {
					t.Errorf("read %d left %s behind with %d bytes", n, name, len(data))
				}
			}
			killed(t, o.Folder, "uploads/a.txt")
			second := inOne(t, o, b)
			if second.err != nil || second.Total > 0 || second.Written+second.Existing != 8 {
				t.Errorf("after read %d: %+v, %v", n, second.Result, second.err)
			}
			if diff := cmp.Diff(want, second.files); diff != "" {
				t.Errorf("after read %d:\n%s", n, diff)
			}
			info, err := os.Stat(filepath.Join(o.Folder, "uploads/nothing/in"))
			if err != nil || !info.ModTime().Equal(archivetest.Noon) {
				t.Errorf("after read %d: %v, %v", n, info, err)
			}
		}
	}
}

// killed leaves what a process leaves that is killed while it writes a file.
func killed(t *testing.T, folder, path string) {
	t.Helper()
	name := filepath.Join(folder, path)
	if _, err := os.Lstat(name); err == nil {
		return
	}
	part := filepath.Join(filepath.Dir(name), restore.PartName(path, path))
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(part, []byte("al"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestFolderTwins: names that differ by case are data, and one name for two contents is a conflict.
func TestFolderTwins(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{file("Straße.txt", "one"), file("straße.txt", "two"), file("e\u0301", "three"), file("\u00e9", "four")})
	folder := t.TempDir()
	apart := os.WriteFile(filepath.Join(folder, "probe"), nil, 0o600) == nil && !exists(filepath.Join(folder, "PROBE"))
	_ = os.Remove(filepath.Join(folder, "probe"))
	r := inOne(t, restore.FolderOptions{Folder: folder}, b)
	if r.err != nil || r.Written+r.Total != 4 || apart && r.Written != 4 {
		t.Errorf("%+v, %v", r.Result, r.err)
	}
	for range 20 { // at the same time
		o := restore.FolderOptions{Folder: t.TempDir(), Name: func(manifest.Entry) (string, bool) { return "d/one", true }}
		r := inOne(t, o, b)
		if r.err != nil || r.Written != 1 || r.Total != 3 || r.Problems[0].Kind != "conflict" || len(r.files) != 1 {
			t.Errorf("%+v, %v: %v", r.Result, r.err, r.files)
		}
	}
	same := archivetest.New(t, []archivetest.File{file("a", "same"), file("b", "same"), file("c", "same")})
	for range 20 {
		o := restore.FolderOptions{Folder: t.TempDir(), Name: func(manifest.Entry) (string, bool) { return "one", true }}
		if r := inOne(t, o, same); r.err != nil || r.Written != 1 || r.Existing != 2 {
			t.Errorf("%+v, %v", r.Result, r.err)
		}
	}
}

// TestFolderSameUnit: two processes that do the same at once may have to do it again, and harm nothing.
func TestFolderSameUnit(t *testing.T) {
	b, want := varied(t)
	delete(want, "uploads/huge.bin")
	small := func(path string) bool { return path != "uploads/huge.bin" }
	times := 20
	if testing.Short() {
		times = 6
	}
	for range times {
		o := restore.FolderOptions{Folder: t.TempDir(), Only: small}
		var group sync.WaitGroup
		for range 3 {
			target := process(t, o, fromFile(t, b))
			group.Go(func() {
				if _, err := target.Restore(t.Context(), b.All()); err != nil && failure.KindOf(err) != failure.Transient {
					t.Error(err)
				}
			})
		}
		group.Wait()
		r := inOne(t, o, b)
		if diff := cmp.Diff(want, r.files); diff != "" || r.err != nil || r.Total > 0 {
			t.Errorf("%v, %+v\n%s", r.err, r.Result, diff)
		}
	}
}

// TestFolderPartSwapped: a part that somebody else has put in the place of ours never gets the name.
func TestFolderPartSwapped(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{{Path: "d/huge", Data: noise(17<<20, 1)}})
	o := restore.FolderOptions{Folder: t.TempDir()}
	source := fromFile(t, b)
	open := source.Open
	source.Open = func(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error) { // the part is there by now
		part := filepath.Join(o.Folder, "d", restore.PartName("d/huge", filepath.FromSlash("d/huge")))
		if err := errors.Join(os.Remove(part), os.WriteFile(part, []byte("of another process"), 0o600)); err != nil {
			t.Error(err)
		}
		return open(ctx, key, offset, length)
	}
	r, err := process(t, o, source).Restore(t.Context(), b.All())
	if failure.KindOf(err) != failure.Transient || failure.HintOf(err) == "" || r.Written > 0 || exists(filepath.Join(o.Folder, "d/huge")) {
		t.Errorf("%+v, %v", r, err)
	}
	if again := inOne(t, o, b); again.err != nil || again.Written != 1 {
		t.Errorf("again: %+v, %v", again.Result, again.err)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// TestFinish: the directories that the restore has made get what the backup says, whoever made them; others don't.
func TestFinish(t *testing.T) {
	old := time.Date(1999, 5, 4, 3, 2, 1, 0, time.UTC)
	b := archivetest.New(t, []archivetest.File{
		{Path: "mine/", Modified: old},
		{Path: "ours/", Modified: old},
		file("ours/below/a", "alpha"),
		{Path: "ours/below/", Modified: old},
		{Path: "ours/empty/", Modified: old},
		file("mine/b", "beta"),
		{Path: "mine/new/", Modified: old},
	})
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Dir() {
			e.Mode = 0o6555
			e.Secret = e.Path == "ours/empty/"
		}
	}
	folder := t.TempDir()
	t.Cleanup(func() { // for who removes it
		for _, name := range []string{"ours", "ours/below", "ours/empty", "mine/new"} {
			_ = os.Chmod(filepath.Join(folder, name), 0o700)
		}
	})
	if err := os.Mkdir(filepath.Join(folder, "mine"), 0o711); err != nil {
		t.Fatal(err)
	}
	o := restore.FolderOptions{Folder: folder}
	first := process(t, o, fromFile(t, b))
	if r, err := first.Restore(t.Context(), b.All()); err != nil || r.Written+r.Existing != 7 || r.Total > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := process(t, o, restore.Bytes{}).Finish(ctx, b.All()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for range 2 { // another process, twice
		if err := process(t, o, restore.Bytes{}).Finish(t.Context(), b.All()); err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]fs.FileMode{"ours": 0o555, "ours/below": 0o555, "ours/empty": 0o500, "mine/new": 0o555, "mine": 0o711} {
			info, err := os.Stat(filepath.Join(folder, name))
			if err != nil || info.Mode() != fs.ModeDir|mode || info.ModTime().Equal(old) != (name != "mine") {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	}
	if exists(filepath.Join(folder, ".lifeboat-made")) {
		t.Error("notes were left behind")
	}
	if r := inOne(t, o, b); r.err != nil || r.Existing != 7 || r.Total > 0 {
		t.Errorf("again: %+v, %v", r.Result, r.err)
	}
}

func TestResultAdd(t *testing.T) {
	var sum restore.Result
	finding := slices.Repeat([]app.Finding{{Kind: "corrupt"}}, verify.MaxProblems+5)
	sum.Add(restore.Result{Written: 1, Bytes: 2, Existing: 3, Spliced: 4, SplicedBytes: 5, Total: 1, Problems: finding[:1]})
	sum.Add(restore.Result{Written: 10, Bytes: 20, Existing: 30, Spliced: 40, SplicedBytes: 50, Streams: "why", Total: len(finding), Problems: finding})
	if len(sum.Problems) != verify.MaxProblems {
		t.Errorf("%d problems", len(sum.Problems))
	}
	sum.Problems = nil
	want := restore.Result{Written: 11, Bytes: 22, Existing: 33, Spliced: 44, SplicedBytes: 55, Streams: "why", Total: len(finding) + 1}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Error(diff)
	}
}
