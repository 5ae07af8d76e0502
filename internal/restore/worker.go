package restore

import (
	"context"
	"io"
	"iter"
	"sync"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// How much a process does at once, whatever number of destinations it has open.
const (
	units   = 24 // of one restore, under way, most of which wait
	windows = 4  // of windowSize, or parts of it, in memory
	puts    = 64 // requests for small objects
	copies  = 16 // parts that the store copies
	openAt  = 8  // files of a folder that are read or written
)

// The places for it. Who holds a place of one of the latter three waits for none of any.
var (
	windowPlaces = make(chan struct{}, windows)
	putPlaces    = make(chan struct{}, puts)
	copyPlaces   = make(chan struct{}, copies)
	filePlaces   = make(chan struct{}, openAt)
)

// outcome is what became of one object.
type outcome int

const (
	wrote   outcome = iota
	spliced         // by the store itself
	existed
)

// worker does what the destinations have in common: it reads windows, runs their objects many at a time, and counts.
type worker struct {
	places   chan struct{} // for one object each
	progress func(items, bytes int64)
	source   Bytes

	mutex  sync.Mutex
	result Result
}

// putter is what a destination does with a small object.
type putter interface {
	// there reports whether the restore is done with an object before its bytes were read. It settles it then.
	there(ctx context.Context, fresh bool, i Item) (bool, error)
	// put writes one whose content was checked.
	put(ctx context.Context, i Item, content []byte) (outcome, error)
}

// all does every unit of a plan, several at a time. An error ends it.
func (w *worker) all(ctx context.Context, plan iter.Seq2[Unit, error], do func(context.Context, Unit) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan Unit)
	var group sync.WaitGroup
	for range units {
		group.Go(func() {
			for u := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, u); err != nil {
					cancel(err)
				}
			}
		})
	}
	for u, err := range plan {
		if err != nil {
			cancel(err)
		}
		if ctx.Err() != nil {
			break
		}
		work <- u
	}
	close(work)
	group.Wait()
	return context.Cause(ctx)
}

// small does a window: one read, and one write for each of its objects that is not there.
func (w *worker) small(ctx context.Context, u Unit, p putter) error {
	var mutex sync.Mutex
	missing := u
	missing.Items, missing.Length = nil, 0
	err := w.each(ctx, u.Items, func(i Item) error {
		there, err := p.there(ctx, u.Fresh, i)
		if err == nil && !there {
			mutex.Lock()
			defer mutex.Unlock()
			missing.Items = append(missing.Items, i)
		}
		return err
	})
	if err != nil || len(missing.Items) == 0 {
		return err
	}
	first, last := u.From.Offset+u.Length, u.From.Offset
	for _, i := range missing.Items {
		if size := i.Entry.StoredSize(); size > 0 {
			first, last = min(first, i.Offset), max(last, i.Offset+size)
		}
	}
	missing.From.Offset, missing.Length = first, max(0, last-first)
	return w.fill(ctx, missing, p)
}

// fill reads a window and writes its objects.
func (w *worker) fill(ctx context.Context, u Unit, p putter) error {
	if !acquire(ctx, windowPlaces) {
		return ctx.Err()
	}
	defer func() { <-windowPlaces }()
	data, err := w.read(ctx, u)
	return w.each(ctx, u.Items, func(i Item) error {
		if err != nil {
			return w.settle(i, 0, err)
		}
		var stored []byte
		if size := i.Entry.StoredSize(); size > 0 {
			at := i.Offset - u.From.Offset
			stored = data[at : at+size]
		}
		content, err := w.source.whole(i.Entry, stored)
		var o outcome
		if err == nil {
			o, err = p.put(ctx, i, content)
		}
		return w.settle(i, o, err)
	})
}

// each does the items, many at a time, and returns the first error.
func (w *worker) each(ctx context.Context, items []Item, do func(Item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, i := range items {
		if !acquire(ctx, w.places) {
			break
		}
		group.Go(func() {
			defer func() { <-w.places }()
			if err := do(i); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// readAttempts is how often a window is read: the SDK repeats a request, not a body that breaks off.
const readAttempts = 3

func (w *worker) read(ctx context.Context, u Unit) ([]byte, error) {
	data := make([]byte, u.Length)
	for attempt := 1; ; attempt++ {
		err := w.readInto(ctx, u, data)
		if err == nil || failure.KindOf(err) != failure.Transient || attempt == readAttempts {
			return data, err
		}
	}
}

func (w *worker) readInto(ctx context.Context, u Unit, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	body, err := w.source.open(ctx, u.From, u.Length)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err = io.ReadFull(body, data); err == io.ErrUnexpectedEOF || err == io.EOF { // of a body that broke off the store's reader says more
		return failure.New(failure.Corrupt, "the backup ends before its entries do")
	}
	return err
}

// settle counts an object that was written, or its trouble.
func (w *worker) settle(i Item, o outcome, err error) error {
	if err != nil {
		err = w.trouble(i, err)
	} else {
		w.done(i, o)
	}
	if err == nil {
		w.progress(1, i.Entry.Size)
	}
	return err
}

// done counts an object.
func (w *worker) done(i Item, o outcome) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	switch o {
	case existed:
		w.result.Existing++
		return
	case spliced:
		w.result.Spliced++
		w.result.SplicedBytes += i.Entry.Size
	}
	w.result.Written++
	if i.Entry.Dir() {
		w.result.Folders++
	}
	w.result.Bytes += i.Entry.Size
}

// trouble makes a problem of what concerns one object, and returns what concerns all of them.
func (w *worker) trouble(i Item, err error) error {
	switch failure.KindOf(err) {
	case failure.Canceled, failure.Transient, failure.Denied, failure.Exhausted, failure.NotFound:
		return err
	case failure.Corrupt:
		w.problem(corrupt(i.Entry.Path, err.Error()))
	default:
		w.problem(unwritten(i.Entry.Path, err))
	}
	return nil
}

// unwritten is the problem of an entry that was not written.
func unwritten(item string, err error) app.Finding {
	if failure.KindOf(err) == failure.Conflict {
		return conflicting(item, "was not written: "+err.Error())
	}
	if outside(err) {
		return notWritten(item, "was not written: a folder on its way is a symbolic link that leads out of the target; put a folder there, or restore into another target")
	}
	return notWritten(item, "was not written: %v", err)
}

func (w *worker) problem(f app.Finding) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.result.problem(f)
}

// counted returns a copy of the result.
func (w *worker) counted() Result {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var r Result
	r.Add(w.result)
	return r
}

// acquire takes one of a limited number of places; false when nobody waits any more.
func acquire(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
