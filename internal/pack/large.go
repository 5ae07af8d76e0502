package pack

import (
	"cmp"
	"context"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// packLarge streams items one after the other into one pack, whatever their size, with a few parts in memory.
func (p *Packer) packLarge(ctx context.Context, names *ids, items []Item, result *Result) error {
	l, err := p.newLarge(ctx, names, items, Result{Batch: result.Batch})
	if err != nil {
		return err
	}
	if _, err := l.run(ctx, ctx, ""); err != nil {
		return err
	}
	result.add(l.So)
	return nil
}

// add appends what else became of a batch.
func (r *Result) add(more Result) {
	r.Packs = append(r.Packs, more.Packs...)
	r.Entries = append(r.Entries, more.Entries...)
	r.Unchanged = append(r.Unchanged, more.Unchanged...)
	r.Findings = append(r.Findings, more.Findings...)
}

// large is a pack that streams, perhaps over several calls.
type large struct {
	*Packer
	cursor
	began  at // where the call began that goes on with it
	stream *stream
}

// under is the entry under way, as far as it was read.
type under struct {
	Mark    mark     `json:"mark"`             // where it begins
	Attempt int      `json:"attempt"`          // at reading it
	Any     bool     `json:"any,omitzero"`     // whatever version is there is read
	Reading *reading `json:"reading,omitzero"` // nil until its header is reserved
	Mixed   bool     `json:"mixed,omitzero"`   // what was read is of more than one version
}

// again begins the entry anew, in whatever version is there.
func (u *under) again() { *u = under{Mark: u.Mark, Attempt: u.Attempt + 1, Any: true} }

func (p *Packer) newLarge(ctx context.Context, names *ids, items []Item, before Result) (*large, error) {
	id, err := names.take(ctx)
	if err != nil {
		return nil, err
	}
	l := &large{Packer: p, cursor: cursor{Format: cursorFormat, Batch: before.Batch, Before: before, Items: items, ID: id}}
	l.begin(ctx)
	return l, nil
}

// begin begins the pack from its first item on.
func (l *large) begin(ctx context.Context) {
	var planned int64
	for _, item := range l.Items {
		planned += item.size()
	}
	l.Next, l.Under, l.So = 0, nil, Result{Batch: l.Batch}
	l.stream = newStream(ctx, l.Vault, vault.Pack(l.Source, l.ID), planned, cmp.Or(l.part, streamPart))
	l.stream.equal = l.Equal
}

// run streams what is left of the items, and completes the pack; false: reading ended before, and the cursor is kept at
// key.
func (l *large) run(ctx, reading context.Context, key vault.Key) (done bool, err error) {
	defer l.stream.abort()
	if err := l.items(reading); err != nil {
		if key == "" || ctx.Err() != nil || reading.Err() == nil {
			return false, err
		}
		return false, l.keep(ctx, key)
	}
	if len(l.So.Entries) == 0 {
		l.stream.kept = false
		return true, nil
	}
	if err := l.stream.end(); err != nil {
		return false, err
	}
	if l.stream.kept { // another call finds the pack complete if this one's answer is lost
		if err := l.keep(ctx, key); err != nil {
			return false, err
		}
	}
	bytes, crc, err := l.stream.close()
	if err != nil {
		return false, err
	}
	l.So.Packs = []manifest.Pack{{ID: l.ID, Bytes: bytes, CRC32: manifest.CRC(crc)}}
	return true, nil
}

// items streams the items from the next one on.
func (l *large) items(ctx context.Context) error {
	for l.Next < len(l.Items) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.Under == nil {
			l.Under = &under{Mark: l.stream.mark(), Attempt: 1}
		}
		entry, keep, err := l.item(ctx, l.Items[l.Next])
		if err != nil {
			return err
		}
		if keep {
			entry.Header = manifest.Place{Pack: l.ID, Offset: l.Under.Mark.Offset}
			if err := l.stream.finish(entry.Zip()); err != nil {
				return err
			}
			l.So.Entries = append(l.So.Entries, entry)
		} else if err := l.stream.rollBack(l.Under.Mark); err != nil {
			return err
		}
		l.Next, l.Under = l.Next+1, nil
		l.progress(1, 0)
	}
	return nil
}

// item streams one item up to its end; false: it is not in the pack.
func (l *large) item(ctx context.Context, item Item) (entry manifest.Entry, keep bool, err error) {
	switch {
	case item.Document != nil:
		entry, err = l.streamDocument(ctx, item.Document)
		return entry, true, err
	case item.Stored != nil:
		entry, err = l.streamStored(ctx, *item.Stored)
		return entry, true, err
	case item.Object.Dir:
		entry = directory(*item.Object).entry(*item.Object)
		return entry, true, l.stream.begin(entry.Zip().LocalSize())
	}
	listed := *item.Object
	r, err := l.steady(ctx, listed)
	if err != nil {
		if ctx.Err() != nil { // the time is over, whatever came of it
			return entry, false, err
		}
		f, err := lost(err, listed)
		if err == nil {
			l.So.Findings = append(l.So.Findings, f)
		}
		return entry, false, err
	}
	if same, ok := r.equal(item); ok {
		l.So.Unchanged = append(l.So.Unchanged, same)
		return entry, false, nil
	}
	if f, differs := r.finding(listed); differs {
		l.So.Findings = append(l.So.Findings, f)
	}
	return r.entry(listed), true, nil
}

