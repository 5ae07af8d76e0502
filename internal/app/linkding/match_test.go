package linkding

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// assetRow is a statement that adds a row; size is SQL.
func assetRow(file, status, size string, zipped int) string {
	return fmt.Sprintf(`INSERT INTO bookmarks_bookmarkasset(date_created, file, file_size, asset_type, content_type, display_name, status, gzip, bookmark_id)
		VALUES ('', '%s', %s, 'snapshot', 'text/html', '', '%s', %d, 1)`, file, size, status, zipped)
}

// oddities makes a data folder with everything that the matching speaks of.
func oddities(t *testing.T) string {
	t.Helper()
	data := modern(t)
	whole := gzipped(t, strings.Repeat("page ", 1000))
	size := fmt.Sprint(len(whole))
	garbled := bytes.Clone(whole)
	garbled[len(garbled)-6] ^= 1
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw")
	exec(t, db,
		assetRow("good.html.gz", "complete", size, 1),
		assetRow("unknown-size.gz", "complete", "NULL", 1),
		assetRow("twice.gz", "complete", "1", 1), assetRow("twice.gz", "complete", size, 1),
		assetRow("plain.tar.gz", "complete", "3", 0),
		assetRow("gone.html.gz", "complete", "7", 1),
		assetRow("short.gz", "complete", size, 1),
		assetRow("cut.gz", "complete", "20", 1),
		assetRow("garbled.gz", "complete", size, 1),
		assetRow("no.gz", "complete", "2", 1),
		assetRow("large.gz", "complete", "NULL", 1),
		assetRow("", "pending", "NULL", 0), assetRow("", "failure", "NULL", 0),
		`UPDATE bookmarks_bookmark SET favicon_file = 'https_例え_テスト.png', preview_image_file = 'a.jpg' WHERE id < 5`,
		`UPDATE bookmarks_bookmark SET favicon_file = 'gone.png', preview_image_file = 'gone.jpg' WHERE id > 25`)
	db.Close()
	for name, content := range map[string][]byte{
		"assets/good.html.gz": whole, "assets/unknown-size.gz": whole, "assets/twice.gz": whole, "assets/plain.tar.gz": []byte("tar"),
		"assets/short.gz": whole[:20], "assets/cut.gz": whole[:20], "assets/garbled.gz": garbled, "assets/no.gz": []byte("no"),
		"assets/large.gz": gzipped(t, strings.Repeat("x", 20000)), "assets/sub/deep.gz": whole, "assets/orphan": nil, "assets/a\\b": nil,
		"favicons/https_例え_テスト.png": []byte("png"), "favicons/orphan.png": nil, "previews/a.jpg": []byte("jpg"),
		"secretkey.txt": nil, "tasks.sqlite3": nil, "tasks.sqlite3-wal": nil, "notes\n.txt": nil,
	} {
		writeFile(t, filepath.Join(data, name), content)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(data, "assets/orphan"), past, past); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"assets/sub/deep.gz", "favicons/orphan.png"} {
		future := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(data, name), future, future); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("good.html.gz", filepath.Join(data, "assets/link.gz")); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMatch(t *testing.T) {
	data := oddities(t)
	sink, facts, err := snapshot(t, Options{Data: data, MaxInflated: 10000})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"note left-out notes\n.txt", "note left-out secretkey.txt, tasks.sqlite3",
		"note missing-favicon favicons/gone.png", "note missing-preview previews/gone.jpg",
		"note newer assets/sub/deep.gz", "note newer favicons/orphan.png", "note orphan assets/orphan",
		"note unchecked assets/large.gz", "note unfinished",
		"problem bad-name assets/a\\b", "problem broken-gzip assets/cut.gz", "problem broken-gzip assets/garbled.gz",
		"problem broken-gzip assets/no.gz", "problem missing assets/gone.html.gz", "problem size assets/short.gz",
		"problem unreadable assets/link.gz",
	}
	if diff := cmp.Diff(want, short(sink.found)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	counts := map[string]int64{"bookmarks": 30, "tags": 1, "users": 1, "assets": 13, "bundles": 0}
	if diff := cmp.Diff(counts, facts.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if facts.Application != "linkding" || facts.Version != "" || facts.Versions["schema"] != "bookmarks.0054_last" || !facts.Secrets {
		t.Errorf("facts: %+v", facts)
	}
	types := map[string]int{}
	for path, object := range sink.objects {
		types[object.Type]++
		if path != object.Key || object.Identity == "" {
			t.Errorf("object %+v", object)
		}
	}
	if diff := cmp.Diff(map[string]int{"asset": 11, "favicon": 2, "preview": 1}, types); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

// TestInclude leaves folders out, and says so where it loses something.
func TestInclude(t *testing.T) {
	data := oddities(t)
	sink, _, err := snapshot(t, Options{Data: data, Include: []string{"previews"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"note excluded assets/", "note left-out notes\n.txt", "note left-out secretkey.txt, tasks.sqlite3",
		"note missing-preview previews/gone.jpg", "note unfinished",
	}
	if diff := cmp.Diff(want, short(sink.found)); diff != "" || len(sink.objects) != 1 {
		t.Errorf("%d objects, findings (-want +got):\n%s", len(sink.objects), diff)
	}
	if sink, _, _ = snapshot(t, Options{Data: data, Include: []string{}}); len(sink.objects) != 0 {
		t.Errorf("%d objects", len(sink.objects))
	}
}

// TestSuspicious is about a library without bookmarks, and one without the folder of its assets.
func TestSuspicious(t *testing.T) {
	data := modern(t)
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw")
	exec(t, db, assetRow("a.gz", "complete", "1", 1), "DELETE FROM bookmarks_bookmark")
	db.Close()
	sink, _ := must(t, data)
	want := []string{
		"problem missing assets/a.gz", "problem reference bookmarks_bookmark_tags → bookmarks_bookmark (30)",
		"problem reference bookmarks_bookmarkasset → bookmarks_bookmark (1)", "problem suspicious", "problem suspicious assets/",
	}
	if diff := cmp.Diff(want, short(sink.found)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestOldSchemas reads a v1.28 database, and one from before there were assets.
func TestOldSchemas(t *testing.T) {
	data := newLibrary(t, "schema-v1.28.sql", "0032_html_snapshots_hint_toast", "delete")
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw")
	exec(t, db, assetRow("a.html.gz", "complete", "2", 0), "INSERT INTO authtoken_token VALUES ('k', '', 1)")
	writeFile(t, filepath.Join(data, "assets/a.html.gz"), []byte("hi"))
	sink, facts := must(t, data)
	want := map[string]int64{"bookmarks": 30, "tags": 1, "users": 1, "assets": 1}
	if diff := cmp.Diff(want, facts.Counts); diff != "" || len(sink.found) > 0 || len(sink.objects) != 1 {
		t.Errorf("%d objects, findings %q, counts:\n%s", len(sink.objects), short(sink.found), diff)
	}
	if facts.Versions["schema"] != "bookmarks.0032_html_snapshots_hint_toast" || count(t, sink.documents[database]) != 30 {
		t.Errorf("facts %+v", facts)
	}
	exec(t, db, "DROP TABLE bookmarks_bookmarkasset")
	sink, facts = must(t, data)
	if diff := cmp.Diff([]string{"note orphan assets/a.html.gz"}, short(sink.found)); diff != "" || facts.Counts["bookmarks"] != 30 {
		t.Errorf("findings:\n%s", diff)
	}
}

// TestDigest does not depend on pages, but on every value.
func TestDigest(t *testing.T) {
	data := modern(t)
	_, before := must(t, data)
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw")
	exec(t, db, "PRAGMA journal_mode=DELETE", "PRAGMA page_size=8192", "VACUUM", "DROP INDEX bookmarks_bookmark_owner_id_051b24cc")
	if _, after := must(t, data); after.Digest != before.Digest || len(before.Digest) != 64 {
		t.Errorf("digest %s, was %s", after.Digest, before.Digest)
	}
	for _, change := range []string{
		"UPDATE bookmarks_bookmark SET unread = 1 WHERE id = 3", "UPDATE bookmarks_bookmark SET unread = NULL||'1' OR 'x' WHERE id = -1",
		"UPDATE bookmarks_tag SET name = CAST(name AS BLOB)", "DELETE FROM bookmarks_bookmark_tags WHERE id = 30",
	} {
		exec(t, db, change)
		_, after := must(t, data)
		if same := after.Digest == before.Digest; same != strings.HasSuffix(change, "-1") {
			t.Errorf("%s: same digest: %v", change, same)
		}
		before = after
	}
}

// TestOpen reads what was listed, and nothing else.
func TestOpen(t *testing.T) {
	data := modern(t)
	writeFile(t, filepath.Join(data, "assets/sub/a"), []byte("bytes"))
	sink, _ := must(t, data)
	object := sink.objects["assets/sub/a"]
	source, err := New(Options{Data: data, Include: []string{"assets"}})
	if err != nil {
		t.Fatal(err)
	}
	file, err := source.Open(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	now, nowErr := file.Now()
	if string(content) != "bytes" || err != nil || nowErr != nil || now.Identity != object.Identity || now.Key != object.Key {
		t.Errorf("%q, %v, %v, %+v", content, err, nowErr, now)
	}
	for _, key := range []string{"assets/gone", "favicons/a", database, "assets/../db.sqlite3", "../assets/sub/a", ""} {
		if _, err := source.Open(t.Context(), app.Object{Key: key}); failure.KindOf(err) != failure.NotFound && failure.KindOf(err) != failure.Invalid {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestProbe says what the database holds, or why there would be no snapshot.
func TestProbe(t *testing.T) {
	source, err := New(Options{Data: modern(t), TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if said, err := source.Probe(t.Context()); err != nil || !strings.Contains(said, "30 bookmarks, 1 users") {
		t.Errorf("%q, %v", said, err)
	}
	if source, err = New(Options{Data: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	_, err = source.Probe(t.Context())
	refused(t, err, failure.Invalid, "no db.sqlite3")
}
