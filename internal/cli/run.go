package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/progress"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// runner executes the backup workflow of one source on this machine.
type runner struct {
	session  *session
	steps    *step.Steps
	machine  *machine.Machine
	engine   *machine.Engine
	folder   string // of the source's journals
	reporter *progress.Reporter
	phased   atomic.Bool // a phase was shown
}

// resumeTime is how old a run may be that is gone on with.
const resumeTime = 24 * time.Hour

func (c *cli) runner(s *session, source backup.Source) (*runner, error) {
	key, err := s.signer()
	if err != nil {
		return nil, err
	}
	r := &runner{session: s, reporter: c.reporter(), folder: filepath.Join(s.config.StateDir, "runs", s.about.ID, string(source))}
	r.steps = &step.Steps{
		Vault: s.vault, Sources: &setup.Sources{Config: s.config, Zipline: c.zipline}, Signer: key.Private, Notifier: s.notifier(),
		Now: time.Now, Log: c.log, Progress: shown{r}, Version: Version, Holder: holder(), Stale: stale,
	}
	r.machine, err = machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"), machine.WithName("backup"))
	if err != nil {
		return nil, err
	}
	r.engine = &machine.Engine{Invoke: r.invoke, Read: s.readList, Log: c.log, Rand: c.jitter, MaxConcurrency: 3}
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the journals: %w", err)
	}
	return r, nil
}

// shown adapts the reporter to what steps report.
type shown struct{ *runner }

func (s shown) Phase(name string, items, bytes int64) {
	s.phased.Store(true)
	s.reporter.Phase(name, items, bytes)
}

func (s shown) Add(items, bytes int64) { s.reporter.Add(items, bytes) }

// resumedPhases names what a step works on, where an earlier call has said how much there is: a run that is gone on with
// does not hear that.
var resumedPhases = map[string]string{"copy": "pack", "assemble": "assemble"}

func (r *runner) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	var request events.Request
	if json.Unmarshal(payload, &request) == nil {
		if request.Step == "abort" {
			r.reporter.Fail()
		}
		if name := resumedPhases[request.Step]; name != "" && r.phased.CompareAndSwap(false, true) {
			r.reporter.Phase(name, 0, 0)
		}
	}
	answer, err := r.steps.Handle(ctx, function, payload)
	if err != nil {
		return nil, step.Boundary{Err: err}
	}
	return answer, nil
}

// readList opens the items of a Distributed Map.
func (s *session) readList(ctx context.Context, _, key string) (io.ReadCloser, error) {
	body, _, err := s.vault.Open(ctx, vault.Key(key), 0, -1)
	return body, err
}

// journal is one journal of the source that has not ended.
type journal struct {
	path string
	run  events.Run
	same bool // made by the same definition, less than a day ago
}

// open returns the journals that have not ended, newest first; Conflict when a live process holds one.
func (r *runner) open(now time.Time) ([]journal, error) {
	paths, err := filepath.Glob(filepath.Join(r.folder, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(b, a) })
	var open []journal
	for _, path := range paths {
		if machine.Held(path) {
			id := strings.TrimSuffix(filepath.Base(path), ".jsonl")
			return nil, failure.New(failure.Conflict, "backup %s of this source is running already", id).
				WithHint("wait for it; `lifeboat show %s` says how far it is", id)
		}
		state, err := machine.ReadJournal(path)
		switch {
		case err != nil && failure.KindOf(err) == failure.NotFound: // it died before its first record was whole
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		case err != nil && failure.KindOf(err) == failure.Corrupt: // nobody can go on with it; the next run closes its record
			if err := os.Rename(path, path+".damaged"); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		}
		if state.Ended {
			continue
		}
		var input events.Input
		if err := json.Unmarshal(state.Input, &input); err != nil {
			return nil, failure.New(failure.Corrupt, "the journal %s holds no input of a backup: %w", path, err)
		}
		same := state.Definition == r.machine.Digest() && now.Sub(state.Started) < resumeTime
		open = append(open, journal{path, input.Run, same})
	}
	return open, nil
}

// pick returns the journal that run goes on with, and closes the others as lost.
func (r *runner) pick(ctx context.Context, run events.Run) (journal, bool, error) {
	open, err := r.open(time.Now())
	if err != nil {
		return journal{}, false, err
	}
	var chosen *journal
	for i, j := range open {
		closed, err := r.closed(ctx, j.run)
		if err != nil {
			return journal{}, false, err
		}
		if chosen == nil && j.same && !closed && sameRequest(j.run, run) {
			chosen = &open[i]
			continue
		}
		if err := r.lose(ctx, j); err != nil {
			return journal{}, false, err
		}
	}
	if chosen != nil {
		return *chosen, true, nil
	}
	return journal{path: filepath.Join(r.folder, string(run.ID)+".jsonl"), run: run}, false, nil
}

