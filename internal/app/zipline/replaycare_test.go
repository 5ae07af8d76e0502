package zipline

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/failure"
)

// write writes a file, and fails the test where it can't.
func (b *bed) write(folder, name, content string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// holds checks what objects of the target have in them.
func (b *bed) holds(want map[string]string) {
	b.t.Helper()
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(b.into, name)); err != nil || string(got) != content {
			b.t.Errorf("%s holds %d bytes, %v", name, len(got), err)
		}
	}
}

// TestReplayNewNames renames files to names that no object has: neither one of the backup without a row, nor one of the
// target without a row. An attempt that was cut before the import uses its names again.
func TestReplayNewNames(t *testing.T) {
	for _, cuts := range []int{0, 2} {
		b := sampleBed(t, "nora")
		b.write(b.uploads, "100_ done + [final] #2.csv", "an orphan")
		b.write(b.uploads, "ZkP0aa-2.jpg", "another orphan")
		b.write(b.into, "ZkP0aa-3.jpg", "of the target")
		b.upload("ZkP0aa.jpg", "other bytes")
		picture, _ := os.ReadFile(filepath.Join(b.uploads, "ZkP0aa.jpg"))
		table, _ := os.ReadFile(filepath.Join(b.uploads, "100% done + [final] #2.csv"))
		for range cuts {
			_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
				if r.URL.Path == importPath {
					return standin.Fault{Cut: standin.CutBefore}
				}
				return standin.Fault{}
			}))
			if err == nil {
				t.Fatal("the fault had no effect")
			}
		}
		_, confirmation := b.must(nil)
		if got := lines(confirmation.Findings, app.Problem); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
		b.holds(map[string]string{
			"ZkP0aa.jpg": "other bytes", "ZkP0aa-2.jpg": "another orphan", "ZkP0aa-3.jpg": "of the target", "ZkP0aa-4.jpg": string(picture),
			"100_ done + [final] #2.csv": "an orphan", "100_ done + [final] #2-2.csv": string(table),
		})
		if there, _ := filepath.Glob(filepath.Join(b.into, "ZkP0aa*")); len(there) != 4 {
			t.Errorf("the target has %q", there)
		}
		for _, name := range []string{"ZkP0aa-4.jpg", "100_ done + [final] #2-2.csv"} {
			if !slices.ContainsFunc(b.targetRows()["files"], func(row map[string]any) bool { return str(row, "name") == name }) {
				t.Errorf("no row has the name %s", name)
			}
		}
	}
}

// TestPutNewNames puts objects without rows under names that no other object of the backup has.
func TestPutNewNames(t *testing.T) {
	b := sampleBed(t, "nora")
	b.replay.Wishes.Documents = false
	b.write(b.uploads, "a%20b.txt", "decoded")
	b.write(b.uploads, "a_20b.txt", "as it is")
	b.must(nil)
	b.holds(map[string]string{"a_20b.txt": "as it is", "a_20b-2.txt": "decoded"})
}

// TestReplayForeignBytes restores rows whose files the backup doesn't have: none gets another file that the target has
// under its name; one of its size may be its own.
func TestReplayForeignBytes(t *testing.T) {
	b := sampleBed(t, "nora")
	for _, name := range []string{"README.md", "CHANGES.md"} {
		if err := os.Remove(filepath.Join(b.uploads, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.write(b.into, "README.md", "of somebody else")
	b.write(b.into, "CHANGES.md", strings.Repeat("x", 1024))
	forecast, _ := b.must(nil)
	if got := strings.Join(lines(forecast.Findings, app.Note, "renamed"), "\n"); !strings.Contains(got, `README.md: the name of one of the files is taken on the target: it comes in as "README-2.md"`) || strings.Contains(got, "CHANGES") {
		t.Errorf("renamed:\n%s", got)
	}
	names := map[string]bool{}
	for _, row := range b.targetRows()["files"] {
		names[str(row, "name")] = true
	}
	if names["README.md"] || !names["README-2.md"] || !names["CHANGES.md"] {
		t.Errorf("rows: %v", names)
	}
	b.holds(map[string]string{"README.md": "of somebody else"})
}

// TestReplayLate lets an import whose answer was lost come in half a minute later, as a proxy may bring it: it is waited
// for, and no second one is sent.
func TestReplayLate(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	want := b.stand()
	for _, limit := range []time.Duration{0, 3 * time.Second} { // 0: as it is; 3 s: nothing comes in, and it waits less
		b := b.again()
		fault := func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				return standin.Fault{Cut: standin.CutBefore}
			}
			return standin.Fault{}
		}
		if _, _, err := b.run(b.serve(fault)); err == nil {
			t.Fatal("the fault had no effect")
		}
		var imports atomic.Int64
		target := b.serve(func(_ int, r *http.Request) standin.Fault {
			if r.URL.Path == importPath {
				imports.Add(1)
			}
			return standin.Fault{}
		})
		if limit > 0 {
			target.options.LostTimeout = limit
		}
		p, err := loadPlan(t.Context(), b.replay)
		if err != nil {
			t.Fatal(err)
		}
		slept, arrived := time.Duration(0), false
		target.client.sleep = func(ctx context.Context, d time.Duration) error {
			if slept += d; slept > 30*time.Second && !arrived && limit == 0 {
				arrived = true
				return target.sendImport(ctx, b.replay, p, partRows, nil)
			}
			return ctx.Err()
		}
		_, confirmation, err := b.run(target)
		if err != nil || len(lines(confirmation.Findings, app.Problem)) > 0 || b.stand() != want {
			t.Errorf("%v, %q, the target holds %s", err, lines(confirmation.Findings, app.Problem), b.stand())
		}
		if imports.Load() != 2 || arrived != (limit == 0) || limit == 0 && slept < time.Minute || limit > 0 && slept > 40*time.Second { // rows, metrics
			t.Errorf("%d imports, slept %s", imports.Load(), slept)
		}
	}
}

// TestPreflightUnsettled does not settle names anew while an import may still go on: it ends, and keeps its notes.
func TestPreflightUnsettled(t *testing.T) {
	b := sampleBed(t, "nora")
	if _, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path == importPath {
			return standin.Fault{Cut: standin.CutBefore}
		}
		return standin.Fault{}
	})); err == nil {
		t.Fatal("the fault had no effect")
	}
	target := b.serve(nil)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := target.Preflight(short, b.replay); failure.KindOf(err) != failure.Transient || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	var s importing
	if _, err := b.replay.Notes.Get(t.Context(), importNote, &s); err != nil || !s.Begun || !s.Lost {
		t.Errorf("%+v, %v", s, err)
	}
	b.complete(t, "later", "users 3, userPasskeys 0, userQuotas 1, userOauthProviders 0, userTags 2, invites 2, folders 8, urls 2, files 18, thumbnails 0, metrics 3")
}

