package step

import (
	"errors"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// TestConflictIsNoList: a conflict that comes of what the list of a volume is made from is not taken for a list that is
// there already.
func TestConflictIsNoList(t *testing.T) {
	s := &Steps{Vault: vaulttest.New(t).Vault}
	source, id := backup.Source("photos"), backup.ID("20261121T120000Z-aaaaaa")
	p := &archivePlan{steps: s, work: s.work(events.Run{Source: source, ID: id}, "1")}
	l := list{vault.VolumeManifest(source, id, 1), vault.VolumeSeal(source, id, 1), vault.ArchiveVolume(source, id, 1)}
	changed := failure.New(failure.Conflict, "the manifest has changed meanwhile")
	next := func() (manifest.Entry, error, bool) { return manifest.Entry{}, changed, true }
	if err := p.writeVolume(t.Context(), l, manifest.Header{}, &manifest.Reader{}, volumeCut{entries: 1}, next); !errors.Is(err, changed) {
		t.Error(err)
	}
}
