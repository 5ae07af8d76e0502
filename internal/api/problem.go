package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/link"
)

// problem is an error as people and robots see it.
type problem struct {
	Status  int
	Kind    failure.Kind
	Title   string
	Message string
	Hint    string
}

// problemOf says what to tell about an error. What is wrong inside is for the log only.
func problemOf(err error) problem {
	if refused, ok := errors.AsType[*link.Refused](err); ok {
		return refusal(refused, failure.HintOf(err))
	}
	switch kind := failure.KindOf(err); kind {
	case failure.NotFound:
		return problem{
			http.StatusNotFound, kind, "Unknown link", "There is no such link.",
			"check that it was copied completely; `lifeboat link BACKUP` makes a new one",
		}
	case failure.Transient, failure.Canceled:
		return problem{http.StatusServiceUnavailable, failure.Transient, "Try again later", "The vault does not answer.", "try again in a minute"}
	}
	return problem{
		http.StatusInternalServerError, failure.Internal, "Something is wrong",
		"The link could not be looked up.", "the log of `lifeboat serve` says why",
	}
}

func refusal(refused *link.Refused, hint string) problem {
	p := problem{Status: http.StatusForbidden, Kind: failure.Denied, Title: "Code needed", Message: sentence(refused.Error()), Hint: hint}
	switch refused.Reason {
	case link.Expired:
		p.Status, p.Title = http.StatusGone, "Link expired"
	case link.Withdrawn:
		p.Status, p.Title = http.StatusGone, "Link withdrawn"
	case link.Locked:
		p.Status, p.Kind, p.Title = http.StatusTooManyRequests, failure.Exhausted, "Link locked"
	case link.UsedUp:
		p.Status, p.Kind, p.Title = http.StatusTooManyRequests, failure.Exhausted, "Link used up"
	case link.WrongCode:
		p.Title = "Wrong code"
		if refused.State.TriesLeft() == 0 {
			p.Status, p.Kind, p.Title = http.StatusTooManyRequests, failure.Exhausted, "Link locked"
		}
	}
	return p
}

func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// fail answers with an error; one that is our fault goes to the log, too.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= 500 {
		s.Log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "link", linkID(r), "kind", failure.KindOf(err).String(), "error", quiet(err))
	}
	s.explain(w, r, p)
}

func linkID(r *http.Request) string {
	if token := r.PathValue("token"); token != "" {
		return link.ID(token)
	}
	return ""
}

// quiet returns an error's text unless it holds a presigned URL.
func quiet(err error) string {
	if text := err.Error(); !strings.Contains(text, "X-Amz-") {
		return text
	}
	return "[redacted]"
}

// explain answers with a page, or with JSON where the client asks for that, or asks the API.
func (s *server) explain(w http.ResponseWriter, r *http.Request, p problem) {
	if isAPI(r.URL.Path) {
		s.refuse(w, p)
		return
	}
	if !wantsJSON(r) {
		s.render(w, p.Status, "problem", view{Title: p.Title, Problem: &p, Root: root(r)})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(struct {
		Type    string `json:"message_type"`
		Kind    string `json:"kind"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{"error", p.Kind.String(), p.Message, p.Hint})
}

func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

// root returns the relative way from a request's path to the root, so that pages also work below a prefix that a
// reverse proxy takes off.
func root(r *http.Request) string {
	return "./" + strings.Repeat("../", max(0, strings.Count(r.URL.EscapedPath(), "/")-1))
}