// halved returns a bed whose first import was cut in the middle.
func halved(t *testing.T) *bed {
	t.Helper()
	b := sampleBed(t, "nora")
	if _, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path == importPath {
			return standin.Fault{Cut: standin.CutInside, Rows: 30}
		}
		return standin.Fault{}
	})); err == nil {
		t.Fatal("the fault had no effect")
	}
	return b
}

// TestTakeBackProxy believes only Zipline that something is gone: a proxy's 404 ends the run before a user is deleted,
// with whom the files would go.
func TestTakeBackProxy(t *testing.T) {
	for _, path := range []string{filesPath, "/api/user/folders/", "/api/users/"} {
		b := halved(t)
		before := len(b.targetRows()["users"])
		_, _, err := b.run(b.serve(func(_ int, r *http.Request) standin.Fault {
			if r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, path) {
				return standin.Fault{Status: http.StatusNotFound}
			}
			return standin.Fault{}
		}))
		if err == nil || !strings.Contains(err.Error(), "take back") {
			t.Errorf("%s: %v", path, err)
		}
		if now := len(b.targetRows()["users"]); now != before {
			t.Errorf("%s: %d users, there were %d", path, now, before)
		}
		b.complete(t, path, "users 3, userPasskeys 0, userQuotas 1, userOauthProviders 0, userTags 2, invites 2, folders 8, urls 2, files 18, thumbnails 0, metrics 3")
	}
}

// TestTakeBackGone goes on where Zipline says that a single thing is gone already.
func TestTakeBackGone(t *testing.T) {
	b := halved(t)
	target := b.serve(nil)
	folder, user := map[string]string{"delete": "folder", "childrenAction": "root"}, map[string]bool{"delete": true}
	for path, each := range map[string]struct {
		body any
		fine bool
	}{"/api/users/nobody": {user, true}, "/api/user/folders/none": {folder, true}, "/api/user/urls/none": {nil, true}, "/api/no-route": {user, false}} {
		if err := target.drop(t.Context(), path, each.body); (err == nil) != each.fine {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestTakeBackPuts asks for the objects again after users were taken back: Zipline deletes files with their users.
func TestTakeBackPuts(t *testing.T) {
	b := halved(t)
	target := b.serve(nil)
	forecast, err := target.Preflight(t.Context(), b.replay)
	if err != nil {
		t.Fatal(err)
	}
	b.put(forecast)
	progress, err := target.Replay(t.Context(), b.replay)
	if err != nil || progress.Done || !progress.Put {
		t.Fatalf("%+v, %v", progress, err)
	}
	if users := len(b.targetRows()["users"]); users != 1 {
		t.Errorf("%d users are left", users)
	}
	if progress, err = target.Replay(t.Context(), b.replay); err != nil || !progress.Done || progress.Put {
		t.Errorf("%+v, %v", progress, err)
	}
}

// TestConfirmFinish says of what is missing how it can be had: by another run only where that imports anything.
func TestConfirmFinish(t *testing.T) {
	b := sampleBed(t, "nora")
	b.must(nil)
	for _, row := range b.targetRows()["userTags"] {
		if str(row, "name") == "summer" {
			b.api("DELETE", "/api/user/tags/"+str(row, "id"), nil)
		}
	}
	for range 2 {
		_, confirmation := b.must(nil)
		got := lines(confirmation.Findings, app.Problem, "missing")
		if len(got) == 0 || b.writes() != 0 {
			t.Errorf("%q, %d writes", got, b.writes())
		}
		for _, line := range got {
			if !strings.Contains(line, "no further run brings it in: make it by hand") || strings.Contains(line, "run the restore again") {
				t.Error(line)
			}
		}
	}
	stumbles := sampleBed(t, "nora")
	_, confirmation, err := stumbles.run(stumbles.serve(func(_ int, r *http.Request) standin.Fault {
		if r.URL.Path == importPath {
			return standin.Fault{Status: http.StatusInternalServerError}
		}
		return standin.Fault{}
	}))
	got := lines(confirmation.Findings, app.Problem, "missing")
	if err != nil || len(got) == 0 || !strings.Contains(got[0], "then run the restore again") {
		t.Errorf("%v, %q", err, got)
	}
}
