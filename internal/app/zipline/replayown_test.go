package zipline

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
)

// ownBed returns a bed whose target is what is left of the instance that was backed up: its administrator with all that
// is hers. The tag "work" is hers too.
func ownBed(t *testing.T) *bed {
	t.Helper()
	b := sampleBed(t, "nora")
	b.export = ownExport(b)
	b.live()
	return b
}

// ownExport returns the export of the instance, where the tag "work" and all in the administrator's folders are hers.
func ownExport(b *bed) []byte {
	other := *b
	other.export = standin.Sample().Export()
	nora, ids := other.rowsOf("users")[0]["id"], map[string]any{}
	other.edit("files", func(rows []map[string]any) []map[string]any {
		for _, row := range rows {
			if ids[str(row, "name")] = row["id"]; row["name"] == "handbook-2026.pdf" {
				row["folderId"] = nil
			}
		}
		return rows
	})
	other.edit("userTags", func(rows []map[string]any) []map[string]any {
		rows[1]["userId"], rows[1]["files"] = nora, []any{ids["ZkP0ab.jpg"]}
		return rows
	})
	return other.export
}

// live makes the target anew from the backup, without the other users.
func (b *bed) live() {
	b.t.Helper()
	database, err := standin.LoadDatabase(b.export)
	if err != nil {
		b.t.Fatal(err)
	}
	b.into, b.database = b.t.TempDir(), database
	b.database.SetToken("nora", standin.SuperAdminToken)
	for _, row := range b.targetRows()["users"] {
		if str(row, "username") != "nora" {
			b.api("DELETE", "/api/users/"+str(row, "id"), map[string]any{"delete": true})
		}
	}
}

// rowsOf returns the rows of an array of the backup.
func (b *bed) rowsOf(array string) (all []map[string]any) {
	b.edit(array, func(rows []map[string]any) []map[string]any {
		all = rows
		return rows
	})
	return all
}

// turned changes a field of every row of the administrator in the backup, so that the target's are other.
func (b *bed) turned(admin any) {
	b.t.Helper()
	for array, change := range map[string]func(map[string]any){
		"folders":  func(row map[string]any) { row["public"], row["allowUploads"] = row["public"] != true, true },
		"files":    func(row map[string]any) { row["favorite"], row["views"] = row["favorite"] != true, 77 },
		"userTags": func(row map[string]any) { row["color"] = "#123123" },
		"urls":     func(row map[string]any) { row["enabled"], row["views"] = row["enabled"] != true, 77 },
		"invites":  func(row map[string]any) { row["uses"] = 0; row["maxUses"] = 9 },
	} {
		b.edit(array, func(rows []map[string]any) []map[string]any {
			for _, row := range rows {
				if row["userId"] == admin || row["inviterId"] == admin || row["userId"] == nil && row["inviterId"] == nil {
					change(row)
				}
			}
			return rows
		})
	}
}

// ownArrays are what an administrator may have of the target before a restore.
var ownArrays = []string{"folders", "files", "userTags", "urls", "invites"}

// lost compares the rows that a target had with those that it has now: which are gone, and which are other, by id.
func lost(before, now map[string][]map[string]any) (gone, other []string) {
	for _, array := range ownArrays {
		for _, row := range before[array] {
			n := slices.IndexFunc(now[array], func(each map[string]any) bool { return each["id"] == row["id"] })
			name := array + " " + str(row, "name") + str(row, "code")
			if n < 0 {
				gone = append(gone, name)
				continue
			}
			// an import and Zipline itself change what refers to other rows, never a row itself
			was, is := fields{}, fields{}
			for key := range row {
				if key != "files" {
					was[key], is[key] = row[key], now[array][n][key]
				}
			}
			if !cmp.Equal(was, is) {
				other = append(other, name)
			}
		}
	}
	return gone, other
}

