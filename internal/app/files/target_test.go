package files_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// saved are the items of a backup, by path, and those that are not chosen.
type saved struct {
	objects map[string]app.Object
	left    map[string]bool
	facts   app.Facts
}

func save(t *testing.T, o files.Options) saved {
	t.Helper()
	s, facts := snapshot(t, o)
	return saved{s.objects, map[string]bool{}, facts}
}

func (s saved) items(yield func(app.Item, error) bool) {
	if !yield(app.Item{Object: app.Object{Path: "files.json", Size: 3}, Document: true, Chosen: true}, nil) {
		return
	}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if !yield(app.Item{Object: s.objects[path], Chosen: !s.left[path]}, nil) {
			return
		}
	}
}

func (s saved) replay() *app.Replay {
	return &app.Replay{
		ID: "r", Kind: "files", Facts: s.facts, Wishes: app.Wishes{Documents: true, Objects: true}, Working: func(int64, int64) {},
		Items: func(context.Context) iter.Seq2[app.Item, error] { return s.items },
	}
}

func newTarget(t *testing.T, o files.TargetOptions) *files.Target {
	t.Helper()
	target, err := files.NewTarget(o)
	must(t, err)
	return target
}

func folderTarget(t *testing.T, path string) *files.Target {
	t.Helper()
	return newTarget(t, files.TargetOptions{Place: datasource.NewFolder(path, nil), Folder: path})
}

func counts(all []app.Count) []string {
	lines := []string{}
	for _, c := range all {
		lines = append(lines, fmt.Sprintf("%s %d %d %d %d", c.What, c.Backup, c.Create, c.Exists, c.Skip))
	}
	return lines
}

