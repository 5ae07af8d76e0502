package lambdafn_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/lambdafn"
)

// authorizers is what API Gateway puts beside a request.
var (
	jwt = map[string]any{"jwt": map[string]any{"claims": map[string]string{"sub": "u-1", "email": "anna@example.org", "email_verified": "true"}, "scopes": []string{"run"}}}
	iam = map[string]any{"iam": map[string]any{"userArn": "arn:aws:iam::111122223333:role/robot", "accessKey": "AKIA"}}
)

// ask sends a request through API Gateway's event to the built function.
func (s *stack) ask(method, path, body string, authorizer map[string]any, header ...string) answered {
	s.t.Helper()
	headers := map[string]string{"host": "x1.execute-api.eu-central-1.amazonaws.com"}
	if body != "" {
		headers["content-type"] = "application/json"
	}
	for i := 0; i < len(header); i += 2 {
		headers[header[i]] = header[i+1]
	}
	path, query, _ := strings.Cut(path, "?")
	message, err := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers, "body": body,
		"requestContext": map[string]any{"stage": "$default", "authorizer": authorizer, "http": map[string]any{"method": method, "path": path, "sourceIp": "192.0.2.7"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.functions["api"].Invoke(s.t.Context(), message)
	if err != nil {
		s.t.Fatal(err)
	}
	var a answered
	if err := json.Unmarshal(raw, &a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func idOf(t *testing.T, a answered) string {
	t.Helper()
	var started struct{ ID string }
	if err := json.Unmarshal([]byte(a.Body), &started); err != nil || a.StatusCode != http.StatusAccepted || !strings.HasSuffix(a.Headers["location"], "/"+started.ID) {
		t.Fatalf("%+v: %v", a, err)
	}
	return started.ID
}

// TestAPI starts and reads runs through the function as it is built, with no more rights than the table gives it; the
// first backup is asked for before there is a vault.
func TestAPI(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	const body = `{"source":"photos","name":"before","scope":{"since":"2026-11-01T01:00:00+01:00"}}`
	id := idOf(t, s.ask("POST", "/backups", body, jwt))
	var input events.Input
	if err := events.Decode([]byte(s.services.Executions()[id]), &input); err != nil {
		t.Fatal(err)
	}
	want := events.Run{
		ID: backup.ID(id), Source: "photos", Name: "before", Scope: backup.Scope{Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		StartedBy: catalog.Starter{By: "api", Who: "anna@example.org"},
	}
	if diff := cmp.Diff(want, input.Run); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// equal keys of one caller start once
	first := idOf(t, s.ask("POST", "/backups", body, jwt, "idempotency-key", "k-1"))
	if again := idOf(t, s.ask("POST", "/backups", body, jwt, "idempotency-key", "k-1")); again != first || len(s.services.Executions()) != 2 {
		t.Errorf("the same key again: %s, %s, %d executions", first, again, len(s.services.Executions()))
	}
	if a := s.ask("POST", "/backups", `{"source":"photos"}`, jwt, "idempotency-key", "k-1"); a.StatusCode != http.StatusConflict || len(s.services.Executions()) != 2 {
		t.Errorf("the same key with another request: %+v", a)
	}
	if other := idOf(t, s.ask("POST", "/backups", body, iam, "idempotency-key", "k-1")); other == first {
		t.Error("the key of somebody else is the same")
	}
	for name := range s.services.Executions() {
		if !strings.HasPrefix(name, "key-") && name != id || strings.Contains(name, "k-1") || len(name) > 80 {
			t.Errorf("an execution has the name %s", name)
		}
	}

	if a := s.ask("GET", "/backups/"+id, "", jwt); a.StatusCode != http.StatusNotFound {
		t.Errorf("before it began: %+v", a)
	}
	record, outcome := s.backup("photos", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if record.Status != backup.Completed {
		t.Fatalf("%+v", outcome)
	}
	var listed struct{ Backups []catalog.Record }
	a := s.ask("GET", "/backups?source=photos&limit=5", "", iam)
	if err := json.Unmarshal([]byte(a.Body), &listed); err != nil || len(listed.Backups) != 1 || listed.Backups[0].ID != record.ID {
		t.Errorf("%+v: %v", a, err)
	}
	if a := s.ask("GET", "/backups/"+string(record.ID), "", jwt); a.StatusCode != 200 || !strings.Contains(a.Body, record.Manifest.SHA256) || a.Headers["content-type"] != "application/json" {
		t.Errorf("%+v", a)
	}
	s.restoreThroughAPI(record.ID)
	s.explain()
}

func (s *stack) restoreThroughAPI(of backup.ID) {
	s.t.Helper()
	const body = `{"from":{"backup":"photos:latest"},"to":{"target":"elsewhere"}}`
	id := idOf(s.t, s.ask("POST", "/restores", body, iam, "idempotency-key", "r-1"))
	if again := idOf(s.t, s.ask("POST", "/restores", body, iam, "idempotency-key", "r-1")); again != id {
		s.t.Errorf("the same key again: %s, then %s", id, again)
	}
	var inputs []events.RestoreInput
	for _, text := range s.services.Executions() {
		var input events.RestoreInput
		if events.Decode([]byte(text), &input) == nil {
			inputs = append(inputs, input)
		}
	}
	want := []events.RestoreInput{{Restore: events.Restore{
		ID: backup.RestoreID(id), From: events.From{Backup: "photos:" + string(of)}, To: events.To{Target: "elsewhere"}, Only: []string{}, Check: "full",
		Wishes: app.Wishes{Documents: true, Objects: true}, StartedBy: catalog.Starter{By: "api", Who: "arn:aws:iam::111122223333:role/robot"},
	}}}
	if diff := cmp.Diff(want, inputs); diff != "" {
		s.t.Errorf("(-want +got):\n%s", diff)
	}
	// a newer backup doesn't make another request of the same words
	s.put("data", "b", []byte("b"))
	if record, outcome := s.backup("photos", time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)); record.Status != backup.Completed {
		s.t.Fatalf("%+v", outcome)
	}
	if again := idOf(s.t, s.ask("POST", "/restores", body, iam, "idempotency-key", "r-1")); again != id {
		s.t.Errorf("after a newer backup: %s", again)
	}
	if a := s.ask("POST", "/restores", strings.Replace(body, "latest", "20261121T0300", 1), iam, "idempotency-key", "r-1"); a.StatusCode != http.StatusConflict {
		s.t.Errorf("another backup under the same key: %+v", a)
	}
	if a := s.ask("GET", "/restores/"+id, "", jwt); a.StatusCode != http.StatusNotFound || a.Headers["content-type"] != "application/problem+json" {
		s.t.Errorf("before it began: %+v", a)
	}
	if a := s.ask("GET", "/restores", "", jwt); a.StatusCode != 200 {
		s.t.Errorf("%+v", a)
	}
}

func TestAPIRefuses(t *testing.T) {
	s := newStack(t)
	for name, c := range map[string]struct {
		path, body string
		authorizer map[string]any
		status     int
		says       string
	}{
		"nobody":             {"/backups", `{"source":"photos"}`, nil, 401, "known"},
		"a lambda's say":     {"/backups", `{"source":"photos"}`, map[string]any{"lambda": map[string]any{"who": "me"}}, 401, "known"},
		"an unknown source":  {"/backups", `{"source":"nobody"}`, jwt, 404, "nobody"},
		"a source of here":   {"/backups", `{"source":"here"}`, jwt, 400, "no function of AWS reaches"},
		"no metrics there":   {"/backups", `{"source":"photos","scope":{"no_metrics":true}}`, jwt, 400, "has no metrics"},
		"no folders there":   {"/backups", `{"source":"photos","scope":{"folder":"f"}}`, jwt, 400, "no folders"},
		"an unknown target":  {"/restores", `{"from":{"backup":"latest"},"to":{"target":"nobody"}}`, jwt, 404, "nobody"},
		"no backup yet":      {"/restores", `{"from":{"backup":"latest"},"to":{"target":"elsewhere"}}`, jwt, 404, "latest"},
		"a private address":  {"/restores", `{"from":{"url":"http://169.254.169.254/x"},"to":{"target":"elsewhere"}}`, jwt, 0, ""},
		"wishes of a folder": {"/restores", `{"from":{"backup":"latest"},"to":{"bucket":{"name":"restored"}},"wishes":{"as":"lin"}}`, jwt, 400, "for targets of kind zipline"},
		"the vault itself":   {"/restores", `{"from":{"backup":"latest"},"to":{"bucket":{"name":"vault"}}}`, jwt, 0, ""},
	} {
		a := s.ask("POST", c.path, c.body, c.authorizer, "host", "backup.example.org")
		if a.StatusCode < 400 || c.status != 0 && a.StatusCode != c.status || !strings.Contains(a.Body, c.says) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.Body)
		}
	}
	if n := len(s.services.Executions()); n != 0 {
		t.Errorf("%d executions", n)
	}
	s.explain()
}

func TestCaller(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct{ authorizer, want string }{
		"nobody":           {`null`, ""},
		"a role":           {`{"iam":{"userArn":"arn:aws:sts::1:assumed-role/r/s"}}`, "arn:aws:sts::1:assumed-role/r/s"},
		"a person":         {`{"jwt":{"claims":{"sub":"u-1","email":"a@b","email_verified":"true"}}}`, "a@b"},
		"not verified":     {`{"jwt":{"claims":{"sub":"u-1","email":"a@b","email_verified":"false"}}}`, "u-1"},
		"without a word":   {`{"jwt":{"claims":{"sub":"u-1","email":"a@b"}}}`, "u-1"},
		"a machine":        {`{"jwt":{"claims":{"client_id":"c"}}}`, "c"},
		"nothing in there": {`{"jwt":{"claims":{}}}`, ""},
		"somebody's own":   {`{"lambda":{"sub":"me"}}`, ""},
		"a long one":       {`{"jwt":{"claims":{"sub":"` + long + `"}}}`, long[:256]},
	} {
		got := "nobody asked"
		handler := func(_ http.ResponseWriter, r *http.Request) { got = lambdafn.Caller(r.Context()) }
		through(t, handler, `{"version":"2.0","rawPath":"/","requestContext":{"authorizer":`+c.authorizer+`,"http":{"method":"GET"}}}`)
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
