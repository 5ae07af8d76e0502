package api

import (
	"log/slog"
	"net/http"
	"time"

	"lifeboat/internal/link"
)

// stall is how long a client may take nothing of an answer before its connection is given up. A download may take
// hours, so there is no limit to the whole.
const stall = time.Minute

// recorder remembers the status and size of an answer and moves the connection's write deadline along.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	moved  time.Time
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.extend()
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) extend() {
	now := time.Now()
	if now.Sub(r.moved) < stall/10 {
		return
	}
	r.moved = now
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(now.Add(stall)) // test recorders have no deadline
}

// logged writes one line per request, without path and query: they hold tokens and signatures.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		rec.extend()
		defer func() { // also when a download breaks off, which the reverse proxy reports by a panic
			s.log(r, rec, time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

func (s *server) log(r *http.Request, rec *recorder, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("route", r.Pattern), slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes), slog.Duration("duration", took), slog.String("remote", r.RemoteAddr),
	}
	if token := r.PathValue("token"); token != "" {
		attrs = append(attrs, slog.String("link", link.ID(token)))
	}
	if key := r.PathValue("key"); key != "" && rec.status < 400 {
		attrs = append(attrs, slog.String("key", key))
	}
	s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}
