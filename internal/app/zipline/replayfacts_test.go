package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
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

// settings replaces those of the backup.
func (b *bed) settings(settings map[string]any) {
	b.t.Helper()
	var e map[string]map[string]any
	if err := json.Unmarshal(b.export, &e); err != nil {
		b.t.Fatal(err)
	}
	e["data"]["settings"] = settings
	b.export, _ = json.Marshal(e)
}

// TestReplaySettingsTogether sends settings that belong together in one request, also where the target has some of them
// already, and no others with them.
func TestReplaySettingsTogether(t *testing.T) {
	b := sampleBed(t, "nora")
	before := map[string]any{
		"oauthGithubClientId": "id", "oauthGithubClientSecret": "old",
		"oauthOidcClientId": "id", "oauthOidcClientSecret": "old", "oauthOidcAuthorizeUrl": "https://id.example.org/a",
		"oauthOidcTokenUrl": "https://id.example.org/t", "oauthOidcUserinfoUrl": "https://id.example.org/u",
		"mfaPasskeysRpID": "files.example.org", "mfaPasskeysOrigin": "https://files.example.org", "ratelimitMax": 7,
	}
	b.api("PATCH", settingsPath, before)
	wanted := map[string]any{"mfaPasskeysEnabled": true, "ratelimitWindow": 60.0, "oauthDiscordClientId": "id", "oauthDiscordClientSecret": "s"}
	maps.Copy(wanted, before)
	wanted["oauthGithubClientSecret"], wanted["oauthOidcClientSecret"] = "new", "new"
	sent := map[string]any{"oauthDiscordRedirectUri": "https://example.org/elsewhere", "ratelimitMax": 7.0}
	maps.Copy(sent, wanted)
	wanted["ratelimitMax"] = 7.0
	b.settings(sent)
	_, confirmation := b.must(nil)
	want := []string{"problem setting oauthDiscordRedirectUri"}
	var got []string
	for _, line := range lines(confirmation.Findings, app.Problem) {
		line, _, _ = strings.Cut(line, ":")
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	var has struct {
		Settings map[string]any `json:"settings"`
	}
	if err := b.serve(nil).ask(t.Context(), "test", settingsPath, "", &has); err != nil {
		t.Fatal(err)
	}
	for key, value := range wanted {
		if has.Settings[key] != value {
			t.Errorf("%s is %v", key, has.Settings[key])
		}
	}
}

// TestReplayTagStumbles ends when Zipline stumbles over every tag, not only over one that another has.
func TestReplayTagStumbles(t *testing.T) {
	b := sampleBed(t, "nora")
	asked := 0
	_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/api/user/tags":
			asked++
			return standin.Fault{Status: http.StatusInternalServerError}
		case r.URL.Path == importPath:
			return standin.Fault{Status: http.StatusInternalServerError}
		}
		return standin.Fault{}
	}))
	if failure.KindOf(err) != failure.Transient || asked != 2 {
		t.Errorf("%v after %d questions", err, asked)
	}
}

// TestReplayTaggedFiles restores tags that name files which don't come in, over which the import of 4.6.3 would stumble.
func TestReplayTaggedFiles(t *testing.T) {
	b := sampleBed(t, "nora")
	var ids []any
	b.edit("files", func(rows []map[string]any) []map[string]any {
		for _, row := range rows {
			ids = append(ids, row["id"])
		}
		rows[4]["userId"] = nil  // ownerless: it comes in
		rows[5]["views"] = 5e9   // left out
		rows[6]["userId"] = "no" // of a user that the backup doesn't have: it comes in
		return rows
	})
	b.edit("userTags", func(rows []map[string]any) []map[string]any {
		rows[0]["files"] = append(ids, "of no file")
		return rows
	})
	left := ""
	items := b.replay.Items
	b.replay.Items = func(ctx context.Context) iter.Seq2[app.Item, error] {
		return func(yield func(app.Item, error) bool) {
			for item, err := range items(ctx) {
				if item.Chosen = item.Key != "README.md"; !item.Chosen {
					left = item.Key
				}
				if !yield(item, err) {
					return
				}
			}
		}
	}
	imports := 0
	_, confirmation := b.must(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path == importPath {
			imports++
		}
		return standin.Fault{}
	})
	if imports != 2 || left == "" { // rows, metrics
		t.Errorf("%d imports", imports)
	}
	if got := lines(confirmation.Findings, app.Problem); len(got) != 1 || !strings.Contains(got[0], "left-out") {
		t.Errorf("problems: %q", got)
	}
	tagged := 0
	for _, row := range b.targetRows()["userTags"] {
		tagged = max(tagged, len(filesOf(row)))
	}
	if tagged != len(ids)-2 {
		t.Errorf("%d of %d files have the tag", tagged, len(ids))
	}
}

