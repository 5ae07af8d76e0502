// Package runtimeapi runs built functions as Lambda does, on one machine: it is the Runtime API (2018-06-01) and what
// stands behind it. Each execution environment is a process and an HTTP server of its own on loopback; one that has
// answered is used again, one that took too long is killed, and the next invocation gets a fresh one. Only tests use it.
//
// What differs from Lambda: a process is not frozen between invocations, memory is not limited, and there is no sandbox.
package runtimeapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Function is a deployed function. Its methods are safe for concurrent use.
type Function struct {
	Name      string
	ARN       string        // as invocations are told; "": one that is made up
	Bootstrap string        // path of the program
	Variables []string      // NAME=value, beside what Lambda sets itself; nothing of this process' environment is passed on
	Memory    int           // MiB, as the function is told; 0: 1024
	Timeout   time.Duration // of one invocation; 0: 15 minutes
	Limit     int           // environments at the same time; 0: as many as are asked for
	// Log gets what the processes write, at once: what stands there when Invoke returns is all that was written until the
	// answer. It must have been opened for appending. nil: nobody reads it.
	Log *os.File

	mutex  sync.Mutex
	idle   []*environment
	living map[*environment]bool
}

// The error types that Lambda itself gives, beside those of the functions.
const (
	ExitError   = "Runtime.ExitError"
	InitError   = "Runtime.InitError"
	TimedOut    = "Sandbox.Timedout"
	TooManyName = "Lambda.TooManyRequestsException"
	TooLarge    = "Function.ResponseSizeTooLarge"
)

// Error is a failed invocation, as a state machine sees it.
type Error struct {
	Type    string          // errorType of the function's answer, or one of Lambda's own
	Message string          // errorMessage
	Answer  json.RawMessage // all of the answer, as the function gave it; AWS makes it the Cause
}

// Error returns the message; the embedded runner makes the Cause of it, with the name.
func (e *Error) Error() string { return e.Message }

// ErrorName returns the name that Retry and Catch match.
func (e *Error) ErrorName() string { return e.Type }

func newError(kind, message string) *Error {
	answer, _ := json.Marshal(map[string]string{"errorMessage": message, "errorType": kind}) // cannot fail
	return &Error{kind, message, answer}
}

const (
	maxAnswer = 6 << 20     // bytes
	initTime  = time.Minute // Lambda gives 10 s; a test may run on a busy machine
	account   = "111122223333"
	region    = "eu-central-1"
)

// Invoke runs one invocation and returns the function's answer, or an *Error. ctx stands for the caller: when it ends,
// the invocation goes on as it would on AWS, and nobody hears of its end.
func (f *Function) Invoke(ctx context.Context, payload []byte) (json.RawMessage, error) {
	type outcome struct {
		answer json.RawMessage
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := f.invoke(payload)
		done <- outcome{answer, err}
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// invoke hands the invocation to an environment. One that has ended since it answered the last time is not to blame.
func (f *Function) invoke(payload []byte) (json.RawMessage, error) {
	for {
		e, err := f.take()
		if err != nil {
			return nil, err
		}
		answer, alive, err := e.invoke(payload, f.timeout())
		f.give(e, alive)
		if !errors.Is(err, errGone) {
			return answer, err
		}
	}
}

var errGone = errors.New("the process has ended")

func (f *Function) timeout() time.Duration {
	if f.Timeout == 0 {
		return 15 * time.Minute
	}
	return f.Timeout
}

// Processes returns how many environments there are.
func (f *Function) Processes() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.living)
}

// Kill kills every environment: what is under way ends with ExitError.
func (f *Function) Kill() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for e := range f.living {
		e.kill()
	}
	f.idle = nil
}

// Expire stops every environment where it stands, as one that hangs is, and lets the time of what is under way be over:
// it is killed and ends with TimedOut.
func (f *Function) Expire() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for e := range f.living {
		_ = e.command.Process.Signal(syscall.SIGSTOP) // it may be gone
		e.late.Do(func() { close(e.expired) })
	}
	f.idle = nil
}

// Close ends every environment and waits for it.
func (f *Function) Close() {
	f.mutex.Lock()
	living := f.living
	f.living, f.idle = nil, nil
	f.mutex.Unlock()
	for e := range living {
		e.end()
	}
}

// take returns an environment that is idle, or a new one.
func (f *Function) take() (*environment, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for n := len(f.idle); n > 0; n = len(f.idle) {
		e := f.idle[n-1]
		f.idle = f.idle[:n-1]
		if e.alive() {
			return e, nil
		}
		delete(f.living, e)
	}
	if f.Limit > 0 && len(f.living) >= f.Limit {
		return nil, newError(TooManyName, "Rate Exceeded.")
	}
	e, err := f.start()
	if err != nil {
		return nil, err
	}
	if f.living == nil {
		f.living = map[*environment]bool{}
	}
	f.living[e] = true
	return e, nil
}

func (f *Function) give(e *environment, alive bool) {
	f.mutex.Lock()
	known := f.living[e]
	if alive && known {
		f.idle = append(f.idle, e)
	} else {
		delete(f.living, e)
	}
	f.mutex.Unlock()
	if !alive || !known {
		e.end()
	}
}

