package catalog

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Catalog reads and writes records. It is safe for concurrent use.
type Catalog struct {
	vault *vault.Vault
}

// New returns the catalog of a vault.
func New(v *vault.Vault) *Catalog { return &Catalog{v} }

// Record returns the record of a backup: NotFound, Corrupt, or Invalid for one of a later format.
func (c *Catalog) Record(ctx context.Context, source backup.Source, id backup.ID) (Record, error) {
	r, _, err := c.read(ctx, vault.Record(source, id))
	return r, err
}

func (c *Catalog) read(ctx context.Context, key vault.Key) (Record, string, error) {
	var r Record
	etag, err := c.vault.GetJSON(ctx, key, &r)
	if err != nil {
		return r, "", err
	}
	if r.Format > Format {
		return r, "", failure.New(failure.Invalid, "the record %s has format %d, this lifeboat reads up to %d", key, r.Format, Format).
			WithHint("use a newer lifeboat")
	}
	return r, etag, nil
}

// Create writes a new record. One that is there already, of the same run, is success.
func (c *Catalog) Create(ctx context.Context, r Record) error {
	r.Format = Format
	_, err := c.vault.PutJSON(ctx, vault.Record(r.Source, r.ID), r, vault.IfAbsent())
	if failure.KindOf(err) == failure.Conflict && err != nil {
		old, readErr := c.Record(ctx, r.Source, r.ID)
		if readErr == nil && old.ID == r.ID {
			return nil
		}
	}
	return err
}

// Update changes a record from the version that is there, again when somebody else was faster.
func (c *Catalog) Update(ctx context.Context, source backup.Source, id backup.ID, change func(*Record) error) (Record, error) {
	for try := 0; ; try++ {
		r, etag, err := c.read(ctx, vault.Record(source, id))
		if err != nil {
			return r, err
		}
		if err := change(&r); err != nil {
			return r, err
		}
		_, err = c.vault.PutJSON(ctx, vault.Record(source, id), r, vault.IfMatch(etag))
		if err == nil || failure.KindOf(err) != failure.Conflict || try == 5 {
			return r, err
		}
	}
}

// Remove deletes the record of a backup whose bytes are gone.
func (c *Catalog) Remove(ctx context.Context, source backup.Source, id backup.ID) error {
	return c.vault.Delete(ctx, vault.Record(source, id))
}

// All yields the records of a source, or of every source when it is empty, oldest first within a source. A record
// that cannot be read is yielded as an error, and the listing goes on.
func (c *Catalog) All(ctx context.Context, source backup.Source) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for info, err := range c.vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			r, _, err := c.read(ctx, info.Key)
			if !yield(r, err) {
				return
			}
		}
	}
}

// Find returns the one backup that text names: an id, the beginning of one, "latest", or SOURCE:latest.
func (c *Catalog) Find(ctx context.Context, text string) (Record, error) {
	wanted, source := text, backup.Source("")
	if name, rest, ok := strings.Cut(text, ":"); ok {
		parsed, err := backup.ParseSource(name)
		if err != nil {
			return Record{}, err
		}
		source, wanted = parsed, rest
	}
	var found []Record
	for r, err := range c.All(ctx, source) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt:
			continue
		case err != nil:
			return Record{}, err
		case wanted == "latest" && r.Status.Good(), wanted != "" && strings.HasPrefix(string(r.ID), wanted):
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b Record) int { return a.Started.Compare(b.Started) })
	switch {
	case len(found) == 0:
		return Record{}, failure.New(failure.NotFound, "there is no backup %q", text).WithHint("`lifeboat list` shows the backups there are")
	case wanted == "latest", len(found) == 1:
		return found[len(found)-1], nil
	}
	return Record{}, failure.New(failure.Usage, "%q is the beginning of %d backups", text, len(found)).WithHint("type more of the id")
}

// LastGood returns the newest good backup of a source and scope that began before the given time, or nil. Ids do not
// tell: two runs may begin in one second.
func (c *Catalog) LastGood(ctx context.Context, source backup.Source, scope backup.Scope, before time.Time) (*Record, error) {
	var last *Record
	for r, err := range c.All(ctx, source) {
		if err != nil {
			if failure.KindOf(err) == failure.Corrupt {
				continue
			}
			return nil, err
		}
		if !r.Status.Good() || r.Scope.String() != scope.String() || !r.Started.Before(before) {
			continue
		}
		if last == nil || r.Started.After(last.Started) {
			last = &r
		}
	}
	return last, nil
}

// Add notes a finding, keeping the first MaxFindings of each severity.
func (r *Record) Add(f app.Finding) {
	list, total := &r.Notes, &r.NotesTotal
	if f.Severity == app.Problem {
		list, total = &r.Problems, &r.ProblemsTotal
	}
	*total++
	if len(*list) < MaxFindings {
		*list = append(*list, f)
	}
}

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

// Acquire takes or renews the lease of a source for a run; steps of one run may do so at the same time. When another
// run holds it the error is a Held; a lease that has expired, and one that stale says is dead, is taken over, and
// the run that held it is returned.
func (c *Catalog) Acquire(ctx context.Context, source backup.Source, lease Lease, now time.Time, stale func(Lease) bool) (lost backup.ID, err error) {
	lease.Expires = now.Add(LeaseTime).UTC()
	for try := 0; ; try++ {
		lost, err = c.acquire(ctx, source, lease, now, stale)
		if err == nil || failure.KindOf(err) != failure.Conflict || try == 5 {
			return lost, err
		}
	}
}

func (c *Catalog) acquire(ctx context.Context, source backup.Source, lease Lease, now time.Time, stale func(Lease) bool) (backup.ID, error) {
	var old Lease
	etag, err := c.vault.GetJSON(ctx, vault.Lease(source), &old)
	switch kind := failure.KindOf(err); {
	case err != nil && kind == failure.NotFound:
		_, err = c.vault.PutJSON(ctx, vault.Lease(source), lease, vault.IfAbsent())
		return "", err
	case err != nil && kind != failure.Corrupt:
		return "", err
	case old.Run == lease.Run && old.Holder == lease.Holder && old.Expires.Sub(now) > LeaseTime*3/4:
		return "", nil
	case old.Run != lease.Run && now.Before(old.Expires) && !stale(old):
		return "", Held{old}
	}
	_, err = c.vault.PutJSON(ctx, vault.Lease(source), lease, vault.IfMatch(etag))
	if old.Run == lease.Run {
		return "", err
	}
	return old.Run, err
}

// Release gives the lease back, if the run still holds it.
func (c *Catalog) Release(ctx context.Context, source backup.Source, run backup.ID) error {
	var old Lease
	if _, err := c.vault.GetJSON(ctx, vault.Lease(source), &old); err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return nil
		}
		return err
	}
	if old.Run != run {
		return nil
	}
	return c.vault.Delete(ctx, vault.Lease(source))
}
