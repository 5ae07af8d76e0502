package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// cursor is where a snapshot goes on that has paused. The documents are complete by then: the export is not asked for
// again, but read from what was stored, and so the rows are in the order that they had.
type cursor struct {
	Format  int       `json:"format"`
	Place   string    `json:"place"` // where its objects lie
	After   string    `json:"after"` // the last key that was listed
	Date    time.Time `json:"date"`  // of the export
	Listed  int64     `json:"listed"`
	Skipped int64     `json:"skipped,omitzero"`
	Seen    []byte    `json:"seen"` // a bit for each row, or file of a tree: its object was listed

	// Of a folder.
	Held  []byte     `json:"held,omitempty"` // a bit for each file of the tree: its object is in the snapshot
	Facts *app.Facts `json:"facts,omitempty"`
}

// cursorFormat is the version of a cursor. A run may outlive an update of its functions.
const cursorFormat = 2

// readCursor reads a cursor; nil where there is none. It refuses one of another place.
func (s *Source) readCursor(from []byte) (*cursor, error) {
	if from == nil {
		return nil, nil
	}
	var at cursor
	if err := json.Unmarshal(from, &at); err != nil || at.Format != cursorFormat {
		return nil, failure.New(failure.Invalid, "the snapshot was begun by another version of lifeboat and cannot go on").WithHint("start the backup again")
	}
	if resumes, ok := s.options.Datasource.(datasource.Resumable); !ok || resumes.Place() != at.Place {
		return nil, failure.New(failure.Invalid, "the snapshot was begun in another place than %s, and cannot go on there", s.options.Datasource.Describe()).
			WithHint("the datasource in the source's settings has changed meanwhile: start the backup again")
	}
	return &at, nil
}

func (c cursor) encode() ([]byte, error) {
	c.Format = cursorFormat
	return json.Marshal(c)
}

// packBits packs n answers, the first into the lowest bit of the first byte.
func packBits(n int, set func(i int) bool) []byte {
	packed := make([]byte, (n+7)/8)
	for i := range n {
		if set(i) {
			packed[i/8] |= 1 << (i % 8)
		}
	}
	return packed
}

// unpack calls set for each of n answers that is true. It refuses what packBits did not pack for as many.
func unpack(packed []byte, n int, set func(i int)) error {
	if len(packed) != (n+7)/8 {
		return failure.New(failure.Corrupt, "the cursor of the snapshot is about another export").WithHint("start the backup again")
	}
	for i := range n {
		if packed[i/8]&(1<<(i%8)) != 0 {
			set(i)
		}
	}
	return nil
}

// reread reads the export that an earlier piece has stored.
func reread(ctx context.Context, metrics bool, at *cursor, sink app.PausingSink) (e *export, err error) {
	err = sink.Reread(ctx, document, func(body io.Reader) error {
		e, err = readExport(body, metrics)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.date = at.Date
	return e, unpack(at.Seen, len(e.index.rows), func(i int) { e.index.rows[i].seen = true })
}

// list hands what the datasource lists from a cursor on to take. Where the listing could go on, it asks the sink whether
// it is time to stop: after an object, and before the first one of a piece that goes on.
func (s *Source) list(ctx context.Context, at *cursor, sink app.PausingSink, position func(after string) cursor, take func(app.Object, error) error) error {
	var mark datasource.Mark
	objects := s.options.Datasource.List(ctx)
	resumes, resumable := s.options.Datasource.(datasource.Resumable)
	pause := func() error {
		return sink.Pause(func() ([]byte, error) {
			next := position(mark.After)
			next.Place = resumes.Place()
			return next.encode()
		})
	}
	if at != nil && at.After != "" {
		mark.After = at.After
		if err := pause(); err != nil { // with the cursor of the piece before it, which shows where this one got no further
			return err
		}
	}
	if resumable {
		objects = resumes.ListAfter(ctx, mark.After)
	}
	for object, err := range objects {
		if err := take(object, err); err != nil {
			return err
		}
		if resumable && mark.Pass(object.Key) {
			if err := pause(); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list Zipline's datasource: %w", err)
	}
	return nil
}

// unpaused is the sink of a snapshot that is taken in one go.
type unpaused struct{ app.Sink }

func (unpaused) Pause(func() ([]byte, error)) error { return nil }

func (unpaused) Reread(context.Context, string, func(io.Reader) error) error {
	return failure.New(failure.Internal, "a snapshot that has just begun reads nothing again")
}