// TestReplayTwins restores short URLs of one code, and of one code and name, which an import stumbles over.
func TestReplayTwins(t *testing.T) {
	b := sampleBed(t, "nora")
	b.edit("urls", func(rows []map[string]any) []map[string]any {
		for n := range 2 {
			twin := map[string]any{}
			maps.Copy(twin, rows[0])
			twin["id"], twin["vanity"], twin["destination"] = fmt.Sprint("twin", n), "same", fmt.Sprintf("https://example.org/%d", n)
			rows = append(rows, twin)
		}
		return rows
	})
	for range 2 {
		_, confirmation := b.must(nil)
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
		if got := lines(confirmation.Findings, app.Note, "renamed"); len(got) != 3 {
			t.Errorf("renamed: %q", got)
		}
		if got := b.stand(); !strings.Contains(got, "urls 4,") {
			t.Errorf("the target holds %s", got)
		}
	}
}

// TestReplayHiddenURL restores into a target with a URL that no export shows, because its user was deleted, and which
// has the code and the name of one of the backup.
func TestReplayHiddenURL(t *testing.T) {
	b := sampleBed(t, "nora")
	b.database.AddUser("ghost", "USER", "ghost-token")
	b.as("ghost-token", "POST", "/api/user/urls", map[string]any{"destination": "https://example.org/old", "vanity": "hidden"})
	code := b.targetRows()["urls"][0]["code"]
	for _, u := range b.targetRows()["users"] {
		if str(u, "username") == "ghost" {
			b.api("DELETE", "/api/users/"+str(u, "id"), map[string]any{"delete": false})
		}
	}
	b.edit("urls", func(rows []map[string]any) []map[string]any {
		rows[1]["code"], rows[1]["vanity"] = code, "hidden"
		return rows
	})
	_, confirmation := b.must(nil)
	if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
		t.Errorf("problems: %q", got)
	}
	if got := strings.Join(lines(confirmation.Findings, app.Note, "renamed"), "\n"); !strings.Contains(got, `hidden: this name of a short URL is "hidden-2"`) {
		t.Errorf("renamed:\n%s", got)
	}
	if got := b.stand(); !strings.Contains(got, "urls 2,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplayBlankFolders names folders whose names Zipline does not set, because it trims names.
func TestReplayBlankFolders(t *testing.T) {
	b := sampleBed(t, "nora")
	b.edit("folders", func(rows []map[string]any) []map[string]any {
		for n, row := range rows {
			if row["userId"] == rows[0]["userId"] {
				row["name"] = []string{" ", "edge "}[n%2]
			}
		}
		return rows
	})
	forecast, confirmation := b.must(nil)
	foreseen, got := lines(forecast.Findings, app.Note, "name"), lines(confirmation.Findings, app.Problem)
	if len(foreseen) == 0 || len(foreseen) != len(got) {
		t.Errorf("foreseen: %q\nfound: %q", foreseen, got)
	}
	for _, line := range got {
		if !strings.HasPrefix(line, "problem name ") || !strings.Contains(line, "blank") {
			t.Error(line)
		}
	}
	if got := b.stand(); !strings.Contains(got, "folders 8,") {
		t.Errorf("the target holds %s", got)
	}
}

// TestReplaySecond runs a completed restore again: it waits for nothing. The first run waits for the limit of imports only.
func TestReplaySecond(t *testing.T) {
	b := sampleBed(t, "nora")
	for attempt, most := range []time.Duration{importPause, 0} {
		target, slept := b.serve(nil), time.Duration(0)
		target.client.sleep = func(_ context.Context, d time.Duration) error {
			slept += d
			return nil
		}
		if _, confirmation, err := b.run(target); err != nil || len(lines(confirmation.Findings, app.Problem)) > 0 {
			t.Fatalf("%v %q", err, lines(confirmation.Findings, app.Problem))
		}
		if slept > most {
			t.Errorf("attempt %d slept %s", attempt, slept)
		}
	}
}

// TestReportBounded keeps so many findings of a kind, and says how many more there were.
func TestReportBounded(t *testing.T) {
	var r report
	for n := range 5000 {
		r.add(problem("missing", fmt.Sprint(n), "is gone"))
		r.add(note("renamed", fmt.Sprint(n), "has another name"))
	}
	all := r.all()
	if len(all) != maxMissing+maxReport+2 {
		t.Errorf("%d findings", len(all))
	}
	want := []app.Finding{note("renamed", "", "4800 more of this kind"), problem("missing", "", "4000 more of this kind")}
	if diff := cmp.Diff(want, all[len(all)-2:]); diff != "" {
		t.Errorf("last findings (-want +got):\n%s", diff)
	}
}

// TestTargetErrors names the settings of the target, not those of a source.
func TestTargetErrors(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a page":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
		"no token": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"no route": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) },
		"elsewhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://example.org/")
			w.WriteHeader(302)
		},
		"nothing": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		target, err := NewTarget(TargetOptions{URL: serve(t, handler), Token: secret.New("token")})
		if err != nil {
			t.Fatal(err)
		}
		_, asked := target.whoami(t.Context())
		_, exported := target.exportOf(false).walk(t.Context(), nil, nil)
		for _, err := range []error{asked, exported} {
			if hint := failure.HintOf(err); err == nil || strings.Contains(err.Error()+hint, "source") || name != "no JSON" && !strings.Contains(err.Error()+hint, "target") {
				t.Errorf("%s: %v (hint: %s)", name, err, hint)
			}
		}
	}
}

