package replay_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
	"lifeboat/internal/replay"
	"lifeboat/internal/vault"
)

// reservation is what the vault says of a name; false where it is free.
func (w *world) reservation(target, name string) (r catalog.Reservation, there bool) {
	w.Helper()
	_, err := w.GetJSON(w.Context(), vault.Name(target, name), &r)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		w.Fatal(err)
	}
	return r, err == nil
}

func named(r events.Restore, name string) events.Restore {
	r.Wishes.Name = name
	return r
}

func TestName(t *testing.T) {
	w := newWorld(t, files())
	r := named(w.toApp(), "spring")
	w.step = func(step string) error {
		if step == "put" {
			if held, there := w.reservation("new", "spring"); !there || held.Taken || held.Who != "ada@desk" {
				t.Errorf("while it works: %+v", held)
			}
		}
		return nil
	}
	e := w.run(r)
	w.step = nil
	if got := w.completed(e); got.Name != "spring" {
		t.Errorf("%+v", got)
	}
	if held, there := w.reservation("new", "spring"); !there || !held.Taken || held.Restore != e.restore.ID {
		t.Errorf("after success: %+v", held)
	}
	w.completed(w.run(r)) // its own
	trial := r
	trial.DryRun = true
	w.completed(w.run(trial)) // of its own
	other := r
	other.Only = []string{"export.json"}
	second := w.run(other)
	w.failed(second, failure.Conflict)
	for _, word := range []string{`"spring" is in use`, string(e.restore.ID), "ada@desk", "2026-11-21T12:00:00Z"} {
		if !strings.Contains(second.message, word) {
			t.Errorf("%q is missing in: %s", word, second.message)
		}
	}
	if held, _ := w.reservation("new", "spring"); held.Restore != e.restore.ID {
		t.Error("a restore that was refused has released another one's name")
	}
	w.app = newTarget(t.TempDir())
	w.completed(w.run(named(to(r, events.To{Target: "other"}), "spring"))) // another target
	for _, bad := range []string{"a/b", "..", ".", "a\nb", `a\b`, strings.Repeat("a", 201)} {
		if e := w.run(named(r, bad)); e.kind != failure.Usage {
			t.Errorf("%q: %s", bad, e)
		}
	}
}

// TestEveryStepFails fails every step, for good: one terminal status, one message, and nothing is held any more.
func TestEveryStepFails(t *testing.T) {
	w := newWorld(t, files())
	r := named(w.toApp(), "spring")
	attempt := 0
	for _, step := range []string{"begin", "check", "reserve", "put", "replay", "confirm"} {
		for _, kind := range []failure.Kind{failure.Internal, failure.Denied, failure.Exhausted} {
			w.step = func(name string) error {
				if name == step {
					return failure.New(kind, "told to fail").WithHint("tell it not to")
				}
				return nil
			}
			e := w.run(r)
			if attempt++; step == "begin" {
				attempt = 0
				if e.record.ID != "" || e.outcome.Error != kind.ErrorName() || len(w.told.taken()) > 0 {
					t.Error(e)
				}
				continue
			}
			got := w.failed(e, kind)
			if e.message != "told to fail" || e.hint != "tell it not to" || got.Attempt != attempt {
				t.Errorf("attempt %d: %s", attempt, e)
			}
			if _, there := w.reservation("new", "spring"); there {
				t.Errorf("%s: the name is held", step)
			}
			if diff := cmp.Diff([]backup.Status{backup.Failed}, w.told.taken()); diff != "" {
				t.Errorf("%s %s: %s", step, kind, diff)
			}
		}
	}
	w.step = func(name string) error {
		if name == "notify-restore" { // the restore is what it is
			return failure.New(failure.Denied, "no mail")
		}
		return nil
	}
	if got := w.completed(w.run(r)); got.Attempt != attempt+1 {
		t.Errorf("%+v", got)
	}
	w.holds(files())
}

