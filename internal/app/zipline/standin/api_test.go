package standin_test

import (
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// loaded starts a copy of the recorded instance; its token is that of the SUPERADMIN.
func loaded(t *testing.T) (i *instance, folder string) {
	t.Helper()
	folder = fixture(t)
	database, err := standin.LoadDatabase(read(t, filepath.Join(folder, "export.json")))
	if err != nil {
		t.Fatal(err)
	}
	for username, token := range map[string]string{"mara": standin.SuperAdminToken, "tomas": standin.AdminToken, "lin": standin.UserToken} {
		if !database.SetToken(username, token) {
			t.Fatalf("no user %s", username)
		}
	}
	database.AddOwnerlessURL("gone", "https://example.org/")
	return start(t, standin.Options{
		Database: database, Tampered: []string{"coreTempDirectory"}, NoRateLimits: true,
		Storage: standin.Storage{Used: 37749190656, Total: 270553174016, Available: 60044103680, Path: "/zipline/uploads"},
	}), folder
}

// TestRecordedCalls replays the recorded reading calls against a copy of the recorded instance.
func TestRecordedCalls(t *testing.T) {
	i, folder := loaded(t)
	const (
		photos = "cmwquo6mf000drh7da0veybhz"
		lin    = "cmwqunv920005rh7d2pbr86i9"
	)
	for name, path := range map[string]string{
		"06-whoami": "/api/user", "07-bad-token": "/api/user/folders/nope", "11-export-counts": "/api/server/export?counts=true",
		"12-export-bad-query": "/api/server/export?nometrics=1", "16-version": "/api/version", "17-healthcheck": "/api/healthcheck", "18-public": "/api/server/public", "19-settings": "/api/server/settings",
		"20-folders": "/api/user/folders", "21-folders-noincl": "/api/user/folders?noincl=true",
		"22-folders-root": "/api/user/folders?noincl=true&root=true", "23-folders-parent": "/api/user/folders?noincl=true&parentId=" + photos,
		"24-folders-of-user": "/api/user/folders?noincl=true&user=" + lin, "25-folder-get": "/api/user/folders/cmwquobvq000grh7dnp3qn417",
		"26-folder-get-404": "/api/user/folders/nope", "39-users": "/api/users", "40-files-page": "/api/user/files?page=1&perpage=5",
		"41-files-of-lin": "/api/user/files?page=1&perpage=3&id=" + lin, "66-file-get": "/api/user/files/cmwquosfv000trh7djv5pny95",
		"67-tags": "/api/user/tags", "68-urls": "/api/user/urls", "69-invites": "/api/auth/invites", "95-server-status": "/api/server/status",
		"09-export-as-admin": "/api/server/export", "10-export-as-user": "/api/server/export",
	} {
		who := i
		switch name {
		case "07-bad-token":
			who = i.as("nonsense")
		case "09-export-as-admin":
			who = i.as(standin.AdminToken)
		case "10-export-as-user":
			who = i.as(standin.UserToken)
		}
		like(t, who.do("GET", path, nil), folder, name)
	}
}

// TestRecordedExport: the tables give back the export that they were loaded from.
func TestRecordedExport(t *testing.T) {
	i, folder := loaded(t)
	want := known(decode[any](t, read(t, filepath.Join(folder, "export.json"))).(row)["data"])
	for path, metrics := range map[string]bool{"": true, "?nometrics=true": false, "?nometrics=false": false} {
		got := known(decode[row](t, i.want(200, "GET", "/api/server/export"+path, nil))["data"]).(row)
		if _, there := got["metrics"].([]any); !there || (len(got["metrics"].([]any)) == 7) != metrics {
			t.Errorf("%q: metrics %v", path, got["metrics"])
		}
		if !metrics {
			continue
		}
		if diff := gocmp.Diff(unordered(want), unordered(got)); diff != "" {
			t.Errorf("(-recorded +stand-in):\n%s", diff)
		}
	}
}

// unordered makes the lists of ids of tags and folders comparable.
func unordered(data any) any {
	for _, table := range []string{"userTags", "folders"} {
		for _, r := range data.(row)[table].([]any) {
			r.(row)["files"] = renamed(r.(row)["files"], nil)
		}
	}
	return data
}

// TestRecordedChanges replays the recorded changes of folders and settings.
func TestRecordedChanges(t *testing.T) {
	i, folder := loaded(t)
	const photos = "/api/user/folders/cmwquo6mf000drh7da0veybhz"
	like(t, i.do("PATCH", "/api/user/folders/cmwquodmu000hrh7d3yc8vvpj", row{"isPublic": false, "allowUploads": false, "name": "2023"}), folder, "27-folder-patch")
	like(t, i.do("PATCH", photos, row{"parentId": "cmwquo6mf000drh7da0veybhz"}), folder, "28-folder-patch-own-parent")
	like(t, i.do("PATCH", photos, row{"parentId": "cmwquobvq000grh7dnp3qn417"}), folder, "29-folder-patch-cycle")
	like(t, i.do("PATCH", photos, row{"parentId": "cmwquopwt000prh7dbvdnkmmp"}), folder, "30-folder-patch-foreign-parent")

	settings := decode[struct{ Data struct{ Settings row } }](t, read(t, filepath.Join(folder, "export.json"))).Data.Settings
	target := start(t, standin.Options{})
	like(t, target.do("PATCH", "/api/server/settings", settings), folder, "87-settings-patch-from-export")
	delete(settings, "coreTempDirectory")
	target = start(t, standin.Options{})
	target.want(200, "PATCH", "/api/server/settings", settings)
	got := decode[struct{ Settings row }](t, target.want(200, "GET", "/api/server/settings", nil)).Settings
	for _, name := range []string{"id", "createdAt", "updatedAt", "firstSetup"} {
		delete(settings, name)
	}
	delete(got, "coreTempDirectory")
	if diff := gocmp.Diff(settings, got); diff != "" {
		t.Errorf("settings (-sent +stand-in):\n%s", diff)
	}
}

// TestRecordedRefusals replays small recorded refusals, which the made-up instance shows too.
func TestRecordedRefusals(t *testing.T) {
	database, err := standin.LoadDatabase(standin.Sample().Export())
	if err != nil {
		t.Fatal(err)
	}
	database.SetToken("nora", standin.SuperAdminToken)
	database.AddUser("co:lon", "SUPERADMIN", "colon")
	i := start(t, standin.Options{Database: database})
	folders := i.data()["folders"]
	id := func(name string) string { return one(t, folders, "name", name)["id"].(string) }
	photos := "/api/user/folders/" + id("Photos")
	like(t, i.do("GET", "/api/user/folders/nope", nil), "", "26-folder-get-404")
	like(t, i.do("PATCH", photos, row{"parentId": id("Photos")}), "", "28-folder-patch-own-parent")
	like(t, i.do("PATCH", photos, row{"parentId": id("2026")}), "", "29-folder-patch-cycle")
	like(t, i.do("PATCH", photos, row{"parentId": id("写真")}), "", "30-folder-patch-foreign-parent")
	like(t, i.do("PATCH", "/api/server/settings", row{"coreTempDirectory": "/nowhere", "websiteTitle": "x"}), "", "87-settings-patch-from-export")
	like(t, i.as("colon").do("GET", "/api/server/export", nil), "", "96-export-username-with-colon")
}

// TestSettings: what is refused key by key, and what only together.
func TestSettings(t *testing.T) {
	i := start(t, standin.Options{NoRateLimits: true, Paths: []string{"/tos.md"}, Themes: []string{"mine"}})
	for name, test := range map[string]struct {
		body   row
		status int
		path   string
	}{
		"unknown keys only":       {row{"nope": 1}, 400, ""},
		"unknown keys too":        {row{"nope": 1, "websiteTitle": "x"}, 200, ""},
		"too many threads":        {row{"featuresThumbnailsNumberThreads": 3}, 400, "featuresThumbnailsNumberThreads"},
		"random words":            {row{"filesDefaultFormat": "random-words"}, 400, "filesDefaultFormat"},
		"a theme that is absent":  {row{"websiteThemeDark": "theirs"}, 400, "websiteThemeDark"},
		"a theme that is there":   {row{"websiteThemeDark": "mine"}, 200, ""},
		"a file that is absent":   {row{"websiteTos": "/other.md"}, 400, "websiteTos"},
		"a file that is there":    {row{"websiteTos": "/tos.md"}, 200, ""},
		"one side of OAuth":       {row{"oauthGithubClientId": "a"}, 400, "oauthGithubClientId oauthGithubClientSecret"},
		"both sides":              {row{"oauthGithubClientId": "a", "oauthGithubClientSecret": "b"}, 200, ""},
		"the other side is there": {row{"oauthGithubClientSecret": "c"}, 400, "oauthGithubClientId oauthGithubClientSecret"},
		"passkeys alone":          {row{"mfaPasskeysEnabled": true}, 400, "mfaPasskeysRpID"},
		"passkeys":                {row{"mfaPasskeysEnabled": true, "mfaPasskeysRpID": "a.example", "mfaPasskeysOrigin": "https://a.example"}, 200, ""},
		"a window alone":          {row{"ratelimitWindow": 3}, 400, "ratelimitMax"},
		"a wrong type":            {row{"filesLength": "7"}, 400, "filesLength"},
		"a wrong period":          {row{"tasksMetricsInterval": "soon"}, 400, "tasksMetricsInterval"},
		"an embed":                {row{"discordOnUploadEmbed": row{"title": "t", "thumbnail": true}}, 200, ""},
		"a reserved route":        {row{"filesRoute": "/api/x"}, 400, "filesRoute"},
		"lists":                   {row{"domains": []string{"a.example.org"}, "filesDisabledExtensions": []string{"exe"}}, 200, ""},
	} {
		a := i.do("PATCH", "/api/server/settings", test.body)
		var issues struct{ Issues []struct{ Path []string } }
		if a.status == 400 {
			issues = decode[struct{ Issues []struct{ Path []string } }](t, a.body)
		}
		path := ""
		if len(issues.Issues) > 0 {
			path = strings.Join(issues.Issues[0].Path, " ")
		}
		if a.status != test.status || path != test.path {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	i.server.Database().AddUser("kim", "USER", "kims")
	if got := i.as("kims").code("GET", "/api/server/settings", nil); got != "E3000" {
		t.Errorf("a USER: %s", got)
	}
}
