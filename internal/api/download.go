package api

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"lifeboat/internal/failure"
)

// archives is the only prefix of the vault that leaves it through the proxy.
const archives = "archives/"

// Headers that pass through the proxy; all others stay where they are.
var (
	requestHeaders  = []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}
	responseHeaders = []string{
		"Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "Content-Type", "Etag", "Last-Modified",
	}
)

func (s *server) setProxy(p Proxy) error {
	endpoint, err := parseBase(p.Endpoint)
	if err != nil || strings.Trim(endpoint.Path, "/") != "" {
		return failure.New(failure.Usage, "the address of the vault's S3 server is no plain http or https URL without a path")
	}
	s.endpoint = endpoint
	s.proxy = &httputil.ReverseProxy{
		Transport: p.Transport, Rewrite: s.rewrite, ModifyResponse: modify, ErrorHandler: s.proxyFailed,
		ErrorLog: log.New(io.Discard, "", 0), // its lines may hold URLs; ErrorHandler logs
	}
	return nil
}

// proxied turns a presigned URL of the vault's server into its address on our origin, relative to /l/{token}.
func (s *server) proxied(presigned string) (string, error) {
	u, err := url.Parse(presigned)
	if err != nil || u.Host != s.endpoint.Host || !strings.HasPrefix(u.Path, "/"+s.Vault.Bucket()+"/"+archives) {
		return "", failure.New(failure.Internal, "the vault's presigned URL does not lead to the server that is proxied")
	}
	return "../download" + u.EscapedPath() + "?" + u.RawQuery, nil
}

// download passes a presigned request on. The vault's server checks the signature; here it is only made sure that
// nothing else gets through.
func (s *server) download(w http.ResponseWriter, r *http.Request) {
	if !s.mayPass(r) {
		s.explain(w, r, problem{
			Status: http.StatusNotFound, Kind: failure.NotFound, Title: "Nothing here",
			Message: "This is no download address.", Hint: "open the link from the mail and press the button there",
		})
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	s.proxy.ServeHTTP(w, r)
}

func (s *server) mayPass(r *http.Request) bool {
	key := r.PathValue("key")
	if r.PathValue("bucket") != s.Vault.Bucket() || !strings.HasPrefix(key, archives) || strings.Contains(r.URL.EscapedPath(), "%") {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["X-Amz-Signature"]) != 1 || query.Get("X-Amz-Signature") == "" {
		return false
	}
	for name := range query { // others would be sub-resources: ?acl, ?uploadId, …
		if !strings.HasPrefix(name, "X-Amz-") && !strings.HasPrefix(name, "response-content-") && name != "x-id" {
			return false
		}
	}
	return true
}

func (s *server) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL = &url.URL{
		Scheme: s.endpoint.Scheme, Host: s.endpoint.Host, RawQuery: p.In.URL.RawQuery,
		Path: "/" + p.In.PathValue("bucket") + "/" + p.In.PathValue("key"),
	}
	p.Out.Host = s.endpoint.Host // it is part of the signature
	p.Out.Header = http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"lifeboat"}}
	for _, name := range requestHeaders {
		if values := p.In.Header.Values(name); len(values) > 0 {
			p.Out.Header[name] = values
		}
	}
}

// upstreamError is an answer of the vault's server that people should not see as it is.
type upstreamError struct{ status int }

func (u *upstreamError) Error() string { return fmt.Sprintf("the vault's server answers %d", u.status) }

func modify(answer *http.Response) error {
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
	default:
		return &upstreamError{answer.StatusCode}
	}
	for name := range answer.Header {
		if !slices.Contains(responseHeaders, name) {
			answer.Header.Del(name)
		}
	}
	return nil
}

func (s *server) proxyFailed(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Content-Security-Policy", policy("'self'"))
	p := problem{
		Status: http.StatusBadGateway, Kind: failure.Transient, Title: "Try again later",
		Message: "The vault's server does not answer.", Hint: "try again in a minute",
	}
	if u, ok := errors.AsType[*upstreamError](err); ok {
		switch {
		case u.status >= 400 && u.status < 500 && u.status != http.StatusNotFound:
			p = problem{
				Status: http.StatusForbidden, Kind: failure.Denied, Title: "Download address expired",
				Message: "Download addresses work for a quarter of an hour.", Hint: "open the link from the mail and press the button again",
			}
		case u.status == http.StatusNotFound:
			p = problem{
				Status: http.StatusNotFound, Kind: failure.NotFound, Title: "Not there any more",
				Message: "The archive is not in the vault any more.", Hint: "`lifeboat list` shows what there is",
			}
		}
	}
	s.Log.WarnContext(r.Context(), "download failed", "status", p.Status, "error", quiet(err))
	s.explain(w, r, p)
}
