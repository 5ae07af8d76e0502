package manifest

import (
	"bytes"
	"compress/gzip"
	"hash/crc32"
	"io"

	"lifeboat/internal/failure"
)

// gzipHead is how every manifest begins: deflate, no flags, no time, best speed, no system (RFC 1952).
var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}

// OpenSealed reads the head of a compressed manifest as it lies in the vault. Its stream ends with an error where the
// file is not the one that was sealed, byte for byte: a compressed file has bits that change nothing of its content, and
// an archive takes its deflate stream as it is.
func OpenSealed(r io.Reader, seal Seal) (*Reader, error) {
	head := make([]byte, GzipHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, unreadable(err)
	}
	if !bytes.Equal(head, gzipHead) {
		return nil, notSealed()
	}
	raw := &deflated{w: io.Discard, crc: crc32.NewIEEE()}
	size := int64(0)
	tee := io.TeeReader(io.MultiReader(bytes.NewReader(head), r), writerFunc(func(p []byte) (int, error) {
		size += int64(len(p))
		return raw.Write(p)
	}))
	gz, err := gzip.NewReader(tee)
	if err != nil {
		return nil, unreadable(err)
	}
	return NewReader(atEnd{gz, func() error {
		if size != seal.Manifest.Deflated.Size+GzipHeader+GzipTrailer || CRC(raw.crc.Sum32()) != seal.Manifest.Deflated.CRC32 {
			return notSealed()
		}
		return nil
	}})
}

func notSealed() error {
	return failure.New(failure.Corrupt, "the compressed list of entries is not the one that was sealed")
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// atEnd asks check at the end of a stream, which gzip reaches only once it has seen that nothing follows its trailer.
type atEnd struct {
	io.Reader
	check func() error
}

func (a atEnd) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err == io.EOF {
		if wrong := a.check(); wrong != nil {
			err = wrong
		}
	}
	return n, err
}

// SumOf reads a compressed manifest to its end and describes it as its Writer did.
func SumOf(r io.Reader) (Sum, error) {
	raw := &deflated{w: io.Discard, crc: crc32.NewIEEE()}
	size := int64(0)
	gz, err := gzip.NewReader(io.TeeReader(r, writerFunc(func(p []byte) (int, error) {
		size += int64(len(p))
		return raw.Write(p)
	})))
	if err != nil {
		return Sum{}, unreadable(err)
	}
	m, err := NewReader(gz)
	if err != nil {
		return Sum{}, err
	}
	if err := m.Skip(); err != nil {
		return Sum{}, err
	}
	sum := m.Sum()
	sum.Entries = max(0, m.count-1-len(m.PackOrder))
	sum.Deflated, sum.Compressed = CRC(raw.crc.Sum32()), size
	return sum, nil
}
