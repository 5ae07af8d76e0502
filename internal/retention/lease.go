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
// nobody's id: a run, if it lives, must not take the lease for its own. Conflict where a run holds it. The work gets the
// run that had the lease and died, or "". The lease is renewed for as long as it takes.
func holding(ctx context.Context, v *vault.Vault, source backup.Source, run backup.ID, o Options, work func(ctx context.Context, lost backup.ID) error) error {
	c := catalog.New(v)
	lease := catalog.Lease{Run: run, Holder: o.Holder}
	lost, err := c.Acquire(ctx, source, lease, time.Now(), o.Stale)
	if held, ok := errors.AsType[catalog.Held](err); ok {
		return failure.New(failure.Conflict, "the source %s is at work: %w", source, held).WithHint("wait for the run to end")
	}
	if err != nil {
		return err
	}
	working, stop := c.Keep(ctx, source, lease, time.Now, o.Stale)
	err = work(working, lost)
	stop()
	if err != nil && errors.Is(context.Cause(working), catalog.ErrLeaseLost) {
		err = catalog.ErrLeaseLost
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, c.Release(release, source, run))
}

// closeLost ends the record of a dead run whose lease was taken over: the next run would not learn of it any more.
func closeLost(ctx context.Context, c *catalog.Catalog, source backup.Source, lost, except backup.ID) error {
	if lost == "" || lost == except {
		return nil
	}
	_, err := c.Update(ctx, source, lost, func(r *catalog.Record) error {
		if r.Status == backup.InProgress {
			r.Status, r.Finished = backup.Failed, time.Now().UTC()
			r.Failure = &catalog.Failure{Kind: "lost", Message: "the run ended without a word: its process was killed, or the machine went down"}
		}
		return nil
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return nil // it was a deletion, or had no record yet
	}
	return err
}
