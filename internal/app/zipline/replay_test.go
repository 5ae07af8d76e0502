package zipline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
)

// stand is what a target holds after a restore, as numbers: users, files, …
func (b *bed) stand() string {
	rows := b.targetRows()
	var text strings.Builder
	for _, array := range arrays {
		text.WriteString(fmt.Sprintf("%s %d, ", array, len(rows[array])))
	}
	return strings.TrimSuffix(text.String(), ", ")
}

// TestReplayFixture replays the recorded instance into an empty one, with another administrator and with one of the
// same name, and then again.
func TestReplayFixture(t *testing.T) {
	for _, each := range []struct {
		admin    string
		problems []string
		stand    string
	}{
		{"admin", []string{`problem name Work / 2024: the folder is still called "2024 (2)", because the token may not rename folders of another super administrator; rename it in Zipline as its owner`}, "users 5"},
		{"mara", []string{}, "users 4"},
	} {
		t.Run(each.admin, func(t *testing.T) {
			b := fixtureBed(t, each.admin)
			want := each.stand + ", userPasskeys 1, userQuotas 2, userOauthProviders 2, userTags 5, invites 3, folders 15, urls 8, files 62, thumbnails 0, metrics 7"
			for range 2 {
				_, confirmation := b.must(nil)
				if diff := cmp.Diff(each.problems, lines(confirmation.Findings, app.Problem)); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				if got := b.stand(); got != want {
					t.Errorf("the target holds %s", got)
				}
			}
			if b.writes() != 0 {
				t.Errorf("the second run wrote %d times", b.writes())
			}
		})
	}
}

// writes is how many requests of the last server changed something, as far as the target counts them.
func (b *bed) writes() int { return int(b.changed.Load()) }

// TestReplayLosses shows for each loss of Zipline's own import that it does not happen, or that a line names it.
func TestReplayLosses(t *testing.T) {
	b := fixtureBed(t, "mara")
	forecast, confirmation := b.must(nil)
	rows := b.targetRows()
	users := map[any]string{}
	for _, u := range rows["users"] {
		users[u["id"]] = str(u, "username")
	}
	paths := map[string]bool{}
	byID := map[any]map[string]any{}
	for _, f := range rows["folders"] {
		byID[f["id"]] = f
	}
	for _, f := range rows["folders"] {
		path := str(f, "name")
		for up := byID[f["parentId"]]; up != nil; up = byID[up["parentId"]] {
			path = str(up, "name") + " / " + path
		}
		paths[users[f["userId"]]+": "+path] = true
	}
	for _, path := range []string{"mara: Photos / 2024", "mara: Work / 2024", "mara: Work / 2024 / Invoices", "lin: 2024", "mara: Photos / 2024 / Summer / Lisbon", "mara: Q1/Q2 reports"} {
		if !paths[path] {
			t.Errorf("there is no folder %s", path)
		}
	}
	owned := map[string]string{}
	for _, f := range rows["files"] {
		owned[str(f, "name")] = users[f["userId"]]
	}
	if len(owned) != 62 || owned["HKjKCU.png"] != "mara" || owned["UAIhwA.txt"] != "mara" {
		t.Errorf("%d files; ownerless ones belong to %q and %q", len(owned), owned["HKjKCU.png"], owned["UAIhwA.txt"])
	}
	said := strings.Join(append(lines(forecast.Findings, ""), lines(confirmation.Findings, "")...), "\n")
	for _, word := range []string{"ownerless HKjKCU.png", "ownerless UAIhwA.txt", "3 thumbnails", "anonymous", "dates of tags", "API tokens", "setting coreTempDirectory", "merge mara"} {
		if !strings.Contains(said, word) {
			t.Errorf("no line names %q", word)
		}
	}
	for _, count := range confirmation.Counts {
		if count.What == "objects" && (count.Backup != 62 || count.Create != 62) {
			t.Errorf("objects: %+v", count)
		}
	}
}

// killed are notes whose n-th write fails, before or after it takes effect: the process is killed there.
type killed struct {
	notes
	at, n int
	after bool
}

var errKilled = errors.New("killed")

func (f *killed) Put(ctx context.Context, name string, value any) error {
	f.n++
	if f.n < f.at {
		return f.notes.Put(ctx, name, value)
	}
	if f.n == f.at && f.after {
		_ = f.notes.Put(ctx, name, value)
	}
	return errKilled
}

