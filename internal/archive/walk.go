package archive

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// Data reads the bytes of an archive before its tail, from an offset to their end: of a file, of the archive in the
// vault, or of the packs as if they were joined.
type Data func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Visit gets the content of one entry while it is checked. What it leaves unread is read for it. Its error ends the
// walk.
type Visit func(e manifest.Entry, content io.Reader) error

// Walk reads every byte of the data in order and holds it against the manifest: each header byte by byte, each
// content by size, CRC-32 and SHA-256. What does not match is a problem of kind "corrupt" and the walk goes on with
// the next entry. It returns the number of entries and of content bytes that were read and matched or not.
func Walk(ctx context.Context, data Data, entries iter.Seq2[manifest.Entry, error], visit Visit, found func(app.Finding)) (count int, total int64, err error) {
	var at Position
	err = WalkFrom(ctx, data, entries, visit, found, &at)
	return at.Entries, at.Bytes, err
}

// WalkFrom is Walk from where an earlier walk over the same data and the same entries has ended, which it moves on: after
// an error, that is where another walk can go on. What was found wrong before is not found again.
func WalkFrom(ctx context.Context, data Data, entries iter.Seq2[manifest.Entry, error], visit Visit, found func(app.Finding), at *Position) error {
	w := &walker{ctx: ctx, data: data}
	defer w.close()
	seen := 0
	for e, err := range entries {
		if err != nil {
			return err
		}
		if seen++; seen <= at.Entries {
			w.next += e.Zip().LocalSize() + e.StoredSize()
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		problem, err := w.entry(e, visit, at)
		if err != nil {
			return err
		}
		if problem != "" {
			found(app.Finding{Severity: app.Problem, Kind: "corrupt", Item: e.Path, Message: problem})
		}
		at.Entries, at.Bytes, at.Data, at.Begun = at.Entries+1, at.Bytes+e.Size, w.next, nil
	}
	return nil
}

type walker struct {
	ctx    context.Context
	data   Data
	stream io.ReadCloser
	at     int64 // offset of the stream
	next   int64 // offset of the next entry
}

func (w *walker) close() {
	if w.stream != nil {
		w.stream.Close()
		w.stream = nil
	}
}

// entry checks one entry, or the rest of it. A text says what is wrong with it; an error ends the walk. Where nobody wants
// it any more, what was read of a stored content is kept in at.
func (w *walker) entry(e manifest.Entry, visit Visit, at *Position) (string, error) {
	start := w.next
	w.next += e.Zip().LocalSize() + e.StoredSize()
	from := start
	if at.Begun != nil {
		from += e.Zip().LocalSize() + at.Begun.Read
	}
	if w.stream == nil || w.at != from {
		w.close()
		stream, err := w.data(w.ctx, from)
		if err != nil {
			return w.fatal(err)
		}
		w.stream, w.at = stream, from
	}
	if at.Begun == nil {
		if problem, err := w.header(e); problem != "" || err != nil {
			return problem, err
		}
	}
	body := &counted{ctx: w.ctx, r: io.LimitReader(w.stream, start+e.Zip().LocalSize()+e.StoredSize()-w.at)}
	problem, begun, err := ContentFrom(e, body, visit, at.Begun)
	w.at += body.n
	if body.err != nil {
		w.close()
	}
	if problem != "" && w.ctx.Err() != nil { // whatever it is, the next walk sees it too
		err = w.ctx.Err()
	}
	if err != nil {
		at.Begun = begun
	}
	return problem, err
}

// header reads the local header of an entry.
func (w *walker) header(e manifest.Entry) (string, error) {
	header := make([]byte, e.Zip().LocalSize())
	n, err := io.ReadFull(w.stream, header)
	w.at += int64(n)
	if err != nil {
		w.close()
		return w.fatal(err)
	}
	if !bytes.Equal(header, e.Zip().AppendLocal(nil)) {
		w.close()
		return "its header is not the one that the manifest describes", nil
	}
	return "", nil
}

// fatal ends the walk too where a read has failed because nobody wants it any more, however the store says so.
func (w *walker) fatal(err error) (string, error) {
	if ended := w.ctx.Err(); ended != nil {
		return "", ended
	}
	return fatal(err)
}

// fatal ends a walk where bytes could not be read; that they are gone, or end too early, is trouble with one entry.
func fatal(err error) (string, error) {
	if !failure.Damage(err) {
		return "", err
	}
	return fmt.Sprintf("could not be read: %v", err), nil
}

type counted struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	if c.err = c.ctx.Err(); c.err != nil { // what is buffered could be read for long
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// Content checks the body of one entry as it lies in an archive while visit reads its content; visit may be nil. A
// text says what does not match; an error is that of visit, or one that concerns more than this entry.
func Content(e manifest.Entry, body io.Reader, visit Visit) (string, error) {
	problem, _, err := ContentFrom(e, body, visit, nil)
	return problem, err
}

// ContentFrom is Content where a first part of a stored entry was read before: body and what visit gets begin behind it.
// Where it ends with an error, begun says how much of the entry is read by then; nil where that is of no use, since what
// is compressed is read from its beginning.
func ContentFrom(e manifest.Entry, body io.Reader, visit Visit, before *Begun) (problem string, begun *Begun, err error) {
	stored := crc32.NewIEEE()
	raw := io.TeeReader(body, stored)
	content := raw
	if e.Deflated != nil {
		content, before = flate.NewReader(raw), nil
	} else {
		raw, content = body, body // whose CRC-32 is that of the content
	}
	c, err := before.content(content, e.Size)
	if err != nil {
		return "", nil, err
	}
	problem, err = c.judge(e, raw, visit)
	if problem != "" || err != nil {
		if e.Deflated == nil {
			begun = c.begun()
		}
		return problem, begun, err
	}
	switch {
	case c.fail != nil || c.left != 0:
		problem = fmt.Sprintf("has another size than the %d bytes that the manifest says", e.Size)
	case manifest.CRC(c.crc) != e.CRC32, e.Deflated != nil && stored.Sum32() != e.StoredCRC():
		problem = fmt.Sprintf("has the CRC-32 %08x, the manifest says %s", c.crc, e.CRC32)
	case e.SHA256 != "" && hex.EncodeToString(c.sha.Sum(nil)) != e.SHA256:
		problem = "does not have the SHA-256 that the manifest says"
	}
	if problem != "" && e.Deflated == nil {
		begun = c.begun()
	}
	return problem, begun, nil
}

// judge reads all of the body. A text or an error says why it cannot be judged.
func (c *checked) judge(e manifest.Entry, raw io.Reader, visit Visit) (string, error) {
	if visit != nil {
		if err := visit(e, c); err != nil && !errors.Is(err, errBody) {
			return "", err
		}
	}
	if _, err := io.Copy(io.Discard, c); err != nil && c.fail == nil {
		return fatal(err)
	}
	if c.fail != nil && !errors.Is(c.fail, errBody) {
		return fatal(c.fail)
	}
	// What the compressor left behind belongs to the entry too.
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return fatal(err)
	}
	return "", nil
}

// errBody says that a body is longer than its entry: a lying deflate stream must not fill a disk.
var errBody = errors.New("longer than the manifest says")

// checked hashes what is read and stops at the declared size.
type checked struct {
	r    io.Reader
	size int64
	left int64
	crc  uint32
	sha  hash.Hash
	fail error
}

func (c *checked) Read(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		c.fail = errBody
		return 0, c.fail
	}
	c.left -= int64(n)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p[:n])
	_, _ = c.sha.Write(p[:n])
	if err != nil && err != io.EOF {
		var corrupt flate.CorruptInputError
		if (errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF)) && failure.Damage(err) {
			err = errBody
		}
		c.fail = err
		return n, err
	}
	return n, err
}
