package lambdafn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
)

// TestMain is the bootstrap of a function, or the vault's S3 server, where the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("LIFEBOAT_TEST_BOOTSTRAP") != "" {
		lambdafn.Start("copy", behave)
	}
	if local.ChildMain() {
		return
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

var built string // the folder of the programs

// programs builds the functions once for all tests, and returns the folder they lie in.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "lifeboat-functions-")
	if err != nil {
		return "", err
	}
	built = folder
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	return folder, runtimeapi.Build(context.Background(), root, folder)
})

// request is what the function of these tests is asked.
type request struct {
	Do   string       `json:"do"`
	Kind failure.Kind `json:"kind"`
}

var invocations int

// behave does what it is asked.
func behave(ctx context.Context, message []byte) (json.RawMessage, error) {
	invocations++
	var r request
	if err := json.Unmarshal(message, &r); err != nil {
		return nil, err
	}
	switch r.Do {
	case "fail":
		return nil, fmt.Errorf("outside: %w", failure.New(r.Kind, "it went wrong").WithHint("do this"))
	case "plain":
		return nil, errors.New("nobody has classified this")
	case "panic":
		var none []int
		_ = none[len(message)]
	case "exit":
		os.Exit(3)
	case "wait":
		<-ctx.Done()
		return nil, fmt.Errorf("read: %w", ctx.Err())
	case "hang":
		time.Sleep(time.Hour)
	case "log":
		slog.With("took", "1s").Info("from a step", "step", "its own")
	}
	deadline, _ := ctx.Deadline()
	return json.Marshal(map[string]any{"n": invocations, "left": time.Until(deadline).Seconds(), "echo": json.RawMessage(message)})
}

// logFile is where processes write.
type logFile struct{ *os.File }

func newLog(t *testing.T) logFile {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return logFile{file}
}

// lines returns what was written as JSON lines. A line that is none fails the test.
func (l logFile) lines(t *testing.T) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(l.Name())
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for text := range bytes.Lines(data) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			t.Errorf("no JSON in the log: %s", text)
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

func behaving(t *testing.T, variables ...string) (*runtimeapi.Function, logFile) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := newLog(t)
	f := &runtimeapi.Function{
		Name: "lifeboat-copy", Bootstrap: self, Timeout: time.Minute, Log: log.File,
		Variables: append([]string{
			"LIFEBOAT_TEST_BOOTSTRAP=1", "LIFEBOAT_STACK=test", "LIFEBOAT_CONFIG=ssm:/x", "LIFEBOAT_VAULT_BUCKET=vault",
		}, variables...),
	}
	t.Cleanup(f.Close)
	return f, log
}

func invoke(t *testing.T, f *runtimeapi.Function, message string) (map[string]any, *runtimeapi.Error) {
	t.Helper()
	raw, err := f.Invoke(t.Context(), []byte(message))
	if err != nil {
		failed, ok := errors.AsType[*runtimeapi.Error](err)
		if !ok {
			t.Fatal(err)
		}
		return nil, failed
	}
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatalf("the answer %s: %v", raw, err)
	}
	return answer, nil
}

func TestAnswerAndWarmStart(t *testing.T) {
	f, log := behaving(t)
	for n := 1; n <= 3; n++ {
		message := fmt.Sprintf(`{"do":"answer","step":"copy","run":{"id":"R%d","source":"photos"}}`, n)
		answer, failed := invoke(t, f, message)
		if failed != nil || answer["n"] != float64(n) {
			t.Fatalf("%v, %v", answer, failed)
		}
		echo, _ := json.Marshal(answer["echo"])
		if !strings.Contains(string(echo), fmt.Sprintf("R%d", n)) {
			t.Errorf("it was asked %s", echo)
		}
		if left := answer["left"].(float64); left > 46 || left < 20 { // a quarter of the minute is the margin
			t.Errorf("%v seconds were left", left)
		}
	}
	if f.Processes() != 1 {
		t.Errorf("%d processes", f.Processes())
	}
	done := log.lines(t)
	if len(done) != 3 {
		t.Fatalf("%d lines", len(done))
	}
	for i, line := range done {
		for field, want := range map[string]any{
			"message": "the invocation is done", "level": "INFO", "service": "lifeboat", "function": "copy", "function_name": "lifeboat-copy",
			"function_memory_size": 1024.0, "function_arn": "arn:aws:lambda:eu-central-1:111122223333:function:lifeboat-copy",
			"cold_start": i == 0, "xray_trace_id": "1-5759e988-bd862e3fe1be46a994272793",
			"step": "copy", "run": fmt.Sprintf("R%d", i+1), "source": "photos",
		} {
			if line[field] != want {
				t.Errorf("line %d: %s is %v, want %v", i, field, line[field], want)
			}
		}
		for _, field := range []string{"timestamp", "function_request_id", "duration_ms", "lifeboat_version"} {
			if line[field] == nil {
				t.Errorf("line %d has no %s", i, field)
			}
		}
	}
}

