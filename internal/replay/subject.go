package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/foreign"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// subject is what is restored, open for reading: a backup in the vault, or an archive in a file or in the vault's
// incoming/, of lifeboat or of another program.
type subject struct {
	about   Backup
	id      backup.ID        // "" of an archive of another program
	image   verify.Image     // nil for an archive of another program
	foreign *foreign.Archive // nil for one of lifeboat
	plain   bool             // its files are taken as they are, whatever it is an archive of
	record  catalog.Record   // of a backup in the vault
	pool    *pool.Pool       // of a backup that is read from its packs
	entries func(ctx context.Context) iter.Seq2[manifest.Entry, error]
	bytes   func() restore.Bytes // for one pass over entries
	close   func()
	name    string   // for people
	plan    planFile // of a restore that goes on

	mutex  sync.Mutex
	cursor *cursor
}

// Where a backup in the vault is read from.
const (
	fromPacks   = "packs"
	fromArchive = "archive"
)

// open opens what is restored. use says where a backup in the vault is read from.
func (s *Steps) open(ctx context.Context, r events.Restore, use string) (*subject, error) {
	switch {
	case r.From.Backup != "":
		return s.openBackup(ctx, r.From.Backup, use)
	case r.From.File != "":
		return openFile(ctx, r.From.File, plainly(r.To))
	}
	return s.openIncoming(ctx, r.ID, plainly(r.To))
}

// plainly reports whether a restore takes the files of a foreign archive as they are, whatever it is an archive of.
func plainly(to events.To) bool { return to.Folder != "" || to.Bucket != nil }

func (s *Steps) openBackup(ctx context.Context, text, use string) (*subject, error) {
	found, err := s.catalog().Find(ctx, text)
	if err != nil {
		return nil, err
	}
	b := &subject{record: found.Record, close: func() {}, name: "backup " + string(found.ID)}
	if use == fromArchive {
		err = s.useArchive(ctx, b)
	} else {
		err = s.usePacks(ctx, b)
	}
	return b, err
}

func (s *Steps) usePacks(ctx context.Context, b *subject) error {
	image, err := verify.OpenPacks(ctx, s.Vault, b.record.Source, b.record.ID)
	if err != nil {
		return err
	}
	if b.pool, err = pool.Open(ctx, s.Vault, b.record.Source); err != nil {
		return err
	}
	b.bytes = func() restore.Bytes { return restore.PackBytes(s.Vault, b.pool) }
	return b.of(ctx, image)
}

// useArchive reads the backup from its archive, whose bytes were joined while the packs were whole.
func (s *Steps) useArchive(ctx context.Context, b *subject) error {
	image, err := verify.OpenRecorded(ctx, s.Vault, b.record)
	if err != nil {
		return err
	}
	b.bytes = func() restore.Bytes { return restore.FileBytes(image) }
	if len(b.record.Archive.Volumes) == 0 {
		key, size := vault.Archive(b.record.Source, b.record.ID), b.record.Archive.Bytes
		b.bytes = func() restore.Bytes { return restore.ArchiveBytes(s.Vault, key, size) }
	}
	return b.of(ctx, image)
}

// of completes a subject from the manifest of an image.
func (b *subject) of(ctx context.Context, image verify.Image) error {
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return err
	}
	body.Close()
	b.image, b.id = image, m.Header.Backup
	b.about = Backup{Kind: m.Header.Kind, Folder: m.Header.Scope.Folder, Source: m.Header.Source, Facts: m.Header.Facts, Open: b.content}
	b.entries = func(ctx context.Context) iter.Seq2[manifest.Entry, error] { return verify.Entries(ctx, image) }
	return nil
}

