package zipline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/failure"
)

// maxAnswer bounds the answer to a small request.
const maxAnswer = 16 << 20

// reply is an answer that has arrived.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) ok() bool { return r.StatusCode/100 == 2 && !isPage(r.Header) }

// said returns what Zipline's error says.
func (r reply) said() (c complaint) {
	_ = json.Unmarshal(r.body, &c) // no JSON: it says nothing
	return c
}

// call sends a small request and returns its answer, whatever its status but 429: it waits for a rate limit. A request
// without an answer is Transient.
func (t *Target) call(ctx context.Context, method, path, query string, body any) (reply, error) {
	request, err := t.client.repeatable(ctx, method, path, query, body, t.options.Timeout)
	if err != nil {
		return reply{}, err
	}
	return t.send(ctx, request)
}

// send sends a request, again after a rate limit, and reads its answer.
func (t *Target) send(ctx context.Context, request func() (*http.Response, error)) (reply, error) {
	for waited := 0; ; waited++ {
		answer, err := request()
		if err != nil {
			return reply{}, err
		}
		if answer.StatusCode == http.StatusTooManyRequests && waited < maxWaits {
			t.client.errorBody(answer)
			if err := t.client.sleep(ctx, t.client.retryAfter(answer.Header)); err != nil {
				return reply{}, fmt.Errorf("wait for Zipline's rate limit: %w", err)
			}
			continue
		}
		body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		_ = answer.Body.Close() // all that is needed was read
		if err != nil {
			return reply{}, failure.New(failure.Transient, "the connection to %s broke during an answer: %w", t.client.base.Host, plainly(err)).
				WithHint("run again")
		}
		return reply{Response: answer, body: bytes.ReplaceAll(body, []byte(t.client.token.Reveal()), []byte("[redacted]"))}, nil
	}
}

// refused maps an answer that is no success to an error; doing says what was asked.
func refused(doing string, r reply) error {
	words := quote(r.said().Error, r.Response)
	kind, hint := failure.Invalid, "check that the target's url is that of Zipline itself, 4.4.2 or newer, and look into Zipline's log"
	switch status := r.StatusCode; {
	case status == 401 || status == 403:
		kind, hint = failure.Denied, "put the token of a SUPERADMIN of the target into its settings, bare, without “Bearer”"
	case status == 429:
		kind, hint = failure.Transient, "Zipline's rate limit does not end: run again later"
	case status >= 500:
		kind, hint = failure.Transient, "look into Zipline's log, then run again"
	}
	return failure.New(kind, "%s: Zipline refuses (%s)", doing, words).WithHint("%s", hint)
}

// ask gets a small JSON document.
func (t *Target) ask(ctx context.Context, doing, path, query string, into any) error {
	r, err := t.call(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if !r.ok() {
		return refused(doing, r)
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return failure.New(failure.Invalid, "%s: the answer is not one of Zipline's", doing).
			WithHint("check that the target's url is that of Zipline itself, without a path")
	}
	return nil
}

// person is the user that a token belongs to.
type person struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Role     string `json:"role"`
}

// whoami returns the importing administrator: Denied where the token is of nobody, or of another role.
func (t *Target) whoami(ctx context.Context) (person, error) {
	var answer struct {
		User person `json:"user"`
	}
	if err := t.ask(ctx, "ask the target whose token it is", "/api/user", "", &answer); err != nil {
		return person{}, err
	}
	switch me := answer.User; {
	case me.ID == "" || me.Username == "":
		return person{}, failure.New(failure.Invalid, "the target does not say whose token it is").
			WithHint("check that the target's url is that of Zipline itself, without a path")
	case me.Role != "SUPERADMIN":
		return person{}, failure.New(failure.Denied, "the token of the target belongs to %s, whose role is %s", strconv.QuoteToGraphic(shorten(me.Username)), shorten(me.Role)).
			WithHint("use the token of a user whose role is SUPERADMIN: only that may import")
	case strings.Contains(me.Username, ":"):
		return person{}, failure.New(failure.Invalid, "the importing administrator's name has a “:”, and so this Zipline can't make an export").
			WithHint("rename the user in Zipline, or use the token of another SUPERADMIN")
	default:
		return me, nil
	}
}

// counted counts the target's rows, by itself where it can, or else in an export.
func (t *Target) counted(ctx context.Context) (counts, error) {
	var counted counts
	err := t.ask(ctx, "count the target's rows", exportPath, "counts=true", &counted)
	if failure.KindOf(err) != failure.Invalid {
		return counted, err
	}
	counted = counts{} // before 4.5.0
	_, err = t.exportOf(true).walk(ctx, func(array string, _ int64, _ fields) error {
		counted[array]++
		return nil
	}, nil)
	return counted, err
}

// space is what the target says of its datasource.
type space struct {
	Datasource string `json:"datasource"`
	Storage    struct {
		Available *int64 `json:"available"`
	} `json:"storage"`
}

// version is a version of Zipline: major, minor, patch.
type version [3]int

// oldest is the first version whose import keeps nested folders; decodes is the last one that decodes the names of
// files that it imports.
var oldest, decodes = version{4, 4, 2}, version{4, 6, 3}

func parseVersion(text string) (v version, ok bool) {
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-")
	parts := strings.Split(text, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

func (v version) before(w version) bool { return slices.Compare(v[:], w[:]) < 0 }

// nearEnd reports whether so little is left of ctx's deadline that nothing should be begun.
func (t *Target) nearEnd(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return limited && time.Until(end) < 20*time.Second
}
