package standin_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// TestImportForm replays the recorded refusals of bodies, which no rows are needed for.
func TestImportForm(t *testing.T) {
	percent := altered(t, func(data map[string]any) {
		data["files"].([]any)[0].(row)["name"] = "100% sure.txt"
	})
	for name, body := range map[string][]byte{
		"80-import-empty-body":      []byte(`{}`),
		"81-import-invalid":         []byte(`{"export4":{"versions":{"zipline":"4.6.3","node":"v24","export":"3"},"request":{},"data":{}},"config":{}}`),
		"92-import-v4-percent-name": wrap(percent, `{}`),
		"93-import-v4-unwrapped":    standin.Sample().Export(),
	} {
		t.Run(name, func(t *testing.T) {
			like(t, start(t, standin.Options{}).do("POST", importPath, body), "", name)
		})
	}
}

const mara = "cmwqunh0e0002t37dg654cmml" // the SUPERADMIN of the fixture

// TestRecordedImports replays the recorded imports of the fixture.
func TestRecordedImports(t *testing.T) {
	folder := fixture(t)
	export := read(t, filepath.Join(folder, "export.json"))
	plain, merge := wrap(export, `{"settings":true}`), wrap(export, `{"settings":false,"mergeCurrentUser":"`+mara+`"}`)
	options := standin.Options{NoRateLimits: true}
	t.Run("fresh", func(t *testing.T) {
		target := start(t, options)
		like(t, target.do("POST", importPath, plain), folder, "82-import-v4-fresh")
		like(t, target.do("POST", importPath, plain), folder, "83-import-v4-again")
		recorded := read(t, filepath.Join(folder, "samples", "94-export-of-b-after-import.json"))
		want := natural(t, recorded)
		want["files"]["写真 🏔️.png of mara"]["views"] = 3.0 // it was looked at once between the import and the export
		if diff := gocmp.Diff(want, natural(t, target.server.Database().Export())); diff != "" {
			t.Errorf("export afterwards (-recorded +stand-in):\n%s", diff)
		}
		if n := len(target.data()["metrics"]); n != 14 {
			t.Errorf("%d metrics after two imports, want 14", n)
		}
	})
	t.Run("same name", func(t *testing.T) {
		options := options
		options.Admin = "mara"
		like(t, start(t, options).do("POST", importPath, plain), folder, "84-import-v4-same-username-nomerge")
	})
	t.Run("merge", func(t *testing.T) {
		options := options
		options.Admin = "mara"
		target := start(t, options)
		like(t, target.do("POST", importPath, merge), folder, "85-import-v4-merge")
		like(t, target.do("POST", importPath, merge), folder, "86-import-v4-merge-again")
	})
	t.Run("tag", func(t *testing.T) {
		target := start(t, options)
		target.want(200, "POST", "/api/user/tags", row{"name": "見本", "color": "#123456"})
		like(t, target.do("POST", importPath, plain), folder, "88-import-v4-tag-collision")
		data := target.data()
		got := map[string]int{}
		for _, name := range []string{"users", "folders", "files", "userTags", "urls", "invites", "metrics"} {
			got[name] = len(data[name])
		}
		want := map[string]int{"users": 5, "folders": 14, "files": 60, "userTags": 3, "urls": 0, "invites": 0, "metrics": 0}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("rows after the exception (-want +got):\n%s", diff)
		}
		like(t, target.do("POST", importPath, plain), folder, "89-import-v4-after-collision-retry")
	})
}

// naturalKeys are what tells rows apart whatever their ids.
var naturalKeys = map[string]string{
	"users": "username", "userPasskeys": "name", "userQuotas": "userId", "userOauthProviders": "oauthId", "userTags": "name",
	"invites": "code", "folders": "name", "urls": "code", "files": "name", "thumbnails": "path",
}

