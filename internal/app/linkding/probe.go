package linkding

import (
	"context"
	"fmt"
)

// Probe copies and checks the database as a snapshot does, and returns one sentence on what it holds.
func (s *Source) Probe(ctx context.Context) (string, error) {
	if err := s.checkFolder(); err != nil {
		return "", err
	}
	dir, remove, err := temporaryFolder(s.options.TempDir)
	if err != nil {
		return "", err
	}
	defer remove()
	_, _, l, err := s.read(ctx, dir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("linkding's database is whole: %d bookmarks, %d users", l.facts.Counts["bookmarks"], l.facts.Counts["users"]), nil
}