// TestReplayOwnStays restores into the Zipline that the backup came from, where each of the administrator's things was
// changed since, and interrupts that at every request and in the middle of the import: none is taken back, changed, or
// brought in twice.
func TestReplayOwnStays(t *testing.T) {
	b := ownBed(t)
	admin := b.rowsOf("users")[0]["id"]
	b.turned(admin)
	original, backup := b.export, b.export
	check := func(what string, fault func(int, *http.Request) standin.Fault) int {
		t.Helper()
		b.export = ownExport(b)
		b.live()
		b.export, b.replay.Notes = backup, notes{}
		before := b.targetRows()
		_, _, err := b.run(b.serve(fault))
		requests := b.server.Requests()
		if gone, other := lost(before, b.targetRows()); len(gone)+len(other) > 0 {
			t.Fatalf("%s (%v): gone %q, other %q", what, err, gone, other)
		}
		_, confirmation := b.must(nil)
		now := b.targetRows()
		if gone, other := lost(before, now); len(gone)+len(other) > 0 {
			t.Fatalf("%s (%v), run again: gone %q, other %q", what, err, gone, other)
		}
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Fatalf("%s (%v): problems: %q", what, err, got)
		}
		for _, array := range ownArrays {
			if got, want := len(now[array]), len(b.rowsOf(array)); got != want {
				t.Fatalf("%s (%v): %d %s, want %d", what, err, got, array, want)
			}
		}
		return requests
	}
	requests := check("undisturbed", nil)
	for way, fault := range []standin.Fault{{Cut: standin.CutBefore}, {Cut: standin.CutAfter}, {Status: http.StatusBadGateway}} {
		for n := range upTo(requests, way) {
			check(fmt.Sprintf("request %d of %d, %+v", n, requests, fault), standin.FailAt(n, fault))
		}
	}
	for rows := range upTo(30, 0) {
		check(fmt.Sprintf("import cut after %d rows", rows-1), func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutInside, Rows: rows - 1}
			}
			return standin.Fault{}
		})
	}
	if !cmp.Equal(original, b.export) || requests < 5 {
		t.Errorf("the backup has changed, or %d requests were all", requests)
	}
}

// TestTakeBackIDs never takes back a row whose id the plan has noted, of whatever kind, though all else is as in the
// backup.
func TestTakeBackIDs(t *testing.T) {
	b := ownBed(t)
	target := b.serve(nil)
	ctx := t.Context()
	me, err := target.whoami(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, noted := range []bool{false, true} {
		chosen, err := readObjects(ctx, b.replay)
		if err != nil {
			t.Fatal(err)
		}
		p := newPlan(me, chosen)
		p.Merge = str(b.rowsOf("users")[0], "id")
		for _, array := range ownArrays {
			for _, row := range b.targetRows()[array] {
				if noted {
					p.Had = append(p.Had, hadDigest(array, str(row, "id")))
				}
			}
		}
		p.ready()
		c, err := target.compare(ctx, b.replay, p, false)
		if err != nil {
			t.Fatal(err)
		}
		u, err := target.left(ctx, p, c)
		if err != nil {
			t.Fatal(err)
		}
		_, begun := c.missing()
		all := []int{len(u.files), len(u.folders), len(u.tags), len(u.urls), len(u.invites)}
		if none := slices.Max(all) == 0; none != noted || !noted && slices.Min(all) == 0 || noted != (begun == 0) {
			t.Errorf("noted %v: %v would go, %d rows count as begun", noted, all, begun)
		}
	}
}

// TestReplayUsersMade interrupts an import and lets a user that it has made make something: the next run refuses, names
// it, and deletes nothing; without it, it goes on.
func TestReplayUsersMade(t *testing.T) {
	for kind, each := range map[string]struct {
		path string
		body any
		list string
	}{
		"a short URL": {"/api/user/urls", map[string]any{"destination": "https://example.org/own", "vanity": "own"}, "urls"},
		"a folder":    {"/api/user/folders", map[string]any{"name": "own"}, "folders"},
		"a tag":       {"/api/user/tags", map[string]any{"name": "own", "color": "#123456"}, "tags"},
		"a file":      {"", nil, "files"},
	} {
		t.Run(kind, func(t *testing.T) {
			b := sampleBed(t, "nora")
			_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
				if r.URL.Path == importPath {
					return standin.Fault{Cut: standin.CutInside, Rows: 25}
				}
				return standin.Fault{}
			}))
			if err == nil || !b.database.SetToken("kim", "of-kim") {
				t.Fatalf("%v, or there is no kim", err)
			}
			if each.path == "" {
				b.uploadAs("of-kim", "own")
			} else {
				b.as("of-kim", "POST", each.path, each.body)
			}
			before := b.targetRows()
			_, _, err = b.run(b.serve(nil))
			if failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" || !strings.Contains(err.Error(), "own") || !strings.Contains(err.Error(), `"kim"`) {
				t.Errorf("%v (hint: %s)", err, failure.HintOf(err))
			}
			if b.writes() != 0 || !cmp.Equal(before, b.targetRows()) {
				t.Errorf("%d writes", b.writes())
			}
			for _, array := range []string{"urls", "folders", "userTags", "files"} {
				for _, row := range before[array] {
					if strings.Contains(str(row, "name")+str(row, "vanity")+str(row, "originalName"), "own.") || str(row, "name") == "own" || str(row, "vanity") == "own" {
						body := any(nil)
						if each.list == "folders" {
							body = map[string]any{"delete": "folder", "childrenAction": "root"}
						}
						b.as("of-kim", "DELETE", "/api/user/"+each.list+"/"+str(row, "id"), body)
					}
				}
			}
			b.complete(t, kind, "users 3, userPasskeys 0, userQuotas 1, userOauthProviders 0, userTags 2, invites 2, folders 8, urls 2, files 18, thumbnails 0, metrics 3")
		})
	}
}

