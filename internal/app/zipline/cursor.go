package zipline

import (
	"context"
	"encoding/json"
	"io"
	"iter"
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

// course lists the datasource from a cursor on. begun is for before the first object of a piece that goes on, and pause
// for after each object: where the listing could go on after it, they ask the sink whether it is time to stop.
type course struct {
	mark     datasource.Mark
	resumes  datasource.Resumable // nil: it can't
	sink     app.PausingSink
	position func(after string) cursor
}

func (s *Source) list(at *cursor, sink app.PausingSink, position func(after string) cursor) *course {
	l := &course{sink: sink, position: position}
	l.resumes, _ = s.options.Datasource.(datasource.Resumable)
	if at != nil {
		l.mark.After = at.After
	}
	return l
}

func (l *course) from(ctx context.Context, whole datasource.Datasource) iter.Seq2[app.Object, error] {
	if l.resumes == nil {
		return whole.List(ctx)
	}
	return l.resumes.ListAfter(ctx, l.mark.After)
}

// begun lets the sink see a piece that gets no further: the cursor is that of the piece before it.
func (l *course) begun() error {
	if l.mark.After == "" {
		return nil
	}
	return l.ask()
}

func (l *course) pause(key string) error {
	if l.resumes == nil || !l.mark.Pass(key) {
		return nil
	}
	return l.ask()
}

func (l *course) ask() error {
	return l.sink.Pause(func() ([]byte, error) {
		at := l.position(l.mark.After)
		at.Place = l.resumes.Place()
		return at.encode()
	})
}

// unpaused is the sink of a snapshot that is taken in one go.
type unpaused struct{ app.Sink }

func (unpaused) Pause(func() ([]byte, error)) error { return nil }

func (unpaused) Reread(context.Context, string, func(io.Reader) error) error {
	return failure.New(failure.Internal, "a snapshot that has just begun reads nothing again")
}
