package zipline_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// slow is the sink of a piece in which the time is over once an earlier piece's document has been read again.
type slow struct {
	app.PausingSink
	over    bool
	objects int
	cursor  []byte
}

// Pause implements app.PausingSink.
func (s *slow) Pause(cursor func() ([]byte, error)) (err error) {
	if !s.over {
		return nil
	}
	if s.cursor, err = cursor(); err != nil {
		return err
	}
	return app.ErrPaused
}

// Reread implements app.PausingSink.
func (s *slow) Reread(ctx context.Context, path string, read func(io.Reader) error) error {
	s.over = true
	return s.PausingSink.Reread(ctx, path, read)
}

// Object implements app.Sink.
func (s *slow) Object(o app.Object) error {
	s.objects++
	return s.PausingSink.Object(o)
}

// TestNoFurther: a piece whose time is over once it has read the export again says where it began, and has taken nothing:
// so the step sees that it would go on like this for ever.
func TestNoFurther(t *testing.T) {
	s := newSmall(t)
	_, bucket := inBucket(t, s)
	source := sourceOf(t, s, bucket, new(atomic.Int64))
	stored := apptest.Stored(map[string]string{"export.json": string(s.Export())})
	begin := &slow{PausingSink: stored, over: true}
	if _, err := source.SnapshotFrom(t.Context(), backup.Scope{}, nil, begin); !errors.Is(err, app.ErrPaused) || begin.objects != 1 {
		t.Fatalf("%v after %d objects", err, begin.objects)
	}
	next := &slow{PausingSink: stored}
	_, err := source.SnapshotFrom(t.Context(), backup.Scope{}, begin.cursor, next)
	if !errors.Is(err, app.ErrPaused) || next.objects != 0 || !bytes.Equal(begin.cursor, next.cursor) {
		t.Errorf("%v after %d objects: %s, and then %s", err, next.objects, begin.cursor, next.cursor)
	}
}

// TestCursorOfAnotherPlace: a snapshot goes on where it began, or not at all.
func TestCursorOfAnotherPlace(t *testing.T) {
	s := newSmall(t)
	_, bucket := inBucket(t, s)
	_, other := inBucket(t, s)
	var asked atomic.Int64
	stored := apptest.Stored(map[string]string{"export.json": string(s.Export())})
	begin := &slow{PausingSink: stored, over: true}
	if _, err := sourceOf(t, s, bucket, &asked).SnapshotFrom(t.Context(), backup.Scope{}, nil, begin); !errors.Is(err, app.ErrPaused) {
		t.Fatal(err)
	}
	inFolder, err := zipline.New(zipline.Options{
		URL: "http://zipline.test", Token: secret.New(standin.SuperAdminToken), Datasource: datasource.NewFolder(s.folder, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]*zipline.Source{"another store": sourceOf(t, s, other, &asked), "a folder": inFolder} {
		t.Run(name, func(t *testing.T) {
			_, err := source.SnapshotFrom(t.Context(), backup.Scope{}, begin.cursor, stored)
			if failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" || !strings.Contains(err.Error(), "another place") {
				t.Errorf("%v", err)
			}
		})
	}
}
