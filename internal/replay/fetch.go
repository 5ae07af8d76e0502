package replay

import (
	"context"
	"fmt"

	"lifeboat/events"
	"lifeboat/internal/fetch"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
)

// fetch brings what a URL names into the vault.
func (s *Steps) fetch(ctx context.Context, r events.Restore, so *events.Fetch) (events.Fetch, done, error) {
	state := fetch.State{}
	if so != nil {
		state = fetch.State(*so)
	}
	s.phase("fetch", 0, 0)
	options, before := s.Fetch, state.Offset
	options.Progress = s.add
	address := r.From.URL
	if _, err := (notes{s.Vault, r.ID}).Get(ctx, noteURL, &address); err != nil {
		return events.Fetch{}, done{}, err
	}
	state, err := fetch.Into(ctx, s.Vault, vault.Incoming(r.ID), address, options, state)
	return events.Fetch(state), done{bytes: state.Offset - before, message: fmt.Sprintf("%s have arrived", plain.Size(state.Offset))}, err
}
