// Package netguard fetches from addresses that strangers give: it is the only way from lifeboat to such a server.
//
// What it promises, on the first request and on each redirect: https on port 443 of a public server and nothing else,
// but for the hosts that the configuration allows; the IP address that is checked is the one that is dialled, so that a
// name cannot change in between; at most three redirects, never from https to http, without the credentials and the
// address of the hop before; no proxy, no cookies, no decompression; every wait and every body has a limit.
//
// Whoever gives an address learns nothing from a refusal: a host that is not allowed, one that does not exist, one that
// refuses the connection and one that is silent all have the same error. Why it was goes to the audit log, with the
// host and never with the path, the query or the user of the address, which may be secrets.
//
// It sits at the bottom, stores nothing and knows nothing of backups.
package netguard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/failure"
)

// Rules say what may be fetched. The zero value lets through https on port 443 of public servers, with the defaults.
type Rules struct {
	Allow    []Allowed      // hosts that may be private, on another port, or without TLS
	Roots    *x509.CertPool // who signs the certificates of servers; nil: the system's
	MaxBytes int64          // of one answer; 0: 1 TiB
	Timeout  time.Duration  // of one request with its redirects and its body; 0: 6 h
	Connect  time.Duration  // for one host: resolve, connect; and once more for TLS; 0: 10 s
	Idle     time.Duration  // without a byte, before an answer starts too; 0: 1 min
	Audit    *slog.Logger   // says why an address was refused; nil: nobody
	// Lookup resolves a name; nil: as the system does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

const (
	maxRedirects = 3
	maxHeader    = 64 << 10 // bytes of an answer's header
)

func (r Rules) withDefaults() Rules {
	orElse(&r.MaxBytes, 1<<40)
	orElse(&r.Timeout, 6*time.Hour)
	orElse(&r.Connect, 10*time.Second)
	orElse(&r.Idle, time.Minute)
	if r.Audit == nil {
		r.Audit = slog.New(slog.DiscardHandler)
	}
	if r.Lookup == nil {
		r.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return r
}

func orElse[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Client fetches by the rules. It is safe for concurrent use.
type Client struct {
	rules Rules
	http  *http.Client
	dial  dialFunc
}

// New returns a client. Close frees its idle connections.
func New(rules Rules) *Client {
	c := &Client{rules: rules.withDefaults(), dial: dial}
	transport := &http.Transport{
		DialContext:            c.connect,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: rules.Roots},
		TLSHandshakeTimeout:    c.rules.Connect,
		ResponseHeaderTimeout:  c.rules.Idle,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    1,
	}
	c.http = &http.Client{Transport: checked{c, transport}, CheckRedirect: redirect}
	return c
}

// Close frees the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check tells whether an address may be fetched, as far as its text says. What its name resolves to is checked when it
// is dialled.
func (c *Client) Check(address string) error {
	u, err := parse(address)
	if err == nil {
		err = c.rules.check(u)
	}
	if err != nil {
		return c.refuse(u, err)
	}
	return nil
}

// Get fetches an address and returns the answer, whatever its status. The caller closes the body, whose reads end with
// Transient where the connection breaks, and with Exhausted behind Rules.MaxBytes. Any other error is the one refusal,
// of kind Denied: it must not be told from what is not allowed that nothing answers, and what is not allowed is not
// worth another try. A canceled ctx is Canceled.
func (c *Client) Get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	if err := c.Check(address); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, c.rules.Timeout)
	request, err := http.NewRequestWithContext(limited, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, c.refuse(nil, err)
	}
	if header != nil {
		request.Header = header.Clone()
	}
	answer, err := c.http.Do(request)
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			return nil, failure.New(failure.Canceled, "fetch: %w", ctx.Err())
		}
		return nil, c.refuse(request.URL, err)
	}
	answer.Body = &body{ReadCloser: answer.Body, ctx: ctx, cancel: cancel, left: c.rules.MaxBytes}
	return answer, nil
}

// checked checks each request that goes out, those of redirects too.
type checked struct {
	client *Client
	next   *http.Transport
}

