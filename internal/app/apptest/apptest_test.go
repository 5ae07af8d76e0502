package apptest_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/apptest"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/local"
)

func TestMain(m *testing.M) {
	if local.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

// notebook is the smallest application: pages in memory, and an index that is its metadata.
type notebook struct {
	mutex    sync.Mutex
	pages    map[string]page
	requests int // since the last call of fail
	failAt   int // 0: never
}

type page struct {
	text    string
	version int
}

func (n *notebook) write(name, text string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.pages[name] = page{text, n.pages[name].version + 1}
}

// request fails once, if it is told to.
func (n *notebook) request() error {
	if n.requests++; n.requests == n.failAt {
		return failure.New(failure.Denied, "the notebook is locked")
	}
	return nil
}

// adapter is an app.Source of a notebook.
type adapter struct{ notebook *notebook }

func (a adapter) Snapshot(ctx context.Context, _ backup.Scope, sink app.Sink) (app.Facts, error) {
	a.notebook.mutex.Lock()
	defer a.notebook.mutex.Unlock()
	if err := a.notebook.request(); err != nil {
		return app.Facts{}, err
	}
	if err := ctx.Err(); err != nil {
		return app.Facts{}, err
	}
	index := strings.NewReader(fmt.Sprintf(`{"pages": %d}`, len(a.notebook.pages)))
	if err := sink.Document(ctx, app.Document{Path: "index.json"}, index); err != nil {
		return app.Facts{}, err
	}
	for name := range a.notebook.pages {
		if err := sink.Object(a.notebook.object(name)); err != nil {
			return app.Facts{}, err
		}
	}
	return app.Facts{Application: "Notebook"}, nil
}

func (n *notebook) object(name string) app.Object {
	p := n.pages[name]
	return app.Object{
		Key: name, Path: "pages/" + name, Size: int64(len(p.text)), Modified: time.Unix(1_800_000_000+int64(p.version)*60, 0).UTC(),
		Identity: fmt.Sprint(p.version), Settled: true,
	}
}

func (a adapter) Open(_ context.Context, o app.Object) (app.Content, error) {
	a.notebook.mutex.Lock()
	defer a.notebook.mutex.Unlock()
	if err := a.notebook.request(); err != nil {
		return nil, err
	}
	p, ok := a.notebook.pages[o.Key]
	if !ok {
		return nil, failure.New(failure.NotFound, "there is no page %q", o.Key)
	}
	return content{strings.NewReader(p.text), a.notebook.object(o.Key)}, nil
}

type content struct {
	io.Reader
	object app.Object
}

func (c content) Close() error             { return nil }
func (c content) Now() (app.Object, error) { return c.object, nil }

// TestNotebook shows how an adapter's package runs the suite.
func TestNotebook(t *testing.T) {
	apptest.Run(t, func(*testing.T) apptest.Subject {
		n := &notebook{pages: map[string]page{}}
		for _, name := range []string{"one", "two", "three", "empty", "ä ö.txt"} {
			n.write(name, strings.Repeat(name, 100))
		}
		n.write("empty", "")
		return apptest.Subject{
			Source:    adapter{n},
			Objects:   n.contents,
			Documents: []string{"index.json"},
			Change:    n.change,
			Remove:    n.remove,
			Fail:      n.fail,
			Thorough:  true,
		}
	})
}

func (n *notebook) contents() map[string]string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	all := map[string]string{}
	for name, p := range n.pages {
		all["pages/"+name] = p.text
	}
	return all
}

func (n *notebook) change(*testing.T) int {
	n.write("one", fmt.Sprint("something else, version ", n.pages["one"].version))
	n.write(fmt.Sprint("new ", len(n.pages)), "new")
	return 2
}

func (n *notebook) remove(*testing.T) string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.pages, "two")
	return "pages/two"
}

func (n *notebook) fail(_ *testing.T, at int) (end func() bool) {
	n.requests, n.failAt = 0, at
	return func() bool { n.failAt = 0; return n.requests >= at }
}