// TestReleaseFails leaves the lease to its time, and the next restore ends what this one could not.
func TestReleaseFails(t *testing.T) {
	w := newWorld(t, files())
	w.step = func(name string) error {
		if name == "put" || name == "release" {
			return failure.New(failure.Internal, "told to fail")
		}
		return nil
	}
	e := w.run(named(w.toApp(), "spring"))
	if e.outcome.Status != machine.Failed || e.record.Status != backup.InProgress {
		t.Fatal(e)
	}
	w.step = nil
	w.holder = "here pid 2"
	other := named(to(w.toApp(), events.To{Target: "new"}), "spring")
	other.Only = []string{"uploads", "export.json"}
	if e := w.run(other); !e.skipped {
		t.Fatal(e)
	}
	w.later(catalog.LeaseTime + time.Minute)
	w.completed(w.run(other)) // and it has the name
	lost, err := catalog.New(w.Vault).Restore(t.Context(), e.restore.ID)
	if err != nil || lost.Status != backup.Failed || lost.Failure == nil || lost.Failure.Kind != "lost" || lost.Failure.Hint == "" {
		t.Errorf("%+v, %v", lost, err)
	}
	if held, _ := w.reservation("new", "spring"); !held.Taken || held.Restore == e.restore.ID {
		t.Errorf("%+v", held)
	}
}

// TestReleaseHalfWay breaks each request of the release, once as if it had not come and once as if it had: the release is
// done again until it is done.
func TestReleaseHalfWay(t *testing.T) {
	w := newWorld(t, files())
	r := named(w.toApp(), "spring")
	for n := range vaulttest.Calls(false) {
		count := 0
		w.step = func(name string) error {
			switch name {
			case "put":
				return failure.New(failure.Internal, "told to fail")
			case "release":
				w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
					if count++; count == n {
						if n%2 == 0 {
							return vaulttest.Drop(r, next)
						}
						return vaulttest.Refuse(r, http.StatusServiceUnavailable, "SlowDown")
					}
					return next.RoundTrip(r)
				})
			case "notify-restore":
				w.Intercept(nil)
			}
			return nil
		}
		w.failed(w.run(r), failure.Internal)
		if _, there := w.reservation("new", "spring"); there {
			t.Errorf("request %d: the name is held", n)
		}
		if count < n {
			if n < 6 {
				t.Errorf("the release takes only %d requests", count)
			}
			return
		}
	}
}

// TestTwoRestores runs another restore, and the same in another process, while one works.
func TestTwoRestores(t *testing.T) {
	w := newWorld(t, files())
	first := named(w.toApp(), "spring")
	other := w.toApp()
	other.Only = []string{"export.json", "uploads"}
	var once atomic.Bool
	w.step = func(name string) error {
		if name != "put" || once.Swap(true) {
			return nil
		}
		{
			for _, r := range []events.Restore{first, other} {
				if e := w.runIn(t.Context(), w.process("here pid 2"), r); !e.skipped {
					t.Error("a second one:", e)
				}
			}
			// the second process at the same restore ends badly: none of that is the first one's
			second := w.process("here pid 2")
			r, err := second.Prepare(t.Context(), first)
			if err == nil {
				err = second.End(t.Context(), r, backup.Canceled, catalog.Failure{Kind: "canceled"})
			}
			if err != nil {
				t.Error(err)
			}
			if e := w.runIn(t.Context(), second, to(other, events.To{Target: "other"})); e.outcome.Status != machine.Succeeded || e.skipped {
				t.Error("another target is free:", e)
			}
			w.app.taken()
			w.app.mutex.Lock()
			clear(w.app.rows)
			w.app.mutex.Unlock()
		}
		return nil
	}
	e := w.run(first)
	if got := w.completed(e); got.Attempt != 1 || got.Name != "spring" {
		t.Errorf("%+v", got)
	}
	w.holds(files())
}

// TestSameInstant begins the same restore in many processes at once: one of them does it.
func TestSameInstant(t *testing.T) {
	w := newWorld(t, files())
	r := w.toApp()
	answers := make([]string, 6)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			s := w.process("here pid " + string(rune('1'+i)))
			r, err := s.Prepare(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := s.Handle(t.Context(), "restore", message("begin", r))
			if err != nil {
				t.Error(err)
			}
			answers[i] = string(answer)
		})
	}
	group.Wait()
	runs := slices.DeleteFunc(answers, func(a string) bool { return !strings.Contains(a, `"answer":"run"`) })
	if len(runs) != 1 {
		t.Errorf("%d of them run", len(runs))
	}
}

