package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
)

// within opens the vault of the place in this process.
func (p *place) within(do func(ctx context.Context, s *session) error) {
	p.Helper()
	c := &cli{in: strings.NewReader(""), out: io.Discard, err: io.Discard, configFile: p.path("lifeboat.yaml")}
	if err := c.prepare(); err != nil {
		p.Fatal(err)
	}
	s, err := c.open(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	if err := do(p.Context(), s); err != nil {
		p.Error(err)
	}
	if err := s.close(); err != nil {
		p.Error(err)
	}
}

// inVolumes makes a backup whose archive is split into smaller volumes than a configuration may ask for.
func inVolumes(t *testing.T) (*place, string, archiveMessage) {
	t.Helper()
	p := newPlace(t)
	p.config("    notify:", "    archive: on-demand\n    notify:")
	id := p.backup(0).ID
	p.within(func(ctx context.Context, s *session) error {
		_, err := s.catalog.Update(ctx, "photos", backup.ID(id), func(r *catalog.Record) error {
			r.Archive.Split = 128 << 10
			return nil
		})
		return err
	})
	var made struct{ Archive archiveMessage }
	p.run("archive", id, "--json", "--quiet").exits(0).last(&made)
	if len(made.Archive.Volumes) < 3 {
		t.Fatalf("%+v", made.Archive)
	}
	return p, id, made.Archive
}

// TestVolumes takes a split archive from the vault to files and back into a folder.
func TestVolumes(t *testing.T) {
	t.Parallel()
	p, id, a := inVolumes(t)
	n := len(a.Volumes)
	p.good(id)
	if out := p.run("list").exits(0).out; !strings.Contains(out, fmt.Sprintf("%d volumes", n)) {
		t.Errorf("%s", out)
	}
	if out := p.run("show", id).exits(0).out; !regexp.MustCompile(`(?m)^volume 2 +archives/photos/\S+\.v002\.zip, `).MatchString(out) {
		t.Errorf("%s", out)
	}
	p.run("download", id, "-o", "-").complains(2, fmt.Sprintf("has %d volumes", n), "-o photos.zip")
	p.write("photos.v002.zip", "mine")
	p.run("download", id, "-o", "photos.zip").complains(11, "photos.v002.zip exists already, with other bytes")
	if _, err := os.Stat(p.path("photos.v001.zip")); err == nil {
		t.Error("a volume was written before it was clear that all can be")
	}
	p.remove("photos.v002.zip")
	p.run("download", id, "-o", "photos.zip").exits(0)
	p.remove("photos.v003.zip")
	before, err := os.Stat(p.path("photos.v001.zip"))
	if err != nil {
		t.Fatal(err)
	}
	again := p.run("download", id, "-o", "photos.zip", "--json", "-q").exits(0)
	if strings.Count(again.out, `"message_type":"download"`) != n {
		t.Errorf("%s", again.out)
	}
	if after, err := os.Stat(p.path("photos.v001.zip")); err != nil || !os.SameFile(before, after) {
		t.Errorf("a volume that was there was replaced: %v", err)
	}
	files, err := filepath.Glob(p.path("photos.v*.zip"))
	if err != nil || len(files) != n {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i := range files {
		name := fmt.Sprintf("photos.v%03d.zip", i+1)
		p.readable(name)
		said := p.run("verify", name).exits(0).out
		other := fmt.Sprintf("photos.v%03d.zip", (i+1)%n+1)
		if !strings.Contains(said, fmt.Sprintf("volume %d of %d: sound; the others are ", i+1, n)) || n <= mostVolumes+1 && !strings.Contains(said, other) {
			t.Errorf("%s", said)
		}
	}
	p.run("restore", id, "--to", "dir:want").exits(0)
	p.run("restore", "photos.v002.zip", "--to", "dir:got").exits(0)
	if diff := cmp.Diff(p.tree("want"), p.tree("got")); diff != "" {
		t.Errorf("%.2000s", diff)
	}
	p.run("download", id).exits(0)
	if _, err := os.Stat(p.path(fmt.Sprintf("photos-%s.v001.zip", id))); err != nil {
		t.Error(err)
	}
	urls := p.run("link", id, "--direct", "--json").exits(0).out
	if strings.Count(urls, `"url":"http`) != n || !strings.Contains(urls, fmt.Sprintf(`"volume":%d}`, n)) {
		t.Errorf("%s", urls)
	}
}

// tree returns mode, time and content of each file below a folder.
func (p *place) tree(root string) map[string]string {
	p.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(p.path(root), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(p.path(root), name)
		all[rel] = info.Mode().String() + info.ModTime().String() + string(p.read(filepath.Join(root, rel)))
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return all
}

// TestVolumesNotWhole: where a volume is missing or damaged, nothing is written.
func TestVolumesNotWhole(t *testing.T) {
	t.Parallel()
	p, id, a := inVolumes(t)
	p.run("download", id, "-o", "photos.zip").exits(0)
	p.write("kept.zip", string(p.read("photos.v002.zip")))
	never := func() {
		t.Helper()
		if _, err := os.Stat(p.path("never")); err == nil {
			t.Error("something was written")
		}
	}
	p.remove("photos.v002.zip")
	p.run("restore", "photos.v001.zip", "--to", "dir:never").complains(10, "beside it is missing: photos.v002.zip", "lifeboat download "+id)
	never()
	p.run("verify", "photos.v001.zip").exits(0)
	p.write("photos.v002.zip", string(p.read("photos.v001.zip")))
	p.run("restore", "photos.v001.zip", "--to", "dir:never").complains(13, "photos.v002.zip is not volume 2 of")
	never()
	p.write("photos.v002.zip", string(p.read("kept.zip")))
	flip(t, p.path("photos.v003.zip"), 60)
	p.run("restore", "photos.v001.zip", "--to", "dir:never").complains(13, "is damaged")
	never()
	p.run("verify", "photos.v003.zip").complains(13, "does not verify")
	p.run("verify", "photos.v001.zip").exits(0)

	stored := p.path(filepath.Join("vault/buckets/vault", a.Volumes[1].Key))
	flip(t, stored, 60)
	p.run("download", id, "-o", "second.zip").complains(13)
	if _, err := os.Stat(p.path("second.v002.zip")); err == nil {
		t.Error("a damaged volume was written")
	}
	p.run("verify", id).complains(13, "does not verify")
	p.remove(filepath.Join("vault/buckets/vault", a.Volumes[1].Key))
	p.run("archive", id).exits(0)
	p.good(id)
}

// TestVolumesInsteadOfPacks: packs are damaged, the volumes in the vault are whole.
func TestVolumesInsteadOfPacks(t *testing.T) {
	t.Parallel()
	p, id, _ := inVolumes(t)
	packs, err := filepath.Glob(p.path("vault/buckets/vault/packs/photos/??/*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, pack := range packs {
		flip(t, pack, 100)
	}
	p.run("restore", id, "--to", "dir:restored").exits(3).says("its archive in the vault is whole and is restored instead", "packs of backup "+id+" are damaged", "backup photos --rehash")
	p.damageOf(id, catalog.DamagedPacks)
	p.run("status").exits(3).says("damaged\n")
	p.run("verify", id).complains(13, "restore from another backup", "this one from its archive", "backup photos --rehash")
	p.run("verify", id, "--deep").complains(13, "only from its archive")
	p.run("drill", "photos", "--backup", id).exits(3).says("its packs are damaged, and its archive was restored")
	if string(p.read("restored/uploads/README.md")) != string(p.read("uploads/README.md")) {
		t.Error("uploads/README.md differs")
	}
}

// TestVolumesToBucket restores volumes into a bucket: those of files, and those in the vault where packs are damaged.
func TestVolumesToBucket(t *testing.T) {
	t.Parallel()
	p, id, _ := inVolumes(t)
	store := newPlace(t)
	address, env, done := store.bucket("restored")
	t.Cleanup(done)
	p.env = append(p.env, env...)
	flags := []string{"--endpoint", address, "--region", "us-east-1", "--access-key", "env:STORE_KEY", "--secret-key", "env:STORE_SECRET"}
	p.run("download", id, "-o", "photos.zip").exits(0)
	p.run("restore", id, "--to", "dir:whole").exits(0)
	want := map[string]string{}
	for name := range p.tree("whole") {
		key := filepath.ToSlash(name)
		want["files/"+key], want["vault/"+key] = string(p.read("whole/"+name)), string(p.read("whole/"+name))
	}
	p.run(append([]string{"restore", "photos.v003.zip", "--to", "s3://restored/files"}, flags...)...).exits(0)
	packs, err := filepath.Glob(p.path("vault/buckets/vault/packs/photos/??/*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, pack := range packs {
		flip(t, pack, 100)
	}
	p.run(append([]string{"restore", id, "--to", "s3://restored/vault"}, flags...)...).exits(3).says("is restored instead")
	if diff := cmp.Diff(want, store.objects("restored")); diff != "" || len(want) < 20 {
		t.Errorf("%d objects (-want +got):\n%.2000s", len(want), diff)
	}
}

func (p *place) read(name string) []byte {
	p.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		p.Fatal(err)
	}
	return data
}

// TestArchiveHeld: another run works on the source.
func TestArchiveHeld(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("    notify:", "    archive: on-demand\n    notify:")
	id := p.backup(0).ID
	p.within(func(ctx context.Context, s *session) error {
		_, err := s.catalog.Acquire(ctx, "photos", catalog.Lease{Run: "20261121T120000Z-zzzzzz", Holder: "elsewhere pid 1"}, time.Now(), nil)
		return err
	})
	p.run("archive", id).complains(11, "the source photos is at work: backup 20261121T120000Z-zzzzzz works on it (elsewhere pid 1)", "wait for the run")
	p.within(func(ctx context.Context, s *session) error {
		return s.catalog.Release(ctx, "photos", "20261121T120000Z-zzzzzz")
	})
	p.run("archive", id).exits(0)
	p.within(func(ctx context.Context, s *session) error {
		_, err := s.catalog.Update(ctx, "photos", backup.ID(id), func(r *catalog.Record) error { r.Status = backup.Failed; return nil })
		return err
	})
	p.run("archive", id).complains(11, "is failed")
}

// TestExpiredArchive says since when, and what to do.
func TestExpiredArchive(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.backup(0)
	p.run("download", made.ID, "-o", "first.zip").exits(0)
	p.within(func(ctx context.Context, s *session) error { // as pruning does
		_, err := s.catalog.Update(ctx, "photos", backup.ID(made.ID), func(r *catalog.Record) error {
			r.Archive.Key, r.Archive.Expired = "", time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
			return nil
		})
		return err
	})
	p.remove(filepath.Join("vault/buckets/vault", made.Archive.Key))
	if out := p.run("list").exits(0).out; !strings.Contains(out, " expired ") {
		t.Errorf("%s", out)
	}
	if out := p.run("show", made.ID).exits(0).out; !strings.Contains(out, "none: it expired on 2026-11-20 (`lifeboat archive "+made.ID+"` makes it again)") {
		t.Errorf("%s", out)
	}
	p.run("download", made.ID).complains(10, "the archive of backup "+made.ID+" expired on 2026-11-20", "`lifeboat archive "+made.ID+"` makes it again")
	p.run("verify", made.ID).exits(0)
	p.run("archive", made.ID).exits(0)
	p.run("download", made.ID, "-o", "again.zip").exits(0)
	if string(p.read("first.zip")) != string(p.read("again.zip")) {
		t.Error("it was made again with other bytes")
	}
	if out := p.run("list").exits(0).out; !strings.Contains(out, " one file ") {
		t.Errorf("%s", out)
	}
}
