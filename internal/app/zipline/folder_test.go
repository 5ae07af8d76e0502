package zipline

import (
	"encoding/json"
	"fmt"
	"io"
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
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// folderSnapshot takes a snapshot of one folder.
func folderSnapshot(t *testing.T, id string, options Options) (*record, app.Facts, error) {
	t.Helper()
	options.Token = secret.New(standin.SuperAdminToken)
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecord()
	facts, err := source.Snapshot(t.Context(), backup.Scope{Folder: id}, sink)
	return sink, facts, err
}

// fixture returns the recorded instance: its export's server, and its datasource.
func fixture(t *testing.T) (Options, []byte) {
	t.Helper()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	folder := filepath.Join(fixtures, "zipline")
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	server := standin.New(standin.Options{Export: func() []byte { return export }, OwnerlessURLs: 1})
	return Options{URL: serve(t, server), Token: secret.New(standin.SuperAdminToken), Datasource: datasource.NewFolder(filepath.Join(folder, "uploads"), nil)}, export
}

// TestFolderFixture backs up folders of the recorded instance, each by a path and by its id.
func TestFolderFixture(t *testing.T) {
	options, _ := fixture(t)
	for path, want := range map[string][]string{
		"Work/2024": {"2024/Invoices/invoice-001.pdf", "2024/Invoices/invoice-002.pdf", "2024/Invoices/invoice-003.pdf", "2024/Invoices/invoice-004.pdf", "2024/ledger.csv"},
		"Photos": {
			"Photos/2023/old.gif", "Photos/2023/twin-a.png", "Photos/2024/Summer/Lisbon/lisbon-1.jpg", "Photos/2024/Summer/Lisbon/lisbon-2.jpg",
			"Photos/2024/Summer/Lisbon/lisbon.mp4", "Photos/2024/Summer/beach.webp", "Photos/2024/screenshot (2).png", "Photos/2024/screenshot (3).png",
			"Photos/2024/screenshot.png", "Photos/twin-b.png", "Photos/写真 🏔️.png",
		},
		`Q1\/Q2 reports`:    {"Q1%2FQ2 reports/q1.ts", "Q1%2FQ2 reports/summary.html"},
		"Ablage ✦ Входящие": {"Ablage ✦ Входящие/anon drop.txt", "Ablage ✦ Входящие/anon.jpg"},
		"mara:Leer":         {"Leer/"},
		"lin:2024":          {"2024/clip.webm", "2024/song.mp3"},
	} {
		t.Run(path, func(t *testing.T) {
			source, err := New(options)
			if err != nil {
				t.Fatal(err)
			}
			id, place, err := source.Folder(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if same, _, err := source.Folder(t.Context(), place); err != nil || same != id {
				t.Errorf("the path %s is that of %s: %v", place, same, err)
			}
			sink, facts, err := folderSnapshot(t, id, options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(sink.objects))); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{}, sink.short()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(sink.documents) != 1 || sink.secret[folderDocument] || facts.Secrets || facts.Digest == "" {
				t.Errorf("documents %v, facts %+v", slices.Collect(maps.Keys(sink.documents)), facts)
			}
			if text := sink.documents[folderDocument]; strings.Contains(text, "argon2") || strings.Contains(text, "DATABASE_URL") || strings.Contains(text, "totp") {
				t.Error("the document holds secrets")
			}
			m, err := readFolderMap(strings.NewReader(sink.documents[folderDocument]))
			if err != nil {
				t.Fatal(err)
			}
			if m.id != id || m.path != place || m.zipline != "4.6.3" || facts.Counts["folders"] != int64(len(m.folders)) || facts.Counts["files"] != int64(len(m.files)) {
				t.Errorf("%s at %s: %d folders and %d files, counts %v", m.id, m.path, len(m.folders), len(m.files), facts.Counts)
			}
			for _, f := range m.files {
				if object := sink.objects[f.Path]; object.Key != f.Stored || object.Size != f.Size {
					t.Errorf("%+v lies as %+v", f, object)
				}
			}
		})
	}
}

func TestFolderFind(t *testing.T) {
	options, _ := fixture(t)
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]struct {
		kind failure.Kind
		hint string
	}{
		"2025":            {failure.NotFound, "lin:2024 (cmwquoo5w000orh7dq2n80o84)"},
		"Work/2042":       {failure.NotFound, "mara:Work/2024 (cmwquoh5b000jrh7drtoisnua)"},
		"Q1/Q2 reports":   {failure.NotFound, `mara:Q1\/Q2 reports`},
		"mara:Memes":      {failure.NotFound, "lin:Memes"},
		"work":            {failure.NotFound, "mara:Work ("},
		"nobody:Work":     {failure.NotFound, "mara:Work ("},
		"\x1b[2J":         {failure.NotFound, "the nearest are"},
		"":                {failure.NotFound, "the nearest are"},
		"/":               {failure.NotFound, "the nearest are"},
		"Work/2024/":      {},
		"/Work/2024":      {},
		`mara:Work/\2024`: {},
	} {
		id, _, err := source.Folder(t.Context(), text)
		switch {
		case want.kind == 0 && (err != nil || id != "cmwquoh5b000jrh7drtoisnua"):
			t.Errorf("%q is %s: %v", text, id, err)
		case want.kind != 0 && (failure.KindOf(err) != want.kind || !strings.Contains(failure.HintOf(err), want.hint)):
			t.Errorf("%q: %v; %s", text, err, failure.HintOf(err))
		}
	}
}

