package s3model

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Class is what a request is priced as.
type Class int

// Classes of requests. S3 prices LIST like PUT; DELETE and abort are free.
const (
	Put Class = iota // PUT, COPY, POST
	Get              // GET, HEAD
	List
	Free
)

// ClassOf returns what a path-style request is priced as.
func ClassOf(r *http.Request) Class {
	query := r.URL.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodDelete, query.Has("delete"):
		return Free
	case r.Method == http.MethodGet && (key == "" || query.Has("uploadId")):
		return List
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return Get
	}
	return Put
}

// Counters are what one worker has asked for.
type Counters struct {
	Put        int64 `json:"put"`
	Get        int64 `json:"get"`
	List       int64 `json:"list"`
	Free       int64 `json:"free"`
	Uploaded   int64 `json:"uploaded"`   // bytes of contents that the worker sent
	Downloaded int64 `json:"downloaded"` // and received
	Copied     int64 `json:"copied"`     // bytes that copies referred to
}

// PutClass is how many requests have the price of a PUT.
func (c Counters) PutClass() int64 { return c.Put + c.List }

// One returns one request of a class.
func One(class Class) Counters {
	switch class {
	case Put:
		return Counters{Put: 1}
	case Get:
		return Counters{Get: 1}
	case List:
		return Counters{List: 1}
	}
	return Counters{Free: 1}
}

// Add returns the sum of both.
func (c Counters) Add(o Counters) Counters {
	return Counters{c.Put + o.Put, c.Get + o.Get, c.List + o.List, c.Free + o.Free, c.Uploaded + o.Uploaded, c.Downloaded + o.Downloaded, c.Copied + o.Copied}
}

// Sub returns what was counted since o.
func (c Counters) Sub(o Counters) Counters {
	return c.Add(Counters{-o.Put, -o.Get, -o.List, -o.Free, -o.Uploaded, -o.Downloaded, -o.Copied})
}

// worker is a client with a link of its own.
type worker struct {
	rate     int64
	up, down link

	mutex sync.Mutex
	Counters
}

func (w *worker) add(c Counters) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.Counters = w.Counters.Add(c)
}

// worker returns who asks: the access key of the signature, or "" for nobody.
func (s *Server) worker(r *http.Request) *worker {
	_, credential, found := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if !found {
		credential = r.URL.Query().Get("X-Amz-Credential")
	}
	name, _, _ := strings.Cut(credential, "/")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.workers[name] == nil {
		s.workers[name] = &worker{rate: s.options.LinkRate}
	}
	return s.workers[name]
}

// Counters returns what each worker has asked for so far, by access key.
func (s *Server) Counters() map[string]Counters {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	counters := map[string]Counters{}
	for name, w := range s.workers {
		w.mutex.Lock()
		counters[name] = w.Counters
		w.mutex.Unlock()
	}
	return counters
}

// Total returns what all workers have asked for so far.
func (s *Server) Total() Counters {
	total := Counters{}
	for _, c := range s.Counters() {
		total = total.Add(c)
	}
	return total
}

// link is one direction of a worker's connection, which all its requests share.
type link struct {
	mutex sync.Mutex
	free  time.Time // when all that was promised so far has gone through
}

// depth is how much of its time a link that was idle may catch up on, so that a sleep that was too long costs nothing.
const depth = 20 * time.Millisecond

// take returns how long n bytes must wait for their turn at a rate: a token bucket.
func (l *link) take(n, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if earliest := time.Now().Add(-depth); l.free.Before(earliest) {
		l.free = earliest
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return time.Until(l.free)
}
