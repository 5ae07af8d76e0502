package standin_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// count returns one of the numbers of an import's answer.
func count(t *testing.T, body []byte, what string) int {
	t.Helper()
	return decode[struct{ Imported map[string]int }](t, body).Imported[what]
}

// TestImportSkips shows what an import leaves out and answers 200 all the same. The numbers of the tests are those of the
// list in the description of the format.
func TestImportSkips(t *testing.T) {
	sample, fast := altered(t, nil), standin.Options{NoRateLimits: true}
	before := rowsOf(t, sample)
	t.Run("1 ownerless files", func(t *testing.T) {
		i := start(t, fast)
		if n := count(t, i.want(200, "POST", importPath, wrap(sample, `{}`)), "files"); n != 17 {
			t.Errorf("%d of 18 files, want all but the ownerless one", n)
		}
		if slices.Contains(pick(i.data()["files"], "name"), "left-behind.bin") {
			t.Error("the ownerless file came in")
		}
	})
	t.Run("2 folders of one name", func(t *testing.T) {
		i := start(t, fast)
		if n := count(t, i.want(200, "POST", importPath, wrap(sample, `{}`)), "folders"); n != 7 {
			t.Errorf("%d of 8 folders", n)
		}
		if f := one(t, i.data()["files"], "name", "handbook-2026.pdf"); f["folderId"] != nil {
			t.Errorf("the file of the second folder of the name is in %v, want at the root", f["folderId"])
		}
		folders := i.data()["folders"]
		if child := one(t, folders, "name", "Q1/Q2 reports"); child["parentId"] != one(t, folders, "name", "Work")["id"] {
			t.Errorf("the parent of a folder that came in is %v", child["parentId"])
		}
	})
	t.Run("2 children of such folders", func(t *testing.T) {
		i := start(t, fast)
		export := altered(t, func(data map[string]any) {
			folders := data["folders"].([]any)
			folders[4].(row)["userId"], folders[5].(row)["userId"] = folders[0].(row)["userId"], folders[0].(row)["userId"]
			folders[5].(row)["parentId"] = folders[4].(row)["id"] // the second "2026"
		})
		i.want(200, "POST", importPath, wrap(export, `{}`))
		if f := one(t, i.data()["folders"], "name", "Q1/Q2 reports"); f["parentId"] != nil {
			t.Errorf("the child has the parent %v, want none", f["parentId"])
		}
	})
	t.Run("3 thumbnails", func(t *testing.T) {
		i := start(t, fast)
		i.want(200, "POST", importPath, wrap(sample, `{}`))
		if n := len(i.data()["thumbnails"]); n != 0 || len(before["thumbnails"]) == 0 {
			t.Errorf("%d thumbnails of %d", n, len(before["thumbnails"]))
		}
	})
	t.Run("4 settings", func(t *testing.T) {
		i := start(t, fast)
		i.want(200, "POST", importPath, wrap(sample, `{"settings":true}`))
		if body := i.want(200, "GET", "/api/server/settings", nil); bytes.Contains(body, []byte("Harbour Files")) {
			t.Error("the title came in")
		}
	})
	t.Run("8 everything of a user that exists", func(t *testing.T) {
		options := fast
		options.Admin = "nora"
		i := start(t, options)
		body := i.want(200, "POST", importPath, wrap(sample, `{}`))
		if users, files := count(t, body, "users"), count(t, body, "files"); users != 2 || files != 11 {
			t.Errorf("%d users, %d files", users, files)
		}
	})
	t.Run("9 stored names that are taken", func(t *testing.T) {
		options := fast
		options.Datasource = t.TempDir()
		i := start(t, options)
		i.upload(map[string]string{"x-zipline-filename": "README"}, "some.md", "other bytes")
		if n := count(t, i.want(200, "POST", importPath, wrap(sample, `{}`)), "files"); n != 16 {
			t.Errorf("%d files, want 17 without README.md", n)
		}
	})
}

