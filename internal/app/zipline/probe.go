package zipline

import (
	"context"
	"fmt"
)

// Probe asks Zipline for its counts, which takes the very permission that the export takes, and returns one sentence
// on what answered.
func (s *Source) Probe(ctx context.Context) (string, error) {
	counted, err := s.countOnly(ctx)
	if err != nil {
		return "", err
	}
	if counted == nil {
		return "Zipline answers the export's address; it does not count its rows", nil
	}
	return fmt.Sprintf("Zipline answers a super administrator: %d users, %d files", counted["users"], counted["files"]), nil
}
