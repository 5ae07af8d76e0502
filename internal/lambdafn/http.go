package lambdafn

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"

	"lifeboat/internal/failure"
)

// Bounds of what passes through API Gateway. Its own limit is 10 MB, and Lambda's 6 MiB, of which base64 takes a quarter.
const (
	maxRequest  = 1 << 20
	maxResponse = 4 << 20
)

// HTTP makes of an http.Handler the Handler of an API Gateway HTTP API, payload format 2.0. Envelopes of AWS are decoded
// leniently. The handler's answer is kept as a whole: what is large must be redirected to the store.
//
// The request is as the client sent it: path and query with their escapes, the host that it asked for, cookies, the
// client's address. Whom the authorizer of the route has found behind it, Caller says. A stage other than $default is
// taken off the path. Bytes of an answer that are no text travel as base64.
func HTTP(handler http.Handler) Handler {
	return func(ctx context.Context, message []byte) (json.RawMessage, error) {
		var event events.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(message, &event); err != nil {
			return nil, failure.New(failure.Usage, "decode the event of API Gateway: it is none")
		}
		if event.Version != "2.0" {
			return nil, failure.New(failure.Usage, "the event of API Gateway has the payload format %q, not 2.0", event.Version)
		}
		request, err := newRequest(withCaller(ctx, event.RequestContext.Authorizer), event)
		if err != nil {
			return json.Marshal(refused(err))
		}
		w := &response{header: http.Header{}}
		handler.ServeHTTP(w, request)
		return json.Marshal(w.event())
	}
}

// refused answers a request that no handler should see.
func refused(err error) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{
		StatusCode: failure.KindOf(err).HTTPStatus(), Body: err.Error() + "\n",
		Headers: map[string]string{"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"},
	}
}

func newRequest(ctx context.Context, event events.APIGatewayV2HTTPRequest) (*http.Request, error) {
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, failure.New(failure.Usage, "the body is not what it says it is")
		}
	}
	if len(body) > maxRequest {
		return nil, failure.New(failure.Usage, "the body is larger than %d bytes", maxRequest)
	}
	target := sentPath(event)
	if event.RawQueryString != "" {
		target += "?" + event.RawQueryString
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, failure.New(failure.Usage, "the path is none")
	}
	request, err := http.NewRequestWithContext(ctx, event.RequestContext.HTTP.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, failure.New(failure.Usage, "the request is none")
	}
	request.URL, request.RequestURI = u, target
	request.ContentLength = int64(len(body))
	for name, value := range event.Headers { // values that came more than once are joined by commas
		request.Header.Set(name, value)
	}
	if len(event.Cookies) > 0 {
		request.Header.Set("Cookie", strings.Join(event.Cookies, "; "))
	}
	request.Host = request.Header.Get("Host")
	if request.Host == "" {
		request.Host = event.RequestContext.DomainName
	}
	request.Header.Del("Host")
	request.RemoteAddr = net.JoinHostPort(event.RequestContext.HTTP.SourceIP, "0")
	return request, nil
}

// sentPath returns the path as the client sent it, without the stage.
func sentPath(event events.APIGatewayV2HTTPRequest) string {
	path := event.RawPath
	if stage := event.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
	}
	if path == "" {
		return "/"
	}
	return path
}

// response keeps the answer of a handler.
type response struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
	over   bool // it has become too large
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(data []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(data) > maxResponse {
		w.over = true
		return 0, failure.New(failure.Exhausted, "the answer is larger than %d bytes", maxResponse)
	}
	return w.body.Write(data)
}

func (w *response) event() events.APIGatewayV2HTTPResponse {
	w.WriteHeader(http.StatusOK)
	if w.over {
		return refused(failure.New(failure.Exhausted, "the answer is too large to pass through here"))
	}
	if w.sent.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	event := events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: map[string]string{}, Cookies: w.sent.Values("Set-Cookie")}
	for name, values := range w.sent { // the format has one value for each; cookies have a place of their own
		if name != "Set-Cookie" {
			event.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	event.Body = w.body.String()
	if w.body.Len() > 0 && (!text(w.sent.Get("Content-Type")) || w.sent.Get("Content-Encoding") != "" || !utf8.Valid(w.body.Bytes())) {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return event
}

func text(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasPrefix(kind, "text/") || kind == "application/json" || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml"))
}
