package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
)

// TestDamagedPacks: packs that are damaged and then right again take the mark away, and no archive is thrown away that
// may be the only copy.
func TestDamagedPacks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.backup(0)
	packs, err := filepath.Glob(p.path("vault/buckets/vault/packs/photos/??/*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	flip(t, packs[0], 100)
	p.run("verify", "photos", "--deep").complains(13)
	p.damageOf(made.ID, catalog.DamagedPacks)
	p.run("verify", made.ID).complains(13, "restore from another backup")
	p.damageOf(made.ID, catalog.DamagedPacks)
	archive := p.path(filepath.Join("vault/buckets/vault", made.Archive.Key))
	if err := os.Truncate(archive, made.Archive.Bytes/2); err != nil {
		t.Fatal(err)
	}
	p.run("archive", made.ID).complains(13, "no archive can be made of them")
	if info, err := os.Stat(archive); err != nil || info.Size() != made.Archive.Bytes/2 {
		t.Errorf("what was left of the archive is gone: %v", err)
	}
	flip(t, packs[0], 100)
	if said := p.run("verify", "photos", "--deep").exits(0); strings.Contains(said.err, "stays marked") {
		t.Error(said.err)
	}
	if out := p.run("status").exits(0).out; strings.Contains(out, "DAMAGED") {
		t.Error(out)
	}
	p.run("archive", made.ID).exits(0)
	p.good(made.ID)

	// A manifest that nobody here signed proves nothing.
	flip(t, packs[0], 100)
	p.run("verify", "photos", "--deep").complains(13)
	flip(t, packs[0], 100)
	if err := os.Rename(p.path("state/keys"), p.path("keys")); err != nil {
		t.Fatal(err)
	}
	p.run("verify", "photos", "--deep").exits(0).says("stays marked as damaged: it is not signed with the key of this vault")
	p.damageOf(made.ID, catalog.DamagedPacks)
}

// damageOf fails unless the record says that this is damaged.
func (p *place) damageOf(id, want string) {
	p.Helper()
	p.within(func(ctx context.Context, s *session) error {
		r, err := s.catalog.Record(ctx, "photos", backup.ID(id))
		if r.Damage == "" || r.DamageOf != want {
			p.Errorf("damage %q of %q, want of %q", r.Damage, r.DamageOf, want)
		}
		return err
	})
}

// TestMissingKey: without the key of the vault no backup can be made, and the doctor says so.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	if err := os.Rename(p.path("state/keys"), p.path("keys")); err != nil {
		t.Fatal(err)
	}
	p.run("backup", "photos").complains(10, "the signing key of the vault is not in")
	if out := p.run("doctor").complains(10, "key vault").out; !strings.Contains(out, "trouble  key        vault: the signing key of the vault is not in") {
		t.Error(out)
	}
}

// TestAtWork: what a live run holds is left alone, and what a dead one holds is called interrupted.
func TestAtWork(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	run := catalog.Record{
		ID: "20991121T120000Z-zzzzzz", Source: "photos", Kind: "zipline", Status: backup.InProgress, Started: time.Now().UTC(),
	}
	hold := func(holder string) {
		p.within(func(ctx context.Context, s *session) error {
			if err := s.catalog.Create(ctx, run); err != nil {
				return err
			}
			_, err := s.catalog.Acquire(ctx, "photos", catalog.Lease{Run: run.ID, Holder: holder}, time.Now(), func(catalog.Lease) bool { return true })
			return err
		})
	}
	hold("elsewhere pid 1")
	p.run("prune", "--dry-run").complains(11, "is at work: backup "+string(run.ID), "wait for the run")
	if out := p.run("list").exits(0).out; strings.Contains(out, "interrupted") || !strings.Contains(out, "in progress") {
		t.Error(out)
	}
	hold(machineName() + " pid 999999999")
	if out := p.run("list").exits(0).out; !strings.Contains(out, " interrupted ") || strings.Contains(out, "in progress") {
		t.Error(out)
	}
	if out := p.run("list", "--json").exits(0).out; !strings.Contains(out, `"interrupted":true`) {
		t.Error(out)
	}
	if out := p.run("status").exits(0).out; !strings.Contains(out, " interrupted ") {
		t.Error(out)
	}
	if out := p.run("show", string(run.ID)).exits(0).out; !strings.Contains(out, "it was interrupted: `lifeboat backup photos` goes on with it, or closes it") {
		t.Error(out)
	}
}

// TestNoVaultYet: what only reads makes no vault, and nothing in the folder that a wrong path names.
func TestNoVaultYet(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.make("elsewhere")
	p.write("elsewhere/mine", "mine")
	p.config("vault: ./vault", "vault: ./elsewhere")
	for _, args := range [][]string{{"list"}, {"status"}, {"verify", "latest"}, {"restore", "latest", "--to", "dir:never"}, {"prune"}, {"key", "export"}} {
		p.run(args...).complains(10, "there is no vault at ", "elsewhere yet", "makes a vault")
	}
	if entries, err := os.ReadDir(p.path("elsewhere")); len(entries) != 1 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := os.Stat(p.path("state")); err == nil {
		t.Error("a key was made")
	}
	p.backup(0)
	p.run("list").exits(0)
}
