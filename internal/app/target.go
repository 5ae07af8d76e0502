package app

import (
	"context"
	"io"
	"iter"
)

// Target is one application instance that a backup is replayed into. Its methods are called in this order, each perhaps
// in another process: Preflight; then the pipeline puts the objects where Forecast.Place says; Replay, until it is
// done; Confirm. A restore that was interrupted begins anew, under the same id: each method finds what was done.
type Target interface {
	// Preflight looks at the target, writes nothing to it, and says what a replay would do. An error refuses the
	// restore before its first write: Denied, Conflict, Invalid, Usage, …
	Preflight(ctx context.Context, r *Replay) (Forecast, error)
	// Replay brings the documents in, or a part of them: it returns before ctx's deadline with Done false, and is
	// called again. An error leaves the target as far as it came; Notes remember it.
	Replay(ctx context.Context, r *Replay) (Progress, error)
	// Confirm looks at the target again and compares it with the backup.
	Confirm(ctx context.Context, r *Replay) (Confirmation, error)
}

// Replay is a backup on its way into a target.
type Replay struct {
	ID     string // of the restore; the same for the same backup, target, name and filters
	Kind   string // of the backup's source
	Folder string // the scope of the backup: one folder of the application; "" for all of it
	Facts  Facts  // what the snapshot learned; empty for an archive of another program
	// Open reads one entry of the backup, a document or an object, by its path: NotFound where there is none.
	Open func(ctx context.Context, path string) (io.ReadCloser, error)
	// Items lists what the backup holds, in the order of the archive.
	Items   func(ctx context.Context) iter.Seq2[Item, error]
	Wishes  Wishes
	Notes   Notes
	Working func(items, bytes int64) // is told how much was done; never nil
}

// Item is one entry of a backup.
type Item struct {
	Object          // Key: the exact name in the datasource; "" for a document
	CRC32    uint32 // of the content
	SHA256   string // of the content, hex; "" where only a store has seen it
	Document bool
	Secret   bool
	Chosen   bool // false: --only or --only-… leave it out
}

// Wishes are what a person asked of a restore beyond the defaults.
type Wishes struct {
	Name       string `json:"name,omitempty"`        // --name: what the restored thing is called
	As         string `json:"as,omitempty"`          // --as: the user in the backup whose things the importing administrator gets
	Rename     bool   `json:"rename,omitzero"`       // --rename: users that the target has already come in under new names
	FolderInto string `json:"folder_into,omitempty"` // --folder-into: the folder on the target that a folder is rebuilt in
	Documents  bool   `json:"documents"`             // replay documents; false after --only-objects
	Objects    bool   `json:"objects"`               // put objects; false after --only-documents
}

// Notes remember what the calls of one restore did, across processes and attempts. A name is [a-z-]{1,40}.
type Notes interface {
	// Get reads a note into value; false where there is none.
	Get(ctx context.Context, name string, value any) (bool, error)
	// Put writes a note. It is durable when Put returns.
	Put(ctx context.Context, name string, value any) error
}

// Forecast is what a replay would do.
type Forecast struct {
	Application string    `json:"application"` // of the target
	Version     string    `json:"version,omitempty"`
	Counts      []Count   `json:"counts"`
	Findings    []Finding `json:"findings,omitempty"` // each thing that is renamed, skipped or cannot be carried, and why
	// Place returns the name that an item gets in the target's datasource, or false where it does not go there. It is
	// used by the process that made the forecast only.
	Place func(Item) (name string, put bool) `json:"-"`
}

// Count sums up one sort of thing in a forecast or a report.
type Count struct {
	What   string `json:"what"`          // plural: "users", "files", …
	Backup int64  `json:"backup"`        // in the backup
	Create int64  `json:"create"`        // made by the restore; in a report: found on the target with what the backup has
	Exists int64  `json:"exists"`        // there already, as in the backup
	Skip   int64  `json:"skip,omitzero"` // not brought in; a finding says why; in a report: missing or different
}

// Progress is how far a replay is.
type Progress struct {
	Done bool
	// Put asks for the objects to be put again before the next call: taking back what an interrupted import had made
	// has deleted some.
	Put bool
}

// Confirmation is what a target was found to hold after a replay.
type Confirmation struct {
	Counts   []Count   `json:"counts"`
	Findings []Finding `json:"findings,omitempty"` // every difference: a Problem where something is missing or other than in the backup
	Asserted []string  `json:"asserted,omitempty"` // what was checked, one sentence each
	// Differs is how many things of the target are other than in the backup though a finding calls them a Note: they were
	// on the target before, or somebody has changed them since. What was left out or renamed as the forecast said doesn't
	// count.
	Differs int `json:"differs,omitzero"`
}
