package zipline

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"lifeboat/internal/failure"
)

// complaint is the body of Zipline's errors. Code is sometimes missing: error then starts without "E1234:".
type complaint struct {
	Error string `json:"error"`
	Code  int    `json:"code"`
}

// Codes of Zipline's errors that mean something of their own here.
const (
	codeSerialization = 1000 // with status 500; with 400 it is a validation error
	codeNoSettings    = 1023
	codeAdminOnly     = 3000
	codeNotSuperAdmin = 3015
)

// errQuery is in the tree of the error when Zipline doesn't take the query, which versions before 4.5.0 may not.
var errQuery = errors.New("Zipline doesn't know the query")

// isPage reports whether an answer is a web page, by its head.
func isPage(header http.Header) bool {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return kind == "text/html" || kind == "application/xhtml+xml"
}

// explain maps an answer that is no export to an error: one sentence and what to do next. Whose settings are meant,
// "source" or "target", it is told.
func explain(whose string, answer *http.Response, body []byte) error {
	var said complaint
	isJSON := json.Unmarshal(body, &said) == nil
	words, status := quote(said.Error, answer), answer.StatusCode
	page := isPage(answer.Header) || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	switch {
	case status == 401 && !page:
		return failure.New(failure.Denied, "Zipline refuses the token (%s)", words).
			WithHint("copy the token of a SUPERADMIN from Zipline's user menu into the %s's token, bare, without “Bearer”; a changed CORE_SECRET makes all older tokens invalid", whose)
	case status == 403 && (said.Code == codeAdminOnly || said.Code == codeNotSuperAdmin):
		return failure.New(failure.Denied, "the token's user may not export the server (%s)", words).
			WithHint("use the token of a user whose role is SUPERADMIN")
	case status == 401 || status == 403:
		return failure.New(failure.Denied, "something in front of Zipline refuses the request (%s)", words).
			WithHint("let lifeboat pass the proxy or firewall, or name Zipline's own address in the %s's url", whose)
	case status == 429:
		return failure.New(failure.Transient, "Zipline's rate limit does not end (%s)", words).
			WithHint("run again later")
	case status == 500 && said.Code == codeSerialization:
		return failure.New(failure.Invalid, "Zipline can't make its own export (%s)", words).
			WithHint("one odd row makes the whole export fail: use the token of a SUPERADMIN whose name has no “:”, and look into Zipline's log for the row that doesn't match")
	case status >= 500:
		return failure.New(failure.Transient, "Zipline answers with an error of its own (%s)", words).
			WithHint("look into Zipline's log, then run again")
	case status == 400 && said.Code == codeNoSettings:
		return failure.New(failure.Invalid, "this Zipline is not set up yet (%s)", words).
			WithHint("finish Zipline's setup in a browser, then run again")
	case status == 400 && strings.HasPrefix(said.Error, "querystring/"):
		return failure.New(failure.Invalid, "%w (%s)", errQuery, words).
			WithHint("lifeboat knows Zipline 4.4.0 to 4.6.3: check the version")
	case page:
		return errPage(whose, answer)
	case status == 404:
		return failure.New(failure.Invalid, "there is no export at this address (%s)", words).
			WithHint("check the %s's url; Zipline has a server export since 4.4.0, so upgrade an older one", whose)
	case isJSON && said.Error != "":
		return failure.New(failure.Invalid, "Zipline refuses the export (%s)", words).
			WithHint("lifeboat knows Zipline 4.4.0 to 4.6.3: check the version, and look into Zipline's log")
	}
	return failure.New(failure.Invalid, "the answer is not one of Zipline's (%s)", words).
		WithHint("check the %s's url, and its scheme, http or https", whose)
}

func errPage(whose string, answer *http.Response) error {
	return failure.New(failure.Invalid, "this URL answers with a web page (%s), not with Zipline's API", quote("", answer)).
		WithHint("give the address of Zipline itself in the %s's url, without a path such as /dashboard; a proxy in front of it must not ask for a login", whose)
}

// quote returns what the server said, escaped and bounded: it may be anybody's.
func quote(said string, answer *http.Response) string {
	status := "status " + strconv.Itoa(answer.StatusCode)
	if said == "" {
		return status
	}
	quoted := strconv.QuoteToGraphic(shorten(said))
	return status + ": " + strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`)
}
