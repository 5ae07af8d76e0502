package archive

import (
	"context"
	"fmt"
	"io"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

const (
	// copies is how many parts the store copies at the same time for one process.
	copies = 128
	// carry is how many bytes of literal parts are in memory at the same time, but for a single larger part.
	carry = 4 * maxLiteral
	// reads is how many ranges of one literal are read at the same time.
	reads = 8
)

// carried returns how many literal parts may be under way at the same time.
func carried(parts []Part) int {
	largest := int64(maxLiteral)
	for _, p := range parts {
		if !p.Copy {
			largest = max(largest, p.Size)
		}
	}
	return int(max(carry/largest, 1))
}

// Assembler has the store join parts to an archive.
type Assembler struct {
	Vault    *vault.Vault
	Progress func(items, bytes int64) // may be nil
	// Open reads a range of an object of the vault; nil: the vault does.
	Open func(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error)
	// Fresh says that the upload was just begun: the store need not be asked which parts it has.
	Fresh bool
}

// Write writes the parts that the store does not have yet, until more reports that it is time to stop, and returns the
// parts that are there now, by number. A part that the store has already, with the planned size and CRC-32, is not
// written again. A part whose bytes are not what the manifest says is Corrupt.
func (a Assembler) Write(ctx context.Context, upload vault.Upload, parts []Part, more func() bool) (map[int]vault.Part, error) {
	have := map[int]vault.Part{}
	if !a.Fresh {
		var err error
		if have, err = a.Vault.Parts(ctx, upload); err != nil {
			return nil, err
		}
	}
	maps.DeleteFunc(have, func(n int, old vault.Part) bool {
		return n > len(parts) || parts[n-1].is(old) != nil
	})
	var mutex sync.Mutex
	done := func(part vault.Part) {
		mutex.Lock()
		defer mutex.Unlock()
		have[part.Number] = part
	}
	group, groupCtx := errgroup.WithContext(ctx)
	copying, carrying := make(chan struct{}, copies), make(chan struct{}, carried(parts))
	// Copies wait for nothing and cost nothing here: all of them begin before the first literal.
	for _, copied := range []bool{true, false} {
		slots := carrying
		if copied {
			slots = copying
		}
		for i, part := range parts {
			mutex.Lock()
			_, ok := have[i+1]
			mutex.Unlock()
			if ok || part.Copy != copied {
				continue
			}
			if !a.begin(groupCtx, slots, more) {
				break
			}
			group.Go(func() error {
				defer func() { <-slots }()
				got, err := a.write(groupCtx, upload, i+1, part)
				if err == nil {
					done(got)
				}
				return err
			})
		}
	}
	return have, group.Wait()
}

// begin waits for a slot. It is false when nothing more is to be begun.
func (a Assembler) begin(ctx context.Context, slots chan struct{}, more func() bool) bool {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if ctx.Err() != nil || !more() {
		<-slots
		return false
	}
	return true
}

// is holds a part that the store has against the plan.
func (p Part) is(there vault.Part) error {
	if there.Size != p.Size {
		return failure.New(failure.Internal, "part %d has %d bytes, %d were planned", there.Number, there.Size, p.Size)
	}
	if want, ok := p.CRC32(); ok && there.HasCRC && there.CRC32 != want {
		return failure.New(failure.Corrupt, "%s has the CRC-32 %08x, the manifest says %08x", p, there.CRC32, want)
	}
	return nil
}

func (a Assembler) write(ctx context.Context, upload vault.Upload, number int, part Part) (vault.Part, error) {
	var got vault.Part
	var err error
	if part.Copy {
		r := part.Ranges[0]
		got, err = a.Vault.CopyPart(ctx, upload, number, r.Key, r.Offset, r.Length)
	} else {
		body := make([]byte, part.Size)
		if err = a.read(ctx, part.Ranges, body); err == nil {
			if want, ok := part.CRC32(); ok && crcOf(body) != want {
				return got, failure.New(failure.Corrupt, "%s has the CRC-32 %08x, the manifest says %08x", part, crcOf(body), want)
			}
			got, err = a.Vault.UploadPart(ctx, upload, number, body)
		}
	}
	if err == nil {
		err = part.is(got)
	}
	if err == nil && a.Progress != nil {
		a.Progress(1, part.Size)
	}
	return got, err
}

// gap is the most bytes between two ranges of one object that are read along rather than asked for apart.
const gap = 256 << 10

// read fills body with the ranges, one after the other. Neighbouring ranges of one object are one request.
func (a Assembler) read(ctx context.Context, ranges []Range, body []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(reads)
	for len(ranges) > 0 {
		n, end, length := 1, ranges[0].Offset+ranges[0].Length, ranges[0].Length
		for n < len(ranges) && ranges[n].Key == ranges[0].Key && ranges[n].Offset >= end && ranges[n].Offset-end <= gap {
			end = ranges[n].Offset + ranges[n].Length
			length += ranges[n].Length
			n++
		}
		near, into := ranges[:n], body[:length]
		group.Go(func() error { return a.readNear(ctx, near, end, into) })
		ranges, body = ranges[n:], body[length:]
	}
	return group.Wait()
}

// readNear fills body with ranges of one object that lie before end.
func (a Assembler) readNear(ctx context.Context, ranges []Range, end int64, body []byte) error {
	at := ranges[0].Offset
	stream, err := a.open(ctx, ranges[0].Key, at, end-at)
	if err != nil {
		return err
	}
	defer stream.Close()
	for _, r := range ranges {
		if _, err = io.CopyN(io.Discard, stream, r.Offset-at); err == nil {
			_, err = io.ReadFull(stream, body[:r.Length])
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Key, err)
		}
		body, at = body[r.Length:], r.Offset+r.Length
	}
	return nil
}

func (a Assembler) open(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error) {
	if a.Open != nil {
		return a.Open(ctx, key, offset, length)
	}
	body, _, err := a.Vault.Open(ctx, key, offset, length)
	return body, err
}

// Complete joins the parts that Write returned. The store checks the size and the CRC-32 that follow from the pieces:
// an archive that it accepts is proven as stored.
func (a Assembler) Complete(ctx context.Context, upload vault.Upload, parts []Part, have map[int]vault.Part, size int64, crc uint32) error {
	list := make([]vault.Part, len(parts))
	for i, planned := range parts {
		part, ok := have[i+1]
		if !ok || part.Size != planned.Size {
			return failure.New(failure.Internal, "part %d of %s is missing or has the wrong size", i+1, upload.Key)
		}
		list[i] = part
	}
	return a.Vault.Complete(ctx, upload, list, size, crc)
}
