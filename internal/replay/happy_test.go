package replay_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/replay"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

func TestIntoApplication(t *testing.T) {
	w := newWorld(t, files())
	w.limits = func(s *replay.Steps) { // a clock that goes on
		s.Now = func() time.Time { w.later(time.Second); return w.now() }
	}
	e := w.run(w.toApp())
	r := w.completed(e)
	w.holds(files())
	if diff := cmp.Diff([]string{"Preflight", "Preflight done", "Replay", "Replay done", "Confirm", "Confirm done"}, w.app.taken()); diff != "" {
		t.Error(diff)
	}
	var steps []string
	for _, line := range r.Steps {
		steps = append(steps, line.Step)
		if line.Took <= 0 || line.Began.IsZero() || line.Failed {
			t.Errorf("%+v", line)
		}
	}
	if diff := cmp.Diff([]string{"check", "reserve", "put", "replay", "confirm"}, steps); diff != "" {
		t.Error(diff)
	}
	backed, err := catalog.New(w.Vault).Record(t.Context(), "photos", firstRun)
	if err != nil {
		t.Fatal(err)
	}
	want := catalog.Restore{
		Format: 1, ID: e.restore.ID, Attempt: 1, From: catalog.Origin{Source: "photos", Backup: firstRun, Digest: backed.Manifest.SHA256},
		Target: "new", Kind: "fake", Check: "full", Signature: "authenticated", Signer: backed.Manifest.Signer, Status: backup.Completed,
		StartedBy: catalog.Starter{By: "test", Who: "ada@desk"}, Lifeboat: "test", Execution: e.restore.Execution, Put: catalog.Put{Written: 5, LeftOut: 1, Bytes: 5608},
		Forecast:     &app.Forecast{Application: "Fake", Counts: []app.Count{{What: "rows", Backup: 3, Create: 3}}},
		Confirmation: &app.Confirmation{Asserted: []string{"every row is there"}},
		Notified:     catalog.Notified{Status: "sent", To: []string{"ops@example.com"}, At: r.Notified.At}, Started: r.Started, Finished: r.Finished, Steps: r.Steps,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if !r.Finished.After(r.Started) || r.Notified.At.Before(r.Finished) {
		t.Errorf("began %s, ended %s, told %s", r.Started, r.Finished, r.Notified.At)
	}
}

// holds fails the test unless the application has all rows once, and the files.
func (w *world) holds(objects map[string]string) {
	w.Helper()
	if diff := cmp.Diff(objects, tree(w, w.app.folder)); diff != "" {
		w.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"row one": 1, "row two": 1, "row three": 1}, w.app.rows); diff != "" {
		w.Error(diff)
	}
}

func TestIntoFolderAgain(t *testing.T) {
	w := newWorld(t, files())
	folder := filepath.Join(t.TempDir(), "new", "photos")
	r := to(w.toApp(), events.To{Folder: folder})
	dry := r
	dry.DryRun = true
	e := w.run(dry)
	if w.completed(e); !e.record.DryRun || e.record.Put.Written != 0 || e.record.Put.LeftOut != 0 {
		t.Error(e)
	}
	if _, err := os.Stat(filepath.Dir(folder)); err == nil {
		t.Error("a dry run has made a folder")
	}
	if got := w.told.taken(); got != nil {
		t.Errorf("a dry run has told people: %v", got)
	}
	first := w.completed(w.run(r))
	if diff := cmp.Diff(whole(files()), tree(t, folder)); diff != "" {
		t.Error(diff)
	}
	if first.Put.Written != 6 || first.Put.Existing != 0 || first.Attempt != 1 || first.ID == e.record.ID {
		t.Errorf("%+v", first)
	}
	second := w.completed(w.run(r))
	if second.Put.Written != 0 || second.Put.Existing != 6 || second.Attempt != 2 || second.ID != first.ID {
		t.Errorf("%+v", second)
	}
	other := r
	other.Only = []string{"uploads/a.txt"}
	w.failed(w.run(other), failure.Conflict) // a folder that holds something, and not of this restore
	other.To.Existing = true
	if third := w.completed(w.run(other)); third.Put.Existing != 1 || third.Put.LeftOut != 5 {
		t.Errorf("%+v", third)
	}
}

