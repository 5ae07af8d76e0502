package zipline

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// TestSchema holds odd exports against the findings they give. Nothing of it ends the run.
func TestSchema(t *testing.T) {
	files := func(rows ...string) string { return exportOf(`"files":[` + strings.Join(rows, ",") + `]`) }
	good := fileRow("1", `"a"`, "1")
	odd := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q is not in the row", old)
		}
		return changed
	}
	tests := []struct {
		name, export string
		want         []string
	}{
		{"good", files(good), nil},
		{
			"unknown key", files(odd(`"views"`, `"new":1,"views"`), odd(`"views"`, `"new":2,"views"`)),
			[]string{"note unknown-key data.files[].new"},
		},
		{"wrong type", files(odd(`"size":1`, `"size":"1"`)), []string{"problem schema data.files[].size"}},
		{"missing key", files(odd(`"favorite":false,`, ``)), []string{"problem schema data.files[].favorite"}},
		{"absent optional key", files(odd(`"folderId":null`, `"x":0`)), []string{"note unknown-key data.files[].x"}},
		{"null where none may be", files(odd(`"type":"text/plain"`, `"type":null`)), []string{"problem schema data.files[].type"}},
		{"no object", files("7"), []string{"problem schema data.files[]"}},
		{"huge number", files(odd(`"views":0`, `"views":1e999999999`)), []string{"problem schema data.files[].views"}},
		{"role", exportOf(`"users":[{"id":"1","createdAt":"2026-01-01T00:00:00.000Z","username":"a","role":"ROOT","view":{}}]`), []string{"problem schema data.users[].role"}},
		{"ids", exportOf(`"userTags":[{"id":"1","createdAt":"2026-01-01T00:00:00.000Z","name":"a","files":["a",1,2],"userId":"u"}]`), []string{"problem schema data.userTags[].files[]"}},
		{"unknown list", exportOf(`"webhooks":[{"a":1},{"b":[2]}]`), []string{"note unknown-key data.webhooks"}},
		{"unknown object", exportOf(`"webhooks":{"a":{"b":1},"c":[]}`), []string{"note unknown-key data.webhooks"}},
		{"unknown value", exportOf(`"webhooks":true`), []string{"note unknown-key data.webhooks"}},
		{"unknown top key", strings.Replace(exportOf(), `"data"`, `"more":{"a":[1,{}]},"data"`, 1), []string{"note unknown-key more"}},
		{"number as version", strings.Replace(exportOf(), `"export":"4"`, `"export":4`, 1), []string{"problem schema versions.export"}},
		{"settings", exportOf(`"settings":[]`), []string{"problem schema data.settings"}},
		{"no settings", strings.Replace(exportOf(), `"settings"`, `"setings"`, 1), []string{"note unknown-key data.setings", "problem schema data.settings"}},
		{"env", strings.Replace(exportOf(), `{"A":"b"}`, `{"A":1}`, 1), []string{"problem schema request.env.A"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := Options{Metrics: true, Datasource: listing{objects: []app.Object{{Key: "a", Size: 1}}}}
			sink, _, err := snapshot(t, exportOnly(test.export), source)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, f := range sink.short() {
				if strings.Contains(f, "schema") || strings.Contains(f, "unknown-key") {
					got = append(got, f)
				}
			}
			if diff := cmp.Diff(test.want, got, cmp.Transformer("nil", func(s []string) string { return strings.Join(s, "\n") })); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if sink.documents["export.json"] != test.export || !sink.secret["export.json"] {
				t.Error("the export was not kept as it came")
			}
		})
	}
}

func TestSchemaGroups(t *testing.T) {
	rows := []string{}
	for i := range 5000 {
		rows = append(rows, strings.Replace(fileRow(fmt.Sprint("id", i), `"a"`, `"x"`), `"views"`, fmt.Sprintf(`"k%d":1,"views"`, i), 1))
	}
	e, err := readExport(strings.NewReader(exportOf(`"files":[`+strings.Join(rows, ",")+`]`)), true)
	if err != nil {
		t.Fatal(err)
	}
	found := e.findings()
	if len(found) != maxOddities+1 {
		t.Errorf("%d findings", len(found))
	}
	for _, f := range found {
		if f.Item == "data.files[].size" && !strings.Contains(f.Message, `in 5000 rows, first in row "id0"`) {
			t.Errorf("%s", f.Message)
		}
	}
}

