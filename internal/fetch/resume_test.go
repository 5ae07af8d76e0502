package fetch_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/netguard"
)

// TestKilled ends a fetch at each of its requests, to the server and to the store, before it and after it, and goes on
// with what the caller knew before that call. The file is complete then, and a part that was stored does not come twice.
func TestKilled(t *testing.T) {
	long := file(20<<20+123, 1)
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		twice int64 // bytes that may come a second time
	}{
		"ranged":    {proper(long, `"1"`), part + 4<<20},
		"no ranges": {lengthless(long), int64(len(long))},
		"small":     {proper(long[:1000], `"1"`), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				for n := range vaulttest.Calls(after) {
					if !killed(t, test.serve, n, after, test.twice) {
						if n < 5 {
							t.Errorf("it ends after %d requests", n)
						}
						break
					}
				}
			}
		})
	}
}

// killed reports whether the n-th request was made at all.
func killed(t *testing.T, serve http.HandlerFunc, n int, after bool, twice int64) bool {
	v := vaulttest.Any(t)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var requests atomic.Int64
	o := newOrigin(t, nil)
	o.change(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() == nil && requests.Add(1) == int64(n) {
			if after {
				time.AfterFunc(20*time.Millisecond, kill)
			} else {
				kill()
			}
		}
		serve(w, r)
	})
	v.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if ctx.Err() == nil && requests.Add(1) == int64(n) {
			if after {
				defer kill()
				return vaulttest.Drop(r, next)
			}
			kill()
		}
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		return next.RoundTrip(r)
	})
	var s fetch.State
	for !s.Done {
		next, err := fetch.Into(ctx, v.Vault, key, o.URL+secrets, options(t, nil, o), s)
		if err != nil {
			if ctx.Err() == nil {
				t.Fatalf("request %d: %v", n, err)
			}
			break
		}
		s = next
	}
	v.Intercept(nil)
	s, err := fetchAll(t, v, o, s, nil)
	if err != nil || !s.Done {
		t.Fatalf("after request %d: %+v, %v", n, s, err)
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	info, err := v.Head(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, v, file(int(info.Size), 1))
	if info.Size < 1000 || info.Size > 1000 && info.Size != 20<<20+123 {
		t.Errorf("%d bytes", info.Size)
	}
	// What the server has sent may still lie between the two: 6 MiB for each connection that was cut, about.
	if slack := int64(3 * 6 << 20); o.sent > info.Size+twice+slack {
		t.Errorf("after request %d: %d bytes were sent for %d", n, o.sent, info.Size)
	}
	return requests.Load() >= int64(n)
}

// TestStore: what the store loses or refuses.
func TestStore(t *testing.T) {
	long := file(20<<20+123, 1)
	method := func(name string, query string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == name && strings.Contains(r.URL.RawQuery+"&", query)
		}
	}
	full := func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, 507, "InsufficientStorage")
	}
	for name, test := range map[string]struct {
		match func(*http.Request) bool
		hook  vaulttest.Hook
		kind  failure.Kind // of the error; 0: none
	}{
		"the answer of a part is lost":    {method("PUT", "partNumber=2&"), vaulttest.Drop, 0},
		"the answer of the end is lost":   {method("POST", "uploadId="), vaulttest.Drop, 0},
		"the answer of the begin is lost": {method("POST", "uploads"), vaulttest.Drop, 0},
		"the disk is full":                {method("PUT", "partNumber=2&"), full, failure.Exhausted},
		"the upload is gone": {method("PUT", "partNumber=2&"), func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, 404, "NoSuchUpload")
		}, 0},
		"damage on the way": {method("POST", "uploadId="), func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, 400, "BadDigest")
		}, failure.Corrupt},
	} {
		for kind, serve := range map[string]http.HandlerFunc{"ranged": proper(long, `"1"`), "one go": lengthless(long)} {
			t.Run(name+", "+kind, func(t *testing.T) {
				v := vaulttest.Any(t)
				v.Intercept(vaulttest.Once(test.match, test.hook))
				_, err := fetchAll(t, v, newOrigin(t, serve), fetch.State{}, nil)
				if kind == "one go" && name == "the upload is gone" {
					if failure.KindOf(err) != failure.Conflict {
						t.Error(err)
					}
					wantNothing(t, v)
					return
				}
				if test.kind == 0 && err != nil || test.kind != 0 && failure.KindOf(err) != test.kind {
					t.Fatal(err)
				}
				if name == "the answer of the begin is lost" { // its upload has no parts; the sweep of uploads takes it
					if err := v.AbortAll(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
				if test.kind != 0 {
					wantNothing(t, v)
				} else {
					wantFile(t, v, long)
				}
			})
		}
	}
}

// wholeFetch says how long a file takes here that comes without a break.
func wholeFetch(t *testing.T, file []byte) time.Duration {
	t.Helper()
	v, o := vaulttest.Any(t), newOrigin(t, proper(file, `"1"`))
	began := time.Now()
	for s := (fetch.State{}); !s.Done; {
		var err error
		if s, err = fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, patient(t, o), s); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began)
}

