package standin_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// recorded are the requests behind the recorded answers.
var recorded = []struct{ file, path, token string }{
	{"07-bad-token", "/api/server/export", "nonsense"}, // recorded at another route of the same check
	{"08-no-auth", "/api/server/export", ""},
	{"09-export-as-admin", "/api/server/export", standin.AdminToken},
	{"10-export-as-user", "/api/server/export", standin.UserToken},
	{"11-export-counts", "/api/server/export?counts=true", standin.SuperAdminToken},
	{"12-export-bad-query", "/api/server/export?nometrics=1", standin.SuperAdminToken},
	{"13-export", "/api/server/export", standin.SuperAdminToken},
	{"14-export-nometrics", "/api/server/export?nometrics=true", standin.SuperAdminToken},
	{"15-export-nometrics-false", "/api/server/export?nometrics=false", standin.SuperAdminToken},
	{"16-version", "/api/version", standin.SuperAdminToken},
	{"17-healthcheck", "/api/healthcheck", ""},
	{"64-raw-404", "/raw/nope.png", ""},
	{"95-server-status", "/api/server/status", standin.AdminToken},
}

// TestRecordedErrors holds the stand-in against the small recorded answers in testdata.
func TestRecordedErrors(t *testing.T) {
	for _, r := range recorded {
		raw, err := os.ReadFile(filepath.Join("testdata", r.file+".http"))
		if os.IsNotExist(err) {
			continue // a large one: TestRecordedAnswers
		}
		t.Run(r.file, func(t *testing.T) {
			if err != nil {
				t.Fatal(err)
			}
			compareAnswer(t, raw, r.path, r.token, standin.Sample().Export(), r.file == "11-export-counts")
		})
	}
}

// TestRecordedAnswers holds the stand-in against all of them, loaded with the export that they were recorded with.
func TestRecordedAnswers(t *testing.T) {
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	folder := filepath.Join(fixtures, "zipline")
	export := read(t, filepath.Join(folder, "export.json"))
	for _, r := range recorded {
		t.Run(r.file, func(t *testing.T) {
			head := read(t, filepath.Join(folder, "samples", r.file+".txt"))
			head = bytes.TrimSpace(head[bytes.Index(head, []byte("HTTP/1.1")):])
			body := read(t, filepath.Join(folder, "samples", r.file+".body"))
			raw := append(append(head, "\r\n\r\n"...), body...)
			loaded := export
			if r.file == "15-export-nometrics-false" { // recorded earlier than the export, from other rows
				loaded = bytes.Replace(body, []byte(`"metrics":[]`), []byte(`"metrics":[{"id":"m"}]`), 1)
			}
			compareAnswer(t, raw, r.path, r.token, loaded, false)
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compareAnswer compares status, headers and body with a recording. What differs by nature is left out: dates, the
// numbers of a disk, and, where anyNumbers says so, all numbers.
func compareAnswer(t *testing.T, raw []byte, path, token string, export []byte, anyNumbers bool) {
	t.Helper()
	want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(standin.New(standin.Options{
		Export: func() []byte { return export }, OwnerlessURLs: 1,
		Storage: standin.Storage{Used: 1, Total: 3, Available: 2, Path: "/zipline/uploads"},
	}))
	defer server.Close()
	request, _ := http.NewRequest(http.MethodGet, server.URL+path, nil)
	if token != "" {
		request.Header.Set("authorization", token)
	}
	got, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if got.StatusCode != want.StatusCode {
		t.Errorf("status %d, recorded %d", got.StatusCode, want.StatusCode)
	}
	if diff := cmp.Diff(headers(want.Header), headers(got.Header)); diff != "" {
		t.Errorf("headers (-recorded +stand-in):\n%s", diff)
	}
	if diff := cmp.Diff(shape(t, want.Body, anyNumbers), shape(t, got.Body, anyNumbers)); diff != "" {
		t.Errorf("body (-recorded +stand-in):\n%s", diff)
	}
}

func headers(all http.Header) map[string]string {
	kept := map[string]string{}
	for name := range all {
		switch name {
		case "Date", "Connection", "Content-Length", "Last-Modified", "Etag":
		case "Content-Disposition":
			before, _, _ := strings.Cut(all.Get(name), "_export_")
			kept[name] = before
		default:
			kept[name] = all.Get(name)
		}
	}
	return kept
}

// shape returns a body without what differs by nature.
func shape(t *testing.T, body io.Reader, anyNumbers bool) any {
	t.Helper()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if json.Unmarshal(text, &value) != nil {
		return string(text)
	}
	object, _ := value.(map[string]any)
	if request, ok := object["request"].(map[string]any); ok {
		delete(request, "date")
	}
	if storage, ok := object["storage"].(map[string]any); ok {
		storage["used"], storage["total"], storage["available"] = 0, 0, 0
	}
	for key, member := range object {
		if _, number := member.(float64); number && anyNumbers {
			object[key] = 0.0
		}
	}
	return value
}

func TestUnknownRoute(t *testing.T) {
	server := httptest.NewServer(standin.New(standin.Options{}))
	defer server.Close()
	answer, err := http.Get(server.URL + "/api/nope")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"message": "Route GET:/api/nope not found", "error": "Not Found", "statusCode": 404.0}
	if diff := cmp.Diff(want, body); diff != "" || answer.StatusCode != 404 {
		t.Errorf("status %d, body:\n%s", answer.StatusCode, diff)
	}
}
