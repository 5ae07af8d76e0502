package linkding

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// memory are notes that a test keeps.
type memory map[string][]byte

func (m memory) Get(_ context.Context, name string, value any) (bool, error) {
	text, ok := m[name]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(text, value)
}

func (m memory) Put(_ context.Context, name string, value any) error {
	text, err := json.Marshal(value)
	m[name] = text
	return err
}

// saved is a backup of a linkding, as a restore has it.
type saved struct {
	contents map[string][]byte
	left     map[string]bool // paths that are not chosen
	facts    app.Facts
	notes    memory
}

// save backs a data folder up.
func save(t *testing.T, data string) *saved {
	t.Helper()
	sink, facts := must(t, data)
	s := &saved{contents: map[string][]byte{}, left: map[string]bool{}, facts: facts, notes: memory{}}
	maps.Copy(s.contents, sink.documents)
	for path := range sink.objects {
		content, err := os.ReadFile(filepath.Join(data, path))
		if err != nil {
			t.Fatal(err)
		}
		s.contents[path] = content
	}
	return s
}

// library is a backup of a small library: an asset with its row, one whose file is missing, an icon and an orphan.
func smallLibrary(t *testing.T) *saved {
	t.Helper()
	data := modern(t)
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw")
	const row = "INSERT INTO bookmarks_bookmarkasset(date_created, file, file_size, asset_type, content_type, display_name, status, gzip, bookmark_id) VALUES ('', '%s', %d, 'upload', '', '', '%s', 0, 1)"
	exec(t, db, fmt.Sprintf(row, "a.txt", 5, "complete"), fmt.Sprintf(row, "gone.txt", 7, "complete"), fmt.Sprintf(row, "", 0, "pending"),
		"UPDATE bookmarks_bookmark SET favicon_file = 'icon.png' WHERE id = 1", "UPDATE bookmarks_bookmark SET favicon_file = 'lost.png' WHERE id = 2")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(data, "assets/a.txt"), []byte("asset"))
	writeFile(t, filepath.Join(data, "favicons/icon.png"), []byte("icon"))
	writeFile(t, filepath.Join(data, "previews/orphan.jpg"), []byte("orphan"))
	return save(t, data)
}

// replay is the restore of the backup.
func (s *saved) replay() *app.Replay {
	return &app.Replay{
		ID: "r", Kind: "linkding", Facts: s.facts, Notes: s.notes, Wishes: app.Wishes{Documents: !s.left[database], Objects: true},
		Working: func(int64, int64) {},
		Open: func(_ context.Context, path string) (io.ReadCloser, error) {
			content, ok := s.contents[path]
			if !ok {
				return nil, failure.New(failure.NotFound, "no %s", path)
			}
			return io.NopCloser(bytes.NewReader(content)), nil
		},
		Items: func(context.Context) iter.Seq2[app.Item, error] { return s.items },
	}
}

func (s *saved) items(yield func(app.Item, error) bool) {
	for _, path := range slices.Sorted(maps.Keys(s.contents)) {
		document := !strings.Contains(path, "/")
		i := app.Item{
			Object: app.Object{Path: path, Size: int64(len(s.contents[path]))}, CRC32: crc32.ChecksumIEEE(s.contents[path]),
			Document: document, Chosen: !s.left[path],
		}
		if !document {
			i.Key = path
		}
		if !yield(i, nil) {
			return
		}
	}
}

// put writes what the forecast places, and never over anything.
func (s *saved) put(t *testing.T, data string, f app.Forecast) {
	t.Helper()
	for i := range s.items {
		name, put := f.Place(i)
		if !put || exists(filepath.Join(data, name)) {
			continue
		}
		writeFile(t, filepath.Join(data, name), s.contents[i.Path])
	}
}

func newTarget(t *testing.T, data string) *Target {
	t.Helper()
	target, err := NewTarget(TargetOptions{Data: data, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(target.options.TempDir); len(left) > 0 {
			t.Errorf("%d things are left in the temporary folder", len(left))
		}
	})
	return target
}

