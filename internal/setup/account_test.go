package setup_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
	"lifeboat/internal/machine"
	"lifeboat/internal/replay"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// The accounts of the tests. The embedded server takes its access key for the account that owns its buckets, and refuses
// every other that a request names.
const (
	ours, theirs = "111122223333", "444455556666"
	reader       = "arn:aws:iam::" + theirs + ":role/lifeboat-reader"
)

const accounts = `
vault: {s3: s3://vault}
sources:
  papers: {kind: files, prefer: speed, path: {s3: s3://partner/in, role: "ROLE", external-id: x-77}}
  guessed: {kind: files, path: {s3: s3://partner/in, role: "ROLE", external-id: x-78}}
  spliced: {kind: files, prefer: speed, path: {s3: s3://data, owner: "111122223333"}}
  taken: {kind: files, path: {s3: s3://data, owner: "999988887777"}}
targets:
  back: {kind: files, path: {s3: s3://partner-back, role: "ROLE", external-id: x-77}}
  guessed-back: {kind: files, path: {s3: s3://partner-back, role: "ROLE", external-id: x-78}}
  own-back: {kind: files, path: {s3: s3://data-back, owner: "111122223333"}}
  taken-back: {kind: files, path: {s3: s3://data-back, owner: "999988887777"}}
`

// world is the vault in one account and buckets in another, behind one address, as S3 is.
type world struct {
	*testing.T
	config *config.Config
	vault  *vault.Vault
	theirs *s3.Client
	direct *s3.Client // past the address: to the SDK another store
	sts    *runtimeapi.STS
	clock  time.Time

	doing   string // the step that works
	billed  map[string]billed
	account string // what the targets of restores know of who runs them

	mutex    sync.Mutex
	requests []request
	refuse   func(request) bool // answer AccessDenied; nil: nothing
}