// natural returns the rows of an export by their natural keys: references are names; ids, the target's own user and dates
// that an import makes are left out.
func natural(t *testing.T, export []byte) map[string]map[string]row {
	t.Helper()
	data := rowsOf(t, export)
	names := map[string]any{}
	for _, table := range []string{"users", "files", "folders"} {
		for _, r := range data[table] {
			names[r["id"].(string)] = r[naturalKeys[table]]
		}
	}
	all := map[string]map[string]row{}
	for table, key := range naturalKeys {
		all[table] = map[string]row{}
		for _, r := range data[table] {
			if table == "users" && r["username"] == "admin" {
				continue
			}
			delete(r, "id")
			if table == "userPasskeys" || table == "userOauthProviders" || table == "userTags" {
				delete(r, "createdAt")
			}
			for member, value := range r {
				r[member] = renamed(value, names)
			}
			all[table][fmt.Sprint(r[key], " of ", r["userId"])] = r
		}
	}
	return all
}

// renamed returns a value with names in place of ids; lists become sets.
func renamed(value any, names map[string]any) any {
	switch value := value.(type) {
	case string:
		if name, is := names[value]; is {
			return name
		}
	case []any:
		set := map[any]bool{}
		for _, entry := range value {
			set[renamed(entry, names)] = true
		}
		return set
	}
	return value
}

func TestImportNeedsSuperAdmin(t *testing.T) {
	i := start(t, standin.Options{})
	i.server.Database().AddUser("second", "ADMIN", "second")
	i.server.Database().AddUser("third", "USER", "third")
	body := wrap(altered(t, nil), `{}`)
	for token, want := range map[string]string{"second": "E3015", "third": "E3000", "none": "E2001", "": "E2000"} {
		if got := i.as(token).code("POST", importPath, body); got != want {
			t.Errorf("token %q: %s, want %s", token, got, want)
		}
	}
	// the form is looked at before the token, as recorded answers without the headers of the limit show
	if a := i.as("none").do("POST", importPath, []byte(`{}`)); a.status != 400 || a.header.Get("X-Ratelimit-Limit") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestImportIsJSON(t *testing.T) {
	i := start(t, standin.Options{})
	if a := i.do("POST", importPath, []byte(`{"export4"`)); a.status != 400 || !bytes.Contains(a.body, []byte("not valid JSON")) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := i.do("POST", importPath, nil); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestImportDates takes dates as JavaScript does, keeps them as Zipline writes them, and refuses what is none.
func TestImportDates(t *testing.T) {
	for text, want := range map[string]any{
		"2026-01-01":                      "2026-01-01T00:00:00.000Z",
		"Thu Jan 01 2026":                 "2026-01-01T00:00:00.000Z",
		"Thu, 01 Jan 2026 10:00:00 GMT":   "2026-01-01T10:00:00.000Z",
		"2026-01-01T10:00:00.5+02:00":     "2026-01-01T08:00:00.500Z",
		"1/2/2026, 3:04:05 PM":            "2026-01-02T15:04:05.000Z",
		"2026-02-30T00:00:00.000Z":        "2026-03-02T00:00:00.000Z",
		"2026-01-01T24:00:00.000Z":        "2026-01-02T00:00:00.000Z",
		"+010000-01-01T00:00:00.000Z":     "+010000-01-01T00:00:00.000Z",
		"2026-01-01T24:00:00.001Z":        nil,
		"2026-02-32T00:00:00.000Z":        nil,
		"2026-01-01T00:00:00,000Z":        nil,
		"2026-01-01T00:00:00,5":           nil,
		"Thu Jan 01 2026 10:00:00 GMT+01": nil,
		"not a date":                      nil,
		"":                                nil,
	} {
		export := altered(t, func(data map[string]any) { data["users"].([]any)[1].(row)["createdAt"] = text })
		target := start(t, standin.Options{NoRateLimits: true})
		answer := target.do("POST", importPath, wrap(export, `{}`))
		if want == nil {
			if answer.status != 400 || !bytes.Contains(answer.body, []byte("Invalid date")) || len(target.data()["users"]) != 1 {
				t.Errorf("%q: %d %s", text, answer.status, answer.body)
			}
			continue
		}
		for _, user := range target.data()["users"] {
			if user["username"] == "pavel" && user["createdAt"] != want {
				t.Errorf("%q became %v", text, user["createdAt"])
			}
		}
		if answer.status != 200 || len(target.data()["users"]) != 4 {
			t.Errorf("%q: %d %s", text, answer.status, answer.body)
		}
	}
}
