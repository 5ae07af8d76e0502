package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
)

// answer is what a server gives: a file from an offset on.
type answer struct {
	body    io.ReadCloser
	host    string
	left    int64  // bytes that the body must still have; -1: unknown
	size    int64  // of the whole file; -1: unknown
	version string // a strong validator as If-Range takes it; "" for none
	ranges  bool   // the server gives parts of the file
}

var (
	errChanged = errors.New("the file is another version than before")
	errLost    = errors.New("the upload is gone")
)

// ask asks for the file from offset on: of the version that was begun, where one was.
func (d *download) ask(work context.Context, offset int64) (*answer, error) {
	header := http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "User-Agent": {"lifeboat"}}
	if d.version.Restarts < oneGo || offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if d.version.Version != "" {
		header.Set("If-Range", d.version.Version)
	}
	response, err := d.o.Guard.Get(work, d.address, header)
	if err != nil {
		if d.answered && netguard.Passing(err) {
			return nil, again{error: failure.New(failure.Transient, "%s does not answer any more", d.host)}
		}
		return nil, err
	}
	a, err := d.read(response, offset)
	if err != nil {
		response.Body.Close()
		return nil, err
	}
	d.answered = true
	return a, nil
}

// read says what a response is.
func (d *download) read(r *http.Response, offset int64) (*answer, error) {
	a := &answer{body: r.Body, host: d.host, left: r.ContentLength, size: r.ContentLength, version: validator(r.Header)}
	switch r.StatusCode {
	case http.StatusOK:
		a.ranges = slices.ContainsFunc(r.Header.Values("Accept-Ranges"), func(unit string) bool { return strings.EqualFold(unit, "bytes") })
		if offset > 0 {
			return nil, errChanged // or the server has forgotten how to give a part
		}
	case http.StatusPartialContent:
		first, last, size, ok := contentRange(r.Header)
		if !ok || first != offset || r.ContentLength >= 0 && r.ContentLength != last-first+1 {
			return nil, d.useless("answers with another part of the file than it was asked for")
		}
		a.left, a.size, a.ranges = last-first+1, size, true
	case http.StatusRequestedRangeNotSatisfiable:
		if offset > 0 {
			return nil, errChanged // it is shorter now
		}
		if r.Header.Get("Content-Range") == "bytes */0" {
			return nil, d.empty()
		}
		return nil, d.status(r)
	default:
		return nil, d.status(r)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, d.useless("compresses the file on its way, although it was asked not to")
	}
	if d.version.Version != "" && (a.size != d.version.Size || !same(r.Header, d.version.Version)) {
		return nil, errChanged
	}
	return a, nil
}

func (d *download) useless(what string) error {
	return failure.New(failure.Invalid, "%s %s", d.host, what).WithHint("download the file and restore from it")
}

// status gives a status that brings no file its kind.
func (d *download) status(r *http.Response) error {
	said := fmt.Sprintf("%s answers with status %d", d.host, r.StatusCode)
	switch code := r.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return failure.New(failure.Denied, "%s", said).WithHint("the address may have expired, or need a login: ask for one that works without")
	case code == http.StatusNotFound, code == http.StatusGone:
		return failure.New(failure.NotFound, "%s", said).WithHint("check the address, or ask for a new one")
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		return again{failure.New(failure.Transient, "%s", said).WithHint("run again later"), d.retryAfter(r.Header)}
	}
	return failure.New(failure.Invalid, "%s", said).WithHint("check the address: it must lead to the file itself")
}

func (d *download) retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(d.o.Now()), 0)
	}
	return 0
}

// contentRange reads bytes FIRST-LAST/SIZE.
func contentRange(h http.Header) (first, last, size int64, ok bool) {
	unit, rest, _ := strings.Cut(h.Get("Content-Range"), " ")
	span, total, _ := strings.Cut(rest, "/")
	from, to, _ := strings.Cut(span, "-")
	for _, number := range []struct {
		text  string
		value *int64
	}{{from, &first}, {to, &last}, {total, &size}} {
		n, err := strconv.ParseUint(number.text, 10, 62)
		if err != nil {
			return 0, 0, 0, false
		}
		*number.value = int64(n)
	}
	return first, last, size, strings.EqualFold(unit, "bytes") && first <= last && last < size
}

const maxValidator = 256 // bytes

// validator returns what tells this version of a file from every other: a strong ETag, or a time of change that is old
// enough not to be that of two versions (RFC 9110, 8.8.2.2 and 13.1.5).
func validator(h http.Header) string {
	etag := h.Get("ETag")
	printable := !strings.ContainsFunc(etag, func(r rune) bool { return r < '!' || r > '~' })
	if n := len(etag); n > 2 && n <= maxValidator && etag[0] == '"' && etag[n-1] == '"' && printable {
		return etag
	}
	changed, err := http.ParseTime(h.Get("Last-Modified"))
	said, errSaid := http.ParseTime(h.Get("Date"))
	if err == nil && errSaid == nil && said.Sub(changed) >= time.Minute {
		return h.Get("Last-Modified")
	}
	return ""
}

// same reports whether an answer is of the version; one that does not say so is not.
func same(h http.Header, version string) bool {
	return h.Get("ETag") == version || h.Get("Last-Modified") == version
}

// Read gives what the server promised, neither less nor more.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if a.left >= 0 {
		if int64(n) > a.left {
			return 0, failure.New(failure.Invalid, "%s gives more bytes than it announced", a.host).WithHint("download the file and restore from it")
		}
		a.left -= int64(n)
	}
	switch {
	case err == io.EOF && a.left <= 0:
		return n, io.EOF
	case err != nil && (err == io.EOF || failure.KindOf(err) == failure.Transient):
		return n, again{error: failure.New(failure.Transient, "the connection to %s broke", a.host)}
	}
	return n, err
}

func (a *answer) Close() { _ = a.body.Close() }

// tag is the text of State.Tag: which version of the file is fetched, since when, and how often it was begun anew.
type tag struct {
	Restarts int
	Began    time.Time
	Size     int64
	Version  string
}

func (t tag) String() string {
	return fmt.Sprintf("%d %d %d %s", t.Restarts, t.Began.Unix(), t.Size, t.Version)
}

func parseTag(text string, now time.Time) (tag, error) {
	if text == "" {
		return tag{Began: now}, nil
	}
	var t tag
	words := strings.SplitN(text, " ", 4)
	if len(words) < 4 {
		return t, failure.New(failure.Internal, "the state of a fetch can't be read: %q", text)
	}
	restarts, err := strconv.Atoi(words[0])
	began, errBegan := strconv.ParseInt(words[1], 10, 64)
	size, errSize := strconv.ParseInt(words[2], 10, 64)
	if err := errors.Join(err, errBegan, errSize); err != nil {
		return t, failure.New(failure.Internal, "the state of a fetch can't be read: %w", err)
	}
	return tag{restarts, time.Unix(began, 0), size, words[3]}, nil
}