// TestDeadHolder takes over from a process of this machine that is gone, at once.
func TestDeadHolder(t *testing.T) {
	w := newWorld(t, files())
	dead := w.process("here pid 9")
	r, err := dead.Prepare(t.Context(), w.toApp())
	if err == nil {
		_, err = dead.Handle(t.Context(), "restore", message("begin", r))
	}
	if err != nil {
		t.Fatal(err)
	}
	if e := w.run(w.toApp()); !e.skipped {
		t.Fatal("it may be alive:", e)
	}
	w.limits = func(s *replay.Steps) {
		s.Stale = func(l catalog.Lease) bool { return strings.HasPrefix(l.Holder, "here pid 9") }
	}
	if got := w.completed(w.run(w.toApp())); got.Attempt != 2 {
		t.Errorf("%+v", got)
	}
	w.holds(files())
}

// TestCanceled stops a restore in every call of the application.
func TestCanceled(t *testing.T) {
	for _, call := range []string{"Preflight", "Replay", "Replay done", "Confirm", "Confirm done"} {
		w := newWorld(t, files())
		ctx, stop := context.WithCancel(t.Context())
		w.app.fail = func(c string) error {
			if c == call {
				stop()
				return ctx.Err()
			}
			return nil
		}
		e := w.runIn(ctx, w.process(w.holder), named(w.toApp(), "spring"))
		if e.outcome.Status != machine.Aborted || e.record.Status != backup.Canceled {
			t.Errorf("%s: %s", call, e)
		}
		if _, there := w.reservation("new", "spring"); there {
			t.Errorf("%s: the name is held", call)
		}
		w.leftovers()
		if len(w.told.taken()) > 0 {
			t.Error("people were told of what they did")
		}
		w.app.fail = nil
		if got := w.completed(w.run(named(w.toApp(), "spring"))); got.Attempt != 2 || got.Failure != nil {
			t.Errorf("%+v", got)
		}
		w.holds(files())
	}
}

// TestEveryCallFails fails every call of the application, before and after it took effect.
func TestEveryCallFails(t *testing.T) {
	for _, call := range []string{"Preflight", "Preflight done", "Replay", "Replay done", "Confirm", "Confirm done"} {
		w := newWorld(t, files())
		w.app.fail = func(c string) error {
			if c == call {
				return failure.New(failure.Denied, "the token is wrong").WithHint("make a new one")
			}
			return nil
		}
		e := w.run(w.toApp())
		if w.failed(e, failure.Denied); e.hint != "make a new one" {
			t.Error(e)
		}
		w.app.fail = nil
		if got := w.completed(w.run(w.toApp())); got.Attempt != 2 || got.Failure != nil {
			t.Errorf("%+v", got)
		}
		w.holds(files())
	}
}

// TestPutAgain has the application ask for its files again, and to be called again.
func TestPutAgain(t *testing.T) {
	w := newWorld(t, files())
	w.app.next = []app.Progress{{}, {Put: true}, {}, {}}
	got := w.completed(w.run(w.toApp()))
	w.holds(files())
	var steps []string
	for _, call := range w.calls {
		if call == "put" || call == "replay" {
			steps = append(steps, call)
		}
	}
	if diff := cmp.Diff([]string{"put", "replay", "replay", "put", "replay", "replay", "replay"}, steps); diff != "" {
		t.Error(diff)
	}
	if got.Put.Written != 5 || got.Put.Existing != 0 || got.Put.Bytes != 5608 {
		t.Errorf("%+v", got.Put)
	}
}

