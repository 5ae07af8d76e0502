package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"lifeboat/internal/failure"
)

const (
	childVariable = "LIFEBOAT_S3_CHILD"   // holds the vault folder
	answerFD      = 3                     // the first of exec.Cmd's ExtraFiles
	dyingWait     = 15 * time.Second      // for a server that holds the lock and does not answer
	lockInterval  = 10 * time.Millisecond // between two looks at the lock
	errLocked     = constError("the lock is held")
)

type constError string

func (e constError) Error() string { return string(e) }

// ChildMain runs the server when this process was started as the S3 child, and returns true when that is over. It
// returns false at once in every other process. Call it first in main and in every TestMain whose tests attach:
//
//	if local.ChildMain() { return }
func ChildMain() bool {
	folder := os.Getenv(childVariable)
	if folder == "" {
		return false
	}
	answers := os.NewFile(answerFD, "answers")
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	signal.Ignore(syscall.SIGHUP)
	go func() { // the parent stopped us, or is no more
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx, layout(folder), answers); err != nil {
		send(answers, answerOf(err)) // nobody listens any more when it happened after the start
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}

// run takes the folder's lock and serves until ctx ends; where another server lives, it says so and returns.
func run(ctx context.Context, v layout, answers *os.File) error {
	lock, err := v.acquire(ctx)
	if err != nil {
		return err
	}
	if lock == nil {
		send(answers, answer{State: stateOther})
		return nil
	}
	defer lock.Close()
	_ = os.Stderr.Truncate(0) // the log is ours now
	creds, err := v.ensureCredentials()
	if err != nil {
		return vaultError(err)
	}
	e, err := newEngine(v, creds)
	if err != nil {
		return err
	}
	if err := v.announce(e); err != nil {
		return err
	}
	send(answers, answer{State: stateReady})
	return e.serve(ctx)
}

// announce opens the port, the last one if it is free, and leaves the address for other processes.
func (v layout) announce(e *engine) error {
	host, err := e.listen(v.lastPort())
	if err != nil {
		return fmt.Errorf("open a port: %w", err)
	}
	a := address{URL: "http://" + host, PID: os.Getpid(), Protocol: protocol, Version: version()}
	if err := v.writeAddress(a); err != nil {
		return vaultError(err)
	}
	return nil
}

// acquire returns the folder's lock, or nil when another server answers. It waits for a server that is about to end.
func (v layout) acquire(ctx context.Context) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, dyingWait)
	defer cancel()
	for {
		lock, err := tryLock(v.lockFile())
		if err == nil || !errors.Is(err, errLocked) {
			return lock, err
		}
		conn, addr, err := v.connect(ctx)
		if err == nil {
			return nil, conn.Close()
		}
		if addr.Protocol != 0 && addr.Protocol != protocol && addr.listens(ctx) {
			return nil, failure.New(failure.Conflict, "lifeboat %s (process %d) serves this vault, and this version "+
				"cannot share its server", addr.Version, addr.PID).
				WithHint("stop the process %d, or use its version of lifeboat", addr.PID)
		}
		select {
		case <-time.After(lockInterval):
		case <-ctx.Done():
			return nil, failure.New(failure.Conflict, "the S3 server of the vault (process %d) neither answers nor ends: %w",
				addr.PID, err).WithHint("end the process %d", addr.PID)
		}
	}
}

func (a address) listens(ctx context.Context) bool {
	conn, err := a.dial(ctx)
	return err == nil && conn.Close() == nil
}

// lastPort returns the port of the folder's last server, or 0.
func (v layout) lastPort() int {
	a, err := v.readAddress()
	if err != nil {
		return 0
	}
	host, err := a.host()
	if err != nil {
		return 0
	}
	_, text, _ := net.SplitHostPort(host)
	port, _ := strconv.ParseUint(text, 10, 16)
	return int(port)
}

func send(to *os.File, a answer) {
	data, _ := json.Marshal(a) // four strings
	_, _ = to.Write(append(data, '\n'))
	_ = to.Close()
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
