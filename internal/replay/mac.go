package replay

import (
	"context"
	"iter"
	"reflect"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/verify"
)

// recorded refuses what is not of the manifest that the record of a backup names, or of one whose MAC is wrong, wherever
// its bytes lie: a signature alone says only that somebody with the key made some backup. packs is the same backup as it
// is read from its packs, where these were sealed by that manifest; nil where they can't be read.
func (s *Steps) recorded(ctx context.Context, b, packs *subject) error {
	if b.record.ID == "" {
		return nil // a file, or what was fetched
	}
	if err := b.isOf(ctx, packs); err != nil {
		return err
	}
	return s.authentic(ctx, b)
}

// isOf refuses the manifest of another backup, or another one of the same.
func (b *subject) isOf(ctx context.Context, packs *subject) error {
	if b.id != b.record.ID || b.about.Source != b.record.Source {
		return failure.New(failure.Corrupt, "in the place of backup %s lies %s of %s", b.record.ID, b.id, b.about.Source)
	}
	got, err := b.listed(ctx)
	if err != nil || got == b.record.Manifest.SHA256 {
		return err
	}
	if b.split() && packs != nil {
		return b.sameList(ctx, packs)
	}
	return failure.New(failure.Corrupt, "the record of backup %s names a manifest with the SHA-256 %s, the vault has %s", b.record.ID, b.record.Manifest.SHA256, got)
}

// listed returns the SHA-256 of the list of all entries. That of volumes is put together of theirs: it is the backup's own,
// but where it names the packs in another order.
func (b *subject) listed(ctx context.Context) (string, error) {
	if !b.split() {
		return b.digest(), nil
	}
	m, body, err := b.image.Manifest(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if err := m.Skip(); err != nil {
		return "", err
	}
	return m.Digest(), nil
}

// sameList holds the entries of volumes against those of the packs.
func (b *subject) sameList(ctx context.Context, packs *subject) error {
	other := failure.New(failure.Corrupt, "the volumes of backup %s do not list what its manifest lists", b.record.ID)
	next, stop := iter.Pull2(verify.Entries(ctx, packs.image))
	defer stop()
	for got, err := range verify.Entries(ctx, b.image) {
		if err != nil {
			return err
		}
		want, err, more := next()
		if err != nil {
			return err
		}
		if !more || !reflect.DeepEqual(got, want) {
			return other
		}
	}
	if _, err, more := next(); err != nil || more {
		if err != nil {
			return err
		}
		return other
	}
	return nil
}

// authentic checks the MAC of a backup's manifest, where the record names one and this process has a key for it. The
// manifest is the one that its seal was held against; volumes have seals of their own, and are held against the record.
func (s *Steps) authentic(ctx context.Context, b *subject) error {
	digest, entries := b.record.Manifest.SHA256, b.record.Manifest.Entries
	if b.image != nil && !b.split() {
		digest, entries = b.image.Seal().Manifest.SHA256, b.image.Seal().Manifest.Entries
	}
	return catalog.New(s.Vault).Authentic(ctx, s.MAC, b.record, digest, entries)
}
