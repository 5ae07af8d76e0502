package zipline

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/secret"
)

// upTo are the requests, counted from 1 up to the last, at which a sweep is to fail in one of several ways: all, or with
// -short every fifth, other ones in each way than in the next.
func upTo(last, way int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := range vaulttest.Calls(way%2 == 1) {
			if n > last || !yield(n) {
				return
			}
		}
	}
}

// record is a sink that keeps everything.
type record struct {
	documents map[string]string
	secret    map[string]bool
	objects   map[string]app.Object // by path
	found     []app.Finding
}

func newRecord() *record {
	return &record{documents: map[string]string{}, secret: map[string]bool{}, objects: map[string]app.Object{}}
}

func (r *record) Document(_ context.Context, document app.Document, body io.Reader) error {
	content, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	r.documents[document.Path], r.secret[document.Path] = string(content), document.Secret
	return nil
}

func (r *record) Object(object app.Object) error {
	r.objects[object.Path] = object
	return nil
}

func (r *record) Found(finding app.Finding) { r.found = append(r.found, finding) }

// short returns the findings as "severity kind item", sorted.
func (r *record) short() []string {
	all := []string{}
	for _, f := range r.found {
		all = append(all, string(f.Severity)+" "+f.Kind+" "+f.Item)
	}
	slices.Sort(all)
	return all
}

// listing is a datasource that lists what it is given.
type listing struct {
	objects []app.Object
	errors  []error // yielded after the objects
}

func (l listing) List(context.Context) iter.Seq2[app.Object, error] {
	return func(yield func(app.Object, error) bool) {
		for _, object := range l.objects {
			if !yield(object, nil) {
				return
			}
		}
		for _, err := range l.errors {
			if !yield(app.Object{}, err) {
				return
			}
		}
	}
}

func (listing) Open(context.Context, app.Object) (app.Content, error) { return nil, io.EOF }
func (listing) Describe() string                                      { return "the folder /uploads" }

var _ datasource.Datasource = listing{}

// serve starts a handler and returns its address.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// snapshot runs one snapshot of a handler.
func snapshot(t *testing.T, handler http.Handler, options Options) (*record, app.Facts, error) {
	t.Helper()
	options.URL = serve(t, handler)
	return snapshotOf(t, options)
}

func snapshotOf(t *testing.T, options Options) (*record, app.Facts, error) {
	t.Helper()
	if options.Token.Empty() {
		options.Token = secret.New(standin.SuperAdminToken)
	}
	if options.Datasource == nil {
		options.Datasource = listing{}
	}
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecord()
	facts, err := source.Snapshot(t.Context(), backup.Scope{}, sink)
	return sink, facts, err
}

// exportOf returns an export of format 4 with the given rows in data, such as `"files":[…]`; the rest is empty.
func exportOf(members ...string) string {
	has := strings.Join(members, ",")
	for _, name := range append([]string{"settings"}, arrays...) {
		if member := `"` + name + `":`; !strings.HasPrefix(has, member) && !strings.Contains(has, "],"+member) {
			empty := `[]`
			if name == "settings" {
				empty = `{}`
			}
			members = append(members, `"`+name+`":`+empty)
		}
	}
	return head + `"data":{` + strings.Join(members, ",") + `}}`
}

const head = `{"versions":{"zipline":"4.6.3","node":"v24","export":"4"},"request":{"user":"u:mara","date":"2026-11-21T20:22:03.823Z","os":{"platform":"linux","arch":"x64","cpus":2,"hostname":"h","release":"6"},"env":{"A":"b"}},`

// fileRow returns a row of data.files.
func fileRow(id, name, size string) string {
	return `{"id":"` + id + `","createdAt":"2026-01-01T00:00:00.000Z","deletesAt":null,"name":` + name + `,"originalName":null,"size":` + size +
		`,"type":"text/plain","views":0,"maxViews":null,"favorite":false,"password":null,"userId":null,"folderId":null}`
}

// zipline is a server with one export, which counts as many rows as it has.
func ziplineWith(export string) http.Handler {
	return standin.New(standin.Options{
		Export: func() []byte { return []byte(export) },
		Now:    func() time.Time { return exported },
	})
}

// exported is when the exports of these tests are made.
var exported = time.Date(2026, 11, 21, 20, 22, 3, 0, time.UTC)

// refusing is a sink that stores no document.
type refusing struct {
	*record
	err error
}

func (r refusing) Document(context.Context, app.Document, io.Reader) error { return r.err }
