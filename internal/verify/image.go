// Package verify proves what lifeboat has stored: it reads every byte of a backup's packs, of its archive, or of an
// archive file again and holds it against the signed manifest. It also opens a backup or a file as an Image, from
// which restore and the other readers take what they need. It writes nothing.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
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
	info, err := os.Stat(path) // before it is opened: a pipe would not let us go on
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, failure.New(failure.NotFound, "there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, unreadable(path)
	case err != nil:
		return nil, nil, fmt.Errorf("open the archive: %w", err)
	case !info.Mode().IsRegular():
		return nil, nil, failure.New(failure.Usage, "%s is not a file", path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil, unreadable(path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the archive: %w", err)
	}
	f, err := archive.Open(ctx, localFile{file, info.Size()})
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return fileImage{f}, file, nil
}

func unreadable(path string) error {
	return failure.New(failure.Denied, "the file %s may not be read", path).WithHint("make it readable for you: chmod u+r %s", path)
}

type localFile struct {
	file *os.File
	size int64
}

func (l localFile) Size() int64 { return l.size }

func (l localFile) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(app.Stoppable(ctx, io.NewSectionReader(l.file, offset, length))), nil
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
	return OpenObject(ctx, v, key, info.Size)
}

// OpenObject opens an archive of lifeboat's that lies anywhere in the vault.
func OpenObject(ctx context.Context, v *vault.Vault, key vault.Key, size int64) (Image, error) {
	f, err := archive.Open(ctx, stored{v, key, size})
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
	pool   *pool.Pool
	layout *archive.Layout
	starts []int64 // offset of each range in the archive
}

// OpenPacks opens the packs behind a backup. A manifest that is damaged, or is not the one that was sealed, is Corrupt.
func OpenPacks(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (Image, error) {
	p, err := openPacks(ctx, v, source, id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// OpenPacksIn is OpenPacks for who reads the same packs by other ways too: all find them where the pool says, however they
// are merged meanwhile. A pack that the pool doesn't have is added to it, as one that is gone when it is read.
func OpenPacksIn(ctx context.Context, v *vault.Vault, packs *pool.Pool, source backup.Source, id backup.ID) (Image, error) {
	p, err := sealed(ctx, v, source, id)
	if err != nil {
		return nil, err
	}
	if err := p.open(ctx, packs); err != nil {
		return nil, err
	}
	return p, nil
}

func openPacks(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (*packsImage, error) {
	p, err := sealed(ctx, v, source, id)
	if err != nil {
		return nil, err
	}
	packs, err := pool.Open(ctx, v, source)
	if err != nil {
		return nil, err
	}
	return p, p.open(ctx, packs)
}

func (p *packsImage) open(ctx context.Context, packs *pool.Pool) error {
	p.pool = packs
	m, body, err := p.Manifest(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	return p.plan(m)
}

// sealed returns the image of a backup of which only the seal was read.
func sealed(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (*packsImage, error) {
	data, _, err := v.Get(ctx, vault.Seal(source, id))
	if err != nil {
		return nil, err
	}
	p := &packsImage{vault: v, source: source, id: id}
	p.seal, err = manifest.ParseSeal(data)
	return p, err
}

// plan reads the entries and notes where their bytes lie.
func (p *packsImage) plan(m *manifest.Reader) error {
	for _, id := range m.PackOrder {
		if _, ok := p.pool.Find(id); !ok {
			p.pool.Add(m.Packs[id]) // who reads its bytes learns that it is gone; the others can be read
		}
	}
	p.layout = archive.NewLayout(p.pool)
	for e, err := range m.Entries() {
		if err != nil {
			return err
		}
		if err := p.layout.Add(e); err != nil {
			return err
		}
	}
	if m.Digest() != p.seal.Manifest.SHA256 {
		return failure.New(failure.Corrupt, "the manifest is not the one that was signed: its SHA-256 is %s, %s was signed", m.Digest(), p.seal.Manifest.SHA256)
	}
	var at int64
	for _, r := range p.layout.Ranges {
		p.starts = append(p.starts, at)
		at += r.Length
	}
	return nil
}

func (p *packsImage) Seal() manifest.Seal { return p.seal }

func (p *packsImage) Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error) {
	body, _, err := p.vault.Open(ctx, vault.Manifest(p.source, p.id), 0, -1)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.OpenSealed(body, p.seal)
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	if m.Header.Backup != p.id || m.Header.Source != p.source {
		body.Close()
		return nil, nil, failure.New(failure.Corrupt, "in the place of backup %s of %s lies the manifest of %s of %s", p.id, p.source, m.Header.Backup, m.Header.Source)
	}
	return m, body, nil
}

func (p *packsImage) Data(ctx context.Context, offset int64) (io.ReadCloser, error) {
	first := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > offset }) - 1
	if first < 0 || offset >= p.layout.Size {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return &joined{ctx: ctx, vault: p.vault, rest: p.layout.Ranges[first:], skip: offset - p.starts[first]}, nil
}

// joined reads ranges one after the other. A range that ends early is an error: what follows would be taken for it.
type joined struct {
	ctx   context.Context
	vault *vault.Vault
	rest  []archive.Range
	skip  int64 // of the next range
	body  io.ReadCloser
	left  int64 // of body
}

func (j *joined) open() error {
	if len(j.rest) == 0 {
		return io.EOF
	}
	r := j.rest[0]
	length := r.Length - j.skip
	body, _, err := j.vault.Open(j.ctx, r.Key, r.Offset+j.skip, length)
	if err != nil {
		return err
	}
	j.body, j.left, j.rest, j.skip = body, length, j.rest[1:], 0
	return nil
}

func (j *joined) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if j.left == 0 {
		if err := j.Close(); err != nil {
			return 0, err
		}
		if err := j.open(); err != nil {
			return 0, err
		}
	}
	n, err := j.body.Read(p[:min(int64(len(p)), j.left)])
	j.left -= int64(n)
	if err == io.EOF {
		err = nil
		if n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (j *joined) Close() error {
	if j.body == nil {
		return nil
	}
	body := j.body
	j.body = nil
	return body.Close()
}
