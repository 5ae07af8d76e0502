package restore

import (
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// Content opens the content of one entry, which lies at a spot. It is checked while it is read: where it is not what
// the manifest says, a read fails with Corrupt, the one at its end at the latest. The caller closes it.
func Content(ctx context.Context, b Bytes, e manifest.Entry, at Spot) (io.ReadCloser, error) {
	body, err := b.open(ctx, at, e.StoredSize())
	if err != nil {
		return nil, err
	}
	c := &content{entry: e, body: body, r: body, crc: crc32.NewIEEE(), sha: sha256.New()}
	if e.Deflated != nil {
		c.r = io.LimitReader(flate.NewReader(body), e.Size+1)
	}
	return c, nil
}

// open reads a range. Bytes that are gone are damage of the backup.
func (b Bytes) open(ctx context.Context, at Spot, length int64) (io.ReadCloser, error) {
	body, err := b.Open(ctx, at.Key, at.Offset, length)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		err = failure.New(failure.Corrupt, "could not be read: %w", err)
	}
	return body, err
}

// content checks what is read from it.
type content struct {
	entry manifest.Entry
	body  io.Closer
	r     io.Reader
	read  int64
	crc   hash.Hash32
	sha   hash.Hash
	end   error // nil: not reached
}

func (c *content) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	_, _ = c.crc.Write(p[:n])
	_, _ = c.sha.Write(p[:n])
	_, inflated := errors.AsType[flate.CorruptInputError](err)
	switch {
	case c.read > c.entry.Size, (inflated || errors.Is(err, io.ErrUnexpectedEOF)) && failure.Damage(err):
		err = failure.New(failure.Corrupt, "%q has another size than the %d bytes that the manifest says", c.entry.Path, c.entry.Size)
	case err == io.EOF:
		err = c.verdict()
	}
	if c.end = err; c.read > c.entry.Size {
		n = 0
	}
	return n, err
}

func (c *content) Close() error { return c.body.Close() }

// verdict is io.EOF if all that was read is what the manifest says.
func (c *content) verdict() error {
	switch e := c.entry; {
	case c.read != e.Size:
		return failure.New(failure.Corrupt, "%q has another size than the %d bytes that the manifest says", e.Path, e.Size)
	case manifest.CRC(c.crc.Sum32()) != e.CRC32:
		return failure.New(failure.Corrupt, "%q has the CRC-32 %08x, the manifest says %s", e.Path, c.crc.Sum32(), e.CRC32)
	case e.SHA256 != "" && hex.EncodeToString(c.sha.Sum(nil)) != e.SHA256:
		return failure.New(failure.Corrupt, "%q does not have the SHA-256 that the manifest says", e.Path)
	}
	return io.EOF
}
