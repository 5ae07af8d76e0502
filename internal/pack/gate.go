package pack

import "context"

// gate bounds how many things of one sort are under way in this process.
type gate chan struct{}

var (
	reads  = make(gate, 64) // of small objects
	copies = make(gate, 64) // by the store
	turn   = make(gate, 1)  // of the parts of packs that are read
)

// pass calls do as soon as there is room.
func (g gate) pass(ctx context.Context, do func() error) error {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g }()
	return do()
}