func short(all []app.Finding) []string {
	lines := []string{}
	for _, f := range all {
		lines = append(lines, strings.TrimSpace(string(f.Severity)+" "+f.Kind+" "+f.Item))
	}
	return lines
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func preflight(t *testing.T, target *files.Target, s saved) app.Forecast {
	t.Helper()
	forecast, err := target.Preflight(t.Context(), s.replay())
	must(t, err)
	return forecast
}

func confirm(t *testing.T, target *files.Target, s saved) app.Confirmation {
	t.Helper()
	progress, err := target.Replay(t.Context(), s.replay())
	must(t, err)
	confirmation, err := target.Confirm(t.Context(), s.replay())
	must(t, err)
	if !progress.Done {
		t.Error("the replay is not done")
	}
	return confirmation
}

// place writes what the forecast places.
func place(t *testing.T, folder string, f app.Forecast, s saved) {
	t.Helper()
	for i := range s.items {
		name, ok := f.Place(i)
		switch {
		case !ok:
		case i.Dir:
			must(t, os.MkdirAll(filepath.Join(folder, name), 0o755))
		default:
			write(t, folder, name, strings.Repeat("x", int(i.Size)))
		}
	}
}

// TestFolderTarget restores a folder with odd names, empty folders and links, twice.
func TestFolderTarget(t *testing.T) {
	from := t.TempDir()
	write(t, from, "a.txt", "aaa")
	write(t, from, "sub/percent%41", "bb")
	write(t, from, "sub/new\nline", "")
	write(t, from, `back\slash`, "c")
	must(t, os.MkdirAll(filepath.Join(from, "empty/inner"), 0o755))
	must(t, os.Mkdir(filepath.Join(from, "shut"), 0o700))
	write(t, from, "shut/x", "dddd")
	must(t, os.Symlink("a.txt", filepath.Join(from, "link")))
	s := save(t, files.Options{Path: from})

	to := filepath.Join(t.TempDir(), "new")
	target := folderTarget(t, to)
	forecast := preflight(t, target, s)
	equal(t, "forecast", []string{"files 5 5 0 0", "directories 2 2 0 0"}, counts(forecast.Counts))
	equal(t, "notes", []string{"note symlinks symlinks.jsonl"}, short(forecast.Findings))
	place(t, to, forecast, s)
	confirmation := confirm(t, target, s)
	equal(t, "report", []string{"files 5 5 0 0", "bytes 10 10 0 0", "directories 2 2 0 0"}, counts(confirmation.Counts))
	equal(t, "findings", []string{}, short(confirmation.Findings))
	equal(t, "asserted", []string{
		"5 of 5 files are in the target under their names and with their sizes, 10 of 10 bytes", "2 of 2 directories are in the target",
	}, confirmation.Asserted)
	// What was restored is, by itself, a folder with the same files.
	again := save(t, files.Options{Path: to})
	if len(again.objects) != 6 { // of shut/, which has lost its mode here, only the file
		t.Errorf("%d objects: %v", len(again.objects), slices.Sorted(maps.Keys(again.objects)))
	}
	equal(t, "second forecast", []string{"files 5 0 5 0", "directories 2 0 2 0"}, counts(preflight(t, target, s).Counts))
}

// TestFolderTargetTrouble reports what is missing, other, extra, or was not chosen.
func TestFolderTargetTrouble(t *testing.T) {
	from := t.TempDir()
	for _, name := range []string{"kept", "lost", "cut", "linked", "left/out"} {
		write(t, from, name, name)
	}
	must(t, os.MkdirAll(filepath.Join(from, "empty"), 0o755))
	s := save(t, files.Options{Path: from})
	s.left["files/left/out"] = true
	to := t.TempDir()
	write(t, to, "extra", "x")
	write(t, to, ".lifeboat-made", "x")
	write(t, to, "cut", "c")
	must(t, os.Symlink("kept", filepath.Join(to, "linked")))
	target := folderTarget(t, to)
	forecast := preflight(t, target, s)
	equal(t, "forecast", []string{"files 5 2 0 3", "directories 1 1 0 0"}, counts(forecast.Counts))
	equal(t, "notes", []string{"note exists files/cut", "note exists files/linked"}, short(forecast.Findings))
	if _, put := forecast.Place(app.Item{Object: s.objects["files/left/out"]}); put {
		t.Error("what was not chosen is put")
	}
	write(t, to, "kept", "kept")
	confirmation := confirm(t, target, s)
	equal(t, "report", []string{"files 4 1 0 3", "bytes 17 4 0 13", "directories 1 0 0 1"}, counts(confirmation.Counts))
	equal(t, "findings", []string{
		"problem size files/cut", "problem missing files/empty/", "problem size files/linked", "problem missing files/lost", "note extra",
	}, short(confirmation.Findings))
	if text := confirmation.Findings[4].Message; !strings.HasPrefix(text, "1 files") {
		t.Error(text)
	}
	// Without the path, nobody says that directories are there.
	blind := newTarget(t, files.TargetOptions{Place: datasource.NewFolder(to, nil)})
	equal(t, "blind", []string{"problem size files/cut", "problem size files/linked", "problem missing files/lost", "note unseen", "note extra"}, short(confirm(t, blind, s).Findings))
}

// TestTargetBlocked plans nothing below a link that leads out, or below a file; a link within the target is a folder.
func TestTargetBlocked(t *testing.T) {
	source := t.TempDir()
	for _, name := range []string{"free/a", "in/a", "out/a", "deep/out/b/c", "taken/a"} {
		write(t, source, name, "a")
	}
	folder, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{"deep", "real"} {
		must(t, os.Mkdir(filepath.Join(folder, name), 0o755))
	}
	for name, to := range map[string]string{"out": outside, "deep/out": outside, "in": "real"} {
		must(t, os.Symlink(to, filepath.Join(folder, name)))
	}
	write(t, folder, "taken", "a")
	forecast := preflight(t, folderTarget(t, folder), save(t, files.Options{Path: source}))
	equal(t, "plan", []string{"files 5 2 0 3"}, counts(forecast.Counts))
	equal(t, "findings", []string{"note exists files/deep/out/b/c", "note exists files/out/a", "note exists files/taken/a"}, short(forecast.Findings))
}

// TestTargetNames keeps the spelling of the archive where a folder can't have a name, and where a path is none of ours.
func TestTargetNames(t *testing.T) {
	_, bucket := fakeBucket(t)
	folder, store := folderTarget(t, t.TempDir()), newTarget(t, files.TargetOptions{Place: bucket})
	for path, want := range map[string]struct{ folder, bucket string }{
		"files/a b":           {"a b", "a b"},
		"files/back%5Cslash":  {`back\slash`, `back\slash`},
		"files/%2E%2E/up":     {"%2E%2E/up", "../up"},
		"files/%2Flead":       {"%2Flead", "/lead"},
		"files/bytes%2F":      {"bytes%2F", "bytes/"},
		"files/a/%2Fb":        {"a/%2Fb", "a//b"},
		"files/nul%00":        {"nul%00", "nul\x00"},
		"files/dir/":          {"dir/", "dir/"},
		"files/%zz":           {"%zz", "%zz"}, // not as Encode writes it
		"files/":              {},
		"other/x":             {},
		"files.json":          {},
		"config/application/": {},
	} {
		i := app.Item{Object: app.Object{Path: path, Dir: strings.HasSuffix(path, "/")}, Chosen: true}
		for _, c := range []struct {
			target *files.Target
			want   string
		}{{folder, want.folder}, {store, want.bucket}} {
			name, ok := preflight(t, c.target, saved{}).Place(i)
			if name != c.want || ok != (c.want != "") {
				t.Errorf("%s: %q, %v; want %q", path, name, ok, c.want)
			}
		}
	}
	equal(t, "left out", []string{"note left-out other/x"}, short(preflight(t, folder, saved{objects: map[string]app.Object{"other/x": {Path: "other/x"}}}).Findings))
}

// fakeBucket is an empty bucket.
func fakeBucket(t *testing.T) (*s3.Client, *datasource.Bucket) {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(server.Close)
	c := client(server.URL)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	return c, datasource.NewBucket(c, "bucket", "below")
}

// TestBucketTarget compares a bucket, folder markers too.
func TestBucketTarget(t *testing.T) {
	c, bucket := fakeBucket(t)
	s := saved{objects: map[string]app.Object{}, left: map[string]bool{}}
	for path, size := range map[string]int64{"files/a": 1, "files/sub/b": 2, "files/marker/": 0, "files/gone/": 0, "files/lost": 3} {
		s.objects[path] = app.Object{Path: path, Size: size, Dir: strings.HasSuffix(path, "/")}
	}
	write := func(key string, size int) {
		t.Helper()
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("below/" + key), Body: strings.NewReader(strings.Repeat("x", size))})
		must(t, err)
	}
	write("a", 1)
	write("marker/", 0)
	target := newTarget(t, files.TargetOptions{Place: bucket})
	equal(t, "forecast", []string{"files 3 2 1 0", "directories 2 1 1 0"}, counts(preflight(t, target, s).Counts))
	write("sub/b", 2)
	write("extra", 9)
	confirmation := confirm(t, target, s)
	equal(t, "report", []string{"files 3 2 0 1", "bytes 6 3 0 3", "directories 2 1 0 1"}, counts(confirmation.Counts))
	equal(t, "findings", []string{"problem missing files/gone/", "problem missing files/lost", "note extra"}, short(confirmation.Findings))
	// A bucket that is not there is no empty one.
	missing := newTarget(t, files.TargetOptions{Place: datasource.NewBucket(c, "none", "")})
	if _, err := missing.Preflight(t.Context(), s.replay()); failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
		t.Error(err)
	}
}

