package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"lifeboat/internal/s3model"
)

// use is what processes have used.
type use struct {
	s3model.Counters               // as the clients count
	cpu              time.Duration // user and system, of the whole life of the processes
	busy             time.Duration // that workers had something to do: what functions are billed for
	calls            int
	peak             int64 // bytes of memory of the largest process
}

func (u use) add(o use) use {
	return use{u.Counters.Add(o.Counters), u.cpu + o.cpu, u.busy + o.busy, u.calls + o.calls, max(u.peak, o.peak)}
}

// order is what a worker is asked, reply what it answers.
type order struct {
	Function string          `json:"function"`
	Payload  json.RawMessage `json:"payload"`
}

type reply struct {
	Answer   json.RawMessage  `json:"answer,omitempty"`
	Error    string           `json:"error,omitempty"`
	Name     string           `json:"name,omitempty"` // of the error, as the workflow knows it
	Counters s3model.Counters `json:"counters"`       // since the worker began
	Peak     int64            `json:"peak"`           // bytes of memory, since the worker began
}

// named is an error of a worker.
type named struct{ name, text string }

func (n named) Error() string     { return n.text }
func (n named) ErrorName() string { return n.name }

// process is one worker.
type process struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	counted s3model.Counters
	peak    int64
	busy    time.Duration
	calls   int
	dead    bool
}

// fleet is some workers, each of which does one thing at a time.
type fleet struct {
	all  []*process
	free chan *process
}

// hire starts workers.
func hire(n int, config func(i int) workerConfig) (*fleet, error) {
	f := &fleet{free: make(chan *process, n)}
	for i := range n {
		p, err := start(config(i))
		if err != nil {
			_, left := f.dismiss()
			return nil, errors.Join(err, left)
		}
		f.all = append(f.all, p)
		f.free <- p
	}
	return f, nil
}

func start(config workerConfig) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(self, "worker")}
	p.command.Stderr = os.Stderr
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	_, err = p.exchange(config) // it answers when it is ready
	return p, err
}

func (p *process) exchange(message any) (reply, error) {
	var r reply
	if err := json.NewEncoder(p.stdin).Encode(message); err != nil {
		return r, fmt.Errorf("ask a worker: %w", err)
	}
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("a worker has died: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, named{r.Name, r.Error}
	}
	return r, nil
}

// invoke has a free worker do something. It is a machine.Invoker. A worker whose caller gives up is killed, as a
// function is that times out.
func (f *fleet) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	var p *process
	select {
	case p = <-f.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.dead {
		f.free <- p
		return nil, errors.New("a worker was stopped")
	}
	defer func() { f.free <- p }()
	stop := context.AfterFunc(ctx, func() { _ = p.command.Process.Kill() })
	began := time.Now()
	r, err := p.exchange(order{function, payload})
	p.busy += time.Since(began)
	p.calls++
	if !stop() {
		p.dead = true
		return nil, ctx.Err()
	}
	if r.Peak > 0 {
		p.counted, p.peak = r.Counters, r.Peak
	}
	return r.Answer, err
}

// do has one worker do something and decodes its answer.
func (f *fleet) do(ctx context.Context, function string, request, answer any) error {
	payload, err := json.Marshal(request)
	if err != nil {
		return err
	}
	raw, err := f.invoke(ctx, function, payload)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	return json.Unmarshal(raw, answer)
}

// dismiss ends the workers and says what they have used.
func (f *fleet) dismiss() (use, error) {
	var total use
	var mutex sync.Mutex
	var group sync.WaitGroup
	var failed error
	for _, p := range f.all {
		group.Go(func() {
			err := errors.Join(p.stdin.Close(), p.command.Wait())
			mutex.Lock()
			defer mutex.Unlock()
			if !p.dead {
				failed = errors.Join(failed, err)
			}
			state := p.command.ProcessState
			u := use{p.counted, state.UserTime() + state.SystemTime(), p.busy, p.calls, p.peak}
			total = total.add(u)
		})
	}
	group.Wait()
	return total, failed
}
