package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Restore is what lifeboat knows of one restore: catalog/restores/<id>.json. A restore that is run again keeps its
// record; Attempt counts.
type Restore struct {
	Format    int              `json:"format"`
	ID        backup.RestoreID `json:"id"`
	Attempt   int              `json:"attempt"` // from 1
	From      Origin           `json:"from"`
	Target    string           `json:"target"`         // the name of a target, dir:PATH, s3://bucket/prefix, or drill
	Kind      string           `json:"kind,omitempty"` // of what is restored: zipline, …; known after the check
	Name      string           `json:"name,omitempty"` // that was reserved
	Only      []string         `json:"only,omitempty"`
	Part      string           `json:"part,omitempty"` // "documents" or "objects" where the other was left out
	Check     string           `json:"check"`          // "full" or "stored"
	Signature string           `json:"signature,omitempty"`
	Signer    string           `json:"signer,omitempty"` // id of the key that signed it, if one did
	DryRun    bool             `json:"dry_run,omitzero"`
	Drill     bool             `json:"drill,omitzero"`
	Status    backup.Status    `json:"status"`
	StartedBy Starter          `json:"started_by"`
	Started   time.Time        `json:"started"` // of this attempt
	Finished  time.Time        `json:"finished,omitzero"`
	Lifeboat  string           `json:"lifeboat"`            // version of the program
	Execution string           `json:"execution,omitempty"` // of the workflow, which made this attempt

	Steps []StepLog `json:"steps,omitempty"` // of this attempt, in the order of their ends

	Forecast     *app.Forecast     `json:"forecast,omitempty"`     // of a replay into an application
	Put          Put               `json:"put,omitzero"`           // what became of the files
	Confirmation *app.Confirmation `json:"confirmation,omitempty"` // what the target was found to hold

	Notes         []app.Finding `json:"notes,omitempty"`    // the first MaxFindings
	Problems      []app.Finding `json:"problems,omitempty"` // the first MaxFindings
	NotesTotal    int           `json:"notes_total,omitzero"`
	ProblemsTotal int           `json:"problems_total,omitzero"`

	Failure  *Failure `json:"failure,omitempty"`
	Notified Notified `json:"notified,omitzero"`
}

// Origin is what a restore replays. One of Backup, File and URL is set.
type Origin struct {
	Source backup.Source `json:"source,omitempty"`
	Backup backup.ID     `json:"backup,omitempty"` // also of a file or URL that turned out to be lifeboat's
	File   string        `json:"file,omitempty"`   // absolute path on the machine of the restore
	URL    string        `json:"url,omitempty"`    // without what follows "?", which is a secret
	Digest string        `json:"digest,omitempty"` // SHA-256 of the manifest, or of the list of entries of a foreign archive; hex
	Bytes  int64         `json:"bytes,omitzero"`   // of a file, or of what a URL gave
}

// Put is what became of the files of a restore.
type Put struct {
	Written      int    `json:"written"`
	Folders      int    `json:"folders,omitzero"` // of Written
	Existing     int    `json:"existing"`         // there already, with the same bytes
	LeftOut      int    `json:"left_out"`
	Bytes        int64  `json:"bytes"` // of Written
	Spliced      int    `json:"spliced,omitzero"`
	SplicedBytes int64  `json:"spliced_bytes,omitzero"`
	Streams      string `json:"streams,omitempty"` // why the store copied no more by itself
}

// StepLog says what a step of a restore did.
type StepLog struct {
	Step    string        `json:"step"`
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took"` // nanoseconds
	Items   int64         `json:"items,omitzero"`
	Bytes   int64         `json:"bytes,omitzero"`
	Message string        `json:"message,omitempty"` // one sentence; why it failed, where it did
	Failed  bool          `json:"failed,omitzero"`
}

// maxSteps is how many steps a record keeps; the cursor loops of a huge restore have more.
const maxSteps = 500

