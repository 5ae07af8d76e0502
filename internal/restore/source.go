package restore

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// Spot is where the body of an entry lies.
type Spot struct {
	Key    vault.Key `json:"key,omitempty"` // empty: in a file that is no object of a vault
	Offset int64     `json:"offset"`
	Object int64     `json:"object"` // bytes of the whole object
}

// Bytes is where the bytes of a backup are read from.
type Bytes struct {
	// Locate returns where an entry's body lies. It is asked once for every entry of the manifest, in order.
	Locate func(manifest.Entry) (Spot, error)
	// Open reads a range. It is safe for concurrent use.
	Open func(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error)
	// Vault holds the objects that spots name; nil where no store can copy from them.
	Vault *vault.Vault
	// Foreign says that another program made the archive: nobody knows the CRC-32 of a deflated body, so that
	// manifest.Deflated.CRC32 means nothing. Size and CRC-32 of the content are checked as ever.
	Foreign bool
}

// PackBytes reads a backup from its packs, wherever the pool has them.
func PackBytes(v *vault.Vault, p *pool.Pool) Bytes {
	locate := func(e manifest.Entry) (Spot, error) {
		body := e.Body()
		at, ok := p.Find(body.Pack)
		if !ok {
			return Spot{}, failure.New(failure.Corrupt, "the pack %s, which holds %q, is not in the vault", body.Pack, e.Path)
		}
		return Spot{Key: at.Key, Offset: at.Offset + body.Offset, Object: at.Object}, nil
	}
	return Bytes{Locate: locate, Open: opener(v), Vault: v}
}

// ArchiveBytes reads a backup from its archive in the vault, an object of size bytes.
func ArchiveBytes(v *vault.Vault, key vault.Key, size int64) Bytes {
	return Bytes{Locate: inArchive(Spot{Key: key, Object: size}), Open: opener(v), Vault: v}
}

// FileBytes reads a backup from an archive file.
func FileBytes(image verify.Image) Bytes {
	open := func(ctx context.Context, _ vault.Key, offset, length int64) (io.ReadCloser, error) {
		r, err := image.Data(ctx, offset)
		if err != nil {
			return nil, err
		}
		return limited{io.LimitReader(r, length), r}, nil
	}
	return Bytes{Locate: inArchive(Spot{}), Open: open}
}

// ReaderBytes reads the archive of another program, a file of this machine. locate says where the body of an entry
// begins; the reader is used by many at a time.
func ReaderBytes(r io.ReaderAt, locate func(manifest.Entry) (Spot, error)) Bytes {
	open := func(ctx context.Context, _ vault.Key, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(app.Stoppable(ctx, io.NewSectionReader(r, offset, length))), nil
	}
	return Bytes{Locate: locate, Open: open, Foreign: true}
}

// ObjectBytes reads the archive of another program from the vault, an object of size bytes. locate says at which offset
// of it the body of an entry begins; nothing else of its spots counts.
func ObjectBytes(v *vault.Vault, key vault.Key, size int64, locate func(manifest.Entry) (Spot, error)) Bytes {
	in := func(e manifest.Entry) (Spot, error) {
		at, err := locate(e)
		return Spot{Key: key, Offset: at.Offset, Object: size}, err
	}
	return Bytes{Locate: in, Open: opener(v), Vault: v, Foreign: true}
}

type limited struct {
	io.Reader
	io.Closer
}

func opener(v *vault.Vault) func(context.Context, vault.Key, int64, int64) (io.ReadCloser, error) {
	return func(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error) {
		r, _, err := v.Open(ctx, key, offset, length)
		return r, err
	}
}

// inArchive adds up where each entry lies in an archive: they stand one behind the other.
func inArchive(at Spot) func(manifest.Entry) (Spot, error) {
	return func(e manifest.Entry) (Spot, error) {
		at.Offset += e.Zip().LocalSize()
		here := at
		at.Offset += e.StoredSize()
		return here, nil
	}
}

// whole returns the content of an entry from its body, if it is what the manifest says; Corrupt otherwise.
func (b Bytes) whole(e manifest.Entry, stored []byte) ([]byte, error) {
	if e.Deflated != nil {
		var content bytes.Buffer
		content.Grow(int(min(e.Size, inflatedSize)) + bytes.MinRead)
		err := b.check(e, bytes.NewReader(stored), nil, func(r io.Reader) error {
			_, _ = content.ReadFrom(r) // the check says what is wrong with it
			return nil
		})
		return content.Bytes(), err
	}
	if manifest.CRC(crc32.ChecksumIEEE(stored)) != e.CRC32 {
		return nil, failure.New(failure.Corrupt, "does not have the CRC-32 that the manifest says")
	}
	if e.SHA256 != "" {
		if sum := sha256.Sum256(stored); hex.EncodeToString(sum[:]) != e.SHA256 {
			return nil, failure.New(failure.Corrupt, "does not have the SHA-256 that the manifest says")
		}
	}
	return stored, nil
}

// check checks the content of an entry while it is read from its body: Corrupt if it is not what the manifest says.
// Another error is that of read, or concerns more than this entry. body and what read gets begin where before ends.
func (b Bytes) check(e manifest.Entry, body io.Reader, before *archive.Begun, read func(io.Reader) error) error {
	if b.Foreign && e.Deflated != nil { // taken for a stored entry, whose body is what comes out of the inflater
		body = io.LimitReader(flate.NewReader(body), e.Size+1)
		e.Deflated = nil
	}
	problem, _, err := archive.ContentFrom(e, body, func(_ manifest.Entry, content io.Reader) error { return read(content) }, before)
	if err == nil && problem != "" {
		err = failure.New(failure.Corrupt, "%s", problem)
	}
	return err
}
