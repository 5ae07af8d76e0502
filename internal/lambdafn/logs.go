package lambdafn

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"lifeboat/internal/lambdafn/deployed"
)

// logs writes JSON lines. What is said of the invocation that is under way stands in each of them, also in those of
// loggers that were made before it.
type logs struct {
	base    slog.Handler
	current atomic.Pointer[[]slog.Attr]
}

// newLogs returns the logs of a function.
func newLogs(w io.Writer, name string) *logs {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(os.Getenv("AWS_LAMBDA_LOG_LEVEL"))) // Lambda's own setting; TRACE and FATAL are not ours
	base := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: powertools}).WithAttrs([]slog.Attr{
		slog.String("service", "lifeboat"), slog.String("lifeboat_version", deployed.Version), slog.String("function", name),
		slog.String("function_name", os.Getenv("AWS_LAMBDA_FUNCTION_NAME")), memorySize(),
	})
	return &logs{base: base}
}

func memorySize() slog.Attr {
	size, _ := strconv.Atoi(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
	return slog.Int("function_memory_size", size)
}

// powertools gives slog's own fields the names that users of Powertools search for.
func powertools(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Key = "timestamp"
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// begin says what stands in every line until the next invocation.
func (l *logs) begin(about []slog.Attr) { l.current.Store(&about) }

func (l *logs) logger() *slog.Logger { return slog.New(line{l.base, l}) }

// line adds what is said of the invocation to what a logger has.
type line struct {
	slog.Handler
	logs *logs
}

// Handle implements slog.Handler. A field that the line has itself stands only once.
func (h line) Handle(ctx context.Context, r slog.Record) error {
	about := h.logs.current.Load()
	if about == nil {
		return h.Handler.Handle(ctx, r)
	}
	r = r.Clone()
	has := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool { has[a.Key] = true; return true })
	for _, a := range *about {
		if !has[a.Key] {
			r.AddAttrs(a)
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h line) WithAttrs(attrs []slog.Attr) slog.Handler {
	return line{h.Handler.WithAttrs(attrs), h.logs}
}

// WithGroup implements slog.Handler.
func (h line) WithGroup(name string) slog.Handler { return line{h.Handler.WithGroup(name), h.logs} }

// traceRoot returns the id of a trace: of Root=1-…;Parent=…;Sampled=1 the first.
func traceRoot(header string) string {
	for field := range strings.SplitSeq(header, ";") {
		if root, ok := strings.CutPrefix(field, "Root="); ok {
			return root
		}
	}
	return ""
}
