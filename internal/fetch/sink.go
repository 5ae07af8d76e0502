package fetch

import (
	"context"
	"io"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

const (
	smallestPart = 8 << 20  // bytes
	largestPart  = 64 << 20 // bytes; it is what a fetch holds in memory
	// Most is the size of the largest file that can be fetched, in bytes: 625 GiB.
	Most = largestPart * vault.MaxParts
)

// sink takes the bytes of a file in their order and uploads them in parts.
type sink struct {
	d      *download
	upload vault.Upload // begun with the first part
	parts  []vault.Part
	stored int64  // bytes of parts
	crc    uint32 // of parts
	buffer []byte // what comes behind them
	size   int64  // of the file; -1: unknown
}

func (d *download) newSink(size int64) *sink { return &sink{d: d, size: size} }

// resume returns a sink that goes on behind the parts that the store has.
func (d *download) resume(ctx context.Context, s State) (*sink, error) {
	k := d.newSink(d.version.Size)
	k.upload = vault.Upload{Key: d.key, ID: s.Upload}
	if k.size <= 0 || d.version.Version == "" {
		return nil, errChanged // a state of ours has both
	}
	parts, err := d.vault.Parts(ctx, k.upload)
	if failure.KindOf(err) == failure.NotFound {
		return nil, errLost
	}
	if err != nil {
		return nil, err
	}
	for {
		part, ok := parts[len(k.parts)+1]
		if !ok || part.Size != min(k.partSize(), k.size-k.stored) {
			return k, nil // one that is cut off is written again
		}
		if !part.HasCRC {
			d.version.Restarts = max(d.version.Restarts, oneGo-1) // this store will never tell
			return nil, errChanged
		}
		k.add(part)
	}
}

func (k *sink) add(part vault.Part) {
	k.parts = append(k.parts, part)
	k.stored += part.Size
	k.crc = zipfmt.CombineCRC(k.crc, part.CRC32, part.Size)
}

// at returns how many bytes have come.
func (k *sink) at() int64 { return k.stored + int64(len(k.buffer)) }

// partSize returns the size of the next part: the same for all where the size of the file is known or the store wants
// it; else growing, from 8 to 64 MiB, to 492 GiB in all.
func (k *sink) partSize() int64 {
	switch {
	case k.size >= 0:
		each := (k.size + vault.MaxParts - 1) / vault.MaxParts
		return max(smallestPart, (each+1<<20-1)>>20<<20)
	case k.d.vault.EqualParts():
		return largestPart
	}
	return smallestPart << min(len(k.parts)/1000, 3)
}

// fill takes what r gives, to its end. What it holds when it fails stays, so that the next reader goes on.
func (k *sink) fill(ctx context.Context, r io.Reader) error {
	for {
		size := k.partSize()
		if k.size >= 0 {
			size = min(size, k.size-k.stored)
		}
		if int64(cap(k.buffer)) < size {
			k.buffer = append(make([]byte, 0, size), k.buffer...)
		}
		if room := k.buffer[len(k.buffer):size]; len(room) > 0 {
			n, err := r.Read(room)
			k.buffer = k.buffer[:len(k.buffer)+n]
			k.d.o.Progress(0, int64(n))
			switch {
			case k.at() > k.d.o.MaxBytes:
				return k.d.tooLarge()
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
			continue
		}
		if len(k.buffer) == 0 { // everything has come: is that the end?
			if n, err := r.Read(make([]byte, 1)); n > 0 || err != io.EOF {
				return err
			}
			return nil
		}
		if err := k.flush(ctx); err != nil {
			return err
		}
	}
}

// flush uploads what is in the buffer.
func (k *sink) flush(ctx context.Context) error {
	if len(k.parts) == vault.MaxParts {
		return k.d.tooLarge()
	}
	if k.upload.ID == "" {
		u, err := k.d.vault.CreateUpload(ctx, k.d.key)
		if err != nil {
			return err
		}
		k.upload = u
	}
	part, err := k.d.vault.UploadPart(ctx, k.upload, len(k.parts)+1, k.buffer)
	if failure.KindOf(err) == failure.NotFound && err != nil {
		return errLost
	}
	if err != nil {
		return err
	}
	k.add(part)
	k.buffer = k.buffer[:0]
	return nil
}

// finish makes the object visible.
func (k *sink) finish(ctx context.Context) error {
	if k.size >= 0 && k.at() != k.size {
		return failure.New(failure.Internal, "%d of %d bytes of a file were fetched", k.at(), k.size)
	}
	if k.upload.ID == "" { // a small one
		if err := k.d.vault.Create(ctx, k.d.key, k.buffer); err != nil {
			return err
		}
		k.stored = int64(len(k.buffer))
		return nil
	}
	if len(k.buffer) > 0 {
		if err := k.flush(ctx); err != nil {
			return err
		}
	}
	err := k.d.vault.Complete(ctx, k.upload, k.parts, k.stored, k.crc)
	if failure.KindOf(err) == failure.NotFound && err != nil {
		return errLost
	}
	return err
}

// abort frees the parts.
func (k *sink) abort(ctx context.Context) error {
	return abort(ctx, k.d.vault, k.d.key, State{Upload: k.upload.ID})
}
