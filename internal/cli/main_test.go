package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/local"
)

// Variables that make this test binary the program, and what tests make shorter in it.
const (
	programVariable = "LIFEBOAT_TEST_PROGRAM"
	timeVariable    = "LIFEBOAT_TEST_TIMEOUT" // how long Zipline has for an answer
	waitVariable    = "LIFEBOAT_TEST_WAIT"    // set: a restore into Zipline waits for its rate limits as long as it must
	raceOptions     = "GORACE=atexit_sleep_ms=0"
)

// TestMain is the program where a test starts it so: the tests below run real processes.
func TestMain(m *testing.M) {
	if local.ChildMain() {
		return
	}
	if os.Getenv(programVariable) != "" {
		os.Exit(program())
	}
	code := m.Run()
	_ = os.RemoveAll(builtFolder)
	os.Exit(code)
}

func program() int {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, jitter: func() float64 { return 0 }}
	if wait, err := time.ParseDuration(os.Getenv(timeVariable)); err == nil {
		c.zipline = zipline.Options{Timeout: wait, ExportTimeout: wait, IdleTimeout: wait}
	}
	if os.Getenv(waitVariable) == "" {
		c.sleep = hurry
	}
	return c.main(os.Args[1:])
}

// builtFolder holds the program without the race detector, where a test has built it.
var builtFolder string

// built builds the program as people get it, once; "" where there is no go command.
var built = sync.OnceValue(func() string {
	folder, err := os.MkdirTemp("", "lifeboat")
	if err != nil {
		return ""
	}
	builtFolder = folder
	name := filepath.Join(folder, "lifeboat")
	if err := exec.Command("go", "build", "-o", name, "lifeboat/cmd/lifeboat").Run(); err != nil {
		return ""
	}
	return name
})

// asPeopleGetIt makes the place's commands run without the race detector, which is slow and needs much memory.
func (p *place) asPeopleGetIt() {
	if raceEnabled && built() != "" {
		p.binary = built()
	}
}

// place is a folder with a lifeboat.yaml, and a Zipline beside it.
type place struct {
	*testing.T
	*site
}

// of is the same place for a part of its test.
func (p *place) of(t *testing.T) *place { return &place{t, p.site} }

type site struct {
	dir      string
	instance *standin.Instance
	zipline  *httptest.Server
	handler  atomic.Pointer[http.Handler] // of zipline
	env      []string                     // of the program
	binary   string                       // this test binary
	attr     *syscall.SysProcAttr
}

const placeConfig = `vault: ./vault
sources:
  photos:
    kind: zipline
    url: %s
    token: file:./token
    datasource: ./uploads
    notify: {to: [ops@example.com], on: always}
serve: {listen: 127.0.0.1:0, public-url: http://127.0.0.1:8420}
`

// newPlace makes a place with the sample's Zipline.
func newPlace(t *testing.T) *place {
	t.Helper()
	instance := standin.Sample()
	p := bare(t, standin.New(standin.Options{Export: instance.Export}))
	p.instance = instance
	if err := instance.WriteUploads(p.path("uploads")); err != nil {
		t.Fatal(err)
	}
	return p
}

// bare makes a place without uploads, whose Zipline is the handler.
func bare(t *testing.T, handler http.Handler) *place {
	t.Helper()
	p := &place{t, &site{dir: t.TempDir(), binary: os.Args[0], env: []string{timeVariable + "=20s"}}}
	p.answer(handler)
	p.zipline = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*p.handler.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(p.zipline.Close)
	p.write("token", standin.SuperAdminToken+"\n")
	p.write("lifeboat.yaml", fmt.Sprintf(placeConfig, p.zipline.URL))
	t.Cleanup(p.noRace)
	t.Cleanup(p.noOrphans)
	return p
}

// answer makes Zipline answer otherwise from now on.
func (p *place) answer(handler http.Handler) { p.handler.Store(&handler) }

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

// config replaces a part of lifeboat.yaml.
func (p *place) config(old, with string) {
	p.Helper()
	text, err := os.ReadFile(p.path("lifeboat.yaml"))
	if err != nil || !strings.Contains(string(text), old) {
		p.Fatalf("lifeboat.yaml has no %q: %v", old, err)
	}
	p.write("lifeboat.yaml", strings.Replace(string(text), old, with, 1))
}

// command is the program with arguments, not started.
func (p *place) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.binary, args...)
	cmd.Dir = p.dir
	cmd.Env = append(slices.Concat(os.Environ(), p.env), programVariable+"=1", raceOptions)
	cmd.SysProcAttr = p.attr
	return cmd
}

// result is how a command ended.
type result struct {
	*testing.T
	args     []string
	code     int
	out, err string
}

