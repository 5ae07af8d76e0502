package zipline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// notes are those of one restore, kept as they would be in a vault.
type notes map[string][]byte

func (n notes) Get(_ context.Context, name string, value any) (bool, error) {
	text, there := n[name]
	if !there {
		return false, nil
	}
	return true, json.Unmarshal(text, value)
}

func (n notes) Put(_ context.Context, name string, value any) error {
	text, err := json.Marshal(value)
	n[name] = text
	return err
}

// bed is a backup and the target that it is replayed into.
type bed struct {
	t        *testing.T
	export   []byte
	uploads  string // folder of the backup's objects
	into     string // folder of the target's datasource
	database *standin.Database
	server   *standin.Server
	url      string
	options  standin.Options
	replay   *app.Replay
	changed  *atomic.Int64 // requests to the last server that were no GET
	limits   bool          // the target limits how fast requests come
	room     int64         // bytes left for the target; 0: enough
}

// newBed returns a bed with an empty target, whose administrator is admin.
func newBed(t *testing.T, export []byte, uploads, admin string) *bed {
	b := &bed{t: t, export: export, uploads: uploads, into: t.TempDir(), database: standin.NewDatabase(admin, standin.SuperAdminToken)}
	b.replay = &app.Replay{
		ID: "restore", Kind: "zipline", Wishes: app.Wishes{Documents: true, Objects: true}, Notes: notes{}, Working: func(int64, int64) {},
		Open: func(_ context.Context, path string) (io.ReadCloser, error) {
			if path != document {
				return nil, failure.New(failure.NotFound, "no %s", path)
			}
			return io.NopCloser(bytes.NewReader(b.export)), nil
		},
		Items: b.items,
	}
	return b
}

// items lists the backup, its filter being Chosen for everything.
func (b *bed) items(ctx context.Context) iter.Seq2[app.Item, error] {
	return func(yield func(app.Item, error) bool) {
		if !yield(app.Item{Document: true, Chosen: true, Object: app.Object{Path: document}}, nil) || b.uploads == "" {
			return
		}
		for object, err := range datasource.NewFolder(b.uploads, nil).List(ctx) {
			if err != nil {
				b.t.Fatal(err)
			}
			object.Path = uploads + object.Key
			if strings.HasPrefix(object.Key, thumbnailPrefix) {
				object.Type = thumbnail
			}
			if !yield(app.Item{Object: object, Chosen: true}, nil) {
				return
			}
		}
	}
}

