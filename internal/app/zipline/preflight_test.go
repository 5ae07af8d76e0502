package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// api asks the target's API as its administrator.
func (b *bed) api(method, path string, body any) map[string]any {
	b.t.Helper()
	target := b.serve(nil)
	answer, err := target.call(b.t.Context(), method, path, "", body)
	if err != nil || !answer.ok() {
		b.t.Fatalf("%s %s: %v %s", method, path, err, answer.body)
	}
	var made map[string]any
	_ = json.Unmarshal(answer.body, &made) // a list has nothing to tell
	return made
}

// edit changes the rows of an array of the backup.
func (b *bed) edit(array string, change func([]map[string]any) []map[string]any) {
	b.t.Helper()
	var e map[string]map[string]any
	if err := json.Unmarshal(b.export, &e); err != nil {
		b.t.Fatal(err)
	}
	var all []map[string]any
	text, _ := json.Marshal(e["data"][array])
	if err := json.Unmarshal(text, &all); err != nil {
		b.t.Fatal(err)
	}
	e["data"][array] = change(all)
	b.export, _ = json.Marshal(e)
}

// TestReplayTaken restores into a target that has names of the backup for other things.
func TestReplayTaken(t *testing.T) {
	b := sampleBed(t, "nora")
	b.api("POST", "/api/user/tags", map[string]any{"name": "work", "color": "#123456"})
	b.api("POST", "/api/user/urls", map[string]any{"destination": "https://example.org/other", "vanity": "größe"})
	b.api("POST", "/api/user/folders", map[string]any{"name": "Photos"})
	other := b.api("POST", "/api/auth/invites", map[string]any{"expiresAt": "never"})
	b.edit("invites", func(rows []map[string]any) []map[string]any {
		rows[0]["code"] = other["code"]
		return rows
	})
	b.edit("urls", func(rows []map[string]any) []map[string]any {
		rows[0]["code"] = b.targetRows()["urls"][0]["code"]
		return rows
	})
	b.upload("ZkP0aa.jpg", "other bytes")
	for attempt := range 2 {
		forecast, confirmation := b.must(nil)
		if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
			t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
		}
		renamed := lines(confirmation.Findings, app.Note, "renamed")
		if len(renamed) != 6 { // tag, code, vanity, invite, file, the percent name
			t.Errorf("renamed:\n%s", strings.Join(renamed, "\n"))
		}
		if attempt == 0 && len(lines(forecast.Findings, app.Note, "renamed")) != 6 {
			t.Errorf("the forecast says\n%s", strings.Join(lines(forecast.Findings, ""), "\n"))
		}
	}
	rows := b.targetRows()
	has := func(array, field, value string) bool {
		return slices.ContainsFunc(rows[array], func(row map[string]any) bool { return str(row, field) == value })
	}
	for _, want := range [][3]string{
		{"userTags", "name", "work"},
		{"userTags", "name", "work (2)"},
		{"urls", "vanity", "größe"},
		{"urls", "vanity", "größe-2"},
		{"files", "name", "ZkP0aa.jpg"},
		{"files", "name", "ZkP0aa-2.jpg"},
		{"files", "name", "100_ done + [final] #2.csv"},
		{"invites", "code", fmt.Sprint(other["code"])},
		{"invites", "code", fmt.Sprint(other["code"]) + "-2"},
	} {
		if !has(want[0], want[1], want[2]) {
			t.Errorf("the target has none of %q", want)
		}
	}
	if content, _ := os.ReadFile(filepath.Join(b.into, "ZkP0aa.jpg")); string(content) != "other bytes" {
		t.Error("the bytes of the target's own file were written over")
	}
	photos := 0
	for _, row := range rows["folders"] {
		if str(row, "name") == "Photos" {
			photos++
		}
	}
	if photos != 2 {
		t.Errorf("%d folders are called Photos", photos)
	}
}

