package apptest

import (
	"context"
	"errors"
	"io"
	"sync"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// disturbed is an adapter of which one call fails, or that something happens to between the list and the reads.
type disturbed struct {
	app.Source
	listed func() // is called once after the next snapshot; may be nil

	mutex   sync.Mutex
	objects []app.Object   // of the last snapshot
	calls   map[string]int // since arm, by the words of calls
	fails   string         // the call that fails; "": none
	failAt  int            // which of them, from 1
	fault   error
	fired   bool
}

// calls are the words for what the pipeline asks of an adapter.
var calls = []string{"Snapshot", "Open", "Read", "Now"}

// errEarlyEnd makes a read end as if nothing were left, without an error.
var errEarlyEnd = errors.New("ends early")

// faults are the ways in which a call fails, in turn.
var faults = []error{
	failure.New(failure.Invalid, "told to fail: invalid"),
	failure.New(failure.NotFound, "told to fail: gone"),
	errEarlyEnd,
	failure.New(failure.Transient, "told to fail: try again"),
	errors.New("told to fail"),
	failure.New(failure.Denied, "told to fail: denied"),
	failure.New(failure.Conflict, "told to fail: changed"),
	io.ErrUnexpectedEOF,
	failure.New(failure.Exhausted, "told to fail: full"),
}

// arm lets the n-th call of that word fail, once.
func (d *disturbed) arm(call string, n int, fault error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.calls, d.fails, d.failAt, d.fault, d.fired = map[string]int{}, call, n, fault, false
}

// call returns the error of a call, if it is the one that fails.
func (d *disturbed) call(word string) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.fails == "" {
		return nil
	}
	if d.calls[word]++; word != d.fails || d.calls[word] != d.failAt {
		return nil
	}
	d.fired = true
	return d.fault
}

// SnapshotFrom implements app.Pausing, for adapters too that don't: theirs is one piece.
func (d *disturbed) SnapshotFrom(ctx context.Context, scope backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	if err := d.call("Snapshot"); err != nil {
		return app.Facts{}, err
	}
	if from == nil {
		d.objects = nil
	}
	facts, err := d.piece(ctx, scope, from, &noting{sink, d})
	if err == nil && d.listed != nil {
		d.listed()
		d.listed = nil
	}
	return facts, err
}

func (d *disturbed) piece(ctx context.Context, scope backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	if pausing, ok := d.Source.(app.Pausing); ok {
		return pausing.SnapshotFrom(ctx, scope, from, sink)
	}
	return d.Source.Snapshot(ctx, scope, sink)
}

// noting passes on what it gets and remembers the objects.
type noting struct {
	app.PausingSink
	disturbed *disturbed
}

func (n *noting) Object(o app.Object) error {
	n.disturbed.objects = append(n.disturbed.objects, o)
	return n.PausingSink.Object(o)
}

// Open implements app.Source.
func (d *disturbed) Open(ctx context.Context, o app.Object) (app.Content, error) {
	if err := d.call("Open"); err != nil {
		return nil, err
	}
	content, err := d.Source.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &disturbedContent{content, d}, nil
}

type disturbedContent struct {
	app.Content
	disturbed *disturbed
}

func (c *disturbedContent) Read(p []byte) (int, error) {
	switch err := c.disturbed.call("Read"); {
	case errors.Is(err, errEarlyEnd):
		return 0, io.EOF
	case err != nil:
		return 0, err
	}
	return c.Content.Read(p)
}

func (c *disturbedContent) Now() (app.Object, error) {
	if err := c.disturbed.call("Now"); err != nil {
		return app.Object{}, err
	}
	return c.Content.Now()
}
