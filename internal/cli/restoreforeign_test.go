package cli

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/zipcheck"
)

// fixturesFolder is where the recorded fixtures are.
func fixturesFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("LIFEBOAT_FIXTURES")
	if folder == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	return folder
}

// TestForeignZipline brings a ZIP that somebody made of an export of Zipline and its uploads into an empty Zipline.
func TestForeignZipline(t *testing.T) {
	t.Parallel()
	folder, p := recorded(t)
	g := p.goal("fresh", empty("mara"))
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	p.zipOf("own.zip", append([]string{"zipline-export-2026-11-21.json", string(export)}, p.uploadsOf(filepath.Join(folder, "uploads"))...)...)
	p.inside("restore", p.path("own.zip"), "--to", "fresh", "-q").complains(12, "nobody signed it", "--trust")
	g.untouched(t)
	m := p.restoreOf(0, p.path("own.zip"), "--to", "fresh", "--trust")
	if m.Written != 62 || m.Signature != "unsigned" || m.Kind != "zipline" || len(m.Problems) > 0 {
		t.Errorf("%+v", m)
	}
	p.isReal(g, folder)
	raw := g.raw(t)
	if p.restoreOf(0, p.path("own.zip"), "--to", "fresh", "--trust"); g.raw(t) != raw {
		t.Error("the second run changed the target")
	}

	// An export with none of its files, and one that ends in the middle.
	p.goal("bare", empty("mara"))
	p.zipOf("bare.zip", "export.json", string(export))
	r := p.inside("restore", p.path("bare.zip"), "--to", "bare", "--trust", "-q")
	if r.code == 0 {
		t.Errorf("an archive without the files is restored without a word:\n%s", r.out)
	}
	p.zipOf("half.zip", append([]string{"export.json", string(export[:len(export)/2])}, p.uploadsOf(filepath.Join(folder, "uploads"))...)...)
	half := p.goal("half", empty("mara"))
	if r := p.inside("restore", p.path("half.zip"), "--to", "half", "--trust", "-q"); r.code != 13 && r.code != 16 {
		t.Errorf("half an export: exit code %d\n%s%s", r.code, r.out, r.err)
	}
	half.untouched(t)
}

// TestForeignLinkding brings the ZIP of a real linkding's full_backup into a data folder, where it is asserted.
func TestForeignLinkding(t *testing.T) {
	t.Parallel()
	zipped := filepath.Join(fixturesFolder(t), "linkding", "backup.zip")
	p := newPlace(t)
	p.backed()
	p.addTarget("marks: {kind: linkding, data: ./marks}")
	p.inside("restore", zipped, "--to", "marks", "-q").complains(12, "--trust")
	if _, err := os.Stat(p.path("marks")); err == nil {
		t.Error("a folder was made")
	}
	p.restoreOf(0, zipped, "--to", "marks", "--trust", "--dry-run")
	if entries, err := os.ReadDir(p.path("marks")); err == nil && len(entries) > 0 {
		t.Errorf("a dry run wrote %v", entries)
	}
	m := p.restoreOf(0, zipped, "--to", "marks", "--trust")
	if m.Confirmation == nil || len(m.Confirmation.Asserted) < 3 || len(m.Problems) > 0 {
		t.Errorf("%+v", m)
	}
	p.library("marks")
	before := contents(t, p.path("marks"))
	if m := p.restoreOf(0, zipped, "--to", "marks", "--trust"); m.Written != 0 || len(m.Problems) > 0 {
		t.Errorf("again: %+v", m)
	}
	if diff := cmp.Diff(before, contents(t, p.path("marks"))); diff != "" {
		t.Error("the second run changed the folder")
	}
	g := p.goal("fresh", empty("nora"))
	p.inside("restore", zipped, "--to", "fresh", "--trust", "-q").complains(16, "linkding", "fresh")
	g.untouched(t)
}

// TestForeignSquidex writes the synthetic backups of Squidex into folders, where each has the files of the ZIP.
func TestForeignSquidex(t *testing.T) {
	t.Parallel()
	folder := fixturesFolder(t)
	p := newPlace(t)
	p.backed()
	for _, name := range []string{"SYNTHETIC-v1", "SYNTHETIC-v2"} {
		file := filepath.Join(folder, "squidex", name+".zip")
		p.inside("restore", file, "--to", "dir:"+p.path(name), "-q").complains(12, "--trust")
		m := p.restoreOf(0, file, "--to", "dir:"+p.path(name), "--trust")
		if m.Kind != "squidex" || m.Written != 1083 {
			t.Errorf("%s: %+v", name, m)
		}
		sameAsZIP(t, file, p.path(name))
	}
}

