package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Restores reads the catalog of restores. A catalog.Catalog does.
type Restores interface {
	// Restore returns one record: NotFound where there is none.
	Restore(ctx context.Context, id backup.RestoreID) (catalog.Restore, error)
	// Restores yields all, newest first. One that cannot be read is an error with nothing but its id.
	Restores(ctx context.Context) iter.Seq2[catalog.Restore, error]
}

// How many restores a listing has.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// routeAPI adds what robots ask, all of it behind the token.
func (s *server) routeAPI(mux *http.ServeMux) error {
	if s.Restores == nil {
		return nil
	}
	if len(s.Token.Reveal()) < minToken {
		return failure.New(failure.Usage, "the token of the API is shorter than %d characters", minToken)
	}
	mux.Handle("GET /api/restores", s.authorized(s.listRestores))
	mux.Handle("GET /api/restores/{id}", s.authorized(s.showRestore))
	mux.Handle("/api/", s.authorized(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			s.explain(w, r, problem{http.StatusMethodNotAllowed, failure.Usage, "Not that way", "The API can be read only.", "use GET"})
			return
		}
		s.explain(w, r, problem{http.StatusNotFound, failure.NotFound, "Nothing here", "The API has nothing at this address.", "it has /api/restores and /api/restores/ID"})
	}))
	return nil
}

// authorized lets through who sends the token, and nobody else.
func (s *server) authorized(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		s.explain(w, r, p)
	})
}

// unreadable is a record that is there and can't be read.
type unreadable struct {
	ID      backup.RestoreID `json:"id"`
	Kind    string           `json:"kind"`
	Message string           `json:"message"`
}

// listing is the answer of GET /api/restores.
type listing struct {
	Restores   []catalog.Restore `json:"restores"`             // newest first, without steps, findings, forecast and confirmation
	More       bool              `json:"more"`                 // there are older ones
	Unreadable []unreadable      `json:"unreadable,omitempty"` // of all restores
}

func (s *server) listRestores(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	answer := listing{Restores: []catalog.Restore{}}
	for record, err := range s.Restores.Restores(r.Context()) {
		switch {
		case err != nil && record.ID == "": // of the listing itself
			s.failAPI(w, r, err)
			return
		case err != nil:
			if len(answer.Unreadable) < maxLimit {
				answer.Unreadable = append(answer.Unreadable, unreadable{record.ID, failure.KindOf(err).String(), readable(err)})
			}
			continue
		}
		if answer.More = len(answer.Restores) == limit; answer.More {
			break
		}
		answer.Restores = append(answer.Restores, brief(record))
	}
	s.answer(w, r, answer)
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

// brief leaves out of a record what is long; its totals stay.
func brief(r catalog.Restore) catalog.Restore {
	r.Steps, r.Forecast, r.Confirmation, r.Notes, r.Problems = nil, nil, nil, nil, nil
	return r
}

func (s *server) showRestore(w http.ResponseWriter, r *http.Request) {
	id, err := backup.ParseRestoreID(r.PathValue("id"))
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	record, err := s.Restores.Restore(r.Context(), id)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	s.answer(w, r, record)
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
		p = problem{http.StatusNotFound, kind, "Unknown restore", "There is no such restore.", "`lifeboat restores` shows those that there are"}
	case failure.Transient, failure.Canceled:
		p = problem{http.StatusServiceUnavailable, failure.Transient, "Try again later", readable(err), "try again in a minute"}
	case failure.Corrupt, failure.Invalid:
		p.Kind, p.Hint = kind, failure.HintOf(err)
	}
	if p.Status >= 500 {
		s.Log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "kind", kind.String(), "error", quiet(err))
	}
	s.explain(w, r, p)
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
