package app

import (
	"context"
	"fmt"
	"io"

	"lifeboat/internal/failure"
)

// Skipper is a Content that need not read what it leaves out.
type Skipper interface {
	// Skip leaves out the first n bytes. It is called once, before the first Read; the object has more bytes than that.
	// The rest is of the version that was opened: Conflict where the store has another one by now.
	Skip(ctx context.Context, n int64) error
}

// Skip leaves out the first n bytes of an object that was just opened, by reading them where it must.
func Skip(ctx context.Context, content Content, n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := content.(Skipper); ok {
		return s.Skip(ctx, n)
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("skip what was read before: %w", err)
		}
		skipped, err := io.CopyN(io.Discard, content, min(n, 1<<20))
		if err == io.EOF {
			return failure.New(failure.Transient, "it ended %d bytes before the place where its reading stopped", n-skipped)
		}
		if err != nil {
			return err
		}
		n -= skipped
	}
	return nil
}
