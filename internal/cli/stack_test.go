package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
	"lifeboat/internal/machine"
	"lifeboat/internal/netguard"
	"lifeboat/internal/replay"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

const (
	stackPhrase = "kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aGkZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG"
	// What the stack was deployed with, and what its functions work with here: the folders of a test.
	stackYAML = `
vault: ./vault
sources:
  photos: {kind: files, path: "s3://data", notify: {to: [anna@example.org]}}
  here: {kind: files, path: /srv/files}
targets:
  elsewhere: {kind: files, path: "s3://restored"}
  here: {kind: files, path: /srv/restored}
`
	stackInside = `
vault: ./vault
serve: {public-url: "https://backup.example.org"}
sources:
  photos: {kind: files, path: %q, notify: {to: [anna@example.org]}}
targets:
  elsewhere: {kind: files, path: %q}
`
)

// cloud is a stack whose state machines run in the test, behind stand-ins of AWS's services, over the embedded store.
type cloud struct {
	*place
	services *runtimeapi.Services
	client   *s3.Client
	vault    *vault.Vault
	key      keyring.Key
	inside   *config.Config

	mutex sync.Mutex
	gate  chan struct{} // executions begin when it is closed; nil: at once
	last  string        // the name of the execution that was started last
	fail  string        // the step that fails
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	heavy(t)
	server, err := local.Attach(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	access, secretKey := server.Credentials()
	c := &cloud{place: &place{t, &site{dir: t.TempDir(), binary: os.Args[0]}}}
	c.client, err = vault.Connect(t.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: secretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.vault = vault.New(c.client, "vault", nil)
	for _, name := range []string{"vault", "assets"} {
		if err := vault.New(c.client, name, nil).CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"data", "restored"} {
		if err := os.Mkdir(c.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.write("data/a.txt", "a")
	if c.inside, err = config.Parse("lifeboat.yaml", fmt.Appendf(nil, stackInside, c.path("data"), c.path("restored")), c.dir); err != nil {
		t.Fatal(err)
	}
	if c.key, err = deployed.SigningKey(secret.New(stackPhrase)); err != nil {
		t.Fatal(err)
	}
	c.put("assets", "3f2a.yaml", stackYAML)
	c.serveAWS(server, access, secretKey.Reveal())
	return c
}

func (c *cloud) put(bucket, key, text string) {
	c.Helper()
	if _, err := c.client.PutObject(c.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)}); err != nil {
		c.Fatal(err)
	}
}

// serveAWS starts the stand-ins and tells the program where they are.
func (c *cloud) serveAWS(server *local.Server, access, secretKey string) {
	c.Helper()
	const arn = "arn:aws:states:eu-central-1:111122223333:stateMachine:"
	about, err := json.Marshal(remote.Stack{
		Format: remote.Format, VaultBucket: "vault", Config: "s3://assets/3f2a.yaml", PublicURL: "https://backup.example.org",
		LinkKey: "secretsmanager:links", BackupMachine: arn + "backup", RestoreMachine: arn + "restore",
	})
	if err != nil {
		c.Fatal(err)
	}
	c.services = &runtimeapi.Services{
		Secrets: map[string]string{"links": stackPhrase}, Started: c.execute,
		Parameters: map[string]string{"/lifeboat/prod": string(about), "/lifeboat/later": `{"format":2}`, "/lifeboat/odd": `hello`, "/lifeboat/half": `{"format":1}`},
	}
	guard, err := runtimeapi.NewGuard(server.URL(), server.HTTPClient().Transport, func(string, string, string) bool { return true })
	if err != nil {
		c.Fatal(err)
	}
	store, services := httptest.NewServer(guard), httptest.NewServer(c.services)
	c.Cleanup(store.Close)
	c.Cleanup(services.Close)
	c.env = []string{
		"AWS_ENDPOINT_URL_S3=" + store.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + services.URL, "AWS_ENDPOINT_URL_SSM=" + services.URL,
		"AWS_ENDPOINT_URL_SFN=" + services.URL, "AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=" + server.Region(),
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// execute is the state machines.
func (c *cloud) execute(arn, name, input string) {
	c.mutex.Lock()
	gate := c.gate
	c.last = name
	c.mutex.Unlock()
	if gate != nil {
		<-gate
	}
	definition, functions, subject, handle := workflow.Backup, workflow.BackupFunctions, "run", c.backupSteps()
	if strings.HasSuffix(arn, ":restore") {
		definition, functions, subject, handle = workflow.Restore, workflow.RestoreFunctions, "restore", c.restoreSteps()
	}
	m, err := machine.Load(definition, functions, machine.WithInputs(subject))
	if err != nil {
		c.Error(err)
		return
	}
	engine := &machine.Engine{Rand: func() float64 { return 0 }, Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		c.mutex.Lock()
		broken := c.fail != "" && bytes.Contains(payload, []byte(`"step":"`+c.fail+`"`))
		c.mutex.Unlock()
		if broken {
			return nil, step.Boundary{Err: failure.New(failure.Corrupt, "made up").WithHint("none")}
		}
		answer, err := handle(ctx, function, payload)
		if err != nil {
			return nil, step.Boundary{Err: err}
		}
		return answer, nil
	}, Read: (&session{vault: c.vault}).readList}
	outcome, err := engine.Execute(context.Background(), m, machine.Execution{Name: name, Input: json.RawMessage(input)})
	if err != nil {
		c.Error(err)
		return
	}
	ended := runtimeapi.Ended{Status: "SUCCEEDED", Output: string(outcome.Output)}
	if outcome.Status != machine.Succeeded {
		ended = runtimeapi.Ended{Status: "FAILED", Error: outcome.Error, Cause: outcome.Cause}
	}
	c.services.End(name, ended)
}

type handler func(ctx context.Context, function string, payload []byte) (json.RawMessage, error)

func (c *cloud) notifier() *setup.Notifier {
	return &setup.Notifier{Config: c.inside, Vault: c.vault, Holder: "stack prod", Version: Version, LinkKey: secret.New(stackPhrase)}
}

func (c *cloud) backupSteps() handler {
	about := vault.Description{ID: c.key.Vault, Created: time.Now().UTC(), Lifeboat: Version, PublicKey: c.key.Public()}
	if err := c.vault.Initialise(context.Background(), about); err != nil && failure.KindOf(err) != failure.Conflict {
		c.Error(err)
	}
	steps := &step.Steps{
		Vault: c.vault, Sources: &setup.Sources{Config: c.inside}, Signer: c.key.Private, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Notifier: c.notifier(), Version: Version, Holder: "stack prod",
	}
	return func(ctx context.Context, function string, payload []byte) (json.RawMessage, error) {
		return steps.Handle(ctx, function, payload)
	}
}

func (c *cloud) restoreSteps() handler {
	steps := &replay.Steps{
		Vault: c.vault, Targets: &setup.Targets{Config: c.inside}, Trusted: []ed25519.PublicKey{c.key.Public()}, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Notifier: c.notifier(), Version: Version, Holder: "stack prod", Fetch: fetch.Options{Guard: netguard.New(netguard.Rules{})},
	}
	return func(ctx context.Context, function string, payload []byte) (json.RawMessage, error) {
		return steps.Handle(ctx, function, payload)
	}
}

// on runs a command on the stack.
func (c *cloud) on(args ...string) result {
	c.Helper()
	return c.run(append([]string{"--stack", "prod"}, args...)...)
}

// TestStack backs up, lists, shows, links and restores through a stack, with no lifeboat.yaml here.
func TestStack(t *testing.T) {
	c := newCloud(t)
	if r := c.on("list").exits(0); !strings.Contains(r.out, "lifeboat --stack prod backup SOURCE") {
		t.Errorf("an empty stack: %s", r.out)
	}
	var made summary
	c.on("backup", "photos", "--name", "before", "--json", "-q").exits(0).last(&made)
	if made.Status != "completed" || made.Objects != 1 || made.Link == nil || !strings.HasPrefix(*made.Link, "https://backup.example.org/l/") {
		t.Errorf("%+v", made)
	}
	var input events.Input
	if err := events.Decode([]byte(c.services.Executions()[made.ID]), &input); err != nil || input.Run.Name != "before" || input.Run.StartedBy.By != "person" || input.Run.StartedBy.Who == "" {
		t.Errorf("%+v: %v", input, err)
	}
	second := c.on("backup", "photos").exits(0)
	if strings.Contains(second.out, "verify") || !strings.Contains(second.err, "was started in the stack prod") {
		t.Errorf("%s%s", second.out, second.err)
	}
	if r := c.on("list", "photos").exits(0); strings.Count(r.out, "completed") != 2 {
		t.Errorf("%s", r.out)
	}
	if r := c.on("show", made.ID).exits(0); !strings.Contains(r.out, "before") {
		t.Errorf("%s", r.out)
	}
	c.on("show", made.ID, "--follow").exits(0)
	link := c.on("link", made.ID).exits(0)
	if !strings.HasPrefix(link.out, "https://backup.example.org/l/") || strings.Contains(link.out, "serve") || !strings.Contains(link.out, "lifeboat --stack prod unlink") {
		t.Errorf("%s", link.out)
	}
	c.on("link", made.ID, "--direct").exits(0)
	c.on("unlink", made.ID).exits(0)
	c.on("download", made.ID, "-o", "a.zip").exits(0)
	c.restores(made.ID)
}

func (c *cloud) restores(id string) {
	c.Helper()
	dry := c.on("restore", id, "--to", "elsewhere", "--dry-run").exits(0)
	if !strings.Contains(dry.out, "nothing was written") || c.restored() != "" {
		c.Errorf("%s", dry.out)
	}
	r := c.on("restore", id, "--to", "elsewhere").exits(0)
	if c.restored() != "a" || !strings.Contains(r.out, "1 file written") || !strings.Contains(r.err, "confirm") {
		c.Errorf("%s%s", r.out, r.err)
	}
	var again restoreMessage
	c.on("restore", id, "--to", "elsewhere", "--json", "-q").exits(0).last(&again)
	if again.Attempt != 2 || again.Status != backup.Completed {
		c.Errorf("again: %+v", again)
	}
	if !strings.HasPrefix(c.last, string(again.ID)+"-") {
		c.Errorf("the execution has the name %s", c.last)
	}
	if r := c.on("restores").exits(0); !strings.Contains(r.out, string(again.ID)) {
		c.Errorf("%s", r.out)
	}
	c.on("restores", string(again.ID), "--follow").exits(0)
}

func (c *cloud) restored() string {
	data, _ := os.ReadFile(c.path("restored/a.txt"))
	return string(data)
}

// TestStackFails: runs that fail say why, as those of this machine do.
func TestStackFails(t *testing.T) {
	c := newCloud(t)
	c.fail = "seal"
	c.on("backup", "photos").complains(13, "made up", "none")
	c.fail = ""
	c.on("backup", "photos").exits(0)
	c.fail = "confirm"
	c.on("restore", "latest", "--to", "elsewhere").exits(13).says("made up")
	c.fail = ""
	lease, err := catalog.New(c.vault).Acquire(t.Context(), "photos", catalog.Lease{Run: "20261121T020000Z-abcdef", Holder: "somebody"}, time.Now(), nil)
	if err != nil {
		t.Fatal(lease, err)
	}
	c.on("backup", "photos").complains(11, "another run works on photos", "lifeboat --stack prod list photos")
}

// TestStackCtrlC: an interrupt ends the following, and not the run.
func TestStackCtrlC(t *testing.T) {
	c := newCloud(t)
	c.gate = make(chan struct{})
	cmd := c.command("--stack", "prod", "backup", "photos")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "was started in the stack prod") {
		t.Errorf("%q, %v", line, err)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	errs, _ := io.ReadAll(lines)
	_ = cmd.Wait()
	c.mutex.Lock()
	id := c.last
	c.mutex.Unlock()
	if cmd.ProcessState.ExitCode() != 130 || !strings.Contains(string(errs), "goes on by itself") || !strings.Contains(string(errs), "lifeboat --stack prod show "+id+" --follow") {
		t.Errorf("%d %s", cmd.ProcessState.ExitCode(), errs)
	}
	go func() {
		time.Sleep(time.Second)
		close(c.gate)
	}()
	if r := c.on("show", id, "--follow").exits(0); !strings.Contains(r.out, "completed") {
		t.Errorf("%s", r.out)
	}
}

func TestStackRefuses(t *testing.T) {
	c := newCloud(t)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--stack", "none", "list"}, 10, "there is no stack none"},
		{[]string{"--stack", "later", "list"}, 16, "a later lifeboat"},
		{[]string{"--stack", "odd", "list"}, 16, "describes no stack"},
		{[]string{"--stack", "half", "list"}, 16, "leaves out parts"},
		{[]string{"--stack", "../x", "list"}, 2, "no name of a stack"},
		{[]string{"--stack", "", "list"}, 2, "no name of a stack"},
		{[]string{"--stack", "prod", "verify", "latest"}, 2, "does not take --stack"},
		{[]string{"--stack", "prod", "-c", "x.yaml", "list"}, 2, "has its own lifeboat.yaml"},
		{[]string{"--stack", "prod", "backup", "nobody"}, 10, "nobody"},
		{[]string{"--stack", "prod", "backup", "here"}, 2, "no function of AWS reaches"},
		{[]string{"--stack", "prod", "backup", "photos", "--no-metrics"}, 2, "has none"},
		{[]string{"--stack", "prod", "restore", "a.zip", "--to", "elsewhere"}, 2, "reaches no files and folders"},
		{[]string{"--stack", "prod", "restore", "latest", "--to", "dir:x"}, 2, "reaches no files and folders"},
		{[]string{"--stack", "prod", "restore", "latest", "--to", "here"}, 2, "no function of AWS reaches"},
		{[]string{"--stack", "prod", "restore", "latest", "--to", "nobody"}, 10, "nobody"},
		{[]string{"--stack", "prod", "restore", "latest", "--to", "elsewhere"}, 10, "no backup"},
		{[]string{"--stack", "prod", "show", "latest"}, 10, "no backup"},
	} {
		c.run(test.args...).complains(test.code, test.says)
	}
	if n := len(c.services.Executions()); n != 0 {
		t.Errorf("%d executions", n)
	}
	c.env = slices.DeleteFunc(c.env, func(v string) bool { return strings.HasPrefix(v, "AWS_REGION=") })
	c.run("--stack", "prod", "list").complains(2, "in which Region")
}
