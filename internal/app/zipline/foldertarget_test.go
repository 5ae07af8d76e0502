package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// notebook keeps notes in memory.
type notebook map[string]string

func (n notebook) Get(_ context.Context, name string, value any) (bool, error) {
	text, ok := n[name]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal([]byte(text), value)
}

func (n notebook) Put(_ context.Context, name string, value any) error {
	text, err := json.Marshal(value)
	n[name] = string(text)
	return err
}

// folderBackup is a made-up backup of a folder: the bytes of its files are their stored names.
type folderBackup struct {
	document string
	objects  map[string]app.Object
	hidden   map[string]bool // not chosen
	opened   func(path string) (io.ReadCloser, error)
}

func (b *folderBackup) replay(notes notebook, wishes app.Wishes) *app.Replay {
	wishes.Documents, wishes.Objects = true, true
	if wishes.FolderInto == "" {
		wishes.FolderInto = "home"
	}
	return &app.Replay{
		ID: "r1", Kind: "zipline", Folder: "top", Wishes: wishes, Notes: notes, Working: func(int64, int64) {},
		Open: func(_ context.Context, path string) (io.ReadCloser, error) {
			if path == folderDocument {
				return io.NopCloser(strings.NewReader(b.document)), nil
			}
			if b.opened != nil {
				return b.opened(path)
			}
			object, ok := b.objects[path]
			if !ok {
				return nil, failure.New(failure.NotFound, "no %s", path)
			}
			return io.NopCloser(strings.NewReader(object.Key)), nil
		},
		Items: func(context.Context) iter.Seq2[app.Item, error] {
			return func(yield func(app.Item, error) bool) {
				if !yield(app.Item{Object: app.Object{Path: folderDocument}, Document: true, Chosen: true}, nil) {
					return
				}
				for _, path := range slices.Sorted(maps.Keys(b.objects)) {
					if !yield(app.Item{Object: b.objects[path], Chosen: !b.hidden[path]}, nil) {
						return
					}
				}
			}
		},
	}
}

