package standin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// sampled starts a copy of the made-up instance with its objects; nora is SUPERADMIN, pavel ADMIN, kim USER, and zoe
// another SUPERADMIN.
func sampled(t *testing.T, options standin.Options) (i *instance, ids map[string]string) {
	t.Helper()
	options.Datasource, options.NoRateLimits = t.TempDir(), true
	if err := standin.Sample().WriteUploads(options.Datasource); err != nil {
		t.Fatal(err)
	}
	database, err := standin.LoadDatabase(standin.Sample().Export())
	if err != nil {
		t.Fatal(err)
	}
	database.SetToken("nora", standin.SuperAdminToken)
	database.SetToken("pavel", "pavel")
	database.SetToken("kim", "kim")
	database.AddUser("zoe", "SUPERADMIN", "zoe")
	options.Database = database
	i = start(t, options)
	ids = map[string]string{}
	for _, u := range i.data()["users"] {
		ids[u["username"].(string)] = u["id"].(string)
	}
	return i, ids
}

// TestRoles: who may touch whom, and what is theirs.
func TestRoles(t *testing.T) {
	i, ids := sampled(t, standin.Options{})
	folders := i.data()["folders"]
	folderOf := func(name string) string { return "/api/user/folders/" + one(t, folders, "name", name)["id"].(string) }
	for _, test := range []struct{ token, method, path, want string }{
		{"zoe", "PATCH", folderOf("Photos"), "E4001"}, // a SUPERADMIN's, by another one
		{"pavel", "PATCH", folderOf("Photos"), "E4001"},
		{"kim", "PATCH", folderOf("Work"), "E4001"},
		{"pavel", "PATCH", "/api/users/" + ids["nora"], "E3019"},
		{"zoe", "PATCH", "/api/users/" + ids["nora"], "E3019"},
		{"zoe", "GET", "/api/users/" + ids["nora"], "E4009"},
		{"kim", "PATCH", "/api/users/" + ids["kim"], "E3000"},
		{"zoe", "DELETE", "/api/users/" + ids["zoe"], "E3010"},
		{"zoe", "DELETE", "/api/users/" + ids["nora"], "E3009"},
		{"zoe", "DELETE", "/api/users/nobody", "E4009"},
		{"kim", "GET", "/api/auth/invites", "E3000"},
		{"pavel", "GET", "/api/user/folders?user=" + ids["nora"], "E4009"},
		{"pavel", "GET", "/api/user/tags/" + i.data()["userTags"][0]["id"].(string), "E9002"}, // nora's
		{"zoe", "DELETE", "/api/user/tags/" + i.data()["userTags"][0]["id"].(string), "E9002"},
		{"zoe", "DELETE", "/api/user/urls/" + i.data()["urls"][0]["id"].(string), "E9002"},
		{"kim", "DELETE", "/api/user/files/README.md", "E4000"},
	} {
		if got := i.as(test.token).code(test.method, test.path, row{}); got != test.want {
			t.Errorf("%s: %s %s: %s, want %s", test.token, test.method, test.path, got, test.want)
		}
	}
	i.want(200, "PATCH", folderOf("Work"), row{"name": "  Work of pavel "})
	i.as("pavel").want(200, "PATCH", folderOf("写真"), row{"isPublic": false})
	if got := i.code("PATCH", folderOf("Photos"), row{"name": "  "}); got != "body/name Too small" {
		t.Errorf("an empty name: %s", got)
	}
	if one(t, i.data()["folders"], "name", "Work of pavel")["parentId"] != nil {
		t.Error("the folder has moved")
	}
	if got := i.code("PATCH", "/api/users/"+ids["kim"], row{"role": "SUPERADMIN"}); got != "E3007" {
		t.Errorf("making a SUPERADMIN: %s", got)
	}
	i.want(500, "PATCH", "/api/users/"+ids["kim"], row{"username": "pavel"})
	i.want(200, "PATCH", "/api/users/"+ids["kim"], row{"username": "kim2", "role": "ADMIN"})
	var names []string
	for _, u := range decode[[]row](t, i.want(200, "GET", "/api/users", nil)) {
		names = append(names, u["username"].(string))
	}
	if diff := gocmp.Diff([]string{"pavel", "kim2"}, names); diff != "" { // no SUPERADMIN
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if got := i.code("PATCH", "/api/user", row{"username": "pavel"}); got != "E1038" {
		t.Errorf("a taken name: %s", got)
	}
	i.want(200, "PATCH", "/api/user", row{"avatar": nil, "view": row{"embedTitle": "t", "nope": 1}})
	if view := one(t, i.data()["users"], "username", "nora")["view"]; gocmp.Diff(row{"embedTitle": "t"}, view) != "" {
		t.Errorf("view %v", view)
	}
}

// TestDeleteUser: what goes with a user and what stays. Tags always stay, and their names stay taken.
func TestDeleteUser(t *testing.T) {
	for name, too := range map[string]bool{"with files": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			i, ids := sampled(t, standin.Options{})
			i.want(200, "DELETE", "/api/users/"+ids["pavel"], row{"delete": too})
			data := i.data()
			counts := decode[map[string]int](t, i.want(200, "GET", "/api/server/export?counts=true", nil))
			got := []int{len(data["folders"]), len(data["files"]), counts["urls"], len(data["urls"]), len(data["userTags"])}
			want := []int{6, 18, 2, 1, 1} // both folders of pavel are gone, the URL and the tag have no owner
			if too {
				want = []int{6, 11, 1, 1, 1}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("folders, files, all URLs, URLs, tags (-want +got):\n%s", diff)
			}
			if status := i.do("GET", "/raw/CHANGES.md", nil).status; (status == 200) == too {
				t.Errorf("an object: %d", status)
			}
			i.want(500, "POST", "/api/user/tags", row{"name": "work", "color": "#fff"})
			if too {
				return
			}
			if f := one(t, data["files"], "name", "CHANGES.md"); f["userId"] != nil || f["folderId"] != nil {
				t.Errorf("the file left behind: %v", f)
			}
		})
	}
}

