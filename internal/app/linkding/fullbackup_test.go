package linkding

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
)

// file is one entry of an archive that a test makes.
type file struct {
	name    string
	content []byte
}

func zipOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: time.Date(2026, 11, 21, 20, 15, 2, 0, time.UTC)}
		header.SetMode(0o644)
		entry, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(f.content); err != nil && f.content != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// databaseOf returns the bytes of a database that a snapshot made.
func databaseOf(t *testing.T, data string) []byte {
	t.Helper()
	sink, _ := must(t, data)
	return sink.documents[database]
}

// emptyDatabase is what Python's Connection.backup makes of no database: one page, no tables.
func emptyDatabase(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), database)
	db := sqlOpen(t, path, "mode=rwc")
	exec(t, db, "PRAGMA user_version=1", "PRAGMA user_version=0")
	db.Close()
	content, err := os.ReadFile(path)
	if err != nil || len(content) != 4096 {
		t.Fatalf("%d bytes, %v", len(content), err)
	}
	return content
}

func openBytes(t *testing.T, content []byte) (*FullBackup, error) {
	t.Helper()
	options := FullBackupOptions{TempDir: t.TempDir(), MaxInflated: 10000}
	full, err := OpenFullBackup(t.Context(), bytes.NewReader(content), int64(len(content)), options)
	if left, _ := os.ReadDir(options.TempDir); len(left) > 0 {
		t.Errorf("%d things are left in the temporary folder", len(left))
	}
	return full, err
}