// environment is one process and the Runtime API that it talks to.
type environment struct {
	function *Function
	command  *exec.Cmd
	server   *http.Server
	answered bool // it has done something before
	next     chan invocation
	answers  chan answer
	exited   chan struct{}
	late     sync.Once
	expired  chan struct{} // closed when what is under way takes too long
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
}

type answer struct {
	id   string
	body []byte
	err  *Error
}

func (f *Function) start() (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the Runtime API of %s: %w", f.Name, err)
	}
	e := &environment{function: f, next: make(chan invocation), answers: make(chan answer, 1), exited: make(chan struct{}), expired: make(chan struct{})}
	e.server = &http.Server{Handler: e.handler(), ReadHeaderTimeout: initTime}
	go func() { _ = e.server.Serve(listener) }()
	e.command = exec.Command(f.Bootstrap)
	e.command.Dir = filepath.Dir(f.Bootstrap)
	e.command.Env = append(f.variables(listener.Addr().String()), f.Variables...)
	if f.Log != nil {
		e.command.Stdout, e.command.Stderr = f.Log, f.Log
	}
	if err := e.command.Start(); err != nil {
		_ = e.server.Close()
		return nil, fmt.Errorf("start %s: %w", f.Name, err)
	}
	go func() {
		_ = e.command.Wait() // that it has ended is all that counts
		close(e.exited)
	}()
	return e, nil
}

// variables are what Lambda sets.
func (f *Function) variables(address string) []string {
	memory := f.Memory
	if memory == 0 {
		memory = 1024
	}
	return []string{
		"AWS_LAMBDA_RUNTIME_API=" + address, "AWS_LAMBDA_FUNCTION_NAME=" + f.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(memory), "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=stream", "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand", "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=" + filepath.Dir(f.Bootstrap), "AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023", "TZ=:UTC",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true", "PATH=" + os.Getenv("PATH"),
	}
}

func (e *environment) alive() bool {
	select {
	case <-e.exited:
		return false
	default:
		return true
	}
}

func (e *environment) kill() { _ = e.command.Process.Kill() } // it may be gone

func (e *environment) end() {
	e.kill()
	<-e.exited
	_ = e.server.Close()
}

// invoke hands over one invocation and waits for its answer.
func (e *environment) invoke(payload []byte, timeout time.Duration) (body json.RawMessage, alive bool, err error) {
	start := time.NewTimer(initTime)
	defer start.Stop()
	i := invocation{id: rand.Text(), payload: payload, deadline: time.Now().Add(timeout)}
	select {
	case e.next <- i:
	case a := <-e.answers: // of its initialisation
		return nil, false, a.err
	case <-e.exited:
		if e.answered {
			return nil, false, errGone
		}
		return nil, false, newError(ExitError, fmt.Sprintf("RequestId: %s Error: Runtime exited", i.id))
	case <-start.C:
		e.kill()
		return nil, false, newError(TimedOut, fmt.Sprintf("RequestId: %s Error: the function does not ask for work", i.id))
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	select {
	case a := <-e.answers:
		return e.settle(a)
	case <-e.exited:
		select {
		case a := <-e.answers: // it said why before it ended
			return e.settle(a)
		default:
		}
		return nil, false, newError(ExitError, fmt.Sprintf("RequestId: %s Error: Runtime exited", i.id))
	case <-over.C:
	case <-e.expired:
	}
	e.kill()
	return nil, false, newError(TimedOut, fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", i.id, timeout.Seconds()))
}

func (e *environment) settle(a answer) (json.RawMessage, bool, error) {
	e.answered = true
	if a.err != nil {
		return nil, true, a.err
	}
	return a.body, true, nil
}

const api = "/2018-06-01/runtime/"

func (e *environment) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api+"invocation/next", e.hand)
	mux.HandleFunc("POST "+api+"invocation/{id}/response", e.take)
	mux.HandleFunc("POST "+api+"invocation/{id}/error", e.takeError)
	mux.HandleFunc("POST "+api+"init/error", e.takeError)
	return mux
}

// hand answers the long poll for work.
func (e *environment) hand(w http.ResponseWriter, r *http.Request) {
	select {
	case i := <-e.next:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", i.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", cmp.Or(e.function.ARN, fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", region, account, e.function.Name)))
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
		_, _ = io.Copy(w, bytes.NewReader(i.payload)) // a process that is gone is noticed elsewhere
	case <-e.exited:
		w.WriteHeader(http.StatusGone)
	case <-r.Context().Done():
	}
}

func (e *environment) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	a := answer{id: r.PathValue("id"), body: body}
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case len(body) > maxAnswer:
		a.err = newError(TooLarge, fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxAnswer))
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
	e.answers <- a
}

func (e *environment) takeError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	said := &Error{Type: InitError, Answer: body}
	var about struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if json.Unmarshal(body, &about) == nil {
		said.Message = about.Message
		if r.PathValue("id") != "" {
			said.Type = about.Type
		}
	}
	e.answers <- answer{id: r.PathValue("id"), err: said}
	w.WriteHeader(http.StatusAccepted)
}

// Build builds all functions for this machine as they are built for Lambda: folder/<name> is the program of each. root is
// the folder of the module.
func Build(ctx context.Context, root, folder string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=",
		"-o", folder+string(filepath.Separator), "./functions/...")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("build the functions: %w", err), errors.New(string(out)))
	}
	return nil
}
