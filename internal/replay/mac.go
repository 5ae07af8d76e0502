package replay

import (
	"context"

	"lifeboat/internal/catalog"
)

// authentic checks the MAC of a backup's manifest, where the record names one and this process has a key for it. The
// manifest is the one that its seal was held against; volumes have seals of their own, and no MAC is of those.
func (s *Steps) authentic(ctx context.Context, b *subject) error {
	if b.record.ID == "" {
		return nil // a file, or what was fetched
	}
	digest, entries := b.record.Manifest.SHA256, b.record.Manifest.Entries
	if b.image != nil && !b.split() {
		digest, entries = b.image.Seal().Manifest.SHA256, b.image.Seal().Manifest.Entries
	}
	return catalog.New(s.Vault).Authentic(ctx, s.MAC, b.record, digest, entries)
}