// TestFullBackup reads an archive of a library with oddities as a snapshot of its folder.
func TestFullBackup(t *testing.T) {
	data := oddities(t)
	files := []file{{database, databaseOf(t, data)}, {"assets/", nil}}
	for _, name := range []string{
		"assets/good.html.gz", "assets/unknown-size.gz", "assets/twice.gz", "assets/plain.tar.gz", "assets/short.gz", "assets/cut.gz",
		"assets/garbled.gz", "assets/no.gz", "assets/large.gz", "assets/orphan", "favicons/https_例え_テスト.png", "previews/a.jpg",
	} {
		content, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{name, content})
	}
	full, err := openBytes(t, zipOf(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"note missing-favicon favicons/gone.png", "note missing-preview previews/gone.jpg", "note orphan assets/orphan",
		"note unchecked assets/large.gz", "note unfinished",
		"problem broken-gzip assets/cut.gz", "problem broken-gzip assets/garbled.gz", "problem broken-gzip assets/no.gz",
		"problem missing assets/gone.html.gz", "problem size assets/short.gz",
	}
	if diff := cmp.Diff(want, short(full.Findings)); diff != "" || full.Facts.Counts["assets"] != 13 {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestBadFullBackups are refused with the reason, the two bad outcomes of full_backup as damage.
func TestBadFullBackups(t *testing.T) {
	good := file{database, databaseOf(t, modern(t))}
	plain := zipOf(t, file{"assets/a", []byte("a")}, good)
	damaged := bytes.Clone(zipOf(t, good))
	damaged[len(damaged)/2] ^= 1
	zeroed := bytes.Clone(plain)
	// The CRC-32 of the first entry, in its data descriptor and in the directory, which archive/zip lets pass as unknown.
	binary.LittleEndian.PutUint32(zeroed[bytes.Index(zeroed, []byte("PK\x01\x02"))+16:], 0)
	other := filepath.Join(t.TempDir(), database)
	db := sqlOpen(t, other, "mode=rwc")
	exec(t, db, "CREATE TABLE notes(id INTEGER)")
	db.Close()
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(good.content)
	for i := 4096 * 30; i < 4096*34; i++ {
		broken[i] ^= 0xff
	}
	for _, test := range []struct {
		name    string
		content []byte
		verdict Verdict
		kind    failure.Kind
		word    string
	}{
		{"22 bytes", append([]byte("PK\x05\x06"), make([]byte, 18)...), Nothing, failure.Corrupt, "empty, 22 bytes"},
		{"an empty database", zipOf(t, file{database, emptyDatabase(t)}), Candidate, failure.Corrupt, "no tables"},
		{"0 bytes", zipOf(t, file{database, nil}), Candidate, failure.Corrupt, "empty"},
		{"no database", zipOf(t, file{database, []byte("no database")}), Candidate, failure.Corrupt, "no SQLite"},
		{"a broken database", zipOf(t, file{database, broken}), Candidate, failure.Corrupt, "damaged"},
		{"another application's", zipOf(t, file{database, foreign}, file{"assets/a", nil}), Candidate, failure.Invalid, "not linkding's"},
		{"flipped", damaged, Candidate, failure.Corrupt, "damaged"},
		{"without a checksum", zeroed, Candidate, failure.Corrupt, "assets/a"},
		{"twice", zipOf(t, good, file{"assets/a", nil}, file{"assets/a", nil}), Candidate, failure.Corrupt, "twice"},
		{"climbing", zipOf(t, good, file{"assets/../../a", nil}), Candidate, failure.Corrupt, "unsafe"},
		{"backslash", zipOf(t, good, file{`assets/..\a`, nil}), Candidate, failure.Corrupt, "unsafe"},
		{"ours", zipOf(t, good, file{"lifeboat/backup.json", nil}), Foreign, failure.Invalid, "no archive"},
		{"no db.sqlite3", zipOf(t, file{"assets/a", nil}), Foreign, failure.Invalid, "no archive"},
		{"cut", plain[:len(plain)-30], Foreign, failure.Invalid, "no ZIP"},
		{"no ZIP", []byte("bookmarks"), Foreign, failure.Invalid, "no ZIP"},
		{"nothing", nil, Foreign, failure.Invalid, "no ZIP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict, err := Recognise(bytes.NewReader(test.content), int64(len(test.content)))
			if verdict != test.verdict || err != nil {
				t.Errorf("verdict %d, %v", verdict, err)
			}
			_, err = openBytes(t, test.content)
			if failure.KindOf(err) != test.kind || !bytes.Contains([]byte(err.Error()), []byte(test.word)) {
				t.Errorf("%v: %v", failure.KindOf(err), err)
			}
		})
	}
}

// TestLimits stops before a database fills the disk, and before a directory fills the memory.
func TestLimits(t *testing.T) {
	content := zipOf(t, file{database, databaseOf(t, modern(t))})
	_, err := OpenFullBackup(t.Context(), bytes.NewReader(content), int64(len(content)), FullBackupOptions{TempDir: t.TempDir(), MaxDatabase: 1000})
	if failure.KindOf(err) != failure.Exhausted {
		t.Errorf("%v", err)
	}
	// A directory of too many entries, which its end says nothing of: archive/zip reads on while there are entries.
	entry := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	many := append(bytes.Repeat(entry, 1200), append([]byte("PK\x05\x06"), make([]byte, 18)...)...)
	if _, err := directory(bytes.NewReader(many), int64(len(many)), 1000); failure.KindOf(err) != failure.Invalid {
		t.Errorf("%v", err)
	}
	if _, err := Recognise(failing{}, 1000); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
}

var errDisk = errors.New("input/output error")

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// FuzzRecognise opens arbitrary bytes, as a ZIP and as the database of one: no panic, and nothing bad passes.
func FuzzRecognise(f *testing.F) {
	f.Add(append([]byte("PK\x05\x06"), make([]byte, 18)...))
	f.Add([]byte("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20"))
	f.Add(zipOf(f, file{database, []byte("x")}, file{"assets/a.gz", []byte("\x1f\x8b")}))
	f.Fuzz(func(t *testing.T, content []byte) {
		options := FullBackupOptions{TempDir: t.TempDir(), MaxDatabase: 1 << 20, MaxInflated: 1 << 20}
		for _, archive := range [][]byte{content, zipOf(t, file{database, content})} {
			r, size := bytes.NewReader(archive), int64(len(archive))
			verdict, err := Recognise(r, size)
			if err != nil {
				t.Errorf("reading memory fails: %v", err)
			}
			full, err := OpenFullBackup(t.Context(), r, size, options)
			if err == nil && (verdict != Candidate || full.Facts.Versions["schema"] == "") {
				t.Errorf("verdict %d, facts %+v", verdict, full.Facts)
			}
			if kind := failure.KindOf(err); err != nil && kind == failure.Internal {
				t.Errorf("%v", err)
			}
		}
	})
}
