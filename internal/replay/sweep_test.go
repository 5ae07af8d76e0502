package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
	"lifeboat/internal/replay"
	"lifeboat/internal/vault"
)

// faults fail the n-th request to the store.
type faults struct {
	mutex sync.Mutex
	count int
	at    int    // 0: none
	how   string // "before", "after": like a process that is killed at that moment; "denied": that one request is refused
	stop  func()
	fired bool
	hit   string // the request
}

var errKilled = errors.New("killed")

func (f *faults) hook(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	f.mutex.Lock()
	f.count++
	hit, dead := f.count == f.at, f.fired && f.how != "denied"
	if hit {
		f.fired, f.hit = true, r.Method+" "+r.URL.Path
	}
	f.mutex.Unlock()
	switch {
	case hit && f.how == "denied":
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	case hit && f.how == "after":
		_, err := vaulttest.Drop(r, next)
		f.stop()
		return nil, err
	case hit:
		f.stop()
		return nil, errKilled
	case dead: // nobody waits to try again
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	}
	return next.RoundTrip(r)
}

// fresh forgets every restore.
func (w *world) fresh() {
	w.Helper()
	w.app, w.holder, w.limits, w.step, w.calls = newTarget(w.TempDir()), "here pid 1", nil, nil, nil
	for _, key := range w.Keys(w) {
		for _, prefix := range []string{"restores/", "catalog/restores/", "catalog/names/", "catalog/leases/", "incoming/"} {
			if strings.HasPrefix(key, prefix) {
				if err := w.Delete(w.Context(), vault.Key(key)); err != nil {
					w.Fatal(err)
				}
			}
		}
	}
	w.told.taken()
}

// killed runs a restore that dies with the first request that fails: nothing is cleaned up.
func (w *world) killed(f *faults, r events.Restore) {
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	defer stop()
	f.stop = stop
	s := w.process("here pid 1")
	r, err := s.Prepare(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	w.Intercept(f.hook)
	defer w.Intercept(nil)
	r.Execution = "killed-" + f.how
	input, _ := json.Marshal(events.RestoreInput{Restore: r})
	engine := w.engine(s)
	engine.Invoke = func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		answer, err := s.Handle(ctx, function, payload)
		if f.fired {
			stop()
			return nil, context.Canceled
		}
		return answer, err
	}
	_, _ = engine.Execute(ctx, w.machine(), machine.Execution{Name: "killed", Input: input})
}

// TestEveryRequest interrupts a restore at every request to the vault: killed before the request, killed after it took
// effect, or with that request refused (all three with LIFEBOAT_SWEEP=all, or else one at every fifth, with -short every tenth). The same restore, run again, completes, and brings nothing in twice.
func TestEveryRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files())
	r := named(w.toApp(), "spring")
	all := &faults{}
	w.Intercept(all.hook)
	w.completed(w.run(r))
	w.Intercept(nil)
	if all.count < 40 {
		t.Fatalf("only %d requests", all.count)
	}
	hows, stride := []string{"before", "after", "denied"}, 1
	every := os.Getenv("LIFEBOAT_SWEEP") == "all"
	switch {
	case every:
	case testing.Short():
		stride = 10
	default:
		stride = 5
	}
	for n := 1; n <= all.count; n += stride {
		these := hows
		if !every {
			these = hows[n/stride%3:][:1]
		}
		for _, how := range these {
			w.fresh()
			f := &faults{at: n, how: how}
			if how == "denied" {
				w.refused(f, r)
			} else {
				w.killed(f, r)
			}
			what := fmt.Sprintf("%s %d of %d, %s", how, n, all.count, f.hit)
			w.limits = func(s *replay.Steps) {
				s.Stale = func(l catalog.Lease) bool { return !strings.HasPrefix(l.Holder, "here pid 2") }
			}
			w.holder = "here pid 2"
			e := w.run(r)
			if e.outcome.Status != machine.Succeeded || e.skipped || !e.record.Status.Good() || e.record.ProblemsTotal != 0 || e.record.Attempt > 2 {
				t.Errorf("%s: then %s", what, e)
			}
			w.holds(files())
			w.leftovers()
			if held, there := w.reservation("new", "spring"); !there || !held.Taken {
				t.Errorf("%s: the name is not in use", what)
			}
			if t.Failed() {
				t.Fatal(what)
			}
		}
	}
}

// refused runs a restore of which one request is refused. However far it came, its record says how it ended, unless it
// is the end itself that was refused.
func (w *world) refused(f *faults, r events.Restore) {
	w.Helper()
	s := w.process("here pid 1")
	r, err := s.Prepare(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	r.Execution = "killed-" + f.how
	input, _ := json.Marshal(events.RestoreInput{Restore: r})
	steps := []string{}
	engine := w.engine(s)
	inner := engine.Invoke
	at := ""
	engine.Invoke = func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.RestoreRequest
		_ = json.Unmarshal(payload, &request)
		steps = append(steps, request.Step)
		answer, err := inner(ctx, function, payload)
		if f.fired && at == "" {
			at = request.Step
		}
		return answer, err
	}
	w.Intercept(f.hook)
	outcome, err := engine.Execute(w.Context(), w.machine(), machine.Execution{Name: "refused", Input: input})
	w.Intercept(nil)
	if err != nil {
		w.Fatal(err)
	}
	record, err := catalog.New(w.Vault).Restore(w.Context(), r.ID)
	switch {
	case outcome.Status == machine.Succeeded && record.Status.Good(): // it was not needed
	case outcome.Status == machine.Failed && failure.KindOf(err) == failure.NotFound && err != nil && at == "begin":
	case outcome.Status == machine.Failed && record.Status.Good() && at == "confirm": // it was closed before
	case outcome.Status == machine.Failed && record.Failure != nil && record.Failure.Kind == "denied":
		w.leftovers()
	default:
		w.Errorf("refused %d, %s, in %s: %+v, record %+v, %v; steps %v", f.at, f.hit, at, outcome, record, err, steps)
	}
}
