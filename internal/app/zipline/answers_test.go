package zipline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

const token = "a-token-that-nobody-may-see"

// TestBadAnswers holds every answer that is no export against the kind, the exit code and the hint it ends with.
func TestBadAnswers(t *testing.T) {
	const plain, page = "application/json; charset=utf-8", "text/html; charset=utf-8"
	tests := []struct {
		name   string
		status int
		kind   string // content type
		body   string
		want   failure.Kind
		says   string // in the message
		hint   string // in the hint
	}{
		{"no authorization", 401, plain, `{"error":"E2000: Invalid login session","code":2000,"statusCode":401}`, failure.Denied, "refuses the token", "SUPERADMIN"},
		{"bad token", 401, plain, `{"error":"E2001: Invalid token","code":2001,"statusCode":401}`, failure.Denied, "E2001", "bare"},
		{"user", 403, plain, `{"error":"E3000: Admin only","code":3000,"statusCode":403}`, failure.Denied, "E3000", "SUPERADMIN"},
		{"admin", 403, plain, `{"error":"E3015: Not super admin","code":3015,"statusCode":403}`, failure.Denied, "E3015", "SUPERADMIN"},
		{"firewall", 403, page, `<html>blocked</html>`, failure.Denied, "in front of Zipline", "proxy"},
		{"proxy login", 401, page, `<html>login</html>`, failure.Denied, "in front of Zipline", "proxy"},
		{"not set up", 400, plain, `{"error":"E1023: Invalid setup, no settings found.","code":1023,"statusCode":400}`, failure.Invalid, "not set up", "setup"},
		{"serialization", 500, plain, `{"error":"E1000: Response serialization error","statusCode":500,"code":1000,"details":"x"}`, failure.Invalid, "E1000", "“:”"},
		{"generic", 500, plain, `{"code":9000,"error":"E9000: Internal Server Error","statusCode":500}`, failure.Transient, "E9000", "log"},
		{"bad gateway", 502, page, `<html>502</html>`, failure.Transient, "status 502", "run again"},
		{"unavailable", 503, "text/plain", `starting`, failure.Transient, "status 503", "run again"},
		{"rate limit", 429, plain, `{"error":"Rate limit exceeded, retry in 1 second","statusCode":429}`, failure.Transient, "rate limit", "later"},
		{"no such route", 404, plain, `{"message":"Route GET:/api/server/export not found","error":"Not Found","statusCode":404}`, failure.Invalid, "no export at this address", "4.4.0"},
		{"page", 200, page, `<!doctype html>`, failure.Invalid, "web page", "address of Zipline itself"},
		{"page without a type", 200, "application/json", ` <!doctype html>`, failure.Invalid, "web page", "address of Zipline itself"},
		{"missing page", 404, page, `<!doctype html>`, failure.Invalid, "web page", "address of Zipline itself"},
		{"other refusal", 418, plain, `{"error":"E1: no","statusCode":418}`, failure.Invalid, "refuses the export", "4.6.3"},
		{"plain to TLS", 400, "text/plain", "Client sent an HTTP request to an HTTPS server.", failure.Invalid, "not one of Zipline's", "scheme"},
		{"not an object", 200, plain, `[1,2]`, failure.Invalid, "not a JSON object", "url"},
		{"empty", 200, plain, ``, failure.Invalid, "not a JSON object", "url"},
		{"hostile", 500, plain, `{"error":"\u001b[2J` + token + `\u202e"}`, failure.Transient, `\x1b[2J[redacted]\u202e`, "log"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != token {
					t.Errorf("authorization: %q", r.Header.Get("Authorization"))
				}
				w.Header().Set("Content-Type", test.kind)
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			_, _, err := snapshot(t, handler, Options{Token: secret.New(token), Sleep: noSleep})
			checkError(t, err, test.want, test.says, test.hint)
		})
	}
}

func noSleep(context.Context, time.Duration) error { return nil }

