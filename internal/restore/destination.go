package restore

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/verify"
)

// Destination is a bucket or a folder that is written by units, by one process or by several: From and Plan, in one of
// them; From and Do, in any, for each unit; Finish, in any, when the last unit is done. All of it may be repeated:
// what is there with the right bytes counts as existing, and nothing is overwritten.
type Destination interface {
	fmt.Stringer
	// From says where the bytes come from; before Plan and Do.
	From(source Bytes)
	// Wants reports whether an entry is to be restored here, so far as its name allows it.
	Wants(e manifest.Entry) bool
	// Plan divides the entries of the backup into units. A unit is plain data, for JSON too.
	Plan(entries iter.Seq2[manifest.Entry, error]) iter.Seq2[Unit, error]
	// Do does one unit. Trouble with one object is a problem of the result; an error concerns more than that.
	Do(ctx context.Context, u Unit) error
	// Restore does all units, several at a time. It is not finished by that.
	Restore(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) (Result, error)
	// Finish does what must wait for the last unit; its problems are added to the result.
	Finish(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) error
	// Result returns what was done since the destination was opened.
	Result() Result
	Close() error
}

var _, _ Destination = (*BucketTarget)(nil), (*FolderTarget)(nil)

// Result is what became of a restore, or of a part of it. The kinds of its problems: "conflict", something else has the
// name; "corrupt", the content is not what the manifest says; "not written", all other trouble with one entry; "media".
type Result struct {
	Written  int           `json:"written"`          // entries
	Folders  int           `json:"folders,omitzero"` // of Written: directories
	Bytes    int64         `json:"bytes"`            // of their contents
	Existing int           `json:"existing"`         // entries that were there already, with the same bytes
	Problems []app.Finding `json:"problems,omitempty"`
	Total    int           `json:"problems_total,omitzero"` // of all problems, of which Problems has the first verify.MaxProblems

	// Of a bucket only.
	Spliced      int    `json:"spliced,omitzero"` // of Written: objects that the store copied by itself, so that no byte passed through here
	SplicedBytes int64  `json:"spliced_bytes,omitzero"`
	Streams      string `json:"streams,omitempty"` // why the store copied nothing, or no more; "" where it did what it could
}

// Add adds what became of another part.
func (r *Result) Add(other Result) {
	r.Written += other.Written
	r.Folders += other.Folders
	r.Bytes += other.Bytes
	r.Existing += other.Existing
	r.Total += other.Total
	r.Spliced += other.Spliced
	r.SplicedBytes += other.SplicedBytes
	r.Streams = cmp.Or(r.Streams, other.Streams)
	room := verify.MaxProblems - len(r.Problems)
	r.Problems = append(r.Problems, other.Problems[:min(max(room, 0), len(other.Problems))]...)
}

// problem counts a problem, and keeps it if there is room.
func (r *Result) problem(f app.Finding) {
	r.Add(Result{Total: 1, Problems: []app.Finding{f}})
}

func conflicting(item, message string) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "conflict", Item: item, Message: message}
}

func notWritten(item, format string, args ...any) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "not written", Item: item, Message: fmt.Sprintf(format, args...)}
}

func corrupt(item, message string) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "corrupt", Item: item, Message: message}
}
