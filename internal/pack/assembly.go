package pack

import (
	"cmp"
	"context"
	"errors"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// literals is how many parts that are read are in memory at the same time.
const literals = 3

// assembly is one attempt to have the store make packs of a layout. All copies begin at once; parts that are read are
// read ahead and written in their order, each as soon as the CRC-32 of the object is known whose header it ends with.
// Copies wait for nothing, so the wait ends.
type assembly struct {
	*Packer
	names    *ids
	layout   layout
	packs    []*joint // the first, then the chain
	bodies   []*body  // of the sections, then of the chain
	tokens   gate     // one for each part in memory
	result   Result
	outgrown []Item

	toldItems, toldBytes atomic.Int64
}

// joint is a pack under way.
type joint struct {
	id     string
	upload vault.Upload
	next   int   // number of the next part behind those that are planned
	size   int64 // bytes so far, in the order of the pack
	mutex  sync.Mutex
	parts  map[int]vault.Part
	done   bool
}

func (j *joint) set(part vault.Part) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.parts[part.Number] = part
}

// errBody says that a body could not be copied; it knows why.
var errBody = errors.New("an object could not be copied")

func (a *assembly) tell(items, bytes int64) {
	a.toldItems.Add(items)
	a.toldBytes.Add(bytes)
	a.progress(items, bytes)
}

// takeBack tells that what was told is to be done again.
func (a *assembly) takeBack() { a.progress(-a.toldItems.Load(), -a.toldBytes.Load()) }

// run makes the packs. It says whether another attempt is needed, without the bodies that have failed.
func (a *assembly) run(parent context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	if err := a.prepare(ctx); err != nil {
		a.abort(parent)
		return false, err
	}
	defer a.abort(parent)
	var copying sync.WaitGroup
	for _, b := range a.bodies {
		copying.Go(func() { a.copy(ctx, b, cancel) })
	}
	err = a.write(ctx)
	if err != nil && !errors.Is(err, errBody) {
		cancel()
	}
	copying.Wait()
	again, err = judge(a.bodies, func(b *body) error {
		if b.item.Stored != nil {
			return a.damaged(*b.item.Stored, b.err)
		}
		return b.err
	}, err)
	if again || err != nil {
		return again, err
	}
	return false, a.complete(ctx)
}

