// Package fetch brings the file at an address into the vault, for a restore that begins with a URL.
//
// What it promises: the object appears as a whole or not at all; its bytes are those of one version of the file, never a
// mixture; what broke goes on from where it broke, in another process too, where the server can give a part of a file and
// say which version it is of; where it can't, the file comes in one go. Each wait is bounded, and one part of the upload
// is all that is held in memory.
//
// What was refused leaves nothing behind. What was stopped by a deadline or by the network keeps the parts that the
// store has: the State names their upload. What nobody goes on with is deleted by internal/retention.
//
// It reaches servers through internal/netguard only, and stores one object, the one at the key that it is given.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
	"lifeboat/internal/vault"
)

// State is how far a fetch is. The zero value is the beginning; what Into returns is passed to the next call.
type State struct {
	Done   bool
	Upload string // id of the multipart upload; empty before there is one
	Offset int64  // bytes that the store has
	Tag    string // which version of the file it is; only Into reads it
}

// Options are what a fetch needs beside the address. Only Guard must be set.
type Options struct {
	Guard    *netguard.Client
	MaxBytes int64                                // of the file; 0, or more than Most: Most
	MaxTime  time.Duration                        // of the whole fetch, over all calls; 0: 24 h
	Margin   time.Duration                        // before the deadline of ctx at which a call stops; 0: 30 s
	Progress func(items, bytes int64)             // is told what has arrived; what has to come twice counts twice; may be nil
	Again    func(why error, pause time.Duration) // is told of each try that comes to nothing and is made again; may be nil
	Now      func() time.Time
	Sleep    func(ctx context.Context, d time.Duration) error // nil: really
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 || o.MaxBytes > Most {
		o.MaxBytes = Most
	}
	if o.MaxTime == 0 {
		o.MaxTime = 24 * time.Hour
	}
	if o.Margin == 0 {
		o.Margin = 30 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Again == nil {
		o.Again = func(error, time.Duration) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return o
}

// Into fetches the file at address into the vault at key, or goes on where s is. It may be called again at any time with
// the State of an earlier call, and returns with Done false to be called again: before the first byte of a fetch that
// can be resumed, so that the caller can keep its State; before ctx's deadline; and where the file has changed, which
// begins anew. An object that is at key already is success, whatever s says: it appears when it is complete.
//
// The error is Denied where the address is not allowed or nothing answers (one text for both), or the server wants
// credentials; NotFound; Invalid where the answer is of no use; Conflict where another fetch to key is under way;
// Exhausted behind the limits; Transient, after some tries, and Canceled: after these two the State goes on.
func Into(ctx context.Context, v *vault.Vault, key vault.Key, address string, o Options, s State) (State, error) {
	if s.Done {
		return s, nil
	}
	o = o.withDefaults()
	next, err := into(ctx, v, key, address, o, s)
	if err == nil && next.Done {
		err = v.AbortAll(ctx, key) // a request of a process that was killed may have reached the store late
	}
	if err == nil {
		return next, nil
	}
	switch failure.KindOf(err) {
	case failure.Transient, failure.Canceled:
		return next, err
	}
	if left := abort(ctx, v, key, next); left != nil {
		err = fmt.Errorf("%w (and its parts could not be freed: %w)", err, left)
	}
	return State{}, err
}

func into(ctx context.Context, v *vault.Vault, key vault.Key, address string, o Options, s State) (State, error) {
	if err := o.Guard.Check(address); err != nil {
		return s, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return s, failure.New(failure.Internal, "read an address that was checked")
	}
	version, err := parseTag(s.Tag, o.Now())
	if err != nil {
		return s, err
	}
	d := &download{vault: v, key: key, address: address, host: u.Host, o: o, version: version, answered: s.Upload != ""}
	work, cancel := d.limit(ctx)
	defer cancel()
	if s.Upload == "" {
		return d.begin(ctx, work)
	}
	return d.goOn(ctx, work, s)
}

// cleanUpTime bounds what is done after a cancellation.
const cleanUpTime = 10 * time.Second

func abort(ctx context.Context, v *vault.Vault, key vault.Key, s State) error {
	if s.Upload == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	return v.Abort(ctx, vault.Upload{Key: key, ID: s.Upload})
}

// download is one call of Into.
type download struct {
	vault    *vault.Vault
	key      vault.Key
	address  string
	host     string // for messages: the one part of the address that is no secret
	o        Options
	version  tag
	answered bool // the server has given this file, or a part of it, before: now its silence may be told
}

const (
	oneGo       = 2 // a file that was begun anew so often, since it keeps changing, is fetched in one go
	maxRestarts = 4 // a file that comes in one go is begun anew so often
)

// limit returns the context of everything that is done before the deadline: the store gets the margin behind it.
func (d *download) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	left := d.version.Began.Add(d.o.MaxTime).Sub(d.o.Now())
	if deadline, ok := ctx.Deadline(); ok {
		all := time.Until(deadline)
		left = min(left, all-min(d.o.Margin, all/4))
	}
	return context.WithTimeout(ctx, left)
}

// begin asks for the file and decides how it comes.
func (d *download) begin(ctx, work context.Context) (State, error) {
	info, err := d.vault.Head(ctx, d.key)
	if err == nil {
		return State{Done: true, Offset: info.Size}, nil
	}
	if failure.KindOf(err) != failure.NotFound {
		return State{}, err
	}
	if err := d.vault.AbortAll(ctx, d.key); err != nil { // of an attempt that was killed
		return State{}, err
	}
	var next State
	err = d.persist(work, func() int64 { return 0 }, func() error {
		next, err = d.first(ctx, work)
		return err
	})
	if err != nil {
		return next, d.stopped(ctx, work, err)
	}
	return next, nil
}

// first asks for the whole file. It returns a State to go on with, or the whole file is there.
func (d *download) first(ctx, work context.Context) (State, error) {
	answer, err := d.ask(work, 0)
	if err != nil {
		return State{}, err
	}
	defer answer.Close()
	switch {
	case answer.size == 0:
		return State{}, d.empty()
	case answer.size > d.o.MaxBytes:
		return State{}, d.tooLarge()
	case answer.version != "" && answer.ranges && answer.size > smallestPart && d.version.Restarts < oneGo:
		u, err := d.vault.CreateUpload(ctx, d.key)
		if err != nil {
			return State{}, err
		}
		d.version.Size, d.version.Version = answer.size, answer.version
		return State{Upload: u.ID, Tag: d.version.String()}, nil
	}
	sink := d.newSink(answer.size)
	if err := sink.fill(ctx, answer); err != nil {
		return State{}, errors.Join(d.oneGoBroke(ctx, work, err), sink.abort(ctx))
	}
	switch {
	case sink.at() == 0:
		return State{}, d.empty()
	case sink.at() < answer.size: // it gives the file in pieces, and does not say of which version they are
		d.version.Restarts = oneGo // asks for everything
		broke := again{error: d.useless("gives only a piece of the file")}
		return State{}, errors.Join(broke, sink.abort(ctx))
	}
	if err := sink.finish(ctx); err != nil {
		return State{}, errors.Join(err, sink.abort(ctx))
	}
	return State{Done: true, Offset: sink.stored}, nil
}

// oneGoBroke gives the end of a fetch that can't go on its kind.
func (d *download) oneGoBroke(ctx, work context.Context, err error) error {
	var broke again
	switch {
	case ctx.Err() == nil && work.Err() != nil && !d.late():
		return failure.New(failure.Exhausted, "%s can't continue a file, and the whole file does not come in the time of one call", d.host).
			WithHint("download the file and restore from it, or put it where a server answers requests for parts of it (Range, with an ETag)")
	case errors.As(err, &broke):
		if d.version.Restarts++; d.version.Restarts > maxRestarts {
			return broke.error
		}
	}
	return err
}

// goOn brings the rest of a file, from the first part on that the store does not have.
func (d *download) goOn(ctx, work context.Context, s State) (State, error) {
	sink, err := d.resume(ctx, s)
	switch {
	case errors.Is(err, errLost) && d.complete(ctx):
		return State{Done: true, Offset: d.version.Size}, nil
	case errors.Is(err, errLost), errors.Is(err, errChanged):
		return d.restart(ctx, s)
	case err != nil:
		return s, err
	}
	had := sink.stored
	err = d.persist(work, func() int64 { return sink.stored }, func() error { return d.more(ctx, work, sink) })
	if err == nil {
		err = sink.finish(ctx)
	}
	s.Offset = sink.stored
	switch {
	case err == nil:
		return State{Done: true, Offset: sink.stored, Tag: s.Tag}, nil
	case errors.Is(err, errLost), errors.Is(err, errChanged):
		return d.restart(ctx, s)
	case ctx.Err() == nil && work.Err() != nil && !d.late() && sink.stored > had:
		return s, nil // there is a deadline, and something was done before it
	}
	return s, d.stopped(ctx, work, err)
}

// more asks for what is missing until everything is there.
func (d *download) more(ctx, work context.Context, sink *sink) error {
	for sink.at() < d.version.Size {
		answer, err := d.ask(work, sink.at())
		if err != nil {
			return err
		}
		err = sink.fill(ctx, answer)
		answer.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// complete reports whether the object is there: an earlier call has completed it and was not heard.
func (d *download) complete(ctx context.Context) bool {
	info, err := d.vault.Head(ctx, d.key)
	return err == nil && info.Size == d.version.Size
}

// restart gives up the parts of another version of the file.
func (d *download) restart(ctx context.Context, s State) (State, error) {
	if err := abort(ctx, d.vault, d.key, s); err != nil {
		return s, err
	}
	return State{Tag: tag{Restarts: d.version.Restarts + 1, Began: d.version.Began}.String()}, nil
}

// late reports whether the whole fetch has had its time.
func (d *download) late() bool { return d.o.Now().Sub(d.version.Began) >= d.o.MaxTime }

// stopped says why a call ends where it is not because of what the server did.
func (d *download) stopped(ctx, work context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return failure.New(failure.Canceled, "fetch from %s: %w", d.host, ctx.Err())
	case work.Err() != nil && d.late():
		return failure.New(failure.Exhausted, "the file at %s takes longer than %s", d.host, d.o.MaxTime).
			WithHint("download the file and restore from it")
	case errors.Is(err, errLost):
		return failure.New(failure.Conflict, "another process has given up the same fetch")
	case failure.KindOf(err) == failure.Canceled:
		return failure.New(failure.Transient, "%s was too slow for one part of the file in the time of one call", d.host)
	}
	return err
}

func (d *download) empty() error {
	return failure.New(failure.Invalid, "%s gives an empty file", d.host).WithHint("check the address: an archive is never empty")
}

func (d *download) tooLarge() error {
	return failure.New(failure.Exhausted, "the file at %s is larger than the %d bytes that are allowed", d.host, d.o.MaxBytes).
		WithHint("download the file and restore from it")
}
