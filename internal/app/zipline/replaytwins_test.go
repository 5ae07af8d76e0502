package zipline

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
)

// twinOf copies a row of the backup under another id, with some fields changed.
func twinOf(row map[string]any, id string, changes map[string]any) map[string]any {
	twin := maps.Clone(row)
	twin["id"] = id
	maps.Copy(twin, changes)
	return twin
}

// twinFolders puts two folders beside one, of its name, parent and date, one of them public, and a file and a folder into
// each; the folders in them are called alike too. No others are.
func (b *bed) twinFolders(name string) {
	b.t.Helper()
	var folder map[string]any
	b.edit("folders", func(rows []map[string]any) []map[string]any {
		rows[4]["name"] = "2025"
		folder = rows[slices.IndexFunc(rows, func(row map[string]any) bool { return row["name"] == name })]
		for n := range 2 {
			id := fmt.Sprint("folder-twin-", n)
			rows = append(rows, twinOf(folder, id, map[string]any{"public": n == 1}))
			rows = append(rows, twinOf(folder, id+"-in", map[string]any{"name": "inside", "parentId": id}))
		}
		return rows
	})
	b.edit("files", func(rows []map[string]any) []map[string]any {
		for n := range 2 {
			rows = append(rows, twinOf(rows[0], fmt.Sprint("file-", n), map[string]any{
				"name": fmt.Sprintf("in-twin-%d.txt", n), "folderId": fmt.Sprint("folder-twin-", n), "userId": folder["userId"], "size": 3,
			}))
		}
		return rows
	})
	for n := range 2 {
		b.write(b.uploads, fmt.Sprintf("in-twin-%d.txt", n), "abc")
	}
}

// counted returns what is said of an array: as in the backup, made, there before, left out.
func counted(counts []app.Count, what string) string {
	for _, c := range counts {
		if c.What == what {
			return fmt.Sprintf("%d of which %d made, %d there, %d not", c.Backup, c.Create, c.Exists, c.Skip)
		}
	}
	return "not counted"
}

// TestReplayFolderTwins restores folders that stand beside others of their name and date: each is counted, and one is
// missed only where the target has fewer.
func TestReplayFolderTwins(t *testing.T) {
	for admin, name := range map[string]string{"admin": "Work", "nora": "Photos"} { // another's, or the administrator's own
		t.Run(admin, func(t *testing.T) {
			b := sampleBed(t, admin)
			b.twinFolders(name)
			forecast, confirmation := b.must(nil)
			if got := counted(forecast.Counts, "folders"); got != "12 of which 12 made, 0 there, 0 not" {
				t.Errorf("the plan counts %s", got)
			}
			for range 2 {
				if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
					t.Errorf("problems: %q", got)
				}
				if got := counted(confirmation.Counts, "folders"); got != "12 of which 12 made, 0 there, 0 not" {
					t.Errorf("the confirmation counts %s", got)
				}
				b.nested(t, name)
				_, confirmation = b.must(nil)
			}
			if b.writes() != 0 {
				t.Errorf("the second run wrote %d times", b.writes())
			}
			b.dropFolder(t, "in-twin-1.txt")
			confirmation, err := b.serve(nil).Confirm(t.Context(), b.replay)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(confirmation.Findings, app.Problem, "missing"); len(got) != 1 || !strings.Contains(got[0], "missing "+name+": one of the folders") {
				t.Errorf("missing: %q", got)
			}
			if got := counted(confirmation.Counts, "folders"); !strings.HasPrefix(got, "12 of which 10 made") { // the one inside it lies elsewhere now
				t.Errorf("the confirmation counts %s", got)
			}
		})
	}
}

// nested checks that the files and folders in folders of one name are in those that they were in.
func (b *bed) nested(t *testing.T, folder string) {
	t.Helper()
	rows, folders := b.targetRows(), map[any]map[string]any{}
	for _, row := range rows["folders"] {
		folders[row["id"]] = row
	}
	for _, row := range rows["files"] {
		if name := str(row, "name"); strings.HasPrefix(name, "in-twin-") {
			if in := folders[row["folderId"]]; in["name"] != folder || in["public"] != (name == "in-twin-1.txt") {
				t.Errorf("%s is in %v", name, in)
			}
		}
	}
	parents := map[any]bool{}
	for _, row := range rows["folders"] {
		if row["name"] == "inside" {
			parents[row["parentId"]] = true
		}
	}
	if len(parents) != 2 || parents[nil] {
		t.Errorf("the folders inside lie in %v", parents)
	}
}

// dropFolder deletes the folder of a file on the target; what is in it stays.
func (b *bed) dropFolder(t *testing.T, file string) {
	t.Helper()
	for _, row := range b.targetRows()["files"] {
		if row["name"] != file {
			continue
		}
		for _, folder := range b.targetRows()["folders"] {
			if folder["id"] == row["folderId"] {
				b.api("DELETE", "/api/user/folders/"+str(folder, "id"), map[string]any{"delete": "folder", "childrenAction": "root"})
				return
			}
		}
	}
	t.Fatalf("no folder has %s", file)
}

