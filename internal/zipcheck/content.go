package zipcheck

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"math"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

const (
	store   = 0
	deflate = 8

	// maxRatio is the most bytes that DEFLATE makes of one.
	maxRatio = 1032
)

// judgeContents judges methods and declared sizes.
func (c *checker) judgeContents() {
	r := c.report
	for i := range r.Entries {
		e := &r.Entries[i]
		encrypted := e.flags&flagEncrypted != 0
		switch {
		case e.Method != store && e.Method != deflate:
			r.reject(method(e.Method), i, "its compression is not one that is read")
			fallthrough // its ratio is out of all reason all the same
		case e.Method == deflate:
			if e.Size/maxRatio > e.Stored {
				r.reject(Ratio, i, "%d bytes cannot become %d", e.Stored, e.Size)
			}
		case e.Size != e.Stored && !encrypted:
			r.reject(Structure, i, "it is stored as it is, and its two sizes differ")
		}
		r.Bytes = min(r.Bytes+e.Size, math.MaxInt64/2)
	}
	fine := max(c.limits.Free, c.size*min(c.limits.Expansion, math.MaxInt64/max(c.size, 1)))
	if most := min(c.limits.Bytes, fine); r.Bytes > most {
		r.reject(SizeLimit, -1, "the contents have %d bytes, more than the %d that are allowed for a file of %d", r.Bytes, most, c.size)
	}
}

// Read reads every content of an archive that was not rejected, and adds to the report what is wrong with them. It
// produces no more bytes than the archive declares, which Check found to be within the limits. An error is of reading
// the file, or of ctx.
func (r *Report) Read(ctx context.Context, progress func(items, bytes int64)) error {
	return r.ReadFrom(ctx, &Position{}, progress)
}

// ReadFrom is Read from where an earlier report of the very same bytes has ended, which it moves on: after an error, that is
// where another one can go on. What was found before is in the report too.
func (r *Report) ReadFrom(ctx context.Context, at *Position, progress func(items, bytes int64)) error {
	if r.Verdict == Reject {
		return nil
	}
	if err := at.fits(r); err != nil {
		return err
	}
	for _, reason := range at.Reasons {
		r.add(reason.Verdict, reason.Word, reason.Entry, "%s", reason.Text)
	}
	maps.Copy(r.Counts, at.Counts)
	x := &reading{report: r, progress: progress, buffer: make([]byte, 32<<10)}
	for _, i := range r.order[at.Entries:] {
		known := len(r.Reasons)
		if err := x.entry(ctx, i, at); err != nil {
			return err
		}
		at.found(r, known)
		at.Entries, at.Begun = at.Entries+1, nil
		if progress != nil {
			progress(1, 0)
		}
	}
	r.sums, r.Bytes = at.Sums, at.Bytes
	return nil
}

// reading is one run over the contents.
type reading struct {
	report   *Report
	progress func(items, bytes int64)
	buffer   []byte
	body     *content
}

// entry reads one content, or what is left of it.
func (x *reading) entry(ctx context.Context, i int, at *Position) error {
	r, e := x.report, &x.report.Entries[i]
	sum := &hashes{digest: sha256.New()}
	if e.Method == store && e.flags&flagDescriptor != 0 {
		sum.early = &earlyEnd{}
	}
	x.body = r.open(ctx, i, x.body)
	if err := at.Begun.goOn(r, x.body, sum); err != nil {
		return err
	}
	n, err := io.CopyBuffer(sum, tick{x.body, x.progress}, x.buffer)
	if r.source.err != nil || ctx.Err() != nil {
		at.Begun = begun(x.body, sum)
		if r.source.err != nil {
			return fmt.Errorf("read the ZIP: %w", r.source.err)
		}
		return ctx.Err()
	}
	switch {
	case errors.Is(err, errChecksum) && e.CRC32 == 0:
		r.reject(CRCZero, i, "its CRC-32 is given as 0, which some programs take for unknown, and is %08x", x.body.crc)
	case err != nil:
		r.reject(ReadError, i, "it can't be read: %v", err)
	case sum.early != nil && sum.early.Found:
		r.reject(Structure, i, "its data hold a data descriptor for themselves: programs that read a stream end it there")
	}
	sum.digest.Sum(at.Sums[i][:0])
	at.Bytes += n
	if at.Begun != nil {
		at.Bytes += at.Begun.Read
	}
	return nil
}

// tick reports progress.
type tick struct {
	r        io.Reader
	progress func(items, bytes int64)
}

func (t tick) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.progress != nil {
		t.progress(0, int64(n))
	}
	return n, err
}

// Open opens the content of an entry of an archive that was not rejected. It ends with a Corrupt error instead of
// io.EOF where size, CRC-32 or, after Read, SHA-256 are not those of the archive, and never gives more bytes than
// Entry.Size.
func (r *Report) Open(ctx context.Context, entry int) (io.ReadCloser, error) {
	if r.Verdict == Reject {
		return nil, failure.New(failure.Corrupt, "the ZIP was rejected: %s", r)
	}
	if entry < 0 || entry >= len(r.Entries) {
		return nil, failure.New(failure.NotFound, "the ZIP has no entry %d", entry)
	}
	c := r.open(ctx, entry, nil)
	if r.sums != nil {
		c.sum, c.digest = r.sums[entry], sha256.New()
	}
	return opened{c, r.source, plain.Short(r.Entries[entry].Name, 200)}, nil
}