// closed reports whether somebody else has ended the run as lost: what it needs may be gone.
func (r *runner) closed(ctx context.Context, run events.Run) (bool, error) {
	record, err := r.session.catalog.Record(ctx, run.Source, run.ID)
	if failure.KindOf(err) == failure.NotFound && err != nil {
		return false, nil // it has not come that far
	}
	return record.Status == backup.Failed || record.Status == backup.Deleting, err
}

// sameRequest reports whether two runs were asked for with the same words.
func sameRequest(a, b events.Run) bool {
	return a.Source == b.Source && a.Name == b.Name && a.Description == b.Description && a.Scope.String() == b.Scope.String() && a.Rehash == b.Rehash
}

// lose ends a run that nobody goes on with.
func (r *runner) lose(ctx context.Context, j journal) error {
	err := r.steps.End(ctx, j.run, backup.Failed, catalog.Failure{
		Kind: "lost", Message: "the run was interrupted and another one began before it was gone on with",
	})
	if err != nil {
		return err
	}
	return os.Rename(j.path, j.path+".lost")
}

// forget makes sure that nobody goes on with a run whose backup was deleted.
func (r *runner) forget(id backup.ID) error {
	path := filepath.Join(r.folder, string(id)+".jsonl")
	if err := os.Rename(path, path+".lost"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stale reports whether a lease's holder is a process of this machine that is gone.
func stale(l catalog.Lease) bool {
	var pid int
	mine := machineName() + " pid "
	if !strings.HasPrefix(l.Holder, mine) {
		return false
	}
	if n, err := fmt.Sscanf(l.Holder[len(mine):], "%d", &pid); n != 1 || err != nil {
		return false
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// run executes a run to its end and returns its record.
func (r *runner) run(ctx context.Context, run events.Run) (catalog.Record, bool, error) {
	defer r.reporter.Done()
	j, resumed, err := r.pick(ctx, run)
	if err != nil {
		return catalog.Record{}, false, err
	}
	if resumed {
		r.reporter.Note(fmt.Sprintf("going on with backup %s, which was interrupted", j.run.ID))
		if err := r.reopen(ctx, j.run); err != nil {
			return catalog.Record{}, true, err
		}
	}
	input, err := json.Marshal(events.Input{Run: j.run})
	if err != nil {
		return catalog.Record{}, resumed, err
	}
	outcome, err := r.engine.Execute(ctx, r.machine, machine.Execution{Name: string(j.run.ID), Input: input, Journal: j.path})
	if err != nil {
		return catalog.Record{}, resumed, err
	}
	record, err := r.conclude(ctx, j.run, outcome)
	return record, resumed, err
}

// reopen takes back that a run was canceled.
func (r *runner) reopen(ctx context.Context, run events.Run) error {
	_, err := r.session.catalog.Update(ctx, run.Source, run.ID, func(rec *catalog.Record) error {
		if rec.Status == backup.Canceled {
			rec.Status, rec.Failure, rec.Finished = backup.InProgress, nil, time.Time{}
		}
		return nil
	})
	if failure.KindOf(err) == failure.NotFound {
		return nil // it had not come that far
	}
	return err
}

// conclude makes of a run's end a record or an error. It closes what the workflow could not close itself.
func (r *runner) conclude(ctx context.Context, run events.Run, outcome machine.Outcome) (catalog.Record, error) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if outcome.Status != machine.Succeeded { // what came after the proof does not make a backup worse
		if record, err := r.session.catalog.Record(after, run.Source, run.ID); err == nil && record.Status.Good() {
			return record, nil
		}
	}
	switch outcome.Status {
	case machine.Succeeded:
		var output struct {
			State events.Began `json:"state"`
		}
		if err := json.Unmarshal(outcome.Output, &output); err != nil {
			return catalog.Record{}, err
		}
		if output.State.Answer == "skip" {
			return catalog.Record{}, failure.New(failure.Conflict, "another run works on %s", run.Source).
				WithHint("wait for it, or try again in %s if its process was killed on another machine", catalog.LeaseTime)
		}
		return r.session.catalog.Record(after, run.Source, run.ID)
	case machine.Aborted:
		r.reporter.Fail()
		err := r.steps.End(after, run, backup.Canceled, catalog.Failure{Kind: failure.Canceled.String(), Message: "stopped by a person or the system"})
		return catalog.Record{}, errors.Join(failure.New(failure.Canceled, "stopped: backup %s is not complete", run.ID).
			WithHint("the same command goes on where it stopped"), err)
	}
	failed := step.Reason(&events.Error{Error: outcome.Error, Cause: outcome.Cause})
	if !outcome.Caught {
		r.reporter.Fail()
		if err := r.steps.End(after, run, backup.Failed, catalog.FailureOf(failed)); err != nil {
			return catalog.Record{}, err
		}
		if err := r.steps.Tell(after, run); err != nil {
			r.session.logNotTold(err)
		}
	}
	return catalog.Record{}, failed
}