// TestDeadline: a call ends before its deadline, with what it has brought; one that brings nothing says so.
func TestDeadline(t *testing.T) {
	long := file(20<<20+123, 1)
	good := proper(long, `"1"`)
	v := vaulttest.Any(t)
	o := newOrigin(t, inTurn(good, stall(part+1000, good), stall(1000, good), good))
	const ample = time.Minute                           // of work
	short := max(2*time.Second, 10*wholeFetch(t, long)) // of silence, on a machine that may have other work, too
	call := func(s fetch.State, within time.Duration) (fetch.State, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		next, err := fetch.Into(ctx, v.Vault, key, o.URL+secrets, patient(t, o), s)
		if ctx.Err() != nil {
			t.Error("the deadline has passed")
		}
		return next, err
	}
	begun, err := call(fetch.State{}, ample)
	if err != nil || begun.Upload == "" || begun.Done || begun.Offset != 0 {
		t.Fatalf("%+v, %v", begun, err)
	}
	first, err := call(begun, short)
	if err != nil || first.Done || first.Offset != part || first.Upload != begun.Upload {
		t.Fatalf("%+v, %v", first, err)
	}
	none, err := call(first, short)
	if failure.KindOf(err) != failure.Transient || none.Upload != begun.Upload {
		t.Fatalf("%+v, %v", none, err)
	}
	last, err := call(begun, ample) // the parts that the store has count, not what the state says
	if err != nil || !last.Done || last.Offset != int64(len(long)) {
		t.Fatalf("%+v, %v", last, err)
	}
	wantFile(t, v, long)
	if asked := fmt.Sprint(o.requests()); asked != "[bytes=0- bytes=0- bytes=8388608- bytes=8388608-]" {
		t.Error(asked)
	}

	o.change(stall(part+1000, lengthless(long)))
	v = vaulttest.Any(t)
	if _, err := call(fetch.State{}, short); failure.KindOf(err) != failure.Exhausted || failure.HintOf(err) == "" {
		t.Error(err)
	}
	wantNothing(t, v)
}

func TestCanceled(t *testing.T) {
	long := file(20<<20+123, 1)
	good := proper(long, `"1"`)
	v := vaulttest.Any(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := newOrigin(t, inTurn(good, func(w http.ResponseWriter, r *http.Request) {
		time.AfterFunc(300*time.Millisecond, cancel)
		stall(part+1000, good)(w, r)
	}, good))
	opts := options(t, nil, o)
	s, err := fetch.Into(ctx, v.Vault, key, o.URL+secrets, opts, fetch.State{})
	if err != nil {
		t.Fatal(err)
	}
	s, err = fetch.Into(ctx, v.Vault, key, o.URL+secrets, opts, s)
	if failure.KindOf(err) != failure.Canceled || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "hunter2") {
		t.Fatal(err)
	}
	if s, err = fetchAll(t, v, o, s, nil); err != nil || !s.Done {
		t.Fatal(err)
	}
	wantFile(t, v, long)
}

// TestThere: an object that is there is the file, with any state.
func TestThere(t *testing.T) {
	long := file(20<<20+123, 1)
	v, o := vaulttest.Any(t), newOrigin(t, proper(long, `"1"`))
	begun, err := fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, options(t, nil, o), fetch.State{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := fetchAll(t, v, o, begun, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := len(o.requests())
	for _, s := range []fetch.State{{}, begun, done} {
		again, err := fetchAll(t, v, o, s, nil)
		if err != nil || !again.Done || again.Offset != int64(len(long)) {
			t.Errorf("%+v: %+v, %v", s, again, err)
		}
	}
	if len(o.requests()) != before {
		t.Error("the file was fetched again")
	}
	wantFile(t, v, long)
}

// TestLimits: size and time.
func TestLimits(t *testing.T) {
	long := file(20<<20+123, 1)
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		set   func(*fetch.Options)
		asked int
	}{
		"a length that is too large": {proper(long, `"1"`), func(o *fetch.Options) { o.MaxBytes = 20 << 20 }, 1},
		"more than is allowed comes": {lengthless(long), func(o *fetch.Options) { o.MaxBytes = 20 << 20 }, 1},
		"larger than can be fetched": {raw("HTTP/1.1 200 OK\nContent-Length: 671088640001", nil), func(*fetch.Options) {}, 1},
		"the time is over":           {proper(long, `"1"`), func(o *fetch.Options) { o.MaxTime = time.Nanosecond }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v, o := vaulttest.Any(t), newOrigin(t, test.serve)
			opts := options(t, nil, o)
			test.set(&opts)
			s, err := fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, opts, fetch.State{})
			if failure.KindOf(err) != failure.Exhausted || s != (fetch.State{}) || failure.HintOf(err) == "" {
				t.Errorf("%+v, %v", s, err)
			}
			wantNothing(t, v)
			if asked := o.requests(); len(asked) != test.asked {
				t.Errorf("asked %q", asked)
			}
		})
	}
	v, o := vaulttest.Any(t), newOrigin(t, proper(long, `"1"`))
	opts := options(t, nil, o)
	s, err := fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, opts, fetch.State{})
	if err != nil {
		t.Fatal(err)
	}
	opts.Now = func() time.Time { return time.Now().Add(25 * time.Hour) } // since the first call
	if s, err = fetch.Into(t.Context(), v.Vault, key, o.URL+secrets, opts, s); failure.KindOf(err) != failure.Exhausted || s != (fetch.State{}) {
		t.Errorf("%+v, %v", s, err)
	}
	wantNothing(t, v)
}

