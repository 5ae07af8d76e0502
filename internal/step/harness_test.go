package step_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fake is an application of documents and objects in memory. Its snapshot may be told to fail.
type fake struct {
	mutex   sync.Mutex
	objects map[string]fakeObject
	opened  []string
	fail    func(call string) error
}

type fakeObject struct {
	data     []byte
	modified time.Time
	version  int
}

func newFake(files map[string]string) *fake {
	f := &fake{objects: map[string]fakeObject{}}
	for name, text := range files {
		f.objects[name] = fakeObject{data: []byte(text), modified: noon.Add(-time.Hour)}
	}
	return f
}

func (f *fake) set(name, text string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.objects[name] = fakeObject{data: []byte(text), modified: noon.Add(-time.Minute), version: f.objects[name].version + 1}
}

func (f *fake) remove(name string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.objects, name)
}

func (f *fake) check(call string) error {
	if f.fail == nil {
		return nil
	}
	return f.fail(call)
}

func (f *fake) Snapshot(ctx context.Context, _ backup.Scope, sink app.Sink) (app.Facts, error) {
	if err := f.check("snapshot"); err != nil {
		return app.Facts{}, err
	}
	err := sink.Document(ctx, app.Document{Path: "export.json", Secret: true}, strings.NewReader(`{"version":4}`))
	if err != nil {
		return app.Facts{}, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, name := range sorted(f.objects) {
		if err := sink.Object(f.object(name)); err != nil {
			return app.Facts{}, err
		}
	}
	return app.Facts{Application: "Fake", Version: "1"}, f.check("listed")
}

func (f *fake) object(name string) app.Object {
	o := f.objects[name]
	return app.Object{
		Key: name, Path: "uploads/" + name, Size: int64(len(o.data)), Modified: o.modified,
		Identity: fmt.Sprintf("%d-%d", len(o.data), o.version), Settled: true,
	}
}

func (f *fake) Open(_ context.Context, o app.Object) (app.Content, error) {
	if err := f.check("open " + o.Key); err != nil {
		return nil, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	there, ok := f.objects[o.Key]
	if !ok {
		return nil, failure.New(failure.NotFound, "it is gone")
	}
	f.opened = append(f.opened, o.Key)
	return &fakeContent{bytes.NewReader(there.data), f.object(o.Key)}, nil
}

type fakeContent struct {
	*bytes.Reader
	object app.Object
}

func (c *fakeContent) Close() error             { return nil }
func (c *fakeContent) Now() (app.Object, error) { return c.object, nil }

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// one is a configuration with one source.
type one struct {
	source app.Source
	policy *step.Policy
}

func (o one) Policy(backup.Source) (step.Policy, error) { return *o.policy, nil }

func (o one) Open(context.Context, backup.Source) (app.Source, string, error) {
	return o.source, "fake", nil
}

// told remembers what people were told.
type told struct {
	mutex    sync.Mutex
	statuses []backup.Status
	err      error
}

func (n *told) Notify(_ context.Context, r catalog.Record, _ *catalog.Record, _ backup.Status) (catalog.Notified, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.statuses = append(n.statuses, r.Status)
	return catalog.Notified{Status: "sent", To: []string{"ops@example.com"}}, n.err
}

// world is a vault on the embedded server of all tests, one fake application, and the steps between them.
type world struct {
	t      testing.TB
	vault  *vault.Vault
	faults *faults
	steps  *step.Steps
	source *fake
	app    app.Source // what is backed up; source where it is nil
	told   *told
	clock  time.Time
	scope  backup.Scope
	rehash bool
	policy step.Policy
	onSync func() // may be nil
}

func newWorld(t testing.TB, files map[string]string) *world {
	t.Helper()
	store := vaulttest.New(t)
	t.Cleanup(func() { _ = os.RemoveAll(store.Folder) }) // the server lives on
	w := &world{t: t, source: newFake(files), told: &told{}, clock: noon}
	w.faults = &faults{next: store, bucket: store.Bucket()}
	w.vault = vault.New(connected(store, w.faults), store.Bucket(), func(context.Context) error {
		w.faults.note("SYNC")
		if w.onSync != nil {
			w.onSync()
		}
		return nil
	})
	w.steps = w.newSteps()
	return w
}

// connected returns another client of a store.
func connected(store *vaulttest.Store, through http.RoundTripper) *s3.Client {
	return s3.New(store.Client.Options(), func(o *s3.Options) { o.HTTPClient = &http.Client{Transport: through} })
}

func (w *world) newSteps() *step.Steps {
	key, err := keyring.Parse([]byte(testKey))
	if err != nil {
		w.t.Fatal(err)
	}
	var source app.Source = w.source
	if w.app != nil {
		source = w.app
	}
	return &step.Steps{
		Vault: w.vault, Sources: one{source, &w.policy}, Signer: key.Private, Notifier: w.told, Version: "test", Holder: "test pid 1",
		Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return w.clock },
	}
}

const testKey = `{"lifeboat_key":1,"vault":"TESTVAULT12","seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","public_key":"A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}`

// run executes one backup with the real workflow and returns its outcome and record.
func (w *world) run(id backup.ID, journal string) (machine.Outcome, catalog.Record, error) {
	w.t.Helper()
	engine := &machine.Engine{Invoke: w.invoke, Read: w.read, Rand: func() float64 { return 0 }}
	outcome, err := engine.Execute(w.t.Context(), w.machine(), machine.Execution{Name: string(id), Input: w.input(id), Journal: journal})
	if err != nil {
		return outcome, catalog.Record{}, err
	}
	record, err := catalog.New(w.vault).Record(w.t.Context(), "photos", id)
	return outcome, record, err
}

func (w *world) machine() *machine.Machine {
	m, err := machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	if n := len(payload); n > 32<<10 {
		w.t.Errorf("a message of %d bytes crosses to %s", n, function)
	}
	answer, err := w.steps.Handle(ctx, function, payload)
	if err != nil {
		return nil, step.Boundary{Err: err}
	}
	return answer, nil
}

func (w *world) read(ctx context.Context, _, key string) (io.ReadCloser, error) {
	body, _, err := w.vault.Open(ctx, vault.Key(key), 0, -1)
	return body, err
}

// contents returns every object of the vault by key.
func (w *world) contents() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for info, err := range w.vault.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		data, _, err := w.vault.Get(w.t.Context(), info.Key)
		if err != nil {
			w.t.Fatal(err)
		}
		all[string(info.Key)] = string(data)
	}
	for u, err := range w.vault.Uploads(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		all["upload of "+string(u.Key)] = "in progress"
	}
	return all
}

