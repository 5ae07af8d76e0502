package retention

import (
	"context"
	"errors"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// holding does work under the lease of a source, so that no run can begin to reuse a pack that is about to go. run is
// nobody's id: a run, if it lives, must not take the lease for its own. Conflict where a run holds it. The lease is
// renewed for as long as the work takes.
func holding(ctx context.Context, v *vault.Vault, source backup.Source, run backup.ID, o Options, work func(ctx context.Context) error) error {
	c := catalog.New(v)
	lease := catalog.Lease{Run: run, Holder: o.Holder}
	_, err := c.Acquire(ctx, source, lease, time.Now(), o.Stale)
	if held, ok := errors.AsType[catalog.Held](err); ok {
		return failure.New(failure.Conflict, "the source %s is at work: %w", source, held).WithHint("wait for the run to end")
	}
	if err != nil {
		return err
	}
	working, stop := c.Keep(ctx, source, lease, time.Now)
	err = work(working)
	stop()
	if err != nil && errors.Is(context.Cause(working), catalog.ErrLeaseLost) {
		err = catalog.ErrLeaseLost
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, c.Release(release, source, run))
}
