package step

import (
	"context"

	"lifeboat/internal/backup"
	"lifeboat/internal/retention"
)

// free deletes the packs that a run wrote and that no manifest of its source names. The caller makes sure that no other
// run works on the source.
func (s *Steps) free(ctx context.Context, source backup.Source, id backup.ID) error {
	return retention.Free(ctx, s.Vault, source, id, s.Now())
}