// TestMatching holds rows and objects against the findings they give.
func TestMatching(t *testing.T) {
	thumb := `"thumbnails":[{"id":"t","createdAt":"2026-01-01T00:00:00.000Z","path":".thumbnail.1.jpg","fileId":"1"}]`
	row := func(name, size string) string { return fileRow("1", name, size) }
	old, late := exported.Add(-time.Hour), exported.Add(time.Hour)
	object := func(key string, size int64) app.Object { return app.Object{Key: key, Size: size, Modified: old} }
	tests := []struct {
		name   string
		data   string
		source listing
		want   []string
		paths  []string
	}{
		{
			"match", `"files":[` + row(`"a"`, "3") + `],` + thumb,
			listing{objects: []app.Object{object(".thumbnail.1.jpg", 9), object("a", 3)}},
			nil,
			[]string{"uploads/.thumbnail.1.jpg thumbnail", "uploads/a "},
		},
		{
			"missing", `"files":[` + row(`"a"`, "3") + `,` + row(`"b"`, "3") + `],` + thumb,
			listing{objects: []app.Object{object("b", 3)}},
			[]string{"note missing-thumbnail .thumbnail.1.jpg", "problem missing a"},
			[]string{"uploads/b "},
		},
		{
			"size", `"files":[` + row(`"a"`, "4") + `]`,
			listing{objects: []app.Object{object("a", 3)}},
			[]string{"problem size a"},
			[]string{"uploads/a "},
		},
		{
			"chunked", `"files":[` + row(`"a"`, "0") + `]`,
			listing{objects: []app.Object{object("a", 3)}},
			[]string{"problem size a"},
			[]string{"uploads/a "},
		},
		{"size as 3e0", `"files":[` + row(`"a"`, "3e0") + `]`, listing{objects: []app.Object{object("a", 3)}}, nil, []string{"uploads/a "}},
		{
			"orphans", `"files":[]`,
			listing{objects: []app.Object{object("sub/a", 3), {Key: "new", Modified: late}, object(".thumbnail.x.png", 1)}},
			[]string{"note newer new", "note orphan .thumbnail.x.png", "note orphan sub/a"},
			[]string{"uploads/.thumbnail.x.png thumbnail", "uploads/new ", "uploads/sub/a "},
		},
		{
			"probe", `"files":[]`,
			listing{objects: []app.Object{object("aB3dE6gH9j-zipline", 10), object("x-zipline", 10), object("0123456789-zipline", 1000)}},
			[]string{"note orphan 0123456789-zipline", "note orphan x-zipline", "note probe aB3dE6gH9j-zipline"},
			[]string{"uploads/0123456789-zipline ", "uploads/x-zipline "},
		},
		{
			"same name", `"files":[` + row(`"a"`, "3") + `,` + row(`"a"`, "4") + `]`,
			listing{objects: []app.Object{object("a", 4)}},
			[]string{"problem duplicate-name a"},
			[]string{"uploads/a "},
		},
		{
			"same name, missing", `"files":[` + row(`"a"`, "3") + `,` + row(`"a"`, "4") + `]`,
			listing{objects: []app.Object{object("b", 4)}},
			[]string{"note orphan b", "problem duplicate-name a", "problem missing a"},
			[]string{"uploads/b "},
		},
		{
			"bad rows", `"files":[` + row(`".."`, "3") + `,` + row(`""`, "3") + `,` + row(`"../b"`, "3") + `,` + row(`"a\u0000"`, "3") + `]`,
			listing{objects: []app.Object{object("ok", 1)}},
			[]string{"note orphan ok", "problem bad-name ", "problem bad-name ..", "problem bad-name ../b", "problem bad-name a\x00"},
			[]string{"uploads/ok "},
		},
		{
			"bad keys", `"files":[` + row(`"a\\b"`, "3") + `]`,
			listing{objects: []app.Object{object(`a\b`, 3), object("a\nb", 1), object("../a", 1), object("a//b", 1), object("\xff", 1), object("a/./b", 1), object("/a", 1), object(strings.Repeat("x", 65530), 1)}},
			[]string{"problem bad-name ../a", "problem bad-name /a", "problem bad-name \xff", "problem bad-name a\nb", "problem bad-name a/./b", "problem bad-name a//b", `problem bad-name a\b`, "problem bad-name " + strings.Repeat("x", 1024) + "…"},
			nil,
		},
		{
			"names that are data", `"files":[` + row(`"a:b ü é 🌊.txt"`, "1") + `,` + row(`"A"`, "1") + `,` + row(`"a"`, "1") + `,` + row(`".env"`, "1") + `]`,
			listing{objects: []app.Object{object("a:b ü é 🌊.txt", 1), object("A", 1), object("a", 1), object(".env", 1)}},
			nil,
			[]string{"uploads/.env ", "uploads/A ", "uploads/a ", "uploads/a:b ü é 🌊.txt "},
		},
		{
			"unreadable", `"files":[` + row(`"a"`, "3") + `]`,
			listing{errors: []error{&datasource.Skipped{Key: "a", Reason: "it is a symbolic link"}}},
			[]string{"problem unreadable a"},
			nil,
		},
		{"empty", `"files":[` + row(`"a"`, "3") + `]`, listing{}, []string{"problem missing a", "problem suspicious "}, nil},
		{"nothing at all", `"files":[]`, listing{}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sink, _, err := snapshot(t, ziplineWith(exportOf(test.data)), Options{Metrics: true, Datasource: test.source})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(test.want)
			if diff := cmp.Diff(strings.Join(test.want, "\n"), strings.Join(sink.short(), "\n")); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			paths := map[string]bool{}
			for path, object := range sink.objects {
				paths[path+" "+object.Type] = true
			}
			want := map[string]bool{}
			for _, path := range test.paths {
				want[path] = true
			}
			if diff := cmp.Diff(want, paths); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListingFails(t *testing.T) {
	_, _, err := snapshot(t, ziplineWith(exportOf()), Options{
		Metrics: true, Datasource: datasource.NewFolder(filepath.Join(t.TempDir(), "none"), nil),
	})
	checkError(t, err, failure.NotFound, "does not exist", "mounted")
}

// TestCounts holds the export against counts before and after it.
func TestCounts(t *testing.T) {
	tests := []struct{ name, before, after, want string }{
		{"equal", `{"files":3,"urls":0}`, ``, ""},
		{"ownerless urls", `{"files":3,"urls":5}`, ``, "note counts urls"},
		{"one more", `{"files":4}`, `{"files":4}`, "note counts files"},
		{"one less", `{"files":2}`, `{"files":2}`, "note counts files"},
		{"rows are missing", `{"files":9}`, `{"files":9}`, "problem counts files"},
		{"deleted meanwhile", `{"files":9}`, `{"files":3}`, "note counts files"},
		{"made meanwhile", `{"files":0}`, `{"files":30}`, "note counts files"},
		{"fails the second time", `{"files":9}`, `nonsense`, "problem counts files"},
		{"doesn't count", `{"versions":{}}`, ``, "note counts export.json"},
	}
	rows := fileRow("1", `"a"`, "1") + "," + fileRow("2", `"b"`, "1") + "," + fileRow("3", `"c"`, "1")
	objects := []app.Object{{Key: "a", Size: 1}, {Key: "b", Size: 1}, {Key: "c", Size: 1}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				answer := exportOf(`"files":[` + rows + `]`)
				if r.URL.Query().Has("counts") {
					answer = []string{test.before, test.after}[asked]
					asked++
				}
				fmt.Fprint(w, answer)
			})
			sink, _, err := snapshot(t, handler, Options{Datasource: listing{objects: objects}})
			if got := strings.Join(sink.short(), "\n"); err != nil || got != test.want {
				t.Errorf("findings %q, want %q; %v", got, test.want, err)
			}
			if test.after == "" && asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// TestOldQuery goes on where Zipline refuses to count.
func TestOldQuery(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("counts") {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"querystring/counts Unrecognized key","statusCode":400,"code":1000}`)
			return
		}
		fmt.Fprint(w, exportOf())
	})
	if sink, _, err := snapshot(t, handler, Options{}); err != nil || len(sink.documents) != 1 {
		t.Errorf("%v", err)
	}
}

// TestMetrics asks for the export in the only two ways that do what they say.
func TestMetrics(t *testing.T) {
	for _, test := range []struct {
		metrics bool
		scope   backup.Scope
		want    string
	}{{true, backup.Scope{}, ""}, {false, backup.Scope{}, "nometrics=true"}, {true, backup.Scope{NoMetrics: true}, "nometrics=true"}} {
		var queries []string
		inner := ziplineWith(exportOf(`"metrics":[{"id":"m","createdAt":"2026-01-01T00:00:00.000Z","data":{"users":0,"files":0,"fileViews":0,"urls":0,"urlViews":0,"storage":0,"filesUsers":[],"urlsUsers":[],"types":[]}}]`))
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			queries = append(queries, r.URL.RawQuery)
			inner.ServeHTTP(w, r)
		}))
		source, err := New(Options{URL: url, Token: secret.New("stand-in-token-of-the-superadmin"), Datasource: listing{}, Metrics: test.metrics})
		if err != nil {
			t.Fatal(err)
		}
		sink := newRecord()
		facts, err := source.Snapshot(t.Context(), test.scope, sink)
		if err != nil || len(sink.found) != 0 {
			t.Errorf("%v, %v", sink.found, err)
		}
		if diff := cmp.Diff([]string{"counts=true", test.want}, queries); diff != "" {
			t.Errorf("queries (-want +got):\n%s", diff)
		}
		if (facts.Counts["metrics"] == 1) != (test.want == "") {
			t.Errorf("counts: %v", facts.Counts)
		}
	}
}

func TestConfigFiles(t *testing.T) {
	folder := t.TempDir()
	env := filepath.Join(folder, ".env")
	if err := os.WriteFile(env, []byte("CORE_SECRET=x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, _, err := snapshot(t, ziplineWith(exportOf()), Options{Metrics: true, ConfigFiles: []string{env, filepath.Join(folder, "none.yml"), folder}})
	if err != nil {
		t.Fatal(err)
	}
	if sink.documents["config/.env"] != "CORE_SECRET=x" || !sink.secret["config/.env"] {
		t.Errorf("documents: %v", sink.documents)
	}
	want := []string{"problem config config/" + filepath.Base(folder), "problem config config/none.yml"}
	if diff := cmp.Diff(want, sink.short()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestSinkFails(t *testing.T) {
	full := errors.New("the disk is full")
	source, err := New(Options{URL: serve(t, ziplineWith(exportOf())), Token: secret.New("stand-in-token-of-the-superadmin"), Datasource: listing{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Snapshot(t.Context(), backup.Scope{}, refusing{newRecord(), full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
