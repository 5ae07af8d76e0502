package archive

import (
	"crypto/sha256"
	"encoding"
	"io"

	"lifeboat/internal/failure"
)

// Position is how far a walk is; it is JSON. The zero value is the beginning. It means something for the very bytes that
// were walked over only: whoever keeps it keeps what tells them from others, too.
type Position struct {
	Entries int    `json:"entries"`         // that were checked as a whole
	Bytes   int64  `json:"bytes"`           // of their contents
	Data    int64  `json:"data"`            // bytes of the archive that they take
	Begun   *Begun `json:"begun,omitempty"` // a part of the next entry; nil: nothing of it
}

// Begun is the first part of a stored content that was read, as far as it can be known by then.
type Begun struct {
	Read   int64  `json:"read"` // bytes
	CRC32  uint32 `json:"crc32"`
	SHA256 []byte `json:"sha256"` // the state of the hash
}

// content goes on reading a content where b ends. A nil b is its beginning.
func (b *Begun) content(r io.Reader, size int64) (*checked, error) {
	c := &checked{r: r, size: size, left: size, sha: sha256.New()}
	if b == nil {
		return c, nil
	}
	if err := c.sha.(encoding.BinaryUnmarshaler).UnmarshalBinary(b.SHA256); err != nil || b.Read < 0 || b.Read > size {
		return nil, failure.New(failure.Internal, "what is kept of a check cannot be read")
	}
	c.left, c.crc = size-b.Read, b.CRC32
	return c, nil
}

// begun returns what was read so far; nil where that is nothing.
func (c *checked) begun() *Begun {
	state, err := c.sha.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || c.left == c.size {
		return nil
	}
	return &Begun{Read: c.size - c.left, CRC32: c.crc, SHA256: state}
}

// ReadSoFar says how much of a content was read by whom Content gave it to visit. It means nothing for one that is
// compressed.
func ReadSoFar(content io.Reader) (*Begun, bool) {
	c, ok := content.(*checked)
	if !ok {
		return nil, false
	}
	return c.begun(), true
}
