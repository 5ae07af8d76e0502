package cli

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// realRows are the rows of the recorded instance, as a Zipline should have them whose owner of the ownerless is named.
func realRows(t *testing.T, folder, nobody string) map[string][]string {
	t.Helper()
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	return exportRows(t, export).tables(nobody)
}

// without returns the lines of a table that don't begin with any of the words.
func without(lines []string, words ...string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(line, word+" ") })
	})
}

// TestReplayReal takes the recorded instance into an empty Zipline whose administrator has the name of the one who made
// the export: every file with its bytes, every folder in its place, and a second run changes nothing. The rows are
// compared without lifeboat's own reader of exports.
func TestReplayReal(t *testing.T) {
	t.Parallel()
	folder, p := recorded(t)
	g := p.goal("fresh", empty("mara"))
	before := g.raw(t)
	dry := p.restoreOf(0, "latest", "--to", "fresh", "--dry-run")
	if dry.Forecast == nil || !dry.DryRun || dry.Written != 0 || len(dry.Problems) > 0 {
		t.Errorf("dry run: %+v", dry)
	}
	g.untouched(t)
	if g.raw(t) != before {
		t.Error("a dry run changed the target")
	}

	r := p.inside("restore", "latest", "--to", "fresh", "--json", "-q").exits(0)
	m := r.restored()
	if m.Status != "completed" || m.Written != 62 || m.Existing != 0 || m.Kind != "zipline" || m.Check != "full" || m.Signature != "authenticated" || len(m.Problems) > 0 {
		t.Errorf("restore: %+v", m)
	}
	want := "message_type id status backup source target kind attempt started finished check signature written existing left_out bytes spliced spliced_bytes forecast confirmation steps notes problems"
	if got := strings.Join(keysOf(t, []byte(strings.TrimSpace(r.out))), " "); got != want {
		t.Errorf("fields of --json:\n%s, want\n%s", got, want)
	}
	var steps []string
	for _, s := range m.Steps {
		steps = append(steps, s.Step)
	}
	if got := strings.Join(steps, " "); got != "check reserve put replay confirm" && got != "check reserve put replay" { // the message is of the record that confirm closed
		t.Errorf("steps: %s", got)
	}
	notes := []string{
		"lost", "merge mara", "ownerless HKjKCU.png", "ownerless UAIhwA.txt", "setting coreTempDirectory", "setting featuresThumbnailsNumberThreads", "thumbnails",
	}
	if diff := cmp.Diff(notes, named(m.Notes)); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	p.isReal(g, folder)

	first, bytes := g.raw(t), around(t, g.folder)
	g.faulty(nil)
	if m := p.restoreOf(0, "latest", "--to", "fresh"); m.Written != 0 || m.Existing != 62 || m.Attempt != 2 || len(m.Problems) > 0 {
		t.Errorf("second run: %+v", m)
	}
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("the second run asked for %v", changes)
	}
	if diff := cmp.Diff(first, g.raw(t)); diff != "" {
		t.Errorf("the second run changed the target:\n%s", diff)
	}
	if diff := cmp.Diff(bytes, around(t, g.folder)); diff != "" {
		t.Error(diff)
	}

	if err := g.Restart(); err != nil { // thumbnails are left out: nothing that was put may vanish
		t.Fatal(err)
	}
	p.holdsFiles(filepath.Join(folder, "uploads.sha256"), g.folder)
}