// complete runs the restore undisturbed, and reports what is not as after an undisturbed one.
func (b *bed) complete(t *testing.T, what, want string) {
	t.Helper()
	_, confirmation, err := b.run(b.serve(nil))
	if err != nil {
		t.Errorf("%s: the next run ends with: %v", what, err)
		return
	}
	if problems := lines(confirmation.Findings, app.Problem); len(problems) > 0 {
		t.Errorf("%s: the next run ends with problems:\n%s", what, strings.Join(problems, "\n"))
	}
	if got := b.stand(); got != want {
		t.Errorf("%s: the target holds\n%s, want\n%s", what, got, want)
	}
}

// again returns a bed with the same backup and an empty target.
func (b *bed) again() *bed {
	n := *b
	n.into, n.database = b.t.TempDir(), standin.NewDatabase("nora", standin.SuperAdminToken)
	replay := *b.replay
	replay.Notes, replay.Items = notes{}, n.items
	n.replay = &replay
	return &n
}

// TestReplayInterrupted breaks the connection of every request of a restore, in every way, and kills the process at
// every note: the next run completes it.
func TestReplayInterrupted(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	requests, want := b.server.Requests(), b.stand()
	cuts := []standin.Fault{{Cut: standin.CutBefore}, {Cut: standin.CutTorn}, {Cut: standin.CutAfter}, {Status: http.StatusBadGateway}, {Status: http.StatusServiceUnavailable}}
	for way, fault := range cuts {
		for n := range upTo(requests, way) {
			each := b.again()
			_, _, err := each.run(each.serve(standin.FailAt(n, fault)))
			each.complete(t, fmt.Sprintf("request %d of %d, %+v (%v)", n, requests, fault, err), want)
		}
	}
	for rows := range upTo(50, 0) {
		each := b.again()
		_, _, err := each.run(each.serve(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutInside, Rows: rows - 1}
			}
			return standin.Fault{}
		}))
		each.complete(t, fmt.Sprintf("an import cut after %d rows (%v)", rows-1, err), want)
	}
	for way, after := range []bool{false, true} {
		for n := range upTo(12, way) {
			each := b.again()
			kept := notes{}
			each.replay.Notes = &killed{notes: kept, at: n, after: after}
			_, _, err := each.run(each.serve(nil))
			each.replay.Notes = kept
			each.complete(t, fmt.Sprintf("killed at note %d, after it: %v (%v)", n, after, err), want)
		}
	}
}

// TestReplayInterruptedTwice breaks the run that mends an import which was cut in the middle, at every request of it.
func TestReplayInterruptedTwice(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	want := b.stand()
	cut := func() *bed {
		each := b.again()
		_, _, err := each.run(each.serve(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutInside, Rows: 37}
			}
			return standin.Fault{}
		}))
		if err == nil {
			t.Fatal("the first fault had no effect")
		}
		return each
	}
	undisturbed := cut()
	undisturbed.complete(t, "undisturbed", want)
	requests := undisturbed.server.Requests()
	for way, fault := range []standin.Fault{{Cut: standin.CutBefore}, {Cut: standin.CutAfter}, {Cut: standin.CutInside, Rows: 12}} {
		for n := range upTo(requests, way) {
			each := cut()
			_, _, err := each.run(each.serve(standin.FailAt(n, fault)))
			each.complete(t, fmt.Sprintf("request %d of %d, %+v (%v)", n, requests, fault, err), want)
		}
	}
	if requests < 20 {
		t.Errorf("the mending took %d requests", requests)
	}
}

// TestReplayMetrics sends metrics into a target that has none, and only once.
func TestReplayMetrics(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	other := sampleBed(t, "nora")
	database, err := standin.LoadDatabase(b.database.Export())
	if err != nil {
		t.Fatal(err)
	}
	other.database = database // has three metrics, and everything else
	other.database.SetToken("nora", standin.SuperAdminToken)
	for _, row := range other.targetRows()["users"] {
		if str(row, "username") != "nora" {
			other.api("DELETE", "/api/users/"+str(row, "id"), map[string]any{"delete": true})
		}
	}
	_, confirmation := other.must(nil)
	if got := other.stand(); !strings.HasSuffix(got, "metrics 3") {
		t.Errorf("the target holds %s", got)
	}
	if got := lines(confirmation.Findings, app.Note, "metrics"); len(got) != 1 {
		t.Errorf("notes: %q", got)
	}
}

// TestReplayDeadline stops before the deadline of the call, and goes on in the next.
func TestReplayDeadline(t *testing.T) {
	b := sampleBed(t, "nora")
	target := b.serve(nil)
	forecast, err := target.Preflight(t.Context(), b.replay)
	if err != nil {
		t.Fatal(err)
	}
	b.put(forecast)
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if progress, err := target.Replay(short, b.replay); err != nil || progress.Done || b.writes() != 0 {
		t.Errorf("%+v, %v, %d writes", progress, err, b.writes())
	}
	if progress, err := target.Replay(t.Context(), b.replay); err != nil || !progress.Done {
		t.Errorf("%+v, %v", progress, err)
	}
}

