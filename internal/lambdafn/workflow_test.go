package lambdafn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
	"lifeboat/internal/machine"
	"lifeboat/internal/notify"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

const stackConfig = `
vault: ./vault
serve: {public-url: "http://127.0.0.1:1"}
sources:
  photos: {kind: files, path: "s3://data", notify: {to: [anna@example.org]}}
  here: {kind: files, path: /srv/files}
targets:
  elsewhere: {kind: files, path: "s3://restored", notify: {to: [anna@example.org]}}
fetch: {allow: ["http://127.0.0.1:WEB"]}
`

const phrase = "kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aGkZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG"

// owner is the account of the vault, and macKey a key of KMS in it.
const (
	owner  = "111122223333"
	macKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

// stack is the built functions, as processes, over the embedded S3 server. Each reaches it through a guard that allows
// what package deployed says and nothing else.
type stack struct {
	t         *testing.T
	client    *s3.Client
	catalog   *catalog.Catalog
	functions map[string]*runtimeapi.Function
	guards    map[string]*runtimeapi.Guard
	services  *runtimeapi.Services
	log       logFile
	traced    atomic.Int64     // requests of the SDK that carry the trace
	more      []string         // NAME=value that replaces what the functions find
	web       *httptest.Server // of archives that somebody else serves
	archive   []byte
	fail      func(function string, payload []byte) error // in place of the function; may be nil
}

func newStack(t *testing.T, more ...string) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds six programs")
	}
	programs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	server, err := local.Attach(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	access, key := server.Credentials()
	client, err := vault.Connect(t.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	locks := slices.ContainsFunc(more, func(variable string) bool { return strings.HasPrefix(variable, "LIFEBOAT_IMMUTABILITY=") })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("vault"), ObjectLockEnabledForBucket: &locks}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data", "restored", "assets"} {
		if err := vault.New(client, name, nil).CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := &stack{
		t: t, client: client, catalog: catalog.New(vault.New(client, "vault", nil)), functions: map[string]*runtimeapi.Function{},
		guards: map[string]*runtimeapi.Guard{}, log: newLog(t), more: more,
		services: &runtimeapi.Services{
			MACs:    map[string][]byte{macKey: []byte("of KMS")},
			Secrets: map[string]string{"signing": phrase, "hook": "https://127.0.0.1:1/", "hook-key": phrase}, Parameters: map[string]string{"/links": phrase},
		},
	}
	s.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "archive.zip", time.Time{}, bytes.NewReader(s.archive))
	}))
	t.Cleanup(s.web.Close)
	_, port, _ := net.SplitHostPort(s.web.Listener.Addr().String())
	configuration := strings.ReplaceAll(stackConfig, "WEB", port)
	s.services.Parameters["/config"] = configuration
	s.put("assets", "3f2a.yaml", []byte(configuration))
	services := httptest.NewServer(s.services)
	t.Cleanup(services.Close)
	for _, f := range deployed.Functions {
		s.add(f, filepath.Join(programs, f.Name), server, access, key, services.URL)
	}
	return s
}