// Log adds what a step did. Calls of one step that follow one another are summed up.
func (r *Restore) Log(s StepLog) {
	if n := len(r.Steps) - 1; n >= 0 && r.Steps[n].Step == s.Step && !r.Steps[n].Failed {
		last := &r.Steps[n]
		last.Took += s.Took
		last.Items, last.Bytes = last.Items+s.Items, last.Bytes+s.Bytes
		last.Message, last.Failed = cmp.Or(s.Message, last.Message), s.Failed
		return
	}
	if len(r.Steps) < maxSteps {
		r.Steps = append(r.Steps, s)
	}
}

// Add keeps a finding.
func (r *Restore) Add(f app.Finding) {
	list, total := &r.Notes, &r.NotesTotal
	if f.Severity == app.Problem {
		list, total = &r.Problems, &r.ProblemsTotal
	}
	if *total++; len(*list) < MaxFindings {
		*list = append(*list, f)
	}
}

// TargetLease names the lease of a target: one restore at a time works on it. No source can have such a name.
func TargetLease(target string) backup.Source {
	key := strings.TrimSuffix(string(vault.Name(target, "")), ".json")
	return backup.Source(targetLease + strings.Split(key, "/")[2])
}

// targetLease begins the name of every lease of a target.
const targetLease = "target."

// OfTarget reports whether a lease of this name is that of a target.
func OfTarget(lease backup.Source) bool { return strings.HasPrefix(string(lease), targetLease) }

// Restore returns the restore that holds a target by the lease. Its Run is the restore's id and who works on it.
func (l Lease) Restore() backup.RestoreID {
	id, _, _ := strings.Cut(string(l.Run), " ")
	return backup.RestoreID(id)
}

// Busy is the answer that another restore works on a target: which, whose, since when and where, as far as its lease and its
// record tell.
func (c *Catalog) Busy(ctx context.Context, target string) error {
	const busy = "another restore works on this target"
	lease, held, err := c.Holder(ctx, TargetLease(target))
	if err != nil || !held { // it has ended meanwhile
		return failure.New(failure.Conflict, busy).WithHint("wait for it: `lifeboat restores` says how far it is")
	}
	id, of := lease.Restore(), ""
	if r, err := c.Restore(ctx, id); err == nil && r.Status == backup.InProgress {
		of = fmt.Sprintf(" of %s since %s", r.StartedBy.Who, r.Started.UTC().Format(time.RFC3339))
		if r.Name != "" {
			of += fmt.Sprintf(", for the name %q", r.Name)
		}
	}
	where, _, _ := strings.Cut(lease.Holder, " "+string(id)) // without the execution
	return failure.New(failure.Conflict, "%s: %s%s (%s)", busy, id, of, where).
		WithHint("wait for it: `lifeboat restores %s` says how far it is; or try again in %.0f minutes if its process was killed on another machine", id, LeaseTime.Minutes())
}

// BeginRestore writes the record of a restore's attempt: a new one, or over that of an earlier attempt, whose notes of
// what it did stay in the vault. It returns the earlier one, or nil.
func (c *Catalog) BeginRestore(ctx context.Context, r Restore) (now Restore, earlier *Restore, err error) {
	r.Format = Format
	for try := 0; ; try++ {
		old, etag, err := c.restore(ctx, vault.Restore(r.ID))
		condition := vault.IfMatch(etag)
		switch kind := failure.KindOf(err); {
		case err != nil && kind == failure.NotFound:
			r.Attempt, earlier, condition = 1, nil, vault.IfAbsent()
		case err != nil && kind == failure.Corrupt: // the attempt does not need it
			r.Attempt, earlier, condition = 1, nil, vault.Always()
		case err != nil:
			return r, nil, err
		default:
			r.Attempt, earlier = old.Attempt+1, &old
		}
		_, err = c.vault.PutJSON(ctx, vault.Restore(r.ID), r, condition)
		if err == nil || failure.KindOf(err) != failure.Conflict || try == tries {
			return r, earlier, err
		}
	}
}

