package files_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/app/apptest"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// first pauses as soon as it may, and keeps the cursor.
type first struct {
	app.PausingSink
	cursor []byte
}

// Pause implements app.PausingSink.
func (f *first) Pause(cursor func() ([]byte, error)) (err error) {
	if f.cursor, err = cursor(); err != nil {
		return err
	}
	return app.ErrPaused
}

// TestCursorRefused: a snapshot goes on where it began, with the same patterns, or not at all.
func TestCursorRefused(t *testing.T) {
	c := serve(t, nil)
	for _, key := range []string{"in/a", "in/b", "in/c", "other/a"} {
		put(t, c, key, "x")
	}
	began := files.Options{Bucket: datasource.NewBucket(c, "data", "in"), Include: []string{"a*", "b*"}, Exclude: []string{"d"}}
	piece := &first{PausingSink: apptest.Stored(nil)}
	if _, err := newSource(t, began).SnapshotFrom(t.Context(), backup.Scope{}, nil, piece); !errors.Is(err, app.ErrPaused) {
		t.Fatal(err)
	}
	again := &first{PausingSink: apptest.Stored(nil)}
	_, err := newSource(t, began).SnapshotFrom(t.Context(), backup.Scope{}, piece.cursor, again)
	if !errors.Is(err, app.ErrPaused) || !bytes.Equal(again.cursor, piece.cursor) {
		t.Errorf("%v: %s, and then %s", err, piece.cursor, again.cursor)
	}
	changed := func(field string, value any) []byte {
		all := map[string]any{}
		if err := json.Unmarshal(piece.cursor, &all); err != nil {
			t.Fatal(err)
		}
		all[field] = value
		data, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, test := range map[string]struct {
		options files.Options
		cursor  []byte
		kind    failure.Kind
		says    string
	}{
		"another prefix":   {files.Options{Bucket: datasource.NewBucket(c, "data", "other"), Include: began.Include, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "in another place"},
		"another bucket":   {files.Options{Bucket: datasource.NewBucket(c, "more", "in"), Include: began.Include, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "in another place"},
		"another store":    {files.Options{Bucket: datasource.NewBucket(serve(t, nil), "data", "in"), Include: began.Include, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "in another place"},
		"another include":  {files.Options{Bucket: began.Bucket, Include: []string{"a*", "c*"}, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "other patterns"},
		"one include more": {files.Options{Bucket: began.Bucket, Include: []string{"a*", "b*", "c*"}, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "other patterns"},
		"another exclude":  {files.Options{Bucket: began.Bucket, Include: began.Include, Exclude: []string{"b"}}, piece.cursor, failure.Invalid, "other patterns"},
		"a folder":         {files.Options{Path: t.TempDir(), Include: began.Include, Exclude: began.Exclude}, piece.cursor, failure.Invalid, "in a folder"},
		"another version":  {began, changed("format", 1), failure.Invalid, "another version"},
		"none":             {began, []byte(`{}`), failure.Invalid, "another version"},
		"no object":        {began, []byte(`[]`), failure.Corrupt, "goes on"},
		"no digest":        {began, changed("digest", "AA=="), failure.Corrupt, "goes on"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newSource(t, test.options).SnapshotFrom(t.Context(), backup.Scope{}, test.cursor, apptest.Stored(nil))
			if failure.KindOf(err) != test.kind || failure.HintOf(err) == "" || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