// TestImportForgets shows what an import makes anew, or once more.
func TestImportForgets(t *testing.T) {
	sample, fast := altered(t, nil), standin.Options{NoRateLimits: true}
	before := rowsOf(t, sample)
	t.Run("5 and 6 dates and ids", func(t *testing.T) {
		now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
		i := start(t, standin.Options{Now: func() time.Time { return now }})
		i.want(200, "POST", importPath, wrap(sample, `{}`))
		after := i.data()
		for table, dated := range map[string]bool{"files": true, "folders": true, "urls": true, "invites": true, "userTags": false} {
			key := naturalKeys[table]
			for _, r := range after[table] {
				old := one(t, before[table], key, r[key].(string))
				if r["id"] == old["id"] || (r["createdAt"] == old["createdAt"]) != dated {
					t.Errorf("%s: %v became %v", table, old, r)
				}
			}
		}
		if got := after["userTags"][0]["createdAt"]; got != "2027-01-02T03:04:05.000Z" {
			t.Errorf("a tag is of %v", got)
		}
	})
	t.Run("7 tokens", func(t *testing.T) {
		source, err := standin.LoadDatabase(sample)
		if err != nil || !source.SetToken("nora", "noras") {
			t.Fatal(err)
		}
		start(t, standin.Options{Database: source}).as("noras").want(200, "GET", "/api/user", nil)
		i := start(t, fast)
		i.want(200, "POST", importPath, wrap(sample, `{}`))
		if got := i.as("noras").code("GET", "/api/user", nil); got != "E2001" {
			t.Errorf("the old token: %s", got)
		}
	})
	t.Run("10 metrics double", func(t *testing.T) {
		i := start(t, fast)
		i.want(200, "POST", importPath, wrap(sample, `{}`))
		want := map[string]int{}
		maps.Copy(want, decode[struct{ Imported map[string]int }](t, i.want(200, "POST", importPath, wrap(sample, `{}`))).Imported)
		if len(i.data()["metrics"]) != 6 || want["metrics"] != 3 || want["users"]+want["files"]+want["folders"] != 0 {
			t.Errorf("%d metrics; the second answer: %v", len(i.data()["metrics"]), want)
		}
	})
	t.Run("16 circles", func(t *testing.T) {
		i := start(t, fast)
		i.want(200, "POST", importPath, wrap(altered(t, func(data map[string]any) {
			folders := data["folders"].([]any)
			folders[0].(row)["parentId"] = folders[1].(row)["id"] // the parent of its parent
		}), `{}`))
		folders := i.data()["folders"]
		a, b := one(t, folders, "name", "Photos"), one(t, folders, "name", "2026")
		if a["parentId"] != b["id"] || b["parentId"] != a["id"] {
			t.Errorf("%v and %v", a, b)
		}
	})
}

// TestImportBreaksOff shows what ends an import half-way, and what is left then.
func TestImportBreaksOff(t *testing.T) {
	sample, fast := altered(t, nil), standin.Options{NoRateLimits: true}
	before := rowsOf(t, sample)
	t.Run("11 a repeated merge", func(t *testing.T) {
		i := start(t, fast)
		merge := wrap(sample, fmt.Sprintf(`{"mergeCurrentUser":%q}`, before["users"][0]["id"]))
		i.want(200, "POST", importPath, merge)
		i.want(500, "POST", importPath, merge)
	})
	t.Run("12 a tag of this name", func(t *testing.T) {
		i := start(t, fast)
		i.want(200, "POST", "/api/user/tags", row{"name": "work", "color": "#123"})
		i.want(500, "POST", importPath, wrap(sample, `{}`))
		got := i.data()
		if len(got["files"]) != 17 || len(got["userTags"]) != 2 || len(got["urls"])+len(got["invites"])+len(got["metrics"]) != 0 {
			t.Errorf("left: %d files, %d tags, %d URLs", len(got["files"]), len(got["userTags"]), len(got["urls"]))
		}
		retry := i.want(200, "POST", importPath, wrap(sample, `{}`))
		if count(t, retry, "urls") != 0 || count(t, retry, "metrics") != 3 {
			t.Errorf("the retry: %s", retry)
		}
	})
	t.Run("13 a bare percent sign", func(t *testing.T) {
		i := start(t, fast)
		i.want(500, "POST", importPath, wrap(standin.Sample().Export(), `{}`))
		if got := i.data(); len(got["users"]) != 4 || len(got["files"]) != 16 || len(got["userTags"]) != 0 {
			t.Errorf("left: %d users, %d files, %d tags", len(got["users"]), len(got["files"]), len(got["userTags"]))
		}
	})
}

