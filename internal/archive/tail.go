package archive

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/zipfmt"
)

// The entries that lifeboat adds, the last three of every archive, in this order.
const (
	SealPath   = manifest.SealInArchive
	ReadmePath = manifest.ReadmeInArchive
)

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// Tail is what an archive ends with.
type Tail struct {
	Seal    []byte        // lifeboat/backup.json
	Readme  string        // lifeboat/README.txt
	Started time.Time     // time of the entries
	List    CompressedDoc // lifeboat/manifest.jsonl
	Data    int64         // bytes of the archive before the tail
}

// CompressedDoc is a gzip file whose deflate stream becomes the body of an entry as it is. Compressing it again
// could give other bytes with another release of Go.
type CompressedDoc struct {
	Size   int64 // of the content
	CRC32  uint32
	Gzip   io.Reader    // the file
	Length int64        // of the file
	Sealed manifest.CRC // of its deflate stream
}

// Write writes the tail; entries yields the entries of the manifest in their order.
func (t Tail) Write(w io.Writer, entries iter.Seq2[manifest.Entry, error]) error {
	out := &counter{w: w}
	own := t.entries()
	bodies := []io.Reader{bytes.NewReader(t.Seal), bytes.NewReader([]byte(t.Readme)), nil}
	offsets := make([]int64, len(own))
	var err error
	if bodies[2], err = deflateStream(t.List); err != nil {
		return err
	}
	for i, e := range own {
		offsets[i] = t.Data + out.n
		if _, err := out.Write(e.AppendLocal(nil)); err != nil {
			return err
		}
		sum := crc32.NewIEEE()
		if n, err := io.Copy(io.MultiWriter(out, sum), bodies[i]); err != nil {
			return err
		} else if n != int64(e.Stored) {
			return failure.New(failure.Corrupt, "%s has %d bytes instead of %d", e.Name, n, e.Stored)
		}
		if e.Method == zipfmt.Deflate && manifest.CRC(sum.Sum32()) != t.List.Sealed {
			return failure.New(failure.Corrupt, "%s is not the one that was sealed", e.Name)
		}
	}
	return t.writeDirectory(out, entries, own, offsets)
}

// entries returns the headers of lifeboat's own entries.
func (t Tail) entries() []zipfmt.Entry {
	readme := []byte(t.Readme)
	return []zipfmt.Entry{
		{Name: SealPath, CRC32: crcOf(t.Seal), Size: uint64(len(t.Seal)), Stored: uint64(len(t.Seal)), Modified: t.Started},
		{Name: ReadmePath, CRC32: crcOf(readme), Size: uint64(len(readme)), Stored: uint64(len(readme)), Modified: t.Started},
		{
			Name: manifest.PathInArchive, Method: zipfmt.Deflate, CRC32: t.List.CRC32, Size: uint64(t.List.Size),
			Stored: uint64(t.List.Length - manifest.GzipHeader - manifest.GzipTrailer), Modified: t.Started,
		},
	}
}

func (t Tail) writeDirectory(out *counter, entries iter.Seq2[manifest.Entry, error], own []zipfmt.Entry, offsets []int64) error {
	directory := zipfmt.Directory{Offset: uint64(t.Data + out.n)}
	start := out.n
	var line []byte
	write := func(e zipfmt.Entry, offset int64) error {
		line = e.AppendCentral(line[:0], uint64(offset))
		directory.Entries++
		_, err := out.Write(line)
		return err
	}
	var offset int64
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := write(e.Zip(), offset); err != nil {
			return err
		}
		offset += e.Zip().LocalSize() + e.StoredSize()
	}
	if offset != t.Data {
		return failure.New(failure.Internal, "the entries have %d bytes, the plan has %d", offset, t.Data)
	}
	for i, e := range own {
		if err := write(e, offsets[i]); err != nil {
			return err
		}
	}
	directory.Size = uint64(out.n - start)
	_, err := out.Write(directory.AppendEnd(nil))
	return err
}

// deflateStream cuts header and trailer off a gzip file.
func deflateStream(d CompressedDoc) (io.Reader, error) {
	header := make([]byte, manifest.GzipHeader)
	if _, err := io.ReadFull(d.Gzip, header); err != nil {
		return nil, fmt.Errorf("read the compressed manifest: %w", err)
	}
	if header[0] != 0x1f || header[1] != 0x8b || header[2] != 8 || header[3] != 0 {
		return nil, failure.New(failure.Corrupt, "the compressed manifest is no plain gzip file")
	}
	return io.LimitReader(d.Gzip, d.Length-manifest.GzipHeader-manifest.GzipTrailer), nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