func openFile(ctx context.Context, path string, plain bool) (*subject, error) {
	image, file, err := verify.OpenVolumes(ctx, path)
	if err != nil {
		return openForeignFile(ctx, path, plain, err)
	}
	b := &subject{close: func() { file.Close() }, name: path, bytes: func() restore.Bytes { return restore.FileBytes(image) }}
	if err := b.of(ctx, image); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// openForeignFile opens a file that is none of lifeboat's; own is why.
func openForeignFile(ctx context.Context, path string, plain bool, own error) (*subject, error) {
	if !perhapsForeign(own) {
		return nil, own
	}
	file, err := os.Open(path) // it is a regular file, or own would be of another kind
	if err != nil {
		return nil, own
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, own
	}
	a, err := foreign.Open(ctx, file, info.Size(), path)
	if err != nil {
		file.Close()
		if errors.Is(err, foreign.ErrOwn) {
			err = own
		}
		return nil, err
	}
	b := &subject{close: func() { file.Close() }, name: path}
	b.ofForeign(a, plain, func() restore.Bytes { return restore.ReaderBytes(file, b.spot) })
	return b, nil
}

// perhapsForeign reports whether the reader of lifeboat's archives refused a file because it is none.
func perhapsForeign(own error) bool {
	kind := failure.KindOf(own)
	return kind == failure.Corrupt || kind == failure.Invalid
}

// ofForeign completes a subject from an archive of another program. What goes to a folder or a bucket keeps the names
// that it has in the ZIP; linkding's are those of its data folder in any case.
func (b *subject) ofForeign(a *foreign.Archive, plain bool, bytes func() restore.Bytes) {
	b.bytes, b.about = bytes, Backup{Kind: a.Kind, Facts: a.Facts, Open: b.content}
	if plain && a.Kind != "linkding" {
		a, b.plain = a.Plain(), true
	}
	b.foreign = a
	b.entries = func(context.Context) iter.Seq2[manifest.Entry, error] { return a.Entries() }
}

// learn takes over what a foreign archive was found to be when all of it was read.
func (b *subject) learn() {
	if b.plain {
		return
	}
	b.about.Kind, b.about.Facts = b.foreign.Kind, b.foreign.Facts
}

// as makes of a foreign archive what its check has found it to be, without reading it again: it may be of no kind after
// all.
func (b *subject) as(kind string) {
	if b.foreign != nil && b.foreign.Kind != kind {
		plain := b.foreign.Plain()
		b.foreign = plain
		b.entries = func(context.Context) iter.Seq2[manifest.Entry, error] { return plain.Entries() }
		b.learn()
	}
}

// spot is where an entry of a foreign archive lies.
func (b *subject) spot(e manifest.Entry) (restore.Spot, error) {
	at, err := b.foreign.Locate(e.Path)
	return restore.Spot{Offset: at.Offset}, err
}

// openIncoming opens the archive that was fetched.
func (s *Steps) openIncoming(ctx context.Context, id backup.RestoreID, plain bool) (*subject, error) {
	key := vault.Incoming(id)
	info, err := s.Vault.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	b := &subject{close: func() {}, name: "what was fetched"}
	image, own := verify.OpenObject(ctx, s.Vault, key, info.Size)
	if own == nil {
		b.bytes = func() restore.Bytes { return restore.ArchiveBytes(s.Vault, key, info.Size) }
		return b, b.of(ctx, image)
	}
	if !perhapsForeign(own) {
		return nil, own
	}
	a, err := foreign.Open(ctx, &blocks{ctx: ctx, vault: s.Vault, key: key, size: info.Size}, info.Size, b.name)
	if errors.Is(err, foreign.ErrOwn) {
		err = own
	}
	if err != nil {
		return nil, err
	}
	b.ofForeign(a, plain, func() restore.Bytes { return restore.ObjectBytes(s.Vault, key, info.Size, b.spot) })
	return b, nil
}

// originOfFile says what a file is, without reading its contents.
func (s *Steps) originOfFile(ctx context.Context, path string) (catalog.Origin, error) {
	b, err := openFile(ctx, path, false)
	if err != nil {
		return catalog.Origin{}, err
	}
	defer b.close()
	o := catalog.Origin{File: path, Digest: b.digest()}
	if info, err := os.Stat(path); err == nil {
		o.Bytes = info.Size()
	}
	return b.origin(o), nil
}

// origin adds what the archive says of itself.
func (b *subject) origin(o catalog.Origin) catalog.Origin {
	if b.foreign == nil {
		o.Source, o.Backup, o.Digest = b.about.Source, b.id, b.digest()
	}
	return o
}

// digest tells one archive from another: the SHA-256 that was signed, or that of a foreign archive's list.
func (b *subject) digest() string {
	if b.image != nil {
		return b.image.Seal().Manifest.SHA256
	}
	return b.foreign.Digest()
}

// split reports whether the archive is one in volumes, of which each is signed by itself.
func (b *subject) split() bool { return b.image != nil && b.digest() == "" }

// signer returns the id of the key that signed what is restored; "" where nobody did.
func (b *subject) signer() string {
	if b.image == nil {
		return ""
	}
	return b.image.Seal().Signer.ID
}

// signature holds the seal against the manifest, and counts the entries. It reads no contents. What volumes are signed
// with is for the check of their bytes to say.
func (b *subject) signature(ctx context.Context, trusted []ed25519.PublicKey) (manifest.Authenticity, amount, error) {
	var all amount
	if b.image == nil || b.split() {
		for e, err := range b.entries(ctx) {
			if err != nil {
				return "", all, err
			}
			all.add(e)
		}
		if b.split() {
			return manifest.Authenticated, all, nil
		}
		return manifest.Unsigned, all, nil
	}
	m, body, err := b.image.Manifest(ctx)
	if err != nil {
		return "", all, err
	}
	defer body.Close()
	for e, err := range m.Entries() {
		if err != nil {
			return "", all, err
		}
		all.add(e)
	}
	signature, err := b.image.Seal().Check(m, int(all.entries), trusted...)
	return signature, all, err
}

// amount is how much there is.
type amount struct{ entries, bytes int64 }

func (a *amount) add(e manifest.Entry) { a.entries, a.bytes = a.entries+1, a.bytes+e.Size }

// item is an entry as targets see it.
func item(e manifest.Entry, chosen bool) app.Item {
	i := app.Item{CRC32: uint32(e.CRC32), SHA256: e.SHA256, Document: e.Document, Secret: e.Secret, Chosen: chosen}
	i.Object = app.Object{Path: e.Path, Size: e.Size, Modified: e.Modified, Mode: e.Mode, Dir: e.Dir(), Type: e.Type}
	if e.Origin != nil {
		i.Key, i.Media = e.Origin.Key, e.Origin.Media
	}
	return i
}

// content opens one entry by its path. Entries that are asked for in the order of the archive are found at once.
func (b *subject) content(ctx context.Context, path string) (io.ReadCloser, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for range 2 {
		if b.cursor == nil {
			b.cursor = b.walk()
		}
		e, at, found, err := b.cursor.find(path)
		if err != nil {
			b.rewind()
			return nil, err
		}
		if found {
			return restore.Content(ctx, b.cursor.bytes, e, at)
		}
		b.rewind()
	}
	return nil, failure.New(failure.NotFound, "%s holds no %q", b.name, path)
}

func (b *subject) rewind() {
	if b.cursor != nil {
		b.cursor.stop()
		b.cursor = nil
	}
}

// cursor walks over the entries and where they lie.
type cursor struct {
	bytes restore.Bytes
	next  func() (manifest.Entry, error, bool)
	stop  func()
}

func (b *subject) walk() *cursor {
	// the walk outlives the call that begins it: it must not end with that one's context
	next, stop := iter.Pull2(b.entries(context.WithoutCancel(context.Background())))
	return &cursor{b.bytes(), next, stop}
}

func (c *cursor) find(path string) (manifest.Entry, restore.Spot, bool, error) {
	for {
		e, err, ok := c.next()
		if !ok || err != nil {
			return e, restore.Spot{}, false, err
		}
		at, err := c.bytes.Locate(e)
		if err != nil {
			return e, at, false, err
		}
		if e.Path == path {
			return e, at, true, nil
		}
	}
}

func (b *subject) end() {
	b.rewind()
	b.close()
}

// blocks reads an object of the vault at any place, a block at a time.
type blocks struct {
	ctx   context.Context // of the step that reads
	vault *vault.Vault
	key   vault.Key
	size  int64

	mutex sync.Mutex
	kept  map[int64][]byte
	order []int64
}

const (
	blockSize = 1 << 20 // bytes
	blockKept = 16
)

func (b *blocks) ReadAt(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) {
		at := offset + int64(n)
		if at >= b.size {
			return n, io.EOF
		}
		block, err := b.block(at / blockSize)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], block[at%blockSize:])
	}
	return n, nil
}

func (b *blocks) block(number int64) ([]byte, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if block, ok := b.kept[number]; ok {
		return block, nil
	}
	from := number * blockSize
	length := min(blockSize, b.size-from)
	body, _, err := b.vault.Open(b.ctx, b.key, from, length)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	block := make([]byte, length)
	if _, err := io.ReadFull(body, block); err != nil {
		return nil, fmt.Errorf("read %s: %w", b.key, err)
	}
	if b.kept == nil {
		b.kept = map[int64][]byte{}
	}
	if b.order = append(b.order, number); len(b.order) > blockKept {
		delete(b.kept, b.order[0])
		b.order = b.order[1:]
	}
	b.kept[number] = block
	return block, nil
}