// TestReplayFields compares the rows of the recorded instance with those of the target, field by field, without the
// comparison that Confirm makes.
func TestReplayFields(t *testing.T) {
	b := fixtureBed(t, "mara")
	b.must(nil)
	has := b.targetRows()
	source := newBed(t, b.export, "", "x")
	database, err := standin.LoadDatabase(b.export)
	if err != nil {
		t.Fatal(err)
	}
	source.database = database
	want := source.targetRows()
	byID := func(rows map[string][]map[string]any, array, name string) map[any]any {
		names := map[any]any{}
		for _, row := range rows[array] {
			names[row["id"]] = row[name]
		}
		return names
	}
	for array, each := range map[string]struct {
		key    string
		fields []string
	}{
		"users":              {"username", []string{"avatar", "view", "totpSecret"}},
		"userOauthProviders": {"oauthId", []string{"provider", "username", "accessToken", "refreshToken", "owner"}},
		"userQuotas":         {"createdAt", []string{"filesQuota", "maxBytes", "maxFiles", "maxUrls", "owner"}},
		"userPasskeys":       {"name", []string{"reg", "owner"}},
		"userTags":           {"name", []string{"color", "owner", "names"}},
		"invites":            {"code", []string{"createdAt", "expiresAt", "uses", "maxUses", "inviter"}},
		"folders":            {"createdAt", []string{"name", "public", "allowUploads", "owner", "parent"}},
		"urls":               {"code", []string{"createdAt", "vanity", "destination", "views", "maxViews", "enabled", "password", "owner"}},
		"files":              {"name", []string{"createdAt", "deletesAt", "originalName", "size", "type", "views", "maxViews", "favorite", "password", "owner", "folder"}},
		"metrics":            {"createdAt", []string{"data"}},
	} {
		tell := func(rows map[string][]map[string]any) map[any]map[string]any {
			users, folders, files := byID(rows, "users", "username"), byID(rows, "folders", "createdAt"), byID(rows, "files", "name")
			all := map[any]map[string]any{}
			for _, row := range rows[array] {
				row["owner"], row["inviter"], row["parent"], row["folder"] = users[row["userId"]], users[row["inviterId"]], folders[row["parentId"]], folders[row["folderId"]]
				if array == "files" && row["owner"] == nil {
					row["owner"] = "mara" // what is nobody's
				}
				names := map[any]bool{}
				for _, id := range filesOf(row) {
					names[files[id]] = true
				}
				row["names"] = fmt.Sprint(names)
				told := map[string]any{}
				for _, name := range each.fields {
					told[name] = row[name]
				}
				all[row[each.key]] = told
			}
			return all
		}
		wanted := tell(want)
		if diff := cmp.Diff(wanted, tell(has)); diff != "" || len(wanted) == 0 {
			t.Errorf("%s (-want +got):\n%s", array, diff)
		}
	}
}

// TestReplayEmptied restores again, with the notes of before, into a target that was set up anew: notes are not trusted.
func TestReplayEmptied(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	want := b.stand()
	b.into, b.database = t.TempDir(), standin.NewDatabase("nora", standin.SuperAdminToken)
	b.complete(t, "emptied", want)
}

// TestReplayOther refuses another restore of the same backup into the same target.
func TestReplayOther(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	b.replay.Notes = notes{}
	if _, _, err := b.run(b.serve(nil)); failure.KindOf(err) != failure.Conflict || b.writes() != 0 {
		t.Errorf("%v, %d writes", err, b.writes())
	}
}

// TestReplayStumbles leaves what came in, and names the rest, when Zipline stumbles each time.
func TestReplayStumbles(t *testing.T) {
	b := sampleBed(t, "nora")
	imports := 0
	_, confirmation, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path != importPath {
			return standin.Fault{}
		}
		imports++
		return standin.Fault{Status: http.StatusInternalServerError}
	}))
	if err != nil || imports != maxTries+1 { // the metrics stumble as well
		t.Errorf("%d imports, %v", imports, err)
	}
	if got := lines(confirmation.Findings, app.Problem, "missing"); len(got) != 38 { // all rows but the administrator's
		t.Errorf("%d problems:\n%s", len(got), strings.Join(got, "\n"))
	}
	b.complete(t, "without the fault", "users 3, userPasskeys 0, userQuotas 1, userOauthProviders 0, userTags 2, invites 2, folders 8, urls 2, files 18, thumbnails 0, metrics 3")
}
