package replay_test

import (
	"net/http"
	"strings"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// TestDrillClosedMeanwhile closes a drill from outside while a step is at work: what that writes afterwards does not stay.
func TestDrillClosedMeanwhile(t *testing.T) {
	for _, during := range []string{"check", "put"} {
		t.Run(during, func(t *testing.T) {
			w := newWorld(t, files())
			w.remote()
			r := to(w.toApp(), events.To{Drill: true})
			var whole events.Restore
			s := w.process("aws")
			closed := false
			w.Intercept(func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				writes := q.Method == http.MethodPut && strings.Contains(q.URL.Path, map[string]string{"check": "/plan/", "put": "/drills/"}[during])
				if writes && !closed {
					closed = true
					release := events.RestoreRequest{Step: "release", Restore: whole, Error: timedOut}
					if err := w.asks(w.process("aws"), "restore", release, nil); err != nil {
						t.Error(err)
					}
				}
				return next.RoundTrip(q)
			})
			defer w.Intercept(nil)
			whole = w.begins(s, r, "execution-1").Restore
			var checked events.Checked
			err := w.asks(s, "restore", events.RestoreRequest{Step: "check", Restore: whole}, &checked)
			if during == "put" && err == nil {
				for _, b := range checked.Plan.Few {
					err = w.asks(s, "restore", events.RestoreRequest{Step: "put", Restore: whole, Batch: &b}, nil)
				}
			}
			w.Intercept(nil)
			if failure.KindOf(err) != failure.Conflict || !closed || w.status(whole.ID) != backup.Failed || len(w.thrown()) > 0 {
				t.Errorf("%v; %s, %v", err, w.status(whole.ID), w.thrown())
			}
			w.leftovers()
		})
	}
}

// TestDryRunEndsAgain: where a dry run has closed its record and what follows fails, the next attempt does the rest.
func TestDryRunEndsAgain(t *testing.T) {
	for name, prefix := range map[string]string{"mark": "catalog/backups/", "tidy": "restores/"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, files())
			w.remote()
			r := to(w.toApp(), events.To{Drill: true})
			r.DryRun = true
			began := w.begins(w.process("aws"), r, "execution-1").Restore
			refused := 0
			w.Intercept(func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				ends := q.Method == http.MethodPut || q.Method == http.MethodPost && q.URL.Query().Has("delete")
				if prefix == "restores/" {
					ends = q.URL.Query().Get("prefix") == string(vault.RestoreFolder(began.ID)) && w.status(began.ID).Good()
				} else {
					ends = ends && strings.Contains(q.URL.Path, prefix)
				}
				if ends {
					refused++
					return vaulttest.Refuse(q, http.StatusForbidden, "AccessDenied")
				}
				return next.RoundTrip(q)
			})
			check := events.RestoreRequest{Step: "check", Restore: began}
			err := w.asks(w.process("aws"), "restore", check, nil)
			w.Intercept(nil)
			if err == nil || refused == 0 || w.status(began.ID) != backup.Completed {
				t.Fatalf("%v; %d refused, %s", err, refused, w.status(began.ID))
			}
			var checked events.Checked
			if err := w.asks(w.process("aws"), "restore", check, &checked); err != nil || !checked.Stop {
				t.Errorf("%+v, %v", checked, err)
			}
			if b := w.record(); b.Proof != backup.ReRead {
				t.Errorf("%s", b.Proof)
			}
			for _, key := range w.Keys(w) {
				if strings.HasPrefix(key, string(vault.RestoreFolder(began.ID))) {
					t.Errorf("left behind: %s", key)
				}
			}
			w.leftovers()
		})
	}
}
