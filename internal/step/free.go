package step

import (
	"context"
	"strings"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// free deletes the packs that a run wrote and that no manifest of its source names: what a failed run packed would
// take space for nobody. The caller makes sure that no other run works on the source. Where a manifest cannot be
// read nothing is known of its packs, and none goes.
func (s *Steps) free(ctx context.Context, source backup.Source, id backup.ID) error {
	written, err := s.written(ctx, source, id)
	if err != nil || len(written) == 0 {
		return err
	}
	for r, err := range s.catalog().All(ctx, source) {
		if err != nil {
			return err
		}
		if r.ID == id || r.Manifest.Key == "" {
			continue
		}
		m, body, err := openManifest(ctx, s.Vault, source, r.ID)
		if err != nil {
			return err
		}
		body.Close()
		for pack := range m.Packs {
			delete(written, pack)
		}
	}
	for pack := range written {
		if err := s.Vault.Delete(ctx, vault.Pack(source, pack)); err != nil {
			return err
		}
	}
	return nil
}

// written returns the packs that the results of a run's batches name.
func (s *Steps) written(ctx context.Context, source backup.Source, id backup.ID) (map[string]manifest.Pack, error) {
	packs := map[string]manifest.Pack{}
	for info, err := range s.Vault.List(ctx, vault.Work(source, id, "")) {
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(info.Key), "/packed/") {
			continue
		}
		var result pack.Result
		if _, err := s.Vault.GetJSON(ctx, info.Key, &result); err != nil && failure.KindOf(err) != failure.NotFound {
			return nil, err
		}
		for _, p := range result.Packs {
			packs[p.ID] = p
		}
	}
	return packs, nil
}