// sameAsZIP compares a folder with the files of a ZIP, as Go's own reader has them.
func sameAsZIP(t *testing.T, name, folder string) {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	want := map[string]string{}
	for _, f := range z.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f.Name, "/") {
			want[filepath.Join(folder, f.Name)] = string(data)
		}
	}
	if diff := cmp.Diff(want, contents(t, folder)); diff != "" {
		t.Errorf("%s: %.2000s", name, diff)
	}
}

// TestHostileRestore restores every hostile and odd ZIP of the collection into a folder, with --trust. What is rejected
// leaves nothing, and nothing at all is written outside of the folder: neither beside it nor where the names lead.
func TestHostileRestore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(fixturesFolder(t), "zips")
	p := newPlace(t)
	p.backed()
	index := string(p.readFile(filepath.Join(folder, "INDEX.tsv")))
	lines := strings.Split(strings.TrimSpace(index), "\n")[1:]
	verdicts := map[zipcheck.Verdict]int{}
	for n, line := range lines {
		sample := strings.Split(line, "\t")[0]
		if testing.Short() && n%4 != 0 && !strings.HasPrefix(sample, "slip-") {
			continue
		}
		t.Run(sample, func(t *testing.T) { verdicts[p.of(t).hostile(filepath.Join(folder, sample))]++ })
	}
	t.Log(verdicts)
	if !testing.Short() && (verdicts[zipcheck.Reject] < 120 || verdicts[zipcheck.Accept] < 80 || verdicts[zipcheck.Sanitize] < 10) {
		t.Errorf("%v", verdicts)
	}
}

func (p *place) readFile(name string) []byte {
	p.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		p.Fatal(err)
	}
	return data
}

// hostile restores one sample, and returns the verdict of a strict look at it.
func (p *place) hostile(file string) zipcheck.Verdict {
	p.Helper()
	around0 := p.TempDir() // …/a/b/c/target, with canaries on the way
	deep := filepath.Join(around0, "a", "b", "c")
	if err := os.MkdirAll(filepath.Join(deep, "beside"), 0o755); err != nil {
		p.Fatal(err)
	}
	for _, dir := range []string{"", "a", "a/b", "a/b/c", "a/b/c/beside"} {
		for _, name := range []string{"canary", "evil.txt", "file", "passwd"} {
			if err := os.WriteFile(filepath.Join(around0, dir, name), []byte("canary"), 0o644); err != nil {
				p.Fatal(err)
			}
		}
	}
	elsewhere := absolute(p.T, file)
	before := around(p.T, around0)
	report := verdictOf(p.T, file)
	r := p.inside("restore", file, "--to", "dir:"+filepath.Join(deep, "target"), "--trust", "-q")
	after := around(p.T, around0)
	written := 0
	for name, what := range after {
		inside := name == "a/b/c/target" || strings.HasPrefix(name, "a/b/c/target/")
		if _, was := before[name]; was {
			if before[name] != what {
				p.Errorf("%s is %s now", name, what)
			}
		} else if !inside {
			p.Errorf("written outside of the target: %s", name)
		} else {
			written++
		}
		if inside && strings.HasPrefix(what, "/") {
			p.Errorf("%s leads to %s", name, what)
		}
		delete(before, name)
	}
	if len(before) > 0 {
		p.Errorf("gone: %v", before)
	}
	for _, name := range elsewhere {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			p.Errorf("%s was made", name)
		}
	}
	switch {
	case report.Verdict == zipcheck.Reject && r.code == 0:
		p.Errorf("restored, though it is %s", report)
	case report.Verdict != zipcheck.Reject && r.code != 0 && r.code != 3 && len(report.Entries) > 0:
		p.Errorf("exit code %d, though it is %s\n%s", r.code, report, r.err)
	case r.code != 0 && r.code != 3:
		if r.code != 13 && r.code != 14 && r.code != 16 {
			p.Errorf("exit code %d\n%s", r.code, r.err)
		}
		r.says("lifeboat: error: ", "lifeboat: hint: ")
		if written > 0 {
			p.Errorf("refused, and %d files and folders were written", written)
		}
	}
	return report.Verdict
}

// absolute returns the paths outside of any target that the names of a ZIP, or the targets of its links, mean and that
// do not exist.
func absolute(t *testing.T, file string) []string {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, "/") || strings.ContainsRune(f.Name, 0) {
			continue
		}
		if _, err := os.Lstat(f.Name); errors.Is(err, fs.ErrNotExist) {
			names = append(names, f.Name)
		}
	}
	return names
}

func verdictOf(t *testing.T, file string) *zipcheck.Report {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	report, err := zipcheck.Check(context.Background(), f, info.Size(), zipcheck.Limits{}, zipcheck.Strict)
	if err == nil {
		err = report.Read(context.Background(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return report
}
