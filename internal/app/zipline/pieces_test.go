package zipline_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/s3model"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// inBucket returns the sample's Zipline with its files in a bucket, and the datasource that this is.
func inBucket(t *testing.T, s *small) (*s3model.Server, *datasource.Bucket) {
	t.Helper()
	store := s3model.New(s3model.Options{})
	store.CreateBucket("uploads")
	server := httptest.NewServer(store)
	t.Cleanup(func() {
		server.Close()
		_ = store.Close()
	})
	client, err := vault.Connect(t.Context(), vault.Store{
		Endpoint: server.URL, Region: "us-east-1", AccessKey: secret.New("source"), SecretKey: secret.New("any"), HTTP: server.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range s.contents() {
		putObject(t, store, name, content)
	}
	return store, datasource.NewBucket(client, "uploads", "files")
}

func putObject(t *testing.T, store *s3model.Server, name, content string) {
	t.Helper()
	modified := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if strings.Contains(name, "new") {
		modified = time.Now().Add(48 * time.Hour)
	}
	if err := store.Put("uploads", "files/"+name, modified, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// sourceOf returns the adapter of a Zipline whose files lie in a bucket.
func sourceOf(t *testing.T, s *small, bucket *datasource.Bucket, asked *atomic.Int64) *zipline.Source {
	t.Helper()
	server := httptest.NewServer(standin.New(standin.Options{Export: func() []byte {
		asked.Add(1)
		return s.Export()
	}}))
	t.Cleanup(server.Close)
	source, err := zipline.New(zipline.Options{
		URL: server.URL, Token: secret.New(standin.SuperAdminToken), Datasource: bucket, Metrics: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// TestPieces holds snapshots in pieces of a Zipline whose files lie in a bucket against the suite.
func TestPieces(t *testing.T) {
	apptest.RunPieces(t, func(t *testing.T) apptest.Subject {
		s := newSmall(t)
		_, bucket := inBucket(t, s)
		return apptest.Subject{Source: sourceOf(t, s, bucket, new(atomic.Int64)), Pauses: true, Documents: []string{"export.json"}}
	})
}

// TestPiecesOfTrouble takes snapshots in pieces where rows and objects don't match: what is missing, left over, newer,
// of another size, without a fit name, or twice in the export is found once, as in one go.
func TestPiecesOfTrouble(t *testing.T) {
	s := newSmall(t)
	store, bucket := inBucket(t, s)
	for name, content := range map[string]string{
		"0 orphan.txt": "first of all", "zz orphan.txt": "last of all", "x new.txt": "new", "bad\\name": "x", "abcdefghij-zipline": "probe",
		".thumbnail.of-nothing.jpg": "thumb", "notes from monday.txt": "another size than the row says",
	} {
		putObject(t, store, name, content)
	}
	s.addRows("0 gone", "m gone", "zz gone", "m gone", "0 orphan.txt.not")
	var asked atomic.Int64
	source := sourceOf(t, s, bucket, &asked)
	kinds := findings(t, source, backup.Scope{})
	one := asked.Load()
	for _, kind := range []string{"missing", "orphan", "newer", "size", "bad-name", "probe", "duplicate-name"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("nothing is %s: %v", kind, kinds)
		}
	}
	apptest.SamePieces(t, source, backup.Scope{})
	if all := asked.Load(); all != 6*one { // one of findings, one in one go, four in pieces of several sizes
		t.Errorf("six snapshots asked for the export %d times, one %d times", all, one)
	}
}

// TestPiecesOfFolder is about a folder, of which the export is not kept.
func TestPiecesOfFolder(t *testing.T) {
	s := newSmall(t)
	_, bucket := inBucket(t, s)
	source := sourceOf(t, s, bucket, new(atomic.Int64))
	tried := 0
	for _, row := range s.export["data"].(map[string]any)["folders"].([]any) {
		scope := backup.Scope{Folder: row.(map[string]any)["id"].(string)}
		apptest.SamePieces(t, source, scope)
		tried++
	}
	if tried == 0 {
		t.Error("the sample has no folders")
	}
}

// TestCursorRefused wants one clear sentence for a cursor that is not of this version or this export.
func TestCursorRefused(t *testing.T) {
	s := newSmall(t)
	_, bucket := inBucket(t, s)
	source := sourceOf(t, s, bucket, new(atomic.Int64))
	for _, cursor := range []string{`{}`, `{"format":2}`, `[]`, `{"format":1,"after":"a","seen":"AA=="}`} {
		_, err := source.SnapshotFrom(t.Context(), backup.Scope{}, []byte(cursor), apptest.Stored(map[string]string{"export.json": string(s.Export())}))
		if err == nil || !strings.Contains(err.Error(), "snapshot") {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

// findings returns the kinds of what a snapshot finds.
func findings(t *testing.T, source *zipline.Source, scope backup.Scope) []string {
	t.Helper()
	var kinds []string
	for _, f := range apptest.Findings(t, source, scope) {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// contents returns the files of the folder by name.
func (s *small) contents() map[string]string {
	all := map[string]string{}
	for _, entry := range s.entries() {
		all[entry.Name()] = s.read(entry.Name())
	}
	return all
}

// addRows adds copies of the first file's row under other names.
func (s *small) addRows(names ...string) {
	for i, name := range names {
		data, err := json.Marshal(s.files()[0])
		var row map[string]any
		if err == nil {
			err = json.Unmarshal(data, &row)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		row["name"], row["id"] = name, fmt.Sprint("added ", i)
		s.export["data"].(map[string]any)["files"] = append(s.files(), any(row))
	}
}