func (s *stack) add(f deployed.Function, program string, server *local.Server, access string, key secret.String, services string) {
	s.t.Helper()
	guard, err := runtimeapi.NewGuard(server.URL(), server.HTTPClient().Transport, func(action, bucket, key string) bool {
		switch bucket {
		case "vault":
			return f.May(action, key)
		case "assets":
			return action == "s3:GetObject" && key == "3f2a.yaml"
		case "data":
			return f.Sources && slices.Contains([]string{"s3:ListBucket", "s3:GetObject"}, action)
		case "restored":
			return f.Targets && slices.Contains([]string{"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"}, action)
		}
		return false
	})
	if err != nil {
		s.t.Fatal(err)
	}
	guard.Owner = func(string) string { return owner }
	guard.Forward = func(r *http.Request) {
		s.disown(r, aws.Credentials{AccessKeyID: access, SecretAccessKey: key.Reveal()}, server.Region())
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amzn-Trace-Id") != "" && r.Header.Get("Authorization") != "" {
			s.traced.Add(1)
		}
		guard.ServeHTTP(w, r)
	}))
	s.t.Cleanup(front.Close)
	values := map[string]string{
		"LIFEBOAT_STACK": "test", "LIFEBOAT_CONFIG": "ssm:/config", "LIFEBOAT_VAULT_BUCKET": "vault", "LIFEBOAT_SIGNING_KEY": "secretsmanager:signing",
		"LIFEBOAT_LINK_KEY": "ssm:/links", "LIFEBOAT_PUBLIC_URL": "https://backup.example.org", "LIFEBOAT_MAIL": "ses",
		"LIFEBOAT_VAULT_OWNER": owner, "LIFEBOAT_MAC_KEY": macKey, "LIFEBOAT_MAIL_FROM": "lifeboat@example.org", "LIFEBOAT_LOOPBACK": "1",
		"LIFEBOAT_BACKUP_MACHINE":  "arn:aws:states:eu-central-1:111122223333:stateMachine:backup",
		"LIFEBOAT_RESTORE_MACHINE": "arn:aws:states:eu-central-1:111122223333:stateMachine:restore",
	}
	if f.Name != "copy" {
		values["LIFEBOAT_CONFIG"] = "s3://assets/3f2a.yaml"
	}
	for _, more := range s.more {
		name, value, _ := strings.Cut(more, "=")
		values[name] = value
	}
	variables := []string{
		"AWS_ENDPOINT_URL_S3=" + front.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + services, "AWS_ENDPOINT_URL_SSM=" + services,
		"AWS_ENDPOINT_URL_SESV2=" + services, "AWS_ENDPOINT_URL_SFN=" + services, "AWS_ENDPOINT_URL_KMS=" + services, "AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + key.Reveal(), "AWS_REGION=" + server.Region(),
	}
	for _, name := range append(slices.Clone(f.Required), f.Optional...) { // and no other: what the table leaves out is not needed
		if values[name] != "" {
			variables = append(variables, name+"="+values[name])
		}
	}
	if file := values["SSL_CERT_FILE"]; file != "" {
		variables = append(variables, "SSL_CERT_FILE="+file)
	}
	function := &runtimeapi.Function{
		Name: "lifeboat-" + f.Name, Bootstrap: program, Variables: variables, Memory: f.Memory, Timeout: min(f.Timeout, time.Minute), Log: s.log.File,
	}
	s.t.Cleanup(function.Close)
	s.functions[f.Name], s.guards[f.Name] = function, guard
}

// disown takes the owner out of a request, once the guard has seen it, and signs the rest again: to the embedded server the
// owner of a bucket is no account, but the key that made it.
func (s *stack) disown(r *http.Request, as aws.Credentials, region string) {
	if r.Header.Get("X-Amz-Expected-Bucket-Owner")+r.Header.Get("X-Amz-Source-Expected-Bucket-Owner") == "" || r.Header.Get("Authorization") == "" {
		return
	}
	for _, header := range []string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner", "Authorization"} {
		r.Header.Del(header)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(r.Context(), as, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", region, time.Now()); err != nil {
		s.t.Error(err)
	}
}

func (s *stack) put(bucket, key string, body []byte) {
	s.t.Helper()
	if _, err := s.client.PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) objects(bucket string) map[string]string {
	s.t.Helper()
	contents := map[string]string{}
	out, err := s.client.ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range out.Contents {
		body, err := s.client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: o.Key})
		if err != nil {
			s.t.Fatal(err)
		}
		data, err := io.ReadAll(body.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		contents[*o.Key] = string(data)
	}
	return contents
}

// execute runs a definition, whose tasks are the processes.
func (s *stack) execute(definition []byte, functions map[string]string, subject, name string, input any) machine.Outcome {
	s.t.Helper()
	m, err := machine.Load(definition, functions, machine.WithInputs(subject))
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := json.Marshal(input)
	if err != nil {
		s.t.Fatal(err)
	}
	engine := &machine.Engine{
		Rand: func() float64 { return 0 }, // nobody waits before trying again
		Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
			if s.fail != nil {
				if err := s.fail(function, payload); err != nil {
					return nil, err
				}
			}
			return s.functions[function].Invoke(ctx, payload)
		},
		Read: func(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
			out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return nil, err
			}
			return out.Body, nil
		},
	}
	outcome, err := engine.Execute(s.t.Context(), m, machine.Execution{Name: name, Input: data})
	if err != nil {
		s.t.Fatal(err)
	}
	return outcome
}