// Restore returns the record of a restore: NotFound, Corrupt, or Invalid for one of a later format.
func (c *Catalog) Restore(ctx context.Context, id backup.RestoreID) (Restore, error) {
	r, _, err := c.restore(ctx, vault.Restore(id))
	return r, err
}

// beginning is the beginning of a restore's id, or all of it.
var beginning = regexp.MustCompile(`^r[0-9a-f]{0,20}$`)

// FindRestore returns the one restore whose id begins with text: NotFound, or Usage where there are several.
func (c *Catalog) FindRestore(ctx context.Context, text string) (Restore, error) {
	if !beginning.MatchString(text) {
		_, err := backup.ParseRestoreID(text)
		return Restore{}, err
	}
	var found []vault.Key
	for info, err := range c.vault.List(ctx, vault.Restores+vault.Key(text)) {
		if err != nil {
			return Restore{}, err
		}
		found = append(found, info.Key)
	}
	switch len(found) {
	case 0:
		return Restore{}, failure.New(failure.NotFound, "there is no restore %s", text).WithHint("`lifeboat restores` lists them")
	case 1:
		r, _, err := c.restore(ctx, found[0])
		return r, err
	}
	return Restore{}, failure.New(failure.Usage, "%q is the beginning of %d restores", text, len(found)).WithHint("type more of the id")
}

func (c *Catalog) restore(ctx context.Context, key vault.Key) (r Restore, etag string, err error) {
	data, etag, err := c.vault.Get(ctx, key)
	if err != nil {
		return r, "", err
	}
	err = versioned(data, &r)
	if err == nil && vault.Restore(r.ID) != key {
		err = failure.New(failure.Corrupt, "it is the record of another restore")
	}
	if err != nil {
		return Restore{}, "", fmt.Errorf("read the record %s: %w", key, err)
	}
	return r, etag, nil
}

// UpdateRestore changes a record from the version that is there, again when somebody else was faster.
func (c *Catalog) UpdateRestore(ctx context.Context, id backup.RestoreID, change func(*Restore) error) (Restore, error) {
	for try := 0; ; try++ {
		r, etag, err := c.restore(ctx, vault.Restore(id))
		if err != nil {
			return r, err
		}
		if err := change(&r); err != nil {
			return r, err
		}
		_, err = c.vault.PutJSON(ctx, vault.Restore(id), r, vault.IfMatch(etag))
		if err == nil || failure.KindOf(err) != failure.Conflict || try == tries {
			return r, err
		}
	}
}

