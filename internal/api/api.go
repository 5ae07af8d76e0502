// Package api is what lifeboat serves over HTTP: the landing pages of links, the downloads behind them, what robots ask
// of restores, and a health check.
//
//	GET  /l/{token}    shows what a link leads to and changes nothing, however often a mail scanner comes by
//	POST /l/{token}    counts a download and answers 303 to a presigned URL of at most 15 minutes
//	GET  /download/…   passes such a URL on to the vault's own S3 server, where that one listens on loopback only
//	GET  /healthz      says ok
//	GET  /backups?source=photos&limit=50   the records of the newest backups, without their lists
//	GET  /backups/{id}    one record
//	POST /backups         starts a backup: 202, its id and its Location
//	GET  /restores?limit=50   the records of the newest restores, without their lists
//	GET  /restores/{id}   one record, its log of steps included
//	POST /restores        starts a restore: 202, its id and its Location
//
// What is about backups and restores is for those who are known: by the header Authorization: Bearer TOKEN (see Token),
// or by an authorizer in front of this handler (Options.Who). It answers in JSON, errors as application/problem+json, and
// is cheap to follow: the ETag of an answer, sent back as If-None-Match, gives 304 until something has changed. What
// starts something takes JSON of at most 64 KiB, and an Idempotency-Key: equal keys start once. The same addresses below
// /api/ are the same.
//
// A token opens an archive, so it is never logged: log lines carry the link's id. Nothing is stored here; the state of
// links is package link's. There is no cookie and no session: whoever has the token (and the code, where the archive
// holds secrets) may download.
package api

import (
	"context"
	"embed"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Records reads the catalog. NotFound where there is no such backup.
type Records interface {
	Record(ctx context.Context, source backup.Source, id backup.ID) (catalog.Record, error)
}

// Options of the handler.
type Options struct {
	Links    *link.Service
	Records  Records
	Vault    *vault.Vault
	Restores Restores // nil: there is nothing but links
	Starter  Starter  // nil: nothing can be started
	// Who returns whom an authorizer in front of the handler has let through, or "". The API takes no token then.
	Who       func(*http.Request) string
	Token     secret.String    // of the API, as Token returns it; without Who
	PublicURL string           // where people reach the handler, such as https://backup.example.org; empty: loopback only
	Proxy     *Proxy           // nil: people reach the vault's S3 server themselves
	Log       *slog.Logger     // nil: no log
	Now       func() time.Time // time.Now when nil
}

// Proxy says how to reach an S3 server that only this machine reaches.
type Proxy struct {
	Endpoint  string            // base URL of the server, as the vault's client has it, without a path
	Transport http.RoundTripper // http.DefaultTransport when nil
}

type server struct {
	Options
	hosts    map[string]bool
	origin   http.CrossOriginProtection
	endpoint *url.URL // nil without a proxy
	proxy    *httputil.ReverseProxy
}

//go:embed assets
var assets embed.FS

// New returns the handler, or a Usage error where an address in the options is none. It is safe for concurrent use.
func New(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{Options: o, hosts: map[string]bool{"localhost": true}}
	if err := s.allowPublic(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /l/{token}", s.landing)
	mux.HandleFunc("POST /l/{token}", s.mint)
	mux.Handle("GET /assets/style.css", http.FileServerFS(assets))
	if o.Proxy != nil {
		if err := s.setProxy(*o.Proxy); err != nil {
			return nil, err
		}
		mux.HandleFunc("GET /download/{bucket}/{key...}", s.download)
	}
	if err := s.routeAPI(mux); err != nil {
		return nil, err
	}
	mux.HandleFunc("/", s.nothing)
	return s.logged(s.guarded(mux)), nil
}

func (s *server) allowPublic() error {
	if s.PublicURL == "" {
		return nil
	}
	u, err := parseBase(s.PublicURL)
	if err != nil {
		return failure.New(failure.Usage, "the public address of serve: %w", err).
			WithHint("write serve: {public-url: https://backup.example.org}")
	}
	s.hosts[hostName(u.Host)] = true
	return s.origin.AddTrustedOrigin(u.Scheme + "://" + u.Host)
}

func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, failure.New(failure.Usage, "it is no URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, failure.New(failure.Usage, "it is no plain http or https URL")
	}
	return u, nil
}

func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// guarded sets the headers of every answer and refuses hosts that are not ours (DNS rebinding). A load balancer may
// check the health under any name.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy("'self'"))
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.URL.Path != "/healthz" && !s.ours(r.Host) && !s.vouched(r) {
			s.explain(w, r, problem{
				Status: http.StatusMisdirectedRequest, Kind: failure.Denied, Title: "Wrong address",
				Message: "This server does not go by the name that was asked for.",
				Hint:    "set serve: {public-url: …} in lifeboat.yaml to the address that people use",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// policy is the Content-Security-Policy of a page. Browsers hold form-action against redirects, too.
func policy(formAction string) string {
	return "default-src 'none'; style-src 'self'; form-action " + formAction + "; base-uri 'none'; frame-ancestors 'none'"
}

// vouched reports whether an authorizer has let the request through: what routed it there has looked at the host.
func (s *server) vouched(r *http.Request) bool { return s.Who != nil && s.Who(r) != "" }

func (s *server) ours(host string) bool {
	name := hostName(host)
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return s.hosts[name]
}

func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// crossOrigin refuses forms that other sites submit. Under our Referrer-Policy, a browser without Sec-Fetch-Site (plain
// http on a name that is not loopback) sends Origin: null with our own form; then the nonce, which is bound to the
// token, must do: there is no cookie that a foreign form could ride on.
func (s *server) crossOrigin(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "null" {
		return nil
	}
	return s.origin.Check(r)
}

func (s *server) nothing(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		s.explain(w, r, problem{
			Status: http.StatusMethodNotAllowed, Kind: failure.Usage, Title: "Not that way",
			Message: "This address does not take what was sent.",
		})
		return
	}
	s.explain(w, r, problem{
		Status: http.StatusNotFound, Kind: failure.NotFound, Title: "Nothing here",
		Message: "There is no page at this address.", Hint: "check that the link from the mail was copied completely",
	})
}
