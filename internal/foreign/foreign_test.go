package foreign_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/foreign"
	"lifeboat/internal/manifest"
	"lifeboat/internal/zipcheck"
)

// member is one entry of a ZIP that a test makes: its name and its content.
type member struct{ name, content string }

// archive writes a ZIP, each entry compressed.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	return packed(t, zip.Deflate, members...)
}

func packed(t testing.TB, method uint16, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		header := &zip.FileHeader{Name: m.name, Method: method, Modified: time.Date(2026, 11, 21, 20, 15, 2, 0, time.UTC)}
		if strings.HasSuffix(m.name, "/") {
			header.Method = zip.Store
		}
		f, err := w.CreateHeader(header)
		if err == nil {
			_, err = io.WriteString(f, m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, data []byte) (*foreign.Archive, error) {
	t.Helper()
	return foreign.Open(t.Context(), bytes.NewReader(data), int64(len(data)), "some.zip")
}

func opened(t testing.TB, data []byte) *foreign.Archive {
	t.Helper()
	a, err := open(t, data)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	return a
}

func checked(t testing.TB, data []byte) *foreign.Archive {
	t.Helper()
	a := opened(t, data)
	if err := a.Check(t.Context(), nil); err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	return a
}

func entries(t testing.TB, a *foreign.Archive) []manifest.Entry {
	t.Helper()
	var all []manifest.Entry
	for e, err := range a.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// short returns an entry as "path < key", with d for a document, s for a secret, and its type.
func short(all []manifest.Entry) []string {
	lines := []string{}
	for _, e := range all {
		line := e.Path
		if e.Document {
			line += " d"
		}
		if e.Secret {
			line += "s"
		}
		if e.Origin != nil {
			line += " < " + e.Origin.Key
		}
		lines = append(lines, strings.TrimSpace(line+" "+e.Type))
	}
	return lines
}

func findings(a *foreign.Archive) []string {
	all := []string{}
	for _, f := range a.Findings {
		all = append(all, strings.TrimSpace(string(f.Severity)+" "+f.Kind+" "+f.Item))
	}
	return all
}

// refused checks an error's kind, its words, and that it says what to do.
func refused(t testing.TB, err error, kind failure.Kind, words ...string) {
	t.Helper()
	if err == nil || failure.KindOf(err) != kind {
		t.Fatalf("%v: kind %v, want %v", err, failure.KindOf(err), kind)
	}
	for _, word := range append(words, "some.zip") {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q doesn't speak of %q", err, word)
		}
	}
	if failure.HintOf(err) == "" {
		t.Errorf("%q has no hint", err)
	}
}

const (
	v4       = `{"versions":{"zipline":"4.6.3","node":"v24.21.0","export":"4"},"request":{"env":{"CORE_SECRET":"x"}},"data":{"settings":{"a":[1,{"b":"}"}]},"users":[{"id":"1"},{"id":"2","avatar":"\"]"}],"files":[{"id":"3","n":[[]]}],"folders":[]}}`
	v4Sorted = `{ "data": {"users": [ {"x": "\\"} ]}, "request": {}, "versions": {"export": "4", "node": "v24", "zipline": "4.5.0"} }`
	v3       = `{"versions":{"zipline":"3.7.12","node":"v18","export":"3"},"user_map":{"1":"abc"},"users":{"abc":{"username":"mara"}},"files":{"d":{},"e":{}},"stats":[{}]}`
	created  = `{"n":{"t":"AppCreatedEvent","s":"app-1","p":"{}","h":{}},"data":null}`
	created1 = `{"n":null,"data":{"type":"AppCreatedEvent","payload":{}}}`
)

// TestKinds tells what archives are by what is in them.
func TestKinds(t *testing.T) {
	sid := "TWZ30a40x24bcV16afkpu"
	for name, c := range map[string]struct {
		members  []member
		kind     string
		why      string
		entries  []string
		findings []string
	}{
		"Zipline with uploads": {
			members: []member{{"uploads/", ""}, {"uploads/a:b.png", "1"}, {"uploads/.thumbnail.3.jpg", "2"}, {"my export.JSON", v4}, {"uploads/x.json", "{}"}},
			kind:    "zipline", why: "my export.JSON is an export of Zipline 4.6.3 (format 4), and there are 3 files",
			entries: []string{"uploads/a:b.png < a:b.png", "uploads/.thumbnail.3.jpg < .thumbnail.3.jpg thumbnail", "export.json ds", "uploads/x.json < x.json"},
		},
		"Zipline beside its files": {
			members: []member{{"e.json", v4Sorted}, {"a.png", "1"}, {"export.json", "{}"}, {"sub/README", "x"}},
			kind:    "zipline", why: "Zipline 4.5.0",
			entries:  []string{"export.json ds", "uploads/a.png < a.png", "uploads/export.json < export.json", "sub/README d"},
			findings: []string{"note other-files"},
		},
		"Zipline in a folder": {
			members: []member{{"backup/", ""}, {"backup/export.json", v3}, {"backup/uploads/a", "1"}, {"__MACOSX/backup/._export.json", "x"}},
			kind:    "zipline", why: "backup/export.json is an export of Zipline 3.7.12 (format 3)",
			entries:  []string{"export.json ds", "uploads/a < a", "__MACOSX/backup/._export.json d"},
			findings: []string{"note other-files"},
		},
		"Zipline without files": {
			members: []member{{"export.json", v4}}, kind: "zipline", entries: []string{"export.json ds"},
			findings: []string{"problem no-objects uploads/"},
		},
		"two exports": {
			members: []member{{"a.json", v4}, {"b.json", v3}, {"uploads/x", "1"}}, why: "several exports of Zipline, a.json and b.json",
			entries: []string{"a.json < a.json", "b.json < b.json", "uploads/x < uploads/x"},
		},
		"its name is taken": {
			members: []member{{"a.json", v4}, {"export.json", "{}"}, {"uploads/x", "1"}}, why: "another file would get its name",
			entries: []string{"a.json < a.json", "export.json < export.json", "uploads/x < uploads/x"},
		},
		"other JSON": {
			members: []member{
				{"a.json", `[` + v4 + `]`},
				{"b.json", `{"versions":{"zipline":"4"},"data":{}}`},
				{"c.json", `{"versions":{"zipline":"4","export":"5"}}`},
				{"d.json", `{"versions"`},
				{"e.json", ""},
				{"f.json", `{"versions":[{"zipline":"1","export":"4"}]}`},
				{"g.json", `}}{`},
				{"h.json", `{"a":}`},
			},
			entries: []string{
				"a.json < a.json", "b.json < b.json", "c.json < c.json", "d.json < d.json", "e.json < e.json", "f.json < f.json", "g.json < g.json", "h.json < h.json",
			},
		},
		"Zipline's folder ZIP": {
			members: []member{{"deBTGj.png", "1"}, {"2024/M3d4r1.png", "2"}},
			entries: []string{"deBTGj.png < deBTGj.png", "2024/M3d4r1.png < 2024/M3d4r1.png"},
		},
		"Squidex": {
			members: []member{
				{"attachments/327/version.json", `{"major":5}`},
				{"attachments/283/a_0.asset", "x"},
				{"events/0/0.json", created},
				{"events/0/1.json", created},
				{"attachments/522/settings.json", "{}"},
				{"attachments/135/users.json", "{}"},
				{"attachments/283/a_0.asset", "the second of this name"},
			},
			kind: "squidex", why: "2 events, 4 attachments",
			entries: []string{
				"attachments/327/version.json ds", "attachments/283/a_0.asset < attachments/283/a_0.asset asset", "events/0/0.json ds", "events/0/1.json ds",
				"attachments/522/settings.json ds", "attachments/135/users.json ds",
			},
		},
		"Squidex, torn": {
			members: []member{{"events/0/0.json", created1}, {"events/0/2.json", "{}"}, {"events/0/03.json", "{}"}},
			kind:    "squidex", why: "2 events", entries: []string{"events/0/0.json ds", "events/0/2.json ds", "events/0/03.json ds"},
			findings: []string{"problem missing-event events/0/1.json", "problem missing attachments/522/settings.json", "problem missing attachments/135/users.json"},
		},
		"Squidex, headless": {
			members: []member{{"events/0/0.json", strings.Replace(created, "AppCreated", "AppUpdated", 1)}, {"attachments/522/settings.json", "{}"}, {"attachments/135/users.json", "{}"}},
			kind:    "squidex", entries: []string{"events/0/0.json ds", "attachments/522/settings.json ds", "attachments/135/users.json ds"},
			findings: []string{"problem first-event events/0/0.json"},
		},
		"other events": {
			members: []member{{"events/0/0.json", `{"n":1}`}}, entries: []string{"events/0/0.json < events/0/0.json"},
		},
		"Labii": {
			members: []member{{sid + "/versions/369b0a40x29f50ejotyD_8", "{}"}, {sid + "/FL143: FL154_ Small Workbook.xlsx", "x"}, {sid + "/C1: " + strings.Repeat("n", 400), "y"}},
			kind:    "labii", why: "1 versions of records, 2 files",
			entries: []string{
				sid + "/versions/369b0a40x29f50ejotyD_8 ds", sid + "/FL143: FL154_ Small Workbook.xlsx < " + sid + "/FL143: FL154_ Small Workbook.xlsx",
				sid + "/C1: " + strings.Repeat("n", 400) + " < " + sid + "/C1: " + strings.Repeat("n", 400),
			},
			findings: []string{"note no-tables"},
		},
		"one folder": {
			members: []member{{"versions12/versions/readme_1.txt", "x"}, {"versions12/FL1: x", "y"}},
			entries: []string{"versions12/versions/readme_1.txt < versions12/versions/readme_1.txt", "versions12/FL1: x < versions12/FL1: x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := archive(t, c.members...)
			a := opened(t, data)
			before := a.Digest()
			if err := a.Check(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if a.Kind != c.kind || !strings.Contains(a.Why, c.why) || a.Why == "" {
				t.Errorf("kind %q: %s", a.Kind, a.Why)
			}
			if diff := cmp.Diff(c.entries, short(entries(t, a))); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{}, c.findings...), findings(a)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if a.Digest() != before {
				t.Error("Check has changed the digest")
			}
			readable(t, a, data)
			readable(t, a.Plain(), data)
		})
	}
}

// readable reads every entry where it lies, and holds what the entries say against it.
func readable(t *testing.T, a *foreign.Archive, data []byte) {
	t.Helper()
	offset := int64(-1)
	for _, e := range entries(t, a) {
		spot, err := a.Locate(e.Path)
		if err != nil || spot.Offset <= offset || spot.Stored != e.StoredSize() || spot.Deflated != (e.Deflated != nil) {
			t.Errorf("%s: %+v, %v", e.Path, spot, err)
		}
		offset = spot.Offset
		content := data[spot.Offset : spot.Offset+spot.Stored]
		if spot.Deflated {
			content, err = io.ReadAll(flate.NewReader(bytes.NewReader(content)))
		}
		if err != nil || int64(len(content)) != e.Size || manifest.CRC(crc32.ChecksumIEEE(content)) != e.CRC32 {
			t.Errorf("%s: %d bytes, %v", e.Path, len(content), err)
		}
		if sum := sha256.Sum256(content); e.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: the SHA-256 is %q", e.Path, e.SHA256)
		}
		if e.Modified.Year() != 2026 {
			t.Errorf("%s is of %s", e.Path, e.Modified)
		}
	}
	for _, path := range []string{"", "no such entry"} {
		if _, err := a.Locate(path); failure.KindOf(err) != failure.NotFound {
			t.Errorf("locate %q, which is not there: %v", path, err)
		}
	}
}

// TestPlain keeps the names, and folders, of an archive that was recognised.
func TestPlain(t *testing.T) {
	a := checked(t, archive(t, member{"uploads/", ""}, member{"e.json", v4}, member{"uploads/a", "1"}))
	p := a.Plain()
	if diff := cmp.Diff([]string{"uploads/ < uploads/", "e.json < e.json", "uploads/a < uploads/a"}, short(entries(t, p))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if p.Kind != "" || a.Kind != "zipline" || a.Facts.Counts["users"] != 2 || len(entries(t, a)) != 2 {
		t.Errorf("kinds %q and %q, facts %+v", p.Kind, a.Kind, a.Facts)
	}
}

// TestFacts counts the rows of exports, and only those.
func TestFacts(t *testing.T) {
	for content, want := range map[string]map[string]int64{
		v4: {"users": 2, "files": 1, "folders": 0}, v4Sorted: {"users": 1}, v3: {"users": 1, "files": 2, "stats": 1},
	} {
		a := opened(t, archive(t, member{"e.json", content}))
		if a.Facts.Version == "" || a.Facts.Counts != nil || !a.Facts.Secrets {
			t.Errorf("before the check: %+v", a.Facts)
		}
		if err := a.Check(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, a.Facts.Counts); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	}
}

// TestDigests names equal archives equally, and others otherwise.
func TestDigests(t *testing.T) {
	a := checked(t, archive(t, member{"a", "1"}, member{"b", "2"}))
	for name, members := range map[string][]member{
		"another content": {{"a", "1"}, {"b", "3"}}, "another name": {{"a", "1"}, {"c", "2"}}, "one more": {{"a", "1"}, {"b", "2"}, {"c", ""}},
		"another order": {{"b", "2"}, {"a", "1"}},
	} {
		if checked(t, archive(t, members...)).Digest() == a.Digest() {
			t.Errorf("%s: the same digest", name)
		}
	}
	if checked(t, packed(t, zip.Store, member{"a", "1"}, member{"b", "2"})).Digest() != a.Digest() {
		t.Error("compression has changed the digest")
	}
}

// TestRefused refuses what is not to be used, with a kind and a sentence.
func TestRefused(t *testing.T) {
	good := archive(t, member{"a", strings.Repeat("content ", 100)})
	flipped := bytes.Clone(packed(t, zip.Store, member{"a", "content"}))
	flipped[bytes.Index(flipped, []byte("content"))] ^= 1
	for name, c := range map[string]struct {
		data  []byte
		kind  failure.Kind
		words []string
	}{
		"nothing in it":       {archive(t), failure.Invalid, []string{"holds nothing"}},
		"no bytes":            {nil, failure.Invalid, []string{"empty"}},
		"no ZIP":              {[]byte("hello, world, this is a text and no ZIP"), failure.Corrupt, []string{"unreadable"}},
		"cut off":             {good[:len(good)-30], failure.Corrupt, []string{"unreadable"}},
		"leads out":           {archive(t, member{"../a", "1"}), failure.Corrupt, []string{"nonlocal: entry 0, ../a: "}},
		"two lead out":        {archive(t, member{"a", "1"}, member{"../a", "1"}, member{"../b", "1"}), failure.Corrupt, []string{"nonlocal: entry 1, ../a: ", "(and 1 more)"}},
		"a web page":          {[]byte("\ufeff\r\n<!DOCTYPE HTML><title>Sign in</title>"), failure.Invalid, []string{"is a web page, not a ZIP"}},
		"an old web page":     {[]byte("<!-- made by hand -->\n<HTML lang=de>"), failure.Invalid, []string{"is a web page, not a ZIP"}},
		"what a store says":   {[]byte("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), failure.Invalid, []string{"is an XML document, not a ZIP"}},
		"less than a text":    {[]byte("<3 archives"), failure.Corrupt, []string{"unreadable: there is no end record"}},
		"a forged manifest":   {archive(t, member{"a", "1"}, member{manifest.PathInArchive, "{}"}), failure.Corrupt, []string{"forged"}},
		"a forged seal":       {archive(t, member{"Lifeboat/Backup.json", "{}"}), failure.Corrupt, []string{"forged"}},
		"forged and rejected": {archive(t, member{manifest.SealInArchive, "{}"}, member{"../a", "1"}), failure.Corrupt, []string{"forged"}},
		"a bare export":       {[]byte(" \n" + v4), failure.Invalid, []string{"export of Zipline 4.6.3", "without its files"}},
		"a bare database":     {append([]byte("SQLite format 3\x00"), make([]byte, 100)...), failure.Invalid, []string{"SQLite"}},
		"other JSON":          {[]byte(`{"a":1}`), failure.Corrupt, []string{"unreadable"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.data)
			refused(t, err, c.kind, c.words...)
			if errors.Is(err, foreign.ErrOwn) != slices.Contains(c.words, "forged") {
				t.Errorf("%v: forged?", err)
			}
		})
	}
	if _, err := open(t, archive(t, member{"../a", "1"})); !strings.HasSuffix(failure.HintOf(err), foreign.Verify) {
		t.Errorf("the hint is %s", failure.HintOf(err))
	}
	a := opened(t, flipped)
	refused(t, a.Check(t.Context(), nil), failure.Corrupt, "read-error")
	if err := a.Refusal(); err == nil || a.Report().Verdict != zipcheck.Reject {
		t.Error("it is still to be used")
	}
	torn := opened(t, archive(t, member{"export.json", v4[:len(v4)-5]}))
	refused(t, torn.Check(t.Context(), nil), failure.Invalid, "ends in the middle")
}

// failing breaks off below an offset.
type failing struct {
	*bytes.Reader
	err error
}

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestSourceFails hands on what reading the file says.
func TestSourceFails(t *testing.T) {
	data := archive(t, member{"e.json", v4})
	why := failure.New(failure.Transient, "the store is away")
	if _, err := foreign.Open(t.Context(), failing{bytes.NewReader(data), why}, int64(len(data)), "some.zip"); !errors.Is(err, why) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := foreign.Open(ctx, bytes.NewReader(data), int64(len(data)), "some.zip")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := a.Check(ctx, nil); failure.KindOf(err) != failure.Canceled {
		t.Error(err)
	}
}

// fixtures returns the folder of recorded archives.
func fixtures(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("LIFEBOAT_FIXTURES")
	if folder == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	return folder
}

// TestFixtures recognises what the applications have written themselves; the Squidex archives are synthetic.
func TestFixtures(t *testing.T) {
	folder := fixtures(t)
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	full := checked(t, read("linkding/backup.zip"))
	if full.Kind != "linkding" || full.Facts.Counts["bookmarks"] != 200 || len(entries(t, full)) != 48 || len(full.Findings) != 4 {
		t.Errorf("linkding: %q, %+v, %d entries, %d findings", full.Kind, full.Facts, len(entries(t, full)), len(full.Findings))
	}
	_, err := open(t, read("linkding/failed-run-22-bytes.zip"))
	refused(t, err, failure.Invalid, "holds nothing")
	for _, version := range []string{"v1", "v2"} {
		a := checked(t, read("squidex/SYNTHETIC-"+version+".zip"))
		if a.Kind != "squidex" || a.Facts.Counts["events"] != 1059 || a.Facts.Counts["attachments"] != 24 || len(a.Findings) > 0 {
			t.Errorf("squidex %s: %q, %+v, %v", version, a.Kind, a.Facts, a.Findings)
		}
	}
	if a := checked(t, read("zipline/samples/31-folder-export.zip")); a.Kind != "" || len(entries(t, a)) != 11 {
		t.Errorf("a folder of Zipline: %q, %d entries", a.Kind, len(entries(t, a)))
	}
	_, err = open(t, read("zipline/export.json"))
	refused(t, err, failure.Invalid, "export of Zipline 4.6.3")
}

// TestZiplineFixture zips the recorded export with its uploads, as a person would.
func TestZiplineFixture(t *testing.T) {
	folder := filepath.Join(fixtures(t), "zipline")
	path := filepath.Join(t.TempDir(), "zipline.zip")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := zip.NewWriter(file)
	uploads, err := filepath.Glob(filepath.Join(folder, "uploads", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range append(uploads, filepath.Join(folder, "export.json")) {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(folder, source)
		method := zip.Store
		if strings.HasSuffix(name, ".json") {
			method = zip.Deflate
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: filepath.ToSlash(name), Method: method})
		if err == nil {
			_, err = to.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	a, err := foreign.Open(t.Context(), file, info.Size(), "some.zip")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{
		"users": 4, "userPasskeys": 1, "userQuotas": 2, "userOauthProviders": 2, "userTags": 5, "invites": 3,
		"folders": 15, "urls": 8, "files": 62, "thumbnails": 3, "metrics": 7,
	}
	if diff := cmp.Diff(counts, a.Facts.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	of := map[string]int{}
	for _, e := range entries(t, a) {
		of[e.Type]++
		if e.Document {
			of["document"]++
		}
	}
	if diff := cmp.Diff(map[string]int{"": 63, "thumbnail": 3, "document": 1}, of); diff != "" || a.Kind != "zipline" || len(a.Findings) > 0 {
		t.Errorf("%q, %v, entries (-want +got):\n%s", a.Kind, a.Findings, diff)
	}
	if a.Facts.Version != "4.6.3" {
		t.Errorf("%+v", a.Facts)
	}
}

// TestSamples opens every hostile and odd ZIP of the collection: what is rejected is refused with a kind and a hint, and
// the rest is readable or refused at Check. Nothing takes long or much memory.
func TestSamples(t *testing.T) {
	folder := filepath.Join(fixtures(t), "zips")
	index, err := os.ReadFile(filepath.Join(folder, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		sample := strings.Split(line, "\t")[0]
		t.Run(sample, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(folder, sample))
			if err != nil {
				t.Fatal(err)
			}
			report, err := zipcheck.Check(t.Context(), bytes.NewReader(data), int64(len(data)), zipcheck.Limits{}, zipcheck.Strict)
			if err != nil {
				t.Fatal(err)
			}
			count[outcome(t, data, report)]++
		})
	}
	t.Log(count)
	if count["refused"] < 100 || count["read"] < 80 {
		t.Errorf("%v", count)
	}
}

// outcome opens and checks one sample, and holds what comes of it against its strict report.
func outcome(t *testing.T, data []byte, report *zipcheck.Report) string {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 96<<20 {
			t.Errorf("it took %d bytes of memory", spent)
		}
	}()
	a, err := open(t, data)
	if err != nil {
		kind := failure.KindOf(err)
		if kind != failure.Corrupt && kind != failure.Invalid || failure.HintOf(err) == "" {
			t.Errorf("%v: kind %v, hint %q", err, kind, failure.HintOf(err))
		}
		if report.Verdict != zipcheck.Reject && len(report.Entries) > 0 {
			t.Errorf("refused what is %s: %v", report, err)
		}
		return "refused"
	}
	if report.Verdict == zipcheck.Reject && a.Kind == "" {
		t.Errorf("opened what is %s", report)
	}
	if err := a.Check(t.Context(), nil); err != nil {
		if failure.KindOf(err) != failure.Corrupt || failure.HintOf(err) == "" {
			t.Errorf("%v: hint %q", err, failure.HintOf(err))
		}
		return "refused at the check"
	}
	entries(t, a) // none of them is an error
	return "read"
}

// TestMany keeps to a bounded amount of memory for each entry.
func TestMany(t *testing.T) {
	const n = 20_000
	members := []member{{"export.json", v4}}
	for i := range n {
		members = append(members, member{fmt.Sprintf("uploads/file-%06d.png", i), ""})
	}
	data := packed(t, zip.Store, members...)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a := checked(t, data)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes for each entry", each)
	if all := len(entries(t, a)); each > 500 || all != n+1 {
		t.Errorf("%d bytes for each of %d entries", each, all)
	}
}

// FuzzExport reads any text as an export without harm, in both ways.
func FuzzExport(f *testing.F) {
	for _, text := range []string{v4, v4Sorted, v3, "{", `{"versions":{"export":"4","zipline":"x"},"data":{"users":[}]]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, content string) {
		a := opened(t, packed(t, zip.Store, member{"e.json", content}))
		if err := a.Check(t.Context(), nil); err != nil && failure.KindOf(err) != failure.Invalid {
			t.Error(err)
		}
		if json.Valid([]byte(content)) && a.Kind == "" && slices.ContainsFunc([]string{v4, v4Sorted, v3}, func(s string) bool { return s == content }) {
			t.Error("an export was not recognised")
		}
	})
}

// TestLinkdingDatabase tells a full_backup by its database: that of another program makes the archive one of no kind, an
// empty one is linkding's failed run.
func TestLinkdingDatabase(t *testing.T) {
	database := func(statements ...string) string {
		path := filepath.Join(t.TempDir(), "db.sqlite3")
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, s := range statements {
			if _, err := db.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	data := archive(t, member{"db.sqlite3", database("CREATE TABLE other(x)")}, member{"assets/a", "1"})
	a := opened(t, data)
	if a.Kind != "linkding" {
		t.Fatalf("%q: %s", a.Kind, a.Why)
	}
	if err := a.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if a.Kind != "" || !strings.Contains(a.Why, "not linkding's") || a.Facts.Application != "" {
		t.Errorf("%q: %s; %+v", a.Kind, a.Why, a.Facts)
	}
	readable(t, a, data)
	empty := opened(t, archive(t, member{"db.sqlite3", database("CREATE TABLE x(y)", "DROP TABLE x")}))
	refused(t, empty.Check(t.Context(), nil), failure.Corrupt, "empty")
}

// TestScanBounded gives up on files that say nothing for too long, and still finds the export among many.
func TestScanBounded(t *testing.T) {
	foreign.LowerScanned(t, 4000)
	long := `{"a":"` + strings.Repeat("x", 1200) + `"`
	a := opened(t, archive(t, member{"1.json", long}, member{"2.json", long}, member{"3.json", long}, member{"export.json", v4}))
	if a.Kind != "zipline" {
		t.Errorf("%q: %s", a.Kind, a.Why)
	}
	a = opened(t, archive(t, member{"1.json", long}, member{"2.json", long}, member{"3.json", long}, member{"4.json", long}, member{"export.json", v4}))
	if a.Kind != "" {
		t.Errorf("more than the limit was read: %q", a.Kind)
	}
}
