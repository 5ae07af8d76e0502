package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/netguard"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

const (
	key  vault.Key = "incoming/r0123456789abcdef0123.zip"
	part           = 8 << 20
)

// file returns n bytes that differ with seed.
var file = func() func(n int, seed uint64) []byte {
	all := map[uint64][]byte{}
	return func(n int, seed uint64) []byte {
		if all[seed] == nil {
			data := make([]byte, 20<<20+123)
			_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
			all[seed] = data
		}
		return all[seed][:n]
	}
}()

// origin is a server with one file.
type origin struct {
	*httptest.Server
	mutex sync.Mutex
	asked []string // the Range of each request
	sent  int64    // bytes of the file
	serve http.HandlerFunc
}

func newOrigin(t *testing.T, serve http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{serve: serve}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mutex.Lock()
		o.asked = append(o.asked, r.Header.Get("Range"))
		serve := o.serve
		o.mutex.Unlock()
		serve(&counted{w, o}, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// counted counts what is sent.
type counted struct {
	http.ResponseWriter
	origin *origin
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.origin.mutex.Lock()
	c.origin.sent += int64(n)
	c.origin.mutex.Unlock()
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (o *origin) requests() []string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return append([]string(nil), o.asked...)
}

func (o *origin) change(serve http.HandlerFunc) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.serve = serve
}

// proper serves a file as it should be.
func proper(data []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		http.ServeContent(w, r, "a.zip", time.Time{}, bytes.NewReader(data))
	}
}

// lengthless serves a file without saying how long it is.
func lengthless(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(data)
	}
}

// inTurn serves each request by the next handler, and all others by the last.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mutex sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		serve := handlers[0]
		if len(handlers) > 1 {
			handlers = handlers[1:]
		}
		mutex.Unlock()
		serve(w, r)
	}
}

// cut lets n bytes of a body pass, then breaks the connection.
func cut(n int, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { serve(&cutter{w, n}, r) }
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, "hunter2")
	}
}

// raw answers with exactly these bytes and closes the connection.
func raw(head string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n")
		_, _ = c.Write(body)
	}
}

// options are those of a fetch from origins, in a process of its own.
func options(t *testing.T, waits *[]time.Duration, origins ...*origin) fetch.Options {
	t.Helper()
	return optionsOf(t, netguard.Rules{Idle: 2 * time.Second}, waits, origins...)
}

// patient are options that take a silence for none.
func patient(t *testing.T, o *origin) fetch.Options {
	t.Helper()
	return optionsOf(t, netguard.Rules{Idle: time.Hour}, nil, o)
}

func optionsOf(t *testing.T, rules netguard.Rules, waits *[]time.Duration, origins ...*origin) fetch.Options {
	t.Helper()
	for _, o := range origins {
		a, err := netguard.ParseAllowed(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		rules.Allow = append(rules.Allow, a)
	}
	guard := netguard.New(rules)
	t.Cleanup(guard.Close)
	return fetch.Options{Guard: guard, Sleep: func(ctx context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return ctx.Err()
	}}
}

const secrets = "/hunter2/hunter2.zip?token=hunter2"

// fetchAll calls Into until it is done, each time as another process.
func fetchAll(t *testing.T, v *vaulttest.Store, o *origin, s fetch.State, waits *[]time.Duration) (fetch.State, error) {
	t.Helper()
	for range 20 {
		next, err := fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, options(t, waits, o), s)
		if err != nil || next.Done {
			return next, err
		}
		s = next
	}
	t.Fatal("it does not end")
	return s, nil
}

// wantFile fails the test where the vault does not hold exactly data.
func wantFile(t *testing.T, v *vaulttest.Store, data []byte) {
	t.Helper()
	body, _, err := v.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got := bytes.NewBuffer(make([]byte, 0, len(data)+bytes.MinRead))
	if _, err := got.ReadFrom(body); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d of %d bytes, or other ones: %v", got.Len(), len(data), err)
	}
	v.NoUploads(t)
}

func wantNothing(t *testing.T, v *vaulttest.Store) {
	t.Helper()
	if keys := v.Keys(t); len(keys) > 0 {
		t.Errorf("%v is left behind", keys)
	}
	v.NoUploads(t)
}

