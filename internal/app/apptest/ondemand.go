package apptest

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// onDemand has an archive made when the backup is done, in volumes: together they hold what the backup holds, a folder
// is restored from them, and they are the same once more after they were given up.
func onDemand(t *testing.T, v *vault.Vault, s Subject) {
	w := newWorld(t, v, s.Source)
	w.policy = step.Policy{OnDemand: true, Split: 68 << 10} // of which 64 KiB are set aside for what lifeboat adds
	record := w.completed()
	if w.hasArchive(record.ID) || len(record.Archive.Files()) > 0 {
		t.Errorf("an archive was made without being asked for: %+v", record.Archive)
	}
	contents := w.verified(record)
	made, err := w.steps().MakeArchive(t.Context(), w.name, record.ID)
	if err != nil {
		t.Fatal(err)
	}
	volumes := w.download(made)
	if len(volumes) < 2 {
		t.Errorf("the archive has %d volumes", len(volumes))
	}
	held := map[string]string{}
	for _, volume := range volumes {
		for name, text := range unzip(t, volume) {
			if _, twice := held[name]; twice {
				t.Errorf("%q is in two volumes", name)
			}
			held[name] = text
		}
	}
	if diff := gocmp.Diff(contents, held); diff != "" {
		t.Errorf("backup and volumes differ:\n%s", diff)
	}
	if diff := gocmp.Diff(contents, w.verified(made)); diff != "" {
		t.Errorf("backup and verified volumes differ:\n%s", diff)
	}
	folder := t.TempDir()
	restored(t, s, contents, folder, restoreTo(t, volumes[len(volumes)-1], folder))
	if err := v.DeleteAll(t.Context(), vault.ArchiveFiles(w.name, record.ID)); err != nil {
		t.Fatal(err)
	}
	again, err := w.steps().MakeArchive(t.Context(), w.name, record.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(made.Archive.Files(), again.Archive.Files()); diff != "" {
		t.Errorf("made again:\n%s", diff)
	}
	holds(t, "the backup", w.verified(again), s)
}