// isReal fails unless a Zipline whose administrator is mara holds the whole recorded instance.
func (p *place) isReal(g *goal, folder string) {
	p.Helper()
	p.holdsFiles(filepath.Join(folder, "uploads.sha256"), g.folder)
	want, got := realRows(p.T, folder, "mara"), g.rows(p.T).tables("nobody")
	if len(got["files"]) != 62 || len(got["folders"]) != 15 || len(got["metrics"]) != 7 {
		p.Errorf("%d files, %d folders, %d metrics", len(got["files"]), len(got["folders"]), len(got["metrics"]))
	}
	sameTables(p.T, want, got, "users")
	if diff := cmp.Diff(without(want["users"], "mara"), without(got["users"], "mara")); diff != "" {
		p.Errorf("users:\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		p.Fatal(err)
	}
	for _, key := range []string{"websiteTitle", "filesRoute", "chunksMax"} {
		if title, got := exportRows(p.T, data).Settings[key], g.rows(p.T).Settings[key]; title == nil || title != got {
			p.Errorf("the setting %s is %v, want %v", key, got, title)
		}
	}
}

// TestReplayRealOther: the administrator of the target has another name than that of the backup. The token may not give
// a folder of another super administrator its name back, and that is said; with --as nothing is in the way.
func TestReplayRealOther(t *testing.T) {
	t.Parallel()
	folder, p := recorded(t)
	g := p.goal("fresh", empty("admin"))
	m := p.restoreOf(3, "latest", "--to", "fresh")
	if diff := cmp.Diff([]string{"name Work / 2024"}, named(m.Problems)); diff != "" || m.Status != "partial" {
		t.Errorf("%s, problems:\n%s", m.Status, diff)
	}
	p.holdsFiles(filepath.Join(folder, "uploads.sha256"), g.folder)
	got := g.rows(t).tables("nobody")
	for _, table := range got {
		for i := range table {
			table[i] = strings.ReplaceAll(table[i], "Work > 2024 (2)", "Work > 2024")
		}
		slices.Sort(table)
	}
	got["users"] = without(got["users"], "admin")
	sameTables(t, realRows(t, folder, "admin"), got)

	merged := p.goal("merged", empty("admin"))
	if m := p.restoreOf(0, "latest", "--to", "merged", "--as", "mara"); m.Status != "completed" || len(m.Problems) > 0 {
		t.Errorf("--as: %s %v", m.Status, m.Problems)
	}
	want := realRows(t, folder, "mara")
	for _, table := range want {
		for i := range table {
			table[i] = strings.NewReplacer(" of mara", " of admin", "in mara: ", "in admin: ").Replace(table[i])
			if after, ok := strings.CutPrefix(table[i], "mara: "); ok {
				table[i] = "admin: " + after
			}
		}
		slices.Sort(table)
	}
	sameTables(t, want, merged.rows(t).tables("nobody"), "users", "quotas")
	p.holdsFiles(filepath.Join(folder, "uploads.sha256"), merged.folder)
	p.inside("restore", "latest", "--to", "merged", "--as", "nobody", "-q").complains(2, `no user "nobody"`)
}

// taken is a Zipline that has the administrator mara, and of others' things a tag, the codes of a URL and an invite, and
// the name of a file that are also in the recorded instance.
func taken(t *testing.T, p *place, folder string) *goal {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	for table, field := range map[string][2]string{
		"userTags": {"name", "work"}, "urls": {"code", "odOGIX"}, "invites": {"code", "gnGjUA"}, "files": {"name", "readme.md"}, "users": {"username", "mara"},
		"folders": {}, "metrics": {}, "thumbnails": {}, "userQuotas": {}, "userPasskeys": {}, "userOauthProviders": {},
	} {
		var all, kept []map[string]any
		if err := json.Unmarshal(e.Data[table], &all); err != nil {
			t.Fatal(err)
		}
		kept = []map[string]any{}
		for _, row := range all {
			if row[field[0]] == field[1] {
				for key, value := range map[string]any{"files": []string{}, "folderId": nil, "createdAt": "2026-01-01T00:00:00.000Z", "id": "cmtaken00000000000000" + table[:4]} {
					if _, has := row[key]; has && !(key == "id" && table == "users") {
						row[key] = value
					}
				}
				kept = append(kept, row)
			}
		}
		if e.Data[table], err = json.Marshal(kept); err != nil || field[0] != "" && len(kept) != 1 {
			t.Fatal(table, len(kept), err)
		}
	}
	if data, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	database, err := standin.LoadDatabase(data)
	if err != nil || !database.SetToken("mara", standin.SuperAdminToken) {
		t.Fatal(err)
	}
	g := p.goal("taken", standin.Options{Database: database, NoRateLimits: true})
	p.write("taken/readme.md", "of the target")
	return g
}

// TestReplayTaken: what the target has is never touched; what has its name comes in under another one, and is named.
func TestReplayTaken(t *testing.T) {
	t.Parallel()
	folder, p := recorded(t)
	g := taken(t, p, folder)
	before := g.rows(t)
	m := p.restoreOf(0, "latest", "--to", "taken")
	notes := named(m.Notes)
	for _, want := range []string{"renamed work", "renamed odOGIX", "renamed gnGjUA", "renamed readme.md"} {
		if !slices.Contains(notes, want) {
			t.Errorf("no note %q among %q", want, notes)
		}
	}
	if data := string(p.read("taken/readme.md")); data != "of the target" {
		t.Errorf("readme.md is %q", data)
	}
	after := g.rows(t)
	if len(after.Files) != 63 || len(after.Folders) != 15 || len(after.URLs) != 9 || len(after.Invites) != 4 || len(after.UserTags) != 6 {
		t.Errorf("%d files, %d folders, %d urls, %d invites, %d tags", len(after.Files), len(after.Folders), len(after.URLs), len(after.Invites), len(after.UserTags))
	}
	had, has := before.tables(""), after.tables("")
	for _, table := range slices.Sorted(maps.Keys(had)) {
		for _, line := range had[table] {
			if table != "users" && !slices.Contains(has[table], line) {
				t.Errorf("%s of the target is gone: %s", table, line)
			}
		}
	}
	sum := map[string]int{}
	for _, digest := range sums(t, g.folder) {
		sum[digest]++
	}
	for name, digest := range sums(t, filepath.Join(folder, "uploads")) {
		if !strings.HasPrefix(name, ".thumbnail.") && sum[digest] == 0 {
			t.Errorf("the bytes of %s are nowhere on the target", name)
		}
	}
	raw := g.raw(t)
	g.faulty(nil)
	if m := p.restoreOf(0, "latest", "--to", "taken"); m.Written != 0 || len(m.Problems) > 0 {
		t.Errorf("second run: %+v", m)
	}
	if changes := g.changes(); len(changes) > 0 || g.raw(t) != raw {
		t.Errorf("the second run asked for %v", changes)
	}
}

// TestReplayTakenUser: a user that the target has is refused, before anything is written, or comes in under another name.
func TestReplayTakenUser(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	database := standin.NewDatabase("nora", standin.SuperAdminToken)
	database.AddUser("pavel", "USER", "another-token")
	g := p.goal("fresh", standin.Options{Database: database, NoRateLimits: true})
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(11, "pavel", "--rename")
	p.inside("restore", "latest", "--to", "fresh", "-q", "--dry-run").complains(11, "pavel")
	g.untouched(t)
	m := p.restoreOf(0, "latest", "--to", "fresh", "--rename")
	if !slices.Contains(named(m.Notes), "renamed pavel") {
		t.Errorf("notes: %q", named(m.Notes))
	}
	if users := g.rows(t).users(); len(users) != 4 {
		t.Errorf("users: %v", users)
	}
}

// TestReplayLimits restores in a process of its own, against the rate limits of a real Zipline, in real time.
func TestReplayLimits(t *testing.T) {
	t.Parallel()
	heavy(t)
	p := newPlace(t)
	p.backed()
	p.env = append(p.env, waitVariable+"=1")
	g := p.goal("fresh", standin.Options{Admin: "nora"})
	p.run("restore", "latest", "--to", "fresh", "-q").exits(0)
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), renamedSample(g.rows(t).tables("nobody")), "users")
}

// renamedSample gives the one file of the sample, whose name Zipline 4.6.3 would decode, its name back.
func renamedSample(tables map[string][]string) map[string][]string {
	for i, line := range tables["files"] {
		tables["files"][i] = strings.Replace(line, `"100_ done + [final] #2.csv" text`, `"100% done + [final] #2.csv" text`, 1)
	}
	slices.Sort(tables["files"])
	return tables
}

// TestReplayRefused: what a target refuses at once is said in a sentence, and nothing is written.
func TestReplayRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	p.write("token2", "a-token-of-nobody\n")
	p.addTarget("stranger: {kind: zipline, url: \"" + g.url + "\", token: file:./token2, datasource: ./fresh}")
	p.inside("restore", "latest", "--to", "stranger", "-q").complains(12, "SUPERADMIN")
	g.faulty(func(int, *http.Request) standin.Fault { return standin.Fault{Status: 502} })
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(15)
	g.untouched(t)
	p.inside("restore", "latest", "--to", "fesh", "-q").complains(10, `no target "fesh"`, `did you mean "fresh"`)
}
