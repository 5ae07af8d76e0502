package runtimeapi

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Guard stands between a function and an S3 server and lets through what a policy allows, as IAM would: everything else
// is answered with 403 AccessDenied, and remembered. Requests are path-style.
type Guard struct {
	// May reports whether an action is allowed on an object, or on the bucket itself where key is "".
	May func(action, bucket, key string) bool

	proxy httputil.ReverseProxy
	mutex sync.Mutex
	used  map[use]bool
	bad   []string
}

// NewGuard returns the guard of a server.
func NewGuard(server string, transport http.RoundTripper, may func(action, bucket, key string) bool) (*Guard, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	g := &Guard{May: may, used: map[use]bool{}}
	g.proxy = httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.Out.Host = r.In.Host // the signature is over the host that was asked
		r.Out.Header["X-Forwarded-For"] = nil
	}}
	return g, nil
}

// Refused returns what was refused, in order.
func (g *Guard) Refused() []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.Clone(g.bad)
}

// Used reports whether an action was asked for on a bucket, with a key that is meant; the key is "" on the bucket itself.
func (g *Guard) Used(action, bucket string, meant func(key string) bool) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for u := range g.used {
		if u.action == action && u.bucket == bucket && meant(u.key) {
			return true
		}
	}
	return false
}

// use is one action of a request.
type use struct {
	action, bucket, key string
}

// ServeHTTP implements http.Handler.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	uses, err := usesOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.mutex.Lock()
	for _, u := range uses {
		g.used[u] = true
		if !g.May(u.action, u.bucket, u.key) {
			g.bad = append(g.bad, fmt.Sprintf("%s %s/%s", u.action, u.bucket, u.key))
			g.mutex.Unlock()
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>the role does not allow it</Message></Error>`)
			return
		}
	}
	g.mutex.Unlock()
	g.proxy.ServeHTTP(w, r)
}

// usesOf returns the actions that S3 asks for before it answers a request.
func usesOf(r *http.Request) ([]use, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	one := func(action string) []use { return []use{{action, bucket, key}} }
	if key == "" {
		return onBucket(r, bucket, query)
	}
	switch {
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && query.Has("uploadId"):
		return one("s3:ListMultipartUploadParts"), nil
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return one("s3:GetObject"), nil
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return one("s3:AbortMultipartUpload"), nil
	case r.Method == http.MethodDelete:
		return one("s3:DeleteObject"), nil
	case r.Method == http.MethodPost:
		return one("s3:PutObject"), nil
	case r.Method == http.MethodPut:
		uses := one("s3:PutObject")
		if r.Header.Get("If-Match") != "" {
			uses = append(uses, use{"s3:GetObject", bucket, key})
		}
		if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
			path, err := url.PathUnescape(strings.TrimPrefix(source, "/"))
			from, of, _ := strings.Cut(path, "/")
			of, _, _ = strings.Cut(of, "?versionId=")
			return append(uses, use{"s3:GetObject", from, of}), err
		}
		return uses, nil
	}
	return one("s3:" + r.Method), nil
}

func onBucket(r *http.Request, bucket string, query url.Values) ([]use, error) {
	switch {
	case r.Method == http.MethodGet && query.Has("uploads"):
		return []use{{"s3:ListBucketMultipartUploads", bucket, ""}}, nil
	case r.Method == http.MethodGet && query.Has("list-type"), r.Method == http.MethodHead:
		return []use{{"s3:ListBucket", bucket, ""}}, nil
	case r.Method == http.MethodPost && query.Has("delete"):
		return deleted(r, bucket)
	}
	return []use{{"s3:" + r.Method + "?" + r.URL.RawQuery, bucket, ""}}, nil
}

// deleted reads which objects are deleted together. The body is put back as it was.
func deleted(r *http.Request, bucket string) ([]use, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	from := bytes.IndexByte(body, '<') // chunks of a signed stream have a head of their own
	var request struct {
		Object []struct{ Key string }
	}
	if from < 0 {
		return nil, fmt.Errorf("a deletion of nothing")
	}
	if err := xml.NewDecoder(bytes.NewReader(body[from:])).Decode(&request); err != nil {
		return nil, err
	}
	var uses []use
	for _, o := range request.Object {
		uses = append(uses, use{"s3:DeleteObject", bucket, o.Key})
	}
	return uses, nil
}
