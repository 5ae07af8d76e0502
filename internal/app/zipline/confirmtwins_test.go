package zipline

import (
	"slices"
	"strings"
	"testing"

	"lifeboat/internal/app"
)

// TestConfirmTwinsSwapped moves the files, or the folders, of two folders that are called alike into each other's: one of
// the two is public.
func TestConfirmTwinsSwapped(t *testing.T) {
	for _, what := range []string{"files", "folders"} {
		for _, first := range []bool{true, false} { // or after a Confirm that found all as it was
			b := sampleBed(t, "nora")
			b.twinFolders("Photos")
			if first {
				forecast, err := b.serve(nil).Preflight(t.Context(), b.replay)
				if err != nil {
					t.Fatal(err)
				}
				b.put(forecast)
				if progress, err := b.serve(nil).Replay(t.Context(), b.replay); err != nil || !progress.Done {
					t.Fatalf("%+v, %v", progress, err)
				}
			} else {
				b.must(nil)
			}
			b.swap(what)
			confirmation, err := b.serve(nil).Confirm(t.Context(), b.replay)
			if err != nil {
				t.Fatal(err)
			}
			problems, notes := lines(confirmation.Findings, app.Problem), lines(confirmation.Findings, app.Note, "changed")
			got := problems
			if !first {
				got = notes
			}
			if len(problems)+len(notes) != 1 || len(got) != 1 || !strings.Contains(got[0], "Photos: 3 folders of this name and date") {
				t.Errorf("%s, first %v: problems %q, notes %q", what, first, problems, notes)
			}
		}
	}
}

// swap swaps the files of the two folders of twinFolders that have some, with what is in the folder inside each, or not.
func (b *bed) swap(what string) {
	b.t.Helper()
	rows := b.targetRows()
	var ids, inside []string
	for _, row := range rows["files"] {
		if strings.HasPrefix(str(row, "name"), "in-twin-") {
			ids = append(ids, str(row, "folderId"))
		}
	}
	for _, row := range rows["folders"] {
		if row["name"] == "inside" {
			inside = append(inside, str(row, "id"))
		}
	}
	other := func(id string) string { return ids[1-slices.Index(ids, id)] }
	if what == "folders" { // the one inside the first goes to the second, which has two then
		for _, row := range rows["folders"] {
			if str(row, "id") == inside[0] {
				b.api("PATCH", "/api/user/folders/"+inside[0], map[string]any{"parentId": other(str(row, "parentId"))})
			}
		}
		return
	}
	for _, row := range rows["files"] {
		if strings.HasPrefix(str(row, "name"), "in-twin-") {
			b.api("PATCH", filesPath, map[string]any{"files": []any{row["id"]}, "folder": other(str(row, "folderId"))})
		}
	}
}
