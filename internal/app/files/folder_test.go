package files_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

func TestFolder(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a.txt", "d/b", "100%", `back\slash`, "new\nline", "bad\xff", "ü 🌊:b", "u\u0308", "A.TXT", "only/bad\xfe/c"} {
		write(t, folder, name, name)
	}
	must(t, os.Chmod(write(t, folder, "d/run.sh", ""), 0o755|os.ModeSetuid))
	at := time.Date(2020, 2, 3, 4, 5, 6, 7, time.UTC)
	must(t, os.Chtimes(filepath.Join(folder, "a.txt"), at, at))
	for name, mode := range map[string]os.FileMode{"hollow": 0o700, "nested/deep": 0o755, "links": 0o755} {
		must(t, os.MkdirAll(filepath.Join(folder, name), 0o755))
		must(t, os.Chmod(filepath.Join(folder, name), mode))
	}
	must(t, os.Chtimes(filepath.Join(folder, "hollow"), at, at))
	outside := write(t, t.TempDir(), "secret", "x")
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(folder, "links/dir")))
	must(t, os.Symlink("../no\xffwhere 100%", filepath.Join(folder, "dangling\n")))
	must(t, syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o644))

	s, facts := snapshot(t, files.Options{Path: folder, Now: func() time.Time { return at.AddDate(30, 0, 0) }})
	want := map[string]int64{
		"files/a.txt": 5, "files/d/b": 3, "files/100%25": 4, "files/back%5Cslash": 10, "files/new%0Aline": 8, "files/bad%FF": 4,
		"files/ü 🌊:b": 9, "files/u\u0308": 3, "files/A.TXT": 5, "files/only/bad%FE/c": 11, "files/d/run.sh": 0,
		"files/hollow/": -1, "files/nested/deep/": -1, "files/links/": -1,
	}
	if diff := cmp.Diff(want, s.sizes()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"note set-id files/d/run.sh", "note special files/pipe", "note symlinks symlinks.jsonl"}, s.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for path, mode := range map[string]uint32{"files/d/run.sh": 0o755, "files/a.txt": 0o644, "files/hollow/": 0o700} {
		if o := s.objects[path]; o.Mode != mode || !o.Settled {
			t.Errorf("%+v", o)
		}
	}
	for _, path := range []string{"files/a.txt", "files/hollow/"} {
		if !s.objects[path].Modified.Equal(at) {
			t.Errorf("%+v", s.objects[path])
		}
	}
	links := `{"path":"files/dangling%0A","target":"../no%FFwhere 100%25"}` + "\n" +
		`{"path":"files/links/dir","target":"` + filepath.Dir(outside) + `"}` + "\n"
	if diff := cmp.Diff(links, s.documents["symlinks.jsonl"]); diff != "" {
		t.Error(diff)
	}
	counts := map[string]int64{"files": 11, "directories": 7, "symlinks": 2, "bytes": 62}
	if diff := cmp.Diff(counts, facts.Counts); diff != "" || facts.Application != "files" || facts.Secrets || len(facts.Digest) != 64 {
		t.Errorf("%+v\n%s", facts, diff)
	}
}

func TestReport(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "a", "abc")
	o := files.Options{Path: folder, Include: []string{"*"}, Exclude: []string{"b/"}, Now: func() time.Time { return time.Unix(0, 0) }}
	s, _ := snapshot(t, o)
	want := `{
  "lifeboat_files": 1,
  "place": "the folder ` + folder + `",
  "include": [
    "*"
  ],
  "exclude": [
    "b/"
  ],
  "began": "1970-01-01T00:00:00Z",
  "counts": {
    "files": 1,
    "directories": 0,
    "symlinks": 0,
    "bytes": 3
  },
  "names": "In paths, % and two hex digits stand for a byte that a name in a ZIP can't have."
}
`
	if diff := cmp.Diff(map[string]string{"files.json": want}, s.documents); diff != "" {
		t.Error(diff)
	}
}

