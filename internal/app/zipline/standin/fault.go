package standin

import (
	"bytes"
	"maps"
	"net/http"
)

// Cut says when the connection of a request breaks.
type Cut int

// The times at which a connection breaks. Whatever a client sees then is no answer.
const (
	NoCut     Cut = iota
	CutBefore     // the request has no effect; Go's client repeats a GET on its own where the connection was used before
	CutInside     // an import ends after Fault.Rows rows, as in a crash; it is answered where it has no more. Others: as CutTorn
	CutTorn       // the request has its effect, half of its answer arrives
	CutAfter      // the request has its effect, its answer is lost
)

// Fault is what goes wrong with one request. The zero value: nothing.
type Fault struct {
	Cut    Cut
	Rows   int // with CutInside: how many rows are made or changed, and stay; all metrics are one
	Status int // not 0, without a Cut: a proxy in front answers with this status, and the request has no effect; with CutInside: an import ends with 500
}

// FailAt returns a function for Options.Fault: the n-th request, counted from 1, gets the fault; the others get none.
// A sweep runs n from 1 until it has passed Server.Requests of an undisturbed run.
func FailAt(n int, fault Fault) func(int, *http.Request) Fault {
	return func(request int, _ *http.Request) Fault {
		if request == n {
			return fault
		}
		return Fault{}
	}
}

// serve serves a request with a fault.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	switch {
	case fault.Cut == NoCut && fault.Status == 0, fault.Cut == CutInside && (r.URL.Path == importPath || r.URL.Path == import3Path):
		s.handle(w, r, fault)
	case fault.Cut == NoCut:
		http.Error(w, http.StatusText(fault.Status), fault.Status)
	case fault.Cut == CutBefore:
		panic(http.ErrAbortHandler)
	default:
		h := &held{header: w.Header().Clone(), status: http.StatusOK}
		s.handle(h, r, fault)
		if fault.Cut != CutAfter {
			h.tear(w)
		}
		panic(http.ErrAbortHandler)
	}
}

// held is an answer that is not sent yet.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header            { return h.header }
func (h *held) WriteHeader(status int)         { h.status = status }
func (h *held) Write(text []byte) (int, error) { return h.body.Write(text) }

// tear sends the head and the first half of the body.
func (h *held) tear(w http.ResponseWriter) {
	maps.Copy(w.Header(), h.header)
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body.Bytes()[:h.body.Len()/2]) // the client is gone: nobody to tell
	_ = http.NewResponseController(w).Flush()
}
