package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// treeOf returns what lies below the folders at the root with these names: each folder with its flags, each file with
// its original name and its bytes.
func treeOf(t *testing.T, r instanceRows, uploads string, roots ...string) []string {
	t.Helper()
	paths, digests := r.paths(map[string]string{}), sums(t, uploads)
	var all []string
	inside := func(path string) (string, bool) {
		path = strings.TrimPrefix(path, ": ")
		first, _, _ := strings.Cut(path, " > ")
		return path, slices.Contains(roots, first)
	}
	for _, f := range r.Folders {
		if path, ok := inside(paths[f.ID]); ok {
			all = append(all, fmt.Sprintf("%s public=%t uploads=%t", path, f.Public, f.AllowUploads))
		}
	}
	for _, f := range r.Files {
		name := f.Name
		if f.OriginalName != nil {
			name = *f.OriginalName
		}
		if path, ok := inside(paths[text(f.FolderID)]); ok {
			all = append(all, fmt.Sprintf("%s > %q %s favorite=%t", path, name, digests[f.Name], f.Favorite))
		}
	}
	slices.Sort(all)
	return all
}

// TestFolderInto rebuilds folders of the recorded instance in another Zipline.
func TestFolderInto(t *testing.T) {
	t.Parallel()
	folder, p := fixture(t)
	_, done := p.client()
	t.Cleanup(done)
	g := p.goal("fresh", empty("zoe"))
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]string{"mara:Photos": "Photos", "mara:Work": "Work", "mara:Ablage ✦ Входящие": "Ablage ✦ Входящие", `mara:Q1\/Q2 reports`: "Q1/Q2 reports", "mara:Leer": "Leer"}
	var names, ids []string
	for path, name := range roots {
		var made summary
		p.inside("backup", "photos", "--folder", path, "--json", "-q").exits(0).last(&made)
		ids, names = append(ids, made.ID), append(names, name)
	}
	for _, id := range ids {
		dry := p.restoreOf(0, id, "--to", "fresh", "--folder-into", "root", "--dry-run")
		if dry.Forecast == nil || !dry.DryRun {
			t.Errorf("%+v", dry)
		}
	}
	g.untouched(t)
	for _, id := range ids {
		if m := p.restoreOf(0, id, "--to", "fresh", "--folder-into", "root"); m.Status != "completed" || len(m.Problems) > 0 {
			t.Errorf("%+v", m)
		}
	}
	want := treeOf(t, exportRows(t, export), filepath.Join(folder, "uploads"), names...)
	if diff := cmp.Diff(want, treeOf(t, g.rows(t), g.folder, names...)); diff != "" || len(want) < 20 {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	raw := g.raw(t)
	g.faulty(nil)
	for _, id := range ids {
		p.restoreOf(0, id, "--to", "fresh", "--folder-into", "root")
	}
	if changes := g.changes(); len(changes) > 0 || g.raw(t) != raw {
		t.Errorf("the second run asked for %v", changes)
	}
}

// TestFolderIntoName: a folder gets another name; the name is taken from then on, and who holds it is said.
func TestFolderIntoName(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	p.inside("backup", "photos", "--folder", "nora:Photos", "-q").exits(0)
	g := p.goal("fresh", empty("zoe"))
	var shelf, other struct{ ID string }
	g.do(t, http.MethodPost, "/api/user/folders", map[string]any{"name": "Shelf"}, &shelf)
	g.do(t, http.MethodPost, "/api/user/folders", map[string]any{"name": "Other"}, &other)
	m := p.restoreOf(0, "latest", "--to", "fresh", "--folder-into", shelf.ID, "--name", "Again")
	if m.Name != "Again" || len(m.Problems) > 0 {
		t.Errorf("%+v", m)
	}
	tree := treeOf(t, g.rows(t), g.folder, "Shelf")
	want := treeOf(t, exportRows(t, p.instance.Export()), p.path("uploads"), "Photos")
	for i := range want {
		want[i] = "Shelf > Again" + strings.TrimPrefix(want[i], "Photos")
	}
	want = append([]string{"Shelf public=false uploads=false"}, want...)
	slices.Sort(want)
	if diff := cmp.Diff(want, tree); diff != "" || len(want) < 4 {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	raw := g.raw(t)
	p.inside("restore", "latest", "--to", "fresh", "--folder-into", other.ID, "--name", "Again", "-q").
		complains(11, `the name "Again" is in use in fresh`, string(m.ID), starter().Who, "choose another --name")
	if g.raw(t) != raw {
		t.Error("a restore whose name is taken changed the target")
	}
	p.inside("restore", "latest", "--to", "fresh", "--folder-into", other.ID, "--name", "Third", "-q").exits(0)
	p.inside("restore", "latest", "--to", "fresh", "--folder-into", "cmnosuchfolder", "-q").complains(10, "cmnosuchfolder")
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(2, "--folder-into")
	p.inside("restore", "latest", "--to", "fresh", "--folder-into", other.ID, "--name", "a/b", "-q").complains(2, "a/b")

	p.inside("backup", "photos", "-q").exits(0)
	p.inside("restore", "latest", "--to", "fresh", "--folder-into", other.ID, "-q").complains(2, "--folder-into")
	p.inside("restore", "latest", "--to", "fresh", "--name", "Again", "-q").complains(2, "--name")
}
