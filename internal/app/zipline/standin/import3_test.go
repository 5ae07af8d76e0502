package standin_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

const import3Path = "/api/server/import/v3"

// body3 is an import of version 3 with these parts; the others are empty.
func body3(parts, from string) []byte {
	var given map[string]any
	if err := json.Unmarshal([]byte("{"+parts+"}"), &given); err != nil {
		panic(err) // a fault of a test
	}
	export := map[string]any{
		"versions": row{"zipline": "3.7.12", "node": "v20", "export": "3"},
		"request":  row{"user": "mara", "date": "d", "os": row{"platform": "linux", "arch": "x64", "cpus": 1, "hostname": "h", "release": "6"}, "env": row{}},
	}
	for _, part := range []string{
		"user_map", "thumbnail_map", "folder_map", "file_map", "url_map", "invite_map", "users", "files", "thumbnails", "folders", "urls", "invites",
	} {
		export[part] = row{}
	}
	maps.Copy(export, given)
	body := row{"export3": export}
	if from != "" {
		body["importFromUser"] = from
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return text
}

const users3 = `"users":{
 "m":{"username":"mara","administrator":true,"super_administrator":true,"embed":{},"totp_secret":"T","oauth":[{"provider":"GITHUB","username":"m","oauth_id":"1","access_token":"a","refresh_token":null}]},
 "n":{"username":"lin","administrator":false,"super_administrator":false,"embed":{},"oauth":[{"provider":"GOOGLE","username":"l","oauth_id":"1","access_token":"a","refresh_token":null}]}}`

const rows3 = `"files":{
 "a":{"name":"a.txt","type":"t","size":1,"user":"m","views":0,"max_views":0,"created_at":"2024-01-01T00:00:00.000Z","favorite":false},
 "b":{"name":"b.txt","type":"t","size":1,"user":"n","views":0,"created_at":"2024-01-01T00:00:00.000Z","favorite":false},
 "c":{"name":"c.txt","type":"t","size":1,"user":null,"views":0,"created_at":"2024-01-01T00:00:00.000Z","favorite":false}},
"folders":{
 "a":{"name":"x","public":true,"created_at":"2024-01-01T00:00:00.000Z","user":"m","files":["a"]},
 "b":{"name":"x","public":true,"created_at":"2024-01-02T00:00:00.000Z","user":"m","files":[]},
 "c":{"name":"y","public":true,"created_at":"2024-01-03T00:00:00.000Z","user":"m","files":["c"]},
 "d":{"name":"z","public":true,"created_at":"2024-01-03T00:00:00.000Z","files":[]}},
"urls":{
 "a":{"destination":"d","vanity":"v","code":"one","created_at":"2024-01-01T00:00:00.000Z","views":0,"user":"m"},
 "b":{"destination":"d","code":"one","created_at":"2024-01-01T00:00:00.000Z","views":0,"user":"n"},
 "c":{"destination":"d","code":"two","created_at":"2024-01-01T00:00:00.000Z","views":0}}`

// TestImport3 follows the rules of the import of version 3: what is nobody's, of a user who exists, of a name or a code that
// is taken, and folders of which a file did not come in, are skipped; several folders of a name come in.
func TestImport3(t *testing.T) {
	for name, each := range map[string]struct {
		admin, from string
		want        map[string][]string
	}{
		"another": {"admin", "", map[string][]string{"users": {"m", "n"}, "files": {"a", "b"}, "folders": {"a", "b"}, "urls": {"a"}}},
		"same":    {"mara", "", map[string][]string{"users": {"n"}, "files": {"b"}, "folders": {}, "urls": {"b"}}},
		"merged":  {"mara", "m", map[string][]string{"users": {"m", "n"}, "files": {"a", "b"}, "folders": {"a", "b"}, "urls": {"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			target := start(t, standin.Options{NoRateLimits: true, Admin: each.admin})
			for attempt := range 2 {
				answer := target.do("POST", import3Path, body3(users3+","+rows3, each.from))
				var ids map[string]map[string]string
				if err := json.Unmarshal(answer.body, &ids); err != nil {
					t.Fatalf("%v: %s", err, answer.body)
				}
				got := map[string][]string{}
				for part, all := range ids {
					got[part] = []string{}
					for id := range all {
						got[part] = append(got[part], id)
					}
					slices.Sort(got[part])
				}
				if diff := gocmp.Diff(each.want, got); attempt == 0 && diff != "" {
					t.Errorf("imported (-want +got):\n%s", diff)
				}
				if attempt == 1 && len(got["files"])+len(got["urls"]) > 0 {
					t.Errorf("imported again: %v", got)
				}
			}
			data := target.data()
			if n := len(data["userOauthProviders"]); n != 1 {
				t.Errorf("%d oauth providers of one id", n)
			}
			for _, f := range data["files"] {
				if f["name"] == "a.txt" && (f["folderId"] == nil || f["maxViews"] != nil) {
					t.Errorf("%v", f)
				}
			}
		})
	}
}

// TestImport3Breaks breaks off, or refuses, what the real one does.
func TestImport3Breaks(t *testing.T) {
	noToken := `"users":{"m":{"username":"m","administrator":false,"super_administrator":false,"embed":{},"oauth":[{"provider":"GITHUB","username":"m","oauth_id":"1","access_token":null,"refresh_token":null}]}}`
	for name, each := range map[string]struct {
		body   []byte
		status int
	}{
		"no access token": {body3(noToken, ""), 500},
		"no form":         {[]byte(`{"export3":{}}`), 400},
		"format 4":        {[]byte(`{"export4":{}}`), 400},
		"a wrong role":    {body3(`"users":{"m":{"username":"m"}}`, ""), 400},
	} {
		answer := start(t, standin.Options{}).do("POST", import3Path, each.body)
		if answer.status != each.status {
			t.Errorf("%s: %d %s", name, answer.status, answer.body)
		}
	}
}
