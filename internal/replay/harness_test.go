package replay_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const firstRun backup.ID = "20261121T120000Z-aaaaaa"

const testKey = `{"lifeboat_key":1,"vault":"TESTVAULT12","seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","public_key":"A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}`

func ourKey(t testing.TB) keyring.Key {
	t.Helper()
	key, err := keyring.Parse([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rows is the document of the backups: one row a line.
const rows = "row one\nrow two\nrow three\n"

func files() map[string]string {
	return map[string]string{
		"a.txt": "alpha", "b.txt": strings.Repeat("beta ", 1000), "empty": "", "ü:#&.txt": "odd", "deep/er/c.bin": strings.Repeat("\x00\x01", 300),
	}
}

// source is an application of one document and some objects, all in memory.
type source struct{ objects map[string]string }

func (f source) Snapshot(ctx context.Context, _ backup.Scope, sink app.Sink) (app.Facts, error) {
	if err := sink.Document(ctx, app.Document{Path: "export.json", Secret: true}, strings.NewReader(rows)); err != nil {
		return app.Facts{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.objects)) {
		if err := sink.Object(f.object(name)); err != nil {
			return app.Facts{}, err
		}
	}
	return app.Facts{Application: "Fake", Version: "1"}, nil
}

func (f source) object(name string) app.Object {
	size := int64(len(f.objects[name]))
	return app.Object{Key: name, Path: "uploads/" + name, Size: size, Modified: noon.Add(-time.Hour), Identity: fmt.Sprint(size), Settled: true, Dir: strings.HasSuffix(name, "/")}
}

func (f source) Open(_ context.Context, o app.Object) (app.Content, error) {
	return &content{strings.NewReader(f.objects[o.Key]), f.object(o.Key)}, nil
}

type content struct {
	*strings.Reader
	object app.Object
}

func (c *content) Close() error             { return nil }
func (c *content) Now() (app.Object, error) { return c.object, nil }

// one is a configuration with one source.
type one struct {
	source app.Source
	policy step.Policy
}

func (o one) Policy(backup.Source) (step.Policy, error) { return o.policy, nil }

func (o one) Open(context.Context, backup.Source) (app.Source, string, error) {
	return o.source, "fake", nil
}

type silent struct{}

func (silent) Notify(context.Context, catalog.Record, *catalog.Record, backup.Status) (catalog.Notified, error) {
	return catalog.Notified{Status: "none"}, nil
}

// told remembers what people were told of restores.
type told struct {
	mutex    sync.Mutex
	statuses []backup.Status
}

func (n *told) NotifyRestore(_ context.Context, r catalog.Restore) (catalog.Notified, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.statuses = append(n.statuses, r.Status)
	return catalog.Notified{Status: "sent", To: []string{"ops@example.com"}}, nil
}

func (n *told) taken() []backup.Status {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	taken := n.statuses
	n.statuses = nil
	return taken
}

// world is a vault with one backup, and what it is restored to.
type world struct {
	testing.TB
	*vaulttest.Store
	app    *target
	told   *told
	setup  *setup.Targets
	logs   *safeBuffer
	clock  atomic.Pointer[time.Time]
	limits func(*replay.Steps) // changes the steps of a process; may be nil
	holder string
	key    ed25519.PrivateKey      // of the backups; nil: ours
	step   func(name string) error // is asked before each step; may be nil
	heavy  atomic.Int64            // the largest message in bytes
	calls  []string                // the steps that were asked for

	mutex sync.Mutex
}

type safeBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(p)
}

func (w *world) now() time.Time { return *w.clock.Load() }

func (w *world) later(d time.Duration) {
	now := w.now().Add(d)
	w.clock.Store(&now)
}

// newWorld returns a vault that holds one backup of the files.
func newWorld(t testing.TB, objects map[string]string, policy ...step.Policy) *world {
	t.Helper()
	w := &world{TB: t, Store: vaulttest.New(t), told: &told{}, logs: &safeBuffer{}, holder: "here pid 1"}
	w.clock.Store(&noon)
	w.app = newTarget(t.TempDir())
	w.setup = &setup.Targets{Config: w.config()}
	w.backup(firstRun, objects, policy...)
	return w
}

// stranger returns the key of another vault.
func stranger() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

// config has the vault's store in it, so that buckets beside it are reached.
func (w *world) config() *config.Config {
	w.Helper()
	options := w.Client.Options()
	credentials, err := options.Credentials.Retrieve(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	access, key := filepath.Join(w.TempDir(), "access"), filepath.Join(w.TempDir(), "key")
	for path, text := range map[string]string{access: credentials.AccessKeyID, key: credentials.SecretAccessKey} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	return &config.Config{Vault: config.Location{Bucket: &config.Bucket{
		Name: w.Bucket(), Endpoint: *options.BaseEndpoint, Region: options.Region,
		AccessKey: secret.Reference("file:" + access), SecretKey: secret.Reference("file:" + key),
	}}}
}

func (w *world) backup(id backup.ID, objects map[string]string, policy ...step.Policy) catalog.Record {
	w.Helper()
	o := one{source: source{objects}}
	if len(policy) > 0 {
		o.policy = policy[0]
	}
	signer := w.key
	if signer == nil {
		signer = ourKey(w).Private
	}
	steps := &step.Steps{
		Vault: w.Vault, Sources: o, Signer: signer, Notifier: silent{}, Version: "test", Holder: "test pid 1",
		Log: slog.New(slog.DiscardHandler), Now: w.now,
	}
	m, err := machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"))
	if err != nil {
		w.Fatal(err)
	}
	engine := &machine.Engine{Read: w.read, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		answer, err := steps.Handle(ctx, function, payload)
		if err != nil {
			return nil, step.Boundary{Err: err}
		}
		return answer, nil
	}}
	input, _ := json.Marshal(events.Input{Run: events.Run{ID: id, Source: "photos", StartedBy: catalog.Starter{By: "test"}}})
	outcome, err := engine.Execute(w.Context(), m, machine.Execution{Name: string(id), Input: input})
	if err != nil || outcome.Status != machine.Succeeded {
		w.Fatalf("%+v, %v", outcome, err)
	}
	record, err := catalog.New(w.Vault).Record(w.Context(), "photos", id)
	if err != nil || record.Status != backup.Completed {
		w.Fatalf("%+v, %v", record, err)
	}
	return record
}

func (w *world) read(ctx context.Context, _, key string) (io.ReadCloser, error) {
	body, _, err := w.Open(ctx, vault.Key(key), 0, -1)
	return body, err
}

// archive writes the archive of the first backup to a file and returns its path and bytes.
func (w *world) archive() (string, []byte) {
	w.Helper()
	data, _, err := w.Get(w.Context(), vault.Archive("photos", firstRun))
	if err != nil {
		w.Fatal(err)
	}
	return w.file("photos.zip", data), data
}

func (w *world) file(name string, data []byte) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// bucket makes an empty bucket beside the vault.
func (w *world) bucket() *vault.Vault {
	w.Helper()
	b := vault.New(w.Client, w.Bucket()+"-to", nil)
	if err := b.CreateBucket(w.Context()); err != nil {
		w.Fatal(err)
	}
	return b
}

// contents returns what a bucket holds.
func contents(t testing.TB, b *vault.Vault) map[string]string {
	t.Helper()
	all := map[string]string{}
	for info, err := range b.List(context.WithoutCancel(t.Context()), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := b.Get(context.WithoutCancel(t.Context()), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		all[string(info.Key)] = string(data)
	}
	return all
}

// tree returns the files of a folder; nil where there is no folder.
func tree(t testing.TB, folder string) map[string]string {
	t.Helper()
	if _, err := os.Stat(folder); err != nil {
		return nil
	}
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		all[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// under puts a folder before the names of files.
func under(folder string, objects map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range objects {
		all[folder+name] = text
	}
	return all
}

// whole is what a plain restore of the files gives.
func whole(objects map[string]string) map[string]string {
	all := under("uploads/", objects)
	all["export.json"] = rows
	return all
}

// target is an application in memory: the rows of its document, and files in a folder.
type target struct {
	folder string

	mutex     sync.Mutex
	rows      map[string]int // how often each was brought in
	calls     []string
	puts      int
	fail      func(call string) error // is asked before and after each call: "Replay", "Replay done"
	put       restoreTo               // nil: the folder
	preflight func(ctx context.Context, r *app.Replay) error
	next      []app.Progress // what Replay answers before it is done
	findings  []app.Finding  // of the forecast
	kind      string         // of the backups that it takes; "": fake
}

type restoreTo func(ctx context.Context, f replay.Files) (restore.Destination, error)

func newTarget(folder string) *target {
	return &target{folder: folder, rows: map[string]int{}}
}

func (t *target) called(call string) error {
	t.mutex.Lock()
	t.calls = append(t.calls, call)
	fail := t.fail
	t.mutex.Unlock()
	if fail != nil {
		return fail(call)
	}
	return nil
}

func (t *target) taken() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	taken := t.calls
	t.calls = nil
	return taken
}

func (t *target) lines(ctx context.Context, r *app.Replay) ([]string, error) {
	body, err := r.Open(ctx, "export.json")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return strings.Split(strings.TrimSpace(string(data)), "\n"), err
}

func (t *target) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	if err := t.called("Preflight"); err != nil {
		return app.Forecast{}, err
	}
	if t.preflight != nil {
		if err := t.preflight(ctx, r); err != nil {
			return app.Forecast{}, err
		}
	}
	lines, err := t.lines(ctx, r)
	if err != nil {
		return app.Forecast{}, err
	}
	return app.Forecast{
		Application: "Fake", Counts: []app.Count{{What: "rows", Backup: int64(len(lines)), Create: int64(len(lines))}}, Findings: t.findings,
		Place: func(i app.Item) (string, bool) { return i.Object.Key, !i.Document && i.Object.Key != "" },
	}, t.called("Preflight done")
}

func (t *target) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	if err := t.called("Replay"); err != nil {
		return app.Progress{}, err
	}
	t.mutex.Lock()
	if len(t.next) > 0 {
		next := t.next[0]
		t.next = t.next[1:]
		t.mutex.Unlock()
		return next, nil
	}
	t.mutex.Unlock()
	lines, err := t.lines(ctx, r)
	if err != nil {
		return app.Progress{}, err
	}
	var began bool
	if _, err := r.Notes.Get(ctx, "import", &began); err != nil {
		return app.Progress{}, err
	}
	if err := r.Notes.Put(ctx, "import", true); err != nil {
		return app.Progress{}, err
	}
	t.mutex.Lock()
	for _, line := range lines {
		if t.rows[line] == 0 || !began { // an import that looks only where its note tells it to
			t.rows[line]++
		}
	}
	t.mutex.Unlock()
	return app.Progress{Done: true}, t.called("Replay done")
}

func (t *target) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	if err := t.called("Confirm"); err != nil {
		return app.Confirmation{}, err
	}
	c := app.Confirmation{Asserted: []string{"every row is there"}}
	lines, err := t.lines(ctx, r)
	if err != nil {
		return c, err
	}
	t.mutex.Lock()
	for _, line := range lines {
		if t.rows[line] != 1 && r.Wishes.Documents {
			c.Findings = append(c.Findings, app.Finding{Severity: app.Problem, Kind: "rows", Item: line, Message: fmt.Sprintf("is there %d times", t.rows[line])})
		}
	}
	t.mutex.Unlock()
	return c, t.called("Confirm done")
}

// files opens where the application's files go.
func (t *target) files(ctx context.Context, f replay.Files) (restore.Destination, error) {
	t.mutex.Lock()
	t.puts++
	t.mutex.Unlock()
	if t.put != nil {
		return t.put(ctx, f)
	}
	return restore.OpenFolderTarget(restore.FolderOptions{Folder: t.folder, Existing: true, Kind: "fake", Name: f.Name, Wants: f.Wants, Progress: f.Progress})
}

// targets are the application, and folders, buckets and drills as they really are.
type targets struct {
	*setup.Targets
	app *target
}

func (t targets) Name(to events.To) (string, error) {
	switch to.Target {
	case "":
		return t.Targets.Name(to)
	case "new", "other":
		return to.Target, nil
	}
	return "", failure.New(failure.NotFound, "there is no target %s", to.Target)
}

func (t targets) Open(ctx context.Context, id backup.RestoreID, to events.To, from replay.Backup, wishes app.Wishes) (replay.Place, error) {
	if to.Target == "" && (!to.Drill || t.Targets.Drills != nil) {
		return t.Targets.Open(ctx, id, to, from, wishes)
	}
	kind := t.app.kind
	if kind == "" {
		kind = "fake"
	}
	if from.Kind != kind {
		return replay.Place{}, failure.New(failure.Invalid, "a backup of kind %q can't be restored into a fake", from.Kind)
	}
	return replay.Place{App: t.app, Put: t.app.files, Close: func() {}}, nil
}

// process returns the steps as one process has them.
func (w *world) process(holder string) *replay.Steps {
	s := &replay.Steps{
		Vault: w.Vault, Targets: targets{w.setup, w.app}, Trusted: []ed25519.PublicKey{ourKey(w).Public()}, Local: true, Notifier: w.told,
		Now: w.now, Log: slog.New(slog.NewTextHandler(w.logs, nil)), Version: "test", Holder: holder,
	}
	if w.limits != nil {
		w.limits(s)
	}
	return s
}

// ended is how a restore ended.
type ended struct {
	outcome machine.Outcome
	record  catalog.Restore
	restore events.Restore // complete
	kind    failure.Kind
	message string
	hint    string
	skipped bool
}

func (e ended) String() string {
	return fmt.Sprintf("%s %s: %s (hint: %s), record %+v", e.outcome.Status, e.kind, e.message, e.hint, e.record)
}

var executions atomic.Int64

// run executes a restore as the command line does it.
func (w *world) run(r events.Restore) ended {
	w.Helper()
	return w.runIn(w.Context(), w.process(w.holder), r)
}

func (w *world) runIn(ctx context.Context, s *replay.Steps, r events.Restore) (e ended) {
	w.Helper()
	after := context.WithoutCancel(ctx)
	r, err := s.Prepare(ctx, r)
	if err != nil {
		return ended{outcome: machine.Outcome{Status: machine.Failed}, kind: failure.KindOf(err), message: err.Error(), hint: failure.HintOf(err)}
	}
	r.Execution = fmt.Sprintf("%s-%d", r.ID, executions.Add(1))
	e.restore = r
	input, _ := json.Marshal(events.RestoreInput{Restore: r})
	e.outcome, err = w.engine(s).Execute(ctx, w.machine(), machine.Execution{Name: r.Execution, Input: input})
	if err != nil {
		w.Fatal(err)
	}
	switch e.outcome.Status {
	case machine.Aborted:
		err = s.End(after, r, backup.Canceled, catalog.Failure{Kind: "canceled", Message: "stopped"})
		if err != nil {
			w.Log("end: ", err)
		}
	case machine.Succeeded:
		e.skipped = strings.Contains(string(e.outcome.Output), `"answer":"skip"`)
	default:
		why := step.Reason(&events.Error{Error: e.outcome.Error, Cause: e.outcome.Cause})
		e.kind, e.message, e.hint = why.Kind, why.Error(), why.Hint
	}
	e.record, err = catalog.New(w.Vault).Restore(after, r.ID)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		w.Log("record: ", err)
	}
	return e
}

