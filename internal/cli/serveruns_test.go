package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// robot asks the API of a `lifeboat serve`.
type robot struct {
	*testing.T
	base, token string
}

func (r robot) ask(method, path, body string, header ...string) (int, string) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), method, r.base+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func (r robot) start(path, body string, header ...string) string {
	r.Helper()
	code, text := r.ask("POST", path, body, header...)
	var started struct{ ID string }
	if err := json.Unmarshal([]byte(text), &started); err != nil || code != http.StatusAccepted || started.ID == "" {
		r.Fatalf("%d %s", code, text)
	}
	return started.ID
}

// await returns the status of a run that has ended.
func (r robot) await(path string) string {
	r.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		var record struct{ Status string }
		if code, text := r.ask("GET", path, ""); code == 200 && json.Unmarshal([]byte(text), &record) == nil && record.Status != "in progress" {
			return record.Status
		}
	}
	r.Fatal("it does not end")
	return ""
}

// TestServeStarts backs up and restores through the API of `serve`, which does the work itself.
func TestServeStarts(t *testing.T) {
	t.Parallel()
	heavy(t)
	p := newPlace(t)
	p.write("lifeboat.yaml", `vault: ./vault
sources: {papers: {kind: files, path: ./uploads}}
targets: {papers-new: {kind: files, path: ./restored}}
serve: {listen: 127.0.0.1:0, public-url: http://127.0.0.1:8420}
`)
	if err := os.Mkdir(p.path("restored"), 0o700); err != nil {
		t.Fatal(err)
	}
	base := p.serve()
	token, err := os.ReadFile(p.path("state/api-token"))
	if err != nil {
		t.Fatal(err)
	}
	r := robot{t, base, strings.TrimSpace(string(token))}
	const body = `{"source":"papers","name":"by a robot"}`
	id := r.start("/backups", body, "Idempotency-Key", "k")
	if again := r.start("/backups", body, "Idempotency-Key", "k"); again != id {
		t.Errorf("the same key again: %s and %s", id, again)
	}
	if code, text := r.ask("POST", "/backups", `{"source":"papers"}`, "Idempotency-Key", "k"); code != 409 {
		t.Errorf("the same key with another request: %d %s", code, text)
	}
	if status := r.await("/backups/" + id); status != "completed" {
		t.Errorf("the backup is %s", status)
	}
	if code, text := r.ask("GET", "/backups?source=papers", ""); code != 200 || strings.Count(text, `"by a robot"`) != 1 || !strings.Contains(text, `"started_by":{"by":"api","who":"token"}`) {
		t.Errorf("%d %s", code, text)
	}
	restore := `{"from":{"backup":"latest"},"to":{"target":"papers-new"}}`
	if status := r.await("/restores/" + r.start("/restores", restore)); status != "completed" {
		t.Errorf("the restore is %s", status)
	}
	want, _ := os.ReadDir(p.path("uploads"))
	if got, err := os.ReadDir(p.path("restored")); err != nil || len(got) < len(want) {
		t.Errorf("%d of %d files: %v", len(got), len(want), err)
	}
	for _, c := range []struct {
		path, body string
		code       int
	}{
		{"/backups", `{"source":"nobody"}`, 404},
		{"/backups", `{"source":"papers","scope":{"no_metrics":true}}`, 400},
		{"/restores", `{"from":{"backup":"latest"},"to":{"target":"nobody"}}`, 404},
		{"/restores", `{"from":{"backup":"20200101"},"to":{"target":"papers-new"}}`, 404},
		{"/restores", `{"from":{"backup":"latest"},"to":{"folder":"/tmp/x"}}`, 400},
	} {
		code, text := r.ask("POST", c.path, c.body)
		for until := time.Now().Add(time.Minute); code == 409 && time.Now().Before(until); time.Sleep(20 * time.Millisecond) { // the mail is still on its way
			code, text = r.ask("POST", c.path, c.body)
		}
		if code != c.code {
			t.Errorf("%s: %d %s", c.body, code, text)
		}
	}
}
