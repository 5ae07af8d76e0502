package restore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/restore"
)

// TestLinkedFolder says in plain words why nothing is written through a link that leads out of the folder.
func TestLinkedFolder(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, folder string, files []archivetest.File) []app.Finding{
		"a folder": func(t *testing.T, folder string, files []archivetest.File) []app.Finding {
			return into(t, folder, archivetest.New(t, files).Zip(t)).Problems
		},
		"a target": func(t *testing.T, folder string, files []archivetest.File) []app.Finding {
			return inOne(t, restore.FolderOptions{Folder: folder}, archivetest.New(t, files)).Problems
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder, outside := t.TempDir(), t.TempDir()
			if err := os.Mkdir(filepath.Join(folder, "deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, link := range []string{"out", "deep/out"} {
				if err := os.Symlink(outside, filepath.Join(folder, link)); err != nil {
					t.Fatal(err)
				}
			}
			found := put(t, folder, []archivetest.File{file("out/a", "a"), file("deep/out/b/c", "c"), file("out/d/", "")})
			if len(found) != 3 {
				t.Errorf("%d problems: %+v", len(found), found)
			}
			for _, f := range found {
				if f.Kind != "not written" || !strings.Contains(f.Message, "symbolic link") || strings.Contains(f.Message, "statat") || strings.Contains(f.Message, "escapes") {
					t.Errorf("%s: %s: %s", f.Kind, f.Item, f.Message)
				}
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Errorf("%d things are outside, %v", len(entries), err)
			}
		})
	}
}