// TestTargetErrors refuses what is no backup of files, and hands on what can't be read.
func TestTargetErrors(t *testing.T) {
	if _, err := files.NewTarget(files.TargetOptions{}); failure.KindOf(err) != failure.Usage {
		t.Error(err)
	}
	target := folderTarget(t, t.TempDir())
	other, away := saved{}.replay(), saved{}.replay()
	other.Kind = "zipline"
	why := errors.New("away")
	away.Items = func(context.Context) iter.Seq2[app.Item, error] {
		return func(yield func(app.Item, error) bool) { yield(app.Item{}, why) }
	}
	_, first := target.Preflight(t.Context(), other)
	_, second := target.Confirm(t.Context(), other)
	if failure.KindOf(first) != failure.Invalid || failure.KindOf(second) != failure.Invalid || failure.HintOf(first) == "" {
		t.Errorf("%v, %v", first, second)
	}
	_, first = target.Preflight(t.Context(), away)
	_, second = target.Confirm(t.Context(), away)
	if !errors.Is(first, why) || !errors.Is(second, why) {
		t.Errorf("%v, %v", first, second)
	}
	file := write(t, t.TempDir(), "file", "x")
	if _, err := folderTarget(t, file).Preflight(t.Context(), saved{}.replay()); failure.KindOf(err) != failure.Usage {
		t.Error(err)
	}
}

// TestManyFindings sums up what would be too long a list.
func TestManyFindings(t *testing.T) {
	s := saved{objects: map[string]app.Object{}, left: map[string]bool{}}
	for i := range 1500 {
		path := fmt.Sprintf("files/%d", i)
		s.objects[path] = app.Object{Path: path, Size: 1}
	}
	confirmation := confirm(t, folderTarget(t, t.TempDir()), s)
	last := confirmation.Findings[len(confirmation.Findings)-1]
	if len(confirmation.Findings) != 1001 || !strings.HasPrefix(last.Message, "500 more") || last.Severity != app.Problem {
		t.Errorf("%d findings, the last %+v", len(confirmation.Findings), last)
	}
}
