package standin_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// instance is a running stand-in and the client of one of its users.
type instance struct {
	t      *testing.T
	server *standin.Server
	url    string
	token  string
}

func start(t *testing.T, options standin.Options) *instance {
	t.Helper()
	server := standin.New(options)
	serving := httptest.NewServer(server)
	t.Cleanup(serving.Close)
	return &instance{t, server, serving.URL, standin.SuperAdminToken}
}

// as returns the client of another user.
func (i *instance) as(token string) *instance {
	other := *i
	other.token = token
	return &other
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// try sends a request; the error is that of the connection. A body that is no []byte is sent as JSON.
func (i *instance) try(method, path string, body any) (answer, error) {
	i.t.Helper()
	var reader io.Reader
	if body != nil {
		raw, is := body.([]byte)
		if !is {
			var err error
			if raw, err = json.Marshal(body); err != nil {
				i.t.Fatal(err)
			}
		}
		reader = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(i.t.Context(), method, i.url+path, reader)
	if err != nil {
		i.t.Fatal(err)
	}
	request.Header.Set("authorization", i.token)
	if body != nil {
		request.Header.Set("content-type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, text}, err
}

func (i *instance) do(method, path string, body any) answer {
	i.t.Helper()
	a, err := i.try(method, path, body)
	if err != nil {
		i.t.Fatal(err)
	}
	return a
}

// want sends a request whose answer has a status, and returns the body.
func (i *instance) want(status int, method, path string, body any) []byte {
	i.t.Helper()
	a := i.do(method, path, body)
	if a.status != status {
		i.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a.body
}

// code sends a request that is refused, and returns what is before the colon of the complaint.
func (i *instance) code(method, path string, body any) string {
	i.t.Helper()
	var complaint struct{ Error string }
	if err := json.Unmarshal(i.do(method, path, body).body, &complaint); err != nil {
		i.t.Fatal(err)
	}
	before, _, _ := strings.Cut(complaint.Error, ":")
	return before
}

// decode decodes a JSON body.
func decode[T any](t *testing.T, body []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return value
}

type row = map[string]any

// data returns the rows of the instance's export.
func (i *instance) data() map[string][]row { return rowsOf(i.t, i.server.Database().Export()) }

func rowsOf(t *testing.T, export []byte) map[string][]row {
	t.Helper()
	all := map[string][]row{}
	for name, raw := range decode[struct{ Data map[string]json.RawMessage }](t, export).Data {
		if name != "settings" {
			all[name] = decode[[]row](t, raw)
		}
	}
	return all
}

// pick returns one member of each row, sorted.
func pick(rows []row, name string) []string {
	all := []string{}
	for _, r := range rows {
		text, _ := r[name].(string)
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// one returns the row with a member.
func one(t *testing.T, rows []row, name, value string) row {
	t.Helper()
	for _, r := range rows {
		if r[name] == value {
			return r
		}
	}
	t.Fatalf("no row has the %s %q", name, value)
	return nil
}

// wrap returns the body of an import.
func wrap(export []byte, config string) []byte {
	return []byte(`{"export4":` + string(export) + `,"config":` + config + `}`)
}

// altered returns the made-up instance's export after a change, without its name with a bare percent sign.
func altered(t *testing.T, change func(data map[string]any)) []byte {
	t.Helper()
	text := strings.ReplaceAll(string(standin.Sample().Export()), "100% done", "all done")
	export := decode[map[string]any](t, []byte(text))
	if change != nil {
		change(export["data"].(map[string]any))
	}
	raw, err := json.Marshal(export)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const importPath = "/api/server/import/v4"

// fixture returns the folder of the recorded instance, or skips.
func fixture(t *testing.T) string {
	t.Helper()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	return filepath.Join(fixtures, "zipline")
}

// recording is a recorded answer, from testdata or from the fixtures.
func recording(t *testing.T, folder, name string) (head *http.Response, body []byte) {
	t.Helper()
	var raw []byte
	if folder == "" {
		raw = read(t, filepath.Join("testdata", name+".http"))
	} else {
		text := read(t, filepath.Join(folder, "samples", name+".txt"))
		text = bytes.TrimSpace(text[bytes.Index(text, []byte("HTTP/1.1")):])
		raw = slices.Concat(text, []byte("\r\n\r\n"), read(t, filepath.Join(folder, "samples", name+".body")))
	}
	head, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(head.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch name { // recorded before the export
	case "20-folders": // a file had one view less
		body = bytes.Replace(body, []byte(`"views":2,`), []byte(`"views":3,`), 1)
	case "19-settings": // metrics were made each minute
		body = bytes.Replace(body, []byte(`"tasksMetricsInterval":"1m"`), []byte(`"tasksMetricsInterval":"30m"`), 1)
	case "18-public": // there were terms of service
		body = bytes.Replace(body, []byte(`"tos":true`), []byte(`"tos":false`), 1)
	}
	return head, body
}

// like compares an answer with a recording, without what an export doesn't hold: when a row was changed last, whether it
// is anonymous, who is logged in. Rows and files stand in any order.
func like(t *testing.T, got answer, folder, name string) {
	t.Helper()
	head, body := recording(t, folder, name)
	if got.status != head.StatusCode {
		t.Errorf("%s: status %d, recorded %d: %s", name, got.status, head.StatusCode, got.body)
	}
	if diff := gocmp.Diff(headers(head.Header), headers(got.header)); diff != "" {
		t.Errorf("%s: headers (-recorded +stand-in):\n%s", name, diff)
	}
	if diff := gocmp.Diff(known(decode[any](t, body)), known(decode[any](t, got.body))); diff != "" {
		t.Errorf("%s: body (-recorded +stand-in):\n%s", name, diff)
	}
}

func known(value any) any {
	switch value := value.(type) {
	case row:
		for _, name := range []string{"updatedAt", "anonymous", "sessions"} {
			if _, is := value[name]; is {
				value[name] = "?"
			}
		}
		for name, member := range value {
			value[name] = known(member)
		}
	case []any:
		for i := range value {
			value[i] = known(value[i])
		}
		slices.SortStableFunc(value, func(a, b any) int { return cmp.Compare(idOf(a), idOf(b)) })
	}
	return value
}

func idOf(value any) string {
	object, _ := value.(row)
	id, _ := object["id"].(string)
	return id
}
