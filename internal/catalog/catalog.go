package catalog

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
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
	err := versioned(data, &r)
	return r, err
}

// Create writes a new record. One that is there already, of the same run, is success.
func (c *Catalog) Create(ctx context.Context, r Record) error {
	_, err := c.Begin(ctx, r)
	return err
}

// Begin is Create, and returns the record that is there.
func (c *Catalog) Begin(ctx context.Context, r Record) (there Record, err error) {
	r.Format = Format
	_, err = c.vault.PutJSON(ctx, vault.Record(r.Source, r.ID), r, vault.IfAbsent())
	if failure.KindOf(err) == failure.Conflict && err != nil {
		old, readErr := c.Record(ctx, r.Source, r.ID)
		if readErr == nil && old.ID == r.ID {
			return old, nil
		}
	}
	return r, err
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

// readers is how many records are read at the same time.
const readers = 16

// All yields the records of a source, or of every source when it is empty, oldest first within a source. A record
// that cannot be read is yielded as an error, with nothing but the source and the id of its key, and the listing goes
// on.
func (c *Catalog) All(ctx context.Context, source backup.Source) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range c.some(ctx, source, all) {
			if !yield(r.Record, err) {
				return
			}
		}
	}
}

func all(backup.Source, backup.ID) bool { return true }

// listed is a record with what its listing says of it.
type listed struct {
	Record
	modified time.Time
}

// some is All of those records that are wanted by their keys; the others are not read.
func (c *Catalog) some(ctx context.Context, source backup.Source, wanted func(backup.Source, backup.ID) bool) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		var infos []vault.Info
		for info, err := range c.vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(listed{}, err)
				return
			}
			if !wanted(keyed(info.Key)) {
				continue
			}
			if infos = append(infos, info); len(infos) == readers {
				if !c.several(ctx, infos, yield) {
					return
				}
				infos = infos[:0]
			}
		}
		c.several(ctx, infos, yield)
	}
}

// several reads some records at the same time and yields them.
func (c *Catalog) several(ctx context.Context, infos []vault.Info, yield func(listed, error) bool) bool {
	var records [readers]Record
	var errs [readers]error
	var wait sync.WaitGroup
	for i, info := range infos {
		wait.Go(func() { records[i], _, errs[i] = c.read(ctx, info.Key) })
	}
	wait.Wait()
	for i, info := range infos {
		if errs[i] != nil && failure.KindOf(errs[i]) == failure.NotFound {
			continue // it was removed since it was listed
		}
		if errs[i] != nil {
			of, id := keyed(info.Key)
			records[i] = Record{Source: of, ID: id}
		}
		if !yield(listed{records[i], info.Modified}, errs[i]) {
			return false
		}
	}
	return true
}

// keyed returns what the key of a record says.
func keyed(key vault.Key) (backup.Source, backup.ID) {
	name, _ := strings.CutPrefix(string(key), string(vault.Records("")))
	source, id, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "/")
	return backup.Source(source), backup.ID(id)
}

// Before is what is known of the runs of a source that began before a given time.
type Before struct {
	// Good is the newest good backup of the scope, or nil. One that found its source suspicious doesn't count until a
	// person has accepted it: what seems to be lost is compared with what was there before. Ids do not tell the order:
	// two runs may begin in one second.
	Good *Record
	// Each holds the newest good backup of every scope, Good among them, the newest first.
	Each []Record
	// Ended is how the newest run of the scope ended, or "".
	Ended backup.Status
	// Unreadable are the backups whose records cannot be read and that may be newer than Good, newest first; where there is
	// no Good, newer than the newest of any scope.
	Unreadable []backup.ID
	// Older are the others of them where there is no Good: one may be of the scope, and nothing is known of the scope's last.
	Older []backup.ID
}

// Before reads the records of a source once. What cannot be read counts as nothing but Unreadable.
func (c *Catalog) Before(ctx context.Context, source backup.Source, scope backup.Scope, before time.Time) (Before, error) {
	var b Before
	var ended Record
	var unreadable []Unreadable
	newest := map[string]Record{}
	for r, err := range c.some(ctx, source, all) {
		switch {
		case err != nil && failure.KindOf(err) != failure.Corrupt:
			return b, err
		case err != nil && r.ID.Time().Before(before):
			unreadable = append(unreadable, Unreadable{r.Source, r.ID, r.modified, err})
			continue
		case err != nil, !r.Started.Before(before):
			continue
		}
		of := r.Scope.String()
		if (r.Status.Good() || r.Status == backup.Failed) && of == scope.String() && !r.Started.Before(ended.Started) {
			ended = r.Record
		}
		if r.Status.Good() && !r.Suspicious() && !r.Started.Before(newest[of].Started) {
			newest[of] = r.Record
		}
	}
	b.Ended = ended.Status
	if good, ok := newest[scope.String()]; ok {
		b.Good = &good
	}
	b.Each = slices.SortedFunc(maps.Values(newest), func(a, b Record) int { return b.Started.Compare(a.Started) })
	b.sort(unreadable)
	return b, nil
}

// sort divides the backups whose records cannot be read into those that matter and the others.
func (b *Before) sort(unreadable []Unreadable) {
	chosen := b.Good
	if chosen == nil && len(b.Each) > 0 {
		chosen = &b.Each[0]
	}
	for _, u := range unknown(nil, unreadable) {
		switch {
		case chosen == nil || u.maybeSince(chosen.Started):
			b.Unreadable = append(b.Unreadable, u.ID)
		case b.Good == nil:
			b.Older = append(b.Older, u.ID)
		}
	}
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
