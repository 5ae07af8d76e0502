package cli

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"
)

// TestRealLinkding backs up the real linkding's live folder, of which 20 bookmarks are in the WAL only, restores it,
// and opens what came back; and it reads linkding's own archives.
func TestRealLinkding(t *testing.T) {
	t.Parallel()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("LIFEBOAT_FIXTURES is not set: the real linkding's folder is not here")
	}
	p := newPlace(t)
	if err := os.CopyFS(p.path("data"), os.DirFS(filepath.Join(fixtures, "linkding", "data"))); err != nil {
		t.Fatal(err)
	}
	p.write("marks.yaml", "vault: ./vault\nsources:\n  marks: {kind: linkding, data: ./data}\n")
	before := contents(t, p.path("data"))
	var made struct {
		Status             string
		Documents, Objects int
	}
	p.run("-c", "marks.yaml", "backup", "marks", "--json").exits(0).last(&made)
	if made.Status != "completed" || made.Documents != 1 || made.Objects != 47 {
		t.Errorf("%+v", made)
	}
	if diff := cmp.Diff(before, contents(t, p.path("data"))); diff != "" {
		t.Errorf("the backup changed linkding's folder: %s", diff)
	}
	p.run("-c", "marks.yaml", "verify", "latest").exits(0)
	p.run("-c", "marks.yaml", "restore", "latest", "--to", "dir:back").exits(0)
	p.library("back")

	own := filepath.Join(fixtures, "linkding", "backup.zip")
	p.run("verify", own).exits(0)
	p.run("restore", own, "--to", "dir:own").exits(0)
	p.library("own")
	p.run("verify", filepath.Join(fixtures, "linkding", "failed-run-22-bytes.zip")).complains(16, "holds nothing", "full_backup")
}

// library counts what is in a restored linkding.
func (p *place) library(folder string) {
	p.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.path(folder), "db.sqlite3"))
	if err != nil {
		p.Fatal(err)
	}
	defer db.Close()
	for table, want := range map[string]int{"bookmarks_bookmark": 200, "bookmarks_tag": 64, "auth_user": 2} {
		var got int
		if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&got); err != nil || got != want {
			p.Errorf("%s: %d rows of %s, want %d: %v", folder, got, table, want, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(p.path(folder), "assets"))
	if err != nil || len(entries) != 13 {
		p.Errorf("%s: %d assets, want 13: %v", folder, len(entries), err)
	}
}

// contents returns what every file below a folder holds.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
