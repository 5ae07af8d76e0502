package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/machine"
	"lifeboat/internal/netguard"
	"lifeboat/internal/progress"
	"lifeboat/internal/replay"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
	"lifeboat/internal/verify"
	"lifeboat/workflow"
)

// restorer executes the restore workflow on this machine.
type restorer struct {
	session  *session
	steps    *replay.Steps
	targets  *setup.Targets
	machine  *machine.Machine
	engine   *machine.Engine
	reporter *progress.Reporter
	planned  func(app.Forecast) // shows the plan of a replay; nil: nobody wants to see it
}

func (c *cli) restorer(s *session) (*restorer, error) {
	from, err := fetching(s.config, c.log)
	if err != nil {
		return nil, err
	}
	var once sync.Once
	from.Again = func(why error, _ time.Duration) {
		once.Do(func() { c.warn("%v; it is asked again for a while", why) })
	}
	r := &restorer{session: s, reporter: c.reporter(), targets: &setup.Targets{Config: s.config, Zipline: c.ziplineTarget()}}
	r.steps = &replay.Steps{
		Vault: s.vault, Targets: r.targets, Trusted: append(s.trusted(), c.fileKeys()...), Fetch: from, Local: true, Notifier: s.notifier(),
		Now: time.Now, Log: c.log, Progress: r.reporter, Version: Version, Holder: holder(), Stale: stale,
	}
	r.machine, err = machine.Load(workflow.Restore, workflow.RestoreFunctions, machine.WithInputs("restore"), machine.WithName("restore"))
	if err != nil {
		return nil, err
	}
	r.engine = &machine.Engine{Invoke: r.invoke, Read: s.readList, Log: c.log, Rand: c.jitter, MaxConcurrency: 1}
	return r, nil
}

// fetching says what a URL may be.
func fetching(cfg *config.Config, audit *slog.Logger) (fetch.Options, error) {
	rules := netguard.Rules{MaxBytes: cfg.Fetch.MaxSize, Timeout: cfg.Fetch.Timeout, Audit: audit}
	for _, text := range cfg.Fetch.Allow {
		allowed, err := netguard.ParseAllowed(text)
		if err != nil {
			return fetch.Options{}, err
		}
		rules.Allow = append(rules.Allow, allowed)
	}
	return fetch.Options{Guard: netguard.New(rules), MaxBytes: cfg.Fetch.MaxSize, MaxTime: cfg.Fetch.Timeout}, nil
}

// ziplineTarget returns the time-outs of Zipline, for a target.
func (c *cli) ziplineTarget() zipline.TargetOptions {
	return zipline.TargetOptions{
		Timeout: c.zipline.Timeout, ExportTimeout: c.zipline.ExportTimeout, IdleTimeout: c.zipline.IdleTimeout, Sleep: c.sleep,
	}
}

func (r *restorer) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	var request events.RestoreRequest
	if json.Unmarshal(payload, &request) == nil && request.Step == "release" {
		r.reporter.Fail()
	}
	answer, err := r.steps.Handle(ctx, function, payload)
	if err != nil {
		return nil, step.Boundary{Err: err}
	}
	if request.Step == "check" && r.planned != nil {
		r.plan(ctx, request.Restore.ID)
	}
	return answer, nil
}

// plan shows what the target would get, before the first write.
func (r *restorer) plan(ctx context.Context, id backup.RestoreID) {
	record, err := r.session.catalog.Restore(ctx, id)
	if err == nil && record.Forecast != nil {
		r.reporter.Done()
		r.planned(*record.Forecast)
	}
}

// run executes a restore to its end and returns its record.
func (r *restorer) run(ctx context.Context, restore events.Restore) (catalog.Restore, error) {
	defer r.reporter.Done()
	restore, err := r.steps.Prepare(ctx, restore)
	if err != nil {
		return catalog.Restore{}, r.session.noBackup(err)
	}
	if restore.To.Drill {
		defer r.targets.EndDrill(restore.ID)
	}
	restore.Execution = fmt.Sprintf("%s-%d", restore.ID, time.Now().UnixMilli())
	input, err := json.Marshal(events.RestoreInput{Restore: restore})
	if err != nil {
		return catalog.Restore{}, err
	}
	outcome, err := r.engine.Execute(ctx, r.machine, machine.Execution{Name: restore.Execution, Input: input})
	if err != nil {
		return catalog.Restore{}, err
	}
	return r.conclude(ctx, restore, outcome)
}

// busy says who works on a target.
func (s *session) busy(ctx context.Context, targets *setup.Targets, to events.To) error {
	target, err := targets.Name(to)
	if err != nil {
		return err
	}
	return s.catalog.Busy(ctx, target)
}

