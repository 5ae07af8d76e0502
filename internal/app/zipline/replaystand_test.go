package zipline

import (
	"net/http"
	"strings"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
)

// TestReplayStumblesThenFails lets an import stumble over the name of a tag that no export shows, and then one request
// after it fail, each in its turn: the step is repeated, as the workflow does, without another preflight, and all comes
// in, because the import was not repeated yet.
func TestReplayStumblesThenFails(t *testing.T) {
	for after, failed := 1, true; failed; after++ {
		b := sampleBed(t, "nora")
		b.database.AddUser("ghost", "USER", "ghost-token")
		b.as("ghost-token", "POST", "/api/user/tags", map[string]any{"name": "work", "color": "#123456"})
		for _, u := range b.targetRows()["users"] {
			if str(u, "username") == "ghost" {
				b.api("DELETE", "/api/users/"+str(u, "id"), map[string]any{"delete": true})
			}
		}
		imports, requests, at := 0, 0, ""
		target := b.serve(func(_ int, r *http.Request) standin.Fault {
			if imports > 0 {
				requests++
			}
			if r.URL.Path == importPath {
				imports++
			}
			if requests == after && at == "" {
				at = r.Method + " " + r.URL.Path
				return standin.Fault{Status: http.StatusServiceUnavailable}
			}
			return standin.Fault{}
		})
		forecast, err := target.Preflight(t.Context(), b.replay)
		if err != nil {
			t.Fatal(err)
		}
		b.put(forecast)
		done := false
		for tries := 0; tries < 10 && !done; tries++ {
			progress, err := target.Replay(t.Context(), b.replay)
			if done = err == nil && progress.Done; err == nil && progress.Put {
				b.put(forecast)
			}
		}
		failed = at != ""
		confirmation, err := b.serve(nil).Confirm(t.Context(), b.replay)
		if got := lines(confirmation.Findings, app.Problem); err != nil || !done || len(got) > 0 {
			t.Errorf("request %d, %s: %v, done %v, the target holds %s, problems:\n%s", after, at, err, done, b.stand(), strings.Join(got, "\n"))
		}
	}
}
