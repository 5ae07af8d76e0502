package zipline

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
)

// legacySample is a made-up export of Zipline 3: three users, one of them with two oauth providers of one id; two folders
// of one name, one that names a file that is not there, one of nobody; a file and a URL of nobody; two URLs of one code.
const legacySample = `{"versions":{"zipline":"3.7.12","node":"v20.18.0","export":"3"},
"request":{"user":"mara","date":"2026-11-01T12:00:00.000Z","os":{"platform":"linux","arch":"x64","cpus":2,"hostname":"h","release":"6"},"env":{"CORE_SECRET":"s3cret"}},
"user_map":{"1":"uMara","2":"uLin","3":"uTia"},"thumbnail_map":{"1":"t1"},"folder_map":{},"file_map":{},"url_map":{},"invite_map":{},
"users":{
"uMara":{"username":"mara","password":"$argon2id$mara","avatar":"data:image/png;base64,AAAA","administrator":true,"super_administrator":true,
 "embed":{"title":"hello","site_name":null,"description":null,"color":null},"totp_secret":"ABCDEF",
 "oauth":[{"provider":"GITHUB","username":"mara","oauth_id":"77","access_token":"at_oidc","refresh_token":null}]},
"uLin":{"username":"lin","password":"$argon2id$lin","avatar":null,"administrator":false,"super_administrator":false,"embed":{},"totp_secret":null,
 "oauth":[{"provider":"GOOGLE","username":"lin","oauth_id":"88","access_token":"at_oidc","refresh_token":"rt_x"},
  {"provider":"DISCORD","username":"lin","oauth_id":"77","access_token":"at_oidc","refresh_token":null}]},
"uTia":{"username":"tia","avatar":null,"administrator":true,"super_administrator":false,"embed":{},"oauth":[]}},
"files":{
"fA":{"name":"a.txt","original_name":"A.txt","type":"text/plain","size":1,"user":"uMara","thumbnail":null,"max_views":0,"views":3,"expires_at":null,"created_at":"2024-01-01T00:00:00.000Z","favorite":true,"password":null},
"fB":{"name":"b.mp4","original_name":"","type":"video/mp4","size":2,"user":"uMara","thumbnail":"t1","max_views":90,"views":0,"expires_at":"2030-01-01T00:00:00.000Z","created_at":"2024-01-02T00:00:00.000Z","favorite":false,"password":"$argon2id$file"},
"fC":{"name":"c%20d.txt","type":"text/plain","size":3,"user":"uLin","views":0,"created_at":"2024-01-03T00:00:00.000Z","favorite":false},
"fD":{"name":"d.txt","type":"text/plain","size":4,"user":null,"views":0,"created_at":"2024-01-04T00:00:00.000Z","favorite":false},
"fE":{"name":"e.txt","type":"text/plain","size":5,"user":"uTia","views":0,"created_at":"2024-01-05T00:00:00.000Z","favorite":false}},
"thumbnails":{"t1":{"name":".thumbnail.2.jpg","created_at":"2024-01-02T00:00:00.000Z"}},
"folders":{
"dA":{"name":"Trip","public":true,"created_at":"2024-02-01T00:00:00.000Z","user":"uMara","files":["fA"]},
"dB":{"name":"Trip","public":false,"created_at":"2024-02-02T00:00:00.000Z","user":"uMara","files":["fB","gone"]},
"dC":{"name":" Lin's ","public":false,"created_at":"2024-02-03T00:00:00.000Z","user":"uLin","files":["fC"]},
"dD":{"name":"Nobody's","public":false,"created_at":"2024-02-04T00:00:00.000Z","user":null,"files":["fD"]},
"dE":{"name":"Empty","public":false,"created_at":"2024-02-05T00:00:00.000Z","user":"uTia","files":[]}},
"urls":{
"lA":{"destination":"https://example.org/a","vanity":"short","code":"aaa","created_at":"2024-03-01T00:00:00.000Z","max_views":0,"views":7,"user":"uMara"},
"lB":{"destination":"https://example.org/b","vanity":null,"code":"aaa","created_at":"2024-03-02T00:00:00.000Z","max_views":9,"views":1,"user":"uLin"},
"lC":{"destination":"https://example.org/c","vanity":"","code":"ccc","created_at":"2024-03-03T00:00:00.000Z","views":0,"user":null}},
"invites":{
"iA":{"code":"open","expires_at":null,"created_at":"2024-04-01T00:00:00.000Z","used":false,"created_by_user":"uMara"},
"iB":{"code":"used","expires_at":null,"created_at":"2024-04-01T00:00:00.000Z","used":true,"created_by_user":"uMara"}},
"stats":[{"created_at":"2024-05-01T00:00:00.000Z","data":{"x":[1]}},{"created_at":"2024-05-02T00:00:00.000Z","data":null}]}`

