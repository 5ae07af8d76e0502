package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
)

// Starter starts runs, and does not wait for their end. Requests with equal keys, which are not empty, start once: the
// later ones get the id of the first; one that asks for something else is a Conflict. A key belongs to who started it.
type Starter interface {
	// StartBackup starts a backup and gives it an id. NotFound where there is no such source, Usage for what its
	// application has not.
	StartBackup(ctx context.Context, run events.Run, key string) (backup.ID, error)
	// StartRestore completes what was asked, and starts the restore. NotFound where there is no such backup or target.
	StartRestore(ctx context.Context, restore events.Restore, key string) (backup.RestoreID, error)
}

// maxBody bounds what starts something, in bytes.
const maxBody = 64 << 10

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 200

// backupRequest is the body of POST /backups.
type backupRequest struct {
	Source      backup.Source `json:"source"`
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Scope       backup.Scope  `json:"scope"`
}

// restoreRequest is the body of POST /restores: an events.Restore without what the server says itself.
type restoreRequest struct {
	From   events.From `json:"from"`
	To     events.To   `json:"to"`
	Only   []string    `json:"only"`
	Check  string      `json:"check"`
	Trust  bool        `json:"trust"`
	DryRun bool        `json:"dry_run"`
	Wishes app.Wishes  `json:"wishes"`
}

// started is the answer to what started something.
type started struct {
	ID string `json:"id"`
}

func (s *server) startBackup(w http.ResponseWriter, r *http.Request) {
	var asked backupRequest
	key, ok := s.readStart(w, r, &asked)
	if !ok {
		return
	}
	id, err := s.Starter.StartBackup(r.Context(), events.Run{
		Source: asked.Source, Name: asked.Name, Description: asked.Description, Scope: asked.Scope, StartedBy: s.caller(r),
	}, key)
	s.accepted(w, r, string(id), err)
}

func (b backupRequest) sensible() error {
	if _, err := backup.ParseSource(string(b.Source)); err != nil {
		return err
	}
	if len(b.Name) > 200 || len(b.Description) > 4000 {
		return failure.New(failure.Usage, "a name has at most 200 bytes, a description at most 4000")
	}
	return nil
}

func (s *server) startRestore(w http.ResponseWriter, r *http.Request) {
	var asked restoreRequest
	key, ok := s.readStart(w, r, &asked)
	if !ok {
		return
	}
	id, err := s.Starter.StartRestore(r.Context(), events.Restore{
		From: asked.From, To: asked.To, Only: asked.Only, Check: asked.Check, Trust: asked.Trust, DryRun: asked.DryRun, Wishes: asked.Wishes,
		StartedBy: s.caller(r),
	}, key)
	s.accepted(w, r, string(id), err)
}

// sensible refuses what nobody may ask for from afar: the server's own files, and its secrets. A bucket that needs keys,
// or lies in another store, is a target of lifeboat.yaml: who asks could have the keys sent to a store of theirs.
func (q restoreRequest) sensible() error {
	b := q.To.Bucket
	switch {
	case q.From.File != "" || q.To.Folder != "" || q.To.Existing:
		return failure.New(failure.Usage, "the API names no files and folders of the server").
			WithHint("restore from a backup or a url, to a target (of a server that is no stack: or to a bucket); `lifeboat restore` on the machine itself reaches its files")
	case q.To.Drill:
		return failure.New(failure.Usage, "the API starts no drills").WithHint("`lifeboat drill` is for a machine; in AWS a schedule starts them: deploy: {drills: …}")
	case (q.From.Backup != "") == (q.From.URL != ""):
		return failure.New(failure.Usage, "a restore is from one of backup and url").WithHint(`write "from": {"backup": "photos:latest"}`)
	case (q.To.Target != "") == (b != nil):
		return failure.New(failure.Usage, "a restore goes to one of target and bucket").WithHint(`write "to": {"target": "photos-new"}`)
	case b != nil && b.Name == "":
		return failure.New(failure.Usage, "the bucket has no name").WithHint(`write "to": {"bucket": {"name": "photos-new"}}`)
	case b != nil && (b.Endpoint != "" || b.Profile != "" || b.AccessKey != "" || b.SecretKey != ""):
		return failure.New(failure.Usage, "the API names no endpoint, profile and keys of a bucket").
			WithHint("make the bucket a target of lifeboat.yaml, with its endpoint and its keys, and name the target")
	}
	return nil
}

// caller is who asks, for the record.
func (s *server) caller(r *http.Request) catalog.Starter {
	if s.Who != nil {
		return catalog.Starter{By: "api", Who: s.Who(r)}
	}
	return catalog.Starter{By: "api", Who: "token"}
}

