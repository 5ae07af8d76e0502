package archive

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
	w := &walker{ctx: ctx, data: data}
	defer w.close()
	for e, err := range entries {
		if err != nil {
			return count, total, err
		}
		if err := ctx.Err(); err != nil {
			return count, total, err
		}
		problem, err := w.entry(e, visit)
		if err != nil {
			return count, total, err
		}
		if problem != "" {
			found(app.Finding{Severity: app.Problem, Kind: "corrupt", Item: e.Path, Message: problem})
		}
		count++
		total += e.Size
	}
	return count, total, nil
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

// entry checks one entry. A text says what is wrong with it; an error ends the walk.
func (w *walker) entry(e manifest.Entry, visit Visit) (string, error) {
	start := w.next
	w.next += e.Zip().LocalSize() + e.StoredSize()
	if w.stream == nil || w.at != start {
		w.close()
		stream, err := w.data(w.ctx, start)
		if err != nil {
			return fatal(err)
		}
		w.stream, w.at = stream, start
	}
	header := make([]byte, e.Zip().LocalSize())
	n, err := io.ReadFull(w.stream, header)
	w.at += int64(n)
	if err != nil {
		w.close()
		return fatal(err)
	}
	if !bytes.Equal(header, e.Zip().AppendLocal(nil)) {
		w.close()
		return "its header is not the one that the manifest describes", nil
	}
	body := &counted{r: io.LimitReader(w.stream, e.StoredSize())}
	problem, err := Content(e, body, visit)
	w.at += body.n
	if body.err != nil {
		w.close()
	}
	return problem, err
}

// fatal ends a walk that nobody wants any more; anything else is trouble with one entry.
func fatal(err error) (string, error) {
	switch failure.KindOf(err) {
	case failure.Canceled, failure.Transient, failure.Denied:
		return "", err
	}
	return fmt.Sprintf("could not be read: %v", err), nil
}

type counted struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counted) Read(p []byte) (int, error) {
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
	stored := crc32.NewIEEE()
	raw := io.TeeReader(body, stored)
	content := raw
	if e.Deflated != nil {
		content = flate.NewReader(raw)
	}
	c := &checked{r: content, left: e.Size, crc: crc32.NewIEEE(), sha: sha256.New()}
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
	switch {
	case c.fail != nil || c.left != 0:
		return fmt.Sprintf("has another size than the %d bytes that the manifest says", e.Size), nil
	case manifest.CRC(c.crc.Sum32()) != e.CRC32, stored.Sum32() != e.StoredCRC():
		return fmt.Sprintf("has the CRC-32 %08x, the manifest says %s", c.crc.Sum32(), e.CRC32), nil
	case e.SHA256 != "" && hex.EncodeToString(c.sha.Sum(nil)) != e.SHA256:
		return "does not have the SHA-256 that the manifest says", nil
	}
	return "", nil
}

// errBody says that a body is longer than its entry: a lying deflate stream must not fill a disk.
var errBody = errors.New("longer than the manifest says")

// checked hashes what is read and stops at the declared size.
type checked struct {
	r    io.Reader
	left int64
	crc  interface {
		io.Writer
		Sum32() uint32
	}
	sha interface {
		io.Writer
		Sum([]byte) []byte
	}
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
	_, _ = c.crc.Write(p[:n])
	_, _ = c.sha.Write(p[:n])
	if err != nil && err != io.EOF {
		var corrupt flate.CorruptInputError
		if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errBody
		}
		c.fail = err
		return n, err
	}
	return n, err
}
