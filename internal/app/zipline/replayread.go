package zipline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// fields are a row as JSON has it, its numbers as json.Number.
type fields = map[string]any

// walker reads an export row by row.
type walker struct {
	*decoder
	row      func(array string, n int64, row fields) error // row is nil where it is no object
	settings func(fields)
	skipped  []string // arrays whose rows nobody wants
	seen     map[string]bool
}

// walkExport hands every row of an export to row, but for those of skipped arrays, and its settings to settings, which
// may be nil. It returns the versions that the export names. Its errors are Invalid, with a hint, those of r, or those
// of row.
func walkExport(r io.Reader, row func(array string, n int64, row fields) error, settings func(fields), skipped ...string) (*export, error) {
	d := plainDecoder(r)
	w := &walker{decoder: d, row: row, settings: settings, skipped: skipped, seen: map[string]bool{}}
	if err := w.document(); err != nil {
		return nil, d.explain(err)
	}
	if err := d.format(); err != nil {
		return nil, err
	}
	for _, name := range arrays {
		if !w.seen[name] && name != "metrics" && name != "thumbnails" {
			return nil, failure.New(failure.Invalid, "the export has no data.%s", name).
				WithHint("it is not one of Zipline 4.4.0 or newer, or is cut")
		}
	}
	return d.export, nil
}

func (w *walker) document() error {
	return w.members("the export", func(key string) error {
		switch key {
		case "versions":
			return w.readVersions()
		case "data":
			return w.members("data", w.data)
		}
		return w.skip()
	})
}

func (w *walker) data(name string) error {
	if name == "settings" {
		value, err := w.value()
		if object, ok := value.(fields); ok && err == nil && w.settings != nil {
			w.settings(object)
		}
		return err
	}
	if !slices.Contains(arrays, name) {
		return w.skip()
	}
	w.seen[name] = true
	token, err := w.token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return failure.New(failure.Invalid, "data.%s is not a list", name).
			WithHint("it is not an export of Zipline 4")
	}
	if slices.Contains(w.skipped, name) {
		return w.pass()
	}
	for n := int64(0); w.json.More(); n++ {
		value, err := w.value()
		if err != nil {
			return err
		}
		object, _ := value.(fields)
		if err := w.row(name, n, object); err != nil {
			return err
		}
	}
	_, err = w.token()
	return err
}

// pass reads over the rows of an array, which is far quicker than to read them.
func (w *walker) pass() error {
	var row json.RawMessage
	for w.json.More() {
		w.bound.next()
		if err := w.json.Decode(&row); err != nil {
			return err
		}
	}
	_, err := w.token()
	return err
}

// opener opens one export, from its start each time.
type opener func(ctx context.Context) (io.ReadCloser, error)

// walk opens and walks an export.
func (open opener) walk(ctx context.Context, row func(array string, n int64, row fields) error, settings func(fields), skipped ...string) (*export, error) {
	body, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return walkExport(app.Stoppable(ctx, body), row, settings, skipped...)
}

// backupOf opens the export in a backup; one of format 3 as one of format 4.
func backupOf(r *app.Replay) opener {
	return func(ctx context.Context) (io.ReadCloser, error) {
		legacy, err := legacyExport(ctx, r)
		switch {
		case err != nil:
			return nil, err
		case legacy:
			return legacyBackup(ctx, r), nil
		}
		return openDocument(ctx, r)
	}
}

// openDocument opens the export in a backup, as it is.
func openDocument(ctx context.Context, r *app.Replay) (io.ReadCloser, error) {
	body, err := r.Open(ctx, document)
	if err != nil {
		return nil, fmt.Errorf("open the export in the backup: %w", err)
	}
	return body, nil
}

// exportOf opens a fresh export of the target.
func (t *Target) exportOf(metrics bool) opener {
	query := "nometrics=true" // never nometrics=false: that drops the metrics too
	if metrics {
		query = ""
	}
	return func(ctx context.Context) (io.ReadCloser, error) {
		answer, err := t.client.get(ctx, query, t.options.ExportTimeout)
		if err != nil {
			return nil, fmt.Errorf("export the target: %w", err)
		}
		return answer.Body, nil
	}
}

// inWhole bounds what is kept of an export in memory, instead of asking for it twice.
const inWhole = 8 << 20

// once returns an opener that opens open only once where what it gives is small.
func (open opener) once() opener {
	var kept []byte
	return func(ctx context.Context) (io.ReadCloser, error) {
		if kept != nil {
			return io.NopCloser(bytes.NewReader(kept)), nil
		}
		body, err := open(ctx)
		if err != nil {
			return nil, err
		}
		start, err := io.ReadAll(io.LimitReader(app.Stoppable(ctx, body), inWhole+1))
		switch {
		case err != nil:
			_ = body.Close()
			return nil, failure.New(failure.Transient, "the export stopped in the middle: %w", plainly(err)).WithHint("run again")
		case len(start) <= inWhole:
			kept = start
			_ = body.Close()
			return io.NopCloser(bytes.NewReader(kept)), nil
		}
		return readClose{io.MultiReader(bytes.NewReader(start), body), body}, nil
	}
}

type readClose struct {
	io.Reader
	io.Closer
}