// hostile is a backup with everything that is odd, and what a rebuilt tree of it must be.
func hostile(t *testing.T) (*folderBackup, []string) {
	t.Helper()
	folders := []madeFolder{
		{"top", "Work/Life", "", "u1"}, {"a", "2024", "top", "u1"}, {"b", "2024", "top", "u1"}, {"c", "..", "a", "u1"}, {"d", "  ", "top", "u1"}, {"e", "写真 🏔️", "b", "u1"},
	}
	files := []madeFile{
		{"1", "s1", "same.txt", "a"},
		{"2", "s2", "same.txt", "a"},
		{"3", "s33", "same.txt", "a"},
		{"4", "s4", "same.txt", "b"},
		{"5", "s5.png", "", "c"},
		{"6", "s6", "100% sure.txt", "a"},
		{"7", "s7", `a"b;c.txt`, "a"},
		{"8", "s8", "a/b.txt", "top"},
		{"9", "s9", "план №2.txt", "e"},
		{"10", "s10", "a%20b.txt", "a"},
		{"11", "s11", " edges ", "top"},
	}
	export := instanceOf(folders, files)
	export = strings.Replace(export, `"name":"2024","public":false,"allowUploads":false`, `"name":"2024","public":true,"allowUploads":true`, 1)
	export = strings.Replace(export, `"name":"s9","originalName":"план №2.txt","size":2,"type":"text/plain","views":0,"maxViews":null,"favorite":false`,
		`"name":"s9","originalName":"план №2.txt","size":2,"type":"text/x-plan","views":7,"maxViews":9,"favorite":true`, 1)
	export = strings.Replace(export, `"deletesAt":null,"name":"s4"`, `"deletesAt":"2031-05-06T07:08:09.010Z","name":"s4"`, 1)
	sink, _, err := folderSnapshot(t, "top", Options{URL: serve(t, ziplineWith(export)), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Work/Life| public=false uploads=false", "Work/Life|2024| public=true uploads=true", "Work/Life|2024| public=false uploads=false",
		"Work/Life|2024|..| public=false uploads=false", "Work/Life|unnamed| public=false uploads=false", "Work/Life|2024|写真 🏔️| public=false uploads=false",
		"Work/Life|2024|same.txt = s1 text/plain", "Work/Life|2024|same.txt = s2 text/plain", "Work/Life|2024|same.txt = s33 text/plain",
		"Work/Life|2024|same.txt = s4 text/plain until 2031-05-06T07:08:09.010Z", "Work/Life|2024|..|s5.png = s5.png text/plain", "Work/Life|2024|100% sure.txt = s6 text/plain",
		`Work/Life|2024|a"b;c.txt = s7 text/plain`, "Work/Life|a_b.txt = s8 text/plain", "Work/Life|2024|写真 🏔️|план №2.txt = s9 text/x-plan favorite max=9",
		"Work/Life|2024|a%20b.txt = s10 text/plain", "Work/Life| edges  = s11 text/plain",
	}
	slices.Sort(want)
	return &folderBackup{document: sink.documents[folderDocument], objects: sink.objects}, want
}

func folderTarget(t *testing.T, s *folderServer) *FolderTarget {
	t.Helper()
	target, err := NewFolderTarget(TargetOptions{
		URL: serve(t, s), Token: secret.New("token"), Now: func() time.Time { return exported },
		Sleep: func(ctx context.Context, d time.Duration) error {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.clock += d
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// finish replays until it is done.
func finish(t *testing.T, target *FolderTarget, r *app.Replay) {
	t.Helper()
	for range 100 {
		progress, err := target.Replay(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if progress.Done {
			return
		}
	}
	t.Fatal("it never ends")
}

func problems(found []app.Finding) []string {
	all := []string{}
	for _, f := range found {
		if f.Severity == app.Problem {
			all = append(all, f.Kind+" "+f.Item+": "+f.Message)
		}
	}
	return all
}

func TestFolderRebuild(t *testing.T) {
	for name, change := range map[string]func(*folderServer){
		"newer":     func(*folderServer) {},
		"4.6.3":     func(s *folderServer) { s.decodes = true },
		"older yet": func(s *folderServer) { s.decodes, s.noNever = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			server, notes := newFolderServer(), notebook{}
			change(server)
			backup, want := hostile(t)
			target, r := folderTarget(t, server), backup.replay(notes, app.Wishes{})
			forecast, err := target.Preflight(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]app.Count{{What: "folders", Backup: 6, Create: 6}, {What: "files", Backup: 11, Create: 11}}, forecast.Counts); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
			var kinds []string
			for _, f := range forecast.Findings {
				kinds = append(kinds, f.Kind)
			}
			if diff := cmp.Diff([]string{"stored-names", "dates", "views", "original-name", "folder-name"}, kinds); diff != "" || len(problems(forecast.Findings)) > 0 {
				t.Errorf("findings (-want +got):\n%s%v", diff, problems(forecast.Findings))
			}
			if _, put := forecast.Place(app.Item{}); put {
				t.Error("a file goes into the datasource")
			}
			if server.uploads > 0 || len(server.folders) > 2 || len(notes) > 0 {
				t.Error("the preflight wrote something")
			}
			finish(t, target, r)
			if diff := cmp.Diff(want, server.tree(t, "home")); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
			if server.waits == 0 {
				t.Error("no rate limit was met")
			}
			confirmed(t, target, r, 6, 11)
			uploads, folders := server.uploads, len(server.folders)
			finish(t, target, r)
			if server.uploads != uploads || len(server.folders) != folders {
				t.Error("a second run made something")
			}
			if again, err := target.Preflight(t.Context(), r); err != nil || again.Counts[1].Exists != 11 || again.Counts[0].Exists != 6 || again.Counts[0].Create+again.Counts[1].Create != 0 {
				t.Errorf("a second forecast: %+v, %v", again.Counts, err)
			}
		})
	}
}

func confirmed(t *testing.T, target *FolderTarget, r *app.Replay, folders, files int64) {
	t.Helper()
	c, err := target.Confirm(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	want := []app.Count{{What: "folders", Backup: folders, Create: folders}, {What: "files", Backup: files, Create: files}}
	if diff := cmp.Diff(want, c.Counts); diff != "" || len(c.Findings) > 0 || len(c.Asserted) == 0 {
		t.Errorf("confirmation (-want +got):\n%s%+v", diff, c.Findings)
	}
}

// TestFolderInterrupted breaks every request of a rebuild, before and after its effect: begun again, it ends with the
// same tree, without anything twice.
func TestFolderInterrupted(t *testing.T) {
	backup, want := hostile(t)
	whole := newFolderServer()
	whole.decodes = true
	finish(t, folderTarget(t, whole), backup.replay(notebook{}, app.Wishes{}))
	for way, after := range []bool{false, true} {
		for n := range upTo(whole.requests, way) {
			server, notes := newFolderServer(), notebook{}
			server.decodes, server.failAt, server.after = true, n, after
			target, r := folderTarget(t, server), backup.replay(notes, app.Wishes{})
			_, err := target.Replay(t.Context(), r)
			if err != nil && failure.KindOf(err) != failure.Transient { // Go itself repeats a GET on a broken connection
				t.Errorf("request %d (after: %t): %v", n, after, err)
			}
			finish(t, target, r)
			if diff := cmp.Diff(want, server.tree(t, "home")); diff != "" {
				t.Fatalf("request %d (after: %t): tree (-want +got):\n%s", n, after, diff)
			}
			confirmed(t, target, r, 6, 11)
		}
	}
}

// TestFolderNotesFail lets each note fail to be written.
func TestFolderNotesFail(t *testing.T) {
	backup, want := hostile(t)
	for n := 1; ; n++ {
		server := newFolderServer()
		notes := &failingNotes{notebook: notebook{}, failAt: n}
		r := backup.replay(nil, app.Wishes{})
		r.Notes = notes
		target := folderTarget(t, server)
		if _, err := target.Replay(t.Context(), r); err == nil {
			if n < 4 {
				t.Errorf("only %d notes were written", n)
			}
			return
		}
		finish(t, target, r)
		if diff := cmp.Diff(want, server.tree(t, "home")); diff != "" {
			t.Fatalf("note %d: tree (-want +got):\n%s", n, diff)
		}
	}
}

type failingNotes struct {
	notebook
	puts, failAt int
}

func (n *failingNotes) Put(ctx context.Context, name string, value any) error {
	if n.puts++; n.puts == n.failAt {
		return failure.New(failure.Transient, "the vault does not answer")
	}
	return n.notebook.Put(ctx, name, value)
}

// TestFolderDeadline ends each call after one thing.
func TestFolderDeadline(t *testing.T) {
	backup, want := hostile(t)
	server, notes, calls := newFolderServer(), notebook{}, 0
	server.quick = true
	target := folderTarget(t, server)
	target.near = func(context.Context) bool { return true }
	for done := false; !done; calls++ {
		progress, err := target.Replay(t.Context(), backup.replay(notes, app.Wishes{}))
		if err != nil || calls > 50 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = progress.Done
	}
	if calls != 17 {
		t.Errorf("17 things took %d calls", calls)
	}
	if diff := cmp.Diff(want, server.tree(t, "home")); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	slow := newFolderServer() // its rate limit asks to wait longer than there is time
	progress, err := folderTarget(t, slow).Replay(ctx, backup.replay(notebook{}, app.Wishes{}))
	if err != nil || progress.Done {
		t.Errorf("a rate limit behind the deadline: %+v, %v", progress, err)
	}
}

// TestFolderNamesThere rebuilds beside a folder of the same name, at the root, under another name.
func TestFolderNamesThere(t *testing.T) {
	backup, want := hostile(t)
	server := newFolderServer()
	server.folders = append(server.folders, &folderRow{ID: "old", Name: "Work/Life", UserID: folderOwner, Created: "2026-01-01T00:00:00.000Z"}, &folderRow{ID: "old2", Name: "Other", UserID: folderOwner, Created: "2026-01-01T00:00:00.000Z"})
	target := folderTarget(t, server)
	for _, into := range []string{"root", "/"} {
		notes := notebook{}
		finish(t, target, backup.replay(notes, app.Wishes{FolderInto: into, Name: "Other"}))
		confirmed(t, target, backup.replay(notes, app.Wishes{FolderInto: into, Name: "Other"}), 6, 11)
	}
	got := server.tree(t, "")
	other := 0
	for _, line := range got {
		if strings.HasPrefix(line, "Other|") {
			other++
		}
	}
	if other != 2*len(want)+1 {
		t.Errorf("%d things below Other, in three folders:\n%s", other, strings.Join(got, "\n"))
	}
}

func TestFolderRefused(t *testing.T) {
	backup, _ := hostile(t)
	for name, test := range map[string]struct {
		wishes app.Wishes
		change func(*folderServer, *app.Replay)
		want   failure.Kind
		says   string
	}{
		"foreign folder": {wishes: app.Wishes{FolderInto: "foreign"}, want: failure.Denied, says: "another user"},
		"no folder":      {wishes: app.Wishes{FolderInto: "nope"}, want: failure.NotFound, says: "no folder"},
		"whole":          {change: func(_ *folderServer, r *app.Replay) { r.Folder = "" }, want: failure.Usage, says: "whole Zipline"},
		"other kind":     {change: func(_ *folderServer, r *app.Replay) { r.Kind = "linkding" }, want: failure.Usage, says: "linkding"},
		"only objects":   {change: func(_ *folderServer, r *app.Replay) { r.Wishes.Documents = false }, want: failure.Usage, says: "--only-objects"},
		"as":             {wishes: app.Wishes{As: "ann"}, want: failure.Usage, says: "--as"},
		"bytes": {change: func(s *folderServer, _ *app.Replay) {
			s.quota, s.stored = `{"filesQuota":"BY_BYTES","maxBytes":"1kb"}`, `{"filesUploaded":1,"storageUsed":1010}`
		}, want: failure.Exhausted, says: "quota"},
		"files": {change: func(s *folderServer, _ *app.Replay) {
			s.quota, s.stored = `{"filesQuota":"BY_FILES","maxFiles":100}`, `{"filesUploaded":90,"storageUsed":1}`
		}, want: failure.Exhausted, says: "100 files"},
		"token": {change: func(_ *folderServer, r *app.Replay) { r.ID = "bad" }, want: failure.Denied, says: "refuses"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newFolderServer()
			r := backup.replay(notebook{}, test.wishes)
			if test.change != nil {
				test.change(server, r)
			}
			target := folderTarget(t, server)
			if r.ID == "bad" {
				target.client.token = secret.New("wrong-token")
			}
			_, err := target.Preflight(t.Context(), r)
			if failure.KindOf(err) != test.want || !strings.Contains(fmt.Sprint(err), test.says) || failure.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "wrong-token") {
				t.Errorf("%v (%v); %s", err, failure.KindOf(err), failure.HintOf(err))
			}
			if len(server.folders) > 2 || server.uploads > 0 {
				t.Error("something was written")
			}
		})
	}
}

// TestFolderLeftOut rebuilds what a target takes, and names the rest.
func TestFolderLeftOut(t *testing.T) {
	folders := []madeFolder{{"top", "top", "", "u1"}, {"a", "a", "top", "u1"}, {"b", "b", "top", "u1"}}
	files := []madeFile{{"1", "small", "ok.txt", "a"}, {"2", strings.Repeat("x", 2000), "large.txt", "a"}, {"3", "prog", "tool.exe", "a"}, {"4", "lost", "lost.txt", "b"}, {"5", "pick", "pick.txt", "b"}}
	sink, _, err := folderSnapshot(t, "top", Options{URL: serve(t, ziplineWith(instanceOf(folders, files))), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	backup := &folderBackup{document: sink.documents[folderDocument], objects: sink.objects}
	delete(backup.objects, "top/b/lost.txt")
	server, notes := newFolderServer(), notebook{}
	server.public = "1kb"
	target, r := folderTarget(t, server), backup.replay(notes, app.Wishes{})
	forecast, err := target.Preflight(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(forecast.Findings); len(got) != 2 || !strings.HasPrefix(got[0], "missing top/b/lost.txt") || !strings.HasPrefix(got[1], "too-large top/a/large.txt") || forecast.Counts[1] != (app.Count{What: "files", Backup: 5, Create: 3, Skip: 2}) {
		t.Errorf("forecast %+v: %v", forecast.Counts, got)
	}
	finish(t, target, r)
	c, err := target.Confirm(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	got := problems(c.Findings)
	slices.Sort(got)
	if len(got) != 3 || !strings.HasPrefix(got[0], "missing top/b/lost.txt") || !strings.Contains(got[1], "large.txt: the file is not in the target: it is larger") || !strings.Contains(got[2], "File extension .exe is not allowed") {
		t.Errorf("confirmation: %q", got)
	}
	if c.Counts[1] != (app.Count{What: "files", Backup: 5, Create: 2, Skip: 3}) {
		t.Errorf("counts: %+v", c.Counts)
	}
	server.mutex.Lock() // somebody changes the target
	server.files[0].Favorite = true
	server.folders[len(server.folders)-1].Public = true
	server.mutex.Unlock()
	for range 2 { // another run leaves it as it is
		if c, err = target.Confirm(t.Context(), r); err != nil || len(problems(c.Findings)) != 3 || len(lines(c.Findings, app.Note, "changed")) != 2 {
			t.Errorf("changes: %+v, %v", c.Findings, err)
		}
		finish(t, target, r)
	}
	if !server.files[0].Favorite || !server.folders[len(server.folders)-1].Public {
		t.Error("what somebody has changed was set back")
	}

	backup.hidden = map[string]bool{"top/a/ok.txt": true, "top/a/large.txt": true, "top/a/tool.exe": true}
	few := newFolderServer()
	r = backup.replay(notebook{}, app.Wishes{})
	finish(t, folderTarget(t, few), r)
	if diff := cmp.Diff([]string{"top| public=false uploads=false", "top|b| public=false uploads=false", "top|b|pick.txt = pick text/plain"}, few.tree(t, "home")); diff != "" {
		t.Errorf("--only (-want +got):\n%s", diff)
	}
	bare := newFolderServer()
	r = backup.replay(notebook{}, app.Wishes{})
	r.Wishes.Objects = false
	finish(t, folderTarget(t, bare), r)
	if got := bare.tree(t, "home"); len(got) != 3 || bare.uploads > 0 {
		t.Errorf("--only-documents: %v", got)
	}
}

// TestFolderUnreadable has a backup whose bytes can't be read, are too few, or too many.
func TestFolderUnreadable(t *testing.T) {
	backup, _ := hostile(t)
	for name, test := range map[string]struct {
		opened func(string) (io.ReadCloser, error)
		want   failure.Kind
	}{
		"corrupt": {func(string) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("s"), failing{failure.New(failure.Corrupt, "a bit is wrong")})), nil
		}, failure.Corrupt},
		"closed": {func(string) (io.ReadCloser, error) { return nil, failure.New(failure.Denied, "no") }, failure.Denied},
		"few":    {func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }, failure.Corrupt},
		"many": {func(string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("m", 1<<20))), nil
		}, failure.Corrupt},
	} {
		server := newFolderServer()
		broken := &folderBackup{document: backup.document, objects: backup.objects, opened: test.opened}
		_, err := folderTarget(t, server).Replay(t.Context(), broken.replay(notebook{}, app.Wishes{}))
		if failure.KindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
		if server.uploads > 0 {
			t.Errorf("%s: something was uploaded", name)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"250mb": 250 << 20, "2gb": 2 << 30, "1kb": 1024, "100": 100, "100b": 100, "1.5gb": 3 << 29, "2 GB": 2 << 30, "1gib": 1 << 30, "5m": 5 << 20, "": -1, "lots": -1, "-1kb": -1, "mb": -1, "1xb": -1} {
		got, ok := parseBytes(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d", text, got)
		}
	}
}

// TestFrame puts names and types of strangers into the head of a form: no line can be added to it.
func TestFrame(t *testing.T) {
	for _, kind := range []string{"text/plain\r\nX-Evil: 1", "", "a b", "text/plain; charset=utf-8", "тип/текст"} {
		head, tail, boundary := frame("план.txt", kind)
		if strings.Count(head, "\r\n") != 4 || strings.Contains(head, "Evil") || !strings.Contains(head, `filename="план.txt"`) || !strings.HasSuffix(tail, "--"+boundary+"--\r\n") {
			t.Errorf("%q: %q %q", kind, head, tail)
		}
	}
	for _, name := range []string{"a\r\nb", `a"b`, "a%b", `a\b`, strings.Repeat("x", 300), "a\x7f"} {
		u := &upload{treeFile: &treeFile{Stored: "s", Path: "p"}, name: name}
		if !u.carried() || strings.ContainsAny(u.carrier(), "\r\n\"%\\") || len(u.carrier()) > maxName {
			t.Errorf("%q travels as %q: %t", name, u.carrier(), u.carried())
		}
	}
}
