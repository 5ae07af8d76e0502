package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// How many records a listing has.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// Where the API is: two names for one thing. API Gateway has no prefix, and robots of `lifeboat serve` know the other.
var prefixes = []string{"", "/api"}

// isAPI reports whether a path is one of the API's.
func isAPI(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "api" || first == "backups" || first == "restores"
}

// routeAPI adds what robots ask, all of it for those who are known.
func (s *server) routeAPI(mux *http.ServeMux) error {
	if s.Restores == nil {
		return nil
	}
	if s.Who == nil && len(s.Token.Reveal()) < minToken {
		return failure.New(failure.Usage, "the token of the API is shorter than %d characters", minToken)
	}
	for _, prefix := range prefixes {
		mux.Handle("GET "+prefix+"/backups", s.authorized(s.listBackups))
		mux.Handle("GET "+prefix+"/backups/{id}", s.authorized(s.showBackup))
		mux.Handle("POST "+prefix+"/backups", s.authorized(s.startBackup))
		mux.Handle("GET "+prefix+"/restores", s.authorized(s.listRestores))
		mux.Handle("GET "+prefix+"/restores/{id}", s.authorized(s.showRestore))
		mux.Handle("POST "+prefix+"/restores", s.authorized(s.startRestore))
		for _, path := range []string{"/backups", "/restores"} {
			mux.Handle(prefix+path, s.authorized(s.noMethod("GET, HEAD, POST")))
			mux.Handle(prefix+path+"/{id}", s.authorized(s.noMethod("GET, HEAD")))
			mux.Handle(prefix+path+"/", s.authorized(s.noAddress))
		}
	}
	mux.Handle("/api/", s.authorized(s.noAddress))
	return nil
}

func (s *server) noMethod(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		s.refuse(w, problem{http.StatusMethodNotAllowed, failure.Usage, "Not that way", "What is there can be read only.", "use GET; backups and restores are started by POST /backups and POST /restores"})
	}
}

func (s *server) noAddress(w http.ResponseWriter, _ *http.Request) {
	s.refuse(w, problem{http.StatusNotFound, failure.NotFound, "Nothing here", "The API has nothing at this address.", "it has /backups, /backups/ID, /restores and /restores/ID"})
}

// authorized lets through who is known, and nobody else: by an authorizer in front where there is one, or by the token.
func (s *server) authorized(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Who != nil {
			if !s.vouched(r) { // a route that was left open by mistake
				s.refuse(w, problem{http.StatusUnauthorized, failure.Denied, "Who are you?", "The API is for those who are known.", "send the token of your provider, or sign the request"})
				return
			}
			next(w, r)
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") && s.Token.Equal(secret.New(strings.TrimSpace(token))) {
			next(w, r)
			return
		}
		p := problem{
			http.StatusUnauthorized, failure.Denied, "Token needed", "The API asks for a token, and none was sent.",
			"send it as Authorization: Bearer TOKEN; it lies in the file " + TokenFile + " of the state-dir, on the machine that runs `lifeboat serve`",
		}
		challenge := `Bearer realm="lifeboat"`
		if r.Header.Get("Authorization") != "" {
			p.Title, p.Message, challenge = "Wrong token", "The token of the API is another one.", challenge+`, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		s.refuse(w, p)
	})
}

func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, failure.New(failure.Usage, "limit is not a number from 1 to %d", maxLimit).WithHint("leave it out for %d", defaultLimit)
	}
	return n, nil
}

// answer sends value as JSON. Its ETag derives from the bytes: a follower that sends it back as If-None-Match gets 304
// until something has changed.
func (s *server) answer(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	digest := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(digest[:16]) + `"`
	w.Header().Set("Etag", tag)
	if known(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}

// known reports whether If-None-Match has a tag. A proxy that compresses makes a weak one of it (W/), or appends to it.
func known(headers []string, tag string) bool {
	for candidate := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		candidate = strings.ReplaceAll(strings.ReplaceAll(candidate, `-gzip"`, `"`), `-br"`, `"`)
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

// failAPI answers with an error; what is wrong inside is for the log only.
func (s *server) failAPI(w http.ResponseWriter, r *http.Request, err error) {
	kind := failure.KindOf(err)
	p := problem{http.StatusInternalServerError, failure.Internal, "Something is wrong", readable(err), "the log of `lifeboat serve` says why"}
	switch kind {
	case failure.Usage:
		p = problem{http.StatusBadRequest, kind, "Not a good request", sentence(err.Error()), failure.HintOf(err)}
	case failure.NotFound:
		p = problem{http.StatusNotFound, kind, "Unknown restore", "There is no such restore.", "`lifeboat restores` shows those that there are; one that was just started is there in a moment"}
		if strings.Contains(r.Pattern, "/backups") {
			p.Title, p.Message, p.Hint = "Unknown backup", "There is no such backup.", "`lifeboat list` shows those that there are; one that was just started is there in a moment"
		}
	case failure.Transient, failure.Canceled:
		p = problem{http.StatusServiceUnavailable, failure.Transient, "Try again later", readable(err), "try again in a minute"}
	case failure.Corrupt, failure.Invalid:
		p.Kind, p.Hint = kind, failure.HintOf(err)
	}
	if p.Status >= 500 {
		s.Log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "kind", kind.String(), "error", quiet(err))
	}
	s.refuse(w, p)
}

// readable says in a sentence of ours why a record was not read.
func readable(err error) string {
	switch failure.KindOf(err) {
	case failure.Transient, failure.Canceled:
		return "The vault does not answer."
	case failure.Corrupt:
		return "The record is damaged."
	case failure.Invalid:
		return "The record was written by a later lifeboat."
	}
	return "The record could not be read."
}

// refuse answers with a problem (RFC 9457), in the words of the other answers of lifeboat.
func (s *server) refuse(w http.ResponseWriter, p problem) {
	var body bytes.Buffer
	_ = json.NewEncoder(&body).Encode(struct { // cannot fail: text
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Type   string `json:"message_type"`
		Kind   string `json:"kind"`
		Hint   string `json:"hint,omitempty"`
	}{p.Title, p.Status, p.Message, "error", p.Kind.String(), p.Hint})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body.Bytes())
}
