package files_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/files"
	"lifeboat/internal/failure"
)

func TestGlobs(t *testing.T) {
	g, err := files.ParseGlobs([]string{"uploads/*.md", "**/deep", "none/**", "export.json"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"uploads/a.md": true, "uploads/a.txt": false, "uploads/x/a.md": false, "export.json": true, "x/deep/er/a": true, "deep/": true, "deeper": false,
	} {
		if g.Match(path) != want {
			t.Errorf("%s: want %v", path, want)
		}
	}
	if diff := cmp.Diff([]string{"none/**"}, g.Unused()); diff != "" {
		t.Error(diff)
	}
	if all, err := files.ParseGlobs(nil); err != nil || !all.Match("anything") || len(all.Unused()) > 0 {
		t.Errorf("no pattern chooses everything: %v", err)
	}
	if _, err := files.ParseGlobs([]string{"a/["}); failure.KindOf(err) != failure.Usage {
		t.Errorf("%v", err)
	}
}
