package manifest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"hash/crc32"
	"io"

	"lifeboat/internal/failure"
)

type packLine struct {
	Pack Pack `json:"pack"`
}

// Writer writes a compressed manifest. Lines must come in the order of the format. It refuses what a Reader would.
type Writer struct {
	gz     *gzip.Writer
	raw    *deflated
	digest digest
	rules  rules
}

// Sum describes a manifest that was written, or read to its end.
type Sum struct {
	SHA256     string // of the lines, hex
	CRC32      uint32 // of the lines
	Bytes      int64  // of the lines
	Deflated   CRC    // CRC-32 of the deflate stream; 0 of one that was read
	Compressed int64  // of the gzip file; set by who wrote it
	Entries    int
}

// NewWriter writes the header to w and returns the writer of what follows.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	raw := &deflated{w: w, crc: crc32.NewIEEE()}
	gz, err := gzip.NewWriterLevel(raw, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	m := &Writer{gz: gz, raw: raw, digest: newDigest(), rules: newRules()}
	h.Format = Format
	return m, m.line(h)
}

func (m *Writer) line(v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxLine {
		return failure.New(failure.Invalid, "a line of the manifest would have %d bytes, at most %d are allowed", len(data), maxLine)
	}
	m.digest.add(data)
	_, err = m.gz.Write(data)
	return err
}

// marshal keeps <, > and & as they are: names are shown as they were.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Pack writes the line of a pack.
func (m *Writer) Pack(p Pack) error {
	if err := m.rules.pack(p); err != nil {
		return failure.New(failure.Invalid, "write the manifest: %w", err)
	}
	return m.line(packLine{p})
}

// Entry writes the line of an entry. One that breaks the rules of an archive is Invalid.
func (m *Writer) Entry(e Entry) error {
	if err := m.rules.entry(e); err != nil {
		return failure.New(failure.Invalid, "write the manifest: %w", err)
	}
	return m.line(e)
}

// Close ends the manifest.
func (m *Writer) Close() (Sum, error) {
	err := m.gz.Close()
	sum := m.digest.sum(m.rules.entries)
	sum.Deflated = CRC(m.raw.crc.Sum32())
	return sum, err
}

// digest sums up lines.
type digest struct {
	sha   hash.Hash
	crc   hash.Hash32
	bytes int64
}

func newDigest() digest { return digest{sha: sha256.New(), crc: crc32.NewIEEE()} }

func (d *digest) add(line []byte) {
	d.sha.Write(line)
	d.crc.Write(line)
	d.bytes += int64(len(line))
}

func (d *digest) sum(entries int) Sum {
	return Sum{SHA256: hex.EncodeToString(d.sha.Sum(nil)), CRC32: d.crc.Sum32(), Bytes: d.bytes, Entries: entries}
}

// The frame that compress/gzip puts around a deflate stream: a header without optional fields, and a trailer.
const (
	GzipHeader  = 10
	GzipTrailer = 8
)

// deflated passes a gzip file on and takes the CRC-32 of its deflate stream: it holds the last bytes back, which may
// be the trailer.
type deflated struct {
	w    io.Writer
	crc  hash.Hash32
	skip int // bytes of the header that went by
	last []byte
}

func (d *deflated) Write(p []byte) (int, error) {
	rest := p
	if d.skip < GzipHeader {
		n := min(GzipHeader-d.skip, len(rest))
		d.skip, rest = d.skip+n, rest[n:]
	}
	d.last = append(d.last, rest...)
	if n := len(d.last) - GzipTrailer; n > 0 {
		d.crc.Write(d.last[:n])
		d.last = append(d.last[:0], d.last[n:]...)
	}
	return d.w.Write(p)
}