// upload makes a file on the target that is not of the backup.
func (b *bed) upload(name, content string) {
	b.t.Helper()
	e := map[string]any{"export4": map[string]any{}, "config": map[string]any{"mergeCurrentUser": "x"}}
	var sample map[string]any
	_ = json.Unmarshal(standin.Sample().Export(), &sample)
	data := map[string]any{"settings": map[string]any{}}
	for _, array := range arrays {
		data[array] = []any{}
	}
	data["users"] = []any{map[string]any{"id": "x", "createdAt": "2026-01-01T00:00:00.000Z", "username": "x", "role": "USER", "view": map[string]any{}}}
	data["files"] = []any{map[string]any{
		"id": "y", "createdAt": "2026-01-01T00:00:00.000Z", "name": name, "size": len(content), "type": "text/plain", "views": 0, "favorite": false, "userId": "x",
	}}
	sample["data"] = data
	e["export4"] = sample
	b.api("POST", importPath, e)
	if err := os.WriteFile(filepath.Join(b.into, name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// TestReplayKeepsOwn interrupts a restore that merges into an administrator who has things: they stay, whatever is
// taken back.
func TestReplayKeepsOwn(t *testing.T) {
	for n := range upTo(45, 0) {
		rows := n - 1
		b := sampleBed(t, "nora")
		b.api("POST", "/api/user/tags", map[string]any{"name": "mine", "color": "#123456"})
		b.api("POST", "/api/user/folders", map[string]any{"name": "Photos"})
		b.api("POST", "/api/user/urls", map[string]any{"destination": "https://example.org/other"})
		b.upload("own.txt", "own")
		own := b.targetRows()
		_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutInside, Rows: rows}
			}
			return standin.Fault{}
		}))
		if err == nil {
			break // the import has fewer rows
		}
		_, confirmation := b.must(nil)
		if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
			t.Fatalf("after %d rows:\n%s", rows, strings.Join(problems, "\n"))
		}
		now := b.targetRows()
		for _, array := range []string{"userTags", "folders", "urls", "files"} {
			for _, row := range own[array] {
				if !slices.ContainsFunc(now[array], func(other map[string]any) bool { return other["id"] == row["id"] }) {
					t.Fatalf("after %d rows: %s of the target is gone: %v", rows, array, row["name"])
				}
			}
		}
	}
}

// TestReplaySuperAdmin interrupts a restore with another super administrator in it, who can't be taken back: all else is
// complete, and each row that is missing is named.
func TestReplaySuperAdmin(t *testing.T) {
	for rows := 2; rows < 40; rows += 6 {
		b := sampleBed(t, "admin")
		_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutInside, Rows: rows}
			}
			return standin.Fault{}
		}))
		if err == nil {
			t.Fatal("the fault had no effect")
		}
		_, confirmation := b.must(nil)
		missing := map[string]int64{}
		for _, f := range confirmation.Findings {
			if f.Severity == app.Problem && f.Kind == "missing" && strings.Contains(f.Message, `"nora"`) {
				missing["all"]++
			} else if f.Severity == app.Problem && f.Kind != "name" && f.Kind != "differs" {
				t.Errorf("after %d rows: %s %s: %s", rows, f.Kind, f.Item, f.Message)
			}
		}
		skipped := int64(0)
		for _, count := range confirmation.Counts {
			if count.What != "settings" && count.What != "objects" {
				skipped += count.Skip
			}
		}
		if named := int64(len(lines(confirmation.Findings, app.Problem))); named != skipped || missing["all"] == 0 {
			t.Errorf("after %d rows: %d rows are missing or differ, %d lines name them:\n%s", rows, skipped, named, strings.Join(lines(confirmation.Findings, app.Problem), "\n"))
		}
	}
}

