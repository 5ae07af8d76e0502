package zipline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/datasource/idle"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

const (
	exportPath = "/api/server/export"
	// maxErrorBody bounds what is read of an answer that is no export.
	maxErrorBody = 64 << 10
	// maxWaits and maxWait bound how often, and how long each time, a rate limit is waited for.
	maxWaits = 3
	maxWait  = 30 * time.Second
	// What the options say where they say nothing.
	timeout       = 15 * time.Second
	exportTimeout = 5 * time.Minute
)

// client asks one Zipline. Every wait of a request is limited: for the answer to start and for each read of it.
type client struct {
	side  string // "target", or "" for a source: what errors call the settings that are wrong
	base  *url.URL
	token secret.String
	http  *http.Client
	idle  time.Duration
	sleep func(context.Context, time.Duration) error
	now   func() time.Time
}

// newClient returns c as the client of the Zipline at an address, with what it lacks. It checks address and token, with
// Usage errors, and asks nobody.
func newClient(address string, c client) (_ *client, err error) {
	if c.base, err = parseURL(address); err != nil {
		return nil, err
	}
	if err := checkToken(c.token); err != nil {
		return nil, err
	}
	if c.http == nil {
		c.http = newHTTP()
	}
	answers := *c.http
	answers.CheckRedirect = sameServer
	c.http = &answers
	if c.sleep == nil {
		c.sleep = sleep
	}
	if c.now == nil {
		c.now = time.Now
	}
	orStandard(&c.idle, time.Minute)
	return &c, nil
}

func orStandard(limit *time.Duration, standard time.Duration) {
	if *limit <= 0 {
		*limit = standard
	}
}

func parseURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, failure.New(failure.Usage, "the url of Zipline is no http or https address").
			WithHint("it looks like https://files.example.org")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, failure.New(failure.Usage, "the url of Zipline holds more than an address").
			WithHint("leave out user names, passwords, and what follows ? or #; the token has its own setting")
	}
	return base, nil
}

func checkToken(token secret.String) error {
	value := token.Reveal()
	switch {
	case value == "":
		return failure.New(failure.Usage, "Zipline needs a token").
			WithHint("copy the token of a SUPERADMIN from Zipline's user menu")
	case strings.HasPrefix(strings.ToLower(value), "bearer "):
		return failure.New(failure.Usage, "the token of Zipline starts with “Bearer”").
			WithHint("Zipline wants the bare token")
	case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return failure.New(failure.Usage, "the token of Zipline holds characters that no token has").
			WithHint("copy it again, without spaces and line breaks")
	}
	return nil
}

func (c *client) whose() string { return cmp.Or(c.side, "source") }

// newHTTP returns a client whose transport limits connecting; the guard of each request limits the rest.
func newHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	transport.TLSHandshakeTimeout = 10 * time.Second
	transport.MaxResponseHeaderBytes = 1 << 20
	return &http.Client{Transport: transport}
}

var errRedirect = errors.New("redirected elsewhere")

// sameServer lets a redirect pass only where the token may go: the same host, and never from https to http.
func sameServer(next *http.Request, via []*http.Request) error {
	from, to := via[0].URL, next.URL
	upgraded := from.Scheme == "http" && to.Scheme == "https" && from.Hostname() == to.Hostname()
	if len(via) > 3 || !upgraded && (from.Scheme != to.Scheme || from.Host != to.Host) {
		return errRedirect
	}
	return nil
}

// get asks for the export with the query and returns a 200 answer, whose body is JSON as far as its head says. The
// caller closes its body. Any other answer is an error with a kind and a hint. It waits for a rate limit.
func (c *client) get(ctx context.Context, query string, headers time.Duration) (*http.Response, error) {
	for waited := 0; ; waited++ {
		answer, err := c.request(ctx, http.MethodGet, exportPath, query, nil, headers)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode == http.StatusOK && !isPage(answer.Header) {
			return answer, nil
		}
		body := c.errorBody(answer)
		if answer.StatusCode != http.StatusTooManyRequests || waited == maxWaits {
			return nil, explain(c.whose(), answer, body)
		}
		if err := c.sleep(ctx, c.retryAfter(answer.Header)); err != nil {
			return nil, fmt.Errorf("wait for Zipline's rate limit: %w", err)
		}
	}
}