func TestLogOfAStep(t *testing.T) {
	f, log := behaving(t)
	invoke(t, f, `{"do":"log","step":"copy","run":{"id":"R"}}`)
	line := log.lines(t)[0]
	if line["step"] != "its own" || line["run"] != "R" || line["took"] != "1s" || line["cold_start"] != true {
		t.Errorf("%v", line)
	}
}

// TestErrorNames returns every kind of failure through a real process.
func TestErrorNames(t *testing.T) {
	f, log := behaving(t)
	for _, kind := range failure.Kinds() {
		_, failed := invoke(t, f, fmt.Sprintf(`{"do":"fail","kind":%d}`, kind))
		if failed == nil || failed.Type != kind.ErrorName() || failed.Message != "outside: it went wrong\nhint: do this" {
			t.Errorf("%v: %+v", kind, failed)
		}
	}
	_, failed := invoke(t, f, `{"do":"plain"}`)
	if failed == nil || failed.Type != "Lifeboat.Internal" || string(failed.Answer) != `{"errorMessage":"nobody has classified this","errorType":"Lifeboat.Internal"}` {
		t.Errorf("%+v", failed)
	}
	if f.Processes() != 1 {
		t.Errorf("an error has ended the process")
	}
	log.lines(t) // all of them are JSON, also those that aws-lambda-go writes
}

func TestPanic(t *testing.T) {
	f, log := behaving(t)
	_, failed := invoke(t, f, `{"do":"panic","run":{"id":"R"}}`)
	if failed == nil || failed.Type != "Lifeboat.Internal" || !strings.Contains(failed.Message, "index out of range") {
		t.Fatalf("%+v", failed)
	}
	found := false
	for _, line := range log.lines(t) {
		stack, _ := line["stack"].(string)
		found = found || strings.Contains(stack, "behave") && line["run"] == "R" && line["level"] == "ERROR"
	}
	if !found {
		t.Error("the log has no stack")
	}
	answer, failed := invoke(t, f, `{"do":"answer"}`)
	if failed != nil || answer["n"] != 1.0 {
		t.Errorf("after the panic: %v, %v; want a fresh process", answer, failed)
	}
}

func TestDeadline(t *testing.T) {
	f, _ := behaving(t, "LIFEBOAT_DEADLINE_MARGIN=500ms")
	f.Timeout = 3 * time.Second
	began := time.Now()
	_, failed := invoke(t, f, `{"do":"wait"}`)
	if failed == nil || failed.Type != "Lifeboat.Transient" || !strings.Contains(failed.Message, "the time of the function is over") {
		t.Errorf("a step that stops in time: %+v", failed)
	}
	if took := time.Since(began); took < 2400*time.Millisecond {
		t.Errorf("it was told to stop after %s", took)
	}
	f.Timeout = time.Second
	if _, failed = invoke(t, f, `{"do":"hang"}`); failed == nil || failed.Type != runtimeapi.TimedOut {
		t.Errorf("a step that hangs: %+v", failed)
	}
	if _, failed = invoke(t, f, `{"do":"exit"}`); failed == nil || failed.Type != runtimeapi.ExitError {
		t.Errorf("a process that ends: %+v", failed)
	}
	if answer, failed := invoke(t, f, `{"do":"answer"}`); failed != nil || answer["n"] != 1.0 {
		t.Errorf("afterwards: %v, %v", answer, failed)
	}
}

func TestThrottledAndKilled(t *testing.T) {
	f, _ := behaving(t)
	f.Limit = 1
	ended := make(chan *runtimeapi.Error)
	go func() {
		_, err := f.Invoke(context.Background(), []byte(`{"do":"hang"}`))
		failed, _ := errors.AsType[*runtimeapi.Error](err)
		ended <- failed
	}()
	for f.Processes() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, failed := invoke(t, f, `{"do":"answer"}`); failed == nil || failed.Type != runtimeapi.TooManyName {
		t.Errorf("%+v", failed)
	}
	f.Kill()
	if failed := <-ended; failed == nil || failed.Type != runtimeapi.ExitError {
		t.Errorf("killed: %+v", failed)
	}
	if _, failed := invoke(t, f, `{"do":"answer"}`); failed != nil {
		t.Errorf("afterwards: %+v", failed)
	}
}
