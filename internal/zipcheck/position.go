package zipcheck

import (
	"crypto/sha256"
	"encoding"
	"hash"
	"io"

	"lifeboat/internal/failure"
)

// Position is how far Read is. The zero value is the beginning. All of it but Sums is small and goes with JSON; it means
// something for the very bytes that were read only: whoever keeps it keeps what tells them from others, too.
type Position struct {
	Entries int                 `json:"entries"` // whose contents were read, in the order of the bytes
	Bytes   int64               `json:"bytes"`   // of them
	Begun   *Begun              `json:"begun,omitempty"`
	Reasons []Reason            `json:"reasons,omitempty"` // found by Read
	Counts  map[Word]int        `json:"counts,omitempty"`  // of the whole report, where Reasons has any
	Sums    [][sha256.Size]byte `json:"-"`                 // by entry; zero where it was not read yet
}

// Begun is the first part of a stored content that was read. What is compressed is read from its beginning.
type Begun struct {
	Read   int64     `json:"read"` // bytes
	CRC32  uint32    `json:"crc32"`
	SHA256 []byte    `json:"sha256"` // the state of the hash
	Early  *earlyEnd `json:"early,omitempty"`
}

// fits makes the position one of the report's entries.
func (p *Position) fits(r *Report) error {
	if p.Sums == nil && p.Entries == 0 {
		p.Sums = make([][sha256.Size]byte, len(r.Entries))
	}
	if len(p.Sums) != len(r.Entries) || p.Entries < 0 || p.Entries > len(r.order) {
		return failure.New(failure.Internal, "what is kept of a check is of another archive")
	}
	return nil
}

// found keeps what was found since there were a number of reasons.
func (p *Position) found(r *Report, known int) {
	if len(r.Reasons) == known && p.Counts == nil && r.Verdict != Reject {
		return
	}
	p.Reasons = append(p.Reasons, r.Reasons[known:]...)
	p.Counts = r.Counts
}

// Done returns how many bytes were read.
func (p *Position) Done() int64 {
	if p.Begun != nil {
		return p.Bytes + p.Begun.Read
	}
	return p.Bytes
}

// hashes is what becomes of the bytes of one content.
type hashes struct {
	digest hash.Hash
	early  *earlyEnd // nil: nobody looks for one
}

func (h *hashes) Write(p []byte) (int, error) {
	_, _ = h.digest.Write(p)
	if h.early != nil {
		_, _ = h.early.Write(p)
	}
	return len(p), nil
}

// begun returns what was read of a content; nil where that is of no use.
func begun(c *content, h *hashes) *Begun {
	state, err := h.digest.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || c.n == 0 || c.entry.Method != store {
		return nil
	}
	return &Begun{Read: c.n, CRC32: c.crc, SHA256: state, Early: h.early}
}

// goOn skips what was read before.
func (b *Begun) goOn(r *Report, c *content, h *hashes) error {
	if b == nil {
		return nil
	}
	unreadable := failure.New(failure.Internal, "what is kept of a check cannot be read")
	if b.Read > c.entry.Size || b.Read < 0 || c.entry.Method != store || (b.Early == nil) != (h.early == nil) {
		return unreadable
	}
	if err := h.digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(b.SHA256); err != nil {
		return unreadable
	}
	if b.Early != nil {
		if b.Early.At < 0 || b.Early.At > len(b.Early.Held) {
			return unreadable
		}
		h.early = b.Early
	}
	c.n, c.crc = b.Read, b.CRC32
	c.raw.Reset(io.NewSectionReader(r.source, c.entry.Data+b.Read, c.entry.Stored-b.Read))
	return nil
}
