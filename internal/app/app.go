// Package app says what an application adapter is.
//
// An adapter turns one running application into a snapshot: its documents (metadata), then the list of its
// objects (files). The pipeline calls Snapshot once per run, or in pieces (Pausing) where time is short, and Open
// once per object that has to be read; it never asks what application it is. Adapters import app and datasource and never one another.
package app

import (
	"context"
	"errors"
	"io"
	"time"

	"lifeboat/internal/backup"
)

// Source is one configured application instance to back up.
type Source interface {
	// Snapshot writes every document, then lists every object, into sink, in the order that the application
	// needs for consistency (export first, then list). What is odd but does not stop the run goes to
	// sink.Found. An error ends the run; its kind says why (Denied, Invalid, Transient, …).
	Snapshot(ctx context.Context, scope backup.Scope, sink Sink) (Facts, error)

	// Open reads one object that Snapshot listed, perhaps in another process. NotFound when it is gone.
	Open(ctx context.Context, object Object) (Content, error)
}

// Pausing is a Source whose snapshot may stop on the way, and go on in another process: what it is listed from can begin
// in the middle. One that is not runs to its end.
type Pausing interface {
	Source
	// SnapshotFrom is Snapshot in pieces. cursor is nil for the first of them, which begins; each later one gets what
	// the one before it handed to Pause, and its sink has what they stored. An error of Pause ends the piece and is
	// returned as it is. All pieces together say to their sinks what one Snapshot would have said.
	SnapshotFrom(ctx context.Context, scope backup.Scope, cursor []byte, sink PausingSink) (Facts, error)
}

// PausingSink is a Sink for a piece of a snapshot.
type PausingSink interface {
	Sink
	// Pause is called wherever the snapshot could stop, the more often the better: it costs next to nothing. Where it
	// is time to, it keeps the cursor, which is JSON and says where to go on, and returns ErrPaused. A piece that goes
	// on calls it before the first object too, with the cursor that it got, byte for byte: so it is seen to get no further.
	Pause(cursor func() ([]byte, error)) error
	// Reread hands a document to read that this piece or an earlier one has stored: the bytes as they came, which are
	// proven once read has seen their end. Corrupt where they are others.
	Reread(ctx context.Context, path string, read func(body io.Reader) error) error
}

// ErrPaused is why a piece of a snapshot stopped that is to go on.
var ErrPaused = errors.New("the snapshot pauses")

// Stored is a Source whose objects, some at least, lie in an S3 store as they are, so that a store can copy them by
// itself.
type Stored interface {
	Source
	// Located returns where the version of an object that was listed lies; false where no store has it.
	Located(object Object) (Location, bool)
}

// Location is one version of an object in an S3 store.
type Location struct {
	Endpoint string // URL of the store; "" for AWS
	Bucket   string
	Key      string
	ETag     string // of the version that was listed; never empty
	Owner    string // the account that the bucket must belong to; "": any
	// Apart says why no other store's credentials copy from there, in a sentence; "": they may. Such an object is not
	// Located.
	Apart string
}

// Describer is a Stored that can look at an object without reading it.
type Describer interface {
	Stored
	// Describe returns what the store knows of the version of an object that was listed: NotFound when it is gone,
	// Conflict when there is another version.
	Describe(ctx context.Context, object Object) (Description, error)
}

// Description is what a store knows of an object beside its bytes.
type Description struct {
	Object   Object // with its Media
	CRC32    uint32 // of all its bytes, where HasCRC32
	HasCRC32 bool
}

// ErrArchived is in the tree of an error about an object that its store has archived (Glacier): its bytes can't be had
// until somebody restores it there.
var ErrArchived = errors.New("it is archived: restore it in its store first")

// Sink receives a snapshot. Its methods are called from one goroutine.
type Sink interface {
	// Document stores one document while reading it; it holds no more than a buffer in memory. An error of
	// body's Read is returned as it is, and nothing of the document is kept.
	Document(ctx context.Context, document Document, body io.Reader) error
	// Object adds one object to the list. Paths are unique; order does not matter.
	Object(object Object) error
	// Found notes something about the source.
	Found(finding Finding)
}

// Document is one metadata file.
type Document struct {
	Path     string    // in the archive
	Modified time.Time // zero: the time of the snapshot
	Secret   bool      // holds passwords, tokens or keys
}

// Object is one datasource file as a listing shows it.
type Object struct {
	Key      string    `json:"key"`              // the exact name in the datasource
	Path     string    `json:"path"`             // in the archive
	Size     int64     `json:"size"`             // bytes
	Modified time.Time `json:"modified"`         // the object's own time
	Identity string    `json:"identity"`         // opaque; equal identities and Settled mean equal bytes
	Settled  bool      `json:"settled,omitzero"` // the last change lies so far back that Identity can be trusted
	Mode     uint32    `json:"mode,omitzero"`    // Unix permission bits, where they matter to the application; 0: they don't
	Dir      bool      `json:"dir,omitzero"`     // an empty directory: Path ends with "/", it is never opened
	Type     string    `json:"type,omitempty"`   // "" or what the application calls it, such as "thumbnail"
	// Media is what a store keeps beside the bytes of an object. A listing doesn't show it; Content.Now may.
	Media *Media `json:"media,omitempty"`
}

// Media is what an S3 store keeps beside the bytes of an object.
type Media struct {
	ContentType        string            `json:"content_type,omitempty"`
	ContentEncoding    string            `json:"content_encoding,omitempty"`
	ContentDisposition string            `json:"content_disposition,omitempty"`
	CacheControl       string            `json:"cache_control,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"` // x-amz-meta-*, keys in lower case
}

// Content reads one object.
type Content interface {
	io.ReadCloser
	// Now returns the object's present state as far as the open content knows it. Equal identities before and
	// after a read mean that what was read is one version of the object.
	Now() (Object, error)
}

// Facts is what a snapshot learned about the application.
type Facts struct {
	Application string            `json:"application"`        // "Zipline"
	Version     string            `json:"version,omitempty"`  // of the application
	Versions    map[string]string `json:"versions,omitempty"` // further versions: format of the export, runtime
	Counts      map[string]int64  `json:"counts,omitempty"`   // rows by kind, as the documents hold them
	Secrets     bool              `json:"secrets,omitzero"`   // some document holds secrets
	Digest      string            `json:"digest,omitempty"`   // canonical SHA-256 of the documents, hex; equal for equal data whatever its order
}

// Severity says whether a finding changes the status of a backup.
type Severity string

// The severities: a note doesn't change the status, a problem makes it partial.
const (
	Note    Severity = "note"
	Problem Severity = "problem"
)

// Finding is something that a run noticed about one item.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"`           // a fixed word, such as "missing" or "orphan"
	Item     string   `json:"item,omitempty"` // the path, row or field; a stranger's text
	Message  string   `json:"message"`        // one sentence; says what to do where there is something to do
}