// TestServers fetches from servers that do as they should, and from those that don't.
func TestServers(t *testing.T) {
	long, short, other := file(20<<20+123, 1), file(1000, 1), file(20<<20+123, 2)
	good := proper(long, `"1"`)
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  []byte       // the file, or
		kind  failure.Kind // the error
		asked int          // requests; 0: any number
	}{
		"ranged":                     {serve: good, want: long, asked: 2},
		"ranged, small":              {serve: proper(short, `"1"`), want: short, asked: 1},
		"exactly two parts":          {serve: proper(long[:2*part], `"1"`), want: long[:2*part], asked: 2},
		"exactly one part":           {serve: proper(long[:part], `"1"`), want: long[:part], asked: 1},
		"one byte more than a part":  {serve: proper(long[:part+1], `"1"`), want: long[:part+1], asked: 2},
		"no version":                 {serve: proper(long, ""), want: long, asked: 1},
		"a weak version":             {serve: proper(long, `W/"1"`), want: long, asked: 1},
		"a version of odd letters":   {serve: proper(long, "\"\xff\""), want: long, asked: 1},
		"a time of change":           {serve: dated(long, -time.Hour), want: long, asked: 2},
		"changed just now":           {serve: dated(long, 0), want: long, asked: 1},
		"no length":                  {serve: lengthless(long), want: long, asked: 1},
		"no length, small":           {serve: lengthless(short), want: short, asked: 1},
		"no length, exactly a part":  {serve: lengthless(long[:part]), want: long[:part], asked: 1},
		"the end is the end":         {serve: raw("HTTP/1.0 200 OK", long), want: long, asked: 1},
		"a length, no ranges":        {serve: raw(fmt.Sprintf("HTTP/1.1 200 OK\nContent-Length: %d\nConnection: close\nETag: \"1\"", len(long)), long), want: long, asked: 1},
		"ranges after a whole":       {serve: inTurn(without("Range", withRanges(long)), good), want: long, asked: 2},
		"pieces smaller than wanted": {serve: capped(long, 3<<20, `"1"`), want: long, asked: 8},
		"pieces without a version":   {serve: capped(long, 3<<20, ""), want: long, asked: 2},

		"broken in the first part":        {serve: inTurn(good, cut(1000, good), good), want: long, asked: 3},
		"broken in each part":             {serve: inTurn(good, cut(part+5, good), cut(9, good), cut(part, good), good), want: long, asked: 5},
		"broken without an answer":        {serve: inTurn(good, hangUp, hangUp, good), want: long, asked: 4},
		"broken before the version":       {serve: inTurn(cut(10, proper(short, "")), proper(short, "")), want: short, asked: 2},
		"broken, no ranges":               {serve: inTurn(cut(part+5, lengthless(long)), lengthless(long)), want: long, asked: 2},
		"shorter than announced":          {serve: raw("HTTP/1.1 200 OK\nContent-Length: 5000\nConnection: close", short), kind: failure.Transient, asked: 5},
		"a piece shorter than it says":    {serve: inTurn(good, pieces(long, 0, -5), good), want: long, asked: 3},
		"always broken":                   {serve: inTurn(good, cut(1000, good)), kind: failure.Transient, asked: 7},
		"always broken, no ranges":        {serve: cut(1000, lengthless(long)), kind: failure.Transient, asked: 5},
		"silent in the middle":            {serve: inTurn(good, stall(part+9, good), good), want: long, asked: 3},
		"never an answer after the first": {serve: inTurn(good, hangUp), kind: failure.Transient, asked: 7},

		"longer than announced":        {serve: pieces(short, 0, 5), kind: failure.Invalid, asked: 1},
		"another piece":                {serve: inTurn(good, pieces(long, 7, 0)), kind: failure.Invalid, asked: 2},
		"a piece of another size":      {serve: raw("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/10\nContent-Length: 5000\nConnection: close", short), kind: failure.Invalid, asked: 1},
		"a piece that says nothing":    {serve: raw("HTTP/1.1 206 Partial Content\nConnection: close", short), kind: failure.Invalid, asked: 1},
		"a piece of unknown size":      {serve: raw("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/*\nConnection: close", short), kind: failure.Invalid, asked: 1},
		"a piece that ends behind":     {serve: raw("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-10/10\nConnection: close", short), kind: failure.Invalid, asked: 1},
		"pieces of several ranges":     {serve: raw("HTTP/1.1 206 Partial Content\nContent-Type: multipart/byteranges; boundary=x\nConnection: close", short), kind: failure.Invalid, asked: 1},
		"compressed":                   {serve: status(200, "Content-Encoding", "gzip"), kind: failure.Invalid, asked: 1},
		"empty":                        {serve: proper(nil, `"1"`), kind: failure.Invalid, asked: 1},
		"empty, no length":             {serve: lengthless(nil), kind: failure.Invalid, asked: 1},
		"empty, said by 416":           {serve: status(416, "Content-Range", "bytes */0"), kind: failure.Invalid, asked: 1},
		"a whole file instead of rest": {serve: inTurn(good, cut(part, good), without("Range", good), good), want: long},
		"always the whole file":        {serve: inTurn(withRanges(long), cut(part+1, withRanges(long)), withRanges(long)), want: long},

		"changed before the first byte": {serve: inTurn(good, proper(other, `"2"`)), want: other},
		"changed in the middle":         {serve: inTurn(good, cut(part+9, good), proper(other, `"2"`)), want: other},
		"shorter in the middle":         {serve: inTurn(good, cut(part+9, good), proper(short, `"2"`)), want: short},
		"the same version, other size":  {serve: inTurn(good, proper(long[:10<<20], `"1"`)), want: long[:10<<20]},
		"ignores If-Range":              {serve: inTurn(good, cut(part+9, good), without("If-Range", proper(other, `"2"`))), want: other},
		"a piece of no version":         {serve: inTurn(good, cut(part+9, good), without("If-Range", proper(other, ""))), want: other},
		"keeps changing":                {serve: changing(long, other), want: other},

		"unauthorized":                  {serve: status(401), kind: failure.Denied, asked: 1},
		"forbidden":                     {serve: status(403), kind: failure.Denied, asked: 1},
		"not found":                     {serve: status(404), kind: failure.NotFound, asked: 1},
		"gone":                          {serve: status(410), kind: failure.NotFound, asked: 1},
		"bad request":                   {serve: status(400), kind: failure.Invalid, asked: 1},
		"no content":                    {serve: raw("HTTP/1.1 204 No Content\nConnection: close", nil), kind: failure.Invalid, asked: 1},
		"not modified":                  {serve: raw("HTTP/1.1 304 Not Modified\nConnection: close", nil), kind: failure.Invalid, asked: 1},
		"redirected nowhere":            {serve: status(302), kind: failure.Invalid, asked: 1},
		"out of range":                  {serve: status(416), kind: failure.Invalid, asked: 1},
		"too many requests":             {serve: inTurn(status(429, "Retry-After", "7"), good), want: long, asked: 3},
		"come back tomorrow":            {serve: status(429, "Retry-After", "86400"), kind: failure.Transient, asked: 1},
		"unavailable":                   {serve: inTurn(status(503), status(502), good, status(500), good), want: long, asked: 5},
		"always unavailable":            {serve: status(503), kind: failure.Transient, asked: 6},
		"the address has run out":       {serve: inTurn(good, cut(part+9, good), status(403)), kind: failure.Denied, asked: 3},
		"deleted in the middle":         {serve: inTurn(good, cut(part+9, good), status(404)), kind: failure.NotFound, asked: 3},
		"compressed in the middle":      {serve: inTurn(good, cut(part+9, good), status(206, "Content-Encoding", "br")), kind: failure.Invalid, asked: 3},
		"redirected inside":             {serve: redirected(good), want: long},
		"redirected to what may not":    {serve: status(302, "Location", "http://127.0.0.1:1/hunter2"), kind: failure.Denied, asked: 1},
		"such a redirect in the middle": {serve: inTurn(good, cut(part+9, good), status(302, "Location", "https://169.254.169.254/hunter2")), kind: failure.Denied, asked: 3},
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.Any(t)
			o := newOrigin(t, test.serve)
			s, err := fetchAll(t, v, o, fetch.State{}, nil)
			switch {
			case test.want != nil && err != nil:
				t.Fatal(err)
			case test.want != nil:
				wantFile(t, v, test.want)
				if s.Offset != int64(len(test.want)) {
					t.Errorf("%+v", s)
				}
			case err == nil || failure.KindOf(err) != test.kind || failure.HintOf(err) == "" && test.kind != failure.Transient:
				t.Errorf("%v: %v (%s)", failure.KindOf(err), err, failure.HintOf(err))
			case strings.Contains(err.Error()+failure.HintOf(err), "hunter2"):
				t.Errorf("the error tells a secret: %v", err)
			case test.kind == failure.Transient && s.Upload != "": // another call may go on
				if err := v.AbortAll(t.Context(), key); err != nil {
					t.Error(err)
				}
				fallthrough
			default:
				wantNothing(t, v)
			}
			if asked := o.requests(); test.asked != 0 && len(asked) != test.asked {
				t.Errorf("asked %d times: %q", len(asked), asked)
			}
		})
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func dated(data []byte, age time.Duration) http.HandlerFunc {
	changed := time.Now().Add(age)
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.zip", changed, bytes.NewReader(data))
	}
}