// restored is a whole restore.
func (s *saved) restore(t *testing.T, data string) (app.Forecast, app.Confirmation) {
	t.Helper()
	target, r := newTarget(t, data), s.replay()
	forecast, err := target.Preflight(t.Context(), r)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	s.put(t, data, forecast)
	if progress, err := target.Replay(t.Context(), r); err != nil || !progress.Done {
		t.Fatalf("replay: %+v, %v", progress, err)
	}
	return forecast, s.confirm(t, target)
}

func (s *saved) confirm(t *testing.T, target *Target) app.Confirmation {
	t.Helper()
	check := unchanged(t, target.options.Data)
	confirmation, err := target.Confirm(t.Context(), s.replay())
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	check()
	return confirmation
}

// counts returns counts as "what backup create exists skip".
func counts(all []app.Count) []string {
	lines := []string{}
	for _, c := range all {
		lines = append(lines, fmt.Sprintf("%s %d %d %d %d", c.What, c.Backup, c.Create, c.Exists, c.Skip))
	}
	return lines
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var asserted = []string{
	"the restored database is the backup's, byte for byte",
	"every reference between its rows holds: foreign_key_check finds nothing",
	"the restored database is whole: integrity_check finds nothing",
	"there are as many bookmarks, tags, users, assets and bundles as in the backup",
	"the rows of all tables are those of the backup: their digests are equal",
	"1 of 2 files of assets are there with the size that the database says",
	"3 of 3 files are there with the backup's sizes",
}

// TestTarget restores into a folder that does not exist, twice.
func TestTarget(t *testing.T) {
	s := smallLibrary(t)
	data := filepath.Join(t.TempDir(), "new", "data")
	first, confirmation := s.restore(t, data)
	same(t, "forecast", []string{"bookmarks 30 30 0 0", "tags 1 1 0 0", "users 1 1 0 0", "assets 3 3 0 0", "bundles 0 0 0 0", "files 3 3 0 0"}, counts(first.Counts))
	same(t, "notes", []string{"note owner", "note schema", "note sign-in secretkey.txt"}, short(first.Findings))
	if first.Application != "linkding" || first.Version != "bookmarks.0054_last" {
		t.Errorf("%+v", first)
	}
	same(t, "findings", []string{"note missing assets/gone.txt", "note missing-favicon favicons/lost.png"}, short(confirmation.Findings))
	same(t, "report", []string{"bookmarks 30 30 0 0", "tags 1 1 0 0", "users 1 1 0 0", "assets 3 3 0 0", "bundles 0 0 0 0", "files 3 3 0 0"}, counts(confirmation.Counts))
	same(t, "asserted", asserted, confirmation.Asserted)
	// Again: all is there. What an interrupted restore, the file system and linkding's key leave is in nobody's way.
	for _, name := range []string{".lifeboat-made", "assets/.lifeboat-part-00", "secretkey.txt"} {
		writeFile(t, filepath.Join(data, name), []byte("x"))
	}
	second, confirmation := s.restore(t, data)
	same(t, "second forecast", []string{"bookmarks 30 0 30 0", "tags 1 0 1 0", "users 1 0 1 0", "assets 3 0 3 0", "bundles 0 0 0 0", "files 3 0 3 0"}, counts(second.Counts))
	same(t, "asserted again", asserted, confirmation.Asserted)
}

// TestTargetFixture restores the recorded archive of linkding's full_backup, whose database is in WAL mode.
func TestTargetFixture(t *testing.T) {
	full, files := fixtureBackup(t)
	s := &saved{contents: files, left: map[string]bool{}, facts: full.Facts, notes: memory{}}
	data := filepath.Join(t.TempDir(), "data")
	forecast, confirmation := s.restore(t, data)
	want := []string{"bookmarks 200 200 0 0", "tags 64 64 0 0", "users 2 2 0 0", "assets 15 15 0 0", "bundles 3 3 0 0", "files 47 47 0 0"}
	same(t, "forecast", want, counts(forecast.Counts))
	same(t, "report", want, counts(confirmation.Counts))
	same(t, "findings", []string{}, short(confirmation.Findings))
	same(t, "asserted", []string{
		"the restored database is the backup's, byte for byte",
		"every reference between its rows holds: foreign_key_check finds nothing",
		"the restored database is whole: integrity_check finds nothing",
		"there are as many bookmarks, tags, users, assets and bundles as in the backup",
		"the rows of all tables are those of the backup: their digests are equal",
		"13 of 13 files of assets are there with the size that the database says",
		"47 of 47 files are there with the backup's sizes",
	}, confirmation.Asserted)
}

// TestTargetRefuses leaves alone what is not this restore's.
func TestTargetRefuses(t *testing.T) {
	s := smallLibrary(t)
	put := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, data string) { writeFile(t, filepath.Join(data, name), []byte(content)) }
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, data string)
		kind    failure.Kind
		word    string
	}{
		"some file":         {put("notes.txt", "x"), failure.Conflict, "notes.txt"},
		"pending jobs":      {put("tasks.sqlite3", "x"), failure.Conflict, "tasks.sqlite3"},
		"another asset":     {put("assets/b.txt", "x"), failure.Conflict, "assets/b.txt"},
		"an asset's name":   {put("assets/a.txt", "another size"), failure.Conflict, "assets/a.txt"},
		"a running one":     {put("db.sqlite3-wal", "x"), failure.Conflict, "runs"},
		"another database":  {put(database, "x"), failure.Conflict, database},
		"an equal size":     {put(database, strings.Repeat("x", len(s.contents[database]))), failure.Conflict, "another"},
		"a link in assets":  {func(t *testing.T, data string) { put("assets/x/y", "")(t, data); link(t, data, "assets/x/z") }, failure.Conflict, "assets/x/z"},
		"a linked database": {func(t *testing.T, data string) { link(t, data, database) }, failure.Conflict, database},
		"assets is a file":  {put("assets", "x"), failure.Conflict, "assets"},
		"no folder": {func(t *testing.T, data string) {
			if err := os.WriteFile(data, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, failure.Usage, "not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			c.prepare(t, data)
			before := state(t, filepath.Dir(data))
			_, err := newTarget(t, data).Preflight(t.Context(), s.replay())
			refused(t, err, c.kind, c.word)
			if diff := cmp.Diff(before, state(t, filepath.Dir(data))); diff != "" {
				t.Errorf("the preflight has written (-before +after):\n%s", diff)
			}
		})
	}
}