// request sends one request and returns its answer, whatever its status. A body is JSON, of unknown length where it
// is no bytes.Reader; the server may take at most the idle time for each piece of it. limit is for all until the answer
// starts.
func (c *client) request(ctx context.Context, method, path, query string, body io.Reader, limit time.Duration) (*http.Response, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query
	guarded, guard := idle.New(ctx, limit)
	if _, known := body.(*bytes.Reader); body != nil && !known {
		stalled := time.AfterFunc(c.idle, guard.Stop)
		defer stalled.Stop()
		body = moving(body, stalled, c.idle)
	}
	request, err := http.NewRequestWithContext(guarded, method, target.String(), body)
	if err != nil {
		guard.Stop()
		return nil, fmt.Errorf("ask Zipline: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", c.token.Reveal())
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "lifeboat")
	answer, err := c.http.Do(request)
	if err != nil {
		expired := guard.Expired()
		guard.Stop()
		return nil, c.unanswered(ctx, err, expired, limit)
	}
	answer.Body = guard.Body(answer.Body, c.idle)
	return answer, nil
}

// repeatable returns what sends a small request as often as it is called, with body as JSON, or none.
func (c *client) repeatable(ctx context.Context, method, path, query string, body any, limit time.Duration) (func() (*http.Response, error), error) {
	if body == nil {
		return func() (*http.Response, error) { return c.request(ctx, method, path, query, nil, limit) }, nil
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode a request to Zipline: %w", err)
	}
	return func() (*http.Response, error) {
		return c.request(ctx, method, path, query, bytes.NewReader(encoded), limit)
	}, nil
}

// moving puts a timer off with each read, and stops it at the end.
func moving(body io.Reader, stalled *time.Timer, limit time.Duration) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		stalled.Reset(limit)
		n, err := body.Read(p)
		if err != nil {
			stalled.Stop()
		}
		return n, err
	})
}

// unanswered gives the error of a request without an answer its kind.
func (c *client) unanswered(ctx context.Context, err error, expired bool, limit time.Duration) error {
	host := c.base.Host
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the address, which is said better below
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("ask Zipline at %s: %w", host, ctx.Err())
	case expired:
		return failure.New(failure.Transient, "Zipline at %s did not answer within %s", host, limit).
			WithHint("check that Zipline runs and isn't overloaded, then run again")
	case errors.Is(err, errRedirect):
		return failure.New(failure.Invalid, "%s redirects to another server; the token was not sent there", host).
			WithHint("put the address that Zipline really has into the %s's url", c.whose())
	case isTLS(err):
		return failure.New(failure.Invalid, "no trusted TLS connection to %s: %w", host, err).
			WithHint("check that the url has the right scheme, http or https, and that this machine trusts the server's certificate")
	}
	return failure.New(failure.Transient, "Zipline at %s can't be reached: %w", host, plainly(err)).
		WithHint("check the %s's url, and that Zipline runs and can be reached from this machine", c.whose())
}

// plainly takes the operation and the addresses out of a network's error: they are said already.
func plainly(err error) error {
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		err = operation.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed without an answer")
	}
	return err
}

func isTLS(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ") ||
		strings.Contains(text, "server gave HTTP response to HTTPS client")
}

// errorBody reads the start of an answer that is no export, closes it, and takes the token out of it, in case
// that something in between echoes it.
func (c *client) errorBody(answer *http.Response) []byte {
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody)) // a broken body leaves the status
	return []byte(strings.ReplaceAll(string(body), c.token.Reveal(), "[redacted]"))
}

// retryAfter returns how long the answer asks to wait, bounded.
func (c *client) retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return min(max(time.Duration(min(seconds, 3600))*time.Second, time.Second), maxWait)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(c.now()), time.Second), maxWait)
	}
	return time.Second
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