// faults is a transport that fails the n-th request to the store, before or after it takes effect, and notes what
// passes.
type faults struct {
	next   http.RoundTripper
	bucket string // of the vault
	mutex  sync.Mutex
	count  int
	failAt int  // 0: never
	after  bool // the request takes effect, its answer is lost
	dead   bool // like a process that was killed: after the fault nothing passes
	fired  bool
	onFire func() // stops the run, so that nobody waits and tries again
	passed []string
}

var errKilled = errors.New("killed")

func (f *faults) note(line string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.passed = append(f.passed, line)
}

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mutex.Lock()
	f.count++
	hit := f.failAt > 0 && f.count == f.failAt
	blocked := f.fired && f.dead
	if hit {
		f.fired = true
	}
	f.passed = append(f.passed, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/"+f.bucket+"/"))
	f.mutex.Unlock()
	switch {
	case hit && f.after:
		if answer, err := f.next.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		fallthrough
	case hit:
		f.onFire()
		return nil, errKilled
	case blocked:
		return nil, errKilled
	}
	return f.next.RoundTrip(r)
}

func (f *faults) arm(at int, after, dead bool, onFire func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.count, f.failAt, f.after, f.dead, f.fired, f.onFire, f.passed = 0, at, after, dead, false, onFire, nil
}
