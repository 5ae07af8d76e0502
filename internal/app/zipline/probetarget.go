package zipline

import (
	"context"
	"fmt"
)

// Probe asks whose token it is and which version the target is, as a preflight does, and returns one sentence on what
// answered. It writes nothing to the target.
func (t *Target) Probe(ctx context.Context) (string, error) {
	me, err := t.whoami(ctx)
	if err != nil {
		return "", err
	}
	f := &preflight{Target: t}
	if err := f.look(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("Zipline %s answers the super administrator %s", shorten(f.version), quoteName(me.Username)), nil
}
