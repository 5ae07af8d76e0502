package manifest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/lines"
)

// Reader reads a manifest. Header and packs are read at once, entries one by one. It trusts nothing: what no Writer
// writes is Corrupt, and memory is bounded by maxLine, by maxPacks, and by 16 bytes or so per entry.
type Reader struct {
	Header    Header
	RawHeader []byte // line 1 without its newline
	Packs     map[string]Pack
	PackOrder []string

	input  *bufio.Reader
	digest digest
	rules  rules
	next   []byte // the first entry's line
	count  int    // of lines
}

// maxLine bounds a line, in bytes: a path has at most 64 KiB, JSON may spell a byte with six.
const maxLine = 1 << 20

// NewReader reads the head of a manifest from its uncompressed lines. What is no manifest is Corrupt, one of a later
// format Invalid. Trouble of r keeps its own kind.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{input: bufio.NewReaderSize(r, 64<<10), digest: newDigest(), rules: newRules()}
	m.Packs = m.rules.packs
	line, err := m.line()
	if err == io.EOF {
		return nil, failure.New(failure.Corrupt, "the manifest is empty")
	}
	if err != nil {
		return nil, err
	}
	m.RawHeader = line
	if m.Header, err = parseHeader(line); err != nil {
		return nil, err
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
		if err := m.pack(line); err != nil {
			return nil, err
		}
	}
}

func parseHeader(line []byte) (Header, error) {
	var version struct {
		Format int `json:"lifeboat_manifest"` // read by itself: in a later format the rest may look different
	}
	var h Header
	if err := decode(line, &version); err != nil {
		return h, err
	}
	switch {
	case version.Format > Format:
		return h, failure.New(failure.Invalid, "the manifest has format %d, this lifeboat reads up to %d", version.Format, Format).
			WithHint("use a newer lifeboat")
	case version.Format < 1:
		return h, failure.New(failure.Corrupt, "line 1 is not the header of a manifest")
	}
	if err := decode(line, &h); err != nil {
		return h, err
	}
	if _, err := backup.ParseID(string(h.Backup)); err != nil {
		return h, failure.New(failure.Corrupt, "the manifest is of no backup: %q", h.Backup)
	}
	if _, err := backup.ParseSource(string(h.Source)); err != nil {
		return h, failure.New(failure.Corrupt, "the manifest is of no source: %q", h.Source)
	}
	return h, nil
}

func (m *Reader) pack(line []byte) error {
	var p packLine
	if err := decode(line, &p); err != nil {
		return err
	}
	if err := m.rules.pack(p.Pack); err != nil {
		return failure.New(failure.Corrupt, "line %d of the manifest: %w", m.count, err)
	}
	m.PackOrder = append(m.PackOrder, p.Pack.ID)
	return nil
}

// Open reads the head of a compressed manifest.
func Open(r io.Reader) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, unreadable(err)
	}
	return NewReader(gz)
}

func (m *Reader) line() ([]byte, error) {
	var line []byte
	for {
		chunk, err := m.input.ReadSlice('\n')
		line = append(line, chunk...)
		switch {
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case len(line) > maxLine:
			return nil, failure.New(failure.Corrupt, "line %d of the manifest is longer than %d bytes", m.count+1, maxLine)
		case err == nil:
			m.digest.add(line)
			m.count++
			return line[:len(line)-1], nil
		case err != bufio.ErrBufferFull:
			return nil, unreadable(err)
		}
	}
}

// unreadable is Corrupt where an error says that the bytes are wrong or end too early, and of its own kind where they could
// not be read.
func unreadable(err error) error {
	kind := failure.KindOf(err)
	if kind == failure.Internal && failure.Damage(err) {
		kind = failure.Corrupt
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return failure.New(kind, "read the manifest: %w", err)
}

func decode(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return failure.New(failure.Corrupt, "the manifest holds a line that is not its own: %w", err)
	}
	return nil
}

// Entries yields the entries once, in their order. After the last one Digest and Sum are those of the manifest.
func (m *Reader) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if m.next == nil {
			return
		}
		count := m.count - 1 // of the lines before
		for e, err := range lines.Decode(m.following, decodeEntry) {
			if count++; err == nil {
				if err = m.rules.entry(e); err != nil {
					err = failure.New(failure.Corrupt, "line %d of the manifest: %w", count, err)
				}
			}
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// following returns the next entry's line.
func (m *Reader) following() ([]byte, error) {
	if line := m.next; line != nil {
		m.next = nil
		return line, nil
	}
	return m.line()
}

func decodeEntry(line []byte) (Entry, error) {
	var e Entry
	err := decode(line, &e)
	return e, err
}

// Trusted leaves out what costs memory for each entry: that no path occurs twice. It is for who has found the manifest to
// be signed by this vault, and asks each entry itself.
func (m *Reader) Trusted() { m.rules.paths = nil }

// Skip reads on to the end without looking at the entries, for who wants the head only but needs to know that it is
// the one that was signed: Digest is then that of the manifest.
func (m *Reader) Skip() error {
	for m.next = nil; ; {
		if _, err := m.line(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// Digest returns the SHA-256 of the lines read so far, hex; that of the manifest once Entries is done.
func (m *Reader) Digest() string { return m.Sum().SHA256 }

// Sum describes the lines read so far; the manifest once Entries is done.
func (m *Reader) Sum() Sum { return m.digest.sum(m.rules.entries) }