// Restores yields the records of all restores, newest attempt first, one at a time in memory. One that cannot be read is
// yielded as an error, with nothing but its id, and the listing goes on.
func (c *Catalog) Restores(ctx context.Context) iter.Seq2[Restore, error] {
	type found struct {
		key     vault.Key
		started time.Time
	}
	return func(yield func(Restore, error) bool) {
		var all []found
		for info, err := range c.vault.List(ctx, vault.Restores) {
			if err != nil {
				yield(Restore{}, err)
				return
			}
			r, _, _ := c.restore(ctx, info.Key) // what cannot be read comes last
			all = append(all, found{info.Key, r.Started})
		}
		slices.SortFunc(all, func(a, b found) int { return b.started.Compare(a.started) })
		for _, f := range all {
			r, _, err := c.restore(ctx, f.key)
			if err != nil && failure.KindOf(err) == failure.NotFound {
				continue // deleted meanwhile
			}
			if err != nil {
				r.ID = backup.RestoreID(strings.TrimSuffix(strings.TrimPrefix(string(f.key), string(vault.Restores)), ".json"))
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// versioned decodes a record, whose format is read by itself first: in a later one the rest may look different.
func versioned(data []byte, record any) error {
	var version struct {
		Format int `json:"format"`
	}
	err := json.Unmarshal(data, &version)
	if err == nil && version.Format > Format {
		return failure.New(failure.Invalid, "it has format %d, this lifeboat reads up to %d", version.Format, Format).
			WithHint("use a newer lifeboat")
	}
	if err == nil {
		err = json.Unmarshal(data, record)
	}
	if err == nil && version.Format < 1 {
		err = errors.New("it has no format")
	}
	if err != nil {
		return failure.New(failure.Corrupt, "%w", err)
	}
	return nil
}

// Reservation says who holds a name in a target: catalog/names/<target>/<name>.json.
type Reservation struct {
	Format  int              `json:"format"`
	Target  string           `json:"target"`
	Name    string           `json:"name"`
	Restore backup.RestoreID `json:"restore"`
	Who     string           `json:"who"` // started the restore
	At      time.Time        `json:"at"`
	Taken   bool             `json:"taken,omitzero"` // the restore has succeeded: the name is in use
}

// Reserve reserves a name for a restore: Conflict where another restore holds it, with who and since when. One's own
// reservation is success.
func (c *Catalog) Reserve(ctx context.Context, r Reservation) error {
	r.Format = Format
	key := vault.Name(r.Target, r.Name)
	for try := 0; ; try++ {
		_, err := c.vault.PutJSON(ctx, key, r, vault.IfAbsent())
		if err == nil || failure.KindOf(err) != failure.Conflict {
			return err
		}
		held, _, err := c.reservation(ctx, key)
		switch {
		case err != nil && failure.KindOf(err) == failure.NotFound && try < tries: // released meanwhile
			continue
		case err != nil:
			return err
		}
		return held.against(r.Target, r.Name, r.Restore)
	}
}

// Free is Conflict where another restore than id holds a name, as Reserve says it; it reserves nothing.
func (c *Catalog) Free(ctx context.Context, target, name string, id backup.RestoreID) error {
	held, _, err := c.reservation(ctx, vault.Name(target, name))
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		return nil
	case err != nil:
		return err
	}
	return held.against(target, name, id)
}

// against says who holds a name, where it is another restore than id.
func (r Reservation) against(target, name string, id backup.RestoreID) error {
	since := r.At.UTC().Format(time.RFC3339)
	switch {
	case r.Restore == id:
		return nil
	case r.Taken:
		return failure.New(failure.Conflict, "the name %q is in use in %s: restore %s of %s took it at %s", name, target, r.Restore, r.Who, since).
			WithHint("choose another --name; `lifeboat restores %s` shows that restore", r.Restore)
	}
	return failure.New(failure.Conflict, "the name %q in %s is held by restore %s of %s since %s", name, target, r.Restore, r.Who, since).
		WithHint("choose another --name, or wait for that restore: `lifeboat restores %s` says how far it is", r.Restore)
}

// TakeName says that a reserved name is in use.
func (c *Catalog) TakeName(ctx context.Context, target, name string, id backup.RestoreID) error {
	key := vault.Name(target, name)
	held, etag, err := c.reservation(ctx, key)
	if err != nil || held.Restore != id || held.Taken {
		return err
	}
	held.Taken = true
	_, err = c.vault.PutJSON(ctx, key, held, vault.IfMatch(etag))
	return err
}

// ReleaseName gives a name back that a restore has reserved and not taken.
func (c *Catalog) ReleaseName(ctx context.Context, target, name string, id backup.RestoreID) error {
	key := vault.Name(target, name)
	held, etag, err := c.reservation(ctx, key)
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		return nil
	case err != nil:
		return err
	case held.Restore != id || held.Taken:
		return nil
	}
	return c.vault.DeleteMatch(ctx, key, etag)
}

func (c *Catalog) reservation(ctx context.Context, key vault.Key) (r Reservation, etag string, err error) {
	data, etag, err := c.vault.Get(ctx, key)
	if err == nil {
		err = versioned(data, &r)
	}
	if err != nil {
		return r, "", fmt.Errorf("read the reservation %s: %w", key, err)
	}
	return r, etag, nil
}
