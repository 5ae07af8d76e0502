package vault_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
)

// TestGarbledAnswer has the answer to a listing break off, or be something else: it is worth another try.
func TestGarbledAnswer(t *testing.T) {
	for _, body := range []string{`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Contents><Key>links/one`, "<html><p>please log in"} {
		v := vaulttest.New(t)
		v.Intercept(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
				Header: http.Header{"Content-Type": {"application/xml"}}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
			}, nil
		})
		n := 0
		for _, err := range v.List(t.Context(), "links/") {
			n++
			wantKind(t, err, failure.Transient)
		}
		if n != 1 {
			t.Errorf("%q: %d answers", body, n)
		}
		v.Intercept(nil)
	}
}
