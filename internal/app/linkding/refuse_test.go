package linkding

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/failure"
)

// TestRefused is about data folders without a good database: never green, always with a hint.
func TestRefused(t *testing.T) {
	sqlite := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			db := sqlOpen(t, filepath.Join(data, database), "mode=rwc")
			exec(t, db, statements...)
			db.Close()
		}
	}
	put := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, data string) { writeFile(t, filepath.Join(data, name), []byte(content)) }
	}
	const migrations = `CREATE TABLE django_migrations(id INTEGER PRIMARY KEY, app TEXT, name TEXT)`
	for _, test := range []struct {
		name    string
		kind    failure.Kind
		words   []string
		prepare []func(*testing.T, string)
	}{
		{"nothing", failure.Invalid, []string{"no db.sqlite3", "nothing else"}, nil},
		{"the folder above", failure.Invalid, []string{"no db.sqlite3"}, []func(*testing.T, string){put("data/db.sqlite3", "x")}},
		{"PostgreSQL", failure.Invalid, []string{"no db.sqlite3", "PostgreSQL"}, []func(*testing.T, string){put("secretkey.txt", "x"), put("assets/a", "x")}},
		{"0 bytes", failure.Invalid, []string{"empty"}, []func(*testing.T, string){put(database, "")}},
		{"0 bytes with a wal", failure.Invalid, []string{"empty"}, []func(*testing.T, string){put(database, ""), put(database+"-wal", "x")}},
		{"no tables", failure.Invalid, []string{"empty"}, []func(*testing.T, string){sqlite("PRAGMA user_version=1")}},
		{"PostgreSQL and full_backup", failure.Invalid, []string{"empty", "PostgreSQL"}, []func(*testing.T, string){put("secretkey.txt", "x"), sqlite("PRAGMA user_version=1")}},
		{"no database", failure.Invalid, []string{"no SQLite database"}, []func(*testing.T, string){put(database, strings.Repeat("bookmarks", 1000))}},
		{"short", failure.Invalid, []string{"no SQLite database"}, []func(*testing.T, string){put(database, "SQLite")}},
		{"encrypted", failure.Invalid, []string{"no SQLite database"}, []func(*testing.T, string){put(database, "SQLite format 3\x00"+strings.Repeat("\xa5", 4080))}},
		{"a folder", failure.Invalid, []string{"no regular file"}, []func(*testing.T, string){put("db.sqlite3/x", "")}},
		{"another application", failure.Invalid, []string{"not linkding's"}, []func(*testing.T, string){sqlite(`CREATE TABLE notes(id INTEGER)`)}},
		{"another Django", failure.Invalid, []string{"not linkding's"}, []func(*testing.T, string){sqlite(migrations, `INSERT INTO django_migrations VALUES (1, 'blog', '0001')`)}},
		{"no migrations", failure.Invalid, []string{"not linkding's"}, []func(*testing.T, string){sqlite(migrations, `CREATE TABLE bookmarks_bookmark(id INTEGER, url TEXT)`)}},
		{"a view", failure.Invalid, []string{"not linkding's"}, []func(*testing.T, string){sqlite(migrations, `INSERT INTO django_migrations VALUES (1, 'bookmarks', '0001')`, `CREATE VIEW bookmarks_bookmark AS SELECT 1 AS url`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := t.TempDir()
			for _, prepare := range test.prepare {
				prepare(t, data)
			}
			check := unchanged(t, data)
			sink, _, err := snapshot(t, Options{Data: data})
			refused(t, err, test.kind, test.words...)
			if len(sink.documents)+len(sink.objects) > 0 {
				t.Error("something was stored all the same")
			}
			check()
		})
	}
	above := t.TempDir()
	put("data/db.sqlite3", "x")(t, above)
	if _, _, err := snapshot(t, Options{Data: above}); !strings.Contains(failure.HintOf(err), filepath.Join(above, "data")) {
		t.Errorf("hint %q", failure.HintOf(err))
	}
}

func TestNoFolder(t *testing.T) {
	_, _, err := snapshot(t, Options{Data: filepath.Join(t.TempDir(), "gone")})
	refused(t, err, failure.NotFound, "does not exist")
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	_, _, err = snapshot(t, Options{Data: file})
	refused(t, err, failure.Usage, "not a folder")
}

func TestOptions(t *testing.T) {
	_, err := New(Options{})
	refused(t, err, failure.Usage, "data folder")
	_, err = New(Options{Data: "x", Include: []string{"assets", "tasks"}})
	refused(t, err, failure.Usage, `"tasks"`)
}

// TestDamaged breaks pages of a database that still opens.
func TestDamaged(t *testing.T) {
	data := modern(t)
	path := filepath.Join(data, database)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(strings.Clone(string(content)))
	for i := 4096 * 30; i < 4096*34; i++ {
		flipped[i] ^= 0xff
	}
	for name, damaged := range map[string][]byte{"flipped": flipped, "truncated": content[:len(content)-5*4096]} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, path, damaged)
			_, _, err := snapshot(t, Options{Data: data})
			refused(t, err, failure.Corrupt, "damaged")
		})
	}
}

// TestNoTemporaryFolder says what to do.
func TestNoTemporaryFolder(t *testing.T) {
	source, err := New(Options{Data: modern(t), TempDir: filepath.Join(t.TempDir(), "gone")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Snapshot(t.Context(), everything, nil)
	refused(t, err, failure.Internal, "temporary folder")
}