// steady streams one version of an object, if it can be had in a few attempts.
func (l *large) steady(ctx context.Context, o app.Object) (*reading, error) {
	for {
		r, err := l.once(ctx, o)
		if err != nil || r.steady || l.Under.Attempt == attempts && r.fits() {
			return r, err
		}
		if l.Under.Attempt == attempts {
			return nil, failure.New(failure.Conflict, "it shrank by so much while it was read that its header no longer fits")
		}
		if err := l.stream.rollBack(l.Under.Mark); err != nil {
			return nil, err
		}
		l.Under.again()
	}
}

// fits reports whether the header that was reserved for the size at opening is that of the size that was read.
func (r *reading) fits() bool {
	reserved := zipfmt.Entry{Size: uint64(r.object.Size), Stored: uint64(r.object.Size)}
	read := zipfmt.Entry{Size: uint64(r.size), Stored: uint64(r.size)}
	return reserved.LocalSize() == read.LocalSize()
}

// once reads an object from where its reading stopped, or from its beginning.
func (l *large) once(ctx context.Context, o app.Object) (*reading, error) {
	u := l.Under
	if u.Any {
		o.Identity = ""
	}
	if u.Reading != nil {
		return l.goOn(ctx, o, u.Reading)
	}
	content, now, err := l.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if err := l.stream.begin(zipfmt.Entry{Name: o.Path, Size: uint64(now.Size), Stored: uint64(now.Size)}.LocalSize()); err != nil {
		return nil, err
	}
	u.Reading = newReading(now)
	return u.Reading, l.read(ctx, content, u.Reading)
}

// goOn reads the rest of an object whose reading another call began. Where there is another version by now, the reading
// is not steady; what the last attempt began with stays all the same, as it does where an object changes under the
// eyes of a single call.
func (l *large) goOn(ctx context.Context, o app.Object, r *reading) (*reading, error) {
	began := o
	began.Size, began.Modified, began.Identity = r.object.Size, r.object.Modified, r.object.Identity
	content, now, err := l.open(ctx, began)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if now.Identity != r.object.Identity || now.Size != r.object.Size || !now.Modified.Equal(r.object.Modified) {
		l.Under.Mixed = true
		if l.Under.Attempt < attempts || now.Size <= r.size {
			return r, nil
		}
	}
	if now.Size > r.size {
		if err := app.Skip(ctx, content, r.size); err != nil {
			if failure.KindOf(err) == failure.Conflict { // it was replaced just now; the next call sees by what
				err = failure.New(failure.Transient, "%w", err)
			}
			return nil, err
		}
		return r, l.read(ctx, content, r)
	}
	r.steady = !l.Under.Mixed
	return r, nil
}

// read streams the bytes of an object that are still missing.
func (l *large) read(ctx context.Context, content app.Content, r *reading) error {
	if err := l.pour(ctx, io.LimitReader(content, r.object.Size-r.size), r); err != nil {
		return err
	}
	after, err := content.Now()
	if err != nil {
		return err
	}
	r.steady = !l.Under.Mixed && after.Identity == r.object.Identity && r.size == r.object.Size
	return nil
}

// pour appends bytes to the pack and to what is known of them.
func (l *large) pour(ctx context.Context, body io.Reader, r *reading) error {
	return l.stream.copy(ctx, body, func(b []byte) {
		r.write(b)
		l.progress(0, int64(len(b)))
	})
}

// streamDocument streams the stored bytes of a document.
func (l *large) streamDocument(ctx context.Context, d *Document) (manifest.Entry, error) {
	return l.known(ctx, d.Entry, func(from int64) (io.ReadCloser, error) {
		if from == 0 {
			return l.document(ctx, d)
		}
		body, _, err := l.Vault.Open(ctx, vault.Work(l.Source, l.Backup, d.Name), from, d.Entry.StoredSize()-from)
		return body, err
	})
}

// streamStored streams the bytes of an entry that lies in the pool.
func (l *large) streamStored(ctx context.Context, e manifest.Entry) (manifest.Entry, error) {
	key, offset, err := l.place(e)
	if err != nil {
		return e, err
	}
	fresh := e
	fresh.Header, fresh.BodyPlace = manifest.Place{}, nil
	fresh, err = l.known(ctx, fresh, func(from int64) (io.ReadCloser, error) {
		body, _, err := l.Vault.Open(ctx, key, offset+from, e.StoredSize()-from)
		return body, err
	})
	if err != nil {
		err = l.damaged(e, err)
	}
	return fresh, err
}

// known streams the stored bytes of an entry whose checksum is known; open opens them from an offset on.
func (l *large) known(ctx context.Context, entry manifest.Entry, open func(from int64) (io.ReadCloser, error)) (manifest.Entry, error) {
	r, u := newReading(app.Object{}), l.Under
	if u.Reading != nil {
		r = u.Reading
	}
	body, err := open(r.size)
	if err != nil {
		return entry, err
	}
	defer body.Close()
	if u.Reading == nil {
		if err := l.stream.begin(entry.Zip().LocalSize()); err != nil {
			return entry, err
		}
		u.Reading = r
	}
	if err := l.pour(ctx, body, r); err != nil {
		return entry, err
	}
	if r.size != entry.StoredSize() || r.crc.Sum32() != entry.StoredCRC() {
		return entry, failure.New(failure.Corrupt, "the stored bytes of %s do not have the checksum that they were stored with", entry.Path)
	}
	return entry, nil
}
