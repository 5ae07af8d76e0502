package zipline

import (
	"strings"
	"testing"

	"lifeboat/internal/app"
)

// TestConfirmCountsDiffers changes the target after a restore: what the next one finds and calls a note is counted.
func TestConfirmCountsDiffers(t *testing.T) {
	b := sampleBed(t, "nora")
	if _, confirmation := b.must(nil); confirmation.Differs != 0 {
		t.Errorf("%d differ: %q", confirmation.Differs, lines(confirmation.Findings, ""))
	}
	for _, row := range b.targetRows()["files"] {
		if str(row, "name") == "ZkP0ab.jpg" {
			b.api("PATCH", "/api/user/files/"+str(row, "id"), map[string]any{"favorite": true})
		}
	}
	b.api("PATCH", "/api/server/settings", map[string]any{"websiteTitle": "Another"})
	_, confirmation := b.must(nil)
	if noted := lines(confirmation.Findings, app.Note, "changed"); confirmation.Differs != 2 || len(noted) != 2 {
		t.Errorf("%d differ: %q", confirmation.Differs, noted)
	}
}

// TestConfirmCountsStays restores into a target that has a file of the backup already, with other marks.
func TestConfirmCountsStays(t *testing.T) {
	b := ownBed(t)
	for _, row := range b.targetRows()["files"] {
		if str(row, "name") == "ZkP0ab.jpg" {
			b.api("PATCH", "/api/user/files/"+str(row, "id"), map[string]any{"favorite": true})
		}
	}
	_, confirmation := b.must(nil)
	if noted := lines(confirmation.Findings, app.Note, "changed"); confirmation.Differs != len(noted) || !strings.Contains(strings.Join(noted, "\n"), "ZkP0ab.jpg: one of the files was on the target before") {
		t.Errorf("%d differ: %q", confirmation.Differs, noted)
	}
}

// TestFolderConfirmCountsDiffers changes a folder and a file of the target after a restore.
func TestFolderConfirmCountsDiffers(t *testing.T) {
	folders := []madeFolder{{"top", "top", "", "u1"}, {"a", "a", "top", "u1"}}
	files := []madeFile{{"1", "small", "ok.txt", "a"}, {"2", "pick", "pick.txt", "top"}}
	sink, _, err := folderSnapshot(t, "top", Options{URL: serve(t, ziplineWith(instanceOf(folders, files))), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	backup := &folderBackup{document: sink.documents[folderDocument], objects: sink.objects}
	server := newFolderServer()
	target, r := folderTarget(t, server), backup.replay(notebook{}, app.Wishes{})
	finish(t, target, r)
	if c, err := target.Confirm(t.Context(), r); err != nil || c.Differs != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	server.mutex.Lock()
	server.files[0].Favorite = !server.files[0].Favorite
	server.mutex.Unlock()
	if c, err := target.Confirm(t.Context(), r); err != nil || c.Differs != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
