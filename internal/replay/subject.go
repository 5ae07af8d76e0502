package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
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
	about    Backup
	path     string           // of a file; "" of what lies in the vault
	incoming vault.Key        // of what was fetched
	id       backup.ID        // "" of an archive of another program
	image    verify.Image     // nil for an archive of another program
	foreign  *foreign.Archive // nil for one of lifeboat
	plain    bool             // its files are taken as they are, whatever it is an archive of
	record   catalog.Record   // of a backup in the vault
	pool     *pool.Pool       // of a backup that is read from its packs
	entries  func(ctx context.Context) iter.Seq2[manifest.Entry, error]
	bytes    func() restore.Bytes // for one pass over entries
	close    func()
	name     string   // for people
	plan     planFile // of a restore that goes on

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
	packs, err := pool.Open(ctx, s.Vault, b.record.Source)
	if err != nil {
		return err
	}
	image, err := verify.OpenPacksIn(ctx, s.Vault, packs, b.record.Source, b.record.ID)
	if err != nil {
		return err
	}
	b.pool = packs
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
	b := &subject{close: func() { file.Close() }, name: path, path: path, bytes: func() restore.Bytes { return restore.FileBytes(image) }}
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
		return nil, changed(err, own)
	}
	b := &subject{close: func() { file.Close() }, name: path, path: path}
	b.ofForeign(a, plain, func() restore.Bytes { return restore.ReaderBytes(file, b.spot) })
	return b, nil
}

// perhapsForeign reports whether the reader of lifeboat's archives refused a file because it is none.
func perhapsForeign(own error) bool {
	kind := failure.KindOf(own)
	return kind == failure.Corrupt || kind == failure.Invalid
}

// changed chooses between two errors about an archive that is neither lifeboat's nor another program's: where it has
// entries of lifeboat's, its own reader may say better what was changed, but not that it is none.
func changed(err, own error) error {
	if errors.Is(err, foreign.ErrOwn) && failure.KindOf(own) == failure.Corrupt {
		return own
	}
	return err
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
	if b.foreign != nil && !b.plain && b.foreign.Kind != kind {
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
	b := &subject{close: func() {}, name: "what was fetched", incoming: key}
	image, own := verify.OpenObject(ctx, s.Vault, key, info.Size)
	if own == nil {
		b.bytes = func() restore.Bytes { return restore.ArchiveBytes(s.Vault, key, info.Size) }
		return b, b.of(ctx, image)
	}
	if !perhapsForeign(own) {
		return nil, own
	}
	a, err := foreign.Open(ctx, &blocks{ctx: ctx, vault: s.Vault, key: key, size: info.Size}, info.Size, b.name)
	if err != nil {
		return nil, changed(err, own)
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
	switch {
	case b.image != nil:
		return b.image.Seal().Manifest.SHA256
	case b.foreign != nil:
		return b.foreign.Digest()
	}
	return ""
}

// split reports whether the archive is one in volumes, of which each is signed by itself.
func (b *subject) split() bool { return b.image != nil && b.digest() == "" }

// state tells whether what is opened is what was checked: its digest and, of a file, its size and time.
func (b *subject) state() string {
	state := b.digest()
	if b.path != "" {
		if info, err := os.Stat(b.path); err == nil {
			state += fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
		}
	}
	return state
}

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

func (b *subject) end() {
	b.mutex.Lock()
	b.rewind()
	b.mutex.Unlock()
	b.close()
}