func checkError(t *testing.T, err error, kind failure.Kind, says, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := failure.KindOf(err); got != kind || got.ExitCode() != kind.ExitCode() {
		t.Errorf("kind %s, want %s: %v", got, kind, err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q doesn't say %q", err, says)
	}
	if h := failure.HintOf(err); h == "" || !strings.Contains(h, hint) {
		t.Errorf("hint %q doesn't say %q", h, hint)
	}
	if all := fmt.Sprintf("%v %+v %#v %s", err, err, err, failure.HintOf(err)); strings.Contains(all, token) {
		t.Error("the token is in the error")
	}
}

// TestBadExports refuses what comes as the export itself, and keeps nothing of it.
func TestBadExports(t *testing.T) {
	withVersion := func(v string) string { return strings.Replace(exportOf(), `"export":"4"`, `"export":`+v, 1) }
	whole := exportOf(`"files":[` + fileRow("1", `"a"`, "1") + `]`)
	tests := []struct{ name, body, says, hint string }{
		{"version 3", withVersion(`"3"`), "Zipline 3", "4.4.0"},
		{"version 5", withVersion(`"5"`), `format "5"`, "newer lifeboat"},
		{"no version", withVersion(`null`), "doesn't say", "4.4.0"},
		{"no versions", strings.Replace(exportOf(), `"versions"`, `"x"`, 1), "doesn't say", "url"},
		{"no data", `{"versions":{"export":"4"}}`, "no data.users", "Zipline"},
		{"no files", strings.Replace(whole, `"files":[`, `"fils":[`, 1), "no data.files", "Zipline"},
		{"no metrics", strings.Replace(whole, `"metrics"`, `"metrix"`, 1), "no data.metrics", "Zipline"},
		{"null list", strings.Replace(whole, `"urls":[]`, `"urls":null`, 1), "data.urls is not a list", "compare"},
		{"data twice", strings.TrimSuffix(whole, "}") + `,"data":{}}`, `"data" twice`, ""},
		{"files twice", strings.Replace(whole, `"urls":[]`, `"urls":[],"urls":[]`, 1), `"urls" twice`, ""},
		{"cut", whole[:len(whole)-20], "ends in the middle", "proxy"},
		{"cut in a row", whole[:strings.Index(whole, `"views"`)], "ends in the middle", "proxy"},
		{"not JSON", strings.Replace(whole, `:`, `;`, 5), "no valid JSON", exportPath},
		{"more after it", whole + `{}`, "goes on after its end", ""},
		{"a list", `[` + whole + `]`, "not a JSON object", "url"},
		{"a page", `<!doctype html>`, "no valid JSON", "browser"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sink, _, err := snapshot(t, exportOnly(test.body), Options{Metrics: true})
			if test.hint == "" {
				if failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v", err)
				}
			} else {
				checkError(t, err, failure.Invalid, test.says, test.hint)
			}
			if len(sink.documents) != 0 {
				t.Error("the refused export was kept")
			}
		})
	}
}

// exportOnly answers counts with an unknown object and the export with body.
func exportOnly(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("counts") {
			body := `{"versions":{}}`
			fmt.Fprint(w, body)
			return
		}
		fmt.Fprint(w, body)
	})
}

func TestNothingThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, _, err = snapshotOf(t, Options{URL: "http://" + address, Token: secret.New(token)})
	checkError(t, err, failure.Transient, "can't be reached", "url")
}

func TestWrongScheme(t *testing.T) {
	plain := serve(t, ziplineWith(exportOf()))
	_, _, err := snapshotOf(t, Options{URL: strings.Replace(plain, "http:", "https:", 1)})
	checkError(t, err, failure.Invalid, "TLS", "scheme")

	tls := httptest.NewUnstartedServer(ziplineWith(exportOf()))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	_, _, err = snapshotOf(t, Options{URL: tls.URL})
	checkError(t, err, failure.Invalid, "TLS", "certificate")
}

// hang is a server that stops answering at a point, until the test ends.
func hang(t *testing.T, before func(w http.ResponseWriter, r *http.Request) bool) string {
	done := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before(w, r) {
			return
		}
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(done) })
	return url
}

