package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Lease is the right of one run to work on a source.
type Lease struct {
	Run     backup.ID `json:"run"`
	Holder  string    `json:"holder"` // host and process, for people
	Expires time.Time `json:"expires"`
}

// LeaseTime is how long a lease lasts without being renewed.
const LeaseTime = 20 * time.Minute

// Held is the answer that another run holds the source.
type Held struct{ Lease Lease }

func (h Held) Error() string {
	return fmt.Sprintf("backup %s works on it (%s)", h.Lease.Run, h.Lease.Holder)
}

// ErrLeaseLost is why the context of Keep ends when the run has the lease no more.
var ErrLeaseLost = failure.New(failure.Conflict, "another run has taken the source over")

// Acquire takes or renews the lease of a source for a run; steps of one run may do so at the same time. When another
// run holds it the error is a Held; a lease that has expired, and one that stale says is dead, is taken over, and
// the run that held it is returned.
func (c *Catalog) Acquire(ctx context.Context, source backup.Source, lease Lease, now time.Time, stale func(Lease) bool) (lost backup.ID, err error) {
	lease.Expires = now.Add(LeaseTime).UTC()
	for try := 0; ; try++ {
		holder, err := c.acquire(ctx, source, lease, now, stale)
		if holder != lease.Run {
			lost = holder // also where the answer of the write that took it over was lost
		}
		if err == nil {
			return lost, nil
		}
		if _, held := errors.AsType[Held](err); held || failure.KindOf(err) != failure.Conflict || try == tries {
			return "", err
		}
	}
}

// acquire tries once. It returns the run that the lease was found with.
func (c *Catalog) acquire(ctx context.Context, source backup.Source, lease Lease, now time.Time, stale func(Lease) bool) (holder backup.ID, err error) {
	var old Lease
	etag, err := c.vault.GetJSON(ctx, vault.Lease(source), &old)
	switch kind := failure.KindOf(err); {
	case err != nil && kind == failure.NotFound:
		_, err = c.vault.PutJSON(ctx, vault.Lease(source), lease, vault.IfAbsent())
		return "", err
	case err != nil && kind != failure.Corrupt:
		return "", err
	case err != nil:
		old = Lease{} // a damaged lease is nobody's
	case old.Run == lease.Run && old.Holder == lease.Holder && old.Expires.Sub(now) > LeaseTime*3/4:
		return old.Run, nil
	case old.Run != lease.Run && now.Before(old.Expires) && (stale == nil || !stale(old)):
		return "", failure.New(failure.Conflict, "%w", Held{old})
	}
	_, err = c.vault.PutJSON(ctx, vault.Lease(source), lease, vault.IfMatch(etag))
	return old.Run, err
}

// lookEvery is how often Keep looks at the lease: what somebody has closed from outside is not to work on for long.
const lookEvery = LeaseTime / 20

// Keep renews a lease that was acquired until stop is called, four times in a LeaseTime. working ends with the cause
// ErrLeaseLost when another run holds the source, or nobody does: whoever closed the run has given the lease back, and it
// is not taken again. A store that cannot be asked is asked again the next time. stop waits for a renewal that is under
// way, so that none comes after Release; it leaves the lease as it is.
func (c *Catalog) Keep(ctx context.Context, source backup.Source, lease Lease, now func() time.Time) (working context.Context, stop func()) {
	working, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-working.Done():
				return
			case <-ticker.C:
			}
			if err := c.Renew(working, source, lease, now()); errors.Is(err, ErrLeaseLost) {
				cancel(ErrLeaseLost)
			}
		}
	}()
	return working, func() {
		cancel(nil)
		<-done
	}
}

// Renew renews a lease that the run holds, if a fourth of its time is over: ErrLeaseLost where it does not hold it.
func (c *Catalog) Renew(ctx context.Context, source backup.Source, lease Lease, now time.Time) error {
	lease.Expires = now.Add(LeaseTime).UTC()
	for try := 0; ; try++ {
		var old Lease
		etag, err := c.vault.GetJSON(ctx, vault.Lease(source), &old)
		switch kind := failure.KindOf(err); {
		case err != nil && kind == failure.NotFound:
			return ErrLeaseLost
		case err != nil && kind != failure.Corrupt: // a damaged one is nobody else's
			return err
		case err == nil && old.Run != lease.Run:
			return ErrLeaseLost
		case err == nil && old.Holder == lease.Holder && old.Expires.Sub(now) > LeaseTime*3/4:
			return nil
		}
		_, err = c.vault.PutJSON(ctx, vault.Lease(source), lease, vault.IfMatch(etag))
		if err == nil || failure.KindOf(err) != failure.Conflict && failure.KindOf(err) != failure.NotFound || try == tries {
			return err
		}
	}
}

// Holds reports whether a run holds the lease of a source, expired or not.
func (c *Catalog) Holds(ctx context.Context, source backup.Source, run backup.ID) (bool, error) {
	lease, there, err := c.Holder(ctx, source)
	return there && lease.Run == run, err
}

// Release gives the lease back, if the run still holds it.
func (c *Catalog) Release(ctx context.Context, source backup.Source, run backup.ID) error {
	for try := 0; ; try++ {
		var old Lease
		etag, err := c.vault.GetJSON(ctx, vault.Lease(source), &old)
		if err == nil && old.Run == run {
			err = c.vault.DeleteMatch(ctx, vault.Lease(source), etag) // another run may take it over meanwhile
		}
		switch {
		case err == nil, failure.KindOf(err) == failure.NotFound:
			return nil
		case failure.KindOf(err) != failure.Conflict || try == tries:
			return err
		}
	}
}

// Holder returns the lease of a source, if there is one.
func (c *Catalog) Holder(ctx context.Context, source backup.Source) (Lease, bool, error) {
	var l Lease
	_, err := c.vault.GetJSON(ctx, vault.Lease(source), &l)
	if err == nil || failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Corrupt {
		return l, err == nil, nil
	}
	return l, false, err
}