// TestHang: a folder in a circle is never answered by 4.6.3.
func TestHang(t *testing.T) {
	for version, hangs := range map[standin.Version]bool{standin.V463: true, standin.Newer: false} {
		i := start(t, standin.Options{NoRateLimits: true, Version: version})
		i.want(200, "POST", importPath, wrap(altered(t, func(data map[string]any) {
			folders := data["folders"].([]any)
			folders[0].(row)["parentId"] = folders[1].(row)["id"]
		}), `{}`))
		database := i.server.Database()
		database.SetToken("nora", "nora")
		id := one(t, i.data()["folders"], "name", "Photos")["id"].(string)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/api/user/folders/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("authorization", "nora")
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		if errors.Is(err, context.DeadlineExceeded) != hangs {
			t.Errorf("%s: %v", version, err)
		}
		cancel()
		i.want(200, "GET", "/api/user", nil) // the others are served
	}
}

// TestFolders: making, filling and deleting folders.
func TestFolders(t *testing.T) {
	i, _ := sampled(t, standin.Options{})
	create := func(body row) row { return decode[row](t, i.want(200, "POST", "/api/user/folders", body)) }
	top := create(row{"name": "top", "isPublic": true})
	child := create(row{"name": "child", "parentId": top["id"]})
	if child["parent"].(row)["name"] != "top" || child["public"] != false || top["public"] != true {
		t.Errorf("%v in %v", child, top)
	}
	file := one(t, i.data()["files"], "name", "notes from monday.txt")["id"]
	put := i.want(200, "PUT", "/api/user/folders/"+child["id"].(string), row{"id": file})
	if decode[row](t, put)["_count"].(row)["files"] != 1.0 {
		t.Errorf("%s", put)
	}
	moved := i.want(200, "PATCH", "/api/user/files/transaction", row{"files": []any{file}, "folder": top["id"]})
	if diff := gocmp.Diff(row{"count": 1.0, "name": "top"}, decode[row](t, moved)); diff != "" {
		t.Error(diff)
	}
	for want, body := range map[string]row{
		"E1011": {"id": file}, "E4000": {"id": "nope"},
	} {
		if got := i.code("PUT", "/api/user/folders/"+top["id"].(string), body); got != want {
			t.Errorf("PUT %v: %s, want %s", body, got, want)
		}
	}
	for want, body := range map[string]row{"E4007": {"name": "x", "parentId": "nope"}, "E1026": {"name": "x", "files": []string{"nope"}}} {
		if got := i.code("POST", "/api/user/folders", body); got != want {
			t.Errorf("POST %v: %s, want %s", body, got, want)
		}
	}
	path := "/api/user/folders/" + top["id"].(string)
	for want, body := range map[string]row{
		"E1013": {"delete": "file"}, "E1012": {"delete": "file", "id": one(t, i.data()["files"], "name", "README.md")["id"]},
		"E1019": {"delete": "folder", "childrenAction": "folder"}, "E4008": {"delete": "folder", "childrenAction": "folder", "targetFolderId": "nope"},
	} {
		if got := i.code("DELETE", path, body); got != want {
			t.Errorf("DELETE %v: %s, want %s", body, got, want)
		}
	}
	i.want(200, "DELETE", path, row{"delete": "folder"}) // what was in it stands at the root
	data := i.data()
	if one(t, data["folders"], "name", "child")["parentId"] != nil || one(t, data["files"], "name", "notes from monday.txt")["folderId"] != nil {
		t.Error("something is in a folder that is gone")
	}
}