// TestReplayDone changes the target after a restore is complete: another run writes nothing, and names what was changed.
func TestReplayDone(t *testing.T) {
	b := ownBed(t)
	for _, row := range b.targetRows()["files"] { // some come in again, into folders and tags that exist
		if name := str(row, "name"); name == "ZkP0aa.jpg" || name == "ZkP0ab.jpg" {
			b.api("DELETE", "/api/user/files/"+str(row, "id"), nil)
		}
	}
	_, confirmation := b.must(nil)
	if got := append(lines(confirmation.Findings, app.Problem), lines(confirmation.Findings, "", "changed")...); len(got) > 0 {
		t.Fatalf("%q", got)
	}
	for _, row := range b.targetRows()["files"] {
		if name := str(row, "name"); name == "ZkP0aa.jpg" && len(b.tagsOf(row)) != 1 {
			t.Errorf("%s came in without its tag", name)
		}
	}
	target := b.serve(nil)
	for range 2 { // the settings differ from the backup's, and so do a file and a folder
		if answer, err := target.call(t.Context(), http.MethodPatch, settingsPath, "", map[string]any{"websiteTitle": "Mine now"}); err != nil || !answer.ok() {
			t.Fatal(err)
		}
	}
	for _, row := range b.targetRows()["files"] {
		if str(row, "name") == "ZkP0ab.jpg" {
			b.api("PATCH", "/api/user/files/"+str(row, "id"), map[string]any{"favorite": true})
			b.api("PATCH", filesPath, map[string]any{"files": []string{str(row, "id")}, "folder": b.folderID("Notes")})
		}
	}
	b.api("PATCH", "/api/user/folders/"+b.folderID("Photos"), map[string]any{"name": "Pictures"})
	b.api("PATCH", "/api/user/folders/"+b.folderID("写真"), map[string]any{"isPublic": false})
	before := b.targetRows()
	for range 2 {
		_, confirmation = b.must(nil)
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
		said := strings.Join(lines(confirmation.Findings, app.Note, "changed"), "\n")
		for _, word := range []string{"changed ZkP0ab.jpg: one of the files was changed since it came in: favorite, folder", "changed websiteTitle", "changed 写真", "changed Photos"} {
			if !strings.Contains(said, word) {
				t.Errorf("no note says %q:\n%s", word, said)
			}
		}
		if diff := cmp.Diff(before, b.targetRows()); diff != "" || b.writes() != 0 {
			t.Errorf("%d writes:\n%s", b.writes(), diff)
		}
	}
	if b.replay.Notes = (notes{}); b.database.SetToken("nora", standin.SuperAdminToken) {
		if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Conflict { // another restore knows nothing of this one
			t.Errorf("another restore: %v", err)
		}
	}
}