// TestReplayFolderTwinsThere restores into a target that has one of several folders of a name and date: the others come
// in beside it.
func TestReplayFolderTwinsThere(t *testing.T) {
	b := ownBed(t)
	b.twinFolders("Photos")
	b.live()
	b.dropFolder(t, "in-twin-1.txt")
	b.edit("files", func(rows []map[string]any) []map[string]any { // which of the files the target has is another test's
		rows = slices.DeleteFunc(rows, func(row map[string]any) bool { return strings.HasPrefix(str(row, "name"), "in-twin-") })
		return append(rows, twinOf(rows[0], "file-new", map[string]any{
			"name": "in-twin-1.new", "folderId": "folder-twin-1", "userId": b.rowsOf("users")[0]["id"], "size": 3,
		}))
	})
	b.write(b.uploads, "in-twin-1.new", "abc")
	forecast, confirmation := b.must(nil)
	if got := counted(forecast.Counts, "folders"); !strings.HasPrefix(got, "12 of which ") || strings.Contains(got, " 0 made") {
		t.Errorf("the plan counts %s", got)
	}
	folder := 0
	for _, row := range b.targetRows()["folders"] {
		if row["name"] == "Photos" {
			folder++
		}
	}
	for _, row := range b.targetRows()["files"] {
		if row["name"] == "in-twin-1.new" {
			at := slices.IndexFunc(b.targetRows()["folders"], func(f map[string]any) bool { return f["id"] == row["folderId"] })
			if at < 0 || b.targetRows()["folders"][at]["public"] != true {
				t.Error("the new file is not in the folder that came in")
			}
		}
	}
	if got := lines(confirmation.Findings, app.Problem); len(got) > 0 || folder != 3 {
		t.Errorf("%d folders are called Photos; problems: %q", folder, got)
	}
}

// TestReplayUserTwins restores two users of one name, of a backup that was put together of two: both come in, with what
// is theirs.
func TestReplayUserTwins(t *testing.T) {
	for _, admin := range []string{"nora", "pavel"} { // or the administrator gets the things of one of them
		t.Run(admin, func(t *testing.T) {
			b := sampleBed(t, admin)
			b.edit("folders", func(rows []map[string]any) []map[string]any {
				rows[4]["name"] = "2025"
				return rows
			})
			name := ""
			b.edit("users", func(rows []map[string]any) []map[string]any {
				name = str(rows[1], "username")
				return append(rows, twinOf(rows[1], "another", map[string]any{"createdAt": "2026-06-01T00:00:00.000Z", "password": "$argon2-other"}))
			})
			b.edit("files", func(rows []map[string]any) []map[string]any {
				rows[0]["userId"], rows[0]["folderId"] = "another", nil
				return rows
			})
			forecast, confirmation := b.must(nil)
			for range 2 {
				if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
					t.Errorf("problems: %q", got)
				}
				if got := counted(forecast.Counts, "users"); !strings.HasPrefix(got, "4 of which ") || !strings.HasSuffix(got, " 0 not") {
					t.Errorf("the plan counts %s", got)
				}
				if got := strings.Join(lines(confirmation.Findings, app.Note, "renamed"), "\n"); !strings.Contains(got, name+": this user is "+quoteName(name+"-2")) {
					t.Errorf("renamed: %s", got)
				}
				forecast, confirmation = b.must(nil)
			}
			if got := b.stand(); !strings.Contains(got, "files 18,") {
				t.Errorf("the target holds %s", got)
			}
		})
	}
}