func link(t *testing.T, data, name string) {
	t.Helper()
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(data, name)); err != nil {
		t.Fatal(err)
	}
}

// TestTargetLocked refuses a folder whose database another program writes at this moment.
func TestTargetLocked(t *testing.T) {
	data := newLibrary(t, "schema.sql", "0054_last", "delete")
	s := save(t, data)
	content, err := os.ReadFile(filepath.Join(data, database))
	if err != nil {
		t.Fatal(err)
	}
	s.contents[database] = content // so that nothing but the lock speaks against it
	if _, err := newTarget(t, data).Preflight(t.Context(), s.replay()); err != nil {
		t.Fatal(err)
	}
	start(t, data, "exclusive")
	_, err = newTarget(t, data).Preflight(t.Context(), s.replay())
	refused(t, err, failure.Conflict, "runs", "db.sqlite3-journal")
	if err := os.Remove(filepath.Join(data, database+"-journal")); err != nil { // the lock alone, as with a journal in memory
		t.Fatal(err)
	}
	_, err = newTarget(t, data).Preflight(t.Context(), s.replay())
	refused(t, err, failure.Conflict, "at this moment")
}

// TestTargetBackups refuses backups that no linkding could start with.
func TestTargetBackups(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *saved, r *app.Replay)
		kind   failure.Kind
		word   string
	}{
		"another kind":       {func(_ *saved, r *app.Replay) { r.Kind = "zipline" }, failure.Invalid, "kind zipline"},
		"of no kind":         {func(_ *saved, r *app.Replay) { r.Kind = "" }, failure.Invalid, "unknown"},
		"one folder":         {func(_ *saved, r *app.Replay) { r.Folder = "f" }, failure.Invalid, "folder"},
		"no database":        {func(s *saved, _ *app.Replay) { delete(s.contents, database) }, failure.Invalid, "has no db.sqlite3"},
		"an empty database":  {func(s *saved, _ *app.Replay) { s.contents[database] = nil }, failure.Corrupt, "empty"},
		"no SQLite":          {func(s *saved, _ *app.Replay) { s.contents[database] = make([]byte, 5000) }, failure.Corrupt, "no SQLite"},
		"a damaged database": {func(s *saved, _ *app.Replay) { clear(s.contents[database][5000:9000]) }, failure.Corrupt, "damaged"},
		"unreadable": {func(_ *saved, r *app.Replay) {
			r.Open = func(context.Context, string) (io.ReadCloser, error) {
				return nil, failure.New(failure.Transient, "away").WithHint("later")
			}
		}, failure.Transient, "away"},
		"no list": {func(_ *saved, r *app.Replay) {
			r.Items = func(context.Context) iter.Seq2[app.Item, error] {
				return func(yield func(app.Item, error) bool) {
					yield(app.Item{}, failure.New(failure.Transient, "away").WithHint("later"))
				}
			}
		}, failure.Transient, "away"},
	} {
		t.Run(name, func(t *testing.T) {
			s := smallLibrary(t)
			r := s.replay()
			c.change(s, r)
			_, err := newTarget(t, t.TempDir()).Preflight(t.Context(), r)
			refused(t, err, c.kind, c.word)
		})
	}
}

