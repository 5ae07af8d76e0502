package restore

import (
	"context"
	"io"

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
