// Package verify proves what lifeboat has stored: it reads every byte of a backup's packs, of its archive, or of an
// archive file again and holds it against the signed manifest. It also opens a backup or a file as an Image, from
// which restore and the other readers take what they need. It writes nothing.
package verify

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"

	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Image is a backup that can be read: from a file or from the vault.
type Image interface {
	// Manifest opens the list of entries, from its beginning.
	Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error)
	// Data reads the bytes of the entries, headers included, from an offset in the archive on.
	Data(ctx context.Context, offset int64) (io.ReadCloser, error)
	// Seal returns the signature.
	Seal() manifest.Seal
}

// fileImage is an archive: a local file, or an object of the vault.
type fileImage struct {
	*archive.File
}

func (f fileImage) Seal() manifest.Seal { return f.File.Seal }

// OpenFile opens an archive file. The caller closes it.
func OpenFile(ctx context.Context, path string) (Image, io.Closer, error) {
	file, err := os.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil, failure.New(failure.NotFound, "there is no file %s", path)
		}
		return nil, nil, fmt.Errorf("open the archive: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = failure.New(failure.Usage, "%s is not a file", path)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	f, err := archive.Open(ctx, localFile{file, info.Size()})
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return fileImage{f}, file, nil
}

type localFile struct {
	file *os.File
	size int64
}

func (l localFile) Size() int64 { return l.size }

func (l localFile) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l.file, offset, length)), nil
}

type stored struct {
	vault *vault.Vault
	key   vault.Key
	size  int64
}

func (s stored) Size() int64 { return s.size }

func (s stored) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	body, _, err := s.vault.Open(ctx, s.key, offset, length)
	return body, err
}

// OpenArchive opens the archive of a backup in the vault.
func OpenArchive(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (Image, error) {
	key := vault.Archive(source, id)
	info, err := v.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	f, err := archive.Open(ctx, stored{v, key, info.Size})
	if err != nil {
		return nil, err
	}
	return fileImage{f}, nil
}

// packsImage reads a backup from its packs, as if they were joined to the archive.
type packsImage struct {
	vault  *vault.Vault
	source backup.Source
	id     backup.ID
	seal   manifest.Seal
	layout *archive.Layout
	starts []int64 // offset of each range in the archive
}

// OpenPacks opens the packs behind a backup. A manifest that is damaged, or is not the one the record names, is
// Corrupt.
func OpenPacks(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (Image, error) {
	data, _, err := v.Get(ctx, vault.Seal(source, id))
	if err != nil {
		return nil, err
	}
	p := &packsImage{vault: v, source: source, id: id}
	if p.seal, err = manifest.ParseSeal(data); err != nil {
		return nil, err
	}
	m, body, err := p.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	p.layout = archive.NewLayout(func(pack string) (vault.Key, int64) { return vault.Pack(source, pack), m.Packs[pack].Bytes })
	for e, err := range m.Entries() {
		if err != nil {
			return nil, err
		}
		p.layout.Add(e)
	}
	var at int64
	for _, r := range p.layout.Ranges {
		p.starts = append(p.starts, at)
		at += r.Length
	}
	return p, nil
}

func (p *packsImage) Seal() manifest.Seal { return p.seal }

func (p *packsImage) Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error) {
	body, _, err := p.vault.Open(ctx, vault.Manifest(p.source, p.id), 0, -1)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Open(body)
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return m, body, nil
}

func (p *packsImage) Data(ctx context.Context, offset int64) (io.ReadCloser, error) {
	first := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > offset }) - 1
	if first < 0 || offset > p.layout.Size {
		return io.NopCloser(io.LimitReader(nil, 0)), nil
	}
	j := &joined{ctx: ctx, vault: p.vault, rest: p.layout.Ranges[first:], skip: offset - p.starts[first]}
	return j, j.open()
}

// joined reads ranges one after the other.
type joined struct {
	ctx   context.Context
	vault *vault.Vault
	rest  []archive.Range
	skip  int64 // of the next range
	body  io.ReadCloser
}

func (j *joined) open() error {
	if len(j.rest) == 0 {
		return io.EOF
	}
	r := j.rest[0]
	body, _, err := j.vault.Open(j.ctx, r.Key, r.Offset+j.skip, r.Length-j.skip)
	if err != nil {
		return err
	}
	j.body, j.rest, j.skip = body, j.rest[1:], 0
	return nil
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.body == nil {
			if err := j.open(); err != nil {
				return 0, err
			}
		}
		n, err := j.body.Read(p)
		if err == io.EOF {
			j.body.Close()
			j.body = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (j *joined) Close() error {
	if j.body == nil {
		return nil
	}
	return j.body.Close()
}