// conclude makes of a restore's end a record or an error. It closes what the workflow could not close itself.
func (r *restorer) conclude(ctx context.Context, restore events.Restore, outcome machine.Outcome) (catalog.Restore, error) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	record := func() (catalog.Restore, error) { return r.session.catalog.Restore(after, restore.ID) }
	if outcome.Status != machine.Succeeded && !restore.DryRun { // what came after the proof does not make a restore worse
		if ended, err := record(); err == nil && ended.Status.Good() && outcome.State == "NotifyRestore" {
			return ended, nil
		}
	}
	switch outcome.Status {
	case machine.Succeeded:
		return r.succeeded(after, restore, outcome, record)
	case machine.Aborted:
		r.reporter.Fail()
		why := catalog.Failure{Kind: failure.Canceled.String(), Message: "stopped by a person or the system"}
		err := r.steps.End(after, restore, backup.Canceled, why)
		hint := "the same command begins anew; what is there with the right bytes is left alone"
		if restore.To.Drill {
			hint = "the same command begins anew; what was restored for the drill is removed"
		}
		return catalog.Restore{ID: restore.ID}, errors.Join(failure.New(failure.Canceled, "stopped: the restore is not complete").WithHint("%s", hint), err)
	}
	r.reporter.Fail()
	failed := step.Reason(&events.Error{Error: outcome.Error, Cause: outcome.Cause})
	if !outcome.Caught {
		if err := r.steps.End(after, restore, backup.Failed, catalog.FailureOf(failed)); err != nil {
			return catalog.Restore{}, err
		}
		if err := r.steps.Tell(after, restore.ID); err != nil {
			r.session.logNotTold(err)
		}
	}
	ended, _ := record() // says more than the error, where it can be read
	return ended, failed
}

func (r *restorer) succeeded(ctx context.Context, restore events.Restore, outcome machine.Outcome, record func() (catalog.Restore, error)) (catalog.Restore, error) {
	var output struct {
		State events.RestoreBegan `json:"state"`
	}
	if err := json.Unmarshal(outcome.Output, &output); err != nil {
		return catalog.Restore{}, err
	}
	if output.State.Answer == "skip" {
		return catalog.Restore{}, r.session.busy(ctx, r.targets, restore.To)
	}
	return record()
}

// restoreSession opens the vault for a restore. What is restored from a file or a URL into a folder or a bucket needs
// no configuration and no vault: where there is none, a vault of its own holds the record until the restore has ended.
// A configuration that is there and can't be read is an error for a URL, since it says what may be fetched. What is restored
// from one of them into a target makes the vault where there is none: on a new machine the archive may be all that is left.
func (c *cli) restoreSession(ctx context.Context, restore events.Restore) (*session, error) {
	switch {
	case restore.From.Backup != "":
		return c.open(ctx)
	case restore.To.Folder == "" && restore.To.Bucket == nil:
		return c.noting(ctx, restore.From.File)
	}
	cfg, err := config.Load(c.configFile)
	if err != nil && !missing(c.configFile) {
		if restore.From.URL != "" {
			return nil, err
		}
		first, _, more := strings.Cut(err.Error(), "\n")
		c.warn("the configuration is not used: %s%s", first, map[bool]string{true: "; `lifeboat doctor` lists what else is wrong with it"}[more])
	}
	if err == nil {
		s, err := c.open(ctx)
		if err == nil || failure.KindOf(err) == failure.Canceled {
			return s, err
		}
		if kind := failure.KindOf(err); kind != failure.NotFound {
			c.warn("the vault %s cannot be opened, and nothing notes this restore: %v", cfg.Vault, err)
		}
	}
	return c.passing(ctx, cfg)
}

// noting opens the vault that a restore into a target is noted in, and says so where it makes it. For a file that is not
// there it makes none.
func (c *cli) noting(ctx context.Context, file string) (*session, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	if file != "" && missing(file) {
		_, _, err := verify.OpenVolumes(ctx, file)
		return nil, err
	}
	s, err := c.openWith(ctx, cfg)
	if err == nil && s.made && !s.anew {
		c.warn("there was no vault at %s: one was made, which notes this restore", cfg.Vault)
	}
	return s, err
}

func missing(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// passing opens a vault that is removed with the session.
func (c *cli) passing(ctx context.Context, like *config.Config) (*session, error) {
	folder, err := os.MkdirTemp("", "lifeboat-restore-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the restore's notes: %w", err)
	}
	cfg := &config.Config{File: c.configFile, Vault: config.Location{Folder: filepath.Join(folder, "vault")}, StateDir: filepath.Join(folder, "state")}
	if like != nil {
		cfg.Fetch = like.Fetch
	}
	s, err := c.enter(ctx, &session{config: cfg, log: c.log})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s.folder = folder
	return s, nil
}

// shortReason is why a restore failed, for lists.
func shortReason(r catalog.Restore) string {
	if r.Failure == nil {
		return ""
	}
	return cmp.Or(r.Failure.Message, r.Failure.Kind)
}
