package files_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource/stranger"
	"lifeboat/internal/failure"
)

func TestDenied(t *testing.T) {
	parent, err := os.MkdirTemp("", "denied")
	must(t, err)
	folder := filepath.Join(parent, "files")
	for _, name := range []string{"a", "closed/b", "shut/c", "z"} {
		write(t, folder, name, "")
	}
	t.Cleanup(func() {
		for _, name := range []string{"closed", "shut"} {
			_ = os.Chmod(filepath.Join(folder, name), 0o755)
		}
		_ = os.RemoveAll(parent)
	})
	for path, mode := range map[string]os.FileMode{parent: 0o755, filepath.Join(folder, "a"): 0, filepath.Join(folder, "closed"): 0, filepath.Join(folder, "shut"): 0o600} {
		must(t, os.Chmod(path, mode))
	}
	stranger.Become(t)
	s, _ := snapshot(t, files.Options{Path: folder})
	if diff := cmp.Diff(map[string]int64{"files/z": 0, "files/closed/": -1, "files/shut/": -1}, s.sizes()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	want := []string{"problem unreadable files/a", "problem unreadable files/closed", "problem unreadable files/shut"}
	if diff := cmp.Diff(want, s.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	s, _ = snapshot(t, files.Options{Path: folder, Exclude: []string{"closed", "a", "s*/"}})
	if diff := cmp.Diff([]string(nil), s.findings); diff != "" {
		t.Errorf("what is excluded is looked at:\n%s", diff)
	}
	s, _ = snapshot(t, files.Options{Path: folder, Include: []string{"z"}})
	if diff := cmp.Diff([]string(nil), s.findings); diff != "" {
		t.Errorf("what is not included is looked at:\n%s", diff)
	}
	_, err = newSource(t, files.Options{Path: filepath.Join(folder, "closed")}).Snapshot(t.Context(), backup.Scope{}, &sink{})
	if failure.KindOf(err) != failure.Denied || failure.HintOf(err) == "" {
		t.Error(err)
	}
}