// TestDeleteTree: cascade keeps the files, cascade-files deletes them with their bytes.
func TestDeleteTree(t *testing.T) {
	for action, kept := range map[string]bool{"cascade": true, "cascade-files": false} {
		i, _ := sampled(t, standin.Options{})
		photos := one(t, i.data()["folders"], "name", "Photos")["id"].(string)
		i.want(200, "DELETE", "/api/user/folders/"+photos, row{"delete": "folder", "childrenAction": action})
		data := i.data()
		names := strings.Join(pick(data["files"], "name"), " ")
		if strings.Contains(names, "ZkP0aa.jpg") != kept || len(data["folders"]) != 6 {
			t.Errorf("%s: %d folders, files %s", action, len(data["folders"]), names)
		}
	}
}

// TestFiles: renaming and deleting files moves and deletes their objects.
func TestFiles(t *testing.T) {
	i, _ := sampled(t, standin.Options{})
	object := func(name string) bool {
		return i.do("GET", "/raw/"+strings.ReplaceAll(name, " ", "%20"), nil).status == 200
	}
	i.want(200, "PATCH", "/api/user/files/README.md", row{"name": " READ%20ME.md ", "originalName": "r.md", "favorite": true, "maxViews": 9})
	f := one(t, i.data()["files"], "name", "READ ME.md") // 4.6.3 decodes names here too
	if f["originalName"] != "r.md" || f["favorite"] != true || f["maxViews"] != 9.0 || !object("READ ME.md") || object("README.md") {
		t.Errorf("%v", f)
	}
	if got := i.code("PATCH", "/api/user/files/CHANGES.md", row{"name": "READ ME.md"}); got != "E1014" {
		t.Errorf("a taken name: %s", got)
	}
	i.want(400, "PATCH", "/api/user/files/CHANGES.md", row{"name": "../x"})
	tag := i.data()["userTags"][0]["id"]
	if got := i.code("PATCH", "/api/user/files/CHANGES.md", row{"tags": []any{tag}}); got != "E1032" { // pavel's file, nora's tag
		t.Errorf("someone else's tag: %s", got)
	}
	i.want(200, "PATCH", "/api/user/files/empty.log", row{"tags": []any{}})
	i.want(200, "DELETE", "/api/user/files/CHANGES.md", nil)
	i.want(200, "PATCH", "/api/user/files/left-behind.bin", row{"favorite": true}) // an ownerless one
	if object("CHANGES.md") {
		t.Error("the object is there")
	}
	var ids []any
	for _, name := range []string{"empty.log", "cafe\u0301.txt"} {
		ids = append(ids, one(t, i.data()["files"], "name", name)["id"])
	}
	if got := i.as("kim").code("DELETE", "/api/user/files/transaction", row{"files": ids}); got != "E3013" {
		t.Errorf("someone else's files: %s", got)
	}
	i.want(200, "DELETE", "/api/user/files/transaction", row{"files": ids, "delete_datasourceFiles": true})
	if got := i.code("DELETE", "/api/user/files/transaction", row{"files": ids}); got != "E1027" {
		t.Errorf("a second time: %s", got)
	}
	if n := len(i.data()["files"]); n != 15 {
		t.Errorf("%d files", n)
	}
}