// run runs a command to its end.
func (p *place) run(args ...string) result {
	p.Helper()
	cmd := p.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		p.Fatal(err)
	}
	r := result{T: p.T, args: args, code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
	if strings.Contains(r.err, "DATA RACE") || strings.Contains(r.err, "panic:") {
		p.Fatalf("lifeboat %s:\n%s", strings.Join(args, " "), r.err)
	}
	return r
}

// exits fails unless the command ended with the code.
func (r result) exits(code int) result {
	r.Helper()
	if r.code != code {
		r.Fatalf("lifeboat %s: exit code %d, want %d\n%s%s", strings.Join(r.args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// says fails unless standard error has each of the texts.
func (r result) says(texts ...string) result {
	r.Helper()
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			r.Errorf("lifeboat %s: no %q in\n%s", strings.Join(r.args, " "), text, r.err)
		}
	}
	return r
}

// complains fails unless the command ended with the code, one clear sentence and a hint.
func (r result) complains(code int, texts ...string) result {
	r.Helper()
	r.exits(code).says("lifeboat: error: ", "lifeboat: hint: ").says(texts...)
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(r.err), "\n") {
		if strings.HasPrefix(line, "lifeboat: ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 {
		r.Errorf("lifeboat %s: want one sentence and one hint:\n%s", strings.Join(r.args, " "), r.err)
	}
	r.isPlain()
	return r
}

// noise is what no person should have to read.
var noise = []string{
	"operation error", "https response error", "StatusCode", "RequestID", "api error", "goroutine", "context deadline",
	"context canceled", "%!", "<nil>", "0x", "dial tcp", "unexpected EOF", "ENOENT",
}

func (r result) isPlain() {
	r.Helper()
	for _, word := range noise {
		if strings.Contains(r.err, word) {
			r.Errorf("lifeboat %s: %q is no word for people:\n%s", strings.Join(r.args, " "), word, r.err)
		}
	}
}

// last decodes the last line of standard output.
func (r result) last(into any) {
	r.Helper()
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		r.Fatalf("lifeboat %s: %v in %q\n%s", strings.Join(r.args, " "), err, lines[len(lines)-1], r.err)
	}
}

// summary is what `backup` and `list` say of a backup with --json.
type summary struct {
	Type          string `json:"message_type"`
	ID            string
	Status, Proof string
	Documents     int
	Objects       int
	Bytes         int64
	PackedObjects int   `json:"packed_objects"`
	PackedBytes   int64 `json:"packed_bytes"`
	Archive       struct {
		Key, CRC32 string
		Bytes      int64
	}
	Notes, Problems []finding
	Notified        string
	Link            *string
}

// backup makes a backup that is to end with the code.
func (p *place) backup(code int, args ...string) summary {
	p.Helper()
	r := p.run(append([]string{"backup", "photos", "--json", "--quiet"}, args...)...).exits(code)
	var s summary
	r.last(&s)
	return s
}

// list returns the backups of the vault, oldest first.
func (p *place) list() []summary {
	p.Helper()
	var all []summary
	for line := range strings.Lines(p.run("list", "--json").exits(0).out) {
		var s summary
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			p.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// statuses counts the backups of the vault by status.
func (p *place) statuses() map[string]int {
	p.Helper()
	count := map[string]int{}
	for _, s := range p.list() {
		count[s.Status]++
	}
	return count
}

// good fails unless the backup still verifies, and nothing is left behind.
func (p *place) good(id string) {
	p.Helper()
	p.run("verify", id).exits(0)
	p.clean()
}

// clean fails when an upload, a work file or a temporary file is left in the vault.
func (p *place) clean() {
	p.Helper()
	for _, pattern := range []string{"vault/.sgwtmp/multipart/*", "vault/.sgwtmp/*.*", "vault/snapshots/*/*/work/*", "vault/catalog/leases/*"} {
		left, err := filepath.Glob(p.path(filepath.Join("vault/buckets", pattern)))
		if err != nil || len(left) > 0 {
			p.Errorf("left behind: %v %v", left, err)
		}
	}
}

// servers returns the processes that are S3 servers of the place.
func (p *place) servers() []int {
	folder, err := filepath.EvalSymlinks(p.path("vault"))
	if err != nil {
		return nil
	}
	var found []int
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environments {
		data, _ := os.ReadFile(name)
		if !bytes.Contains(append([]byte{0}, data...), []byte("\x00LIFEBOAT_S3_CHILD="+folder+"\x00")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(name, "/proc/%d/environ", &pid); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// noOrphans fails when a server outlives the programs that needed it.
func (p *place) noOrphans() {
	until := time.Now().Add(20 * time.Second)
	for {
		left := p.servers()
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			p.Errorf("S3 servers are left: %v", left)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *place) noRace() {
	if log, _ := os.ReadFile(p.path("vault/server/log")); bytes.Contains(log, []byte("DATA RACE")) {
		p.Errorf("in the server:\n%s", log)
	}
}

// heavy skips a test that takes seconds.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
}