// TestTargetSpace refuses what does not fit, and counts what is there already.
func TestTargetSpace(t *testing.T) {
	s := smallLibrary(t)
	data := t.TempDir()
	target := newTarget(t, data)
	needed := int64(0)
	for _, content := range s.contents {
		needed += int64(len(content))
	}
	free := needed - 1
	target.options.Free = func(string) (int64, bool) { return free, true }
	_, err := target.Preflight(t.Context(), s.replay())
	refused(t, err, failure.Exhausted, fmt.Sprint(needed), fmt.Sprint(free))
	writeFile(t, filepath.Join(data, "assets/a.txt"), []byte("asset"))
	if _, err := target.Preflight(t.Context(), s.replay()); err != nil {
		t.Error(err)
	}
	target.options.Free = func(folder string) (int64, bool) { return 100, folder != data }
	_, err = target.Preflight(t.Context(), s.replay())
	refused(t, err, failure.Exhausted, "copy of the backup's database")
	target.options.MaxDatabase = 10
	_, err = target.Preflight(t.Context(), s.replay())
	if failure.KindOf(err) != failure.Exhausted || !strings.Contains(err.Error(), "limit of 10") {
		t.Error(err)
	}
}

// TestPlace keeps everything out of the data folder that does not belong there.
func TestPlace(t *testing.T) {
	s := smallLibrary(t)
	for _, path := range []string{"secretkey.txt", "tasks.sqlite3", "other/x", "assets/../../x", "previews/a\x01b", "config/a"} {
		s.contents[path] = []byte("x")
	}
	s.left["favicons/icon.png"] = true
	data := t.TempDir()
	forecast, _ := s.restore(t, data)
	same(t, "left out", []string{
		"note left-out assets/../../x", "note left-out config/a", "note left-out other/x", "note left-out previews/a\x01b", "note left-out secretkey.txt",
		"note left-out tasks.sqlite3", "note owner", "note schema", "note sign-in secretkey.txt",
	}, short(forecast.Findings))
	var there []string
	for path := range state(t, data) {
		if name, _ := filepath.Rel(data, path); filepath.Ext(name) != "" && name != "." {
			there = append(there, filepath.ToSlash(name))
		}
	}
	slices.Sort(there)
	same(t, "there", []string{"assets/a.txt", "db.sqlite3", "previews/orphan.jpg"}, there)
}

// TestObjectsOnly adds files to the folder of a linkding that is in use, and asks for no database.
func TestObjectsOnly(t *testing.T) {
	s := smallLibrary(t)
	s.left[database] = true
	data := modern(t)
	writeFile(t, filepath.Join(data, "notes.txt"), []byte("x"))
	writeFile(t, filepath.Join(data, "favicons/icon.png"), []byte("another"))
	writeFile(t, filepath.Join(data, "favicons/own.png"), []byte("own"))
	forecast, confirmation := s.restore(t, data)
	same(t, "forecast", []string{"files 3 2 0 1"}, counts(forecast.Counts))
	same(t, "notes", []string{"note exists favicons/icon.png"}, short(forecast.Findings))
	same(t, "findings", []string{"note extra", "problem size favicons/icon.png"}, short(confirmation.Findings))
	same(t, "asserted", []string{"2 of 3 files are there with the backup's sizes"}, confirmation.Asserted)
}