func (w *world) machine() *machine.Machine {
	w.Helper()
	m, err := machine.Load(workflow.Restore, workflow.RestoreFunctions, machine.WithInputs("restore"), machine.WithName("restore"))
	if err != nil {
		w.Fatal(err)
	}
	return m
}

func (w *world) engine(s *replay.Steps) *machine.Engine {
	return &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }, MaxConcurrency: 4, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.RestoreRequest
		if err := json.Unmarshal(payload, &request); err != nil {
			return nil, err
		}
		w.mutex.Lock()
		w.calls = append(w.calls, request.Step)
		before := w.step
		w.mutex.Unlock()
		if before != nil {
			if err := before(request.Step); err != nil {
				return nil, step.Boundary{Err: err}
			}
		}
		answer, err := s.Handle(ctx, function, payload)
		for _, n := range []int{len(payload), len(answer)} {
			if w.heavy.Load() < int64(n) {
				w.heavy.Store(int64(n))
			}
			if n > 32<<10 {
				w.Errorf("a message of %d bytes crosses to or from %s", n, request.Step)
			}
		}
		if err != nil {
			return nil, step.Boundary{Err: err}
		}
		return answer, nil
	}}
}

// leftovers fails the test where a restore that has ended left what it should not.
func (w *world) leftovers() {
	w.Helper()
	for _, key := range w.Keys(w) {
		for _, part := range []string{"/leases/", "/plan/", "/check/", "/put/", "/putting/", "/results/"} {
			if strings.Contains(key, part) {
				w.Errorf("left behind: %s", key)
			}
		}
	}
	w.NoUploads(w)
}

