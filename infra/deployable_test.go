package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/infra/cloud"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/machine"
	"lifeboat/internal/notify"
	"lifeboat/internal/vault"
)

// deployable synthesizes testdata/deployable.yaml with zips of the functions as they are built for this machine. The rest
// of what the tests run is read from there.
func deployable(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	props, err := properties(folder, "testdata/deployable.yaml")
	if err != nil {
		t.Fatal(err)
	}
	programs := filepath.Join(folder, "programs")
	if err := runtimeapi.Build(t.Context(), "..", programs); err != nil {
		t.Fatal(err)
	}
	for _, f := range deployed.Functions {
		program, err := os.ReadFile(filepath.Join(programs, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := pack(filepath.Join(props.Dist, f.Name+".zip"), program); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(folder, "cdk.out")
	if err := synthesize(props, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func pack(path string, program []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := zip.NewWriter(file)
	bootstrap, err := w.CreateHeader(&zip.FileHeader{Name: "bootstrap", Method: zip.Store})
	if err != nil {
		return err
	}
	if _, err := bootstrap.Write(program); err != nil {
		return err
	}
	return w.Close()
}

// Keys of the account beside the stack's own, as testdata/deployable.yaml names them.
const (
	photosKey  = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555"
	papersKey  = "arn:aws:kms:us-east-1:111122223333:key/66666666-7777-8888-9999-000000000000"
	secretsKey = "arn:aws:kms:us-east-1:111122223333:key/99999999-2222-3333-4444-555555555555"
)

// live is a stack that is deployed, and what stands around it.
type live struct {
	*cloud.Cloud
	t       *testing.T
	ctx     context.Context
	catalog *catalog.Catalog
	log     string
	web     string       // address of an archive that somebody else serves
	served  []byte       // that archive
	zipline atomic.Int64 // requests to the stand-in of the source

	mutex sync.Mutex
	hooks []string // subjects that the webhook heard
}

// deploy brings the template to life. These variables stand beside those of the template, and only these:
//
//	LIFEBOAT_LOOPBACK=1   lets the stand-ins be on this machine
//	SSL_CERT_FILE         trusts the webhook's certificate
func deploy(t *testing.T, out string, without func(role, action, resource string) bool) *live {
	t.Helper()
	template, err := cloud.Read(out, "nightly")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	l := &live{t: t, ctx: ctx, log: log.Name()}
	hook := httptest.NewTLSServer(http.HandlerFunc(l.hear))
	t.Cleanup(hook.Close)
	certificate := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sample := standin.Sample()
	source := standin.New(standin.Options{Export: sample.Export})
	zipline := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.zipline.Add(1)
		source.ServeHTTP(w, r)
	}))
	t.Cleanup(zipline.Close)
	target := httptest.NewServer(standin.New(standin.Options{NoRateLimits: true, Storage: standin.Storage{Total: 1 << 40, Available: 1 << 40}}))
	t.Cleanup(target.Close)
	archives := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "archive.zip", time.Time{}, bytes.NewReader(l.served))
	}))
	t.Cleanup(archives.Close)
	l.web = archives.URL
	l.Cloud, err = cloud.New(ctx, template, cloud.Options{
		Folder: folder, Log: log, Without: without,
		Verified: []string{"ops@example.net"},
		Buckets:  map[string]string{"example-photos": photosKey, "example-papers": "", "example-photos-new": "", "example-papers-new": papersKey},
		Secrets: map[string]cloud.Secret{
			"zipline":  {Value: `{"token":"` + standin.SuperAdminToken + `"}`, Key: secretsKey},
			"hook":     {Value: hook.URL + "/T0KEN"},
			"hook-key": {Value: "kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG"},
		},
		Variable: []string{"LIFEBOAT_LOOPBACK=1", "SSL_CERT_FILE=" + certificate},
		Asset: func(_ string, data []byte) []byte {
			return []byte(strings.NewReplacer("https://zipline.example.com", zipline.URL, "https://zipline-new.example.com", target.URL, "https://archives.example.com", archives.URL).Replace(string(data)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Services.Parameters["/lifeboat/zipline-new"] = standin.SuperAdminToken
	l.catalog = catalog.New(vault.New(l.S3, l.Bucket("Vault"), nil))
	uploads := t.TempDir()
	if err := sample.WriteUploads(uploads); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(uploads, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(uploads, path)
		data, err := os.ReadFile(path)
		return errors.Join(err, l.Put(ctx, "example-photos", "zipline/"+filepath.ToSlash(name), data))
	}); err != nil {
		t.Fatal(err)
	}
	for name, body := range papers() {
		if err := l.Put(ctx, "example-papers", name, body); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// papers are the objects of a source: small ones, an empty one, and one that is larger than a part.
func papers() map[string][]byte {
	all := map[string][]byte{"big.bin": bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16), "empty": {}}
	for n := range 20 {
		all[fmt.Sprintf("album/%02d.txt", n)] = bytes.Repeat(fmt.Append(nil, n), n+1)
	}
	return all
}

func (l *live) hear(_ http.ResponseWriter, r *http.Request) {
	var body notify.WebhookBody
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get(notify.WebhookSignature) == "" {
		l.t.Errorf("%v, %v", r.Header, err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.hooks = append(l.hooks, body.Subject)
}

func (l *live) heard() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.hooks)
}

// four is when schedules go off.
var four = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// tick sends what the schedule of a source's backups sends, and returns the id of the run and whether it was there.
func (l *live) tick(schedule string, now time.Time) (id backup.ID, answer string) {
	l.t.Helper()
	raw, err := l.Tick(l.ctx, schedule, now, "")
	if err != nil {
		l.t.Fatal(err)
	}
	var said struct {
		Run    backup.ID
		Answer string
	}
	if err := json.Unmarshal([]byte(raw), &said); err != nil {
		l.t.Fatalf("%s: %v", raw, err)
	}
	return said.Run, said.Answer
}

// backup runs a backup as its schedule starts it, to its end.
func (l *live) backup(source backup.Source, now time.Time) (catalog.Record, machine.Outcome) {
	l.t.Helper()
	id, _ := l.tick(map[backup.Source]string{"photos": "BackupPhotosSchedule", "papers": "BackupPapersSchedule"}[source], now)
	outcome, err := l.Execution(l.ctx, string(id))
	if err != nil {
		l.t.Fatal(err)
	}
	record, err := l.catalog.Record(l.ctx, source, id)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		l.t.Fatal(err)
	}
	return record, outcome
}

// good fails the test unless a backup is complete.
func (l *live) good(record catalog.Record, outcome machine.Outcome) {
	l.t.Helper()
	if record.Status != backup.Completed || outcome.Status != machine.Succeeded || record.Notified.Status != "sent" {
		l.explain()
		l.t.Fatalf("the backup is %s, its execution %+v: %+v, %+v, %+v", record.Status, outcome, record.Failure, record.Problems, record.Notified)
	}
}

// explain shows what IAM has refused, and the end of the log.
func (l *live) explain() {
	l.t.Helper()
	for _, refused := range l.Refused() {
		l.t.Errorf("refused: %s", refused)
	}
	data, _ := os.ReadFile(l.log)
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, `"level":"ERROR"`) {
			l.t.Log(line)
		}
	}
}

// archive returns the entries of an archive, read by Go's reader from the vault's bytes; Python's looks at it, too, where
// there is one.
func (l *live) archive(record catalog.Record) map[string][]byte {
	l.t.Helper()
	key := string(record.Archive.Key)
	all, err := l.Objects(l.ctx, l.Bucket("Vault"), key)
	if err != nil || len(all) != 1 {
		l.t.Fatalf("%d archives %s: %v", len(all), key, err)
	}
	return l.unzip(all[key])
}

func (l *live) unzip(data []byte) map[string][]byte {
	l.t.Helper()
	reader, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		l.t.Fatal(err)
	}
	entries := map[string][]byte{}
	for _, entry := range reader.File {
		file, err := entry.Open()
		if err != nil {
			l.t.Fatal(err)
		}
		body, err := io.ReadAll(file) // checks the CRC
		if err := errors.Join(err, file.Close()); err != nil {
			l.t.Fatalf("%s: %v", entry.Name, err)
		}
		entries[entry.Name] = body
	}
	if python, err := exec.LookPath("python3"); err == nil {
		path := filepath.Join(l.t.TempDir(), "archive.zip")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			l.t.Fatal(err)
		}
		if out, err := exec.CommandContext(l.ctx, python, "-m", "zipfile", "-t", path).CombinedOutput(); err != nil {
			l.t.Errorf("Python's zipfile: %v\n%s", err, out)
		}
	}
	return entries
}

