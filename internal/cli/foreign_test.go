package cli

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// zipOf writes a ZIP as other programs do, of pairs of names and contents.
func (p *place) zipOf(name string, pairs ...string) {
	p.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	var err error
	for i := 0; i < len(pairs); i += 2 {
		w, e := z.Create(pairs[i])
		if err = errors.Join(err, e); e == nil {
			_, e = io.WriteString(w, pairs[i+1])
			err = errors.Join(err, e)
		}
	}
	if err = errors.Join(err, z.Close()); err != nil {
		p.Fatal(err)
	}
	p.write(name, b.String())
}

// foreignVerdict is the first line of `verify --json` on a ZIP of another program.
type foreignVerdict struct {
	Type    string `json:"message_type"`
	Verdict string
	Counts  map[string]int
	Reasons []struct{ Verdict, Word, Name, Text string }
}

// TestForeignZIP: a ZIP of another program is checked, never trusted, and written only with --trust.
func TestForeignZIP(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.zipOf("good.zip", "hello.txt", "hello", "a/", "", "a/b.txt", strings.Repeat("b", 5000))
	good := p.run("verify", "good.zip").exits(0)
	if !strings.Contains(good.out, "foreign archive: structure and checksums are sound; nobody signed it: 3 entries") {
		t.Error(good.out)
	}
	var verdict verifyMessage
	p.run("verify", "good.zip", "--json").exits(0).last(&verdict)
	if diff := cmp.Diff(verifyMessage{Type: "verify", OK: true, Signature: "unsigned", Entries: 3, Bytes: 5005, Problems: []finding{}}, verdict); diff != "" {
		t.Error(diff)
	}
	if listed := p.run("files", "good.zip").exits(0); strings.Count(listed.out, "\n") != 3 || !strings.Contains(listed.out, "a/b.txt") {
		t.Error(listed.out)
	}
	p.run("restore", "good.zip", "--to", "dir:back").complains(12, "nobody signed it", "--trust")
	if _, err := os.Stat(p.path("back")); err == nil {
		t.Error("a folder was made without --trust")
	}
	p.run("restore", "good.zip", "--to", "dir:back", "--trust").exits(0)
	want := map[string]string{p.path("back/hello.txt"): "hello", p.path("back/a/b.txt"): strings.Repeat("b", 5000)}
	if diff := cmp.Diff(want, contents(t, p.path("back"))); diff != "" {
		t.Error(diff)
	}
	p.run("restore", "good.zip", "--to", "dir:some", "--trust", "--only", "a/**").exits(0)
	if diff := cmp.Diff(map[string]string{p.path("some/a/b.txt"): strings.Repeat("b", 5000)}, contents(t, p.path("some"))); diff != "" {
		t.Error(diff)
	}
	p.run("restore", "good.zip", "--to", "dir:back", "--trust").complains(11, "not empty")

	p.zipOf("odd.zip", "notes: x", "1", "aux.c", "2")
	if odd := p.run("verify", "odd.zip").exits(0); !strings.Contains(odd.out, "sanitize:colon+win-reserved") {
		t.Error(odd.out)
	}
	p.run("restore", "odd.zip", "--to", "dir:odd", "--trust").exits(0)
	if got := len(contents(t, p.path("odd"))); got != 2 {
		t.Errorf("%d files of two", got)
	}
}

// TestHostileZIP: everything that is wrong is said, nothing is listed or written.
func TestHostileZIP(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.zipOf("evil.zip", "../evil", "1", "A", "2", "a", "3", "c\x1b[31m", "4")
	evil := p.run("verify", "evil.zip").complains(13, "control+fold-collision+nonlocal")
	for _, want := range []string{"nonlocal: entry 0, ../evil: ", "fold-collision: entry 2, a: ", `control: entry 3, c\x1b[31m: `} {
		if !strings.Contains(evil.out, want) {
			t.Errorf("no %q in\n%s", want, evil.out)
		}
	}
	if strings.Contains(evil.out+evil.err, "\x1b") {
		t.Error("a control character reached the terminal")
	}
	var verdict foreignVerdict
	for line := range strings.Lines(p.run("verify", "evil.zip", "--json").exits(13).out) {
		if strings.Contains(line, `"foreign-archive"`) {
			result{T: t, out: line}.last(&verdict)
		}
	}
	if diff := cmp.Diff(map[string]int{"control": 1, "fold-collision": 1, "nonlocal": 1}, verdict.Counts); diff != "" || verdict.Verdict != "reject" {
		t.Error(verdict.Verdict, diff)
	}
	p.run("files", "evil.zip").complains(13)
	p.run("restore", "evil.zip", "--to", "dir:never", "--trust").complains(13, "refused")
	if _, err := os.Stat(p.path("never")); err == nil {
		t.Error("a rejected archive left something behind")
	}
}

// TestPretender: what has lifeboat's own entries is read as lifeboat's or not at all; what has none is a stranger's.
func TestPretender(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	p.run("download", "latest", "-o", "own.zip").exits(0)
	own, err := zip.OpenReader(p.path("own.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	var all, stripped, unsealed []string
	for _, f := range own.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		pair := []string{f.Name, string(data)}
		all = append(all, pair...)
		if !strings.HasPrefix(f.Name, "lifeboat/") {
			stripped = append(stripped, pair...)
		}
		if f.Name != "lifeboat/backup.json" {
			unsealed = append(unsealed, pair...)
		}
	}
	p.zipOf("again.zip", all...)
	p.run("verify", "again.zip").complains(13, "lifeboat")
	p.run("restore", "again.zip", "--to", "dir:never", "--trust").complains(13)
	p.zipOf("unsealed.zip", unsealed...)
	for _, args := range [][]string{{"verify", "unsealed.zip"}, {"restore", "unsealed.zip", "--to", "dir:never", "--trust"}} {
		if r := p.run(args...); r.code != 13 && r.code != 16 {
			t.Errorf("%v: exit code %d\n%s", args, r.code, r.out)
		}
	}
	if _, err := os.Stat(p.path("never")); err == nil {
		t.Error("a changed archive was restored")
	}
	p.zipOf("stripped.zip", stripped...)
	var verdict verifyMessage
	p.run("verify", "stripped.zip", "--json").exits(0).last(&verdict)
	if !verdict.OK || verdict.Signature != "unsigned" {
		t.Errorf("%+v", verdict)
	}
	p.run("restore", "stripped.zip", "--to", filepath.Join("dir:stripped")).complains(12)
}
