package cli

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLinkdingTarget takes the real linkding's data folder into another one, by way of a backup.
func TestLinkdingTarget(t *testing.T) {
	t.Parallel()
	fixtures := fixturesFolder(t)
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	if err := os.CopyFS(p.path("data"), os.DirFS(filepath.Join(fixtures, "linkding", "data"))); err != nil {
		t.Fatal(err)
	}
	p.config("sources:\n", "sources:\n  marks: {kind: linkding, data: ./data}\n")
	p.addTarget("marks-new: {kind: linkding, data: ./marks-new}")
	p.inside("backup", "marks", "-q").exits(0)
	p.restoreOf(0, "latest", "--to", "marks-new", "--dry-run")
	if entries, err := os.ReadDir(p.path("marks-new")); err == nil && len(entries) > 0 {
		t.Errorf("a dry run wrote %v", entries)
	}
	m := p.restoreOf(0, "latest", "--to", "marks-new")
	if m.Kind != "linkding" || m.Written != 48 || m.Confirmation == nil || len(m.Problems) > 0 {
		t.Errorf("%+v", m)
	}
	p.library("marks-new")
	before := contents(t, p.path("marks-new"))
	if m := p.restoreOf(0, "latest", "--to", "marks-new"); m.Written != 0 || len(m.Problems) > 0 {
		t.Errorf("again: %+v", m)
	}
	if diff := cmp.Diff(before, contents(t, p.path("marks-new"))); diff != "" {
		t.Error("the second run changed the folder")
	}
	p.make("marks-full")
	p.addTarget("marks-full: {kind: linkding, data: ./marks-full}")
	p.write("marks-full/db.sqlite3", "another database")
	p.inside("restore", "latest", "--to", "marks-full", "-q").complains(11, "db.sqlite3")
	if string(p.read("marks-full/db.sqlite3")) != "another database" || len(contents(t, p.path("marks-full"))) != 1 {
		t.Error("a folder with a database was written to")
	}
}

// odd is a tree with names and modes that folders can have.
func (p *place) odd(folder string) {
	p.Helper()
	p.make(folder)
	for _, dir := range []string{"deep", "deep/er", "empty", "写真 🌊", "a:b", "-rf", "in\xfedir"} {
		p.make(folder + "/" + dir)
	}
	for name, mode := range map[string]fs.FileMode{
		"plain.txt": 0o644, "secret.key": 0o600, "run.sh": 0o755, "deep/er/read-only": 0o444, "100% sure?.txt": 0o644, `back\slash`: 0o644, "new\nline": 0o644,
		"in\xffvalid": 0o644, "in\xfedir/file": 0o644, ".hidden": 0o640, "cafe\u0301": 0o644, "caf\u00e9": 0o644, "写真 🌊/план №2.txt": 0o644, "a:b/2026:11:22": 0o644, "-rf/--force": 0o644,
		"UPPER": 0o644, "upper": 0o644, " lead and trail ": 0o644, "con.txt": 0o644, "lifeboat": 0o644, "zero": 0o644,
	} {
		data := "content of " + name
		if name == "zero" {
			data = ""
		}
		if err := os.WriteFile(p.path(folder+"/"+name), []byte(data), mode); err != nil {
			p.Fatal(err)
		}
		if err := os.Chmod(p.path(folder+"/"+name), mode); err != nil {
			p.Fatal(err)
		}
	}
	if err := os.Symlink("plain.txt", p.path(folder+"/link")); err != nil {
		p.Fatal(err)
	}
}

