package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/zipfmt"
)

// Bytes is a file that is read by ranges: a local ZIP, or the archive in the vault.
type Bytes interface {
	Size() int64
	Range(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// File is one of lifeboat's own archives. Open has read its end and its seal; nothing else is believed yet.
type File struct {
	Seal manifest.Seal

	bytes     Bytes
	rawSeal   []byte
	directory zipfmt.Directory
	own       [3]zipfmt.Entry
	offsets   [3]int64
}

// Open reads the end of an archive. A file that is no ZIP is Corrupt, a ZIP without a lifeboat/ folder Invalid.
func Open(ctx context.Context, b Bytes) (*File, error) {
	f := &File{bytes: b}
	tail, err := f.read(ctx, max(0, b.Size()-zipfmt.MaxEnd), min(b.Size(), zipfmt.MaxEnd))
	if err != nil {
		return nil, err
	}
	if f.directory, err = zipfmt.ParseEnd(tail, b.Size()); err != nil {
		return nil, failure.New(failure.Corrupt, "%w", err).
			WithHint("`verify` and `restore` read archives that lifeboat made, as a whole: was the download complete?")
	}
	if err := f.findOwn(ctx); err != nil && !failure.Damage(err) && failure.KindOf(err) != failure.Invalid {
		return nil, err
	} else if err != nil {
		const last = 1 << 10 // bytes, with the last name of the central directory
		end, readErr := f.read(ctx, max(0, b.Size()-last), min(b.Size(), last))
		if readErr == nil && !bytes.Contains(end, []byte(manifest.PathInArchive)) {
			return nil, failure.New(failure.Invalid, "this ZIP is not a lifeboat archive").
				WithHint("an archive of lifeboat is read as lifeboat made it, or not at all: use another copy")
		}
		return nil, err
	}
	f.rawSeal, err = f.content(ctx, 0)
	if err != nil {
		return nil, err
	}
	if f.Seal, err = manifest.ParseSeal(f.rawSeal); err != nil {
		return nil, err
	}
	if listed := f.directory.Entries - uint64(len(f.own)); uint64(f.Seal.Manifest.Entries) != listed {
		return nil, failure.New(failure.Corrupt, "the archive holds %d entries, %d were signed", listed, f.Seal.Manifest.Entries)
	}
	return f, nil
}

func (f *File) read(ctx context.Context, offset, length int64) ([]byte, error) {
	r, err := f.bytes.Range(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, length)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, unreadable(err, "read the archive at %d", offset)
	}
	return data, nil
}

// unreadable is Corrupt where an error says that bytes are wrong or missing, and what it is where they could not be read.
func unreadable(err error, format string, args ...any) error {
	doing := fmt.Sprintf(format, args...)
	if failure.Damage(err) {
		return failure.New(failure.Corrupt, "%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// findOwn reads the central directory once and keeps its last three headers.
func (f *File) findOwn(ctx context.Context) error {
	var last [3]zipfmt.Entry
	var offsets [3]int64
	err := f.walkDirectory(ctx, func(e zipfmt.Entry, offset int64) error {
		copy(last[:], last[1:])
		copy(offsets[:], offsets[1:])
		last[2], offsets[2] = e, offset
		return nil
	})
	if err != nil {
		return err
	}
	f.own, f.offsets = last, offsets
	for i, name := range []string{SealPath, ReadmePath, manifest.PathInArchive} {
		if last[i].Name != name {
			return failure.New(failure.Invalid, "this ZIP is not a lifeboat archive: it does not end with %s", name).
				WithHint("an archive of lifeboat is read as lifeboat made it, or not at all: use another copy")
		}
	}
	if !f.ownFit() {
		return failure.New(failure.Corrupt, "the entries of the lifeboat/ folder are not as lifeboat writes them")
	}
	return nil
}

// maxReadme bounds lifeboat/README.txt, in bytes: it stands in line 1 of the manifest.
const maxReadme = 1 << 20

// ownFit reports whether lifeboat's entries have possible sizes and lie one behind the other, up to the central
// directory: from then on their offsets and lengths are safe to read.
func (f *File) ownFit() bool {
	end := int64(f.directory.Offset)
	for i, limit := range []uint64{manifest.MaxSeal, maxReadme, f.directory.Offset} {
		e := f.own[i]
		if e.Stored > limit || i < 2 && (e.Method != zipfmt.Store || e.Stored != e.Size) {
			return false
		}
		next := f.offsets[i] + e.LocalSize() + int64(e.Stored)
		if f.offsets[i] < 0 || f.offsets[i] > end || i < 2 && next != f.offsets[i+1] || i == 2 && next != end {
			return false
		}
	}
	return f.own[2].Method == zipfmt.Deflate
}

// walkDirectory parses the central directory, header by header.
func (f *File) walkDirectory(ctx context.Context, each func(zipfmt.Entry, int64) error) error {
	stream, err := f.bytes.Range(ctx, int64(f.directory.Offset), int64(f.directory.Size))
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewReaderSize(stream, 96<<10)
	for range f.directory.Entries {
		head, err := lines.Peek(zipfmt.MaxCentral)
		if err != nil && err != io.EOF {
			return unreadable(err, "read the central directory")
		}
		e, offset, length, err := zipfmt.ParseCentral(head)
		if err != nil {
			return failure.New(failure.Corrupt, "%w", err).WithHint("an archive of lifeboat is read as lifeboat made it, or not at all: use another copy")
		}
		_, _ = lines.Discard(length)
		if err := each(e, int64(offset)); err != nil {
			return err
		}
	}
	switch rest, err := lines.Peek(1); {
	case err != nil && err != io.EOF:
		return unreadable(err, "read the central directory")
	case len(rest) > 0:
		return failure.New(failure.Corrupt, "the central directory holds more than its %d entries", f.directory.Entries)
	}
	return nil
}

// content reads one of lifeboat's own stored entries and checks header and CRC-32.
func (f *File) content(ctx context.Context, i int) ([]byte, error) {
	e := f.own[i]
	data, err := f.read(ctx, f.offsets[i], e.LocalSize()+int64(e.Stored))
	if err != nil {
		return nil, err
	}
	header, body := data[:e.LocalSize()], data[e.LocalSize():]
	if !bytes.Equal(header, e.AppendLocal(nil)) || crc32.ChecksumIEEE(body) != e.CRC32 {
		return nil, failure.New(failure.Corrupt, "%s in the archive is damaged", e.Name)
	}
	return body, nil
}

// Manifest opens the list of entries. Its stream ends with an error where the compressed bytes are not the sealed ones.
func (f *File) Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error) {
	e, at := f.own[2], f.offsets[2]
	header, err := f.read(ctx, at, e.LocalSize())
	if err == nil && (!bytes.Equal(header, e.AppendLocal(nil)) || int64(e.Stored) != f.Seal.Manifest.Deflated.Size) {
		err = failure.New(failure.Corrupt, "%s in the archive is damaged", e.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	body, err := f.bytes.Range(ctx, at+e.LocalSize(), int64(e.Stored))
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.NewReader(newSealed(body, uint32(f.Seal.Manifest.Deflated.CRC32)))
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return m, body, nil
}

// sealed inflates a stream and, at its end, holds the CRC-32 of all compressed bytes against the one of the seal: a
// deflate stream has bits that change nothing of its content, and nothing may follow it.
type sealed struct {
	inflated io.Reader
	raw      io.Reader
	sum      hash.Hash32
	want     uint32
}

func newSealed(r io.Reader, want uint32) *sealed {
	sum := crc32.NewIEEE()
	raw := bufio.NewReaderSize(io.TeeReader(r, sum), 64<<10)
	return &sealed{flate.NewReader(raw), raw, sum, want}
}

func (s *sealed) Read(p []byte) (int, error) {
	n, err := s.inflated.Read(p)
	if err != io.EOF {
		return n, err
	}
	if rest, err := io.Copy(io.Discard, s.raw); err != nil {
		return n, err
	} else if rest > 0 || s.sum.Sum32() != s.want {
		return n, failure.New(failure.Corrupt, "the compressed list of entries is not the one that was sealed")
	}
	return n, io.EOF
}

// Data returns the bytes before the tail.
func (f *File) Data(ctx context.Context, offset int64) (io.ReadCloser, error) {
	return f.bytes.Range(ctx, offset, max(0, f.offsets[0]-offset))
}

// CheckTail holds the central directory and the three entries of lifeboat against what the manifest says they must
// be: the offsets, the order, every byte. m is a fresh reader of the manifest, which gives the README.
func (f *File) CheckTail(ctx context.Context, m *manifest.Reader, entries iter.Seq2[manifest.Entry, error]) error {
	next, stop := iter.Pull2(entries)
	defer stop()
	check := tailCheck{file: f, manifest: m, next: next}
	if err := f.walkDirectory(ctx, check.header); err != nil {
		return err
	}
	if _, err, more := next(); more || check.own != len(f.own) || check.offset != int64(f.directory.Offset) {
		if err != nil {
			return err
		}
		return failure.New(failure.Corrupt, "the archive does not hold all entries of its manifest")
	}
	readme, err := f.content(ctx, 1)
	if err != nil {
		return err
	}
	if string(readme) != m.Header.Readme {
		return failure.New(failure.Corrupt, "%s is not the one that was signed", ReadmePath)
	}
	return nil
}

// tailCheck compares the headers of the central directory, one after the other, with those that Tail would write.
type tailCheck struct {
	file     *File
	manifest *manifest.Reader
	next     func() (manifest.Entry, error, bool)
	offset   int64          // of the next local header
	tail     []zipfmt.Entry // lifeboat's own, once the manifest is read to its end
	own      int
}

func (c *tailCheck) header(got zipfmt.Entry, at int64) error {
	want, err := c.want()
	if err != nil {
		return err
	}
	if want == nil || want.Name != got.Name {
		return failure.New(failure.Corrupt, "the archive holds %q, which the manifest does not list there", got.Name)
	}
	if !bytes.Equal(want.AppendCentral(nil, uint64(c.offset)), got.AppendCentral(nil, uint64(at))) {
		return failure.New(failure.Corrupt, "the central directory does not say of %q what the manifest says", got.Name)
	}
	c.offset += want.LocalSize() + int64(want.Stored)
	return nil
}

// want returns what the next header must say, or nil after the last.
func (c *tailCheck) want() (*zipfmt.Entry, error) {
	if c.tail == nil {
		if e, err, ok := c.next(); ok {
			if err != nil {
				return nil, err
			}
			z := e.Zip()
			return &z, nil
		}
		sum := c.manifest.Sum()
		c.tail = Tail{
			Seal: c.file.rawSeal, Readme: c.manifest.Header.Readme, Started: c.manifest.Header.Started,
			List: CompressedDoc{Size: sum.Bytes, CRC32: sum.CRC32, Length: c.file.Seal.Manifest.Deflated.Size + manifest.GzipHeader + manifest.GzipTrailer},
		}.entries()
	}
	if c.own == len(c.tail) {
		return nil, nil
	}
	c.own++
	return &c.tail[c.own-1], nil
}
