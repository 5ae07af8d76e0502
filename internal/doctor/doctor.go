// Package doctor looks whether a backup would work, before one runs: every source is reached with the permission
// that a backup needs, every datasource is listed and read, every target is asked whether it would take a restore, the
// vault is written, read and deleted, the mail server is greeted. Each finding says what to do next. It writes nothing
// but objects of the vault below probe/, and a file in the folders of targets, which it removes.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Level is how bad a finding is.
type Level string

// The levels, best first.
const (
	OK      Level = "ok"
	Warning Level = "warning" // works, but deserves a look
	Trouble Level = "trouble" // a backup or a restore would fail or be incomplete
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string       `json:"check"`   // what was looked at: "config", "source", "datasource", "target", "vault", "key", "records", "store", "mail", "clock", "leftovers"
	Subject string       `json:"subject"` // which one
	Level   Level        `json:"level"`
	Message string       `json:"message"`
	Hint    string       `json:"hint"`
	Kind    failure.Kind `json:"-"` // of trouble; says the exit code
}

// Source is one source as the doctor sees it. A nil function is a check that does not apply.
type Source struct {
	Name       backup.Source
	Probe      func(ctx context.Context) (string, error) // asks the application with the backup's permission
	Datasource datasource.Datasource
	Err        error // why it could not even be opened; Datasource is looked at all the same
}

// Target is one target as the doctor sees it. A nil function is a check that does not apply.
type Target struct {
	Name  string
	Probe func(ctx context.Context) (string, error) // asks the application with the restore's permission
	// Place looks where files go. A hint without an error is a warning.
	Place func(ctx context.Context) (message, hint string, err error)
	Err   error // why the application could not even be asked; Place is looked at all the same
}

// Patient is what is to be looked at.
type Patient struct {
	Sources  []Source
	Targets  []Target
	Vault    *vault.Vault
	VaultErr error                  // why it could not be opened
	Signer   func() (string, error) // finds the vault's signing key, without which no backup can be made
	Stale    func(catalog.Lease) bool
	Greet    func(ctx context.Context) error // the mail server; nil: mails are written to a folder
	Now      func() time.Time
	Store    bool // probe the vault's store too
}

// checkTime bounds one check.
const checkTime = time.Minute

// Examine runs every check and hands each finding to report as soon as it is known.
func Examine(ctx context.Context, p Patient, report func(Finding)) {
	for _, s := range p.Sources {
		examineSource(ctx, s, report)
	}
	for _, t := range p.Targets {
		examineTarget(ctx, t, report)
	}
	if p.VaultErr != nil {
		report(trouble("vault", "", p.VaultErr))
	} else {
		examineVault(ctx, p, report)
	}
	if p.Greet != nil {
		report(checked(ctx, "mail", "", func(ctx context.Context) (string, error) {
			return "the mail server answers and takes the credentials", p.Greet(ctx)
		}))
	}
}

// checked runs one check within its time.
func checked(ctx context.Context, check, subject string, look func(context.Context) (string, error)) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	message, err := look(ctx)
	if err != nil {
		return trouble(check, subject, err)
	}
	return Finding{Check: check, Subject: subject, Level: OK, Message: message}
}

func trouble(check, subject string, err error) Finding {
	return Finding{Check: check, Subject: subject, Level: Trouble, Message: err.Error(), Hint: failure.HintOf(err), Kind: failure.KindOf(err)}
}

func examineSource(ctx context.Context, s Source, report func(Finding)) {
	name := string(s.Name)
	switch {
	case s.Err != nil:
		report(trouble("source", name, s.Err))
	case s.Probe != nil:
		report(checked(ctx, "source", name, s.Probe))
	}
	if s.Datasource != nil {
		report(checkDatasource(ctx, name, s.Datasource))
	}
}

func examineTarget(ctx context.Context, t Target, report func(Finding)) {
	switch {
	case t.Err != nil:
		report(trouble("target", t.Name, t.Err))
	case t.Probe != nil:
		report(checked(ctx, "target", t.Name, t.Probe))
	}
	if t.Place == nil {
		return
	}
	hint := ""
	f := checked(ctx, "target", t.Name, func(ctx context.Context) (message string, err error) {
		message, hint, err = t.Place(ctx)
		return message, err
	})
	if f.Level == OK && hint != "" {
		f.Level, f.Hint = Warning, hint
	}
	report(f)
}

// checkDatasource lists until the first object and reads its first byte.
func checkDatasource(ctx context.Context, name string, d datasource.Datasource) Finding {
	empty := false
	f := checked(ctx, "datasource", name, func(ctx context.Context) (string, error) {
		for o, err := range d.List(ctx) {
			var skipped *datasource.Skipped
			if errors.As(err, &skipped) {
				continue
			}
			if err != nil {
				return "", err
			}
			if o.Size == 0 {
				continue
			}
			return fmt.Sprintf("%s lists, and %q can be read", d.Describe(), o.Key), readOne(ctx, d, o)
		}
		empty = true
		return fmt.Sprintf("%s is empty", d.Describe()), nil
	})
	if empty && f.Level == OK {
		f.Level, f.Hint = Warning, "is it the right place, and is the volume mounted?"
	}
	return f
}

func readOne(ctx context.Context, d datasource.Datasource, o app.Object) error {
	content, err := d.Open(ctx, o)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.ReadFull(content, make([]byte, 1))
	return err
}

// worstFirst orders kinds by how much is at stake: what is lost or damaged before what cannot be reached now.
var worstFirst = []failure.Kind{
	failure.Internal, failure.Corrupt, failure.Exhausted, failure.Denied, failure.NotFound, failure.Invalid,
	failure.Conflict, failure.Usage, failure.Transient, failure.Canceled,
}

// Worst returns the finding of the worst trouble, the first of its kind; false where there is none.
func Worst(findings []Finding) (Finding, bool) {
	for _, kind := range worstFirst {
		for _, f := range findings {
			if f.Level == Trouble && f.Kind == kind {
				return f, true
			}
		}
	}
	return Finding{}, false
}