// made is one instance made of rows.
type madeFolder struct{ id, name, parent, user string }

type madeFile struct{ id, stored, original, folder string }

func instanceOf(folders []madeFolder, files []madeFile) string {
	text := func(s string) string {
		encoded, _ := json.Marshal(s)
		return string(encoded)
	}
	orNull := func(s string) string {
		if s == "" {
			return "null"
		}
		return text(s)
	}
	var f, g []string
	for i, row := range folders {
		var inside []string
		for _, file := range files {
			if file.folder == row.id {
				inside = append(inside, text(file.id))
			}
		}
		f = append(f, fmt.Sprintf(`{"id":%s,"createdAt":"2026-01-01T00:00:%02d.000Z","name":%s,"public":false,"allowUploads":false,"files":[%s],"userId":%s,"parentId":%s}`,
			text(row.id), i%60, text(row.name), strings.Join(inside, ","), text(row.user), orNull(row.parent)))
	}
	for i, row := range files {
		g = append(g, fmt.Sprintf(`{"id":%s,"createdAt":"2026-01-02T00:00:%02d.000Z","deletesAt":null,"name":%s,"originalName":%s,"size":%d,"type":"text/plain","views":0,"maxViews":null,"favorite":false,"password":null,"userId":null,"folderId":%s}`,
			text(row.id), i%60, text(row.stored), orNull(row.original), len(row.stored), orNull(row.folder)))
	}
	users := `{"id":"u1","createdAt":"2026-01-01T00:00:00.000Z","username":"ann","password":null,"avatar":null,"role":"USER","view":{},"totpSecret":null},` +
		`{"id":"u2","createdAt":"2026-01-01T00:00:00.000Z","username":"bob","password":null,"avatar":null,"role":"USER","view":{},"totpSecret":null}`
	return exportOf(`"users":[`+users+`]`, `"folders":[`+strings.Join(f, ",")+`]`, `"files":[`+strings.Join(g, ",")+`]`)
}

// objectsOf lists an object for each file, with its stored name as its bytes.
func objectsOf(files []madeFile) listing {
	var l listing
	for _, f := range files {
		l.objects = append(l.objects, app.Object{Key: f.stored, Size: int64(len(f.stored)), Modified: exported, Identity: "1", Settled: true})
	}
	return l
}

