package zipline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Where exports of Zipline 4 and 3 are imported.
const (
	importPath       = "/api/server/import/v4"
	legacyImportPath = "/api/server/import/v3"
)

// errHalf is in the tree of an error when an import was sent and what came in is not known; errStumbled, when Zipline
// itself gave up over a row.
var (
	errHalf     = errors.New("how much of it came in is not known yet")
	errStumbled = errors.New("it stumbled over a row, and what came before it is in")
)

// sendImport sends one part of the backup. Without an error all is in that will ever come in by it. An error with
// errHalf or errStumbled in its tree leaves the target anywhere between nothing and everything; any other leaves it as it was.
func (t *Target) sendImport(ctx context.Context, r *app.Replay, p *plan, part string, admin fields) error {
	var wrote error
	path, write := importPath, writeCopy
	if p.Ignored != nil {
		path, write = legacyImportPath, writeLegacyCopy
	}
	answer, err := t.send(ctx, func() (*http.Response, error) {
		reader, writer := io.Pipe()
		written := make(chan error, 1)
		go func() {
			err := write(ctx, writer, r, p, part, admin)
			writer.CloseWithError(err)
			written <- err
		}()
		answer, err := t.client.request(ctx, http.MethodPost, path, "", reader, t.options.ImportTimeout)
		reader.CloseWithError(errAnswered)
		if wrote = <-written; errors.Is(wrote, errAnswered) {
			wrote = nil
		}
		return answer, err
	})
	switch {
	case wrote != nil:
		return fmt.Errorf("send the import: %w", wrote) // the body was cut: Zipline can't have parsed it
	case err != nil:
		return failure.New(failure.Transient, "the answer to the import did not arrive: %w: %w", err, errHalf).
			WithHint("run again: what came in is looked at first")
	case answer.ok():
		return nil
	case answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden ||
		answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestEntityTooLarge:
		return t.notTaken(answer)
	}
	cause := errHalf
	if answer.StatusCode == http.StatusInternalServerError {
		cause = errStumbled
	}
	return failure.New(failure.Transient, "the import ended with an error of Zipline's own (%s): %w", quote(answer.said().Error, answer.Response), cause).
		WithHint("look into Zipline's log for the row that it stumbled over, then run again: what came in is taken back first")
}

var errAnswered = errors.New("Zipline has answered")

// notTaken is about an import that Zipline refused before it wrote anything.
func (t *Target) notTaken(answer reply) error {
	if answer.StatusCode == http.StatusRequestEntityTooLarge {
		return failure.New(failure.Exhausted, "something in front of Zipline limits the size of requests (%s)", quote("", answer.Response)).
			WithHint("raise the limit of the proxy in front of Zipline, such as client_max_body_size, or name Zipline's own address in the target's url")
	}
	return refused("import the backup", answer)
}

// rest waits for an import whose answer was lost, and compares then. Where nothing at all has come in, it may not have
// reached Zipline yet: something in front of it may still hold it. It returns false when ctx's deadline is near.
func (t *Target) rest(ctx context.Context, r *app.Replay, p *plan, s importing) (*comparison, bool, error) {
	if s.Begun && !s.Answered {
		if still, err := t.settle(ctx); err != nil || !still {
			return nil, false, err
		}
	}
	c, err := t.compare(ctx, r, p, false)
	if err != nil || !s.Begun || s.Answered {
		return c, true, err
	}
	if _, begun := c.missing(); begun > 0 {
		return c, true, nil
	}
	waited, still, err := t.waitForLost(ctx, s)
	if err != nil || !still || !waited {
		return c, still, err
	}
	if still, err := t.settle(ctx); err != nil || !still {
		return nil, false, err
	}
	c, err = t.compare(ctx, r, p, false)
	return c, true, err
}

// restMetrics is rest, for an import of metrics.
func (t *Target) restMetrics(ctx context.Context, r *app.Replay, p *plan, s importing) (bool, error) {
	still, err := t.settle(ctx)
	if err != nil || !still {
		return false, err
	}
	c, err := t.compare(ctx, r, p, true)
	if err != nil || c.sum["metrics"].found > 0 {
		return true, err
	}
	waited, still, err := t.waitForLost(ctx, s)
	if err != nil || !still || !waited {
		return still, err
	}
	return t.settle(ctx)
}

// waitForLost waits until an import whose answer was lost can't arrive any more. It returns false for waited where that
// is so already, and for still when ctx's deadline is near.
func (t *Target) waitForLost(ctx context.Context, s importing) (waited, still bool, err error) {
	if !s.Lost {
		return false, true, nil
	}
	left := min(t.options.LostTimeout, t.options.LostTimeout-t.client.now().Sub(s.Sent))
	for ; left > 0; left -= settlePause {
		if t.nearEnd(ctx) {
			return waited, false, nil
		}
		if err := t.client.sleep(ctx, min(left, settlePause)); err != nil {
			return waited, false, fmt.Errorf("wait for an interrupted import: %w", err)
		}
		waited = true
	}
	return waited, true, nil
}

// settlePause is between two looks at an import that goes on.
const settlePause = 2 * time.Second

// settle waits until an import whose answer was lost has come to rest: Zipline goes on when its client is gone. It
// returns false when ctx's deadline is near.
func (t *Target) settle(ctx context.Context) (bool, error) {
	const still = 5
	var last counts
	for equal, rounds := 0, 0; equal < still; rounds++ {
		if t.nearEnd(ctx) {
			return false, nil
		}
		if time.Duration(rounds)*settlePause > t.options.SettleTimeout {
			return false, failure.New(failure.Transient, "an interrupted import has not come to rest within %s", t.options.SettleTimeout).
				WithHint("run again later; restarting Zipline ends the import")
		}
		now, err := t.counted(ctx)
		if err != nil {
			return false, err
		}
		if last != nil && reflect.DeepEqual(now, last) {
			equal++
		} else {
			equal = 0
		}
		last = now
		if err := t.client.sleep(ctx, settlePause); err != nil {
			return false, fmt.Errorf("wait for an interrupted import: %w", err)
		}
	}
	return true, nil
}

// shownPath writes a folder's path for a person.
func shownPath(path string) string { return strings.ReplaceAll(path, pathJoin, " / ") }