func (s *stack) backup(source backup.Source, at time.Time) (catalog.Record, machine.Outcome) {
	s.t.Helper()
	id := backup.NewID(at)
	run := events.Run{ID: id, Source: source, StartedBy: catalog.Starter{By: "schedule"}}
	outcome := s.execute(workflow.Backup, workflow.BackupFunctions, "run", string(id), events.Input{Run: run})
	record, err := s.catalog.Record(s.t.Context(), source, id)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		s.t.Fatal(err)
	}
	return record, outcome
}

// TestWorkflows runs two backups and a restore through the built functions, each with no more rights than the table in
// package deployed gives it.
func TestWorkflows(t *testing.T) {
	s := newStack(t)
	want := map[string]string{"big.bin": strings.Repeat("0123456789abcdef", 2<<20/16*6), "empty": ""} // 12 MiB
	for n := range 30 {
		want[fmt.Sprintf("album/%02d.txt", n)] = strings.Repeat(fmt.Sprint(n), n+1)
	}
	for key, body := range want {
		s.put("data", key, []byte(body))
	}
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	for n := range 2 {
		record, outcome := s.backup("photos", start.Add(time.Duration(n)*time.Hour))
		if record.Status != backup.Completed || outcome.Status != machine.Succeeded {
			s.explain()
			t.Fatalf("the backup is %s: %+v, %+v", record.Status, record.Failure, outcome)
		}
		if record.Notified.Status != "sent" || record.Notified.Link == "" || record.Lifeboat != deployed.Version {
			t.Errorf("%+v", record.Notified)
		}
		if n == 1 && record.PackedObjects != 0 {
			t.Errorf("the second backup packed %d objects", record.PackedObjects)
		}
	}
	if mails := s.services.Mails(); len(mails) != 2 || !bytes.Contains(mails[0], []byte("https://backup.example.org/l/")) {
		t.Errorf("%d mails", len(mails))
	}
	restore := events.Restore{
		From: events.From{Backup: "photos:latest"}, To: events.To{Target: "elsewhere"},
		Wishes: app.Wishes{Documents: true, Objects: true}, StartedBy: catalog.Starter{By: "person"},
	}
	outcome := s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", "restore", events.RestoreInput{Restore: restore})
	if outcome.Status != machine.Succeeded {
		s.explain()
		t.Fatalf("the restore: %+v", outcome)
	}
	if diff := cmp.Diff(want, s.objects("restored")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	s.explain()
	for _, name := range []string{"signing", "/links", "/config"} { // warm functions don't ask again
		if n := s.services.Asked(name); n == 0 || n > s.processes() {
			t.Errorf("%s was asked for %d times by %d processes", name, n, s.processes())
		}
	}
	s.measured(map[string]int{"Backups": 2, "Restores": 1})
	if s.traced.Load() == 0 {
		t.Error("no request carries the trace")
	}
}

func (s *stack) processes() int {
	n := 0
	for _, f := range s.functions {
		n += f.Processes()
	}
	return n
}

// measured counts metrics by the lines that have them.
func (s *stack) measured(want map[string]int) {
	s.t.Helper()
	got := map[string]int{}
	for _, line := range s.log.lines(s.t) {
		for name := range want {
			if line["_aws"] != nil && line[name] != nil {
				got[name]++
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// explain says what the guards refused, and which rights nobody used.
func (s *stack) explain() {
	s.t.Helper()
	for _, f := range deployed.Functions {
		for _, refused := range s.guards[f.Name].Refused() {
			if strings.Contains(refused, "?challenge=") { // somebody else's greeting, to a server that had the port before
				continue
			}
			s.t.Errorf("%s may not %s", f.Name, refused)
		}
		for _, g := range f.Vault {
			if !s.guards[f.Name].Used(g.Action, "vault", g.Covers) {
				s.t.Logf("%s has not used %s %s", f.Name, g.Action, g.Prefix)
			}
		}
	}
}

// TestRestoreFromURL brings an archive from another server, and makes it again after a failure.
func TestRestoreFromURL(t *testing.T) {
	s := newStack(t)
	s.put("data", "a/b.txt", []byte("b"))
	record, _ := s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	s.archive = []byte(s.objects("vault")[record.Archive.Key])
	restore := events.RestoreInput{Restore: events.Restore{
		From: events.From{URL: s.web.URL + "/archive.zip?token=T0KEN"}, To: events.To{Bucket: &events.Bucket{Name: "restored", Prefix: "new"}},
		StartedBy: catalog.Starter{By: "person"},
	}}
	s.fail = func(_ string, payload []byte) error {
		if strings.Contains(string(payload), `"step":"confirm"`) {
			return &runtimeapi.Error{Type: "Lifeboat.Corrupt", Message: "made up"}
		}
		return nil
	}
	outcome := s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", "first", restore)
	if outcome.Error != "Lifeboat.Corrupt" {
		t.Errorf("%+v", outcome)
	}
	s.fail = nil
	outcome = s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", "second", restore)
	if outcome.Status != machine.Succeeded {
		s.explain()
		t.Fatalf("%+v", outcome)
	}
	if got := s.objects("restored")["new/a/b.txt"] + s.objects("restored")["new/files/a/b.txt"]; got != "b" {
		t.Errorf("restored %v", s.objects("restored"))
	}
	for _, line := range s.log.lines(t) {
		if strings.Contains(fmt.Sprint(line), "T0KEN") {
			t.Errorf("a secret in the log: %v", line)
		}
	}
	s.measured(map[string]int{"Backups": 1, "Restores": 2})
	s.explain()
}

// TestAbort runs a backup that fails after its archive was assembled: what it wrote goes, and somebody hears of it.
func TestAbort(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	s.fail = func(_ string, payload []byte) error {
		if strings.Contains(string(payload), `"step":"seal"`) {
			return &runtimeapi.Error{Type: "Lifeboat.Corrupt", Message: "made up\nhint: none"}
		}
		return nil
	}
	record, outcome := s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if record.Status != backup.Failed || record.Failure.Message != "made up" || record.Failure.Hint != "none" || outcome.Error != "Lifeboat.Corrupt" || len(s.services.Mails()) != 1 {
		t.Errorf("%+v, %+v", record.Failure, outcome)
	}
	for key := range s.objects("vault") {
		if strings.HasPrefix(key, "archives/") || strings.HasPrefix(key, "packs/") || strings.HasPrefix(key, "snapshots/") {
			t.Errorf("left: %s", key)
		}
	}
	s.measured(map[string]int{"Backups": 1})
	run := events.Run{ID: record.ID, Source: record.Source, StartedBy: record.StartedBy}
	if _, err := s.functions["package"].Invoke(t.Context(), ended(t, string(record.ID), "FAILED", events.Input{Run: run})); err != nil {
		t.Error(err)
	}
	s.measured(map[string]int{"Backups": 1}) // the event comes after the workflow has closed the run
	s.explain()
}

// TestLost begins a backup after one that nobody has closed: the function that begins cleans up behind it.
func TestLost(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	s.fail = func(function string, payload []byte) error {
		if function == "package" && strings.Contains(string(payload), `"step":"seal"`) || strings.Contains(string(payload), `"step":"abort"`) {
			return &runtimeapi.Error{Type: "Lifeboat.Internal", Message: "made up"}
		}
		return nil
	}
	lost, _ := s.backup("photos", start)
	if lost.Status != backup.InProgress {
		t.Fatalf("%s", lost.Status)
	}
	if _, err := s.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("vault"), Key: new(string(vault.Lease("photos")))}); err != nil {
		t.Fatal(err) // it has expired
	}
	s.fail = nil
	s.put("data", "b", []byte("b"))
	record, outcome := s.backup("photos", start.Add(time.Hour))
	if record.Status != backup.Completed {
		s.explain()
		t.Fatalf("%+v", outcome)
	}
	lost, err := s.catalog.Record(t.Context(), "photos", lost.ID)
	if err != nil || lost.Status != backup.Failed || lost.Failure.Kind != "lost" {
		t.Errorf("%+v, %v", lost.Failure, err)
	}
	for key := range s.objects("vault") {
		if strings.Contains(key, string(lost.ID)) && !strings.HasPrefix(key, "catalog/") && !strings.HasPrefix(key, "outbox/") {
			t.Errorf("left: %s", key)
		}
	}
	s.explain()
}

// TestWebhookAndNoMail runs a stack that has no way to send mail, but a webhook.
func TestWebhookAndNoMail(t *testing.T) {
	var mutex sync.Mutex
	var subjects []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body notify.WebhookBody
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get(notify.WebhookSignature) == "" {
			t.Errorf("%v, %v", r.Header, err)
		}
		mutex.Lock()
		defer mutex.Unlock()
		subjects = append(subjects, body.Subject)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStack(t, "LIFEBOAT_MAIL=", "LIFEBOAT_WEBHOOK=secretsmanager:hook", "LIFEBOAT_WEBHOOK_KEY=secretsmanager:hook-key", "SSL_CERT_FILE="+file)
	s.services.Secrets["hook"] = server.URL + "/T0KEN"
	s.put("data", "a", []byte("a"))
	record, outcome := s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if record.Status != backup.Completed || outcome.Status != machine.Succeeded {
		t.Fatalf("a backup is no worse for mails that can't be sent: %+v", outcome)
	}
	if len(subjects) != 1 || !strings.HasPrefix(subjects[0], "[ok] ") {
		t.Errorf("the webhook heard %q", subjects)
	}
	told := record.Notified
	if told.Status != "failed" || !strings.Contains(told.Message, "the stack has no way to send mail") || len(told.To) != 2 || strings.Contains(fmt.Sprint(told), "T0KEN") {
		t.Errorf("%+v", told)
	}
	s.explain()
}

// TestRefusedByName runs a source of a folder: nothing begins.
func TestRefusedByName(t *testing.T) {
	s := newStack(t)
	record, outcome := s.backup("here", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if outcome.Error != "Lifeboat.Usage" || !strings.Contains(outcome.Cause, "the source here has its files in the folder /srv/files, which no function of AWS reaches") {
		t.Errorf("%+v", outcome)
	}
	if record.ID != "" {
		t.Errorf("it has a record: %+v", record)
	}
}

// TestKilledThrottledAndClosed runs a backup whose functions are throttled and killed, and then one that nobody closes but
// the event that says so.
func TestKilledThrottledAndClosed(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	var mutex sync.Mutex
	tried := map[string]int{}
	s.fail = func(function string, payload []byte) error {
		mutex.Lock()
		tried[function]++
		again := tried[function] > 1
		mutex.Unlock()
		if again {
			return nil
		}
		if function == "copy" {
			return &runtimeapi.Error{Type: runtimeapi.TooManyName, Message: "Rate Exceeded."}
		}
		_, _ = s.functions[function].Invoke(t.Context(), payload) // it did the work, and its answer was lost
		s.functions[function].Kill()
		return &runtimeapi.Error{Type: runtimeapi.TimedOut, Message: "Task timed out"}
	}
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	record, outcome := s.backup("photos", start)
	if record.Status != backup.Completed || len(s.services.Mails()) != 1 {
		s.explain()
		t.Fatalf("%s, %d mails, %+v", record.Status, len(s.services.Mails()), outcome)
	}

	// begins, and is stopped from the outside
	s.fail = nil
	run := events.Run{ID: backup.NewID(start.Add(time.Hour)), Source: "photos", StartedBy: catalog.Starter{By: "schedule"}}
	begin, _ := json.Marshal(events.Request{Step: "begin", Run: run})
	if _, err := s.functions["export"].Invoke(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	input, _ := json.Marshal(events.Input{Run: run})
	change, _ := json.Marshal(map[string]any{
		"version": "0", "source": "aws.states", "detail-type": "Step Functions Execution Status Change", "account": "111122223333",
		"detail": map[string]any{"status": "TIMED_OUT", "input": string(input), "inputDetails": map[string]any{"included": true}, "output": nil},
	})
	_, err := s.functions["notify"].Invoke(t.Context(), change)
	if failed, ok := errors.AsType[*runtimeapi.Error](err); !ok || failed.Type != "Lifeboat.Transient" {
		t.Errorf("nobody has closed the run, and notify says %v", err)
	}
	for range 2 { // events come at least once
		for _, name := range []string{"package", "notify"} {
			if _, err := s.functions[name].Invoke(t.Context(), change); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	closed, err := s.catalog.Record(t.Context(), "photos", run.ID)
	if err != nil || closed.Status != backup.Failed || !strings.Contains(closed.Failure.Message, "took longer than it may") || closed.Notified.Status != "sent" {
		t.Errorf("%+v, %v", closed, err)
	}
	if n := len(s.services.Mails()); n != 2 {
		t.Errorf("%d mails", n)
	}
	s.explain()
}

// TestSchedule starts backups and watches them.
func TestSchedule(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	call := func(message string) (string, string) {
		raw, err := s.functions["start"].Invoke(t.Context(), []byte(message))
		if failed, ok := errors.AsType[*runtimeapi.Error](err); ok {
			return "", failed.Type
		}
		var answer struct{ Run, Answer string }
		if err := json.Unmarshal(raw, &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Run, answer.Answer
	}
	const start = `{"start":{"source":"photos","at":"2026-11-21T02:00:00Z","schedule":"photos-nightly"}}`
	id, answer := call(start)
	if answer != "started" || !strings.HasPrefix(id, "20261121T020000Z-") {
		t.Errorf("%s %s", id, answer)
	}
	if again, answer := call(start); again != id || answer != "duplicate" {
		t.Errorf("the same event again: %s %s", again, answer)
	}
	var input events.Input
	if err := events.Decode([]byte(s.services.Executions()[id]), &input); err != nil || string(input.Run.ID) != id || input.Run.StartedBy != (catalog.Starter{By: "schedule", Who: "photos-nightly"}) {
		t.Errorf("%+v, %v", input, err)
	}
	if other, _ := call(strings.Replace(start, "photos", "here", 1)); other == id || len(s.services.Executions()) != 2 {
		t.Errorf("another source at the same time: %s", other)
	}
	for message, want := range map[string]string{
		`{"start":{"source":"nobody","at":"2026-11-21T02:00:00Z","schedule":""}}`: "Lifeboat.NotFound",
		`{"start":{"source":"photos","schedule":""}}`:                             "Lifeboat.Usage",
		`{"watch":{"source":"photos","within":"soon"}}`:                           "Lifeboat.Usage",
		`{"start":{"source":"photos","new":1}}`:                                   "Lifeboat.Usage",
		`{}`:                                                                      "Lifeboat.Usage",
	} {
		if _, got := call(message); got != want {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
	stands := func(within string) map[string]any {
		t.Helper()
		before := len(s.log.lines(t))
		call(fmt.Sprintf(`{"watch":{"source":"photos","within":%q}}`, within))
		for _, line := range s.log.lines(t)[before:] {
			if line["Overdue"] != nil {
				return line
			}
		}
		t.Fatal("no metrics")
		return nil
	}
	if m := stands("26h"); m["Overdue"] != 1.0 || m["LastGoodAge"] != nil {
		t.Errorf("without a backup: %v", m)
	}
	if record, outcome := s.backup("photos", time.Now()); record.Status != backup.Completed {
		t.Fatalf("%+v", outcome)
	}
	if m := stands("1h"); m["Overdue"] != 0.0 || m["LastGoodAge"].(float64) > 600 || m["VerifyFailures"] != 0.0 {
		t.Errorf("after a backup: %v", m)
	}
	if m := stands("1ms"); m["Overdue"] != 1.0 {
		t.Errorf("late: %v", m)
	}
	s.explain()
}

// TestLandingPage opens the link of a mail through API Gateway's event.
func TestLandingPage(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	mail := strings.ReplaceAll(string(s.services.Mails()[0]), "=\r\n", "")
	_, rest, found := strings.Cut(mail, "https://backup.example.org/l/")
	if !found {
		t.Fatalf("no link in\n%s", mail)
	}
	token := rest[:strings.IndexFunc(rest, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", r)
	})]
	ask := func(path, method, form string) answered {
		raw, err := s.functions["api"].Invoke(t.Context(), []byte(event("$default", path, method, form, false)))
		if err != nil {
			t.Fatal(err)
		}
		var a answered
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	page := ask("/l/"+token, "GET", "")
	if page.StatusCode != 200 || !strings.Contains(page.Body, "photos") || page.IsBase64Encoded {
		t.Errorf("%+v", page)
	}
	if a := ask("/l/forged", "GET", ""); a.StatusCode != 404 {
		t.Errorf("%d", a.StatusCode)
	}
	_, rest, _ = strings.Cut(page.Body, `name="nonce" value="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	minted := ask("/l/"+token, "POST", url.Values{"nonce": {nonce}}.Encode())
	location := minted.Headers["location"]
	if minted.StatusCode != http.StatusSeeOther || !strings.Contains(location, "X-Amz-Signature") {
		t.Fatalf("%+v", minted)
	}
	archive, err := http.Get(location)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Body.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(archive.Body, head); err != nil || archive.StatusCode != 200 || string(head) != "PK\x03\x04" {
		t.Errorf("%s: %q, %v", archive.Status, head, err)
	}
	for _, line := range s.log.lines(t) {
		if text := fmt.Sprint(line); strings.Contains(text, token) || strings.Contains(text, phrase) || strings.Contains(text, "X-Amz-Signature") {
			t.Errorf("a secret in the log: %s", text)
		}
	}
	s.explain()
}
