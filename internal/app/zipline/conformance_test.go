package zipline_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/datasource"
	"lifeboat/internal/local"
	"lifeboat/internal/secret"
)

func TestMain(m *testing.M) {
	if local.ChildMain() {
		return
	}
	code := m.Run()
	zipline.RemoveCopies()
	os.Exit(code)
}

// small is the sample's Zipline without its large files, so that a suite can read it often.
type small struct {
	t      *testing.T
	mutex  sync.Mutex
	export map[string]any
	folder string
}

func newSmall(t *testing.T) *small {
	t.Helper()
	s := &small{t: t, folder: t.TempDir()}
	instance := standin.Sample()
	if err := instance.WriteUploads(s.folder); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(instance.Export(), &s.export); err != nil {
		t.Fatal(err)
	}
	for _, entry := range s.entries() {
		if info, err := entry.Info(); err != nil || info.Size() > 100<<10 {
			s.remove(entry.Name())
		}
	}
	return s
}

func (s *small) entries() []os.DirEntry {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

func (s *small) files() []any { return s.export["data"].(map[string]any)["files"].([]any) }

// remove removes an object and its row.
func (s *small) remove(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := os.Remove(filepath.Join(s.folder, name)); err != nil {
		s.t.Fatal(err)
	}
	data := s.export["data"].(map[string]any)
	var kept []any
	for _, row := range s.files() {
		if row.(map[string]any)["name"] != name {
			kept = append(kept, row)
		}
	}
	data["files"] = kept
	var thumbnails []any
	for _, row := range data["thumbnails"].([]any) {
		if row.(map[string]any)["path"] != name {
			thumbnails = append(thumbnails, row)
		}
	}
	data["thumbnails"] = append([]any{}, thumbnails...)
}

func (s *small) read(name string) string {
	data, err := os.ReadFile(filepath.Join(s.folder, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// write gives an object another content, and its row the size.
func (s *small) write(name, content string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, row := range s.files() {
		if row := row.(map[string]any); row["name"] == name {
			row["size"] = len(content)
		}
	}
}

func (s *small) Export() []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	data, err := json.Marshal(s.export)
	if err != nil {
		s.t.Error(err)
	}
	return data
}

// TestConforms holds the adapter against the suite of all adapters.
func TestConforms(t *testing.T) {
	if testing.Short() {
		t.Skip("the conformance suite takes a while")
	}
	apptest.Run(t, func(t *testing.T) apptest.Subject {
		s := newSmall(t)
		server := httptest.NewServer(standin.New(standin.Options{Export: s.Export}))
		t.Cleanup(server.Close)
		source, err := zipline.New(zipline.Options{
			URL: server.URL, Token: secret.New(standin.SuperAdminToken), Datasource: datasource.NewFolder(s.folder, nil), Metrics: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		version := 0
		return apptest.Subject{
			Source: source,
			Objects: func() map[string]string {
				contents := map[string]string{}
				for _, entry := range s.entries() {
					contents["uploads/"+entry.Name()] = s.read(entry.Name())
				}
				return contents
			},
			Documents: []string{"export.json"},
			Change: func(*testing.T) int {
				version++
				s.write("notes from monday.txt", fmt.Sprint("version ", version))
				return 1
			},
			Remove: func(*testing.T) string {
				for _, entry := range s.entries() {
					if name := entry.Name(); name != "notes from monday.txt" && name[0] != '.' {
						s.remove(name)
						return "uploads/" + name
					}
				}
				t.Fatal("nothing is left")
				return ""
			},
		}
	})
}
