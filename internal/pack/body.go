package pack

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// body is the bytes of one object on their way into a pack, from store to store.
type body struct {
	item   Item
	from   vault.Foreign
	base   int64 // where the bytes begin in from
	into   *joint
	first  int // number of the first copied part
	steal  int64
	pieces []extent // what is copied, behind the head

	done   chan struct{} // closed once what follows is known
	parts  []vault.Part
	copied int64  // bytes of all pieces
	crc    uint32 // of them
	about  app.Description
	err    error
}

// errRead says that an object can't be copied as it was listed; what there is of it has to be read.
var errRead = errors.New("it has to be read")

// newBody prepares the copying of an item.
func (p *Packer) newBody(item Item, steal, piece int64) (*body, error) {
	b := &body{item: item, steal: steal, pieces: split(steal, item.size(), piece), done: make(chan struct{})}
	b.parts = make([]vault.Part, len(b.pieces))
	if item.Stored != nil {
		key, offset, err := p.place(*item.Stored)
		b.from, b.base = vault.Foreign{Bucket: p.Vault.Bucket(), Key: string(key)}, offset
		return b, err
	}
	at, _ := p.Located(*item.Object)
	b.from = vault.Foreign{Bucket: at.Bucket, Key: at.Key, ETag: at.ETag, Owner: at.Owner}
	return b, nil
}

// sum sums up what was copied.
func (b *body) sum() {
	b.copied, b.crc = 0, 0
	for i, part := range b.parts {
		b.crc = zipfmt.CombineCRC(b.crc, part.CRC32, b.pieces[i].length)
		b.copied += b.pieces[i].length
	}
}

// copy has the store copy the body, and looks at the object meanwhile. It calls stop where the attempt has no future.
func (p *Packer) copy(ctx context.Context, b *body, stop func()) {
	defer close(b.done)
	group, ctx := errgroup.WithContext(ctx)
	for i := range b.pieces {
		group.Go(func() error {
			part, err := p.copyPiece(ctx, b, b.first+i, b.pieces[i])
			b.parts[i] = part
			return err
		})
	}
	if b.item.Object != nil && p.Describe != nil {
		group.Go(func() error { return reads.pass(ctx, func() error { return p.describe(ctx, b) }) })
	}
	b.err = group.Wait()
	if b.sum(); b.fate() >= refuse {
		stop()
	}
}

func (p *Packer) copyPiece(ctx context.Context, b *body, number int, e extent) (part vault.Part, err error) {
	err = copies.pass(ctx, func() error {
		part, err = p.Vault.CopyPartFrom(ctx, b.into.upload, number, b.from, b.base+e.offset, e.length)
		if err == nil && !part.HasCRC {
			err = errNoCRC
		}
		return err
	})
	return part, err
}

// describe looks at the object. One that may not be looked at may be readable.
func (p *Packer) describe(ctx context.Context, b *body) error {
	var err error
	b.about, err = p.Describe(ctx, *b.item.Object)
	switch failure.KindOf(err) {
	case failure.Denied, failure.Invalid, failure.Usage:
		if !archived(err) {
			return fmt.Errorf("%w: %v", errRead, err)
		}
	}
	return err
}

// head reads bytes of the object that are not copied: with the vault's credentials, or else with the source's.
func (p *Packer) head(ctx context.Context, b *body, offset int64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	return reads.pass(ctx, func() error {
		in, err := p.Vault.OpenFrom(ctx, b.from, b.base+offset, int64(len(data)))
		if kind := failure.KindOf(err); b.item.Object != nil && !archived(err) && (kind == failure.Denied || kind == failure.Invalid) {
			var content app.Content
			if content, err = p.Open(ctx, *b.item.Object); err == nil {
				in = content
				_, err = io.CopyN(io.Discard, content, offset)
			}
		}
		if in != nil {
			defer in.Close()
		}
		if err == nil {
			_, err = io.ReadFull(in, data)
		}
		return cut(err)
	})
}

// mend takes more bytes of the head, for a part that has become too short without them: they are read, and the first
// copied part is written again without them.
func (p *Packer) mend(ctx context.Context, b *body, more int64) ([]byte, error) {
	first := &b.pieces[0]
	if first.length-more < vault.MinPart {
		return nil, errRead
	}
	data := make([]byte, more)
	if err := p.head(ctx, b, first.offset, data); err != nil {
		return nil, err
	}
	shorter := extent{first.offset + more, first.length - more}
	part, err := p.copyPiece(ctx, b, b.first, shorter)
	if err != nil {
		return nil, err
	}
	if zipfmt.CombineCRC(crc32.ChecksumIEEE(data), part.CRC32, shorter.length) != b.parts[0].CRC32 {
		return nil, errRead
	}
	*first, b.parts[0] = shorter, part
	return data, nil
}

// entry returns what the manifest says of the body, whose CRC-32 is known by now.
func (b *body) entry(crc uint32) (manifest.Entry, error) {
	if b.item.Stored != nil {
		e := *b.item.Stored
		e.Header, e.BodyPlace = manifest.Place{}, nil
		if crc != e.StoredCRC() {
			return e, failure.New(failure.Corrupt, "they do not have the checksum that they were stored with")
		}
		return e, nil
	}
	o := b.item.Object
	if b.about.HasCRC32 && b.about.CRC32 != crc {
		return manifest.Entry{}, errChecksum
	}
	return manifest.Entry{
		Path: o.Path, Type: o.Type, Mode: o.Mode, Size: o.Size, CRC32: manifest.CRC(crc), Modified: o.Modified.UTC(),
		Origin: &manifest.Origin{Key: o.Key, Identity: o.Identity, Settled: o.Settled, Media: b.about.Object.Media},
	}, nil
}

// errNoCRC says that the CRC-32 of a copied part is not known, which no header can do without.
var errNoCRC = failure.New(failure.Invalid, "the store does not return the CRC-32 of what it copies")

// errChecksum says that a copy has another checksum than the store has noted for the object.
var errChecksum = errors.New("the copy has another checksum")

// fate is what becomes of a body that was not copied.
type fate int

const (
	stays  fate = iota // nothing is wrong with it
	read               // it is read instead
	left               // it is not in the backup
	refuse             // the store does not copy: nothing is copied
	fail               // the batch has to be tried again
)

// reason says in a few words why the store does not copy, the same for all objects of a source.
func (b *body) reason() string {
	switch {
	case errors.Is(b.err, errNoCRC):
		return errNoCRC.Error()
	case failure.KindOf(b.err) == failure.Denied:
		return fmt.Sprintf("the vault's credentials may not read the bucket %s; allow them s3:GetObject there", b.from.Bucket)
	}
	return "it refuses to copy from the bucket " + b.from.Bucket
}

// fate judges the error of a body.
func (b *body) fate() fate {
	err := b.err
	if err == nil {
		return stays
	}
	if archived(err) && b.item.Object != nil {
		return left
	}
	if errors.Is(err, errRead) || errors.Is(err, errChecksum) {
		return read
	}
	switch failure.KindOf(err) {
	case failure.Conflict, failure.NotFound, failure.Corrupt:
		if b.item.Stored != nil {
			return fail
		}
		return read
	case failure.Denied, failure.Invalid:
		return refuse
	}
	return fail
}
