package linkding

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// record is a sink that keeps everything.
type record struct {
	documents map[string][]byte
	modified  map[string]time.Time
	secret    map[string]bool
	objects   map[string]app.Object // by path
	found     []app.Finding
}

func (r *record) Document(_ context.Context, document app.Document, body io.Reader) error {
	content, err := io.ReadAll(body)
	r.documents[document.Path], r.secret[document.Path], r.modified[document.Path] = content, document.Secret, document.Modified
	return err
}

func (r *record) Object(object app.Object) error {
	r.objects[object.Path] = object
	return nil
}

func (r *record) Found(finding app.Finding) { r.found = append(r.found, finding) }

// short returns findings as "severity kind item", sorted.
func short(found []app.Finding) []string {
	all := []string{}
	for _, f := range found {
		all = append(all, strings.TrimSpace(string(f.Severity)+" "+f.Kind+" "+f.Item))
	}
	slices.Sort(all)
	return all
}

// snapshot makes a snapshot of a data folder.
func snapshot(t *testing.T, options Options) (*record, app.Facts, error) {
	t.Helper()
	sink := &record{map[string][]byte{}, map[string]time.Time{}, map[string]bool{}, map[string]app.Object{}, nil}
	options.TempDir = t.TempDir()
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := source.Snapshot(t.Context(), backup.Scope{}, sink)
	if left, _ := os.ReadDir(options.TempDir); len(left) > 0 {
		t.Errorf("%d things are left in the temporary folder", len(left))
	}
	return sink, facts, err
}

var everything backup.Scope

// must is snapshot without an error.
func must(t *testing.T, data string) (*record, app.Facts) {
	t.Helper()
	sink, facts, err := snapshot(t, Options{Data: data})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	return sink, facts
}

// state returns what each file of a folder is: mode, time of change, and digest.
func state(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all[path] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[path] += fmt.Sprintf(" %d %x", len(content), sha256.Sum256(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged checks at the end of the test that a folder is as it was, with times in the past to compare with.
func unchanged(t *testing.T, folder string) (check func()) {
	t.Helper()
	past := time.Date(2020, 2, 3, 4, 5, 6, 7000, time.UTC)
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, past, past)
	})
	if err != nil {
		t.Fatal(err)
	}
	before := state(t, folder)
	return func() {
		t.Helper()
		after := state(t, folder)
		for path := range before {
			if before[path] != after[path] {
				t.Errorf("%s was %s\nand is %s", path, before[path], after[path])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d files have become %d", len(before), len(after))
		}
	}
}

// sqlOpen opens a database as linkding would, and closes it with the test.
func sqlOpen(t *testing.T, path, parameters string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, parameters+"&_pragma=synchronous(OFF)"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// addBookmarks are statements that add n bookmarks with one tag each, in the columns that every schema has, and keep
// their number in a user's last name: three tables that one transaction changes.
func addBookmarks(n int) []string {
	const columns = "url,title,description,unread,date_added,date_modified,owner_id,is_archived,web_archive_snapshot_url,shared,favicon_file,notes"
	return []string{
		fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < %d)
			INSERT INTO bookmarks_bookmark(%s) SELECT 'https://example.com/'||i, 'Title', hex(randomblob(200)), 0,
			'2026-11-21 20:15:03.123456', '2026-11-21 20:15:03.123456', 1, 0, '', 0, '', '' FROM c`, n, columns),
		`INSERT INTO bookmarks_bookmark_tags(bookmark_id, tag_id) SELECT id, 1 FROM bookmarks_bookmark
			WHERE id > (SELECT ifnull(max(bookmark_id), 0) FROM bookmarks_bookmark_tags)`,
		`UPDATE auth_user SET last_name = (SELECT count(*) FROM bookmarks_bookmark)`,
	}
}

// newLibrary makes a data folder with a user, a tag and 30 bookmarks, in a journal mode; nobody is connected to it.
func newLibrary(t *testing.T, schema, migration, mode string) string {
	t.Helper()
	data := t.TempDir()
	ddl, err := os.ReadFile(filepath.Join("testdata", schema))
	if err != nil {
		t.Fatal(err)
	}
	text := string(ddl)
	if schema == "schema.sql" { // what addBookmarks doesn't know
		text = strings.ReplaceAll(text, `"preview_image_file" varchar(512) NOT NULL`, `"preview_image_file" varchar(512) NOT NULL DEFAULT ''`)
		text = strings.ReplaceAll(text, `"url_normalized" varchar(2048) NOT NULL`, `"url_normalized" varchar(2048) NOT NULL DEFAULT ''`)
	}
	db := sqlOpen(t, filepath.Join(data, database), "mode=rwc")
	exec(t, db, "PRAGMA journal_mode="+mode, "PRAGMA synchronous=OFF", "BEGIN", text,
		"INSERT INTO django_migrations(app, name, applied) VALUES ('bookmarks', '0001_initial', ''), ('bookmarks', '"+migration+"', ''), ('zz', '9999_x', '')",
		"INSERT INTO auth_user(password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, first_name) VALUES ('x', 1, 'alice', '', '', 1, 1, '2026-11-21 20:15:03', '')",
		"INSERT INTO bookmarks_tag(name, date_added, owner_id) VALUES ('tag', '2026-11-21 20:15:03', 1)")
	exec(t, db, addBookmarks(30)...)
	exec(t, db, "COMMIT")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

// NewLibrary makes a data folder of the latest schema, for the tests outside of the package.
func NewLibrary(t *testing.T) string { return modern(t) }

// modern makes a data folder of the latest schema.
func modern(t *testing.T) string {
	t.Helper()
	return newLibrary(t, "schema.sql", "0054_last", "wal")
}

// count opens a copy and returns its number of bookmarks, once it has proven to be one committed state.
func count(t *testing.T, content []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), database)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if content[18] != 1 || content[19] != 1 {
		t.Errorf("the copy is in WAL mode")
	}
	var check string
	var bookmarks, tagged, noted int
	db := sqlOpen(t, path, "mode=ro")
	err := db.QueryRow(`SELECT (SELECT * FROM pragma_integrity_check), (SELECT count(*) FROM bookmarks_bookmark),
		(SELECT count(*) FROM bookmarks_bookmark_tags), (SELECT CAST(last_name AS INTEGER) FROM auth_user WHERE id = 1)`).
		Scan(&check, &bookmarks, &tagged, &noted)
	if err != nil || check != "ok" || bookmarks != tagged || bookmarks != noted {
		t.Errorf("%v: integrity %q, %d bookmarks, %d tagged, %d noted", err, check, bookmarks, tagged, noted)
	}
	return bookmarks
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// refused checks an error's kind, words of its message, and that it says what to do.
func refused(t *testing.T, err error, kind failure.Kind, words ...string) {
	t.Helper()
	if err == nil || failure.KindOf(err) != kind {
		t.Fatalf("%v: kind %v, want %v", err, failure.KindOf(err), kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q doesn't speak of %q", err, word)
		}
	}
	if failure.HintOf(err) == "" {
		t.Errorf("%q has no hint", err)
	}
}
