package replay

import (
	"cmp"
	"context"

	"lifeboat/events"
	"lifeboat/internal/catalog"
)

// nameFree refuses a name that another restore holds or has taken: it knows whose that is, which the place does not.
func (s *Steps) nameFree(ctx context.Context, r events.Restore) error {
	if r.Wishes.Name == "" {
		return nil
	}
	target, err := s.Targets.Name(r.To)
	if err != nil {
		return err
	}
	return s.catalog().Free(ctx, target, r.Wishes.Name, cmp.Or(r.Trial, r.ID))
}

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
