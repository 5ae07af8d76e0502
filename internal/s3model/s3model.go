// Package s3model is a model of an S3 store, for tests and benchmarks: an http.Handler that speaks path-style S3, in
// which a copy is a reference and content that is derived from a seed takes no room, so that gigabytes cost nothing.
//
// It refuses what AWS refuses (part sizes, numbers and order, ranges of small sources, conditions, checksums), and it
// can be slow, poor or broken as Options say: latencies and rates by worker, stores without copies or part checksums,
// a wrong checksum, refused copies, 503 answers. It counts what each worker asks for.
//
// What differs from AWS: signatures are not checked, only the access key in them is read (it names the worker); ETags
// are opaque, as those of SSE-KMS are; of the checksums only CRC-32 is known, others are ignored; there are no
// versions, tags, locks and policies; V1 listings are not spoken.
//
// Content written by clients lies in memory, as long as an object or a part refers to it. The store is safe for
// concurrent use.
package s3model

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of S3 (user guide, "Multipart upload limits"; UploadPartCopy).
const (
	minPart  = 5 << 20
	maxPart  = 5 << 30
	maxParts = 10_000
	maxKey   = 1024 // bytes
	page     = 1000 // entries of one answer
)

// Options say how the store behaves. The zero value is AWS without any delay.
type Options struct {
	PutLatency time.Duration // of PUT, POST, COPY and DELETE
	GetLatency time.Duration // of GET, HEAD and LIST; LIST counts as PUT-class in price all the same
	CopyRate   int64         // bytes a second of one copy request; 0 is at once
	LinkRate   int64         // bytes a second of one worker, each way; 0 is without limit

	Equal        bool // all parts but the last must have one size, as on R2
	NoCopy       bool // no ranged UploadPartCopy: 501
	NoPartCRC    bool // copies return no checksum
	WrongPartCRC bool // a ranged copy has the checksum of its whole source, as versitygw without our decorator
	DenyCopies   bool // every copy is refused: 403
	SlowEvery    int  // every n-th request is answered with 503 SlowDown; 0 is none
}

// Server is the store.
type Server struct {
	options  Options
	requests atomic.Int64
	slower   atomic.Int64 // 0 is 1

	mutex   sync.Mutex // over all below; never held while content moves
	buckets map[string]*bucket
	workers map[string]*worker
	next    int64 // names uploads
}

// New returns an empty store.
func New(options Options) *Server {
	return &Server{options: options, buckets: map[string]*bucket{}, workers: map[string]*worker{}}
}

// Slow makes every latency and transfer take factor times as long from now on. Where workers share processors that they
// would not share otherwise, times that are divided by the factor are nearer to those with processors of their own.
func (s *Server) Slow(factor int) { s.slower.Store(int64(factor)) }

func (s *Server) factor() int64 { return max(1, s.slower.Load()) }

// Close forgets everything. Its error is always nil.
func (s *Server) Close() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	clear(s.buckets)
	return nil
}

// ServeHTTP implements http.Handler. GET /-/counters answers with Counters as JSON.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/counters" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Counters())
		return
	}
	c := &call{w: w, r: r, s: s, query: r.URL.Query(), worker: s.worker(r)}
	err := c.serve()
	if err == nil {
		return
	}
	if c.begun { // too late for another answer: the client must see that it is short
		panic(http.ErrAbortHandler)
	}
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		refused = refuse(http.StatusInternalServerError, "InternalError", "%v", err)
	}
	c.refuse(refused)
}

// call is one request.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	s      *Server
	query  map[string][]string
	worker *worker
	bucket string
	key    string
	begun  bool // the answer has begun
}

func (c *call) has(name string) bool { _, ok := c.query[name]; return ok }

func (c *call) arg(name string) string { return c.r.URL.Query().Get(name) }

func (c *call) serve() error {
	c.bucket, c.key, _ = strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/"), "/")
	class := ClassOf(c.r)
	c.worker.add(One(class))
	if n := c.s.options.SlowEvery; n > 0 && c.s.requests.Add(1)%int64(n) == 0 {
		return refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	}
	if err := c.wait(c.s.latency(class) * time.Duration(c.s.factor())); err != nil {
		return err
	}
	if len(c.key) > maxKey {
		return refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	if c.key == "" {
		return c.serveBucket()
	}
	return c.serveObject()
}

func (s *Server) latency(class Class) time.Duration {
	if class == Get || class == List {
		return s.options.GetLatency
	}
	return s.options.PutLatency
}

// wait returns early with an error where the client is gone.
func (c *call) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.r.Context().Done():
		return c.r.Context().Err()
	case <-timer.C:
		return nil
	}
}

func (c *call) serveBucket() error {
	b, there := c.s.find(c.bucket)
	switch method := c.r.Method; {
	case c.bucket == "":
		return refuse(http.StatusNotImplemented, "NotImplemented", "buckets are not listed here")
	case method == http.MethodPut:
		return c.createBucket()
	case !there:
		return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	case method == http.MethodHead:
		return nil
	case method == http.MethodPost && c.has("delete"):
		return c.deleteObjects(b)
	case method == http.MethodGet && c.has("location"):
		return c.answer(locationConstraint{})
	case method == http.MethodGet && c.has("uploads"):
		return c.listUploads(b)
	case method == http.MethodGet && c.arg("list-type") == "2":
		return c.listObjects(b)
	}
	return refuse(http.StatusNotImplemented, "NotImplemented", "%s of a bucket is not known here", c.r.Method)
}

func (c *call) serveObject() error {
	b, there := c.s.find(c.bucket)
	if !there {
		return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	copied := c.r.Header.Get("X-Amz-Copy-Source") != ""
	switch method := c.r.Method; {
	case method == http.MethodPost && c.has("uploads"):
		return c.createUpload(b)
	case method == http.MethodPost && c.has("uploadId"):
		return c.complete(b)
	case method == http.MethodDelete && c.has("uploadId"):
		return c.abort(b)
	case method == http.MethodGet && c.has("uploadId"):
		return c.listParts(b)
	case method == http.MethodPut && c.has("uploadId") && copied:
		return c.copyPart(b)
	case method == http.MethodPut && c.has("uploadId"):
		return c.uploadPart(b)
	case method == http.MethodPut && copied:
		return c.copyObject(b)
	case method == http.MethodPut:
		return c.putObject(b)
	case method == http.MethodGet, method == http.MethodHead:
		return c.getObject(b)
	case method == http.MethodDelete:
		return c.deleteObject(b)
	}
	return refuse(http.StatusNotImplemented, "NotImplemented", "%s of an object is not known here", c.r.Method)
}

// refusal is an error as S3 sends it.
type refusal struct {
	status  int
	code    string
	message string
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}