// uploadAs uploads name.txt as another user.
func (b *bed) uploadAs(token, name string) {
	b.t.Helper()
	b.serve(nil)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name+".txt")
	if err == nil {
		_, err = part.Write([]byte("made since"))
	}
	if err != nil || form.Close() != nil {
		b.t.Fatal(err)
	}
	request, _ := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+"/api/upload", &body)
	request.Header.Set("Authorization", token)
	request.Header.Set("X-Zipline-Format", "name")
	request.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("upload: %v %v", err, answer)
	}
	answer.Body.Close()
}

func (b *bed) folderID(name string) string {
	for _, row := range b.targetRows()["folders"] {
		if str(row, "name") == name {
			return str(row, "id")
		}
	}
	b.t.Fatalf("the target has no folder %s", name)
	return ""
}

// tagsOf returns the names of the tags of a file of the target.
func (b *bed) tagsOf(file map[string]any) []string {
	var names []string
	for _, row := range b.targetRows()["userTags"] {
		if slices.Contains(filesOf(row), str(file, "id")) {
			names = append(names, str(row, "name"))
		}
	}
	return names
}

// TestReplayChangedSince recovers deleted files in the live Zipline, where others were viewed, marked, moved and tagged
// since: nothing comes in twice, and each difference is named.
func TestReplayChangedSince(t *testing.T) {
	b := ownBed(t)
	for _, row := range b.targetRows()["files"] {
		switch id := str(row, "id"); str(row, "name") {
		case "ZkP0aa.jpg", "Qm3vT1.mp4":
			b.api("DELETE", "/api/user/files/"+id, nil)
		case "ZkP0ab.jpg":
			b.api("PATCH", "/api/user/files/"+id, map[string]any{"favorite": true, "maxViews": 99})
			b.api("PATCH", filesPath, map[string]any{"files": []string{id}, "folder": b.folderID("Notes")})
		}
	}
	for _, row := range b.targetRows()["userTags"] {
		b.api("PATCH", "/api/user/tags/"+str(row, "id"), map[string]any{"color": "#121212"})
	}
	before := b.targetRows()
	forecast, confirmation := b.must(nil)
	if got := append(lines(forecast.Findings, "", "taken"), lines(confirmation.Findings, app.Problem)...); len(got) > 0 {
		t.Errorf("%q", got)
	}
	for _, findings := range [][]app.Finding{forecast.Findings, confirmation.Findings} {
		said := strings.Join(lines(findings, app.Note, "changed"), "\n")
		for _, word := range []string{"changed ZkP0ab.jpg", "changed summer", "changed work"} {
			if !strings.Contains(said, word) {
				t.Errorf("no note says %q:\n%s", word, said)
			}
		}
	}
	now := b.targetRows()
	if gone, other := lost(before, now); len(gone)+len(other) > 0 {
		t.Errorf("gone %q, other %q", gone, other)
	}
	for _, array := range ownArrays {
		if got, want := len(now[array]), len(b.rowsOf(array)); got != want {
			t.Errorf("%d %s, want %d", got, array, want)
		}
	}
	for _, row := range now["files"] {
		if str(row, "name") == "ZkP0aa.jpg" && !slices.Equal(b.tagsOf(row), []string{"summer"}) {
			t.Errorf("%s has the tags %q", row["name"], b.tagsOf(row))
		}
	}
}
