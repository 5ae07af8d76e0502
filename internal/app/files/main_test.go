package files_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/local"
)

func TestMain(m *testing.M) {
	if local.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

// sink keeps a snapshot in memory.
type sink struct {
	documents map[string]string
	objects   map[string]app.Object
	findings  []string // "severity kind item"
	messages  []string
}

func (s *sink) Document(_ context.Context, d app.Document, body io.Reader) error {
	data, err := io.ReadAll(body)
	s.documents[d.Path] = string(data)
	return err
}

func (s *sink) Object(o app.Object) error {
	s.objects[o.Path] = o
	return nil
}

func (s *sink) Found(f app.Finding) {
	s.findings = append(s.findings, string(f.Severity)+" "+f.Kind+" "+f.Item)
	s.messages = append(s.messages, f.Message)
}

func newSource(t *testing.T, o files.Options) *files.Source {
	t.Helper()
	source, err := files.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func snapshot(t *testing.T, o files.Options) (*sink, app.Facts) {
	t.Helper()
	s := &sink{documents: map[string]string{}, objects: map[string]app.Object{}}
	facts, err := newSource(t, o).Snapshot(t.Context(), backup.Scope{}, s)
	if err != nil {
		t.Fatal(err)
	}
	return s, facts
}

// sizes returns what matters of a list: sizes of files, -1 for folders.
func (s *sink) sizes() map[string]int64 {
	all := map[string]int64{}
	for path, o := range s.objects {
		if all[path] = o.Size; o.Dir {
			all[path] = -1
		}
	}
	return all
}

func write(t *testing.T, folder, name, content string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