func (t checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.client.rules.check(r.URL); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client free what the transport holds.
func (t checked) CloseIdleConnections() { t.next.CloseIdleConnections() }

// harmless are the headers that may go to another server than the one they were meant for.
var harmless = map[string]bool{"Accept": true, "Accept-Encoding": true, "Range": true, "If-Range": true, "User-Agent": true}

// redirect decides about the next hop before it is asked for.
func redirect(next *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case len(via) > maxRedirects:
		return blocked("more than 3 redirects")
	case last.URL.Scheme == "https" && next.URL.Scheme != "https":
		return blocked("a redirect from https to " + scheme(next.URL))
	}
	next.Header.Del("Referer") // net/http would tell the next server the whole address of this one
	if slices.ContainsFunc(slices.Concat(via, []*http.Request{next}), func(hop *http.Request) bool {
		return hop.URL.Scheme != via[0].URL.Scheme || !strings.EqualFold(hop.URL.Host, via[0].URL.Host)
	}) {
		maps.DeleteFunc(next.Header, func(name string, _ []string) bool { return !harmless[name] })
	}
	return nil // RoundTrip checks its address
}

func scheme(u *url.URL) string {
	switch u.Scheme {
	case "http", "file", "ftp", "data", "gopher":
		return u.Scheme
	}
	return "another scheme"
}

// blocked is why the rules refuse an address. It holds no text of the address.
type blocked string

func (b blocked) Error() string { return string(b) }

// The one refusal.
const refused = "the address is not allowed, or nothing answers there as it should"

// hintFor says what to do about a refusal. It tells the entry that would allow the host of the address as it was given,
// whatever the reason is, and nothing that was learned of the host. u is nil where there is no address.
func hintFor(u *url.URL) string {
	entry := "HOST"
	if u != nil && (u.Scheme == "https" || u.Scheme == "http") && wellFormed(u) == nil {
		entry = strconv.Quote(Allowed{u.Scheme, canonical(u.Hostname()), port(u)}.String())
	}
	return "use the https address of a public server; a host of your own network must be allowed in lifeboat.yaml: fetch: {allow: [" + entry + "]}; the log says what was wrong (of a command: --verbose)"
}

// refusal is what stands behind every refusal.
type refusal struct{ passing bool }

func (refusal) Error() string { return refused }

// refuse writes why to the audit log and returns the one refusal. u may be nil.
func (c *Client) refuse(u *url.URL, err error) error {
	why, passing := reason(err)
	attributes := []any{"reason", why}
	if u != nil {
		attributes = append(attributes, "host", host(u))
	}
	if at, ok := errors.AsType[*url.Error](err); ok {
		if hop, err := url.Parse(at.URL); err == nil && u != nil && hop.Host != "" && host(hop) != host(u) {
			attributes = append(attributes, "redirected_to", host(hop))
		}
	}
	c.rules.Audit.Warn("an address was refused", attributes...)
	return failure.New(failure.Denied, "%w", refusal{passing}).WithHint("%s", hintFor(u))
}

// IsRefusal reports whether an error is the one refusal, or holds it.
func IsRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// Passing reports whether a refusal came from the network, so that another try may help. Only who has had an answer of
// this address before may act upon it: it tells what a refusal must not tell.
func Passing(err error) bool {
	r, ok := errors.AsType[refusal](err)
	return ok && r.passing
}

// reason returns what the audit log says of an error, and whether it may pass. The texts of net/http are left out: they
// quote addresses.
func reason(err error) (why string, passing bool) {
	var rule blocked
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var call *net.OpError
	switch {
	case errors.As(err, &rule):
		return string(rule), false
	case errors.As(err, &name) && name.IsNotFound:
		return "the name does not exist", false
	case errors.As(err, &name):
		return "the name could not be resolved", true
	case errors.As(err, &certificate):
		return "the certificate of the server is not trusted: " + certificate.Err.Error(), false
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "no answer in time", true
	case errors.As(err, &call):
		return "the network says: " + call.Err.Error(), true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer", true
	}
	return "the server does not speak HTTP as it should", true
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// body is the body of an answer.
type body struct {
	io.ReadCloser
	ctx    context.Context // of the caller of Get, for the time of the answer
	cancel context.CancelFunc
	left   int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return n + int(b.left), failure.New(failure.Exhausted, "the answer is larger than is allowed")
	case err == nil || err == io.EOF:
		return n, err
	case b.ctx.Err() != nil:
		return n, failure.New(failure.Canceled, "fetch: %w", b.ctx.Err())
	}
	return n, failure.New(failure.Transient, "the connection broke")
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
