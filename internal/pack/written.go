package pack

import (
	"context"
	"strings"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Written returns the packs that the results of a run's batches name, by id: of a run that has not been sealed. Other
// backups may name them too.
func Written(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (map[string]manifest.Pack, error) {
	packs := map[string]manifest.Pack{}
	for info, err := range v.List(ctx, vault.Work(source, id, "")) {
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(info.Key), "/packed/") {
			continue
		}
		var result Result
		if _, err := v.GetJSON(ctx, info.Key, &result); err != nil && failure.KindOf(err) != failure.NotFound {
			return nil, err
		}
		for _, p := range result.Packs {
			packs[p.ID] = p
		}
	}
	return packs, nil
}