// without hides a header of the request.
func without(header string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del(header)
		serve(w, r)
	}
}

// withRanges announces ranges, and never gives one.
func withRanges(data []byte) http.HandlerFunc { return without("Range", proper(data, `"1"`)) }

// capped gives at most most bytes at a time.
func capped(data []byte, most int, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			r = r.Clone(r.Context())
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+most-1))
		}
		proper(data, etag)(w, r)
	}
}

// pieces gives the right range, shifted, with more or fewer bytes than it says, and without a Content-Length.
func pieces(data []byte, shift, more int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from+shift, len(data)-1, len(data)))
		w.WriteHeader(http.StatusPartialContent)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(append(bytes.Clone(data[from:]), make([]byte, max(more, 0))...)[:len(data)-from+more])
	}
}

// stall sends n bytes and then nothing.
func stall(n int, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { serve(&staller{w, r.Context(), n}, r) }
}

type staller struct {
	http.ResponseWriter
	ctx  context.Context
	left int
}

func (s *staller) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	if s.left -= n; s.left == 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		<-s.ctx.Done()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// changing gives another version with every request.
func changing(versions ...[]byte) http.HandlerFunc {
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		n++
		proper(versions[n%len(versions)], fmt.Sprintf(`"%d"`, n))(w, r)
	}
}

func redirected(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/real" {
			http.Redirect(w, r, "/real", http.StatusFound)
			return
		}
		serve(w, r)
	}
}