// readStart decodes the body of a request that starts something, strictly, and returns its key. Where it can't be, or asks
// for what nobody may, it has answered. A form of another site can't send what is taken here: neither its type nor its token.
func (s *server) readStart(w http.ResponseWriter, r *http.Request, asked interface{ sensible() error }) (key string, ok bool) {
	p := problem{Kind: failure.Usage}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case s.Starter == nil:
		p = problem{http.StatusNotImplemented, failure.Usage, "Not here", "Nothing can be started here.", "start it on the machine itself, with `lifeboat backup` or `lifeboat restore`"}
	case s.origin.Check(r) != nil:
		p = problem{http.StatusForbidden, failure.Denied, "Not from here", "The request was sent from another site.", "send it from the site of the API, or from a program"}
	case err != nil || kind != "application/json":
		p = problem{http.StatusUnsupportedMediaType, failure.Usage, "Not JSON", "What was sent does not say that it is JSON.", "send it with Content-Type: application/json"}
	case !goodKey(r.Header.Get("Idempotency-Key")):
		p = problem{http.StatusBadRequest, failure.Usage, "Not a good request", "The Idempotency-Key has more than 200 characters, or other ones than visible ASCII.", "send a random text, such as a UUID"}
	default:
		p = decodeBody(w, r, asked)
	}
	if p.Status != 0 {
		s.refuse(w, p)
		return "", false
	}
	if err := asked.sensible(); err != nil {
		s.failStart(w, r, err)
		return "", false
	}
	return r.Header.Get("Idempotency-Key"), true
}

func goodKey(key string) bool {
	return len(key) <= maxKey && strings.IndexFunc(key, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

// decodeBody returns what is wrong with a body, or the zero problem.
func decodeBody(w http.ResponseWriter, r *http.Request, asked any) problem {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return problem{http.StatusRequestEntityTooLarge, failure.Usage, "Too large", "What was sent is larger than 64 KiB.", "give fewer patterns, with wildcards"}
	}
	if err != nil {
		return problem{http.StatusBadRequest, failure.Usage, "Not a good request", "What was sent broke off.", "send it again"}
	}
	if err := events.Decode(body, asked); err != nil {
		return problem{http.StatusBadRequest, failure.Usage, "Not a good request", sentence(err.Error()), "see what the API takes in docs/api.md"}
	}
	return problem{}
}

// accepted answers with the id of what was started, and where its record will be.
func (s *server) accepted(w http.ResponseWriter, r *http.Request, id string, err error) {
	if err != nil {
		s.failStart(w, r, err)
		return
	}
	base := ""
	if u, err := url.Parse(s.PublicURL); err == nil && s.ours(r.Host) {
		base = strings.TrimRight(u.Path, "/")
	}
	w.Header().Set("Location", base+r.URL.Path+"/"+id)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(started{id}) // a client that has gone hears nothing
}

// failStart answers why nothing was started. What the request itself is to blame for is said as it is.
func (s *server) failStart(w http.ResponseWriter, r *http.Request, err error) {
	kind := failure.KindOf(err)
	titles := map[failure.Kind]string{
		failure.Usage: "Not a good request", failure.NotFound: "Not there", failure.Conflict: "Not now", failure.Invalid: "Not possible",
		failure.Exhausted: "Too much at once", failure.Denied: "Not allowed",
	}
	p := problem{kind.HTTPStatus(), kind, titles[kind], sentence(err.Error()), failure.HintOf(err)}
	switch {
	case kind == failure.Denied && !netguard.IsRefusal(err): // of what lifeboat itself may: nobody who asks can mend it
		p = problem{http.StatusInternalServerError, failure.Internal, "Something is wrong", "Nothing was started.", "the log of lifeboat says why"}
	case kind == failure.Exhausted:
		p.Status = http.StatusTooManyRequests
	case kind == failure.Transient || kind == failure.Canceled:
		p = problem{http.StatusServiceUnavailable, failure.Transient, "Try again later", "The vault, or what starts runs, does not answer.", "try again in a minute, with the same Idempotency-Key"}
	case p.Title == "":
		p = problem{http.StatusInternalServerError, failure.Internal, "Something is wrong", "Nothing was started.", "the log of lifeboat says why"}
	}
	if p.Status >= 500 {
		s.Log.ErrorContext(r.Context(), "nothing was started", "route", r.Pattern, "kind", kind.String(), "error", quiet(err))
	}
	s.refuse(w, p)
}
