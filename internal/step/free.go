package step

import (
	"context"

	"lifeboat/internal/backup"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// free deletes the packs that a run wrote and that no manifest of its source names: what a failed run packed would
// take space for nobody. The caller makes sure that no other run works on the source. Where a manifest cannot be
// read nothing is known of its packs, and none goes.
func (s *Steps) free(ctx context.Context, source backup.Source, id backup.ID) error {
	written, err := pack.Written(ctx, s.Vault, source, id)
	if err != nil || len(written) == 0 {
		return err
	}
	for r, err := range s.catalog().All(ctx, source) {
		if err != nil {
			return err
		}
		if r.ID == id {
			continue
		}
		if r.Status == backup.Canceled || r.Status == backup.InProgress {
			return nil // it may go on, and name any of them
		}
		if r.Manifest.Key == "" {
			continue
		}
		m, body, err := openManifest(ctx, s.Vault, source, r.ID)
		if err != nil {
			return err
		}
		body.Close()
		for named := range m.Packs {
			delete(written, named)
		}
	}
	for unnamed := range written {
		if err := s.Vault.Delete(ctx, vault.Pack(source, unnamed)); err != nil {
			return err
		}
	}
	return nil
}