func TestFolderNames(t *testing.T) {
	long := strings.Repeat("д", 300)
	folders := []madeFolder{
		{"top", "folder.json", "", "u1"},
		{"a", "same", "top", "u1"},
		{"b", "same", "top", "u1"},
		{"c", "SAME", "top", "u1"},
		{"d", "..", "top", "u1"},
		{"e", ".", "top", "u1"},
		{"f", "", "top", "u1"},
		{"g", "a/b\\c\n", "top", "u1"},
		{"h", "ends. ", "top", "u1"},
		{"i", long, "top", "u1"},
		{"j", "写真 🏔️", "top", "u1"},
		{"k", "lifeboat", "top", "u1"},
		{"l", "café", "top", "u1"},
		{"m", "cafe\u0301", "top", "u1"},
		{"n", "same (2)", "top", "u1"},
		{"other", "elsewhere", "", "u1"},
	}
	files := []madeFile{
		{"1", "s1.txt", "a.tar.gz", "a"},
		{"2", "s2.txt", "a.tar.gz", "a"},
		{"3", "s3.txt", "A.tar.gz", "a"},
		{"4", "s4.txt", "", "a"},
		{"5", "s5.txt", "../../etc/passwd", "a"},
		{"6", "s6.txt", "sub", "top"},
		{"7", "s7.txt", "same", "top"},
		{"8", "s8.txt", ".hidden", "top"},
		{"9", "s9.txt", long + ".jpeg", "top"},
		{"10", "s10.txt", "100% sure.txt", "top"},
		{"11", "outside.txt", "outside.txt", "other"},
		{"12", "root.txt", "root.txt", ""},
		{"13", "s13.txt", "tab\there\u0085\u2028.", "top"},
	}
	options := Options{URL: serve(t, ziplineWith(instanceOf(folders, files))), Datasource: objectsOf(files)}
	sink, facts, err := folderSnapshot(t, "top", options)
	if err != nil {
		t.Fatal(err)
	}
	const top = "folder.json (2)/"
	want := []string{
		top + "%2E/", top + "%2E%2E/", top + ".hidden", top + "100% sure.txt", top + "SAME (3)/", top + "a%2Fb%5Cc%0A/", top + "café/",
		top + "cafe\u0301 (2)/", top + "ends%2E%20/", top + "lifeboat/", top + "same (2) (2)/", top + "same (2)/", top + "same (4)",
		top + "same/..%2F..%2Fetc%2Fpasswd", top + "same/A.tar (3).gz", top + "same/a.tar (2).gz", top + "same/a.tar.gz", top + "same/s4.txt", top + "sub",
		top + "tab%09here%C2%85%E2%80%A8%2E", top + "unnamed/", top + "写真 🏔️/",
	}
	got := slices.Sorted(maps.Keys(sink.objects))
	got = slices.DeleteFunc(got, func(path string) bool { return strings.Contains(path, "ддд") })
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{}, sink.short()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	m, err := readFolderMap(strings.NewReader(sink.documents[folderDocument]))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.folders) != 15 || len(m.files) != 11 || facts.Counts["files"] != 11 || facts.Counts["folders"] != 15 {
		t.Errorf("%d folders, %d files, counts %v", len(m.folders), len(m.files), facts.Counts)
	}
	for _, f := range m.folders {
		for part := range strings.SplitSeq(strings.TrimSuffix(f.Path, "/"), "/") {
			if len(part) > 255 {
				t.Errorf("%q has %d bytes", part, len(part))
			}
		}
	}
	for path, object := range sink.objects {
		if name := strings.TrimSuffix(path, "/"); !archivable(name) || object.Dir != strings.HasSuffix(path, "/") || object.Key == "" || object.Identity == "" {
			t.Errorf("%q: %+v", path, object)
		}
	}
	again, facts2, err := folderSnapshot(t, "top", options)
	if err != nil || facts2.Digest != facts.Digest || again.documents[folderDocument] != sink.documents[folderDocument] {
		t.Errorf("a second snapshot differs: %v", err)
	}
}