// opened gives errors their kinds.
type opened struct {
	*content
	source *source
	name   string
}

func (o opened) Read(p []byte) (int, error) {
	n, err := o.content.Read(p)
	switch {
	case err == nil, err == io.EOF, o.ctx.Err() != nil:
		return n, err
	case o.source.err != nil:
		return n, fmt.Errorf("read %s in the ZIP: %w", o.name, o.source.err)
	}
	return n, failure.New(failure.Corrupt, "%s in the ZIP can't be read: %w", o.name, err)
}

// Close implements io.Closer.
func (o opened) Close() error { return nil }

var (
	errChecksum = errors.New("its CRC-32 is another one")
	errLonger   = errors.New("it has more bytes than the archive says")
	errShorter  = errors.New("it has less bytes than the archive says")
	errRest     = errors.New("its compressed data end before their end")
	errDigest   = errors.New("its bytes changed since they were checked")
)

// content reads one entry and checks it on the way.
type content struct {
	ctx      context.Context
	entry    *Entry
	raw      *bufio.Reader
	body     io.Reader
	inflater io.ReadCloser
	n        int64
	crc      uint32
	digest   hash.Hash // or nil
	sum      [sha256.Size]byte
	err      error
}

// open reads entry i with the buffers of another content that nobody reads any more, or with new ones.
func (r *Report) open(ctx context.Context, i int, old *content) *content {
	e := &r.Entries[i]
	section := io.NewSectionReader(r.source, e.Data, e.Stored)
	c := &content{ctx: ctx, entry: e}
	if old != nil {
		c.raw, c.inflater = old.raw, old.inflater
		c.raw.Reset(section)
	} else {
		c.raw = bufio.NewReaderSize(section, 32<<10)
	}
	c.body = c.raw
	if e.Method == deflate {
		if c.inflater == nil {
			c.inflater = flate.NewReader(c.raw)
		} else {
			c.err = c.inflater.(flate.Resetter).Reset(c.raw, nil)
		}
		c.body = c.inflater
	}
	return c
}

func (c *content) Read(p []byte) (int, error) {
	if c.err == nil {
		c.err = c.ctx.Err()
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	left := c.entry.Size - c.n
	p = p[:min(int64(len(p)), max(left, 1))]
	n, err := c.body.Read(p)
	if int64(n) > left {
		c.err = errLonger
		return 0, c.err
	}
	c.n += int64(n)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p[:n])
	if c.digest != nil {
		_, _ = c.digest.Write(p[:n])
	}
	if err == io.EOF {
		err = c.end()
	}
	c.err = err
	return n, err
}

// end judges a content that was read to its end.
func (c *content) end() error {
	if _, err := c.raw.ReadByte(); err != io.EOF {
		return errRest
	}
	switch {
	case c.n != c.entry.Size:
		return errShorter
	case c.crc != c.entry.CRC32:
		return errChecksum
	case c.digest != nil && !bytes.Equal(c.digest.Sum(nil), c.sum[:]):
		return errDigest
	}
	return io.EOF
}

// earlyEnd looks for a data descriptor in stored data that fits the bytes before it.
type earlyEnd struct {
	Found bool   `json:"found"`
	Held  []byte `json:"held"`
	At    int    `json:"at"` // held before it is in CRC
	CRC   uint32 `json:"crc"`
	N     uint64 `json:"n"` // bytes in CRC
}

func (f *earlyEnd) Write(p []byte) (int, error) {
	f.Held = append(f.Held[:copy(f.Held, f.Held[f.At:])], p...)
	f.At = 0
	for {
		i := bytes.Index(f.Held[f.At:], descriptorSignature)
		if i < 0 {
			f.pass(max(0, len(f.Held)-f.At-len(descriptorSignature)+1))
			return len(p), nil
		}
		f.pass(i)
		rest := f.Held[f.At:]
		if len(rest) >= 16 {
			f.Found = f.Found || f.fits(rest[4:], uint64(binary.LittleEndian.Uint32(rest[8:])), uint64(binary.LittleEndian.Uint32(rest[12:])))
		}
		if len(rest) < 24 {
			return len(p), nil // more may come
		}
		f.Found = f.Found || f.fits(rest[4:], binary.LittleEndian.Uint64(rest[8:]), binary.LittleEndian.Uint64(rest[16:]))
		f.pass(1)
	}
}

func (f *earlyEnd) fits(crc []byte, stored, size uint64) bool {
	return binary.LittleEndian.Uint32(crc) == f.CRC && stored == f.N && size == f.N
}

// pass takes n bytes into the CRC-32.
func (f *earlyEnd) pass(n int) {
	f.CRC = crc32.Update(f.CRC, crc32.IEEETable, f.Held[f.At:f.At+n])
	f.N += uint64(n)
	f.At += n
}
