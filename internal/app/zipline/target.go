package zipline

import (
	"context"
	"net/http"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// TargetOptions say which Zipline a backup is replayed into, and how.
type TargetOptions struct {
	URL   string        // of Zipline, without a path: https://files.example.org
	Token secret.String // of a SUPERADMIN, bare
	// Datasource is where the target keeps its files: it shows which names and bytes are there. Without it, nil, the
	// preflight knows the names of rows only, and Confirm does not look at the bytes.
	Datasource datasource.Datasource

	// What has a default.
	Timeout       time.Duration    // until the answer to a small request starts; 15 s
	ExportTimeout time.Duration    // until the target's export starts; 5 min
	ImportTimeout time.Duration    // for one import, from its first byte to the answer; 2 h
	IdleTimeout   time.Duration    // for each piece of a request or an answer; 60 s
	SettleTimeout time.Duration    // for an import whose answer was lost to come to rest; 30 min
	HTTP          *http.Client     // nil: an own one; its CheckRedirect is replaced
	Now           func() time.Time // nil: time.Now
	// LostTimeout is how long an import whose answer was lost may arrive late, held by something in front of Zipline; 60 s.
	LostTimeout time.Duration
	// Sleep waits for a rate limit; nil: it does.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Target is one Zipline that a backup is replayed into, through its API: 4.4.2 or newer. It implements app.Target.
//
// The import of Zipline is not transactional, skips without a word, and can't be repeated over users that exist. So a
// plan of all names is made, and noted, before the first write; the copy of the export that is sent has no name in it
// that the target has; what an interrupted import has made is taken back before the next one. Whether that is
// necessary, the target's own export says, never a note. What a plan can't settle ends as a finding of Confirm.
//
// A backup of Zipline 3 goes the same way, through the import that Zipline has for that: it is read as one of format 4.
//
// Notes of a restore: "plan" is the names that the plan settled; "import" is written before each import; "tags" are
// names that a taking back may have left taken; "settings" are those that the target refused; "stages" is what was
// finished, which no later run does again: what people change on the target after that is theirs.
//
// No finding and no error holds a token, a hash or what a setting is. What a preflight finds has these kinds:
//
//	problems  schema missing duplicate-name duplicate stranger circle parent taken ignored
//	notes     ignored merge totp ownerless renamed filtered thumbnails due quota deep metrics setting name space datasource resumed lost changed
//
// And what Confirm finds:
//
//	problems  missing differs name left-out duplicate setting no-bytes ignored
//	notes     ignored merge ownerless renamed metrics setting views lost changed
type Target struct {
	options TargetOptions
	client  *client
}

var _ app.Target = (*Target)(nil)

// NewTarget returns a target. It checks the options, with Usage errors, and asks nobody.
func NewTarget(options TargetOptions) (*Target, error) {
	client, err := newClient(options.URL, client{
		side: "target", token: options.Token, http: options.HTTP, idle: options.IdleTimeout, sleep: options.Sleep, now: options.Now,
	})
	if err != nil {
		return nil, err
	}
	orStandard(&options.Timeout, timeout)
	orStandard(&options.ExportTimeout, exportTimeout)
	orStandard(&options.ImportTimeout, 2*time.Hour)
	orStandard(&options.SettleTimeout, 30*time.Minute)
	orStandard(&options.LostTimeout, time.Minute)
	return &Target{options: options, client: client}, nil
}

// nothingToReplay reports whether a restore has no documents to replay: it puts objects only.
func nothingToReplay(r *app.Replay) bool { return !r.Wishes.Documents }

// foreign refuses what no replay into Zipline can do.
func foreign(r *app.Replay) error {
	switch {
	case r.Kind != "" && r.Kind != "zipline":
		return failure.New(failure.Invalid, "a backup of %s can't be replayed into Zipline", r.Kind).
			WithHint("name a target of the same kind, or restore it to a folder")
	case r.Folder != "":
		return failure.New(failure.Usage, "this is a backup of one folder: it holds no export that Zipline could import").
			WithHint("use --folder-into ID to rebuild the folder in a folder of the target")
	}
	return nil
}
