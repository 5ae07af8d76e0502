package linkding

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixture returns the folder of the recorded linkding.
func fixture(t *testing.T) string {
	t.Helper()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	return filepath.Join(fixtures, "linkding")
}

var fixtureCounts = map[string]int64{"bookmarks": 200, "tags": 64, "users": 2, "assets": 15, "bundles": 3}

// fixtureFindings are the same for the folder and for the archive: two of the 25 previews have no bookmark any more.
var fixtureFindings = []string{
	"note orphan favicons/https_orphan_example_com.png",
	"note orphan previews/5ddffdefc961ab361f2667a864b0d9d7.jpg", "note orphan previews/74c51c7ce8934258db1593e02776c6e2.webp",
	"note unfinished",
}

// TestFixture makes a snapshot of the recorded data folder: 20 of its bookmarks lie only in the -wal file.
func TestFixture(t *testing.T) {
	data := t.TempDir()
	if err := os.CopyFS(data, os.DirFS(filepath.Join(fixture(t), "data"))); err != nil {
		t.Fatal(err)
	}
	check := unchanged(t, data)
	sink, facts := must(t, data)
	check()
	if diff := cmp.Diff(fixtureCounts, facts.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	want := append([]string{"note left-out secretkey.txt, tasks.sqlite3"}, fixtureFindings...)
	if diff := cmp.Diff(want, short(sink.found)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if len(sink.objects) != 47 || facts.Versions["schema"] != "bookmarks.0054_bookmarkbundle_filter_shared_and_more" {
		t.Errorf("%d objects, facts %+v", len(sink.objects), facts)
	}

	// What others make of the archive: one file, all of the bookmarks.
	path := filepath.Join(t.TempDir(), database)
	writeFile(t, path, sink.documents[database])
	var bookmarks int
	err := sqlOpen(t, path, "mode=ro&immutable=1").QueryRow("SELECT count(*) FROM bookmarks_bookmark").Scan(&bookmarks)
	if err != nil || bookmarks != 200 {
		t.Errorf("%d bookmarks, %v", bookmarks, err)
	}

	// The same data without -shm, and as linkding's own full_backup has it.
	if err := os.Remove(filepath.Join(data, database+"-shm")); err != nil {
		t.Fatal(err)
	}
	_, again := must(t, data)
	if full, _ := fixtureBackup(t); again.Digest != facts.Digest || full.Facts.Digest != facts.Digest {
		t.Errorf("digest %s, %s without -shm, %s in backup.zip", facts.Digest, again.Digest, full.Facts.Digest)
	}
}

// fixtureBackup returns the recorded archive of linkding's full_backup, checked, and its files.
func fixtureBackup(t *testing.T) (*FullBackup, map[string][]byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(fixture(t), "backup.zip"))
	if err != nil {
		t.Fatal(err)
	}
	full, err := OpenFullBackup(t.Context(), bytes.NewReader(content), int64(len(content)), FullBackupOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range unpacked.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if files[f.Name], err = fs.ReadFile(unpacked, f.Name); err != nil {
			t.Fatal(err)
		}
	}
	return full, files
}

// TestFixtureFullBackup checks the recorded archive of linkding's full_backup.
func TestFixtureFullBackup(t *testing.T) {
	full, files := fixtureBackup(t)
	if diff := cmp.Diff(fixtureCounts, full.Facts.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(fixtureFindings, short(full.Findings)); diff != "" || len(files) != 48 {
		t.Errorf("%d entries, findings (-want +got):\n%s", len(files), diff)
	}
	root := t.TempDir()
	for path, content := range files {
		writeFile(t, filepath.Join(root, path), content)
	}
	// Unpacked, it is a data folder like any other.
	sink, facts := must(t, root)
	if facts.Digest != full.Facts.Digest || len(sink.objects) != 47 {
		t.Errorf("%d objects", len(sink.objects))
	}
	for path := range sink.objects {
		live, err := os.ReadFile(filepath.Join(fixture(t), "data", path))
		restored, restoredErr := os.ReadFile(filepath.Join(root, path))
		if err != nil || restoredErr != nil || string(live) != string(restored) {
			t.Errorf("%s differs", path)
		}
	}
}