// modes returns the modes and contents of all that lies below a folder, but for links.
func modes(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == folder || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, _ := filepath.Rel(folder, name)
		all[below] = info.Mode().String()
		if d.Type().IsRegular() {
			data, err := os.ReadFile(name)
			all[below] += fmt.Sprintf(" %q %s", data, info.ModTime().UTC().Format("15:04:05"))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFilesTarget takes a folder with odd names and modes into another folder and into a bucket.
func TestFilesTarget(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.odd("docs")
	address, env, done := p.bucket("odds")
	t.Cleanup(done)
	for _, pair := range env {
		key, value, _ := strings.Cut(pair, "=")
		p.write(key, value+"\n")
	}
	p.config("sources:\n", "sources:\n  docs: {kind: files, path: ./docs}\n")
	p.addTarget("docs-new: {kind: files, path: ./docs-new}")
	p.addTarget(fmt.Sprintf("odds: {kind: files, path: {s3: s3://odds/all, endpoint: %q, region: us-east-1, access-key: file:./STORE_KEY, secret-key: file:./STORE_SECRET}}", address))
	p.inside("backup", "docs", "-q").exits(0)

	m := p.restoreOf(0, "latest", "--to", "docs-new")
	if m.Kind != "files" || m.Confirmation == nil || len(m.Problems) > 0 {
		t.Errorf("%+v", m)
	}
	if diff := cmp.Diff([]string{"symlinks symlinks.jsonl"}, named(m.Notes)); diff != "" {
		t.Errorf("notes: %s", diff)
	}
	if diff := cmp.Diff(modes(t, p.path("docs")), modes(t, p.path("docs-new"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if m := p.restoreOf(0, "latest", "--to", "docs-new"); m.Written != 0 || m.Existing == 0 {
		t.Errorf("again: %+v", m)
	}

	m = p.restoreOf(0, "latest", "--to", "odds")
	if len(m.Problems) > 0 {
		t.Errorf("%+v", m.Problems)
	}
	want := map[string]string{}
	for name, data := range contents(t, p.path("docs")) {
		name, _ = filepath.Rel(p.path("docs"), name)
		if name != "link" { // no object's name holds bytes that are no text
			want["all/"+strings.NewReplacer("\xff", "%FF", "\xfe", "%FE").Replace(name)] = data
		}
	}
	got := p.objects("odds")
	for key := range got {
		if strings.HasSuffix(key, "/") {
			delete(got, key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if m := p.restoreOf(0, "latest", "--to", "odds"); m.Written != 0 {
		t.Errorf("again: %+v", m)
	}

	// What is there already and is another file stays, and is named; the rest is there.
	p.make("taken")
	p.addTarget("taken: {kind: files, path: ./taken}")
	p.write("taken/plain.txt", "mine")
	r := p.inside("restore", "latest", "--to", "taken", "-q")
	if r.code != 3 && r.code != 11 || !strings.Contains(r.out+r.err, "plain.txt") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
	if string(p.read("taken/plain.txt")) != "mine" || string(p.read("taken/run.sh")) != "content of run.sh" {
		t.Error("the wrong file was kept")
	}
}

// TestParts restores parts of a backup into an application.
func TestParts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("objects", empty("nora"))
	if m := p.restoreOf(0, "latest", "--to", "objects", "--only-objects"); m.Written == 0 || len(g.changes()) > 0 {
		t.Errorf("--only-objects: %d written, %v", m.Written, g.changes())
	}
	g = p.goal("documents", empty("nora"))
	r := p.inside("restore", "latest", "--to", "documents", "--only-documents", "--json", "-q")
	if entries, err := os.ReadDir(g.folder); err != nil || len(entries) > 0 || len(g.rows(t).Files) != 18 {
		t.Errorf("--only-documents: %v, %d rows of files", entries, len(g.rows(t).Files))
	}
	if m := r.exits(0).restored(); !slices.Contains(named(m.Notes), "filtered") {
		t.Errorf("--only-documents: notes %q", named(m.Notes))
	}
	p.goal("none", empty("nora"))
	g = p.goal("some", empty("nora"))
	m := p.restoreOf(0, "latest", "--to", "some", "--only", "uploads/*.md", "--only", "export.json")
	if !slices.Contains(named(m.Notes), "filtered") {
		t.Errorf("--only: notes %q", named(m.Notes))
	}
	names := slices.Sorted(maps.Keys(sums(t, g.folder)))
	if diff := cmp.Diff([]string{"CHANGES.md", "README.md", "Straße & Übersicht (1).md"}, names); diff != "" || m.Written != 3 {
		t.Errorf("--only: %s", diff)
	}
	p.inside("restore", "latest", "--to", "none", "--only", "nothing/**", "-q").complains(10, "nothing in the backup matches")
}