// request is what a bucket is asked: by whom, and whose it is said to be.
type request struct {
	bucket, by, owner     string
	method, copied, whose string // where it copies: from where, and whose that is said to be
	upload                string // "uploads" where it begins one, "uploadId" where it concerns one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	here, there := w.server(ours), w.server(theirs)
	w.theirs, w.direct = there.client, here.client
	w.sts = &runtimeapi.STS{Roles: map[string]runtimeapi.Trust{
		reader: {Principal: ours, ExternalID: "x-77", AccessKey: theirs, SecretKey: there.secret},
	}}
	front := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		q := request{
			by: runtimeapi.AccessKey(r), owner: r.Header.Get("X-Amz-Expected-Bucket-Owner"), method: r.Method,
			copied: r.Header.Get("X-Amz-Copy-Source"), whose: r.Header.Get("X-Amz-Source-Expected-Bucket-Owner"),
		}
		q.bucket, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		for _, word := range []string{"uploads", "uploadId"} {
			if r.URL.Query().Has(word) {
				q.upload = word
			}
		}
		w.mutex.Lock()
		w.requests = append(w.requests, q)
		w.bill(r)
		refused := w.refuse != nil && w.refuse(q)
		w.mutex.Unlock()
		if refused {
			rw.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(rw, "<Error><Code>AccessDenied</Code></Error>")
			return
		}
		if strings.HasPrefix(q.bucket, "partner") {
			there.guard.ServeHTTP(rw, r)
			return
		}
		here.guard.ServeHTTP(rw, r)
	})
	for name, handler := range map[string]http.Handler{"AWS_ENDPOINT_URL_S3": front, "AWS_ENDPOINT_URL_STS": w.sts} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		t.Setenv(name, server.URL)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": ours, "AWS_SECRET_ACCESS_KEY": here.secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": here.region,
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	client, err := vault.Connect(t.Context(), vault.Store{})
	if err == nil {
		w.config, err = config.Parse("lifeboat.yaml", []byte(strings.ReplaceAll(accounts, "ROLE", reader)), t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.vault = vault.New(client, "vault", nil)
	for client, names := range map[*s3.Client][]string{here.client: {"vault", "data", "data-back"}, there.client: {"partner", "partner-back"}} {
		for _, name := range names {
			if err := vault.New(client, name, nil).CreateBucket(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// store is the embedded server of one account.
type store struct {
	client         *s3.Client
	guard          *runtimeapi.Guard
	secret, region string
}

// server starts the server of an account, and puts a guard before it that lets in who has the account's keys.
func (w *world) server(account string) store {
	w.Helper()
	folder := w.TempDir()
	key := strings.Repeat(account, 4)
	err := os.Mkdir(filepath.Join(folder, "server"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "server", "credentials.json"), fmt.Appendf(nil, `{"access":%q,"secret":%q}`, account, key), 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
	server, err := local.Attach(w.Context(), folder, slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = server.Close() })
	s := store{secret: key, region: server.Region()}
	s.client, err = vault.Connect(w.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(account), SecretKey: secret.New(key),
	})
	if err == nil {
		s.guard, err = runtimeapi.NewGuard(server.URL(), server.HTTPClient().Transport, nil)
	}
	if err != nil {
		w.Fatal(err)
	}
	s.guard.Ask = func(r *http.Request, _, _, _ string) bool { return runtimeapi.AccessKey(r) == account }
	return s
}

func (w *world) put(client *s3.Client, bucket, prefix string, objects map[string]string) {
	w.Helper()
	for name, text := range objects {
		if _, err := client.PutObject(w.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: new(prefix + name), Body: strings.NewReader(text)}); err != nil {
			w.Fatal(err)
		}
	}
}

// asked returns the requests for a bucket since the last call, each kind once.
func (w *world) asked(bucket string) []request {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	kinds := map[request]bool{}
	for _, q := range w.requests {
		q.copied, _, _ = strings.Cut(strings.TrimPrefix(q.copied, "/"), "/")
		if q.bucket == bucket || q.copied == bucket {
			kinds[q] = true
		}
	}
	return slices.Collect(maps.Keys(kinds))
}

func (w *world) key() *keyring.Key {
	w.Helper()
	key, err := keyring.Parse([]byte(`{"lifeboat_key":1,"vault":"TESTVAULT12","seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","public_key":"A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}`))
	if err != nil {
		w.Fatal(err)
	}
	return &key
}

type silent struct{}

func (silent) Notify(context.Context, catalog.Record, *catalog.Record, backup.Status) (catalog.Notified, error) {
	return catalog.Notified{Status: "none"}, nil
}

func (silent) NotifyRestore(context.Context, catalog.Restore) (catalog.Notified, error) {
	return catalog.Notified{Status: "none"}, nil
}

// execute runs a definition in this process. The error is the one that the workflow ended with.
func (w *world) execute(m *machine.Machine, name string, input any, handle func(context.Context, string, []byte) (json.RawMessage, error)) error {
	w.Helper()
	data, err := json.Marshal(input)
	if err != nil {
		w.Fatal(err)
	}
	engine := &machine.Engine{
		Rand: func() float64 { return 0 },
		Read: func(ctx context.Context, _, key string) (io.ReadCloser, error) {
			body, _, err := w.vault.Open(ctx, vault.Key(key), 0, -1)
			return body, err
		},
		Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
			ctx, cancel := w.call(ctx, payload)
			defer cancel()
			answer, err := handle(ctx, function, payload)
			if err != nil {
				return nil, step.Boundary{Err: err}
			}
			return answer, nil
		},
	}
	outcome, err := engine.Execute(w.Context(), m, machine.Execution{Name: name, Input: data})
	if err != nil {
		w.Fatal(err)
	}
	if outcome.Status == machine.Succeeded {
		return nil
	}
	return step.Reason(&events.Error{Error: outcome.Error, Cause: outcome.Cause})
}

func (w *world) backup(source backup.Source) (catalog.Record, error) {
	w.Helper()
	m, err := machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"))
	if err != nil {
		w.Fatal(err)
	}
	w.clock = w.clock.Add(time.Minute)
	handle := func(ctx context.Context, function string, payload []byte) (json.RawMessage, error) { // each call is a process of its own
		steps := &step.Steps{
			Vault: w.vault, Sources: &setup.Sources{Config: w.config}, Signer: w.key().Private, Notifier: silent{}, Version: "test", Holder: "test",
			Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.clock },
		}
		return steps.Handle(ctx, function, payload)
	}
	id := backup.NewID(w.clock)
	ended := w.execute(m, string(id), events.Input{Run: events.Run{ID: id, Source: source, StartedBy: catalog.Starter{By: "test"}}}, handle)
	record, err := catalog.New(w.vault).Record(w.Context(), source, id)
	if err != nil {
		w.Fatal(err)
	}
	return record, ended
}

func (w *world) restore(of catalog.Record, target string) (catalog.Restore, error) {
	w.Helper()
	return w.restoreTo(of, events.To{Target: target})
}

func (w *world) restoreTo(of catalog.Record, to events.To) (catalog.Restore, error) {
	w.Helper()
	m, err := machine.Load(workflow.Restore, workflow.RestoreFunctions, machine.WithInputs("restore"), machine.WithName("restore"))
	if err != nil {
		w.Fatal(err)
	}
	steps := &replay.Steps{
		Vault: w.vault, Targets: &setup.Targets{Config: w.config, Account: w.account}, Trusted: []ed25519.PublicKey{w.key().Public()}, Local: true, Notifier: silent{},
		Now: func() time.Time { return w.clock }, Log: slog.New(slog.DiscardHandler), Version: "test", Holder: "test",
	}
	r, err := steps.Prepare(w.Context(), events.Restore{From: events.From{Backup: string(of.ID)}, To: to, StartedBy: catalog.Starter{By: "test"}})
	if err != nil {
		return catalog.Restore{}, err
	}
	r.Execution = string(r.ID)
	ended := w.execute(m, r.Execution, events.RestoreInput{Restore: r}, steps.Handle)
	record, err := catalog.New(w.vault).Restore(w.Context(), r.ID)
	if err != nil && ended == nil {
		w.Fatal(err)
	}
	return record, ended
}

// archived returns the files of a backup's archive.
func (w *world) archived(of catalog.Record) map[string]string {
	w.Helper()
	data, _, err := w.vault.Get(w.Context(), vault.Archive(of.Source, of.ID))
	if err != nil {
		w.Fatal(err)
	}
	reader, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		w.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range reader.File {
		name, found := strings.CutPrefix(f.Name, "files/")
		if !found {
			continue
		}
		body, err := f.Open()
		if err != nil {
			w.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			w.Fatalf("%s: %v", name, err)
		}
		all[name] = string(text)
	}
	return all
}

func contents(t *testing.T, client *s3.Client, bucket string) map[string]string {
	t.Helper()
	all := map[string]string{}
	b := vault.New(client, bucket, nil)
	for info, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := b.Get(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		all[string(info.Key)] = string(data)
	}
	return all
}

func files() map[string]string {
	return map[string]string{"large.bin": strings.Repeat("0123456789abcdef", 3<<18), "small.txt": "small", "deep/er.txt": "deeper", "empty": ""}
}

// streamed are the notes about objects that no store copies.
func streamed(notes []app.Finding) []string {
	var said []string
	for _, n := range notes {
		if n.Kind == "streamed" {
			said = append(said, n.Message)
		}
	}
	return said
}

// TestAccounts backs up a bucket of another account through its role, and restores into one: everything streams, with one
// note that says why, and each request is made with the role's credentials and names the account.
func TestAccounts(t *testing.T) {
	w := newWorld(t)
	w.put(w.theirs, "partner", "in/", files())
	record, err := w.backup("papers")
	if err != nil || record.Status != backup.Completed {
		t.Fatalf("%v: %+v", err, record)
	}
	if diff := cmp.Diff(files(), w.archived(record)); diff != "" {
		t.Errorf("the archive (-want +got):\n%.2000s", diff)
	}
	want := []string{"objects were read and written again, which takes longer than to have the store copy them: the bucket partner is reached as " +
		reader + ", and a store copies only what one principal reaches on both sides"}
	if diff := cmp.Diff(want, streamed(record.Notes)); diff != "" {
		t.Errorf("the notes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]request{{bucket: "partner", by: theirs, owner: theirs, method: "GET"}}, w.asked("partner"), cmp.AllowUnexported(request{})); diff != "" {
		t.Errorf("the requests (-want +got):\n%s", diff)
	}

	restored, err := w.restore(record, "back")
	if err != nil || restored.Status != backup.Completed {
		t.Fatalf("%v: %s\n%+v", err, failure.HintOf(err), restored)
	}
	if diff := cmp.Diff(files(), contents(t, w.theirs, "partner-back")); diff != "" {
		t.Errorf("the target (-want +got):\n%.2000s", diff)
	}
	for _, q := range w.asked("partner-back") {
		if q.by != theirs || q.owner != theirs || q.copied != "" {
			t.Errorf("the target is asked by %s, as the bucket of %q: %+v", q.by, q.owner, q)
		}
	}
	if restored.Put.Spliced != 0 || !strings.Contains(restored.Put.Streams, reader) {
		t.Errorf("the restore streams: %+v", restored.Put)
	}
	for _, a := range w.sts.Assumed() {
		if a.Role != reader || a.Principal != ours || a.Session != "lifeboat-papers" && a.Session != "lifeboat-back" {
			t.Errorf("%+v", a)
		}
	}

	if record, err = w.backup("papers"); err != nil || len(streamed(record.Notes)) != 0 {
		t.Errorf("a backup that reads nothing says that it streams: %v, %v", err, record.Notes)
	}
	w.vault = vault.New(w.direct, "elsewhere", nil)
	if err := w.vault.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if record, err = w.backup("papers"); err != nil || len(streamed(record.Notes)) != 0 {
		t.Errorf("a vault that could copy nothing anyway says that the role is why: %v, %v", err, record.Notes)
	}
}

// TestOwner backs up a bucket that names its account: the store copies it, and each request names the account, that of a
// copy on the side that it reads from.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	w.put(w.vault.Client(), "data", "", files())
	w.requests = nil
	record, err := w.backup("spliced")
	if err != nil || record.Status != backup.Completed || len(streamed(record.Notes)) > 0 {
		t.Fatalf("%v: %+v", err, record)
	}
	if diff := cmp.Diff(files(), w.archived(record)); diff != "" {
		t.Errorf("the archive (-want +got):\n%.2000s", diff)
	}
	copies := 0
	for _, q := range w.asked("data") {
		if q.copied == "data" {
			copies++
		}
		if q.bucket == "data" && q.owner != ours || q.copied == "data" && q.whose != ours {
			t.Errorf("a request does not name the owner: %+v", q)
		}
	}
	if copies == 0 {
		t.Error("nothing was copied by the store")
	}
	restored, err := w.restore(record, "own-back")
	if err != nil || restored.Status != backup.Completed || restored.Put.Spliced != 1 {
		t.Fatalf("%v: %+v", err, restored)
	}
	for _, q := range w.asked("data-back") {
		if q.owner != ours {
			t.Errorf("a request does not name the owner of the target: %+v", q)
		}
	}
	if diff := cmp.Diff(files(), contents(t, w.vault.Client(), "data-back")); diff != "" {
		t.Errorf("the target (-want +got):\n%.2000s", diff)
	}
}

// TestRefused: a wrong external id and a wrong account are one sentence each, and name the settings.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.put(w.vault.Client(), "data", "", files())
	w.put(w.theirs, "partner", "in/", files())
	good, err := w.backup("spliced")
	if err != nil {
		t.Fatal(err)
	}
	backed := func(source backup.Source) func() error {
		return func() error { _, err := w.backup(source); return err }
	}
	written := func(target string) func() error {
		return func() error { _, err := w.restore(good, target); return err }
	}
	looked := func(target string) func() error {
		return func() error {
			c, err := w.config.Target(target)
			if err == nil {
				_, _, err = setup.LookAt(t.Context(), c)
			}
			return err
		}
	}
	for name, test := range map[string]struct {
		do          func() error
		want, hints string
	}{
		"external id of a source":    {backed("guessed"), "the role " + reader + " can't be assumed (AccessDenied)", "role external-id"},
		"external id of a target":    {written("guessed-back"), "the role " + reader + " can't be assumed (AccessDenied)", "role external-id"},
		"external id, looked at":     {looked("guessed-back"), "the role " + reader + " can't be assumed (AccessDenied)", "role external-id"},
		"another account's source":   {backed("taken"), "the bucket data refuses (AccessDenied)", "owner 999988887777"},
		"another account's target":   {written("taken-back"), "the bucket data-back refuses (AccessDenied)", "owner 999988887777"},
		"another account, looked at": {looked("taken-back"), "the bucket data-back refuses (AccessDenied)", "owner 999988887777"},
	} {
		err := test.do()
		if failure.KindOf(err) != failure.Denied || !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "x-7") {
			t.Errorf("%s: %s: %v", name, failure.KindOf(err), err)
		}
		for word := range strings.FieldsSeq(test.hints) {
			if !strings.Contains(failure.HintOf(err), word) {
				t.Errorf("%s: the hint does not name %s: %s", name, word, failure.HintOf(err))
			}
		}
	}
}