// same compares bytes by name, without printing them.
func same(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	if diff := cmp.Diff(digests(want), digests(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func digests(of map[string][]byte) map[string]string {
	all := map[string]string{}
	for name, body := range of {
		sum := sha256.Sum256(body)
		all[name] = hex.EncodeToString(sum[:8])
	}
	return all
}

// below returns what lies below a prefix, without it.
func below(all map[string][]byte, prefix string) map[string][]byte {
	found := map[string][]byte{}
	for name, body := range all {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			found[rest] = body
		}
	}
	return found
}

// once returns true the first time, and the n-1 times after.
func first(n int64) func() bool {
	var seen atomic.Int64
	return func() bool { return seen.Add(1) <= n }
}

// step reports whether a payload asks for a step.
func step(payload []byte, name string) bool {
	var m struct{ Step string }
	return json.Unmarshal(payload, &m) == nil && m.Step == name
}

// scenario is one of TestDeployable.
type scenario struct {
	name string
	run  func(*live)
}

// TestDeployable runs backups and restores through the template: its functions, roles, machines, rules, schedules and
// routes. What IAM refused is wrong, and so is a right that none of it has used; see unused.
func TestDeployable(t *testing.T) {
	out := deployable(t)
	var never []string // rights that no scenario has used so far
	scenarios := []scenario{
		{"schedules", schedules},
		{"restores", restores},
		{"drills", drills},
		{"api", throughAPI},
		{"killed", killed},
		{"timed out", timedOut},
		{"throttled", throttled},
		{"closed", closed},
		{"lost", lost},
		{"from a URL", fromURL},
		{"many", many},
	}
	ran := 0
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			began := time.Now()
			l := deploy(t, out, nil)
			scenario.run(l)
			for _, refused := range l.Refused() {
				t.Errorf("IAM refused %s", refused)
			}
			l.quiet()
			if unused := l.Unused(); ran == 0 {
				never = unused
			} else {
				never = slices.DeleteFunc(never, func(r string) bool { return !slices.Contains(unused, r) })
			}
			ran++
			t.Logf("took %s", time.Since(began).Round(10*time.Millisecond))
		})
	}
	t.Run("denied", func(t *testing.T) { denied(t, out) })
	switch {
	case t.Failed():
	case ran < len(scenarios): // -run names some of them
		t.Logf("%d of %d scenarios ran: which rights nothing uses is not looked at", ran, len(scenarios))
	default:
		checkUnused(t, never)
	}
}