// TestRestart: what is due vanishes (14), and so do thumbnails without a row (3).
func TestRestart(t *testing.T) {
	folder := t.TempDir()
	sample := standin.Sample()
	if err := sample.WriteUploads(folder); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	i := start(t, standin.Options{Datasource: folder, Now: func() time.Time { return now }})
	i.want(200, "POST", importPath, wrap(altered(t, func(data map[string]any) {
		files := data["files"].([]any)
		files[3].(row)["deletesAt"] = "2026-12-31T00:00:00.000Z"
		files[4].(row)["views"], files[4].(row)["maxViews"] = 5, 5
		files[5].(row)["views"], files[5].(row)["maxViews"] = 4, 5
		data["urls"].([]any)[0].(row)["maxViews"] = 12
		data["invites"].([]any)[0].(row)["expiresAt"] = "2026-12-31T00:00:00.000Z"
	}), `{}`))
	if err := i.server.Restart(); err != nil {
		t.Fatal(err)
	}
	got := i.data()
	files := pick(got["files"], "name")
	for name, want := range map[string]bool{"ZkP0aa.jpg": false, "ZkP0ab.jpg": false, "site-backup.tar.tar.gz": true} {
		_, err := os.Stat(filepath.Join(folder, name))
		if slices.Contains(files, name) != want || (err == nil) != want {
			t.Errorf("%s: row %v, object %v", name, slices.Contains(files, name), err)
		}
	}
	left := [][]string{pick(got["urls"], "code"), pick(got["invites"], "code")}
	if diff := gocmp.Diff([][]string{{"Lm0e3W"}, {"qU4y5s"}}, left); diff != "" {
		t.Errorf("URLs and invites (-want +got):\n%s", diff)
	}
	thumbnails, err := filepath.Glob(filepath.Join(folder, ".thumbnail.*"))
	if err != nil || len(thumbnails) != 0 {
		t.Errorf("thumbnails: %q, %v", thumbnails, err)
	}
}

// TestVersions: what differs by version.
func TestVersions(t *testing.T) {
	percent := altered(t, func(data map[string]any) {
		data["files"].([]any)[0].(row)["name"] = "100% sure.txt"
		data["files"].([]any)[1].(row)["name"] = "a%20b.txt"
	})
	decoded := altered(t, func(data map[string]any) { data["files"].([]any)[1].(row)["name"] = "a%20b.txt" })
	merge := fmt.Sprintf(`{"mergeCurrentUser":%q}`, rowsOf(t, decoded)["users"][0]["id"])
	for version, want := range map[standin.Version]struct {
		percent, again int
		stored         string
	}{
		standin.V442:  {200, 500, "a%20b.txt"},
		standin.V463:  {500, 500, "a b.txt"},
		standin.Newer: {200, 500, "a%20b.txt"}, // the tags' names are taken all the same
	} {
		t.Run(string(version), func(t *testing.T) {
			options := standin.Options{Version: version, NoRateLimits: true}
			start(t, options).want(want.percent, "POST", importPath, wrap(percent, `{}`))
			i := start(t, options)
			i.want(200, "POST", importPath, wrap(decoded, merge))
			if names := pick(i.data()["files"], "name"); !slices.Contains(names, want.stored) {
				t.Errorf("stored: %q", names)
			}
			i.want(want.again, "POST", importPath, wrap(decoded, merge))
			status := map[bool]int{true: 404, false: 200}[version == standin.V442]
			i.want(status, "GET", "/api/server/status", nil)
		})
	}
	t.Run("newer takes tags whose files did not come in", func(t *testing.T) {
		export := altered(t, func(data map[string]any) { data["userTags"].([]any)[0].(row)["files"] = []string{"nowhere"} })
		start(t, standin.Options{}).want(500, "POST", importPath, wrap(export, `{}`))
		start(t, standin.Options{Version: standin.Newer}).want(200, "POST", importPath, wrap(export, `{}`))
	})
}
