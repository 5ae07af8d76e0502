package archive_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"lifeboat/internal/archive"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/manifest"
)

var update = flag.Bool("update", false, "write testdata/golden-1.zip and the worked example of FORMAT.md anew")

const golden = "testdata/golden-1.zip"

// TestGolden: what was written once is written like that for as long as the format is 1. (package verify reads it.)
func TestGolden(t *testing.T) {
	made := archivetest.Golden(t).Zip(t)
	if *update {
		if err := os.WriteFile(golden, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(made, data) {
		return
	}
	before, after := sealOf(t, data), sealOf(t, made)
	if before.Manifest.SHA256 == after.Manifest.SHA256 && before.Manifest.Deflated != after.Manifest.Deflated {
		t.Skip("this release of Go compresses the manifest in another way: the golden archive can be read, but not be made again")
	}
	t.Errorf("the same backup gives another archive than the golden one; manifests have the SHA-256 %s and %s", before.Manifest.SHA256, after.Manifest.SHA256)
}

func sealOf(t *testing.T, data []byte) manifest.Seal {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := manifest.ParseSeal(contentOf(t, r, archive.SealPath))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contentOf(t *testing.T, r *zip.Reader, name string) []byte {
	t.Helper()
	f, err := r.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	beginExample = "<!-- written by go test ./internal/archive -run TestWorkedExample -update -->\n"
	endExample   = "<!-- end -->\n"
)

// TestWorkedExample holds the numbers of FORMAT.md against the golden archive.
func TestWorkedExample(t *testing.T) {
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), beginExample)
	old, after, ok2 := strings.Cut(rest, endExample)
	if !ok || !ok2 {
		t.Fatal("FORMAT.md has no place for the example")
	}
	example := example(t, data)
	if *update {
		if err := os.WriteFile("FORMAT.md", []byte(before+beginExample+example+endExample+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != example {
		t.Errorf("the worked example is not the golden archive's: run the command that stands above it; it would be\n%s", example)
	}
}

// example describes an archive, offset by offset.
func example(t *testing.T, data []byte) string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	row := func(at, length int, format string, args ...any) {
		rows = append(rows, fmt.Sprintf("| `%04x` | `%04x` | %s |", at, length, fmt.Sprintf(format, args...)))
	}
	at, directory := 0, 0
	for _, f := range r.File {
		body, err := f.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		row(at, int(body)-at, "local header of `%s`", f.Name)
		row(int(body), int(f.CompressedSize64), "its body: %d bytes, CRC-32 `%08x`", f.UncompressedSize64, f.CRC32)
		at = int(body) + int(f.CompressedSize64)
		directory += 46 + len(f.Name)
	}
	begin := at
	for _, f := range r.File {
		row(at, 46+len(f.Name), "central header of `%s`", f.Name)
		at += 46 + len(f.Name)
	}
	row(at, len(data)-at, "end record: %d entries, directory of `%04x` bytes at `%04x`", len(r.File), directory, begin)
	text := fmt.Sprintf("`%s` has %d bytes (`%04x`). All numbers in the table are hexadecimal.\n\n| offset | length | what |\n| --- | --- | --- |\n%s\n",
		golden, len(data), len(data), strings.Join(rows, "\n"))
	text += "\nThe first local header, and the end record:\n\n```\n" + hex.Dump(data[:43]) + "…\n" + hex.Dump(data[at:]) + "```\n"
	text += "\n`lifeboat/backup.json`:\n\n```json\n" + string(contentOf(t, r, archive.SealPath)) + "```\n"
	return text + "\n`lifeboat/manifest.jsonl`, its long lines cut:\n\n```json\n" + cutLines(contentOf(t, r, manifest.PathInArchive), 180) + "```\n"
}

func cutLines(text []byte, width int) string {
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if runes := []rune(strings.TrimSuffix(line, "\n")); len(runes) > width {
			line = string(runes[:width]) + " …\n"
		}
		out.WriteString(line)
	}
	return out.String()
}
