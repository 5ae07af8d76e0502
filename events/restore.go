package events

import (
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
)

// Restore is what starts a restore, and the reference to it that every step gets.
type Restore struct {
	ID        backup.RestoreID `json:"id"` // empty in the input of a workflow that a person starts: begin derives it
	From      From             `json:"from"`
	To        To               `json:"to"`
	Only      []string         `json:"only"`  // globs; empty: everything
	Check     string           `json:"check"` // "full" or "stored"; empty: full
	Trust     bool             `json:"trust"` // restore what nobody signed whose key is known
	DryRun    bool             `json:"dry_run"`
	Wishes    app.Wishes       `json:"wishes"`
	StartedBy catalog.Starter  `json:"started_by"`
	Trial     backup.RestoreID `json:"trial,omitempty"`     // of a dry run: the restore that it is a trial of; set by begin
	Passed    []catalog.Over   `json:"passed,omitempty"`    // by "latest", which From named; set by whoever found what it means
	Execution string           `json:"execution,omitempty"` // of the workflow: tells two runs of one restore apart; set by begin
}

// From is what is restored: exactly one of Backup, File and URL.
type From struct {
	Backup string `json:"backup,omitempty"` // an id, the beginning of one, latest, SOURCE:latest
	File   string `json:"file,omitempty"`   // absolute path; on one machine only
	URL    string `json:"url,omitempty"`    // https; what follows "?" is a secret
}

// To is where it goes: exactly one of Target, Folder, Bucket and Drill; or a Target and Drill.
type To struct {
	Target   string  `json:"target,omitempty"`  // the name of a configured target
	Folder   string  `json:"folder,omitempty"`  // absolute path; on one machine only
	Existing bool    `json:"existing,omitzero"` // write into a folder that is not empty
	Bucket   *Bucket `json:"bucket,omitempty"`
	Drill    bool    `json:"drill,omitzero"` // a throw-away target, made for this restore; with Target: that one is there for drills
}

// ThrowAway reports whether the restore goes to a target that is made for it.
func (t To) ThrowAway() bool { return t.Drill && t.Target == "" }

// Bucket is a bucket, or a prefix of one, that no target names.
type Bucket struct {
	Name      string `json:"name"`
	Prefix    string `json:"prefix,omitempty"`
	Layout    string `json:"layout,omitempty"` // "archive" or "datasource"
	Endpoint  string `json:"endpoint,omitempty"`
	Region    string `json:"region,omitempty"`
	Profile   string `json:"profile,omitempty"`
	AccessKey string `json:"access_key,omitempty"` // a reference, never the key
	SecretKey string `json:"secret_key,omitempty"` // a reference, never the key
	Owner     string `json:"owner,omitempty"`      // the account that it must belong to, in 12 digits; empty: what lifeboat.yaml or the stack says
}

// RestoreInput is the input of the restore workflow.
type RestoreInput struct {
	Restore Restore `json:"restore"`
}

// RestoreRequest is what functions/restore and, for the step notify-restore, functions/notify are asked.
type RestoreRequest struct {
	Step    string   `json:"step"`
	Restore Restore  `json:"restore"`
	Fetch   *Fetch   `json:"fetch,omitempty"` // fetch
	Check   *Checked `json:"check,omitempty"` // check: how far it is
	Batch   *Batch   `json:"batch,omitempty"` // put
	Error   *Error   `json:"error,omitempty"` // release: what was caught

	Execution string `json:"execution,omitempty"` // begin; release where begin has failed; release and notify-restore after the execution has ended: its name
}

// RestoreBegan is the answer of begin. From here on, Restore is complete: with its id and its defaults.
type RestoreBegan struct {
	Answer  string  `json:"answer"` // "run", "skip" (another restore works on the target)
	Restore Restore `json:"restore"`
	Fetched bool    `json:"fetched"` // there is nothing to fetch
}

// Fetch is the answer of fetch, and how far it is.
type Fetch struct {
	Done   bool   `json:"done"`
	Upload string `json:"upload"` // id of the multipart upload; empty before the first call
	Offset int64  `json:"offset"` // bytes that have arrived
	Tag    string `json:"tag"`    // the version that the server gives; what follows must be of the same
}

// Checked is the answer of check, and how far it is.
type Checked struct {
	Done   bool  `json:"done"`
	Offset int64 `json:"offset"` // entries that were checked
	Stop   bool  `json:"stop"`   // a dry run ends here
	Plan   Plan  `json:"plan"`
}

// Replayed is the answer of replay.
type Replayed struct {
	Next string `json:"next"` // "done", "again", or "put": the objects are put again first
}

// Confirmed is the answer of confirm.
type Confirmed struct {
	Status backup.Status `json:"status"`
}