func TestIncludeExclude(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a.txt", "a.tmp", "photos/1.jpg", "photos/raw/2.cr2", "photos/cache/x", "cache/y", "docs/b.txt"} {
		write(t, folder, name, "")
	}
	must(t, os.MkdirAll(filepath.Join(folder, "photos/new"), 0o755))
	must(t, os.MkdirAll(filepath.Join(folder, "else/new"), 0o755))
	for name, test := range map[string]struct {
		include, exclude string
		want             string
		findings         []string
	}{
		"all":              {"", "", "a.txt a.tmp photos/1.jpg photos/raw/2.cr2 photos/cache/x photos/new/ cache/y docs/b.txt else/new/", nil},
		"a folder":         {"photos", "", "photos/1.jpg photos/raw/2.cr2 photos/cache/x photos/new/", nil},
		"without":          {"photos/", "**/cache/", "photos/1.jpg photos/raw/2.cr2 photos/new/", nil},
		"kept empty":       {"photos/", "**/cache/**", "photos/1.jpg photos/raw/2.cr2 photos/cache/ photos/new/", nil},
		"by name":          {"**/*.txt", "", "a.txt docs/b.txt", nil},
		"deep":             {"photos/*/2.cr2", "", "photos/raw/2.cr2", nil},
		"overlap":          {"photos photos/raw/*.cr2", "", "photos/1.jpg photos/raw/2.cr2 photos/cache/x photos/new/", nil},
		"empty folders":    {"**/new/", "", "photos/new/ else/new/", []string{"note empty "}},
		"nothing":          {"nothing a.txt", "", "a.txt", []string{"problem unmatched nothing"}},
		"excluded":         {"cache/y a.txt", "cache", "a.txt", []string{"problem unmatched cache/y"}},
		"everything at it": {"", "*", "", []string{"note empty "}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := snapshot(t, files.Options{Path: folder, Include: strings.Fields(test.include), Exclude: strings.Fields(test.exclude)})
			want := map[string]int64{}
			for path := range strings.FieldsSeq(test.want) {
				if want["files/"+path] = 0; strings.HasSuffix(path, "/") {
					want["files/"+path] = -1
				}
			}
			if diff := cmp.Diff(want, s.sizes()); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.findings, s.findings); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []files.Options{{}, {Path: "x", Include: []string{"["}}, {Path: "x", Exclude: []string{"/x"}}} {
		if _, err := files.New(o); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestFolderFails(t *testing.T) {
	folder := t.TempDir()
	file := write(t, folder, "a", "")
	for path, want := range map[string]failure.Kind{
		filepath.Join(folder, "none"): failure.NotFound, file: failure.Usage, filepath.Join(file, "b"): failure.NotFound,
	} {
		source := newSource(t, files.Options{Path: path})
		_, err := source.Snapshot(t.Context(), backup.Scope{}, &sink{})
		if failure.KindOf(err) != want || failure.HintOf(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := source.Open(t.Context(), app.Object{Path: "files/x"}); failure.KindOf(err) != want {
			t.Errorf("open in %s: %v", path, err)
		}
	}
}

func TestEmptyFolder(t *testing.T) {
	s, _ := snapshot(t, files.Options{Path: t.TempDir()})
	if diff := cmp.Diff([]string{"problem empty "}, s.findings); diff != "" || len(s.documents) != 1 || len(s.objects) != 0 {
		t.Errorf("%+v\n%s", s, diff)
	}
}

func TestManySpecialFiles(t *testing.T) {
	folder := t.TempDir()
	for i := range 103 {
		must(t, syscall.Mkfifo(filepath.Join(folder, fmt.Sprintf("%03d", i)), 0o600))
	}
	s, _ := snapshot(t, files.Options{Path: folder})
	if n := len(s.findings); n != 102 || s.findings[99] != "note special files/099" || s.messages[100] != "3 more sockets, pipes and devices are not in the backup" {
		t.Errorf("%d: %v", n, s.messages[98:])
	}
}

// TestSetID names what is in the backup without a bit that it has: of files, and of folders that are objects or not.
func TestSetID(t *testing.T) {
	folder := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"both": 0o711 | os.ModeSetuid | os.ModeSetgid, "out/left": 0o755 | os.ModeSetuid, "plain": 0o755, "shared/b": 0o755 | os.ModeSetgid,
		"sticky": 0o755 | os.ModeSticky,
	} {
		must(t, os.Chmod(write(t, folder, name, ""), mode))
	}
	must(t, os.Mkdir(filepath.Join(folder, "hollow"), 0o755))
	for name, mode := range map[string]os.FileMode{"hollow": 0o770, "out": 0o755, "shared": 0o755} {
		must(t, os.Chmod(filepath.Join(folder, name), mode|os.ModeSetgid))
	}
	s, _ := snapshot(t, files.Options{Path: folder, Exclude: []string{"out"}})
	want := []string{"note set-id files/both", "note set-id files/hollow/", "note set-id files/shared/b", "note set-id files/shared/"}
	if diff := cmp.Diff(want, s.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if mode := s.objects["files/both"].Mode; mode != 0o711 {
		t.Errorf("mode %o", mode)
	}
	if s, _ := snapshot(t, files.Options{Path: folder, Include: []string{"shared/a*", "plain"}}); len(s.findings) != 1 { // the pattern without a match
		t.Errorf("of what is not in the backup: %q", s.findings)
	}

	for i := range 103 {
		must(t, os.Chmod(write(t, folder, fmt.Sprintf("many/%03d", i), ""), 0o755|os.ModeSetuid))
	}
	s, _ = snapshot(t, files.Options{Path: filepath.Join(folder, "many")})
	if n := len(s.findings); n != 101 || s.findings[99] != "note set-id files/099" || !strings.HasPrefix(s.messages[100], "3 more") {
		t.Errorf("%d: %v", n, s.messages[98:])
	}
}

// TestPathTooLong nests folders until no ZIP can hold a name.
func TestPathTooLong(t *testing.T) {
	folder := t.TempDir()
	root, err := os.OpenRoot(folder)
	must(t, err)
	defer root.Close()
	name := strings.Repeat("%", 250)
	for range 90 { // 90 × 751 encoded bytes
		must(t, root.Mkdir(name, 0o755))
		sub, err := root.OpenRoot(name)
		must(t, err)
		defer sub.Close()
		root = sub
	}
	must(t, root.WriteFile("deep", nil, 0o600))
	s, facts := snapshot(t, files.Options{Path: folder})
	if len(s.findings) != 1 || !strings.HasPrefix(s.findings[0], "problem bad-name files/%25") || len(s.objects) != 0 || facts.Counts["files"] != 0 {
		t.Errorf("%.200v, %+v", s.findings, facts)
	}
}

// TestOpen opens what a snapshot lists, after it went through JSON.
func TestOpen(t *testing.T) {
	folder := t.TempDir()
	names := []string{"a", "bad\xff", "bad%FF", "new\nline", `a\b`, "d/100%"}
	for _, name := range names {
		write(t, folder, name, "content of "+name)
	}
	o := files.Options{Path: folder}
	source := newSource(t, o)
	s, _ := snapshot(t, o)
	got := map[string]string{}
	for _, listed := range s.objects {
		listed = throughJSON(t, listed)
		content, err := source.Open(t.Context(), listed)
		must(t, err)
		data, err := io.ReadAll(content)
		must(t, err)
		now, err := content.Now()
		must(t, err)
		now.Settled = listed.Settled
		if diff := cmp.Diff(listed, now); diff != "" {
			t.Errorf("%s: listed and opened differ:\n%s", listed.Path, diff)
		}
		must(t, content.Close())
		got[listed.Key] = string(data)
	}
	want := map[string]string{"bad%FF": "content of bad%FF"}
	for _, name := range names {
		if name != "bad\xff" { // its key is the encoded one, like that of its twin; the paths tell them apart
			want[name] = "content of " + name
		}
	}
	if !strings.HasPrefix(got["bad%FF"], "content of bad") {
		t.Errorf("%q", got["bad%FF"])
	}
	got["bad%FF"] = want["bad%FF"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func throughJSON(t *testing.T, o app.Object) (back app.Object) {
	t.Helper()
	data, err := json.Marshal(o)
	must(t, err)
	must(t, json.Unmarshal(data, &back))
	return back
}

func TestOpenFails(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "d/a", "")
	must(t, os.Symlink("d/a", filepath.Join(folder, "link")))
	for path, want := range map[string]failure.Kind{
		"files/none": failure.NotFound, "files/link": failure.NotFound, "files/d": failure.NotFound, "files/d/a/b": failure.NotFound,
		"files/d/": failure.Invalid, "d/a": failure.Invalid, "files/../x": failure.Invalid, "files/%2E%2E/x": failure.Invalid,
		"files/%41": failure.Invalid, "files/": failure.Invalid,
	} {
		if _, err := newSource(t, files.Options{Path: folder}).Open(t.Context(), app.Object{Path: path}); failure.KindOf(err) != want {
			t.Errorf("open %q: kind %s, %v", path, failure.KindOf(err), err)
		}
	}
	if _, err := newSource(t, files.Options{Path: folder}).Open(t.Context(), app.Object{Path: "files/d/", Dir: true}); failure.KindOf(err) != failure.Invalid {
		t.Error(err)
	}
}

// TestDigest is equal for equal files, and notices a changed one.
func TestDigest(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "a", "one")
	write(t, folder, "b", "")
	digest := func() string {
		_, facts := snapshot(t, files.Options{Path: folder})
		return facts.Digest
	}
	first, second := digest(), digest()
	write(t, folder, "a", "more")
	third := digest()
	must(t, os.Symlink("a", filepath.Join(folder, "l")))
	if fourth := digest(); first != second || first == third || third == fourth {
		t.Errorf("%s %s %s %s", first, second, third, fourth)
	}
}
