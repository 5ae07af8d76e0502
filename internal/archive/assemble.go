package archive

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// parallel is how many parts are under way at the same time; each literal one holds up to maxLiteral bytes.
const parallel = 4

// Assembler has the store join parts to an archive.
type Assembler struct {
	Vault    *vault.Vault
	Progress func(items, bytes int64) // may be nil
}

// Write writes the parts numbered from+1 on until more reports that it is time to stop, and returns how many parts
// are done from the start. Parts that the store has already, with the planned size, are not written again.
func (a Assembler) Write(ctx context.Context, upload vault.Upload, parts []Part, from int, more func() bool) (int, error) {
	have, err := a.Vault.Parts(ctx, upload)
	if err != nil {
		return from, err
	}
	for from < len(parts) && more() {
		to := min(from+parallel, len(parts))
		group, groupCtx := errgroup.WithContext(ctx)
		for i := from; i < to; i++ {
			if old, ok := have[i+1]; ok && old.Size == parts[i].Size && old.HasCRC {
				continue
			}
			group.Go(func() error { return a.write(groupCtx, upload, i+1, parts[i]) })
		}
		if err := group.Wait(); err != nil {
			return from, err
		}
		from = to
	}
	return from, nil
}

func (a Assembler) write(ctx context.Context, upload vault.Upload, number int, part Part) error {
	if part.Copy {
		r := part.Ranges[0]
		if _, err := a.Vault.CopyPart(ctx, upload, number, r.Key, r.Offset, r.Length); err != nil {
			return err
		}
	} else {
		body := make([]byte, part.Size)
		if err := a.read(ctx, part.Ranges, body); err != nil {
			return err
		}
		if _, err := a.Vault.UploadPart(ctx, upload, number, body); err != nil {
			return err
		}
	}
	if a.Progress != nil {
		a.Progress(1, part.Size)
	}
	return nil
}

// gap is the most bytes between two ranges of one object that are read along rather than asked for apart.
const gap = 256 << 10

// read fills body with the ranges, one after the other. Neighbouring ranges of one object are one request.
func (a Assembler) read(ctx context.Context, ranges []Range, body []byte) error {
	for len(ranges) > 0 {
		n, end := 1, ranges[0].Offset+ranges[0].Length
		for n < len(ranges) && ranges[n].Key == ranges[0].Key && ranges[n].Offset >= end && ranges[n].Offset-end <= gap {
			end = ranges[n].Offset + ranges[n].Length
			n++
		}
		rest, err := a.readNear(ctx, ranges[:n], end, body)
		if err != nil {
			return err
		}
		ranges, body = ranges[n:], rest
	}
	return nil
}

// readNear fills the beginning of body with ranges of one object that lie before end, and returns the rest of body.
func (a Assembler) readNear(ctx context.Context, ranges []Range, end int64, body []byte) ([]byte, error) {
	at := ranges[0].Offset
	stream, _, err := a.Vault.Open(ctx, ranges[0].Key, at, end-at)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for _, r := range ranges {
		if _, err = io.CopyN(io.Discard, stream, r.Offset-at); err == nil {
			_, err = io.ReadFull(stream, body[:r.Length])
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.Key, err)
		}
		body, at = body[r.Length:], r.Offset+r.Length
	}
	return body, nil
}

// Complete joins the parts. The store checks the size and the CRC-32 that follow from the pieces: an archive that it
// accepts is proven as stored. An upload that is gone because an earlier attempt completed it is success.
func (a Assembler) Complete(ctx context.Context, upload vault.Upload, parts []Part, size int64, crc uint32) error {
	have, err := a.Vault.Parts(ctx, upload)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound && a.Vault.Completed(ctx, upload.Key, size, crc) {
			return nil
		}
		return err
	}
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
