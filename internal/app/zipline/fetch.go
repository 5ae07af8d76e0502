package zipline

import (
	"context"
	"errors"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// document is the path of the export in the archive.
const document = "export.json"

// fetch asks for the export and streams it into the sink while a decoder checks it. The sink keeps the raw bytes;
// when the export is refused, the reader that the sink holds ends with the refusal, so that it keeps nothing.
func (s *Source) fetch(ctx context.Context, metrics bool, sink app.Sink) (*export, error) {
	query := ""
	if !metrics {
		query = "nometrics=true" // never nometrics=false: that drops the metrics too
	}
	answer, err := s.client.get(ctx, query, s.options.ExportTimeout)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	tee := newTee(s.transport(ctx, answer.Body), metrics)
	err = sink.Document(ctx, app.Document{Path: document, Secret: true}, tee)
	export, checked := tee.finish()
	switch {
	case err != nil:
		return nil, err
	case checked != nil:
		return nil, checked
	}
	return export, nil
}

// transport gives errors of the download a kind.
func (s *Source) transport(ctx context.Context, body io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		var kinded *failure.Error
		switch {
		case err == nil, err == io.EOF:
			return n, err
		case errors.As(err, &kinded): // silence
			return n, failure.New(kinded.Kind, "the export of Zipline at %s stopped in the middle: %w", s.client.base.Host, err).
				WithHint("run again; if it stays so, look for a time-out in the proxy in front of Zipline, and into Zipline's log")
		case ctx.Err() != nil:
			return n, ctx.Err()
		}
		return n, failure.New(failure.Transient, "the connection to %s broke during the export: %w", s.client.base.Host, plainly(err)).
			WithHint("run again; if it stays so, look for a time-out in the proxy in front of Zipline")
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// tee hands what it reads to a decoder in another goroutine as well. It returns io.EOF only once the decoder has
// accepted everything; a refusal is returned instead. finish must be called, whatever happened before.
type tee struct {
	source  io.Reader
	pipe    *io.PipeWriter
	verdict chan struct{} // closed when export and err are set
	export  *export
	err     error
	ended   error // what Read returned last
}

var errAbandoned = errors.New("the export was not read to its end")

func newTee(source io.Reader, metrics bool) *tee {
	reader, writer := io.Pipe()
	t := &tee{source: source, pipe: writer, verdict: make(chan struct{})}
	go func() {
		defer close(t.verdict)
		t.export, t.err = readExport(reader, metrics)
		if t.err != nil {
			reader.CloseWithError(t.err)
		} else {
			reader.Close()
		}
	}()
	return t
}

func (t *tee) Read(p []byte) (int, error) {
	if t.ended != nil {
		return 0, t.ended
	}
	n, err := t.source.Read(p)
	if n > 0 {
		if _, refused := t.pipe.Write(p[:n]); refused != nil {
			err = refused
		}
	}
	if err == io.EOF {
		t.pipe.Close()
		<-t.verdict
		if t.err != nil {
			err = t.err
		}
	}
	t.ended = err
	return n, err
}

// finish ends the decoder and returns what it found.
func (t *tee) finish() (*export, error) {
	if t.ended == nil {
		t.ended = errAbandoned
	}
	t.pipe.CloseWithError(t.ended)
	<-t.verdict
	if t.ended != io.EOF {
		return nil, t.ended
	}
	return t.export, t.err
}