// TestDrill marks what was drilled: all of a backup, from its packs.
func TestDrill(t *testing.T) {
	w := newWorld(t, files())
	drilled := func() time.Time {
		r, err := catalog.New(w.Vault).Record(t.Context(), "photos", firstRun)
		if err != nil || (r.Proof == backup.Drilled) != !r.Drilled.IsZero() {
			t.Errorf("%+v, %v", r, err)
		}
		return r.Drilled
	}
	r := to(w.toApp(), events.To{Drill: true})
	only := r
	only.Only = []string{"export.json", "uploads/a.txt"}
	w.completed(w.run(only))
	part := r
	part.Wishes = app.Wishes{Documents: true}
	w.app = newTarget(t.TempDir())
	w.completed(w.run(part))
	w.app = newTarget(t.TempDir())
	w.app.rows["row one"] = 5
	if e := w.run(r); e.record.Status != backup.Partial || e.record.Problems[0].Kind != "rows" {
		t.Error(e)
	}
	if at := drilled(); !at.IsZero() {
		t.Error("a part was drilled, or with a difference, and the backup counts as drilled at", at)
	}
	w.app = newTarget(t.TempDir())
	w.later(time.Hour)
	first := w.completed(w.run(r))
	if at := drilled(); !at.Equal(w.now()) || !first.Drill {
		t.Error(at)
	}
	w.later(time.Hour)
	w.app = newTarget(t.TempDir())
	second := w.completed(w.run(r))
	if first.ID == second.ID || second.Attempt != 1 {
		t.Error("two drills are one")
	}
	w.damagePack()
	w.later(time.Hour)
	w.app = newTarget(t.TempDir())
	at := drilled()
	w.completed(w.run(r))
	if !drilled().Equal(at) {
		t.Error("packs are damaged, and the backup counts as drilled")
	}
}

// TestUnwritable lists what the target can't have: what the plan sees, in a dry run too, and what shows at the write.
func TestUnwritable(t *testing.T) {
	objects := files()
	deep, long := strings.Repeat(strings.Repeat("n", 200)+"/", 6)+"x", strings.Repeat("m", 300)
	objects[deep], objects[long] = "more than a key has", "more than a file system takes"
	w := newWorld(t, objects)
	there := w.bucket()
	r := to(w.toApp(), events.To{Bucket: &events.Bucket{Name: there.Bucket()}})
	dry := r
	dry.DryRun = true
	for i, r := range []events.Restore{dry, r} {
		e := w.run(r)
		if e.outcome.Status != machine.Succeeded || e.record.Status != backup.Partial || e.record.ProblemsTotal != i+1 || !strings.Contains(e.record.Problems[i].Item, "nnn") {
			t.Errorf("%d: %s", i, e)
		}
		w.leftovers()
	}
	folder := filepath.Join(t.TempDir(), "to")
	e := w.run(to(w.toApp(), events.To{Folder: folder}))
	if e.outcome.Status != machine.Succeeded || e.record.Status != backup.Partial || e.record.ProblemsTotal != 1 || !strings.Contains(e.record.Problems[0].Item, "mmm") {
		t.Error(e)
	}
	inFolder, inBucket := whole(objects), whole(objects)
	delete(inFolder, "uploads/"+long)
	delete(inBucket, "uploads/"+deep)
	delete(inBucket, "uploads/"+long) // the embedded store lies on a file system
	if diff := cmp.Diff(inFolder, tree(t, folder)) + cmp.Diff(inBucket, contents(t, there)); diff != "" {
		t.Error(diff)
	}
}

func TestConflictEndsIt(t *testing.T) {
	w := newWorld(t, files())
	write(t, filepath.Join(w.app.folder, "b.txt"), "another file")
	e := w.run(w.toApp())
	w.failed(e, failure.Conflict)
	if slices.Contains(w.app.taken(), "Replay") || len(w.app.rows) > 0 {
		t.Error("it was replayed")
	}
	if !strings.Contains(e.message, "uploads/b.txt") || e.hint == "" {
		t.Error(e)
	}
	write(t, filepath.Join(w.app.folder, "b.txt"), files()["b.txt"])
	if got := w.completed(w.run(w.toApp())); got.Put.Existing != 5 {
		t.Errorf("%+v", got.Put)
	}
	w.holds(files())
}

// TestCorruptUnderStored damages a pack in a way that no checksum of the store tells: each object is checked when it is
// written.
func TestCorruptUnderStored(t *testing.T) {
	w := newWorld(t, files())
	w.flipBodies()
	r := w.toApp()
	r.Check = "stored"
	e := w.run(r)
	w.failed(e, failure.Corrupt)
	if slices.Contains(w.app.taken(), "Replay") || len(w.app.rows) > 0 {
		t.Error("it was replayed")
	}
	folder := filepath.Join(t.TempDir(), "to")
	e = w.run(to(r, events.To{Folder: folder}))
	if e.record.Status != backup.Partial || e.record.ProblemsTotal != 1 || e.record.Problems[0].Kind != "corrupt" {
		t.Error(e)
	}
	if _, there := tree(t, folder)["uploads/b.txt"]; there {
		t.Error("the damaged file is there")
	}
}
