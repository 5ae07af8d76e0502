package datasource_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/datasource/stranger"
	"lifeboat/internal/failure"
)

func TestDenied(t *testing.T) {
	parent, err := os.MkdirTemp("", "denied")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(parent, "uploads")
	write(t, folder, "a", "")
	write(t, folder, "closed/b", "")
	write(t, folder, "z", "")
	t.Cleanup(func() {
		_ = os.Chmod(filepath.Join(folder, "closed"), 0o755)
		_ = os.RemoveAll(parent)
	})
	for path, mode := range map[string]os.FileMode{parent: 0o755, filepath.Join(folder, "a"): 0, filepath.Join(folder, "closed"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	stranger.Become(t)
	source := datasource.NewFolder(folder, nil)
	objects, skipped, err := list(t, source)
	if diff := cmp.Diff([]string{"z"}, keys(objects)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	want := []string{"a: it may not be read: permission denied", "closed/: it may not be read: permission denied"}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if _, err := source.Open(t.Context(), app.Object{Key: "a"}); failure.KindOf(err) != failure.Denied || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, _, err := list(t, datasource.NewFolder(filepath.Join(folder, "closed"), nil)); failure.KindOf(err) != failure.Denied {
		t.Errorf("%v", err)
	}
}
