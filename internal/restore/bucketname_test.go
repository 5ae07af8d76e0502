package restore_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
)

// TestBucketName: who gives the names decides what goes, whatever the layout says, and leads nowhere else.
func TestBucketName(t *testing.T) {
	s := newScene(t, archivetest.New(t, []archivetest.File{
		file("uploads/a", "alpha"), file("uploads/b", "beta"), {Path: "export.json", Data: []byte("{}"), Document: true},
	}))
	s.options.Objects, s.options.Layout = true, restore.ByKey
	s.options.Only = func(string) bool { return false }
	s.options.Name = func(e manifest.Entry) (string, bool) { return "data/" + path.Base(e.Path), e.Path != "uploads/b" }
	target, err := restore.OpenBucket(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	for e := range s.backup.All() {
		if target.Wants(e) != (e.Path != "uploads/b") {
			t.Errorf("%s: wants %v", e.Path, target.Wants(e))
		}
	}
	if r, err := s.run(t.Context()); err != nil || r.Written != 2 || r.Total > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	keys := []string{"some/where/data/a", "some/where/data/export.json"}
	if diff := cmp.Diff(keys, s.target.Keys(t)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"../evil", "a/../../evil", "/evil", "./evil", "a//b", "..", ".", "a/..", "", strings.Repeat("x", 1100)} {
		s.options.Name = func(manifest.Entry) (string, bool) { return name, true }
		if r, err := s.run(t.Context()); err != nil || r.Written != 0 || r.Total != 3 || r.Problems[0].Kind != "not written" {
			t.Errorf("%q: %+v, %v", name, r, err)
		}
	}
	s.options.Name = func(manifest.Entry) (string, bool) { return "one", true }
	s.options.Wants = func(manifest.Entry) bool { return false }
	if r, err := s.run(t.Context()); err != nil || r.Written+r.Total > 0 {
		t.Errorf("nothing is wanted: %+v, %v", r, err)
	}
	s.options.Wants = nil
	r, err := s.run(t.Context())
	if err != nil || r.Written != 1 || r.Total != 2 || r.Problems[0].Kind != "conflict" {
		t.Errorf("one name for all: %+v, %v", r, err)
	}
	if diff := cmp.Diff(append(keys, "some/where/one"), s.target.Keys(t)); diff != "" {
		t.Error(diff)
	}
}
