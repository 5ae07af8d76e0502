package replay_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/replay"
	"lifeboat/internal/vault"
)

// asks has a process do one step.
func (w *world) asks(s *replay.Steps, function string, r events.RestoreRequest, answer any) error {
	w.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		w.Fatal(err)
	}
	said, err := s.Handle(w.Context(), function, data)
	if err == nil && answer != nil {
		err = json.Unmarshal(said, answer)
	}
	return err
}

// begins begins a restore in a process, as an execution.
func (w *world) begins(s *replay.Steps, r events.Restore, execution string) events.RestoreBegan {
	w.Helper()
	var began events.RestoreBegan
	if err := w.asks(s, "restore", events.RestoreRequest{Step: "begin", Restore: r, Execution: execution}, &began); err != nil || began.Answer != "run" {
		w.Fatalf("%+v, %v", began, err)
	}
	return began
}

// status returns that of a restore's record.
func (w *world) status(id backup.RestoreID) backup.Status {
	w.Helper()
	r, err := catalog.New(w.Vault).Restore(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return r.Status
}

// byHand is what a person or a schedule gives a workflow: no id, and the latest backup.
func byHand(w *world, where events.To) events.Restore {
	r := to(w.toApp(), where)
	r.Only, r.From.Backup = []string{}, "photos:latest"
	return r
}

var fromHand = map[string]events.To{"drill": {Drill: true}, "target": {Target: "new"}, "drill into a target": {Target: "new", Drill: true}}

var timedOut = &events.Error{Error: "States.Timeout", Cause: "the execution took longer than it may"}

// TestClosedFromOutside: an execution that timed out, or that somebody has stopped, is closed and told of by the input it
// was started with and its name, though there is a newer backup by then.
func TestClosedFromOutside(t *testing.T) {
	for name, where := range fromHand {
		for _, dry := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, files())
				w.remote()
				s, r := w.process("aws"), byHand(w, where)
				r.DryRun = dry
				id := w.begins(s, r, "execution-1").Restore.ID
				w.later(time.Hour)
				w.backup(backup.NewID(w.now()), files())
				early := w.asks(s, "notify", events.RestoreRequest{Step: "notify-restore", Restore: r, Execution: "execution-1"}, nil)
				if failure.KindOf(early) != failure.Transient {
					t.Errorf("told before it is closed: %v", early)
				}
				for range 2 { // events come twice
					if err := w.asks(s, "restore", events.RestoreRequest{Step: "release", Restore: r, Execution: "execution-1", Error: timedOut}, nil); err != nil {
						t.Error(err)
					}
				}
				if err := w.asks(s, "notify", events.RestoreRequest{Step: "notify-restore", Restore: r, Execution: "execution-1"}, nil); err != nil {
					t.Error(err)
				}
				record, err := catalog.New(w.Vault).Restore(t.Context(), id)
				if err != nil || record.Status != backup.Failed || record.Notified.Status != "sent" || len(w.told.taken()) != 1 {
					t.Errorf("%+v, %v", record, err)
				}
				w.leftovers()
				for restore, err := range catalog.New(w.Vault).Restores(t.Context()) {
					if err != nil || restore.ID != id {
						t.Errorf("another record: %+v, %v", restore, err)
					}
				}
			})
		}
	}
}

// TestBeginAgain: a begin whose answer was lost is repeated when there is a newer backup: it is the same restore.
func TestBeginAgain(t *testing.T) {
	for name, where := range fromHand {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, files())
			w.remote()
			s, r := w.process("aws"), byHand(w, where)
			first := w.begins(s, r, "execution-1")
			w.later(time.Minute)
			w.backup(backup.NewID(w.now()), files())
			again := w.begins(s, r, "execution-1")
			if again.Restore.ID != first.Restore.ID || again.Restore.From != first.Restore.From || w.status(first.Restore.ID) != backup.InProgress {
				t.Errorf("%+v, then %+v", first, again)
			}
			if err := w.asks(s, "restore", events.RestoreRequest{Step: "release", Restore: first.Restore, Error: timedOut}, nil); err != nil {
				t.Error(err)
			}
			if next := w.begins(s, r, "execution-2"); next.Restore.From == first.Restore.From {
				t.Errorf("the next execution restores %s", next.Restore.From.Backup)
			}
		})
	}
}