// TestReplayHiddenTag restores into a target with a tag that no export shows, because its user was deleted.
func TestReplayHiddenTag(t *testing.T) {
	b := sampleBed(t, "nora")
	b.database.AddUser("ghost", "USER", "ghost-token")
	b.as("ghost-token", "POST", "/api/user/tags", map[string]any{"name": "work", "color": "#123456"})
	for _, u := range b.targetRows()["users"] {
		if str(u, "username") == "ghost" {
			b.api("DELETE", "/api/users/"+str(u, "id"), map[string]any{"delete": true})
		}
	}
	_, confirmation := b.must(nil)
	if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
		t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
	}
	if renamed := lines(confirmation.Findings, app.Note, "renamed"); !strings.Contains(strings.Join(renamed, "\n"), `work: this tag is "work (2)"`) {
		t.Errorf("renamed:\n%s", strings.Join(renamed, "\n"))
	}
}

// as asks the API as another user.
func (b *bed) as(token, method, path string, body any) {
	b.t.Helper()
	b.serve(nil)
	text, _ := json.Marshal(body)
	request, _ := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(string(text)))
	request.Header.Set("Authorization", token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %v %v", method, path, err, answer)
	}
	answer.Body.Close()
}

// TestPreflightUsers refuses users that the target has, or renames them.
func TestPreflightUsers(t *testing.T) {
	b := sampleBed(t, "admin")
	b.database.AddUser("kim", "USER", "other-token")
	_, _, err := b.run(b.serve(nil))
	if failure.KindOf(err) != failure.Conflict || !strings.Contains(err.Error(), `"kim"`) || !strings.Contains(failure.HintOf(err), "--rename") || b.writes() != 0 {
		t.Errorf("%v (hint: %s), %d writes", err, failure.HintOf(err), b.writes())
	}
	b.replay.Wishes.Rename = true
	_, confirmation := b.must(nil)
	if problems := lines(confirmation.Findings, app.Problem); len(problems) != 1 { // a folder of the other super administrator
		t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
	}
	if !slices.ContainsFunc(b.targetRows()["users"], func(u map[string]any) bool { return str(u, "username") == "kim-2" }) {
		t.Error("there is no kim-2")
	}
}

// TestReplayAs merges another user of the backup into the importing administrator.
func TestReplayAs(t *testing.T) {
	b := sampleBed(t, "admin")
	b.replay.Wishes.As = "pavel"
	_, confirmation := b.must(nil)
	if got := lines(confirmation.Findings, app.Problem, "missing", "differs"); len(got) > 0 {
		t.Errorf("problems:\n%s", strings.Join(got, "\n"))
	}
	if users := b.targetRows()["users"]; len(users) != 3 {
		t.Errorf("%d users", len(users))
	}
	b = sampleBed(t, "admin")
	b.replay.Wishes.As = "nobody"
	if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Usage {
		t.Errorf("--as nobody: %v", err)
	}
}

// TestPreflightRefuses finds before the first write what would fail.
func TestPreflightRefuses(t *testing.T) {
	for name, each := range map[string]struct {
		change func(*bed)
		kind   failure.Kind
		says   string
	}{
		"old version": {func(b *bed) {
			b.options.Version = standin.V442
			b.edit("users", func(rows []map[string]any) []map[string]any { return rows })
		}, failure.Internal, ""},
		"odd user": {func(b *bed) {
			b.edit("users", func(rows []map[string]any) []map[string]any {
				rows[1]["role"] = "OWNER"
				return rows
			})
		}, failure.Invalid, "would refuse all"},
		"version 3": {func(b *bed) {
			b.export = []byte(`{"versions":{"zipline":"3.7.12","node":"v20","export":"3"},"request":{},"users":{}}`)
		}, failure.Invalid, "Zipline 3"},
		"a folder": {func(b *bed) { b.replay.Folder = "Photos" }, failure.Usage, "one folder"},
		"linkding": {func(b *bed) { b.replay.Kind = "linkding" }, failure.Invalid, "linkding"},
	} {
		t.Run(name, func(t *testing.T) {
			b := sampleBed(t, "admin")
			each.change(b)
			_, _, err := b.run(b.serve(nil))
			if each.says == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if failure.KindOf(err) != each.kind || !strings.Contains(err.Error(), each.says) || failure.HintOf(err) == "" && each.kind != failure.Invalid || b.writes() != 0 {
				t.Errorf("%v (hint: %s), %d writes", err, failure.HintOf(err), b.writes())
			}
		})
	}
}

