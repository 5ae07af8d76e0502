package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/api"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
	"lifeboat/internal/secret"
)

func secretOf(text string) secret.String { return secret.New(text) }

// starter remembers what it was asked last.
type starter struct {
	run     events.Run
	restore events.Restore
	key     string
	calls   int
	fail    error
}

func (s *starter) StartBackup(_ context.Context, run events.Run, key string) (backup.ID, error) {
	s.run, s.key, s.calls = run, key, s.calls+1
	return "20261121T020000Z-abcdef", s.fail
}

func (s *starter) StartRestore(_ context.Context, r events.Restore, key string) (backup.RestoreID, error) {
	s.restore, s.key, s.calls = r, key, s.calls+1
	return restoreID, s.fail
}

// send posts JSON with the token.
func (w *world) send(target, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	r.Host = "backup.example.org"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", bearer)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

func newStarts(t *testing.T) (*world, *starter) {
	t.Helper()
	s := &starter{}
	return newBackups(t, func(o *api.Options) { o.Starter, o.PublicURL = s, "https://backup.example.org/boat" }), s
}

func TestStart(t *testing.T) {
	w, s := newStarts(t)
	answer := w.send("/backups", `{"source":"photos","name":"before","description":"4.6 to 4.7","scope":{"folder":"f1"}}`, "Idempotency-Key", "k-1")
	if answer.Code != 202 || answer.Header().Get("Location") != "/boat/backups/20261121T020000Z-abcdef" || strings.TrimSpace(answer.Body.String()) != `{"id":"20261121T020000Z-abcdef"}` {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	want := events.Run{Source: "photos", Name: "before", Description: "4.6 to 4.7", Scope: backup.Scope{Folder: "f1"}, StartedBy: catalog.Starter{By: "api", Who: "token"}}
	if diff := cmp.Diff(want, s.run); diff != "" || s.key != "k-1" {
		t.Errorf("key %s (-want +got):\n%s", s.key, diff)
	}
	answer = w.send("/api/restores", `{"from":{"backup":"photos:latest"},"to":{"bucket":{"name":"new","prefix":"a","layout":"datasource","region":"eu-north-1"}},`+
		`"only":["uploads/**"],"check":"stored","trust":true,"dry_run":true,"wishes":{"name":"n","documents":true,"objects":true}}`, "Content-Type", "application/json; charset=utf-8")
	if answer.Code != 202 || answer.Header().Get("Location") != "/boat/api/restores/"+string(restoreID) {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	restore := events.Restore{
		From: events.From{Backup: "photos:latest"}, To: events.To{Bucket: &events.Bucket{Name: "new", Prefix: "a", Layout: "datasource", Region: "eu-north-1"}},
		Only: []string{"uploads/**"}, Check: "stored", Trust: true, DryRun: true, Wishes: app.Wishes{Name: "n", Documents: true, Objects: true},
		StartedBy: catalog.Starter{By: "api", Who: "token"},
	}
	if diff := cmp.Diff(restore, s.restore); diff != "" || s.key != "" {
		t.Errorf("key %s (-want +got):\n%s", s.key, diff)
	}
}

func TestStartRefuses(t *testing.T) {
	w, s := newStarts(t)
	const good = `{"source":"photos"}`
	for name, c := range map[string]struct {
		target, body string
		header       []string
		status       int
		says         string
	}{
		"no token":          {"/backups", good, []string{"Authorization", ""}, 401, "Token needed"},
		"a form":            {"/backups", "source=photos", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json"},
		"text":              {"/backups", good, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		"no type":           {"/backups", good, []string{"Content-Type", ""}, 415, "application/json"},
		"another site":      {"/backups", good, []string{"Origin", "https://evil.example"}, 403, "another site"},
		"another site, new": {"/backups", good, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		"a null origin":     {"/backups", good, []string{"Origin", "null"}, 403, "another site"},
		"a long key":        {"/backups", good, []string{"Idempotency-Key", strings.Repeat("k", 201)}, 400, "Idempotency-Key"},
		"an odd key":        {"/backups", good, []string{"Idempotency-Key", "a\u202eb"}, 400, "Idempotency-Key"},
		"too large":         {"/backups", `{"source":"photos","description":"` + strings.Repeat("x", 64<<10) + `"}`, nil, 413, "64 KiB"},
		"unknown field":     {"/backups", `{"source":"photos","id":"20261121T020000Z-abcdef"}`, nil, 400, "unknown field"},
		"started by":        {"/backups", `{"source":"photos","started_by":{"by":"person"}}`, nil, 400, "unknown field"},
		"no JSON":           {"/backups", `source: photos`, nil, 400, "no JSON"},
		"nothing":           {"/backups", ``, nil, 400, "no JSON"},
		"more behind":       {"/backups", good + "{}", nil, 400, "ollows the message"},
		"a list":            {"/backups", "[]", nil, 400, "of the type array"},
		"no source":         {"/backups", "{}", nil, 400, "no name for a source"},
		"an odd source":     {"/backups", `{"source":"../x"}`, nil, 400, "no name for a source"},
		"a long name":       {"/backups", `{"source":"photos","name":"` + strings.Repeat("x", 201) + `"}`, nil, 400, "at most 200 bytes"},

		"restore from nothing":     {"/restores", `{"to":{"target":"t"}}`, nil, 400, "one of backup and url"},
		"restore from two":         {"/restores", `{"from":{"backup":"latest","url":"https://a"},"to":{"target":"t"}}`, nil, 400, "one of backup and url"},
		"restore to nothing":       {"/restores", `{"from":{"backup":"latest"}}`, nil, 400, "one of target and bucket"},
		"restore from a file":      {"/restores", `{"from":{"file":"/etc/passwd"},"to":{"target":"t"}}`, nil, 400, "no files and folders"},
		"restore to a folder":      {"/restores", `{"from":{"backup":"latest"},"to":{"folder":"/srv"}}`, nil, 400, "no files and folders"},
		"a drill":                  {"/restores", `{"from":{"backup":"latest"},"to":{"drill":true}}`, nil, 400, "no drills"},
		"the server's secrets":     {"/restores", `{"from":{"backup":"latest"},"to":{"bucket":{"name":"b","access_key":"file:/etc/passwd","secret_key":"x"}}}`, nil, 400, "no endpoint, profile and keys"},
		"another store":            {"/restores", `{"from":{"backup":"latest"},"to":{"bucket":{"name":"b","endpoint":"http://169.254.169.254"}}}`, nil, 400, "no endpoint, profile and keys"},
		"a bucket without a name":  {"/restores", `{"from":{"backup":"latest"},"to":{"bucket":{}}}`, nil, 400, "has no name"},
		"a restore's id":           {"/restores", `{"id":"r0123456789abcdef0123","from":{"backup":"latest"},"to":{"target":"t"}}`, nil, 400, "unknown field"},
		"a restore by somebody":    {"/restores", `{"started_by":{"by":"person"},"from":{"backup":"latest"},"to":{"target":"t"}}`, nil, 400, "unknown field"},
		"a restore, another site":  {"/restores", `{}`, []string{"Origin", "https://evil.example"}, 403, "another site"},
		"a restore without a type": {"/restores", `{}`, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "application/json"},
	} {
		answer := w.send(c.target, c.body, c.header...)
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.says) || answer.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), "Request") && strings.Contains(answer.Body.String(), "struct") {
			t.Errorf("%s: names of our types: %s", name, answer.Body)
		}
	}
	if s.calls != 0 {
		t.Errorf("%d were started", s.calls)
	}
	if answer := w.do("PUT", "/backups", nil, "Authorization", bearer); answer.Code != 405 || answer.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("PUT: %d %v", answer.Code, answer.Header())
	}
	if answer := newBackups(t, nil).send("/backups", good); answer.Code != 501 {
		t.Errorf("without a starter: %d", answer.Code)
	}
}

// TestRefusedAddress: who asks for an address that may not be reached is to blame, and hears which entry would allow it.
func TestRefusedAddress(t *testing.T) {
	w, s := newStarts(t)
	s.fail = fmt.Errorf("prepare: %w", netguard.New(netguard.Rules{Audit: slog.New(slog.DiscardHandler)}).Check("http://127.0.0.1/a.zip"))
	answer := w.send("/restores", `{"from":{"url":"http://127.0.0.1/a.zip"},"to":{"target":"t"}}`)
	got := decode[struct{ Kind, Title, Detail, Hint string }](t, answer)
	if answer.Code != 403 || got.Kind != "denied" || got.Title != "Not allowed" || !strings.Contains(got.Detail, "the address is not allowed") || !strings.Contains(got.Hint, "fetch: {allow:") {
		t.Errorf("%d %+v", answer.Code, got)
	}
}

func TestStartFails(t *testing.T) {
	w, s := newStarts(t)
	for kind, want := range map[failure.Kind]struct {
		status int
		word   string
		says   string
	}{
		failure.Usage:     {400, "usage", "It went wrong: T0KEN."},
		failure.NotFound:  {404, "not found", "It went wrong: T0KEN."},
		failure.Conflict:  {409, "conflict", "do this"},
		failure.Invalid:   {422, "invalid", "do this"},
		failure.Exhausted: {429, "exhausted", "do this"},
		failure.Transient: {503, "unreachable", "the same Idempotency-Key"},
		failure.Canceled:  {503, "unreachable", "the same Idempotency-Key"},
		failure.Denied:    {500, "internal", "Nothing was started"},
		failure.Internal:  {500, "internal", "Nothing was started"},
	} {
		s.fail = failure.New(kind, "it went wrong: T0KEN").WithHint("do this")
		answer := w.send("/backups", `{"source":"photos"}`)
		got := decode[struct{ Kind, Detail, Hint string }](t, answer)
		if answer.Code != want.status || got.Kind != want.word || !strings.Contains(got.Detail+got.Hint, want.says) {
			t.Errorf("%v: %d %+v", kind, answer.Code, got)
		}
		if want.status >= 500 && strings.Contains(answer.Body.String(), "T0KEN") {
			t.Errorf("%v says what is wrong inside: %s", kind, answer.Body)
		}
	}
}