// serve starts the target with a fault, and returns a Target of it.
func (b *bed) serve(fault func(int, *http.Request) standin.Fault) *Target {
	b.t.Helper()
	options := b.options
	options.Database, options.Datasource, options.NoRateLimits, options.Fault = b.database, b.into, !b.limits, b.counting(fault)
	options.Storage = standin.Storage{Available: cmp.Or(b.room, 1<<40)}
	b.server = standin.New(options)
	listener := httptest.NewServer(b.server)
	b.t.Cleanup(listener.Close)
	b.url = listener.URL
	target, err := NewTarget(TargetOptions{
		URL: listener.URL, Token: secret.New(standin.SuperAdminToken), Datasource: datasource.NewFolder(b.into, nil),
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return target
}

// counting counts what changes the target.
func (b *bed) counting(fault func(int, *http.Request) standin.Fault) func(int, *http.Request) standin.Fault {
	changed := new(atomic.Int64)
	b.changed = changed
	return func(n int, r *http.Request) standin.Fault {
		if r.Method != http.MethodGet {
			changed.Add(1)
		}
		if fault == nil {
			return standin.Fault{}
		}
		return fault(n, r)
	}
}

// put puts the objects where a forecast places them.
func (b *bed) put(f app.Forecast) {
	b.t.Helper()
	for item, err := range b.items(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		name, put := f.Place(item)
		if !put {
			continue
		}
		if _, err := os.Stat(filepath.Join(b.into, name)); err == nil {
			continue
		}
		if err := os.Link(filepath.Join(b.uploads, item.Key), filepath.Join(b.into, name)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// copies are those of recorded folders that tests link files out of, made once. A link changes when a file was last touched, by which
// other tests tell whether it has settled.
var copies = struct {
	sync.Mutex
	root    string // of all
	folders map[string]string
}{folders: map[string]string{}}

// RemoveCopies is for TestMain.
func RemoveCopies() { _ = os.RemoveAll(copies.root) }

// ownCopy returns the copy of a folder.
func ownCopy(t *testing.T, folder string) string {
	t.Helper()
	copies.Lock()
	defer copies.Unlock()
	if there := copies.folders[folder]; there != "" {
		return there
	}
	var err error
	if copies.root == "" {
		if copies.root, err = os.MkdirTemp("", "zipline"); err != nil {
			t.Fatal(err)
		}
	}
	there := filepath.Join(copies.root, strconv.Itoa(len(copies.folders)))
	if err := os.CopyFS(there, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	copies.folders[folder] = there
	return there
}

// secrets are beginnings of what no finding and no error may hold.
var secrets = []string{"$argon2", "at_oidc", "rt_", standin.SuperAdminToken, "data:image"}

// run does one attempt of the restore, and looks for secrets in what it says.
func (b *bed) run(target *Target) (app.Forecast, app.Confirmation, error) {
	b.t.Helper()
	forecast, confirmation, err := b.attempt(target)
	said := fmt.Sprint(err, forecast.Findings, confirmation.Findings, confirmation.Asserted)
	for _, word := range secrets {
		if strings.Contains(said, word) {
			b.t.Errorf("%q is in what the restore says", word)
		}
	}
	return forecast, confirmation, err
}

// attempt does what the pipeline does.
func (b *bed) attempt(target *Target) (app.Forecast, app.Confirmation, error) {
	b.t.Helper()
	ctx := b.t.Context()
	forecast, err := target.Preflight(ctx, b.replay)
	if err != nil {
		return forecast, app.Confirmation{}, err
	}
	b.put(forecast)
	for range 10 {
		progress, err := target.Replay(ctx, b.replay)
		if err != nil {
			return forecast, app.Confirmation{}, err
		}
		if progress.Put {
			b.put(forecast)
		}
		if progress.Done {
			confirmation, err := target.Confirm(ctx, b.replay)
			return forecast, confirmation, err
		}
	}
	b.t.Fatal("the replay does not end")
	return forecast, app.Confirmation{}, nil
}

// must is run without an error.
func (b *bed) must(fault func(int, *http.Request) standin.Fault) (app.Forecast, app.Confirmation) {
	b.t.Helper()
	forecast, confirmation, err := b.run(b.serve(fault))
	if err != nil {
		b.t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
	return forecast, confirmation
}

// export of the target, parsed.
func (b *bed) targetRows() map[string][]map[string]any {
	var e struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b.database.Export(), &e); err != nil {
		b.t.Fatal(err)
	}
	all := map[string][]map[string]any{}
	for name, text := range e.Data {
		var list []map[string]any
		if json.Unmarshal(text, &list) == nil {
			all[name] = list
		}
	}
	return all
}

// lines are findings as "severity kind item".
func lines(findings []app.Finding, only app.Severity, kinds ...string) []string {
	all := []string{}
	for _, f := range findings {
		if (only == "" || f.Severity == only) && (len(kinds) == 0 || slices.Contains(kinds, f.Kind)) {
			all = append(all, string(f.Severity)+" "+f.Kind+" "+f.Item+": "+f.Message)
		}
	}
	slices.Sort(all)
	return all
}

// fixtureBed returns the recorded instance as a backup; it skips without it.
func fixtureBed(t *testing.T, admin string) *bed {
	t.Helper()
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	export, err := os.ReadFile(filepath.Join(fixtures, "zipline", "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	return newBed(t, export, ownCopy(t, filepath.Join(fixtures, "zipline", "uploads")), admin)
}

// sampleBed returns the made-up instance as a backup.
func sampleBed(t *testing.T, admin string) *bed {
	t.Helper()
	instance, folder := standin.Sample(), t.TempDir()
	if err := instance.WriteUploads(folder); err != nil {
		t.Fatal(err)
	}
	return newBed(t, instance.Export(), folder, admin)
}
