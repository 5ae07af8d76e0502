package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
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
	if err := f.findOwn(ctx); err != nil {
		return nil, err
	}
	f.rawSeal, err = f.content(ctx, 0)
	if err != nil {
		return nil, err
	}
	f.Seal, err = manifest.ParseSeal(f.rawSeal)
	return f, err
}

func (f *File) read(ctx context.Context, offset, length int64) ([]byte, error) {
	r, err := f.bytes.Range(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, length)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, failure.New(failure.Corrupt, "read the archive at %d: %w", offset, err)
	}
	return data, nil
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
				WithHint("ZIPs of other programs are not read yet")
		}
	}
	if last[0].Size > 64<<20 || last[0].Stored != last[0].Size || last[1].Size > 1<<20 || last[1].Stored != last[1].Size {
		return failure.New(failure.Corrupt, "the entries of the lifeboat/ folder are not as lifeboat writes them")
	}
	return nil
}

// walkDirectory parses the central directory, header by header.
func (f *File) walkDirectory(ctx context.Context, each func(zipfmt.Entry, int64) error) error {
	stream, err := f.bytes.Range(ctx, int64(f.directory.Offset), int64(f.directory.Size))
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewReaderSize(stream, 256<<10)
	for range f.directory.Entries {
		head, err := lines.Peek(zipfmt.MaxCentral)
		if err != nil && err != io.EOF {
			return err
		}
		e, offset, length, err := zipfmt.ParseCentral(head)
		if err != nil {
			return failure.New(failure.Corrupt, "%w", err).WithHint("ZIPs of other programs are not read yet")
		}
		_, _ = lines.Discard(length)
		if err := each(e, int64(offset)); err != nil {
			return err
		}
	}
	if rest, _ := lines.Peek(1); len(rest) > 0 {
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

// Manifest opens the list of entries.
func (f *File) Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error) {
	e, at := f.own[2], f.offsets[2]
	if e.Method != zipfmt.Deflate {
		return nil, nil, failure.New(failure.Corrupt, "%s is not compressed as lifeboat does it", e.Name)
	}
	header, err := f.read(ctx, at, e.LocalSize())
	if err == nil && !bytes.Equal(header, e.AppendLocal(nil)) {
		err = failure.New(failure.Corrupt, "%s in the archive is damaged", e.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	body, err := f.bytes.Range(ctx, at+e.LocalSize(), int64(e.Stored))
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.NewReader(flate.NewReader(body))
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return m, body, nil
}

// Data returns the bytes before the tail.
func (f *File) Data(ctx context.Context, offset int64) (io.ReadCloser, error) {
	return f.bytes.Range(ctx, offset, f.offsets[0]-offset)
}

// CheckTail holds the central directory and the three entries of lifeboat against what the manifest says they must
// be: the offsets, the order, every byte. m is a fresh reader of the manifest, which gives the README.
func (f *File) CheckTail(ctx context.Context, m *manifest.Reader, entries iter.Seq2[manifest.Entry, error]) error {
	next, stop := iter.Pull2(entries)
	defer stop()
	var offset, listed int64
	own := 0
	err := f.walkDirectory(ctx, func(got zipfmt.Entry, at int64) error {
		if e, err, ok := next(); ok {
			if err != nil {
				return err
			}
			want := e.Zip()
			if string(want.AppendCentral(nil, uint64(offset))) != string(got.AppendCentral(nil, uint64(at))) {
				return failure.New(failure.Corrupt, "the central directory does not say of %q what the manifest says", e.Path)
			}
			offset += want.LocalSize() + int64(want.Stored)
			listed++
			return nil
		}
		if own == len(f.own) {
			return failure.New(failure.Corrupt, "the archive holds %q, which the manifest does not list", got.Name)
		}
		if got.Name != f.own[own].Name || at != offset {
			return failure.New(failure.Corrupt, "the archive holds %q, which the manifest does not list", got.Name)
		}
		offset += got.LocalSize() + int64(got.Stored)
		own++
		return nil
	})
	if err != nil {
		return err
	}
	if _, _, more := next(); more || own != len(f.own) || offset != int64(f.directory.Offset) {
		return failure.New(failure.Corrupt, "the archive does not hold all %d entries of its manifest", listed)
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