// entry is what differs between the hints of refusals: the host as the address has it.
var entry = regexp.MustCompile(`allow: \[.*\]`)

// TestOneRefusal: what is not allowed and what does not answer can't be told apart, and nothing is tried again.
func TestOneRefusal(t *testing.T) {
	closed := newOrigin(t, status(200))
	closed.Close()
	silent := newOrigin(t, hangUp)
	v := vaulttest.Any(t)
	var first error
	for _, address := range []string{
		closed.URL, silent.URL, "http://127.0.0.1:1/hunter2", "https://169.254.169.254/hunter2?hunter2", "https://10.0.0.1", "https://user:hunter2@example.com/",
		"file:///hunter2", "https://localhost:8443/", "nonsense", "",
	} {
		for _, s := range []fetch.State{{}, {Upload: "none", Tag: `0 1 9000000 "1"`}} {
			if s.Upload != "" && strings.HasPrefix(address, "http://127.0.0.1") {
				continue // it has answered before, and its parts are looked at first
			}
			var waits []time.Duration
			_, err := fetch.Into(t.Context(), v.Vault, key, address, options(t, &waits, closed, silent), s)
			if first == nil {
				first = err
			}
			if err == nil || err.Error() != first.Error() || failure.KindOf(err) != failure.Denied || entry.ReplaceAllString(failure.HintOf(err), "") != entry.ReplaceAllString(failure.HintOf(first), "") ||
				strings.Contains(failure.HintOf(err), "hunter2") || len(waits) > 0 {
				t.Errorf("%s: %v: %v, %v", address, failure.KindOf(err), err, waits)
			}
		}
	}
	wantNothing(t, v)
}

// TestWaits: pauses grow, what a server asks for is respected, and a part that was stored begins anew.
func TestWaits(t *testing.T) {
	long := file(20<<20+123, 1)
	good := proper(long, `"1"`)
	later := func(w http.ResponseWriter, r *http.Request) {
		status(503, "Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))(w, r)
	}
	v := vaulttest.Any(t)
	o := newOrigin(t, inTurn(good, status(503), status(500), status(429, "Retry-After", "60"), cut(part+1, good), status(503), later, good))
	var waits []time.Duration
	if _, err := fetchAll(t, v, o, fetch.State{}, &waits); err != nil {
		t.Fatal(err)
	}
	wantFile(t, v, long)
	for i := range waits {
		waits[i] = waits[i].Round(time.Second)
	}
	if len(waits) != 6 || waits[5] < 85*time.Second || waits[5] > 91*time.Second {
		t.Fatalf("%v", waits)
	}
	if got := fmt.Sprint(waits[:5]); got != "[1s 2s 1m0s 1s 2s]" {
		t.Error(got)
	}
}

// TestTLS fetches from a server with https on a port that is allowed.
func TestTLS(t *testing.T) {
	long := file(20<<20+123, 1)
	v := vaulttest.Any(t)
	server := httptest.NewTLSServer(proper(long, `"1"`))
	defer server.Close()
	a, err := netguard.ParseAllowed(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	guard := netguard.New(netguard.Rules{Allow: []netguard.Allowed{a}, Roots: roots})
	defer guard.Close()
	var told int64
	o := fetch.Options{Guard: guard, Progress: func(_, n int64) { told += n }}
	var s fetch.State
	for !s.Done {
		if s, err = fetch.Into(t.Context(), v.Vault, key, server.URL+secrets, o, s); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, v, long)
	if told != int64(len(long)) {
		t.Errorf("%d bytes were told", told)
	}
}

func TestState(t *testing.T) {
	v, o := vaulttest.Any(t), newOrigin(t, proper(bytes.Repeat([]byte("x"), 10), `"1"`))
	for _, text := range []string{"x", "1 2 3", "a b c d", "1 2 x \"1\"", "99999999999999999999 1 1 x"} {
		if _, err := fetch.Into(t.Context(), v.Vault, key, o.URL, options(t, nil, o), fetch.State{Upload: "x", Tag: text}); err == nil || failure.KindOf(err) != failure.Internal {
			t.Errorf("%q: %v", text, err)
		}
	}
}
