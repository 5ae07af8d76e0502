package lambdafn_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn"
)

// answered is what API Gateway gets.
type answered struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	Cookies         []string          `json:"cookies"`
}

func through(t *testing.T, handler http.HandlerFunc, event string) answered {
	t.Helper()
	raw, err := lambdafn.HTTP(handler)(t.Context(), []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	var a answered
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// event is one of API Gateway's, with a field that nobody knows yet.
func event(stage, path, method, body string, encoded bool) string {
	data, _ := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "a=1&a=2%20x&b",
		"cookies": []string{"one=1", "two=2"}, "somethingNew": map[string]any{},
		"headers": map[string]string{"host": "backup.example.org", "x-several": "a,b", "content-type": "application/x-www-form-urlencoded"},
		"requestContext": map[string]any{
			"stage": stage, "domainName": "id.execute-api.eu-central-1.amazonaws.com",
			"http": map[string]any{"method": method, "path": path, "sourceIp": "192.0.2.7", "protocol": "HTTP/1.1"},
		},
		"body": body, "isBase64Encoded": encoded,
	})
	return string(data)
}

func TestHTTPRequest(t *testing.T) {
	type seen struct {
		Method, Path, Escaped, Query, Host, Remote, Cookie, Several, Body string
		Length                                                            int64
	}
	var got seen
	handler := func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{
			r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery, r.Host, r.RemoteAddr, r.Header.Get("Cookie"), r.Header.Get("X-Several"), string(body),
			r.ContentLength,
		}
	}
	want := seen{
		"POST", "/l/to/ken", "/l/to%2Fken", "a=1&a=2%20x&b", "backup.example.org", "192.0.2.7:0", "one=1; two=2", "a,b", "\x00\xffform=1", 8,
	}
	body := base64.StdEncoding.EncodeToString([]byte("\x00\xffform=1"))
	for stage, path := range map[string]string{"$default": "/l/to%2Fken", "prod": "/prod/l/to%2Fken", "": "/l/to%2Fken"} {
		through(t, handler, event(stage, path, "POST", body, true))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stage %q (-want +got):\n%s", stage, diff)
		}
	}
	for path, want := range map[string]string{"/prod": "/", "/production/x": "/production/x", "/prod/": "/"} {
		through(t, handler, event("prod", path, "GET", "", false))
		if got.Path != want {
			t.Errorf("%s is seen as %s", path, got.Path)
		}
	}
}

func TestHTTPAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    answered
	}{
		"nothing": {
			func(http.ResponseWriter, *http.Request) {},
			answered{StatusCode: 200, Headers: map[string]string{}},
		},
		"text, with headers that come twice, and cookies": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Add("Vary", "Accept")
				w.Header().Add("Vary", "Origin")
				w.Header().Add("Set-Cookie", "a=1; Secure")
				w.Header().Add("Set-Cookie", "b=2, with a comma")
				w.WriteHeader(http.StatusAccepted)
				w.Header().Set("Too-Late", "yes")
				fmt.Fprint(w, "<p>é")
			},
			answered{StatusCode: 202, Headers: map[string]string{"content-type": "text/html; charset=utf-8", "vary": "Accept, Origin"}, Body: "<p>é", Cookies: []string{"a=1; Secure", "b=2, with a comma"}},
		},
		"bytes": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/zip")
				fmt.Fprint(w, "PK\x03\x04\xff")
			},
			answered{StatusCode: 200, Headers: map[string]string{"content-type": "application/zip"}, Body: "UEsDBP8=", IsBase64Encoded: true},
		},
		"text that is none": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				fmt.Fprint(w, "\xff")
			},
			answered{StatusCode: 200, Headers: map[string]string{"content-type": "text/plain"}, Body: "/w==", IsBase64Encoded: true},
		},
		"a redirect": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://bucket.example.org/?X-Amz-Signature=1")
				w.WriteHeader(http.StatusSeeOther)
			},
			answered{StatusCode: 303, Headers: map[string]string{"location": "https://bucket.example.org/?X-Amz-Signature=1"}},
		},
		"too much": {
			func(w http.ResponseWriter, _ *http.Request) {
				for range 5 {
					_, _ = w.Write(make([]byte, 1<<20))
				}
			},
			answered{StatusCode: 507, Headers: map[string]string{"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}, Body: "the answer is too large to pass through here\n"},
		},
	} {
		got := through(t, c.handler, event("$default", "/x", "GET", "", false))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHTTPRefuses(t *testing.T) {
	never := func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }
	for _, message := range []string{`[]`, `nothing`, `{"version":"1.0"}`, `{}`} {
		if _, err := lambdafn.HTTP(http.HandlerFunc(never))(t.Context(), []byte(message)); failure.KindOf(err) != failure.Usage || err == nil {
			t.Errorf("%s: %v", message, err)
		}
	}
	for name, message := range map[string]string{
		"no base64":    event("$default", "/x", "POST", "%%%", true),
		"no path":      event("$default", "/%zz", "GET", "", false),
		"no method":    event("$default", "/x", "G T", "", false),
		"a large body": event("$default", "/x", "POST", strings.Repeat("x", 1<<20+1), false),
	} {
		if a := through(t, never, message); a.StatusCode != 400 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
