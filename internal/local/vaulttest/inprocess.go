package vaulttest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
)

// InProcess returns a transport to a handler of this process: no connection, no copy in the kernel. What the handler
// does is over when the body of its answer has ended; a handler that panics breaks the body off.
func InProcess(handler http.Handler) http.RoundTripper { return inProcess{handler} }

type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	body, out := io.Pipe()
	a := &answer{header: http.Header{}, body: out, begun: make(chan struct{})}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go p.serve(a, r)
	select {
	case <-a.begun:
	case <-r.Context().Done():
		body.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	length, err := strconv.ParseInt(a.sent.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1
	}
	response := &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, ContentLength: length, Request: r, Body: body,
	}
	if r.Method == http.MethodHead {
		body.Close()
		response.Body = http.NoBody
	}
	return response, nil
}

func (p inProcess) serve(a *answer, r *http.Request) {
	defer func() {
		err := io.EOF
		if recover() != nil {
			err = io.ErrUnexpectedEOF
		}
		a.WriteHeader(http.StatusOK)
		a.body.CloseWithError(err)
		_ = r.Body.Close()
	}()
	p.handler.ServeHTTP(a, r)
}

// answer is read while it is written.
type answer struct {
	header, sent http.Header
	body         *io.PipeWriter
	once         sync.Once
	begun        chan struct{}
	status       int
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