func TestTimeOuts(t *testing.T) {
	t.Run("counts", func(t *testing.T) {
		url := hang(t, func(http.ResponseWriter, *http.Request) bool { return false })
		_, _, err := snapshotOf(t, Options{URL: url, Timeout: 20 * time.Millisecond})
		checkError(t, err, failure.Transient, "did not answer within 20ms", "runs")
	})
	counted := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("counts") {
			fmt.Fprint(w, `{"users":0}`)
		}
		return r.URL.Query().Has("counts")
	}
	t.Run("export", func(t *testing.T) {
		url := hang(t, counted)
		_, _, err := snapshotOf(t, Options{URL: url, ExportTimeout: 20 * time.Millisecond})
		checkError(t, err, failure.Transient, "did not answer", "runs")
	})
	t.Run("body", func(t *testing.T) {
		url := hang(t, func(w http.ResponseWriter, r *http.Request) bool {
			if counted(w, r) {
				return true
			}
			fmt.Fprint(w, head)
			w.(http.Flusher).Flush()
			return false
		})
		_, _, err := snapshotOf(t, Options{URL: url, IdleTimeout: 50 * time.Millisecond})
		if failure.KindOf(err) != failure.Transient || !strings.Contains(err.Error(), "no byte came for 50ms") {
			t.Errorf("%v", err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		url := hang(t, func(http.ResponseWriter, *http.Request) bool { cancel(); return false })
		source, err := New(Options{URL: url, Token: secret.New(token), Datasource: listing{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Snapshot(ctx, backup.Scope{}, newRecord()); failure.KindOf(err) != failure.Canceled {
			t.Errorf("%v", err)
		}
	})
}

func TestConnectionBreaks(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("counts") {
			fmt.Fprint(w, `{"users":0}`)
			return
		}
		w.Header().Set("Content-Length", "100000")
		fmt.Fprint(w, head)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	sink, _, err := snapshot(t, handler, Options{})
	checkError(t, err, failure.Transient, "broke during the export", "run again")
	if len(sink.documents) != 0 {
		t.Error("half an export was kept")
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the request went elsewhere, with %q", r.Header.Get("Authorization"))
	}))
	_, _, err := snapshot(t, http.RedirectHandler(elsewhere+exportPath, http.StatusFound), Options{})
	checkError(t, err, failure.Invalid, "another server", "url")
	_, _, err = snapshot(t, http.RedirectHandler("/loop", http.StatusFound), Options{})
	checkError(t, err, failure.Invalid, "another server", "url")

	inside := http.NewServeMux()
	inside.Handle(exportPath, http.RedirectHandler("/auth/login", http.StatusFound))
	inside.HandleFunc("/auth/login", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html>") })
	_, _, err = snapshot(t, inside, Options{})
	checkError(t, err, failure.Invalid, "web page", "login")
}

// TestRateLimit waits as long as it is told to, but neither longer than half a minute nor for ever.
func TestRateLimit(t *testing.T) {
	var waits []time.Duration
	answers := []string{"1", "7200", "Sat, 21 Nov 2026 20:22:08 GMT", ""}
	inner := ziplineWith(exportOf())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(waits) == 3 {
			inner.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", answers[len(waits)])
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, _, err := snapshot(t, handler, Options{
		Now:   func() time.Time { return exported },
		Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil },
	})
	if got := fmt.Sprint(waits); err != nil || got != "[1s 30s 5s]" {
		t.Errorf("waited %s, error %v", got, err)
	}
	stop := errors.New("stop")
	_, _, err = snapshot(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }), Options{
		Sleep: func(context.Context, time.Duration) error { return stop },
	})
	if !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// TestRoles asks the stand-in with the tokens that are not enough.
func TestRoles(t *testing.T) {
	for _, weak := range []string{standin.AdminToken, standin.UserToken, token} {
		_, _, err := snapshot(t, ziplineWith(exportOf()), Options{Token: secret.New(weak)})
		checkError(t, err, failure.Denied, "token", "SUPERADMIN")
	}
}

func TestOptions(t *testing.T) {
	good := Options{URL: "https://z.example", Token: secret.New(token), Datasource: listing{}}
	tests := map[string]func(*Options){
		"no url":      func(o *Options) { o.URL = "" },
		"no scheme":   func(o *Options) { o.URL = "z.example" },
		"ftp":         func(o *Options) { o.URL = "ftp://z.example" },
		"user":        func(o *Options) { o.URL = "https://u:" + token + "@z.example" },
		"query":       func(o *Options) { o.URL = "https://z.example/?a=" + token },
		"no token":    func(o *Options) { o.Token = secret.String{} },
		"bearer":      func(o *Options) { o.Token = secret.New("Bearer " + token) },
		"newline":     func(o *Options) { o.Token = secret.New(token + "\n") },
		"no files":    func(o *Options) { o.Datasource = nil },
		"same config": func(o *Options) { o.ConfigFiles = []string{"a/.env", "b/.env"} },
		"odd config":  func(o *Options) { o.ConfigFiles = []string{"a/.."} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			options := good
			change(&options)
			_, err := New(options)
			if failure.KindOf(err) != failure.Usage || strings.Contains(fmt.Sprint(err), token) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