// prepare names the packs, numbers their parts and begins their uploads.
func (a *assembly) prepare(ctx context.Context) error {
	var total int64
	for _, s := range a.layout.sections {
		total += s.body.size()
	}
	for _, item := range a.layout.chain {
		total += item.size()
	}
	piece := cmp.Or(a.piece, pieceSize(total))
	a.tokens = make(gate, literals)
	first := &joint{next: 1}
	a.packs = []*joint{first}
	for _, s := range a.layout.sections {
		b, err := a.newBody(s.body, s.steal, piece)
		if err != nil {
			return err
		}
		b.into, b.first = first, first.next+1
		first.next = b.first + len(b.pieces)
		a.bodies = append(a.bodies, b)
	}
	for _, item := range a.layout.chain {
		b, err := a.newBody(item, 0, piece)
		if err != nil {
			return err
		}
		b.into, b.first = &joint{next: 1 + len(b.pieces)}, 1
		a.bodies, a.packs = append(a.bodies, b), append(a.packs, b.into)
	}
	for _, j := range a.packs {
		if j.next+len(a.layout.tail) > vault.MaxParts {
			return failure.New(failure.Internal, "a batch would need %d parts", j.next)
		}
		id, err := a.names.take(ctx)
		if err != nil {
			return err
		}
		j.id, j.parts = id, map[int]vault.Part{}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, j := range a.packs {
		group.Go(func() (err error) {
			j.upload, err = a.Vault.CreateUpload(ctx, vault.Pack(a.Source, j.id))
			return err
		})
	}
	return group.Wait()
}

// literal is one part that is read: small items, and the head of an object.
type literal struct {
	slots  []slot
	buffer []byte
	head   []byte
	done   chan struct{} // closed once it is read, or err says why not
	err    error
}

// write reads and writes everything that passes through compute.
func (a *assembly) write(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	ahead := make(chan *literal, literals)
	group.Go(func() error { return a.readAhead(ctx, group, ahead) })
	group.Go(func() error { return a.writeParts(ctx, group, ahead) })
	return group.Wait()
}

// readAhead begins to read one literal after the other, as long as there is room for them.
func (a *assembly) readAhead(ctx context.Context, group *errgroup.Group, ahead chan<- *literal) error {
	begin := func(items []Item, b *body) error {
		select {
		case a.tokens <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		lit := &literal{slots: make([]slot, len(items)), done: make(chan struct{})}
		room := int64(0)
		if b != nil {
			lit.head = make([]byte, b.steal)
			room = b.item.headerSize() + vault.MinPart
		}
		lit.buffer = layOut(items, lit.slots, room)
		ahead <- lit // it has room for as many as there are tokens
		group.Go(func() error {
			defer close(lit.done)
			if lit.err = a.readAll(ctx, lit.slots, a.tell); lit.err == nil && b != nil {
				lit.err = a.blame(ctx, b, a.head(ctx, b, 0, lit.head))
			}
			return lit.err
		})
		return nil
	}
	for i, s := range a.layout.sections {
		if err := begin(s.filler, a.bodies[i]); err != nil {
			return err
		}
	}
	for _, items := range a.layout.tail {
		if err := begin(items, nil); err != nil {
			return err
		}
	}
	return nil
}

// blame notes an error with a body, unless it is the echo of another one.
func (a *assembly) blame(ctx context.Context, b *body, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	<-b.done
	if b.err == nil {
		b.err = err
	}
	return errBody
}

// next waits until the next literal is read and returns its bytes, which begin at base in the first pack, and the
// head that comes behind them.
func (a *assembly) next(ctx context.Context, ahead <-chan *literal, base int64) (data, head []byte, err error) {
	var lit *literal
	select {
	case lit = <-ahead:
		<-lit.done
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if lit.err != nil {
		return nil, nil, lit.err
	}
	data, packed, outgrown := compact(lit.buffer, lit.slots, base, &a.result)
	for i := range packed {
		packed[i].Header.Pack = a.packs[0].id
	}
	a.result.Entries = append(a.result.Entries, packed...)
	a.outgrown = append(a.outgrown, outgrown...)
	return data, lit.head, nil
}

// writeParts writes the literals in their order.
func (a *assembly) writeParts(ctx context.Context, group *errgroup.Group, ahead <-chan *literal) error {
	first := a.packs[0]
	for i := range a.layout.sections {
		data, head, err := a.next(ctx, ahead, first.size)
		if err != nil {
			return err
		}
		b := a.bodies[i]
		if data, err = a.join(ctx, b, data, head); err != nil {
			return err
		}
		a.send(ctx, group, first, b.first-1, data)
		first.size += int64(len(data)) + b.copied
	}
	last, err := a.writeTail(ctx, group, ahead)
	if err != nil {
		return err
	}
	return a.writeChain(ctx, group, last)
}

// join appends the header of a body and its head to the part before it, and more of its bytes where the part would be
// too short.
func (a *assembly) join(ctx context.Context, b *body, data, head []byte) ([]byte, error) {
	if err := a.await(ctx, b); err != nil {
		return nil, err
	}
	if missing := vault.MinPart - (int64(len(data)+len(head)) + b.item.headerSize()); missing > 0 {
		more, err := a.mend(ctx, b, missing)
		if err != nil {
			return nil, a.blame(ctx, b, err)
		}
		b.sum()
		head = append(head, more...)
	}
	entry, err := b.entry(zipfmt.CombineCRC(crc32.ChecksumIEEE(head), b.crc, b.copied))
	if err != nil {
		return nil, a.blame(ctx, b, err)
	}
	entry.Header = manifest.Place{Pack: b.into.id, Offset: b.into.size + int64(len(data))}
	a.result.Entries = append(a.result.Entries, entry)
	a.tell(1, b.item.size())
	return append(entry.Zip().AppendLocal(data), head...), nil
}

// await waits until a body is copied.
func (a *assembly) await(ctx context.Context, b *body) error {
	select {
	case <-b.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.err != nil {
		return errBody
	}
	return nil
}

// writeTail writes what is read and followed by no body; what vanished makes parts too short, which are joined. It
// returns the last part, which may still grow.
func (a *assembly) writeTail(ctx context.Context, group *errgroup.Group, ahead <-chan *literal) ([]byte, error) {
	first := a.packs[0]
	var open []byte
	for range a.layout.tail {
		data, _, err := a.next(ctx, ahead, first.size)
		if err != nil {
			return nil, err
		}
		first.size += int64(len(data))
		switch {
		case len(open) == 0:
			open = data
			if len(data) == 0 {
				<-a.tokens
			}
		case len(open) < vault.MinPart:
			open = append(open, data...)
			<-a.tokens
		default:
			a.send(ctx, group, first, first.next, open)
			first.next++
			open = data
			if len(data) == 0 {
				<-a.tokens
			}
		}
	}
	return open, nil
}

// writeChain writes the last part of each pack: what is left of the first, and the header of the body that the next
// pack begins with.
func (a *assembly) writeChain(ctx context.Context, group *errgroup.Group, open []byte) error {
	holds := len(open) > 0
	for i, b := range a.bodies[len(a.layout.sections):] {
		before := a.packs[i]
		if err := a.await(ctx, b); err != nil {
			return err
		}
		entry, err := b.entry(b.crc)
		if err != nil {
			return a.blame(ctx, b, err)
		}
		entry.Header = manifest.Place{Pack: before.id, Offset: before.size}
		entry.BodyPlace = &manifest.Place{Pack: b.into.id}
		a.result.Entries = append(a.result.Entries, entry)
		a.tell(1, b.item.size())
		if !holds { // a header alone: it is small
			a.tokens <- struct{}{}
		}
		header := entry.Zip().AppendLocal(nil)
		before.size += int64(len(header))
		a.send(ctx, group, before, before.next, append(open, header...))
		before.next++
		open, holds = nil, false
		b.into.size = b.item.size()
	}
	if holds {
		j := a.packs[0]
		a.send(ctx, group, j, j.next, open)
		j.next++
	}
	return nil
}

// send writes a part in the background and then makes room for another.
func (a *assembly) send(ctx context.Context, group *errgroup.Group, j *joint, number int, data []byte) {
	group.Go(func() error {
		defer func() { <-a.tokens }()
		part, err := a.Vault.UploadPart(ctx, j.upload, number, data)
		if err == nil {
			j.set(part)
		}
		return err
	})
}

// complete joins the parts of every pack.
func (a *assembly) complete(ctx context.Context) error {
	for _, b := range a.bodies {
		for _, part := range b.parts {
			b.into.set(part)
		}
	}
	packs := make([]manifest.Pack, len(a.packs))
	group, ctx := errgroup.WithContext(ctx)
	for i, j := range a.packs {
		if len(j.parts) == 0 { // nothing is left of it
			continue
		}
		group.Go(func() error {
			parts := make([]vault.Part, 0, len(j.parts))
			var crc uint32
			var size int64
			for n := 1; n <= len(j.parts); n++ {
				part := j.parts[n]
				parts = append(parts, part)
				crc = zipfmt.CombineCRC(crc, part.CRC32, part.Size)
				size += part.Size
			}
			if size != j.size {
				return failure.New(failure.Internal, "the pack %s has %d bytes, its entries have %d", j.id, size, j.size)
			}
			packs[i] = manifest.Pack{ID: j.id, Bytes: size, CRC32: manifest.CRC(crc)}
			err := a.Vault.Complete(ctx, j.upload, parts, size, crc)
			j.done = err == nil
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, pack := range packs {
		if pack.ID != "" {
			a.result.Packs = append(a.result.Packs, pack)
		}
	}
	return nil
}

// abort frees the parts of packs that were not completed.
func (a *assembly) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var wait sync.WaitGroup
	for _, j := range a.packs {
		if !j.done && j.upload.ID != "" {
			wait.Go(func() { _ = a.Vault.Abort(ctx, j.upload) })
		}
	}
	wait.Wait()
}
