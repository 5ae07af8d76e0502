package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"lifeboat/internal/failure"
)

const (
	startTimeout = 25 * time.Second // more than a child waits for a dying server
	stopTimeout  = 15 * time.Second // more than a server gives to requests under way
)

// raceOptions spares tests with the race detector a second per server; other builds don't look at it.
const raceOptions = "GORACE=atexit_sleep_ms=0"

// child is a server process that this process started.
type child struct {
	cmd      *exec.Cmd
	lifeline io.Closer     // the child's standard input: its end says stop
	done     chan struct{} // closed when the process has ended
}

// launch starts a child for the folder and waits until a server answers. It returns no child when the server turned
// out to be another process's.
func launch(ctx context.Context, v layout) (*child, error) {
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, answers, err := start(v)
	if err != nil {
		return nil, fmt.Errorf("start the S3 server: %w", err)
	}
	defer answers.Close()
	reply, err := receive(waiting, answers)
	if err == nil && reply.State == stateReady {
		return c, nil
	}
	stopErr := c.stop()
	switch {
	case err == nil:
		return nil, errors.Join(reply.err(), stopErr)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait for the S3 server: %w", errors.Join(ctx.Err(), stopErr))
	case waiting.Err() != nil:
		return nil, failure.New(failure.Transient, "the S3 server did not start within %v", startTimeout)
	}
	return nil, failure.New(failure.Internal, "the S3 server ended at its start: %s", v.lastLogLine())
}

// start runs our own binary as the server of a folder. The folder goes through the environment, which has nothing of
// ours in it; a process group of its own keeps Ctrl-C away from it.
func start(v layout) (*child, *os.File, error) {
	exe, err := executable()
	if err != nil {
		return nil, nil, err
	}
	log, err := os.OpenFile(v.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, vaultError(err)
	}
	defer log.Close()
	answers, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd := &exec.Cmd{
		Path:        exe,
		Args:        []string{"lifeboat-s3"},
		Env:         []string{childVariable + "=" + string(v), raceOptions},
		Dir:         string(v),
		Stderr:      log,
		ExtraFiles:  []*os.File{w},
		SysProcAttr: ownGroup(),
	}
	lifeline, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, nil, errors.Join(err, answers.Close())
	}
	c := &child{cmd: cmd, lifeline: lifeline, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return c, answers, nil
}

// executable returns this very binary, also after the file at its path was replaced.
func executable() (string, error) {
	if other := otherProgram(); other != "" {
		return other, nil
	}
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); runtime.GOOS == "linux" && err == nil {
		return self, nil
	}
	return os.Executable()
}

func (c *child) running() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop asks the server to end and waits for that; after a while it is killed. A nil child has ended.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	_ = c.lifeline.Close() // fails only when it is closed
	select {
	case <-c.done:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the S3 server: %w", err)
	}
	<-c.done
	return nil
}

// The states of an answer.
const (
	stateReady = "ready" // the child serves
	stateOther = "other" // the server of another process does
	stateError = "error" // nobody does
)

// answer is what a child tells the process that started it, once, as a line of JSON.
type answer struct {
	State string `json:"state"`
	Kind  string `json:"kind,omitzero"` // of an error, as in the state machine
	Text  string `json:"text,omitzero"`
	Hint  string `json:"hint,omitzero"`
}

func answerOf(err error) answer {
	return answer{stateError, failure.KindOf(err).ErrorName(), err.Error(), failure.HintOf(err)}
}

func (a answer) err() error {
	if a.State == stateOther {
		return nil
	}
	kind, _ := failure.KindOfName(a.Kind)
	e := failure.New(kind, "%s", a.Text)
	e.Hint = a.Hint
	return e
}

func receive(ctx context.Context, from *os.File) (answer, error) {
	stop := context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var a answer
	return a, json.NewDecoder(from).Decode(&a)
}

// lastLogLine says what the server wrote last, for an error message.
func (v layout) lastLogLine() string {
	data, _ := os.ReadFile(v.logFile())
	data = bytes.TrimSpace(data)
	line := data[bytes.LastIndexByte(data, '\n')+1:]
	if len(line) == 0 {
		return "it left no message in " + v.logFile()
	}
	return string(line[:min(len(line), 300)])
}
