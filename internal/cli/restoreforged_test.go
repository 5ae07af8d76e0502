package cli

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rewritten writes a ZIP again, without changing an entry that is kept; change may drop entries and add others.
func (p *place) rewritten(to string, from []byte, change func(files []*zip.File) []*zip.File, extra ...string) {
	p.Helper()
	z, err := zip.NewReader(bytes.NewReader(from), int64(len(from)))
	if err != nil {
		p.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range change(z.File) {
		if err := w.Copy(f); err != nil {
			p.Fatal(err)
		}
	}
	for i := 0; i < len(extra); i += 2 {
		body, err := w.CreateHeader(&zip.FileHeader{Name: extra[i], Method: zip.Store})
		if err == nil {
			_, err = body.Write([]byte(extra[i+1]))
		}
		if err != nil {
			p.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		p.Fatal(err)
	}
	p.write(to, b.String())
}

// refusedFile fails unless a file can be restored neither into the Zipline nor into a folder, and both are as before.
func (p *place) refusedFile(g *goal, why, name string, trust bool, codes ...int) {
	p.Helper()
	flags := []string{"-q"}
	if trust {
		flags = append(flags, "--trust")
	}
	for _, to := range []string{"fresh", "dir:" + p.path("never")} {
		r := p.inside(append([]string{"restore", p.path(name), "--to", to}, flags...)...)
		good := false
		for _, code := range codes {
			good = good || r.code == code
		}
		if !good {
			p.Errorf("%s, to %s: exit code %d, want one of %v\n%s%s", why, to, r.code, codes, r.out, r.err)
			continue
		}
		r.complains(r.code)
	}
	g.untouched(p.T)
	if _, err := os.Stat(p.path("never")); err == nil {
		p.Errorf("%s: a folder was made", why)
		_ = os.RemoveAll(p.path("never"))
	}
}

// small replaces the place's Zipline and its uploads by ones of a few kilobytes, so that an archive is read in no time.
func (p *place) small() {
	p.Helper()
	for _, name := range []string{"Qm3vT1.mp4", "s8Yk2L.webm", "handbook-2026.pdf", "ZkP0aa.jpg", "ZkP0ab.jpg", "site-backup.tar.tar.gz"} {
		if err := os.Truncate(p.path("uploads/"+name), 100); err != nil {
			p.Fatal(err)
		}
	}
}

// TestForgedFiles: an archive of lifeboat with one bit that is another, an entry less or one more, or with its own
// folder gone or forged, is refused before the first write.
func TestForgedFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.small()
	p.inside("backup", "photos", "-q").exits(3) // what is shorter than its row is a problem of the backup, not of the archive
	_, done := p.client()
	t.Cleanup(done)
	p.inside("download", "latest", "-q", "-o", p.path("own.zip")).exits(0)
	data := p.read("own.zip")
	g := p.goal("fresh", empty("nora"))

	random := rand.New(rand.NewPCG(20261122, 5))
	var places []int
	for range 60 {
		places = append(places, random.IntN(len(data)))
	}
	for _, mark := range []string{"PK\x01\x02", "PK\x05\x06", "lifeboat/manifest.jsonl", "lifeboat/backup.json", `"signature"`, "export.json", "lifeboat/README.txt"} {
		at := bytes.LastIndex(data, []byte(mark))
		if at < 0 {
			t.Fatalf("the archive has no %q", mark)
		}
		places = append(places, at, at+len(mark)+3, min(at+30, len(data)-1))
	}
	places = append(places, 0, len(data)-1)
	for i, at := range places {
		if testing.Short() && i%4 != 0 {
			continue
		}
		changed := bytes.Clone(data)
		changed[at] ^= 1 << (at % 8)
		p.write("changed.zip", string(changed))
		p.refusedFile(g, "bit "+strconv.Itoa(at%8)+" of byte "+strconv.Itoa(at)+" of "+strconv.Itoa(len(data)), "changed.zip", i%2 == 0, 13, 16)
	}
	for _, n := range []int{1, len(data) / 2, len(data) - 22} {
		p.write("changed.zip", string(data[:n]))
		p.refusedFile(g, "the first "+strconv.Itoa(n)+" bytes", "changed.zip", true, 13, 16)
	}

	all := func(files []*zip.File) []*zip.File { return files }
	drop := func(drops func(name string) bool) func([]*zip.File) []*zip.File {
		return func(files []*zip.File) (kept []*zip.File) {
			for _, f := range files {
				if !drops(f.Name) {
					kept = append(kept, f)
				}
			}
			return kept
		}
	}
	named := func(name string) func([]*zip.File) []*zip.File { return drop(func(n string) bool { return n == name }) }
	for _, c := range []struct {
		why    string
		change func([]*zip.File) []*zip.File
		extra  []string
	}{
		{"a file is missing", named("uploads/README.md"), nil},
		{"the export is missing", named("export.json"), nil},
		{"a file more", all, []string{"uploads/one-more.txt", "hello"}},
		{"a file twice", all, []string{"uploads/README.md", "hello"}},
		{"a file is another", named("uploads/README.md"), []string{"uploads/README.md", "hello"}},
		{"the manifest is missing", named("lifeboat/manifest.jsonl"), nil},
		{"the seal is missing", named("lifeboat/backup.json"), nil},
		{"the manifest is empty", named("lifeboat/manifest.jsonl"), []string{"lifeboat/manifest.jsonl", ""}},
		{"the seal is forged", named("lifeboat/backup.json"), []string{"lifeboat/backup.json", `{"format":1}`}},
		{"a file more of its own", all, []string{"lifeboat/more", "hello"}},
	} {
		p.rewritten("changed.zip", data, c.change, c.extra...)
		p.refusedFile(g, c.why, "changed.zip", false, 13, 16)
		p.refusedFile(g, c.why, "changed.zip", true, 13, 16)
	}
	p.rewritten("stripped.zip", data, drop(func(name string) bool { return strings.HasPrefix(name, "lifeboat/") }))
	p.refusedFile(g, "its own folder is gone", "stripped.zip", false, 12)
}

// TestForgedKey: what another vault has signed is whole, and nobody here knows who signed it.
func TestForgedKey(t *testing.T) {
	t.Parallel()
	p, stranger := newPlace(t), newPlace(t)
	p.backed()
	stranger.backed()
	stranger.inside("download", "latest", "-q", "-o", p.path("strange.zip")).exits(0)
	g := p.goal("fresh", empty("nora"))
	p.inside("restore", p.path("strange.zip"), "--to", "fresh", "-q").complains(12, "nobody whose key is known here signed", "--trust")
	p.inside("restore", p.path("strange.zip"), "--to", "fresh", "-q", "--dry-run").complains(12)
	g.untouched(t)
	if m := p.restoreOf(0, p.path("strange.zip"), "--to", "fresh", "--trust"); m.Written != 18 || m.Signature == "authenticated" {
		t.Errorf("%+v", m)
	}
}

// TestDamagedVault: what rotted in the vault's packs reaches no target, with either check, and a drill finds it.
func TestDamagedVault(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	if err := os.RemoveAll(p.path("vault/buckets/vault/archives")); err != nil {
		t.Fatal(err)
	}
	flipped := 0
	err := filepath.WalkDir(p.path("vault/buckets/vault/packs/photos"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data := p.readFile(name)
		if at := bytes.Index(data, p.read("uploads/README.md")); at >= 0 && flipped == 0 {
			flipped++
			flip(t, name, int64(at)+100)
		}
		return nil
	})
	if err != nil || flipped != 1 {
		t.Fatal(flipped, err)
	}
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(13, "damaged", "nothing was written")
	p.inside("restore", "latest", "--to", "fresh", "-q", "--dry-run").complains(13)
	g.untouched(t)
	p.inside("drill", "photos", "-q").complains(13, "damaged")
	p.inside("restore", "latest", "--to", "fresh", "--check", "stored", "-q").complains(13, "README.md")
	if changes := g.changes(); len(changes) > 0 { // files may be there; the application knows nothing of them
		t.Errorf("the target was asked: %v", changes)
	}
	if _, err := os.Stat(filepath.Join(g.folder, "README.md")); err == nil {
		t.Error("the damaged file was written")
	}
}
