package cli

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
)

// TestPruneArchives: archives go when the source's `archive: {keep: …}` says so, and are made again; those of a source
// that is configured no longer stay.
func TestPruneArchives(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("    notify:", "    archive: {keep: 7d}\n    notify:")
	made := p.backup(0)
	file := filepath.Join("vault/buckets/vault", made.Archive.Key)
	first := p.read(file)
	p.nothingPruned("photos")
	p.read(file)
	p.within(func(ctx context.Context, s *session) error {
		_, err := s.catalog.Update(ctx, "photos", backup.ID(made.ID), func(r *catalog.Record) error {
			r.Archive.Made = time.Now().Add(-8 * 24 * time.Hour)
			return nil
		})
		return err
	})
	said := struct {
		Archives     int
		ArchiveBytes int64 `json:"archive_bytes"`
	}{}
	p.run("prune", "--dry-run", "--json").exits(0).last(&said)
	if p.read(file); said.Archives != 1 || said.ArchiveBytes != int64(len(first)) {
		t.Errorf("%+v", said)
	}
	p.config("  photos:", "  renamed:")
	p.nothingPruned("photos")
	p.read(file)
	p.config("  renamed:", "  photos:")
	p.run("prune", "photos", "--json").exits(0).last(&said)
	if said.Archives != 1 || said.ArchiveBytes != int64(len(first)) {
		t.Errorf("%+v", said)
	}
	if out := p.run("list").exits(0).out; !strings.Contains(out, " expired ") {
		t.Error(out)
	}
	p.run("download", made.ID).complains(10, "expired on", "`lifeboat archive "+made.ID+"` makes it again")
	p.nothingPruned("photos")
	p.run("archive", made.ID).exits(0)
	if string(p.read(file)) != string(first) {
		t.Error("it was made again with other bytes")
	}
	p.run("prune").exits(0)
	p.read(file) // it is new
}

func (p *place) nothingPruned(source string) {
	p.Helper()
	if out := p.run("prune").exits(0).out; !regexp.MustCompile(`(?m)^` + source + ` +– +– +– +– +–`).MatchString(out) {
		p.Error(out)
	}
}