func TestIntoBucket(t *testing.T) {
	objects := files()
	objects["large.bin"] = strings.Repeat("0123456789abcdef", 9<<20/16)
	w := newWorld(t, objects)
	there := w.bucket()
	r := to(w.toApp(), events.To{Bucket: &events.Bucket{Name: there.Bucket(), Prefix: "a/b"}})
	dry := r
	dry.DryRun = true
	w.completed(w.run(dry))
	if got := contents(t, there); len(got) > 0 {
		t.Errorf("a dry run has written %v", slices.Collect(maps.Keys(got)))
	}
	got := w.completed(w.run(r))
	if diff := cmp.Diff(under("a/b/", whole(objects)), contents(t, there)); diff != "" {
		t.Error(diff)
	}
	if got.Put.Spliced != 1 || got.Put.SplicedBytes != 9<<20 || got.Put.Written != 7 {
		t.Errorf("%+v", got.Put)
	}
}

// TestManyBatches has more of them than an inline Map takes.
func TestManyBatches(t *testing.T) {
	objects := map[string]string{}
	for n := range 45 {
		objects[fmt.Sprintf("folder %d/", n)] = ""
		objects[fmt.Sprintf("file %02d.txt", n)] = fmt.Sprint("text ", n)
	}
	w := newWorld(t, objects)
	replay.SmallBatches(t, 1)
	folder := filepath.Join(t.TempDir(), "to")
	r := w.completed(w.run(to(w.toApp(), events.To{Folder: folder})))
	files := maps.Clone(objects)
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, "/") })
	if diff := cmp.Diff(whole(files), tree(t, folder)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(folder, "uploads", "folder 44")); err != nil || !info.ModTime().Equal(noon.Add(-time.Hour)) {
		t.Errorf("%v, %v", info, err)
	}
	puts := 0
	for _, call := range w.calls {
		if call == "put" {
			puts++
		}
	}
	if puts < 2 || r.Put.Written != 91 {
		t.Errorf("%d batches, %+v", puts, r.Put)
	}
	t.Logf("%d batches, the largest message has %d bytes", puts, w.heavy.Load())
}

func TestParts(t *testing.T) {
	w := newWorld(t, files())
	for _, test := range []struct {
		name    string
		only    []string
		wishes  app.Wishes
		want    []string
		leftOut int
		kind    failure.Kind
		part    string
	}{
		{"all", nil, everything, []string{"export.json", "uploads/a.txt", "uploads/b.txt", "uploads/deep/er/c.bin", "uploads/empty", "uploads/ü:#&.txt"}, 0, 0, ""},
		{"none of both", nil, app.Wishes{}, []string{"export.json", "uploads/a.txt", "uploads/b.txt", "uploads/deep/er/c.bin", "uploads/empty", "uploads/ü:#&.txt"}, 0, 0, ""},
		{"glob", []string{"uploads/*.txt"}, everything, []string{"uploads/a.txt", "uploads/b.txt", "uploads/ü:#&.txt"}, 3, 0, ""},
		{"folder", []string{"uploads/deep", "export.json"}, everything, []string{"export.json", "uploads/deep/er/c.bin"}, 4, 0, ""},
		{"documents", nil, app.Wishes{Documents: true}, []string{"export.json"}, 5, 0, "documents"},
		{"objects", nil, app.Wishes{Objects: true}, []string{"uploads/a.txt", "uploads/b.txt", "uploads/deep/er/c.bin", "uploads/empty", "uploads/ü:#&.txt"}, 1, 0, "objects"},
		{"nothing", []string{"uploads/*.txt", "photos/*"}, everything, nil, 0, failure.NotFound, ""},
		{"nothing left", []string{"export.json"}, app.Wishes{Objects: true}, nil, 0, failure.NotFound, "objects"},
		{"no glob", []string{"["}, everything, nil, 0, failure.Usage, ""},
		{"too many", []string{strings.Repeat("a/", 13<<10)}, everything, nil, 0, failure.Usage, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "to")
			r := to(w.toApp(), events.To{Folder: folder})
			r.Only, r.Wishes = test.only, test.wishes
			e := w.run(r)
			if test.want == nil {
				w.failed(e, test.kind)
				if tree(t, folder) != nil {
					t.Error("the folder is there")
				}
				return
			}
			w.completed(e)
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(tree(t, folder)))); diff != "" {
				t.Error(diff)
			}
			if e.record.Put.Written != len(test.want) || e.record.Put.LeftOut != test.leftOut || e.record.Part != test.part {
				t.Error(e)
			}
		})
	}
}

// TestPartsIntoApplication leaves the one or the other to the application.
func TestPartsIntoApplication(t *testing.T) {
	w := newWorld(t, files())
	r := w.toApp()
	r.Wishes = app.Wishes{Objects: true}
	w.completed(w.run(r))
	if diff := cmp.Diff(files(), tree(t, w.app.folder)); diff != "" || len(w.app.rows) > 0 || slices.Contains(w.app.taken(), "Replay") {
		t.Error(diff, w.app.rows)
	}
	r.Wishes = app.Wishes{Documents: true}
	if got := w.completed(w.run(r)); got.Put.Written != 0 || len(w.app.rows) != 3 {
		t.Errorf("%+v", got)
	}
}