// TestToldByOther: what ended late is not told of a restore that another execution is at, nor waits for it.
func TestToldByOther(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	s, r := w.process("aws"), byHand(w, events.To{Target: "new"})
	id := w.begins(s, r, "execution-1").Restore.ID
	release := events.RestoreRequest{Step: "release", Restore: r, Execution: "execution-1", Error: timedOut}
	if err := w.asks(s, "restore", release, nil); err != nil {
		t.Fatal(err)
	}
	if second := w.begins(s, r, "execution-2"); second.Restore.ID != id {
		t.Fatalf("%+v", second)
	}
	if err := w.asks(s, "restore", release, nil); err != nil || w.status(id) != backup.InProgress {
		t.Errorf("%s, %v", w.status(id), err)
	}
	err := w.asks(s, "notify", events.RestoreRequest{Step: "notify-restore", Restore: r, Execution: "execution-1"}, nil)
	if told := w.told.taken(); err != nil || len(told) > 0 {
		t.Errorf("%v, %v", told, err)
	}
}

// TestToldWhenAsked: an error that says nothing of what was asked is no reason to tell nobody.
func TestToldWhenAsked(t *testing.T) {
	for name, test := range map[string]struct {
		from events.From
		want failure.Kind // of the answer; Internal for none
	}{
		"no such backup": {events.From{Backup: "photos:20200101T000000Z-aaaaaa"}, failure.Internal},
		"two origins":    {events.From{Backup: "photos:latest", URL: "https://example.com/a.zip"}, failure.Internal},
		"denied":         {events.From{Backup: "photos:latest"}, failure.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, files())
			w.remote()
			r := byHand(w, events.To{Drill: true})
			r.From = test.from
			if test.want == failure.Denied {
				w.refuses("catalog/")
			}
			err := w.asks(w.process("aws"), "notify", events.RestoreRequest{Step: "notify-restore", Restore: r, Execution: "execution-1"}, nil)
			if test.want == failure.Internal && err != nil || test.want != failure.Internal && failure.KindOf(err) != test.want {
				t.Error(err)
			}
		})
	}
}

// TestKnownIsForgotten: what is kept for executions goes when it is old.
func TestKnownIsForgotten(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	kept := func() (n int) {
		for _, key := range w.Keys(w) {
			if strings.HasPrefix(key, "restores/by-execution/") {
				n++
			}
		}
		return n
	}
	now := time.Now() // the store has a clock of its own
	w.clock.Store(&now)
	s := w.process("aws")
	w.begins(s, byHand(w, events.To{Drill: true}), "execution-1")
	w.begins(s, byHand(w, events.To{Drill: true}), "execution-2")
	if n := kept(); n != 2 {
		t.Errorf("%d are kept", n)
	}
	w.later(15 * 24 * time.Hour)
	w.begins(s, byHand(w, events.To{Drill: true}), "execution-3")
	if n := kept(); n > 1 {
		t.Errorf("%d are kept", n)
	}
}

// TestDrillsBesideEachOther: a drill in functions and one on a machine leave each other alone, and what died is closed.
func TestDrillsBesideEachOther(t *testing.T) {
	for _, order := range [][]string{{"functions", "machine"}, {"machine", "functions"}, {"functions", "functions"}} {
		for _, dead := range []bool{false, true} {
			t.Run(strings.Join(order, " then "), func(t *testing.T) {
				w := newWorld(t, files())
				w.setup.Drills = w.Vault
				var ids []backup.RestoreID
				for i, where := range order {
					w.limits = func(s *replay.Steps) { s.Local = where == "machine" }
					if i == 1 && dead {
						w.later(catalog.LeaseTime + time.Second)
					}
					ids = append(ids, w.begins(w.process(where+" pid 1"), byHand(w, events.To{Drill: true}), where+string(rune('1'+i))).Restore.ID)
					if i == 0 && where == "functions" {
						if _, err := w.Put(t.Context(), vault.Drill(ids[0])+"a.txt", []byte("alpha"), vault.Always()); err != nil {
							t.Fatal(err)
						}
					}
				}
				want := backup.InProgress
				if dead {
					want = backup.Failed
				}
				if got := w.status(ids[0]); got != want || w.status(ids[1]) != backup.InProgress {
					t.Errorf("the first is %s, the second %s", got, w.status(ids[1]))
				}
				if left := w.thrown(); dead && len(left) > 0 {
					t.Errorf("%v is left of what died", left)
				}
			})
		}
	}
}

// refuses has the store deny what begins with a prefix.
func (w *world) refuses(prefix string) {
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/"+prefix) || strings.HasPrefix(r.URL.Query().Get("prefix"), prefix) {
			return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
		}
		return next.RoundTrip(r)
	})
}
