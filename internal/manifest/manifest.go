// Package manifest is the canonical list of all entries of one backup: what the archive holds, in the archive's
// order, with sizes and digests, and where each entry's bytes lie in the pool.
//
// A manifest is JSON Lines in UTF-8, each line ended by "\n":
//
//	line 1      a Header
//	then        one {"pack":{…}} per pack that the entries name
//	then        one Entry per entry of the archive but lifeboat/*, in the order of their bytes
//
// It lies gzip-compressed in the vault (snapshots/<source>/<backup>/manifest.jsonl.gz) and, the very same deflate
// stream, in the archive as lifeboat/manifest.jsonl. The SHA-256 of the uncompressed lines is what is signed
// (seal.go). Places name packs by id: a pack that was merged into another is found through that other's index, so
// that a manifest, once written, stays true for ever.
package manifest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"strconv"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/zipfmt"
)

// Format is the version of manifests that this program writes; it refuses to read a later one.
const Format = 1

// Header is the first line.
type Header struct {
	Format      int           `json:"lifeboat_manifest"`
	Backup      backup.ID     `json:"backup"`
	Source      backup.Source `json:"source"`
	Kind        string        `json:"kind"`
	Name        string        `json:"name,omitempty"`
	Description string        `json:"description,omitempty"`
	Scope       backup.Scope  `json:"scope"`
	Started     time.Time     `json:"started"`
	Facts       app.Facts     `json:"facts"`
	Secrets     bool          `json:"secrets"`
	Readme      string        `json:"readme"` // text of lifeboat/README.txt
}

// Pack is a piece of a ZIP in the pool.
type Pack struct {
	ID    string `json:"id"`
	Bytes int64  `json:"bytes"`
	CRC32 CRC    `json:"crc32"`
}

// Place is where bytes lie in the pool.
type Place struct {
	Pack   string `json:"pack"`
	Offset int64  `json:"offset"`
}

// Entry is one document or object of the archive.
type Entry struct {
	Path      string    `json:"path"`
	Document  bool      `json:"document,omitzero"`
	Secret    bool      `json:"secret,omitzero"`
	Type      string    `json:"type,omitempty"`
	Size      int64     `json:"size"`              // bytes of the content
	CRC32     CRC       `json:"crc32"`             // of the content
	SHA256    string    `json:"sha256,omitempty"`  // of the content, hex; empty where only the store has seen the bytes
	Modified  time.Time `json:"modified"`          // the item's own time
	Deflated  *Deflated `json:"deflated,omitzero"` // nil: stored as it is
	Origin    *Origin   `json:"origin,omitzero"`   // of an object
	Header    Place     `json:"header"`            // the local header
	BodyPlace *Place    `json:"body,omitzero"`     // nil: directly behind the header
}

// Deflated describes the bytes of a compressed entry as they lie in the archive.
type Deflated struct {
	Size  int64 `json:"size"`
	CRC32 CRC   `json:"crc32"`
}

// Origin is what an object was read from. An object with an equal key and identity is not read again.
type Origin struct {
	Key      string `json:"key"`
	Identity string `json:"identity,omitempty"` // empty: not to be trusted, always read again
	Settled  bool   `json:"settled,omitzero"`
}

// CRC is a CRC-32; in JSON it is 8 hex digits.
type CRC uint32

// String returns 8 hex digits.
func (c CRC) String() string { return fmt.Sprintf("%08x", uint32(c)) }

// MarshalText implements encoding.TextMarshaler.
func (c CRC) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *CRC) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil || len(text) != 8 {
		return fmt.Errorf("%q is no CRC-32 of 8 hex digits", text)
	}
	*c = CRC(v)
	return nil
}

// Zip returns the entry as the archive's headers have it.
func (e Entry) Zip() zipfmt.Entry {
	z := zipfmt.Entry{Name: e.Path, CRC32: uint32(e.CRC32), Size: uint64(e.Size), Stored: uint64(e.Size), Modified: e.Modified}
	if e.Deflated != nil {
		z.Method, z.Stored = zipfmt.Deflate, uint64(e.Deflated.Size)
	}
	return z
}

// Body returns where the entry's bytes lie.
func (e Entry) Body() Place {
	if e.BodyPlace != nil {
		return *e.BodyPlace
	}
	return Place{e.Header.Pack, e.Header.Offset + e.Zip().LocalSize()}
}

// StoredSize returns how many bytes the body has in the archive.
func (e Entry) StoredSize() int64 { return int64(e.Zip().Stored) }

// StoredCRC returns the CRC-32 of the body as it lies in the archive.
func (e Entry) StoredCRC() uint32 {
	if e.Deflated != nil {
		return uint32(e.Deflated.CRC32)
	}
	return uint32(e.CRC32)
}

type packLine struct {
	Pack Pack `json:"pack"`
}

// Writer writes a compressed manifest. Lines must come in the order of the format.
type Writer struct {
	gz      *gzip.Writer
	sum     hash.Hash
	crc     hash.Hash32
	bytes   int64
	entries int
}