// TestReplayUserTwinTaken settles on another name where the target has the one that a twin was to get.
func TestReplayUserTwinTaken(t *testing.T) {
	b := sampleBed(t, "nora")
	b.edit("users", func(rows []map[string]any) []map[string]any {
		b.database.AddUser(str(rows[1], "username")+"-2", "USER", "token-of-another")
		return append(rows, twinOf(rows[1], "another", map[string]any{"createdAt": "2026-06-01T00:00:00.000Z"}))
	})
	_, _, err := b.run(b.serve(nil))
	checkError(t, err, failure.Conflict, "the target has 1 users of the backup already", "--rename")
	b.replay.Wishes.Rename = true
	_, confirmation := b.must(nil)
	if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
		t.Errorf("problems: %q", got)
	}
	if got := b.stand(); !strings.HasPrefix(got, "users 5,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplayOnlyOne leaves out by name what Zipline keeps one of: quotas of a user, and links to one account elsewhere.
func TestReplayOnlyOne(t *testing.T) {
	b := sampleBed(t, "nora")
	b.edit("userQuotas", func(rows []map[string]any) []map[string]any {
		return append(rows, twinOf(rows[0], "quota-2", map[string]any{"maxUrls": 7, "createdAt": "no date"}))
	})
	users := b.rowsOf("users")
	b.edit("userOauthProviders", func([]map[string]any) []map[string]any {
		row := map[string]any{
			"id": "oauth-1", "createdAt": "2026-06-01T00:00:00.000Z", "provider": "GITHUB", "username": "u", "accessToken": "at_oidc",
			"refreshToken": nil, "oauthId": "77", "userId": users[1]["id"],
		}
		return []map[string]any{row, twinOf(row, "oauth-2", map[string]any{"userId": users[2]["id"]})}
	})
	forecast, confirmation := b.must(nil)
	for _, what := range []string{"quotas", "oauth providers"} {
		if plan, end := counted(forecast.Counts, what), counted(confirmation.Counts, what); plan != "2 of which 1 made, 0 there, 1 not" || end != plan {
			t.Errorf("%s: the plan counts %s, the confirmation %s", what, plan, end)
		}
	}
	var got []string
	for _, line := range lines(confirmation.Findings, app.Problem) { // each row has one, that of no date too
		line, _, _ = strings.Cut(line, ":")
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"problem left-out oauth-2", "problem left-out quota-2"}, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if got := lines(forecast.Findings, app.Problem, "duplicate"); len(got) != 2 {
		t.Errorf("the plan names %q", got)
	}
}

// tagTwins gives two users a tag of one name, and the third an invite of a code that another one has.
func (b *bed) tagTwins() {
	b.t.Helper()
	users := b.rowsOf("users")
	files := b.rowsOf("files")
	b.edit("userTags", func(rows []map[string]any) []map[string]any {
		for n := range 2 {
			rows = append(rows, twinOf(rows[0], fmt.Sprint("tag-", n), map[string]any{
				"name": "same", "userId": users[n+1]["id"], "files": []any{files[n]["id"]}, "color": fmt.Sprintf("#00000%d", n+1),
			}))
		}
		return rows
	})
	b.edit("invites", func(rows []map[string]any) []map[string]any {
		for n := range 2 {
			rows = append(rows, map[string]any{
				"id": fmt.Sprint("invite-", n), "createdAt": "2026-06-01T00:00:00.000Z", "expiresAt": nil, "code": "CODE", "uses": 0,
				"maxUses": nil, "inviterId": users[n+1]["id"],
			})
		}
		return rows
	})
}

// TestReplayTagTwins restores tags of one name and invites of one code, over the second of which an import stumbles:
// each gets a name of its own beforehand.
func TestReplayTagTwins(t *testing.T) {
	b := sampleBed(t, "nora")
	tags, invites := len(b.rowsOf("userTags"))+2, len(b.rowsOf("invites"))+2
	b.tagTwins()
	for attempt := range 2 {
		imports := 0
		forecast, confirmation := b.must(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				imports++
			}
			return standin.Fault{}
		})
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
		if attempt == 0 && imports != 2 || attempt > 0 && b.writes() != 0 { // rows, metrics
			t.Errorf("attempt %d: %d imports, %d writes", attempt, imports, b.writes())
		}
		if got := counted(forecast.Counts, "tags"); attempt == 0 && got != fmt.Sprintf("%d of which %[1]d made, 0 there, 0 not", tags) {
			t.Errorf("the plan counts %s", got)
		}
		if got := b.stand(); !strings.Contains(got, fmt.Sprintf("userTags %d, invites %d,", tags, invites)) {
			t.Errorf("the target holds %s", got)
		}
		renamed := strings.Join(lines(confirmation.Findings, app.Note, "renamed"), "\n")
		for _, name := range []string{"same (2)", "CODE-2"} {
			if !strings.Contains(renamed, quoteName(name)) {
				t.Errorf("nothing says that one is %s:\n%s", name, renamed)
			}
		}
	}
}

// TestReplayTagTwinHidden restores a tag twin whose new name belongs to a tag that no export shows.
func TestReplayTagTwinHidden(t *testing.T) {
	b := sampleBed(t, "nora")
	b.tagTwins()
	b.database.AddUser("ghost", "USER", "ghost-token")
	b.as("ghost-token", "POST", "/api/user/tags", map[string]any{"name": "same (2)", "color": "#123456"})
	for _, u := range b.targetRows()["users"] {
		if str(u, "username") == "ghost" {
			b.api("DELETE", "/api/users/"+str(u, "id"), map[string]any{"delete": false})
		}
	}
	_, confirmation := b.must(nil)
	if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
		t.Errorf("problems: %q", got)
	}
}

// TestReplayStumblesAgain ends an attempt whose import stumbles twice over the same row: it is not taken back and
// repeated once more for nothing.
func TestReplayStumblesAgain(t *testing.T) {
	b := sampleBed(t, "nora")
	for attempt, want := range []int{3, 1} { // with one of the metrics
		imports := 0
		_, confirmation := b.must(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path != importPath {
				return standin.Fault{}
			}
			imports++
			return standin.Fault{Cut: standin.CutInside, Rows: 20, Status: http.StatusInternalServerError}
		})
		if imports != want {
			t.Errorf("attempt %d: %d imports", attempt, imports)
		}
		if got := lines(confirmation.Findings, app.Problem, "missing"); len(got) == 0 {
			t.Error("nothing is missing")
		}
	}
}