// TestReplayAfterDryRun restores into a target that has changed since a dry run, and since an attempt that brought
// nothing in: the names are settled anew, and what somebody else has made in between stays.
func TestReplayAfterDryRun(t *testing.T) {
	for _, begun := range []bool{false, true} {
		b := sampleBed(t, "nora")
		if begun { // an import is sent, and nothing comes in
			_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
				if r.URL.Path == importPath {
					return standin.Fault{Cut: standin.CutBefore}
				}
				return standin.Fault{}
			}))
			if err == nil {
				t.Fatal("the fault had no effect")
			}
		} else if _, err := b.serve(nil).Preflight(t.Context(), b.replay); err != nil {
			t.Fatal(err)
		}
		b.api("POST", "/api/user/tags", map[string]any{"name": "work", "color": "#123456"})
		b.upload("ZkP0aa.jpg", "other bytes")
		b.database.AddUser("kim", "USER", "other-token")
		if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Conflict || b.writes() != 0 {
			t.Errorf("begun %v: %v, %d writes", begun, err, b.writes())
		}
		b.replay.Wishes.Rename = true
		_, confirmation := b.must(nil)
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Errorf("begun %v: problems: %q", begun, got)
		}
		rows := b.targetRows()
		for _, want := range [][3]string{
			{"userTags", "name", "work"},
			{"userTags", "name", "work (2)"},
			{"files", "name", "ZkP0aa.jpg"},
			{"files", "name", "ZkP0aa-2.jpg"},
			{"users", "username", "kim"},
			{"users", "username", "kim-2"},
		} {
			if !slices.ContainsFunc(rows[want[0]], func(row map[string]any) bool { return str(row, want[1]) == want[2] }) {
				t.Errorf("begun %v: the target has none of %q", begun, want)
			}
		}
	}
}

// TestPreflightReads reads the backup's export four times at most: for itself, for owners, for names, and to compare.
func TestPreflightReads(t *testing.T) {
	b, reads := sampleBed(t, "nora"), 0
	b.replay.Facts.Versions = map[string]string{"export": "4"}
	open := b.replay.Open
	b.replay.Open = func(ctx context.Context, path string) (io.ReadCloser, error) {
		reads++
		return open(ctx, path)
	}
	if _, err := b.serve(nil).Preflight(t.Context(), b.replay); err != nil || reads > 4 {
		t.Errorf("%v, %d reads", err, reads)
	}
}

// TestReplayStranger interrupts a restore half-way, and somebody makes a user of a name of the backup meanwhile: nothing is
// written until that user is out of the way, and the user is not taken back with the rest.
func TestReplayStranger(t *testing.T) {
	b := sampleBed(t, "nora")
	want := b.again()
	want.must(nil)
	_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path == importPath {
			return standin.Fault{Cut: standin.CutInside, Rows: 2}
		}
		return standin.Fault{}
	}))
	if err == nil {
		t.Fatal("the fault had no effect")
	}
	has := map[string]bool{}
	for _, row := range b.targetRows()["users"] {
		has[str(row, "username")] = true
	}
	stranger := ""
	for _, row := range want.targetRows()["users"] {
		if name := str(row, "username"); !has[name] {
			stranger = b.database.AddUser(name, "USER", "other-token")
		}
	}
	if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Conflict || b.writes() != 0 || len(has) != 2 || stranger == "" {
		t.Errorf("%v, %d writes, %v", err, b.writes(), has)
	}
	b.api("DELETE", "/api/users/"+stranger, map[string]any{"delete": true})
	b.complete(t, "without the stranger", want.stand())
}
