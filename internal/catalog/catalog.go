package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
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
	data, etag, err := c.vault.Get(ctx, key)
	if err != nil {
		return Record{}, "", err
	}
	r, err := parse(data)
	if err == nil && vault.Record(r.Source, r.ID) != key {
		err = failure.New(failure.Corrupt, "it is the record of another backup")
	}
	if err != nil {
		return Record{}, "", fmt.Errorf("read the record %s: %w", key, err)
	}
	return r, etag, nil
}

func parse(data []byte) (Record, error) {
	var r Record
	var version struct {
		Format int `json:"format"` // read by itself: in a later format the rest may look different
	}
	err := json.Unmarshal(data, &version)
	if err == nil && version.Format > Format {
		return r, failure.New(failure.Invalid, "it has format %d, this lifeboat reads up to %d", version.Format, Format).
			WithHint("use a newer lifeboat")
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Format < 1 {
		err = errors.New("it has no format")
	}
	if err != nil {
		return r, failure.New(failure.Corrupt, "%w", err)
	}
	return r, nil
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

// tries is how often a change is tried that others are faster with.
const tries = 20

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
		if err == nil || failure.KindOf(err) != failure.Conflict || try == tries {
			return r, err
		}
	}
}

// Remove deletes the record of a backup whose bytes are gone.
func (c *Catalog) Remove(ctx context.Context, source backup.Source, id backup.ID) error {
	return c.vault.Delete(ctx, vault.Record(source, id))
}

// All yields the records of a source, or of every source when it is empty, oldest first within a source. A record
// that cannot be read is yielded as an error, with nothing but the source and the id of its key, and the listing goes
// on.
func (c *Catalog) All(ctx context.Context, source backup.Source) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for info, err := range c.vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			r, _, err := c.read(ctx, info.Key)
			if err != nil && failure.KindOf(err) == failure.NotFound {
				continue // it was removed since it was listed
			}
			if err != nil {
				name, _ := strings.CutPrefix(string(info.Key), string(vault.Records("")))
				of, id, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "/")
				r = Record{Source: backup.Source(of), ID: backup.ID(id)}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Find returns the one backup that text names: an id, the beginning of one, "latest", or SOURCE:latest. The latest one
// is the newest good one of all objects that is neither suspicious nor damaged; another only where there is none.
func (c *Catalog) Find(ctx context.Context, text string) (Record, error) {
	wanted, source := text, backup.Source("")
	if name, rest, ok := strings.Cut(text, ":"); ok {
		parsed, err := backup.ParseSource(name)
		if err != nil {
			return Record{}, err
		}
		source, wanted = parsed, rest
	}
	var found, parts []Record
	for r, err := range c.All(ctx, source) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt && string(r.ID) != wanted:
			continue
		case err != nil:
			return Record{}, err
		case wanted == "latest" && r.Status.Good() && (!r.Scope.AllObjects() || r.Suspicious() || r.Damage != ""):
			parts = append(parts, r)
		case wanted == "latest" && r.Status.Good(), wanted != "" && strings.HasPrefix(string(r.ID), wanted):
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		found = parts
	}
	slices.SortFunc(found, func(a, b Record) int {
		return cmp.Or(a.Started.Compare(b.Started), strings.Compare(string(a.ID), string(b.ID)))
	})
	switch {
	case len(found) == 0:
		return Record{}, failure.New(failure.NotFound, "there is no backup %q", text).WithHint("`lifeboat list` shows the backups there are")
	case wanted == "latest", len(found) == 1:
		return found[len(found)-1], nil
	}
	return Record{}, failure.New(failure.Usage, "%q is the beginning of %d backups", text, len(found)).WithHint("type more of the id")
}

// LastGood returns the newest good backup of a source and scope that began before the given time, or nil. One that
// found its source suspicious doesn't count until a person has accepted it: what seems to be lost is compared with
// what was there before. Ids do not tell the order: two runs may begin in one second.
func (c *Catalog) LastGood(ctx context.Context, source backup.Source, scope backup.Scope, before time.Time) (*Record, error) {
	return c.last(ctx, source, before, func(r Record) bool {
		return r.Status.Good() && !r.Suspicious() && r.Scope.String() == scope.String()
	})
}

// LastOfEach is LastGood for every scope, oldest first, at most the newest few.
func (c *Catalog) LastOfEach(ctx context.Context, source backup.Source, before time.Time, most int) ([]Record, error) {
	newest := map[string]Record{}
	_, err := c.last(ctx, source, before, func(r Record) bool {
		scope := r.Scope.String()
		if r.Status.Good() && !r.Suspicious() && r.Started.Before(before) && r.Started.After(newest[scope].Started) {
			newest[scope] = r
		}
		return false
	})
	list := slices.SortedFunc(maps.Values(newest), func(a, b Record) int { return a.Started.Compare(b.Started) })
	return list[max(0, len(list)-most):], err
}

// LastEnd returns how the newest run of a source and scope ended that began before the given time, or "".
func (c *Catalog) LastEnd(ctx context.Context, source backup.Source, scope backup.Scope, before time.Time) (backup.Status, error) {
	last, err := c.last(ctx, source, before, func(r Record) bool {
		return (r.Status.Good() || r.Status == backup.Failed) && r.Scope.String() == scope.String()
	})
	if last == nil {
		return "", err
	}
	return last.Status, err
}

func (c *Catalog) last(ctx context.Context, source backup.Source, before time.Time, counts func(Record) bool) (*Record, error) {
	var last *Record
	for r, err := range c.All(ctx, source) {
		if err != nil {
			if failure.KindOf(err) == failure.Corrupt {
				continue
			}
			return nil, err
		}
		if !counts(r) || !r.Started.Before(before) {
			continue
		}
		if last == nil || r.Started.After(last.Started) {
			last = &r
		}
	}
	return last, nil
}

// Suspicious reports whether the run found much less than the one before, or nothing, and nobody has accepted that.
func (r *Record) Suspicious() bool {
	return !r.Accepted && slices.ContainsFunc(r.Problems, func(f app.Finding) bool { return f.Kind == "suspicious" })
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
