package runtimeapi

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Guard stands between a function and an S3 server and lets through what a policy allows, as IAM would: everything else
// is answered with 403 AccessDenied, and remembered. Requests are path-style.
type Guard struct {
	// May reports whether an action is allowed on an object, or on the bucket itself where key is "".
	May func(action, bucket, key string) bool
	// Ask takes the place of May where it is set: it sees the request, too, whose body it must not read. What is asked of an
	// answer, s3:GetObjectRetention on a GET or HEAD, refuses nothing: S3 leaves out when the lock ends.
	Ask func(r *http.Request, action, bucket, key string) bool
	// Owner is the account that requests must name as that of a bucket, "" for any; nil: none need to.
	Owner func(bucket string) string
	// Forward changes what is sent on to the server; may be nil.
	Forward func(r *http.Request)

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
		if g.Forward != nil {
			g.Forward(r.Out)
		}
	}, ModifyResponse: g.answer, ErrorLog: log.New(io.Discard, "", 0)} // a function that is killed hangs up
	return g, nil
}

// may asks about one action.
func (g *Guard) may(r *http.Request, u use) bool {
	if g.Ask != nil {
		return g.Ask(r, u.action, u.bucket, u.key)
	}
	return g.May(u.action, u.bucket, u.key)
}

// answer changes what the server says into what S3 would say to whoever asks.
func (g *Guard) answer(response *http.Response) error {
	g.unlock(response)
	return g.hide(response)
}

// lockHeaders say in an answer whether an object is locked.
var lockHeaders = []string{"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date"}

// unlock leaves out of an answer when the lock of an object ends, for who may not know. A HEAD is how one looks for a lock,
// also where there is none.
func (g *Guard) unlock(response *http.Response) {
	r := response.Request
	if r.Method != http.MethodHead && (r.Method != http.MethodGet || response.Header.Get(lockHeaders[0]) == "") || response.StatusCode != http.StatusOK {
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	see := use{"s3:GetObjectRetention", bucket, key}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.may(r, see) {
		g.used[see] = true
		return
	}
	for _, name := range lockHeaders {
		response.Header.Del(name)
	}
}

// hide makes "forbidden" of "not found" for who may not list the bucket, as S3 does.
func (g *Guard) hide(response *http.Response) error {
	r := response.Request
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if response.StatusCode != http.StatusNotFound || key == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil
	}
	list := use{"s3:ListBucket", bucket, ""}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.used[list] = true
	if g.may(r, list) {
		return nil
	}
	g.bad = append(g.bad, fmt.Sprintf("%s %s/", list.action, bucket))
	_ = response.Body.Close()
	response.StatusCode, response.Status = http.StatusForbidden, "403 Forbidden"
	response.Body, response.ContentLength = io.NopCloser(strings.NewReader(denied)), int64(len(denied))
	response.Header.Set("Content-Length", strconv.Itoa(len(denied)))
	if r.Method == http.MethodHead {
		response.Body = http.NoBody
	}
	return nil
}

const denied = `<Error><Code>AccessDenied</Code><Message>the role does not allow it</Message></Error>`

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
		unnamed := g.Owner != nil && !owned(r, u.bucket, g.Owner(u.bucket))
		if unnamed || !g.may(r, u) {
			refused := fmt.Sprintf("%s %s/%s", u.action, u.bucket, u.key)
			if unnamed {
				refused += " without naming its owner"
			}
			g.bad = append(g.bad, refused)
			g.mutex.Unlock()
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, denied)
			return
		}
	}
	g.mutex.Unlock()
	g.proxy.ServeHTTP(w, r)
}

// owned reports whether a request names the owner of a bucket, wherever it concerns it: as its own, or as what it copies
// from. Who follows a presigned URL sends no header.
func owned(r *http.Request, bucket, owner string) bool {
	of := func(path string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return name == bucket
	}
	switch {
	case owner == "" || r.URL.Query().Has("X-Amz-Signature"):
		return true
	case of(r.URL.Path) && r.Header.Get("X-Amz-Expected-Bucket-Owner") != owner:
		return false
	}
	return !of(r.Header.Get("X-Amz-Copy-Source")) || r.Header.Get("X-Amz-Source-Expected-Bucket-Owner") == owner
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
	case query.Has("retention") && r.Method == http.MethodPut:
		return one("s3:PutObjectRetention"), nil
	case query.Has("retention"):
		return one("s3:GetObjectRetention"), nil
	case r.Method == http.MethodDelete && query.Has("versionId"):
		return one("s3:DeleteObjectVersion"), nil
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
