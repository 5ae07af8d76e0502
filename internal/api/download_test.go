package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"lifeboat/internal/link"
)

// TestProxiedDownload goes the whole way of a browser, below a path prefix that a reverse proxy takes off.
func TestProxiedDownload(t *testing.T) {
	w := newWorld(t, true)
	front := httptest.NewServer(http.StripPrefix("/boat", w.handler))
	defer front.Close()
	token := w.issue(link.Options{})
	if csp := w.do("GET", "/l/"+token, nil).Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self';") {
		t.Errorf("policy %s", csp)
	}
	client := front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.PostForm(front.URL+"/boat/l/"+token, url.Values{"nonce": {w.nonce(token)}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	location, err := answer.Location()
	if err != nil || answer.StatusCode != 303 || !strings.HasPrefix(location.String(), front.URL+"/boat/download/vault/archives/photos/") {
		t.Fatalf("%d, %v, %v", answer.StatusCode, location, err)
	}
	for ranges, want := range map[string]struct {
		status int
		body   string
	}{"": {200, content}, "bytes=4-7": {206, content[4:8]}, "bytes=9999-": {416, ""}} {
		r, _ := http.NewRequest("GET", location.String(), nil)
		r.Header.Set("Cookie", "a=b")
		r.Header.Set("Authorization", "Bearer x")
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want.status || want.status < 400 && string(body) != want.body {
			t.Errorf("range %q: %d %q", ranges, answer.StatusCode, body)
		}
		h := answer.Header
		if h.Get("X-Amz-Request-Id") != "" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", h)
		}
		if want.status == 200 && (h.Get("Content-Disposition") != `attachment; filename="photos-20261121T020000Z-abcdef.zip"` || h.Get("Content-Type") != "application/zip") {
			t.Errorf("headers %v", h)
		}
	}
	for _, r := range w.s3 {
		if r.Host != strings.TrimPrefix(w.store, "http://") || r.URL.RawQuery != location.RawQuery || r.Header.Get("Cookie")+r.Header.Get("Authorization")+r.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("the store got %s %s %v", r.Host, r.URL, r.Header)
		}
	}
	if len(w.s3) != 3 {
		t.Errorf("the store got %d requests", len(w.s3))
	}
	if strings.Contains(w.log.String(), "X-Amz") || strings.Contains(w.log.String(), token) {
		t.Errorf("the log is\n%s", w.log.String())
	}
}

func TestProxyPassesNothingElse(t *testing.T) {
	w := newWorld(t, true)
	const signed = "?X-Amz-Signature=00"
	for target, status := range map[string]int{
		"/download/vault/archives/photos/x.zip":                                           404, // no signature
		"/download/vault/archives/photos/x.zip?X-Amz-Signature=":                          404,
		"/download/vault/archives/photos/x.zip?X-Amz-Signature=0&X-Amz-Signature=1":       404,
		"/download/vault/archives/photos/x.zip?X-Amz-Signature=0&acl":                     404,
		"/download/vault/archives/photos/x.zip?X-Amz-Signature=0&uploadId=1":              404,
		"/download/vault/archives/photos/x.zip?X-Amz-Signature=0;a=%zz":                   404,
		"/download/vault/vault.json" + signed:                                             404,
		"/download/vault/links/0011223344556677.json" + signed:                            404,
		"/download/vault/archives/%2e%2e/vault.json" + signed:                             404,
		"/download/vault/archives/..%2fvault.json" + signed:                               404,
		"/download/vault/archives%2f..%2fvault.json" + signed:                             404,
		"/download/other/archives/photos/x.zip" + signed:                                  404,
		"/download/vault/" + signed:                                                       404,
		"/vault/archives/photos/20261121T020000Z-abcdef.zip" + signed:                     404,
		"/download/vault/archives/photos/20261121T020000Z-abcdef.zip" + signed + "forged": 403,
		"/download/vault/archives/photos/20261122T020000Z-abcdef.zip" + signed:            404,
	} {
		before := len(w.s3)
		answer := w.do("GET", target, nil)
		if answer.Code != status || strings.Contains(answer.Body.String(), "secret words") {
			t.Errorf("%s: %d\n%s", target, answer.Code, answer.Body)
		}
		if strings.Contains(target, "/2026112") != (len(w.s3) > before) && !strings.HasPrefix(target, "/vault/") {
			t.Errorf("%s: %d requests reached the store", target, len(w.s3)-before)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if got := w.do(method, "/download/vault/archives/photos/20261121T020000Z-abcdef.zip"+signed, nil).Code; got != 405 {
			t.Errorf("%s: %d", method, got)
		}
	}
}
