package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// fixture is the real instance: its folder, and a place that serves it with a copy of its uploads.
func fixture(t *testing.T) (string, *place) {
	t.Helper()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	folder := filepath.Join(fixtures, "zipline")
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	p := bare(t, standin.New(standin.Options{Export: func() []byte { return export }, OwnerlessURLs: 1}))
	if err := os.CopyFS(p.path("uploads"), os.DirFS(filepath.Join(folder, "uploads"))); err != nil {
		t.Fatal(err)
	}
	return folder, p
}

// TestRealInstance takes the recorded instance through the whole cycle.
func TestRealInstance(t *testing.T) {
	t.Parallel()
	heavy(t)
	folder, p := fixture(t)
	p.asPeopleGetIt()
	first := p.backup(0)
	if first.Status != "completed" || first.Documents != 1 || first.Objects != 65 || first.PackedObjects != 65 || len(first.Problems) > 0 {
		t.Errorf("first backup: %+v", first)
	}
	p.run("verify", first.ID).exits(0)
	p.run("download", first.ID, "-o", "photos.zip").exits(0)
	p.readable("photos.zip")
	p.run("restore", "photos.zip", "--to", "dir:restored").exits(0)
	p.sameSums(filepath.Join(folder, "uploads.sha256"), "restored/uploads")
	restored, err := os.ReadFile(p.path("restored/export.json"))
	if err != nil || !json.Valid(restored) {
		t.Errorf("restored export.json: %v", err)
	}

	names := firstNames(t, p.path("uploads"), 2)
	for _, name := range names {
		flip(t, p.path("uploads/"+name), 0)
	}
	second := p.backup(0)
	if second.Status != "completed" || second.PackedObjects != 2 || second.Objects != 65 || len(second.Problems) > 0 {
		t.Errorf("second backup: %+v", second)
	}
	p.run("verify", second.ID).exits(0)
	p.run("restore", second.ID, "--to", "dir:again").exits(0)
	if diff := cmp.Diff(sums(t, p.path("uploads")), sums(t, p.path("again/uploads"))); diff != "" {
		t.Error(diff)
	}
	p.good(first.ID)
}

// readable opens an archive with every foreign reader of this machine.
func (p *place) readable(name string) {
	p.Helper()
	for _, reader := range [][]string{{"unzip", "-tqq", name}, {"7z", "t", name}, {"python3", "-m", "zipfile", "-t", name}} {
		if _, err := exec.LookPath(reader[0]); err != nil {
			p.Logf("%s is not on this machine", reader[0])
			continue
		}
		cmd := exec.Command(reader[0], reader[1:]...)
		cmd.Dir = p.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			p.Errorf("%s: %v\n%s", strings.Join(reader, " "), err, out)
		}
	}
}

// sameSums holds a folder against a list as sha256sum writes it.
func (p *place) sameSums(list, folder string) {
	p.Helper()
	file, err := os.Open(list)
	if err != nil {
		p.Fatal(err)
	}
	defer file.Close()
	want := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		want[filepath.Base(name)] = sum
	}
	if diff := cmp.Diff(want, sums(p.T, p.path(folder))); diff != "" || len(want) == 0 {
		p.Errorf("%d sums (-want +got):\n%s", len(want), diff)
	}
}

// sums returns the SHA-256 of each file of a folder by its name.
func sums(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		file, err := os.Open(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			t.Fatal(err)
		}
		file.Close()
		found[entry.Name()] = hex.EncodeToString(sum.Sum(nil))
	}
	return found
}

// firstNames returns files that are not empty.
func firstNames(t *testing.T, folder string, n int) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Size() > 0 && len(names) < n {
			names = append(names, entry.Name())
		}
	}
	return names
}

// flip changes one byte of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0xff
	if _, err := file.WriteAt(one, at); err != nil {
		t.Fatal(err)
	}
}

// keysOf returns the keys of a JSON object in the order in which they stand.
func keysOf(t *testing.T, object []byte) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		t.Fatalf("%q is no object: %v", object, err)
	}
	var keys []string
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
	}
	return keys
}

// TestSurface holds the JSON of backup, verify and errors against the fields that robots were promised.
func TestSurface(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	lastKeys := func(text string) (string, map[string]json.RawMessage) {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		var values map[string]json.RawMessage
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &values); err != nil {
			t.Fatal(err)
		}
		return strings.Join(keysOf(t, []byte(lines[len(lines)-1])), " "), values
	}
	made := p.run("backup", "photos", "--json").exits(0)
	keys, values := lastKeys(made.out)
	if want := "message_type id source scope status proof documents objects bytes packed_objects packed_bytes archive notes problems link"; keys != want {
		t.Errorf("backup:\n%s\nwant\n%s", keys, want)
	}
	if got := strings.Join(keysOf(t, values["archive"]), " "); got != "key bytes crc32" {
		t.Errorf("archive: %s", got)
	}
	if string(values["problems"]) != "[]" || string(values["notes"]) != "[]" || !strings.HasPrefix(string(values["link"]), `"http://127.0.0.1:8420/l/`) {
		t.Errorf("%s", made.out)
	}
	for line := range strings.Lines(made.out) {
		if !json.Valid([]byte(line)) || !strings.HasPrefix(line, `{"message_type":`) {
			t.Errorf("stdout has %q", line)
		}
	}
	if made.err != "" {
		t.Errorf("stderr has %q", made.err)
	}
	checked := p.run("verify", "latest", "--json").exits(0)
	keys, values = lastKeys(checked.out)
	if keys != "message_type ok signature entries bytes problems" || string(values["ok"]) != "true" || string(values["problems"]) != "[]" {
		t.Errorf("verify: %s", checked.out)
	}
	if err := os.Truncate(p.path("uploads/README.md"), 5); err != nil {
		t.Fatal(err)
	}
	odd := p.run("backup", "photos", "--json", "-q").exits(3)
	_, values = lastKeys(odd.out)
	var problems []json.RawMessage
	if err := json.Unmarshal(values["problems"], &problems); err != nil || len(problems) != 1 {
		t.Fatalf("%v: %s", err, odd.out)
	}
	if got := strings.Join(keysOf(t, problems[0]), " "); got != "kind item message" {
		t.Errorf("problem: %s", got)
	}
	wrong := p.run("backup", "phots", "--json").exits(10)
	keys, _ = lastKeys(wrong.err)
	if keys != "message_type kind message hint" || wrong.out != "" || !strings.HasPrefix(wrong.err, `{"message_type":"error","kind":"not found",`) {
		t.Errorf("error: %s%s", wrong.out, wrong.err)
	}
}

// TestProgress: plain lines where nobody sits at a terminal, none with --quiet.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	plain := p.run("backup", "photos").exits(0)
	for _, phase := range []string{"snapshot", "pack", "assemble", "seal", "notify"} {
		if !strings.Contains("\n"+plain.err, "\n"+phase) {
			t.Errorf("no line of %s in %q", phase, plain.err)
		}
	}
	if strings.ContainsAny(plain.err+plain.out, "\r\x1b") {
		t.Errorf("control characters in %q", plain.err+plain.out)
	}
	quiet := p.run("backup", "photos", "--quiet").exits(0)
	if quiet.err != "" {
		t.Errorf("--quiet says %q", quiet.err)
	}
}
