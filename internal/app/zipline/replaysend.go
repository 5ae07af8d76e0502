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

const importPath = "/api/server/import/v4"

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
	answer, err := t.send(ctx, func() (*http.Response, error) {
		reader, writer := io.Pipe()
		written := make(chan error, 1)
		go func() {
			err := writeCopy(ctx, writer, r, p, part, admin)
			writer.CloseWithError(err)
			written <- err
		}()
		answer, err := t.client.request(ctx, http.MethodPost, importPath, "", reader, t.options.ImportTimeout)
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

// settle waits until an import whose answer was lost has come to rest: Zipline goes on when its client is gone. It
// returns false when ctx's deadline is near.
func (t *Target) settle(ctx context.Context) (bool, error) {
	const pause, still = 2 * time.Second, 5
	var last counts
	for equal, rounds := 0, 0; equal < still; rounds++ {
		if t.nearEnd(ctx) {
			return false, nil
		}
		if time.Duration(rounds)*pause > t.options.SettleTimeout {
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
		if err := t.client.sleep(ctx, pause); err != nil {
			return false, fmt.Errorf("wait for an interrupted import: %w", err)
		}
	}
	return true, nil
}

// shownPath writes a folder's path for a person.
func shownPath(path string) string { return strings.ReplaceAll(path, pathJoin, " / ") }
