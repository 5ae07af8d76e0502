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

// order is what a worker is asked, reply what it answers. Answers come in any order.
type order struct {
	ID       int             `json:"id"`
	Function string          `json:"function"`
	Payload  json.RawMessage `json:"payload"`
}

type reply struct {
	ID       int              `json:"id"`
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
	stdout  *bufio.Reader

	mutex   sync.Mutex
	stdin   io.WriteCloser
	asked   int
	waiting map[int]chan reply
	counted s3model.Counters
	peak    int64
	busy    time.Duration
	calls   int
	dead    error
}

// slots is how many batches one worker packs at the same time, as lifeboat does on one machine: it reads one while it
// writes another.
const slots = 3

// fleet is some workers. Batches go to whoever has a free slot; everything else is done by the first worker, as the
// one process of one machine does it.
type fleet struct {
	all  []*process
	free chan *process
}

// hire starts workers.
func hire(n int, config func(i int) workerConfig) (*fleet, error) {
	f := &fleet{free: make(chan *process, n*slots)}
	for i := range n {
		p, err := start(config(i))
		if err != nil {
			_, left := f.dismiss()
			return nil, errors.Join(err, left)
		}
		f.all = append(f.all, p)
	}
	for range slots { // each worker gets one before any gets two
		for _, p := range f.all {
			f.free <- p
		}
	}
	return f, nil
}

func start(config workerConfig) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(self, "worker"), waiting: map[int]chan reply{}}
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
	if err := json.NewEncoder(p.stdin).Encode(config); err != nil {
		return nil, fmt.Errorf("configure a worker: %w", err)
	}
	if _, err := p.stdout.ReadBytes('\n'); err != nil { // it answers when it is ready
		return nil, fmt.Errorf("a worker did not begin: %w", err)
	}
	go p.listen()
	return p, nil
}

// listen hands answers to who waits for them, until the worker ends.
func (p *process) listen() {
	for {
		var r reply
		line, err := p.stdout.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		p.mutex.Lock()
		if err != nil {
			p.dead = fmt.Errorf("a worker has ended: %w", err)
			for _, answer := range p.waiting {
				close(answer)
			}
			p.waiting = nil
			p.mutex.Unlock()
			return
		}
		answer := p.waiting[r.ID]
		delete(p.waiting, r.ID)
		if requests(r.Counters) >= requests(p.counted) { // they only grow
			p.counted = r.Counters
		}
		p.peak = max(p.peak, r.Peak)
		p.mutex.Unlock()
		answer <- r
	}
}

func requests(c s3model.Counters) int64 { return c.Put + c.Get + c.List + c.Free }

// ask has the worker do something.
func (p *process) ask(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	answer := make(chan reply, 1)
	p.mutex.Lock()
	err := p.dead
	if err == nil {
		p.asked++
		p.calls++
		p.waiting[p.asked] = answer
		err = json.NewEncoder(p.stdin).Encode(order{p.asked, function, payload})
	}
	p.mutex.Unlock()
	if err != nil {
		return nil, fmt.Errorf("ask a worker: %w", err)
	}
	// A worker whose caller gives up is killed, as a function is that times out.
	stop := context.AfterFunc(ctx, func() { _ = p.command.Process.Kill() })
	defer stop()
	began := time.Now()
	r, ok := <-answer
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.busy += time.Since(began)
	switch {
	case !ok:
		return nil, p.dead
	case r.Error != "":
		return nil, named{r.Name, r.Error}
	}
	return r.Answer, nil
}

// invoke has a worker run a step. It is a machine.Invoker.
func (f *fleet) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	if function != "copy" {
		return f.all[0].ask(ctx, function, payload)
	}
	return f.share(ctx, function, payload)
}

// share has whichever worker has a free slot do something.
func (f *fleet) share(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	select {
	case p := <-f.free:
		defer func() { f.free <- p }()
		return p.ask(ctx, function, payload)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// do has one worker do something and decodes its answer.
func (f *fleet) do(ctx context.Context, function string, request, answer any) error {
	payload, err := json.Marshal(request)
	if err != nil {
		return err
	}
	raw, err := f.share(ctx, function, payload)
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
			p.mutex.Lock()
			killed := p.dead != nil
			p.mutex.Unlock()
			err := errors.Join(p.stdin.Close(), p.command.Wait())
			mutex.Lock()
			defer mutex.Unlock()
			if !killed {
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