// TestFolderOrder reads the same instance with its rows in other orders: the backup is the same.
func TestFolderOrder(t *testing.T) {
	folders := []madeFolder{{"top", "top", "", "u1"}, {"a", "x", "top", "u1"}, {"b", "x", "top", "u1"}, {"c", "y", "a", "u1"}}
	files := []madeFile{{"1", "s1", "f", "a"}, {"2", "s2", "f", "a"}, {"3", "s3", "f", "b"}, {"4", "s4", "f", "c"}}
	export := instanceOf(folders, files)
	var whole map[string]json.RawMessage
	var data map[string][]json.RawMessage
	if err := json.Unmarshal([]byte(export), &whole); err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(whole["data"], &raw); err != nil {
		t.Fatal(err)
	}
	data = map[string][]json.RawMessage{}
	for _, name := range arrays {
		var rows []json.RawMessage
		if err := json.Unmarshal(raw[name], &rows); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(rows)
		data[name] = rows
	}
	var members []string
	for _, name := range []string{"files", "userTags", "folders", "users"} { // not the order of Zipline
		rows, _ := json.Marshal(data[name])
		members = append(members, `"`+name+`":`+string(rows))
	}
	want, _, err := folderSnapshot(t, "top", Options{URL: serve(t, ziplineWith(export)), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	// standin.Export has a fixed order of its own, so this server answers the text itself
	got, _, err := folderSnapshot(t, "top", Options{URL: serve(t, answering(exportOf(members...))), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.documents, got.documents); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.objects, got.objects); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// answering answers the text to whoever asks for the export, and no counts.
func answering(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if r.URL.Query().Has("counts") {
			_, _ = io.WriteString(w, "{}")
			return
		}
		_, _ = io.WriteString(w, text)
	})
}

func TestFolderTrouble(t *testing.T) {
	folders := []madeFolder{
		{"top", "top", "deep", "u1"}, {"mid", "mid", "top", "u1"}, {"deep", "deep", "mid", "u1"}, // a circle
		{"self", "self", "self", "u1"}, {"hollow", "hollow", "top", "u1"},
	}
	files := []madeFile{{"1", "gone", "gone.txt", "hollow"}, {"2", "twice", "a", "mid"}, {"3", "twice", "b", "mid"}, {"4", "un", "", "deep"}, {"5", "a/b", "", "mid"}, {"6", "short", "", "mid"}}
	list := listing{errors: []error{&datasource.Skipped{Key: "un", Reason: "it is no regular file"}}}
	for _, o := range objectsOf(files).objects {
		switch o.Key {
		case "short":
			o.Size = 1
			list.objects = append(list.objects, o)
		case "twice":
			if len(list.objects) == 0 {
				list.objects = append(list.objects, o)
			}
		}
	}
	options := Options{URL: serve(t, ziplineWith(instanceOf(folders, files))), Datasource: list}
	sink, _, err := folderSnapshot(t, "top", options)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"note cycle top", "problem bad-name a/b", "problem duplicate-name twice", "problem missing top/hollow/gone.txt", "problem size short", "problem unreadable top/mid/deep/un",
	}
	if diff := cmp.Diff(want, sink.short()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	paths := []string{"top/hollow/", "top/mid/a", "top/mid/b", "top/mid/deep/", "top/mid/short"}
	if diff := cmp.Diff(paths, slices.Sorted(maps.Keys(sink.objects))); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if _, _, err := folderSnapshot(t, "self", options); err != nil {
		t.Errorf("a folder in itself: %v", err)
	}
	if _, _, err := folderSnapshot(t, "no such", options); failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
		t.Errorf("no folder: %v", err)
	}
	options.Datasource = listing{}
	empty, _, err := folderSnapshot(t, "top", options)
	if err != nil || !slices.Contains(empty.short(), "problem suspicious ") {
		t.Errorf("an empty datasource: %v, %v", empty.short(), err)
	}
}