// quiet: no secret stands in the log.
func (l *live) quiet() {
	l.t.Helper()
	data, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, word := range []string{standin.SuperAdminToken, "T0KEN", "X-Amz-Signature", "kZ3vQ8xW1pL6"} {
		if n := bytes.Index(data, []byte(word)); n >= 0 {
			l.t.Errorf("a secret in the log: %q", data[max(0, n-200):min(len(data), n+50)])
		}
	}
}

// schedules runs the backups of both sources as their schedules start them, opens the link of a mail, and downloads.
func schedules(l *live) {
	t := l.t
	photos, outcome := l.backup("photos", four)
	l.good(photos, outcome)
	if l.zipline.Load() == 0 || photos.StartedBy != (catalog.Starter{By: "schedule", Who: "photos"}) {
		t.Errorf("%d requests to Zipline; started by %+v", l.zipline.Load(), photos.StartedBy)
	}
	uploads, err := l.Objects(l.ctx, "example-photos", "zipline/")
	if err != nil {
		t.Fatal(err)
	}
	entries := l.archive(photos)
	same(t, below(uploads, "zipline/"), below(entries, "uploads/"))
	if !bytes.Contains(entries["export.json"], []byte("Harbour Files")) {
		t.Errorf("export.json has %d bytes", len(entries["export.json"]))
	}

	record, outcome := l.backup("papers", four.Add(30*time.Minute))
	l.good(record, outcome)
	entries = l.archive(record)
	same(t, papers(), below(entries, "files/"))
	if len(l.Services.Mails()) != 2 || len(l.heard()) != 2 || !strings.HasPrefix(l.heard()[1], "[ok] ") {
		t.Errorf("%d mails, the webhook heard %q", len(l.Services.Mails()), l.heard())
	}
	same(t, entries, l.unzip(l.download(l.link(1))))

	// the same event again, and the watchdog
	id, answer := l.tick("BackupPapersSchedule", four.Add(30*time.Minute))
	if id != record.ID || answer != "duplicate" || len(l.Services.Executions()) != 2 {
		t.Errorf("the same event again: %s %s, %d executions", id, answer, len(l.Services.Executions()))
	}
	if _, err := l.Start(l.Machine("BackupMachine").ARN, "console", inputOf(t, events.Input{Run: events.Run{ID: record.ID, Source: "papers", StartedBy: record.StartedBy}})); err != nil {
		t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Status != machine.Succeeded || len(l.Services.Mails()) != 2 {
		t.Errorf("the same run under another name: %+v, %v, %d mails", outcome, err, len(l.Services.Mails()))
	}
	for _, watch := range []string{"WatchPhotosSchedule", "WatchPapersSchedule"} {
		if _, err := l.Tick(l.ctx, watch, time.Now(), ""); err != nil {
			t.Error(err)
		}
	}
}

func inputOf(t *testing.T, input any) []byte {
	t.Helper()
	data, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// link returns the link of a mail.
func (l *live) link(mail int) string {
	l.t.Helper()
	text := strings.ReplaceAll(string(l.Services.Mails()[mail]), "=\r\n", "")
	_, rest, found := strings.Cut(text, l.Endpoint("Public")+"/l/")
	end := strings.IndexFunc(rest, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", r)
	})
	if !found || end < 20 {
		l.t.Fatalf("no link in\n%s", text)
	}
	return l.Endpoint("Public") + "/l/" + rest[:end]
}

// ask sends a request to the API.
func (l *live) ask(who cloud.Caller, method, address, body string, header ...string) cloud.Answer {
	l.t.Helper()
	headers := http.Header{}
	for n := 0; n < len(header); n += 2 {
		headers.Set(header[n], header[n+1])
	}
	answer, err := l.Ask(l.ctx, who, method, address, body, headers)
	if err != nil {
		l.t.Fatal(err)
	}
	return answer
}

// download opens a link as a browser does: the page, its form, the presigned URL.
func (l *live) download(link string) []byte {
	l.t.Helper()
	page := l.ask(cloud.Caller{}, "GET", link, "")
	_, rest, _ := strings.Cut(page.Body, `name="nonce" value="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	minted := l.ask(cloud.Caller{}, "POST", link, url.Values{"nonce": {nonce}}.Encode(), "content-type", "application/x-www-form-urlencoded")
	if page.StatusCode != http.StatusOK || minted.StatusCode != http.StatusSeeOther {
		l.t.Fatalf("%d, %+v", page.StatusCode, minted)
	}
	answer, err := http.Get(minted.Headers["location"])
	if err != nil {
		l.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		l.t.Fatalf("%s: %.300s, %v", answer.Status, data, err)
	}
	return data
}

// sample is an input of events/, with the names of this stack in the place of the sample's.
func sample(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile("../events/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer("photos:latest", "papers:latest", "photos-new", "papers-new").Replace(string(data)))
}

// restored compares what lies in the bucket of the target.
func (l *live) restored(want map[string][]byte) {
	l.t.Helper()
	got, err := l.Objects(l.ctx, "example-papers-new", "")
	if err != nil {
		l.t.Fatal(err)
	}
	same(l.t, want, below(got, "restored/"))
	if len(got) != len(want) {
		l.t.Errorf("%d objects, want %d below restored/", len(got), len(want))
	}
}

// restores starts a restore with what a person pastes into the console.
func restores(l *live) {
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	for _, dry := range []bool{true, false} {
		name, file := "console", "restore-input.json"
		if dry {
			name, file = "dry", "restore-input-dry-run.json"
		}
		if _, err := l.Start(l.Machine("RestoreMachine").ARN, name, sample(l.t, file)); err != nil {
			l.t.Fatal(err)
		}
		outcome, err := l.Execution(l.ctx, name)
		if err != nil || outcome.Status != machine.Succeeded {
			l.explain()
			l.t.Fatalf("%s: %+v, %v", name, outcome, err)
		}
		if dry {
			l.restored(nil)
		}
	}
	l.restored(papers())
	if n := len(l.Services.Mails()); n != 2 {
		l.t.Errorf("%d mails", n)
	}
}

// drills runs what the schedules of drills send.
func drills(l *live) {
	for _, source := range []backup.Source{"papers", "photos"} {
		record, outcome := l.backup(source, four)
		l.good(record, outcome)
	}
	for _, drill := range l.Template.Of("AWS::Scheduler::Schedule") {
		if !strings.HasPrefix(drill, "Drill") {
			continue
		}
		if _, err := l.Tick(l.ctx, drill, four, drill); err != nil {
			l.t.Fatal(err)
		}
		if outcome, err := l.Execution(l.ctx, drill); err != nil || outcome.Status != machine.Succeeded {
			l.explain()
			l.t.Fatalf("%s: %+v, %v", drill, outcome, err)
		}
	}
	l.restored(papers())
}

// The callers of the API.
var (
	reader  = cloud.Caller{Email: "anna@example.org", Scopes: []string{"backup:read"}}
	runner  = cloud.Caller{Email: "anna@example.org", Scopes: []string{"backup:run", "backup:restore"}}
	robot   = cloud.Caller{IAM: "arn:aws:sts::111122223333:assumed-role/robot/one"}
	nobody  = cloud.Caller{}
	asJSON  = []string{"content-type", "application/json"}
	papersA = `{"source":"papers"}`
)

// throughAPI backs up and restores as people and machines ask for it, and holds each route against its authorizer.
func throughAPI(l *live) {
	t, people, machines := l.t, l.Endpoint("Public"), l.Endpoint("Machines")
	for _, c := range []struct {
		who          cloud.Caller
		method, path string
		want         int
	}{
		{nobody, "POST", people + "/backups", 401},
		{nobody, "GET", people + "/restores", 401},
		{reader, "POST", people + "/backups", 403},
		{reader, "POST", people + "/restores", 403},
		{runner, "GET", people + "/backups", 403},
		{nobody, "POST", machines + "/backups", 403},
		{reader, "GET", machines + "/backups", 403},
		{robot, "GET", people + "/backups", 401},
		{robot, "GET", machines + "/l/token", 404},
		{robot, "DELETE", machines + "/backups/x", 404},
		{nobody, "GET", people + "/l/forged", 404},
	} {
		if got := l.ask(c.who, c.method, c.path, papersA, asJSON...); got.StatusCode != c.want {
			t.Errorf("%s %s by %+v: %d, want %d", c.method, c.path, c.who, got.StatusCode, c.want)
		}
	}
	execution := ""
	var started struct{ ID string }
	keyed := append(slices.Clone(asJSON), "idempotency-key", "k-0")
	for range 2 {
		if err := json.Unmarshal([]byte(l.ask(runner, "POST", people+"/backups", papersA, keyed...).Body), &started); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.Services.Executions()); n != 1 {
		t.Fatalf("%d executions of the same key", n)
	}
	for name := range l.Services.Executions() {
		execution = name
	}
	if outcome, err := l.Execution(l.ctx, execution); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		t.Fatalf("%+v, %v", outcome, err)
	}
	if a := l.ask(reader, "GET", people+"/backups/"+started.ID, ""); a.StatusCode != 200 || !strings.Contains(a.Body, `"completed"`) || !strings.Contains(a.Body, "anna@example.org") {
		t.Errorf("%+v", a)
	}
	if a := l.ask(robot, "GET", machines+"/backups?source=papers", ""); a.StatusCode != 200 || !strings.Contains(a.Body, started.ID) {
		t.Errorf("%+v", a)
	}
	const restore = `{"from":{"backup":"papers:latest"},"to":{"target":"papers-new"}}`
	answer := l.ask(robot, "POST", machines+"/restores", restore, append(asJSON, "idempotency-key", "k-1")...)
	if err := json.Unmarshal([]byte(answer.Body), &started); err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatalf("%+v: %v", answer, err)
	}
	for name := range l.Services.Executions() {
		if strings.Contains(l.Services.Executions()[name], `"restore"`) {
			execution = name
		}
	}
	if outcome, err := l.Execution(l.ctx, execution); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		t.Fatalf("%+v, %v", outcome, err)
	}
	if again := l.ask(robot, "POST", machines+"/restores", restore, append(asJSON, "idempotency-key", "k-1")...); again.Body != answer.Body {
		t.Errorf("the same key again: %+v, %+v", answer, again)
	}
	if a := l.ask(robot, "GET", machines+"/restores/"+started.ID, ""); a.StatusCode != 200 || !strings.Contains(a.Body, `"completed"`) {
		t.Errorf("%+v", a)
	}
	l.restored(papers())
}

// needless are rights that the scenarios need not use, as patterns of "role action resource", with the reason why the
// template has them all the same. A right that nothing uses and that does not stand here is one too many; so is a reason that
// excuses nothing any more, but for rights whose use hangs on how fast the machine is.
var needless = []struct{ right, why string }{
	{"* logs:*", "Lambda and Step Functions write logs: nobody keeps them here"},
	{"* xray:*", "traces: nobody keeps them here"},
	{"*MachineRole states:*", "Step Functions itself follows, stops and redrives the children of a Distributed Map"},
	{"*MachineRole s3:*Multipart* *", "results of a Distributed Map that are larger than a part"},
	{"*Role s3:AbortMultipartUpload *", "a function that fails in the middle of an upload aborts it; here it is killed"},
	{"*Role s3:*MultipartUpload* *", "uploads that a run left behind, which a later one looks for"},
	{"*Role sqs:SendMessage *", "events that a function, or the scheduler, could not hand over: not every one does so here"},
	{"CopyRole s3:DeleteObject *", "a call that outlives its run removes what it wrote"},
	{"CopyRole s3:GetObject *:nightly-vault*/packs/*", "a pack that an earlier attempt has finished; fragments that are packed anew"},
	{"CopyRole s3:ListBucket arn:aws:s3:::example-*", "S3 would say forbidden, not gone, of an object that has gone"},
	{"*Role s3:PutObject *:nightly-vault*/catalog/leases/*", "a step that takes longer than a minute keeps the lease of its run"},
	{"ExportRole *:GetObject arn:aws:s3:::example-*", "documents of a source that lie in its bucket: neither kind here has any"},
	{"ExportRole kms:Decrypt *", "the same documents, encrypted"},
	{"ExportRole s3:GetObject* *:nightly-vault*/packs/*", "the indexes of packs of a run that was lost, and whether packs are locked"},
	{"ExportRole s3:* *:nightly-vault*/archives/*", "an archive of a run that was lost after it was sealed"},
	{"* s3:* *:nightly-vault*/catalog/locks/*", "packs whose lock is extended: not on their first day"},
	{"PackageRole s3:* *:nightly-vault*/catalog/condemned/*", "packs that were merged away: there is no second generation here"},
	{"PackageRole s3:PutObject *:nightly-vault*/packs/*", "packs that are merged"},
	{"NotifyRole kms:Decrypt *:key/99999999-*", "the webhook's secrets may have a key of the account; here they have none"},
	{"RestoreRole kms:Decrypt *:key/99999999-*", "a target's secrets may have a key of the account; this one is a parameter"},
	{"RestoreRole s3:* arn:aws:s3:::example-photos-new/*", "the drill of photos is a dry run"},
	{"RestoreRole s3:GetObject arn:aws:s3:::example-papers-new/*", "an object that is there already is compared: there is none"},
	{"RestoreRole s3:* *:nightly-vault*/catalog/names/*", "restores with a name of their own"},
	{"RestoreRole s3:GetObject *:nightly-vault*/archives/*", "a backup whose packs are gone is read from its archive"},
	{"PackageRole kms:VerifyMac *", "backups of before are authenticated before their packs are deleted: nothing is so old here"},
	{"Signer *", "a person assumes it and signs one URL"},
}

// hurried are those of needless that a slow machine may use.
var hurried = []string{
	"*Role s3:AbortMultipartUpload *", "*Role s3:*MultipartUpload* *", "*Role sqs:SendMessage *", "CopyRole s3:DeleteObject *",
	"CopyRole s3:GetObject *:nightly-vault*/packs/*", "*Role s3:PutObject *:nightly-vault*/catalog/leases/*", "ExportRole s3:GetObject* *:nightly-vault*/packs/*",
	"ExportRole s3:* *:nightly-vault*/archives/*",
}

// checkUnused holds the rights that nothing has used against the list of those that may be.
func checkUnused(t *testing.T, never []string) {
	t.Helper()
	excuses := make([]bool, len(needless))
	for _, right := range never {
		at := -1
		for n := range needless {
			if cloud.Like(needless[n].right, right) {
				at, excuses[n] = n, true
			}
		}
		if at < 0 {
			t.Errorf("nothing uses the right %s", right)
			continue
		}
		t.Logf("not used: %s: %s", right, needless[at].why)
	}
	for n, excuse := range excuses {
		if !excuse && !slices.Contains(hurried, needless[n].right) {
			t.Errorf("a right need not be used, and is, or is not there: %s (%s)", needless[n].right, needless[n].why)
		}
	}
}