// TestDryRunIntoApplication asks it, and changes nothing.
func TestDryRunIntoApplication(t *testing.T) {
	w := newWorld(t, files())
	w.app.findings = []app.Finding{{Severity: app.Problem, Kind: "lost", Item: "row two", Message: "can't be carried"}}
	r := w.toApp()
	r.DryRun, r.Wishes.Name = true, "name"
	e := w.run(r)
	if e.record.Status != backup.Partial || e.record.Forecast == nil || e.record.ProblemsTotal != 1 {
		t.Error(e)
	}
	w.leftovers()
	for _, key := range w.Keys(t) {
		if strings.Contains(key, "/names/") || strings.HasPrefix(key, "restores/") {
			t.Errorf("a dry run has left %s", key)
		}
	}
	if diff := cmp.Diff([]string{"Preflight", "Preflight done"}, w.app.taken()); diff != "" || len(w.app.rows) > 0 || len(tree(t, w.app.folder)) > 0 {
		t.Error(diff)
	}
	e = w.run(w.toApp())
	if e.record.Status != backup.Partial || e.record.ProblemsTotal != 1 {
		t.Error("what the forecast says stays a problem:", e)
	}
}

func TestFromFile(t *testing.T) {
	w := newWorld(t, files())
	path, _ := w.archive()
	r := w.toApp()
	r.From = events.From{File: path}
	got := w.completed(w.run(r))
	w.holds(files())
	if got.From.File != path || got.From.Backup != firstRun || got.From.Source != "photos" || got.From.Digest == "" || got.From.Bytes == 0 {
		t.Errorf("%+v", got.From)
	}
	if got.Put.Bytes != 5608 {
		t.Errorf("%+v", got.Put)
	}
}

// TestFromVolumes restores an archive in volumes, from the files and, its packs damaged, from the vault.
func TestFromVolumes(t *testing.T) {
	objects := files()
	for n := range 4 {
		objects[fmt.Sprintf("bulk %d", n)] = strings.Repeat(fmt.Sprint(n, " bulk "), 20_000)
	}
	w := newWorld(t, objects, step.Policy{Split: 200 << 10})
	dir := t.TempDir()
	var first string
	for info, err := range w.List(t.Context(), vault.ArchiveFiles("photos", firstRun)) {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := w.Get(t.Context(), info.Key)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(string(info.Key))), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = filepath.Join(dir, filepath.Base(string(info.Key)))
		}
	}
	r := w.toApp()
	r.From = events.From{File: first}
	if got := w.completed(w.run(r)); got.Signature != "authenticated" || got.From.Backup != firstRun {
		t.Errorf("%+v", got)
	}
	w.holds(objects)
	w.damagePack()
	folder := filepath.Join(t.TempDir(), "to")
	got := w.completed(w.run(to(w.toApp(), events.To{Folder: folder})))
	if diff := cmp.Diff(whole(objects), tree(t, folder)); diff != "" || got.NotesTotal != 1 || got.Notes[0].Kind != replay.NoteArchive || got.Signature != "authenticated" {
		t.Errorf("%s %+v", diff, got.Notes)
	}
}

// foreignZIP is an archive that no kind claims. It compresses its files, but for those that are stored.
func foreignZIP(t *testing.T, objects map[string]string, stored ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		method := zip.Deflate
		if slices.Contains(stored, name) {
			method = zip.Store
		}
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = f.Write([]byte(objects[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFromForeignFile(t *testing.T) {
	w := newWorld(t, files())
	path := w.file("other.zip", foreignZIP(t, files()))
	folder := filepath.Join(t.TempDir(), "to")
	r := to(w.toApp(), events.To{Folder: folder})
	r.From = events.From{File: path}
	e := w.run(r)
	w.failed(e, failure.Denied)
	if !strings.Contains(e.hint, "--trust") || tree(t, folder) != nil {
		t.Error(e)
	}
	r.Trust = true
	got := w.completed(w.run(r))
	if diff := cmp.Diff(files(), tree(t, folder)); diff != "" {
		t.Error(diff)
	}
	if got.Attempt != 2 || got.Signature != "unsigned" || got.Signer != "" || got.From.Backup != "" || got.NotesTotal != 1 || got.Notes[0].Kind != replay.NoteSignature {
		t.Errorf("%+v", got)
	}
	into := w.toApp()
	into.From, into.Trust = r.From, true
	if e := w.run(into); e.kind != failure.Invalid {
		t.Error(e)
	}
}