// TestFolderDeep has 3000 folders in one another: nothing gets a path that no file system has, and nothing is lost.
func TestFolderDeep(t *testing.T) {
	var folders []madeFolder
	for i := range 3000 {
		folder := madeFolder{id: fmt.Sprintf("f%04d", i), name: "a folder in a folder", user: "u1"}
		if i > 0 {
			folder.parent = folders[i-1].id
		}
		folders = append(folders, folder)
	}
	files := []madeFile{{"1", "s1", "bottom.txt", "f2999"}}
	began := time.Now()
	sink, _, err := folderSnapshot(t, "f0000", Options{URL: serve(t, ziplineWith(instanceOf(folders, files))), Datasource: objectsOf(files)})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	m, err := readFolderMap(strings.NewReader(sink.documents[folderDocument]))
	if err != nil || len(m.folders) != 3000 || len(m.files) != 1 {
		t.Fatalf("%v: %+v", err, m)
	}
	paths := map[string]bool{}
	for _, f := range m.folders {
		if len(f.Path) > maxFolderPath+255 || paths[f.Path] {
			t.Fatalf("%q has %d bytes, or is there twice", f.Path, len(f.Path))
		}
		paths[f.Path] = true
	}
}

func TestReadFolderMap(t *testing.T) {
	head := `{"format":1,"zipline":"4.6.3","folder":"t","path":"ann:t",`
	for text, want := range map[string]failure.Kind{
		head + `"folders":[{"id":"t","name":"t","path":"t/"}],"files":[]}`:                                                     failure.Internal,
		head + `"folders":[{"id":"t","name":"t","path":"t/"}],"files":[{"stored":"s","name":null,"path":"t/s","folder":"t"}]}`: failure.Internal,
		`{"format":2,"folders":{}}`:           failure.Invalid,
		`{"folders":[]}`:                      failure.Corrupt,
		`[]`:                                  failure.Corrupt,
		``:                                    failure.Corrupt,
		head:                                  failure.Corrupt,
		head + `"folders":[],"files":[]}`:     failure.Corrupt,
		head + `"folders":[null],"files":[]}`: failure.Corrupt,
		head + `"folders":7,"files":[]}`:      failure.Corrupt,
		head + `"folders":[{"id":"x"}],"files":[]}`:                                        failure.Corrupt,
		head + `"folders":[{"id":"t"},{"id":"t","parent":"t"}],"files":[]}`:                failure.Corrupt,
		head + `"folders":[{"id":"t"},{"id":"a","parent":"b"},{"id":"b","parent":"a"}]}`:   failure.Corrupt,
		head + `"folders":[{"id":"t"}],"files":[{"stored":"s","path":"p","folder":"no"}]}`: failure.Corrupt,
		head + `"folders":[{"id":"t","name":"` + strings.Repeat("x", 2<<20) + `"}]}`:       failure.Corrupt,
	} {
		_, err := readFolderMap(strings.NewReader(text))
		if (want == failure.Internal) != (err == nil) || err != nil && failure.KindOf(err) != want {
			t.Errorf("%.90s: %v", text, err)
		}
	}
}

func FuzzReadFolderMap(f *testing.F) {
	f.Add(`{"format":1,"zipline":"4","folder":"t","path":"t","folders":[{"id":"t","name":"t","path":"t/"}],"files":[{"stored":"s","path":"t/s","folder":"t"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := readFolderMap(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, file := range m.files {
			if file.folder == nil {
				t.Error("a file lies nowhere")
			}
		}
	})
}

func FuzzSafe(f *testing.F) {
	for _, name := range []string{"a", "..", "a/b", "x. ", strings.Repeat("%2F/", 100), strings.Repeat("д", 200) + ".jpg"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = strings.ToValidUTF8(name, "\uFFFD") // as JSON gives it
		for _, file := range []bool{true, false} {
			if got := safe(name, file); !archivable(got) || strings.Contains(got, "/") || len(got) > maxName || strings.TrimRight(got, ". ") != got && len(got) < maxName-20 {
				t.Errorf("%q is made %q", name, got)
			}
		}
	})
}