// Sum describes a manifest that was written.
type Sum struct {
	SHA256     string // of the lines, hex
	CRC32      uint32 // of the lines
	Bytes      int64  // of the lines
	Compressed int64  // of the gzip file; set by who wrote it
	Entries    int
}

// NewWriter writes the header to w and returns the writer of what follows.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	m := &Writer{gz: gz, sum: sha256.New(), crc: crc32.NewIEEE()}
	h.Format = Format
	return m, m.line(h)
}

func (m *Writer) line(v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	m.sum.Write(data)
	m.crc.Write(data)
	m.bytes += int64(len(data))
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
func (m *Writer) Pack(p Pack) error { return m.line(packLine{p}) }

// Entry writes the line of an entry.
func (m *Writer) Entry(e Entry) error {
	m.entries++
	return m.line(e)
}

// Close ends the manifest.
func (m *Writer) Close() (Sum, error) {
	sum := Sum{SHA256: hex.EncodeToString(m.sum.Sum(nil)), CRC32: m.crc.Sum32(), Bytes: m.bytes, Entries: m.entries}
	return sum, m.gz.Close()
}

// Reader reads a manifest. Header and packs are read at once, entries one by one.
type Reader struct {
	Header    Header
	RawHeader []byte // line 1 without its newline
	Packs     map[string]Pack
	PackOrder []string

	lines *bufio.Reader
	sum   hash.Hash
	next  []byte // the first entry's line
	count int
}

// maxLine bounds a line, in bytes: a path has at most 64 KiB, JSON may spell a byte with six.
const maxLine = 1 << 20

// NewReader reads the head of a manifest from its uncompressed lines. What is no manifest, or one of a later
// format, is Corrupt or Invalid.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{lines: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), Packs: map[string]Pack{}}
	line, err := m.line()
	if err != nil {
		return nil, err
	}
	m.RawHeader = line
	if err := decode(line, &m.Header); err != nil {
		return nil, err
	}
	if m.Header.Format > Format {
		return nil, failure.New(failure.Invalid, "the manifest has format %d, this lifeboat reads up to %d", m.Header.Format, Format).
			WithHint("use a newer lifeboat")
	}
	if m.Header.Format < 1 {
		return nil, failure.New(failure.Corrupt, "line 1 is not the header of a manifest")
	}
	for {
		line, err := m.line()
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(line, []byte(`{"pack":{`)) {
			m.next = line
			return m, nil
		}
		var p packLine
		if err := decode(line, &p); err != nil {
			return nil, err
		}
		m.Packs[p.Pack.ID] = p.Pack
		m.PackOrder = append(m.PackOrder, p.Pack.ID)
	}
}

// Open reads the head of a compressed manifest.
func Open(r io.Reader) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, failure.New(failure.Corrupt, "read the manifest: %w", err)
	}
	return NewReader(gz)
}

func (m *Reader) line() ([]byte, error) {
	var line []byte
	for {
		chunk, err := m.lines.ReadSlice('\n')
		line = append(line, chunk...)
		switch {
		case err == nil:
			m.sum.Write(line)
			m.count++
			return line[:len(line)-1], nil
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case err != bufio.ErrBufferFull:
			return nil, failure.New(failure.Corrupt, "read the manifest: %w", unexpected(err))
		case len(line) > maxLine:
			return nil, failure.New(failure.Corrupt, "line %d of the manifest is longer than %d bytes", m.count+1, maxLine)
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func decode(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return failure.New(failure.Corrupt, "the manifest holds a line that is not its own: %w", err)
	}
	return nil
}

// Entries yields the entries once, in their order. After the last one Digest is known.
func (m *Reader) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		line, err := m.next, error(nil)
		if line == nil {
			return
		}
		for m.next = nil; err == nil; line, err = m.line() {
			var e Entry
			if err = decode(line, &e); err == nil {
				err = m.check(e)
			}
			if err != nil {
				break
			}
			if !yield(e, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(Entry{}, err)
		}
	}
}

// check refuses what no writer writes, so that readers may trust ranges.
func (m *Reader) check(e Entry) error {
	for _, place := range []struct {
		Place
		length int64
	}{{e.Header, e.Zip().LocalSize()}, {e.Body(), e.StoredSize()}} {
		p, ok := m.Packs[place.Pack]
		if !ok || place.Offset < 0 || place.length < 0 || place.Offset > p.Bytes-place.length {
			return failure.New(failure.Corrupt, "the manifest places %q outside of pack %q", e.Path, place.Pack)
		}
	}
	if e.Path == "" || len(e.Path) > zipfmt.MaxName || e.Size < 0 {
		return failure.New(failure.Corrupt, "the manifest holds an entry that no archive can hold: %q", e.Path)
	}
	return nil
}

// Digest returns the SHA-256 of the lines read so far, hex; that of the manifest once Entries is done.
func (m *Reader) Digest() string { return hex.EncodeToString(m.sum.Sum(nil)) }