// TestReplayOdd restores backups with rows that Zipline's import would stumble over.
func TestReplayOdd(t *testing.T) {
	b := sampleBed(t, "nora")
	b.edit("folders", func(rows []map[string]any) []map[string]any {
		rows[0]["parentId"] = rows[1]["id"] // Photos lies in 2026, and 2026 in Photos
		return rows
	})
	b.edit("files", func(rows []map[string]any) []map[string]any {
		rows[0]["views"] = 5e9
		rows[1]["deletesAt"] = "2020-01-01T00:00:00.000Z"
		rows[2]["maxViews"] = 0
		twin := map[string]any{}
		maps.Copy(twin, rows[3])
		twin["id"] = "another"
		return append(rows, twin)
	})
	b.edit("userTags", func(rows []map[string]any) []map[string]any {
		rows[1]["userId"] = "nobody"
		return rows
	})
	forecast, confirmation := b.must(nil)
	for _, word := range []string{
		"problem circle", "problem schema row", "note due s8Yk2L.webm", "note due handbook-2026.pdf", "problem duplicate-name ZkP0aa.jpg", "problem stranger",
	} {
		if !strings.Contains(strings.Join(lines(forecast.Findings, ""), "\n"), word) {
			t.Errorf("no line says %q:\n%s", word, strings.Join(lines(forecast.Findings, ""), "\n"))
		}
	}
	if got := lines(confirmation.Findings, app.Problem); len(got) != 3 { // the odd row, the twin, the tag
		t.Errorf("problems:\n%s", strings.Join(got, "\n"))
	}
	if got := b.stand(); !strings.Contains(got, "folders 8,") || !strings.Contains(got, "files 17,") || !strings.Contains(got, "userTags 1,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplayChosen leaves out what a filter leaves out.
func TestReplayChosen(t *testing.T) {
	b := sampleBed(t, "nora")
	items := b.replay.Items
	b.replay.Items = func(ctx context.Context) iter.Seq2[app.Item, error] {
		return func(yield func(app.Item, error) bool) {
			for item, err := range items(ctx) {
				item.Chosen = item.Document || strings.HasSuffix(item.Key, ".md")
				if !yield(item, err) {
					return
				}
			}
		}
	}
	forecast, confirmation := b.must(nil)
	if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
		t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
	}
	if got := lines(forecast.Findings, app.Note, "filtered"); len(got) != 1 || !strings.Contains(got[0], "15 files") {
		t.Errorf("the forecast says %q", got)
	}
	if got := b.stand(); !strings.Contains(got, "files 3,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplayDocuments brings in the rows without the files, and objects without the rows.
func TestReplayDocuments(t *testing.T) {
	b := sampleBed(t, "nora")
	b.replay.Wishes.Objects = false
	_, confirmation := b.must(nil)
	if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
		t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
	}
	b = sampleBed(t, "nora")
	b.replay.Wishes.Documents = false
	_, confirmation = b.must(nil)
	if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 || b.writes() != 0 {
		t.Errorf("%d writes, problems:\n%s", b.writes(), strings.Join(problems, "\n"))
	}
}

// TestConfirmDiffers changes the target after a restore: every difference is named.
func TestConfirmDiffers(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	if err := os.Remove(filepath.Join(b.into, "README.md")); err != nil {
		t.Fatal(err)
	}
	for _, row := range b.targetRows()["files"] {
		switch str(row, "name") {
		case "ZkP0ab.jpg":
			b.api("PATCH", "/api/user/files/"+str(row, "id"), map[string]any{"favorite": true})
		case "empty.log":
			b.api("DELETE", "/api/user/files/"+str(row, "id"), nil)
		}
	}
	confirmation, err := b.serve(nil).Confirm(t.Context(), b.replay)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"note changed ZkP0ab.jpg: one of the files was changed since it came in: favorite"}, lines(confirmation.Findings, "", "changed")); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	want := []string{
		"problem missing empty.log: one of the files is not on the target; the import is over, and no further run brings it in: take the file out of the backup with `lifeboat get`, and upload it",
		"problem no-bytes README.md: the file of 2048 bytes is not in the target's datasource, or has another size there; run the restore again",
		"problem no-bytes empty.log: the file of 0 bytes is not in the target's datasource, or has another size there; run the restore again",
	}
	if diff := cmp.Diff(want, lines(confirmation.Findings, app.Problem)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestReplayLimits restores with the real limits of requests.
func TestReplayLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the limits of requests")
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	b := sampleBed(t, "nora")
	b.limits = true
	b.options.Now = func() time.Time { return now }
	target := b.serve(nil)
	slept := time.Duration(0)
	target.client.sleep = func(_ context.Context, d time.Duration) error {
		now, slept = now.Add(d), slept+d
		return nil
	}
	if _, confirmation, err := b.run(target); err != nil || len(lines(confirmation.Findings, app.Problem)) > 0 {
		t.Errorf("%v, %v", err, lines(confirmation.Findings, app.Problem))
	}
	if slept < 5*time.Second || slept > time.Minute {
		t.Errorf("slept %s", slept)
	}
}

// TestReplayOverOwn restores over what is left of the backed-up instance itself: its administrator with some of its
// things. They stay, and what is missing joins them.
func TestReplayOverOwn(t *testing.T) {
	b := sampleBed(t, "nora")
	database, err := standin.LoadDatabase(b.export)
	if err != nil {
		t.Fatal(err)
	}
	b.database = database
	b.database.SetToken("nora", standin.SuperAdminToken)
	for _, row := range b.targetRows()["users"] {
		if str(row, "username") != "nora" {
			b.api("DELETE", "/api/users/"+str(row, "id"), map[string]any{"delete": true})
		}
	}
	gone := map[string]string{"ZkP0ab.jpg": "files", "notes from monday.txt": "files", "left-behind.bin": "files", "summer": "tags", "work": "tags"}
	for _, row := range append(b.targetRows()["files"], b.targetRows()["userTags"]...) {
		if kind := gone[str(row, "name")]; kind != "" {
			b.api("DELETE", "/api/user/"+kind+"/"+str(row, "id"), nil)
		}
	}
	for _, row := range b.targetRows()["folders"] { // Notes / 2026 goes, Notes stays
		if str(row, "name") == "2026" && row["parentId"] != nil && row["public"] == false {
			b.api("DELETE", "/api/user/folders/"+str(row, "id"), map[string]any{"delete": "folder", "childrenAction": "root"})
		}
	}
	before := b.targetRows()
	for attempt := range 2 {
		_, confirmation := b.must(nil)
		for _, line := range lines(confirmation.Findings, app.Problem) {
			t.Errorf("attempt %d: %s", attempt, line)
		}
	}
	now := b.targetRows()
	for _, array := range []string{"files", "folders", "urls", "invites"} {
		for _, row := range before[array] {
			if !slices.ContainsFunc(now[array], func(other map[string]any) bool { return other["id"] == row["id"] }) {
				t.Errorf("%s of the target is gone: %v", array, row["name"])
			}
		}
	}
	if got := b.stand(); !strings.Contains(got, "folders 8,") || !strings.Contains(got, "userTags 2,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplayVersions restores into every version whose rules the stand-in knows.
func TestReplayVersions(t *testing.T) {
	for _, version := range []standin.Version{standin.V442, standin.V463, standin.Newer} {
		t.Run(string(version), func(t *testing.T) {
			b := sampleBed(t, "nora")
			b.options.Version = version
			_, confirmation := b.must(nil)
			if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
				t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
			}
			if got := b.stand(); !strings.Contains(got, "files 18,") || !strings.Contains(got, "metrics 3") {
				t.Errorf("the target holds %s", got)
			}
			kept := slices.ContainsFunc(b.targetRows()["files"], func(f map[string]any) bool { return str(f, "name") == "100% done + [final] #2.csv" })
			if kept != (version == standin.Newer) {
				t.Errorf("the name with a percent sign was kept: %v", kept)
			}
		})
	}
}

// TestPreflightVersion refuses a target whose import loses folders.
func TestPreflightVersion(t *testing.T) {
	for version, want := range map[string]failure.Kind{"4.4.1": failure.Invalid, "4.0.0-dev": failure.Invalid, "": failure.Invalid} {
		b := sampleBed(t, "admin")
		mux := http.NewServeMux()
		mux.HandleFunc("GET /api/user", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"user":{"id":"u","username":"admin","role":"SUPERADMIN"}}`))
		})
		mux.HandleFunc("GET /api/server/export", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(exportOf(), "4.6.3", version, 1)))
		})
		target := b.serve(nil)
		target.client.base, _ = target.client.base.Parse(serve(t, mux))
		if _, err := target.Preflight(t.Context(), b.replay); failure.KindOf(err) != want || failure.HintOf(err) == "" {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// TestPreflightRole refuses a token that may not import.
func TestPreflightRole(t *testing.T) {
	b := sampleBed(t, "admin")
	b.database.AddUser("anna", "ADMIN", standin.AdminToken)
	for token, says := range map[string]string{standin.AdminToken: "role is ADMIN", "wrong": "Invalid token"} {
		target := b.serve(nil)
		target.client.token = secret.New(token)
		_, err := target.Preflight(t.Context(), b.replay)
		if failure.KindOf(err) != failure.Denied || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), token) {
			t.Errorf("%v", err)
		}
	}
}

// TestPreflightSpace refuses a backup that is larger than the target's disk.
func TestPreflightSpace(t *testing.T) {
	b := sampleBed(t, "admin")
	b.room = 1 << 20
	if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Exhausted || b.writes() != 0 {
		t.Errorf("%v, %d writes", err, b.writes())
	}
}

// TestReplaySettings sets what can be set, and names the rest.
func TestReplaySettings(t *testing.T) {
	b := sampleBed(t, "nora")
	var e map[string]map[string]any
	if err := json.Unmarshal(b.export, &e); err != nil {
		t.Fatal(err)
	}
	e["data"]["settings"] = map[string]any{
		"id": "x", "websiteTitle": "Harbour Files", "filesLength": 9, "websiteThemeDark": "custom:absent", "filesDefaultFormat": "random-words",
		"coreTempDirectory": "/nowhere", "oauthGithubClientId": "one", "oauthGithubClientSecret": nil, "fromTheFuture": true,
		"websiteTos": nil,
	}
	b.export, _ = json.Marshal(e)
	for range 2 {
		_, confirmation := b.must(nil)
		named := lines(confirmation.Findings, "", "setting")
		want := []string{"note setting coreTempDirectory", "note setting fromTheFuture", "problem setting filesDefaultFormat", "problem setting oauthGithubClientId", "problem setting websiteThemeDark"}
		got := []string{}
		for _, line := range named {
			line, _, _ = strings.Cut(line, ":")
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("settings (-want +got):\n%s", diff)
		}
		var has struct {
			Settings struct {
				Title  string `json:"websiteTitle"`
				Length int    `json:"filesLength"`
			} `json:"settings"`
		}
		if err := b.serve(nil).ask(t.Context(), "test", settingsPath, "", &has); err != nil || has.Settings.Title != "Harbour Files" || has.Settings.Length != 9 {
			t.Errorf("%v %+v", err, has)
		}
	}
}
