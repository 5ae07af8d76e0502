package catalog

import (
	"context"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Authentic checks the MAC of a backup's manifest, of which the caller has found digest and entries, where the record names
// one and a holds a key for it. One that is gone, or is of another manifest, is Corrupt. A backup that was made without is
// as good as its signature; so is every one where a is nil.
func (c *Catalog) Authentic(ctx context.Context, a manifest.Authenticator, r Record, digest string, entries int) error {
	if a == nil || r.Manifest.MAC == "" {
		return nil
	}
	key := vault.MAC(r.Source, r.ID)
	if r.Manifest.MAC != string(key) {
		return failure.New(failure.Corrupt, "the record of backup %s names the MAC of another one", r.ID)
	}
	data, _, err := c.vault.Get(ctx, key)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return failure.New(failure.Corrupt, "the MAC of the manifest of backup %s is gone: somebody has removed %s", r.ID, key)
	}
	if err != nil {
		return err
	}
	return manifest.CheckMAC(ctx, a, data, manifest.Sealed{Source: r.Source, Backup: r.ID, SHA256: digest, Entries: entries})
}
