package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// Latest is the word for the backup that Find chooses by itself.
const Latest = "latest"

// Found is the backup that a text names.
type Found struct {
	Record
	// Passed are newer good backups of all objects that "latest" passed over, newest first: they are damaged, or
	// suspicious and nobody has accepted them.
	Passed []Record
	// Unreadable are the backups whose records cannot be read and which "latest" might have meant, newest first: those that
	// are newer, and older ones too where nothing but a second best is left.
	Unreadable []Unreadable
}

// Unreadable is a backup of which its key is all that is known.
type Unreadable struct {
	Source   backup.Source
	ID       backup.ID
	Modified time.Time // when its record was written last, by the store's clock; zero where nobody knows
	Err      error     // why, of kind Corrupt
}

// maxLate is how much later than its id says a backup begins: the id of a scheduled one bears the time for which it was
// scheduled, and a schedule's window is a day at most.
const maxLate = 24 * time.Hour

// maybeSince reports whether a backup may have begun at a time or later: its id says so, or it bears the time of a schedule
// and its record was written since. Ids and stores tell the time to the second.
func (u Unreadable) maybeSince(at time.Time) bool {
	scheduled, second := u.ID.Time(), at.Truncate(time.Second)
	written := u.Modified.IsZero() || !u.Modified.Before(second)
	return !scheduled.Before(second) || written && scheduled.Add(maxLate).After(at)
}

// Stray reports whether what lies among the records bears the name of no backup, as a file that somebody copied there: no
// run wrote it, and it stands for none.
func Stray(id backup.ID) bool {
	_, err := backup.ParseID(string(id))
	return err != nil
}

// Over is a backup that "latest" did not choose, and why.
type Over struct {
	Backup backup.ID `json:"backup"`
	Why    string    `json:"why"`
}

// whyUnreadable is why a backup was not chosen of which nobody knows what it is.
const whyUnreadable = "its record cannot be read"

// Unreadable reports whether nobody knows what the backup is: it may be the one that was meant.
func (o Over) Unreadable() bool { return o.Why == whyUnreadable }

// maxOver is how many of them are worth naming.
const maxOver = 10

// Over returns the backups that "latest" passed over, those whose records cannot be read first: at most 10.
func (f Found) Over() []Over {
	var all []Over
	for _, u := range f.Unreadable {
		all = append(all, Over{u.ID, whyUnreadable})
	}
	for _, r := range f.Passed {
		why := "it is suspicious"
		if r.Damage != "" {
			why = "it is damaged"
		}
		all = append(all, Over{r.ID, why})
	}
	return all[:min(len(all), maxOver)]
}

// NoBackup is the answer that a text names no backup.
type NoBackup struct{ Text string }

func (n NoBackup) Error() string { return fmt.Sprintf("there is no backup %q", n.Text) }

// Find returns the one backup that text names: an id, the beginning of one, "latest", or SOURCE:latest. The latest one
// is the newest good one of all objects that is neither suspicious nor damaged; another only where there is none. With
// the error that the record of a whole id cannot be read comes a record of its Source and ID. Where there is none, the
// error is a NoBackup, of kind NotFound; where nothing but records that cannot be read is left, it is Corrupt.
func (c *Catalog) Find(ctx context.Context, text string) (Found, error) {
	source, wanted, err := parts(text)
	if err != nil {
		return Found{}, err
	}
	if wanted == Latest {
		return c.latest(ctx, source, text)
	}
	return c.byID(ctx, source, wanted, text)
}

// parts divides a text into a source, which may be empty, and what it names of it.
func parts(text string) (source backup.Source, wanted string, err error) {
	name, wanted, ok := strings.Cut(text, ":")
	if !ok {
		return "", text, nil
	}
	if source, err = backup.ParseSource(name); err != nil {
		return "", "", err
	}
	if strings.Contains(wanted, ":") {
		return "", "", failure.New(failure.Usage, "%q names no backup: before the colon stands one source, behind it an id or latest", text).
			WithHint("write %s:latest, or the id of a backup; `lifeboat list` shows the backups there are", source)
	}
	return source, wanted, nil
}

// byID returns the backup of an id, or of the beginning of one. Only records that it may be are read.
func (c *Catalog) byID(ctx context.Context, source backup.Source, wanted, text string) (Found, error) {
	hint := "`lifeboat list` shows the backups there are"
	var found []Record
	var broken error
	for r, err := range c.some(ctx, source, func(of backup.Source, id backup.ID) bool {
		if source == "" && string(of) == text {
			hint = fmt.Sprintf("%s is a source: write %s:%s", text, text, Latest)
		}
		return wanted != "" && strings.HasPrefix(string(id), wanted)
	}) {
		switch {
		case err != nil && (failure.KindOf(err) != failure.Corrupt || string(r.ID) == wanted):
			return Found{Record: r.Record}, err
		case err != nil:
			broken = err
		}
		found = append(found, r.Record)
	}
	switch {
	case len(found) == 0:
		return Found{}, failure.New(failure.NotFound, "%w", NoBackup{text}).WithHint("%s", hint)
	case len(found) > 1:
		return Found{}, failure.New(failure.Usage, "%q is the beginning of %d backups", text, len(found)).WithHint("type more of the id")
	case broken != nil:
		return Found{}, broken
	}
	return Found{Record: found[0]}, nil
}

// latest returns the newest backup that may be counted on.
func (c *Catalog) latest(ctx context.Context, source backup.Source, text string) (Found, error) {
	var found, second []Record
	var unread []Unreadable
	for r, err := range c.some(ctx, source, all) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt:
			unread = append(unread, Unreadable{r.Source, r.ID, r.modified, err})
		case err != nil:
			return Found{Record: r.Record}, err
		case !r.Status.Good():
		case !r.Scope.AllObjects() || r.Suspicious() || r.Damage != "":
			second = append(second, r.Record)
		default:
			found = append(found, r.Record)
		}
	}
	switch {
	case len(found) > 0:
		chosen := slices.MaxFunc(found, older)
		return Found{chosen, passed(chosen, second), unknown(&chosen, unread)}, nil
	case len(second) > 0:
		chosen := slices.MaxFunc(second, older)
		return Found{chosen, nil, unknown(nil, unread)}, nil
	}
	if unread = unknown(nil, unread); len(unread) > 0 {
		u := unread[0]
		return Found{}, failure.New(failure.Corrupt, "no backup is left for %q to choose: %w", text, u.Err).
			WithHint("bring the record back from a copy of the vault; the archive in it, archives/%s/%s.zip, needs no record: `lifeboat restore FILE.zip` takes it", u.Source, u.ID)
	}
	return Found{}, failure.New(failure.NotFound, "%w", NoBackup{text}).WithHint("`lifeboat list` shows the backups there are")
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

// unknown returns those that may be newer than the one that was chosen, newest first; all of them where none was, or a
// second best. What bears the name of no backup is none.
func unknown(chosen *Record, all []Unreadable) []Unreadable {
	var left []Unreadable
	for _, u := range all {
		if !Stray(u.ID) && (chosen == nil || u.maybeSince(chosen.Started)) {
			left = append(left, u)
		}
	}
	slices.SortFunc(left, func(a, b Unreadable) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return left
}