// legacyBed returns the made-up instance of Zipline 3 as a backup.
func legacyBed(t *testing.T, admin string) *bed {
	t.Helper()
	folder := t.TempDir()
	for n, name := range []string{"a.txt", "b.mp4", "c%20d.txt", "d.txt", "e.txt"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(strings.Repeat("x", n+1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newBed(t, []byte(legacySample), folder, admin)
}

// told are the rows of a target, by what they are called, as far as an import of version 3 decides about them.
func (b *bed) told() map[string][]string {
	rows, all := b.targetRows(), map[string][]string{}
	users, folders := map[any]any{nil: nil}, map[any]any{nil: nil}
	for _, row := range rows["users"] {
		users[row["id"]] = row["username"]
		all["users"] = append(all["users"], fmt.Sprint(row["username"], " ", row["role"], " ", row["password"], " ", row["totpSecret"], " ", row["avatar"]))
	}
	for _, row := range rows["folders"] {
		folders[row["id"]] = row["createdAt"]
		all["folders"] = append(all["folders"], fmt.Sprint(users[row["userId"]], " ", row["name"], " ", row["public"], " ", row["createdAt"]))
	}
	for _, row := range rows["files"] {
		all["files"] = append(all["files"], fmt.Sprint(users[row["userId"]], " ", row["name"], " ", row["originalName"], " ", row["size"], " ", row["views"], " ", row["maxViews"], " ",
			row["deletesAt"], " ", row["createdAt"], " ", row["favorite"], " ", row["password"], " ", folders[row["folderId"]]))
	}
	for _, row := range rows["urls"] {
		all["urls"] = append(all["urls"], fmt.Sprint(users[row["userId"]], " ", row["code"], " ", row["vanity"], " ", row["destination"], " ", row["views"], " ", row["maxViews"], " ", row["createdAt"]))
	}
	for _, row := range rows["userOauthProviders"] {
		all["oauth"] = append(all["oauth"], fmt.Sprint(users[row["userId"]], " ", row["provider"], " ", row["oauthId"]))
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// legacyTold is what a target holds after a replay of the sample; the things of mara, and what is nobody's, belong to owner.
func legacyTold(admin, mara, nobody string) map[string][]string {
	all := map[string][]string{
		"users": {admin, "lin USER $argon2id$lin <nil> <nil>", "tia ADMIN <nil> <nil> <nil>"},
		"files": {
			mara + " a.txt A.txt 1 3 <nil> <nil> 2024-01-01T00:00:00.000Z true <nil> 2024-02-01T00:00:00.000Z",
			mara + " b.mp4 <nil> 2 0 90 2030-01-01T00:00:00.000Z 2024-01-02T00:00:00.000Z false $argon2id$file 2024-02-02T00:00:00.000Z",
			"lin c_20d.txt <nil> 3 0 <nil> <nil> 2024-01-03T00:00:00.000Z false <nil> 2024-02-03T00:00:00.000Z",
			nobody + " d.txt <nil> 4 0 <nil> <nil> 2024-01-04T00:00:00.000Z false <nil> 2024-02-04T00:00:00.000Z",
			"tia e.txt <nil> 5 0 <nil> <nil> 2024-01-05T00:00:00.000Z false <nil> <nil>",
		},
		"folders": {
			mara + " Trip true 2024-02-01T00:00:00.000Z", mara + " Trip false 2024-02-02T00:00:00.000Z", "lin  Lin's  false 2024-02-03T00:00:00.000Z",
			nobody + " Nobody's false 2024-02-04T00:00:00.000Z", "tia Empty false 2024-02-05T00:00:00.000Z",
		},
		"urls": {
			mara + " aaa short https://example.org/a 7 <nil> 2024-03-01T00:00:00.000Z", "lin aaa-2 <nil> https://example.org/b 1 9 2024-03-02T00:00:00.000Z",
			nobody + " ccc <nil> https://example.org/c 0 <nil> 2024-03-03T00:00:00.000Z",
		},
		"oauth": {mara + " GITHUB 77", "lin GOOGLE 88"},
	}
	if mara == "mara" && nobody != "mara" {
		all["users"] = append(all["users"], "mara SUPERADMIN $argon2id$mara ABCDEF data:image/png;base64,AAAA")
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// TestLegacyReplay replays an export of Zipline 3 into an empty one, whose administrator has the name of the one in it, or
// another; then again, which changes nothing.
func TestLegacyReplay(t *testing.T) {
	for admin, want := range map[string]map[string][]string{
		"mara":  legacyTold("mara SUPERADMIN <nil> ABCDEF data:image/png;base64,AAAA", "mara", "mara"),
		"admin": legacyTold("admin SUPERADMIN <nil> <nil> <nil>", "mara", "admin"),
	} {
		b := legacyBed(t, admin)
		for attempt := range 2 {
			asked := map[string]int{}
			forecast, confirmation := b.must(func(_ int, r *http.Request) standin.Fault {
				asked[r.Method+" "+r.URL.Path]++
				return standin.Fault{}
			})
			if diff := cmp.Diff(want, b.told()); diff != "" {
				t.Errorf("%s, attempt %d (-want +got):\n%s", admin, attempt, diff)
			}
			if asked["POST "+legacyImportPath] != 1-attempt || asked["POST "+importPath] != 0 || b.writes() != 1-attempt {
				t.Errorf("%s, attempt %d: asked %v", admin, attempt, asked)
			}
			problems := []string{
				"problem ignored invites: 1 invites that can still be used don't come in: Zipline's import of version 3 takes none; make new ones",
				"problem left-out uLin/2: this row of oauth providers was left out, as the check before the restore said",
			}
			if diff := cmp.Diff(problems, lines(confirmation.Findings, app.Problem)); diff != "" {
				t.Errorf("%s, attempt %d: problems (-want +got):\n%s", admin, attempt, diff)
			}
			said := strings.Join(append(lines(forecast.Findings, app.Note), lines(confirmation.Findings, app.Note)...), "\n")
			for _, word := range []string{"ignored invites", "ignored stats: 2", "ignored embeds", "ignored settings", "ownerless d.txt", "ownerless ccc", "renamed c%20d.txt"} {
				if !strings.Contains(said, word) {
					t.Errorf("%s, attempt %d: no line names %q:\n%s", admin, attempt, word, said)
				}
			}
		}
		for n, name := range []string{"a.txt", "b.mp4", "c_20d.txt", "d.txt", "e.txt"} {
			if content, err := os.ReadFile(filepath.Join(b.into, name)); err != nil || len(content) != n+1 {
				t.Errorf("%s: %v, %d bytes", name, err, len(content))
			}
		}
	}
}

// TestLegacyForms reads exports whose parts come in any order, with and without what the archive's recognition knows.
func TestLegacyForms(t *testing.T) {
	want := legacyTold("mara SUPERADMIN <nil> ABCDEF data:image/png;base64,AAAA", "mara", "mara")
	var parts map[string]json.RawMessage
	if err := json.Unmarshal([]byte(legacySample), &parts); err != nil {
		t.Fatal(err)
	}
	for name, order := range map[string][]string{
		"sorted":   slices.Sorted(maps.Keys(parts)),
		"reversed": slices.SortedFunc(maps.Keys(parts), func(a, b string) int { return strings.Compare(b, a) }),
	} {
		var text strings.Builder
		for _, part := range order {
			text.WriteString(fmt.Sprintf(",%q:%s", part, parts[part]))
		}
		b := legacyBed(t, "mara")
		b.export = []byte("{" + text.String()[1:] + "}")
		b.must(nil)
		if diff := cmp.Diff(want, b.told()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	b := legacyBed(t, "mara")
	b.replay.Facts.Versions = map[string]string{"export": "3"}
	b.must(nil)
	if diff := cmp.Diff(want, b.told()); diff != "" {
		t.Errorf("with facts (-want +got):\n%s", diff)
	}
}

// TestLegacyTaken restores into a target that has names of the backup.
func TestLegacyTaken(t *testing.T) {
	b := legacyBed(t, "mara")
	b.database.AddUser("lin", "USER", "other-token")
	b.upload("a.txt", "other bytes")
	b.api("POST", "/api/user/folders", map[string]any{"name": "Trip"})
	if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Conflict || b.writes() != 0 {
		t.Errorf("%v, %d writes", err, b.writes())
	}
	b.replay.Wishes.Rename = true
	for range 2 {
		_, confirmation := b.must(nil)
		for _, line := range lines(confirmation.Findings, app.Problem, "missing", "differs", "duplicate", "no-bytes") {
			t.Error(line)
		}
	}
	told := strings.Join(slices.Concat(b.told()["users"], b.told()["files"], b.told()["folders"]), "\n")
	for _, word := range []string{"lin-2 USER", "mara a-2.txt A.txt 1", "lin-2 c_20d.txt", "2024-02-01T00:00:00.000Z"} {
		if !strings.Contains(told, word) {
			t.Errorf("nothing is called %q:\n%s", word, told)
		}
	}
	if content, _ := os.ReadFile(filepath.Join(b.into, "a.txt")); string(content) != "other bytes" {
		t.Error("the bytes of the target's own file were written over")
	}
}

// TestLegacyInterrupted breaks every request of a restore, and the import after every row: the next run completes it.
func TestLegacyInterrupted(t *testing.T) {
	first := legacyBed(t, "mara")
	first.must(nil)
	want, requests := first.told(), first.server.Requests()
	again := func(what string, fault func(int, *http.Request) standin.Fault) {
		b := legacyBed(t, "mara")
		_, _, err := b.run(b.serve(fault))
		b.must(nil)
		if diff := cmp.Diff(want, b.told()); diff != "" {
			t.Errorf("%s (%v) (-want +got):\n%s", what, err, diff)
		}
	}
	for way, fault := range []standin.Fault{{Cut: standin.CutBefore}, {Cut: standin.CutAfter}, {Status: http.StatusBadGateway}} {
		for n := range upTo(requests, way) {
			again(fmt.Sprintf("request %d of %d, %+v", n, requests, fault), standin.FailAt(n, fault))
		}
	}
	for rows := range upTo(16, 0) {
		again(fmt.Sprintf("cut after %d rows", rows-1), func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == legacyImportPath {
				return standin.Fault{Cut: standin.CutInside, Rows: rows - 1}
			}
			return standin.Fault{}
		})
	}
}

// TestLegacyRefuses refuses exports that an import of version 3 would refuse, before the first write.
func TestLegacyRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"no URLs":        {`"urls":{`, `"other":{`},
		"a list":         {`"folders":{`, `"folders":[{`},
		"no role":        {`"administrator":true,"super_administrator":false`, `"administrator":"yes","super_administrator":false`},
		"no record":      {`"uTia":{`, `"uTia":7,"uTim":{`},
		"cut":            {`"stats":[`, ``},
		"another format": {`"export":"3"`, `"export":"2"`},
	} {
		b := legacyBed(t, "mara")
		b.export = []byte(strings.Replace(legacySample, change[0], change[1], 1))
		if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Invalid || b.writes() != 0 {
			t.Errorf("%s: %v, %d writes", name, err, b.writes())
		}
	}
}