// TestConfirm finds what became of a restored folder.
func TestConfirm(t *testing.T) {
	change := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			db := sqlOpen(t, filepath.Join(data, database), "mode=rw&_pragma=foreign_keys(OFF)")
			exec(t, db, statements...)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	standing := []string{"note missing assets/gone.txt", "note missing-favicon favicons/lost.png"}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		want   []string
		lacks  string // an assertion that must not be made
	}{
		"a lost asset":    {remove("assets/a.txt"), append([]string{"problem missing assets/a.txt"}, standing...), "3 of 3 files"},
		"a lost icon":     {remove("favicons"), append([]string{"problem missing favicons/icon.png"}, standing...), "3 of 3 files"},
		"no database":     {remove(database), []string{"problem missing db.sqlite3"}, "whole"},
		"a cut off asset": {func(t *testing.T, data string) { writeFile(t, filepath.Join(data, "assets/a.txt"), []byte("ass")) }, append([]string{"problem size assets/a.txt"}, standing...), "3 of 3 files"},
		"a lost bookmark": {
			change("DELETE FROM bookmarks_bookmark_tags WHERE bookmark_id = 3", "DELETE FROM bookmarks_bookmark WHERE id = 3"),
			append([]string{"problem differs bookmarks", "problem differs db.sqlite3"}, standing...), "as many",
		},
		"a broken reference": {
			change("DELETE FROM bookmarks_tag"),
			append([]string{
				"problem differs db.sqlite3", "problem differs tags", "problem reference bookmarks_bookmark_tags → bookmarks_tag (30)",
			}, standing...), "every reference",
		},
		"a lost table": {
			change("DELETE FROM bookmarks_bookmark_tags", "DROP TABLE bookmarks_tag"),
			append([]string{"problem differs db.sqlite3", "problem differs tags", "problem missing-table bookmarks_tag"}, standing...), "as many",
		},
		"no SQLite":   {func(t *testing.T, data string) { writeFile(t, filepath.Join(data, database), []byte("x")) }, []string{"problem damaged db.sqlite3", "problem differs db.sqlite3"}, "whole"},
		"other files": {func(t *testing.T, data string) { writeFile(t, filepath.Join(data, "assets/new"), nil) }, append([]string{"note extra"}, standing...), "nothing of the sort"},
		"started since": {
			func(t *testing.T, data string) {
				writeFile(t, filepath.Join(data, "tasks.sqlite3"), nil)
				change("INSERT INTO bookmarks_tag(name, date_added, owner_id) VALUES ('new', '', 1)")(t, data)
			},
			append([]string{"note started db.sqlite3", "note started tags"}, standing...), "byte for byte",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := smallLibrary(t)
			data := t.TempDir()
			s.restore(t, data)
			c.change(t, data)
			confirmation := s.confirm(t, newTarget(t, data))
			want := slices.Clone(c.want)
			slices.Sort(want)
			same(t, "findings", want, short(confirmation.Findings))
			for _, sentence := range confirmation.Asserted {
				if strings.Contains(sentence, c.lacks) {
					t.Errorf("it asserts %q", sentence)
				}
			}
		})
	}
}

// TestConfirmUnreadable gives up where the backup's list can't be read.
func TestConfirmUnreadable(t *testing.T) {
	s := smallLibrary(t)
	data := t.TempDir()
	s.restore(t, data)
	r := s.replay()
	why := errors.New("away")
	r.Items = func(context.Context) iter.Seq2[app.Item, error] {
		return func(yield func(app.Item, error) bool) { yield(app.Item{}, why) }
	}
	if _, err := newTarget(t, data).Confirm(t.Context(), r); !errors.Is(err, why) {
		t.Error(err)
	}
	r.Kind = "files"
	_, err := newTarget(t, data).Confirm(t.Context(), r)
	refused(t, err, failure.Invalid, "files")
	if _, err := NewTarget(TargetOptions{}); failure.KindOf(err) != failure.Usage {
		t.Error(err)
	}
}
