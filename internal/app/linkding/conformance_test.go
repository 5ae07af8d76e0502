package linkding_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/linkding"
	"lifeboat/internal/local"
)

// TestMain is linkding, or the embedded server, where it is started as such.
func TestMain(m *testing.M) {
	if linkding.PlayLinkding() || local.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

// TestConformance holds a data folder with every sort of file against the suite of all adapters.
func TestConformance(t *testing.T) {
	apptest.Run(t, func(t *testing.T) apptest.Subject {
		data, contents := linkding.NewLibrary(t), map[string]string{}
		put := func(path, content string) {
			t.Helper()
			name := filepath.Join(data, path)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			contents[path] = content
		}
		for i := range 4 {
			put(fmt.Sprintf("assets/upload_%d.txt", i), fmt.Sprint("upload ", i))
			put(fmt.Sprintf("favicons/https_例え_%d.png", i), fmt.Sprint("icon ", i))
			put(fmt.Sprintf("previews/%d.jpg", i), fmt.Sprint("preview ", i))
		}
		put("assets/sub/empty", "")
		source, err := linkding.New(linkding.Options{Data: data, TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		version := 0
		return apptest.Subject{
			Source:    source,
			Objects:   func() map[string]string { return maps.Clone(contents) },
			Documents: []string{"db.sqlite3"},
			Change: func(*testing.T) int {
				version++
				put("previews/0.jpg", fmt.Sprint("version ", version))
				put(fmt.Sprintf("favicons/new_%d.png", version), fmt.Sprint("new ", version))
				return 2
			},
			Remove: func(t *testing.T) string {
				if err := os.Remove(filepath.Join(data, "assets/upload_3.txt")); err != nil {
					t.Fatal(err)
				}
				delete(contents, "assets/upload_3.txt")
				return "assets/upload_3.txt"
			},
		}
	})
}