// completed fails the test unless a restore has ended well.
func (w *world) completed(e ended) catalog.Restore {
	w.Helper()
	if e.outcome.Status != machine.Succeeded || e.skipped || e.record.Status != backup.Completed {
		w.Fatal(e)
	}
	w.leftovers()
	return e.record
}

// failed fails the test unless a restore has failed with an error of a kind, and has closed its record so.
func (w *world) failed(e ended, kind failure.Kind) catalog.Restore {
	w.Helper()
	if e.outcome.Status != machine.Failed || e.kind != kind {
		w.Fatalf("want %s: %s", kind, e)
	}
	if r := e.record; r.ID != "" && (r.Status != backup.Failed || r.Failure == nil || r.Failure.Kind != kind.String() || r.Failure.Message != e.message || r.Failure.Hint != e.hint || r.Finished.IsZero()) {
		w.Fatalf("the record does not say so: %s", e)
	}
	w.leftovers()
	return e.record
}

func (w *world) toApp() events.Restore {
	return events.Restore{
		From: events.From{Backup: "photos:" + string(firstRun)}, To: events.To{Target: "new"}, Wishes: everything,
		StartedBy: catalog.Starter{By: "test", Who: "ada@desk"},
	}
}

var everything = app.Wishes{Documents: true, Objects: true}

func to(r events.Restore, to events.To) events.Restore {
	r.To = to
	return r
}
