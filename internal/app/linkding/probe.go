package linkding

import (
	"context"
	"fmt"
	"os"
)

// Probe copies and checks the database as a snapshot does, and returns one sentence on what it holds.
func (s *Source) Probe(ctx context.Context) (string, error) {
	if err := s.checkFolder(); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.options.TempDir, "lifeboat-linkding-")
	if err != nil {
		return "", temporary(err)
	}
	defer os.RemoveAll(dir)
	copied, _, err := s.copyDatabase(ctx, dir)
	if err != nil {
		return "", s.refusal(err)
	}
	l, err := inspect(ctx, copied)
	if err != nil {
		return "", s.refusal(err)
	}
	return fmt.Sprintf("linkding's database is whole: %d bookmarks, %d users", l.facts.Counts["bookmarks"], l.facts.Counts["users"]), nil
}