// TestTagsURLsInvites: names and codes that are taken, and what can be deleted.
func TestTagsURLsInvites(t *testing.T) {
	i, _ := sampled(t, standin.Options{})
	if got := i.code("POST", "/api/user/tags", row{"name": "summer", "color": "#fff"}); got != "E1033" {
		t.Errorf("one's own tag: %s", got)
	}
	i.want(500, "POST", "/api/user/tags", row{"name": "work", "color": "#fff"}) // pavel's: nobody looks for it
	made := decode[row](t, i.want(200, "POST", "/api/user/tags", row{"name": "new", "color": "#fff"}))
	path := "/api/user/tags/" + made["id"].(string)
	if got := i.code("PATCH", path, row{"name": "work"}); got != "E1034" {
		t.Errorf("a taken name: %s", got)
	}
	i.want(200, "PATCH", path, row{"name": "newer", "color": "#000000"})
	i.want(200, "DELETE", path, nil)
	i.want(400, "POST", "/api/user/urls", row{"destination": "https://größe.example/"})
	i.want(400, "POST", "/api/user/urls", row{"destination": "mailto:a@example.org"})
	if got := i.code("POST", "/api/user/urls", row{"destination": "https://example.org", "vanity": "größe"}); got != "E1042" {
		t.Errorf("a taken vanity: %s", got)
	}
	u := i.data()["urls"][0]["id"].(string)
	i.want(200, "PATCH", "/api/user/urls/"+u, row{"vanity": "v", "maxViews": 3, "enabled": false})
	if got := one(t, i.data()["urls"], "id", u); got["vanity"] != "v" || got["maxViews"] != 3.0 || got["enabled"] != false {
		t.Errorf("%v", got)
	}
	i.want(200, "DELETE", "/api/user/urls/"+u, nil)
	invite := decode[row](t, i.want(200, "POST", "/api/auth/invites", row{"expiresAt": "never", "maxUses": 2}))
	if invite["expiresAt"] != nil || invite["maxUses"] != 2.0 {
		t.Errorf("%v", invite)
	}
	i.as("pavel").want(200, "DELETE", "/api/auth/invites/"+invite["id"].(string), nil)
	if got := i.code("DELETE", "/api/auth/invites/"+invite["id"].(string), nil); got != "E4004" {
		t.Errorf("a second time: %s", got)
	}
	if len(i.data()["invites"]) != 2 {
		t.Error("invites")
	}
}

// TestTakenCodes: an import breaks off at codes that others have.
func TestTakenCodes(t *testing.T) {
	for name, change := range map[string]func(data map[string]any){
		"an invite's": func(data map[string]any) {
			invites := data["invites"].([]any)
			invites[1].(row)["inviterId"], invites[1].(row)["code"] = data["users"].([]any)[1].(row)["id"], invites[0].(row)["code"]
		},
		"a URL's with its vanity": func(data map[string]any) {
			urls := data["urls"].([]any)
			urls[0].(row)["code"], urls[0].(row)["vanity"] = urls[1].(row)["code"], urls[1].(row)["vanity"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := start(t, standin.Options{})
			i.want(500, "POST", importPath, wrap(altered(t, change), `{}`))
		})
	}
}

// TestRaw: views are counted, what is due is deleted.
func TestRaw(t *testing.T) {
	i, _ := sampled(t, standin.Options{})
	i.want(200, "PATCH", "/api/user/files/empty.log", row{"maxViews": 4})
	status := []int{}
	for range 3 {
		status = append(status, i.do("GET", "/raw/empty.log", nil).status)
	}
	views := one(t, i.data()["files"], "name", "README.md")["views"].(float64)
	i.want(200, "GET", "/raw/README.md", nil)
	id := one(t, i.data()["files"], "name", "README.md")["id"].(string)
	i.want(200, "GET", "/api/user/files/"+id+"/raw", nil)
	if got := one(t, i.data()["files"], "name", "README.md")["views"]; got != views+1 {
		t.Errorf("%v views, had %v", got, views)
	}
	if diff := gocmp.Diff([]int{200, 404, 404}, status); diff != "" {
		t.Errorf("a file with one view left (-want +got):\n%s", diff)
	}
	i.want(200, "PATCH", "/api/user/files/README.md", row{"password": "x"})
	i.want(403, "GET", "/raw/README.md", nil)
}
