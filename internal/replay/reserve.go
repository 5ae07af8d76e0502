package replay

import (
	"context"

	"lifeboat/events"
	"lifeboat/internal/catalog"
)

// reserve takes the name that the restored thing gets, where one was asked for.
func (s *Steps) reserve(ctx context.Context, r events.Restore) error {
	if r.Wishes.Name == "" {
		return nil
	}
	target, err := s.Targets.Name(r.To)
	if err != nil {
		return err
	}
	return s.catalog().Reserve(ctx, catalog.Reservation{
		Target: target, Name: r.Wishes.Name, Restore: r.ID, Who: r.StartedBy.Who, At: s.Now().UTC(),
	})
}
