package catalog

import (
	"cmp"
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
		var keys []vault.Key
		for info, err := range c.vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if keys = append(keys, info.Key); len(keys) == readers {
				if !c.several(ctx, keys, yield) {
					return
				}
				keys = keys[:0]
			}
		}
		c.several(ctx, keys, yield)
	}
}

// several reads some records at the same time and yields them.
func (c *Catalog) several(ctx context.Context, keys []vault.Key, yield func(Record, error) bool) bool {
	var records [readers]Record
	var errs [readers]error
	var wait sync.WaitGroup
	for i, key := range keys {
		wait.Go(func() { records[i], _, errs[i] = c.read(ctx, key) })
	}
	wait.Wait()
	for i, key := range keys {
		if errs[i] != nil && failure.KindOf(errs[i]) == failure.NotFound {
			continue // it was removed since it was listed
		}
		if errs[i] != nil {
			name, _ := strings.CutPrefix(string(key), string(vault.Records("")))
			of, id, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "/")
			records[i] = Record{Source: backup.Source(of), ID: backup.ID(id)}
		}
		if !yield(records[i], errs[i]) {
			return false
		}
	}
	return true
}

// Latest is the word for the backup that Find chooses by itself.
const Latest = "latest"

// Found is the backup that a text names.
type Found struct {
	Record
	// Passed are newer good backups of all objects that "latest" passed over, newest first: they are damaged, or
	// suspicious and nobody has accepted them.
	Passed []Record
}

// NoBackup is the answer that a text names no backup.
type NoBackup struct{ Text string }

func (n NoBackup) Error() string { return fmt.Sprintf("there is no backup %q", n.Text) }

// Find returns the one backup that text names: an id, the beginning of one, "latest", or SOURCE:latest. The latest one
// is the newest good one of all objects that is neither suspicious nor damaged; another only where there is none. With
// the error that the record of a whole id cannot be read comes a record of its Source and ID. Where there is none, the
// error is a NoBackup, of kind NotFound.
func (c *Catalog) Find(ctx context.Context, text string) (Found, error) {
	wanted, source := text, backup.Source("")
	if name, rest, ok := strings.Cut(text, ":"); ok {
		parsed, err := backup.ParseSource(name)
		if err != nil {
			return Found{}, err
		}
		source, wanted = parsed, rest
	}
	if strings.Contains(wanted, ":") {
		return Found{}, failure.New(failure.Usage, "%q names no backup: before the colon stands one source, behind it an id or latest", text).
			WithHint("write %s:latest, or the id of a backup; `lifeboat list` shows the backups there are", source)
	}
	var found, parts []Record
	hint := "`lifeboat list` shows the backups there are"
	for r, err := range c.All(ctx, source) {
		if source == "" && string(r.Source) == text {
			hint = fmt.Sprintf("%s is a source: write %s:%s", text, text, Latest)
		}
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt && string(r.ID) != wanted:
			continue
		case err != nil:
			return Found{Record: r}, err
		case wanted == Latest && r.Status.Good() && (!r.Scope.AllObjects() || r.Suspicious() || r.Damage != ""):
			parts = append(parts, r)
		case wanted == Latest && r.Status.Good(), wanted != "" && strings.HasPrefix(string(r.ID), wanted):
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		found, parts = parts, nil
	}
	slices.SortFunc(found, older)
	switch {
	case len(found) == 0:
		return Found{}, failure.New(failure.NotFound, "%w", NoBackup{text}).WithHint("%s", hint)
	case wanted == Latest, len(found) == 1:
		latest := found[len(found)-1]
		return Found{latest, passed(latest, parts)}, nil
	}
	return Found{}, failure.New(failure.Usage, "%q is the beginning of %d backups", text, len(found)).WithHint("type more of the id")
}

func older(a, b Record) int {
	return cmp.Or(a.Started.Compare(b.Started), strings.Compare(string(a.ID), string(b.ID)))
}

// passed returns those of all objects that are newer than the one that was chosen, newest first.
func passed(chosen Record, others []Record) []Record {
	var over []Record
	for _, r := range others {
		if r.Scope.AllObjects() && r.Source == chosen.Source && older(r, chosen) > 0 {
			over = append(over, r)
		}
	}
	slices.SortFunc(over, func(a, b Record) int { return older(b, a) })
	return over
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
}

// Before reads the records of a source once. Records that cannot be read don't count.
func (c *Catalog) Before(ctx context.Context, source backup.Source, scope backup.Scope, before time.Time) (Before, error) {
	var b Before
	var ended Record
	newest := map[string]Record{}
	for r, err := range c.All(ctx, source) {
		if err != nil && failure.KindOf(err) != failure.Corrupt {
			return b, err
		}
		if err != nil || !r.Started.Before(before) {
			continue
		}
		of := r.Scope.String()
		if (r.Status.Good() || r.Status == backup.Failed) && of == scope.String() && !r.Started.Before(ended.Started) {
			ended = r
		}
		if r.Status.Good() && !r.Suspicious() && !r.Started.Before(newest[of].Started) {
			newest[of] = r
		}
	}
	b.Ended = ended.Status
	if good, ok := newest[scope.String()]; ok {
		b.Good = &good
	}
	b.Each = slices.SortedFunc(maps.Values(newest), func(a, b Record) int { return b.Started.Compare(a.Started) })
	return b, nil
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
