package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/progress"
	"lifeboat/internal/replay"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
)

// How a run of a stack is followed.
const (
	askTime   = 2 * time.Second
	askTries  = 30          // questions in a row that nobody answers
	beginTime = time.Minute // until a run that was started has a record
)

// backupOnStack starts a backup in the stack and follows it to its end.
func (c *cli) backupOnStack(cmd *cobra.Command, run events.Run) error {
	ctx := cmd.Context()
	s, err := c.openStack(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	source, err := s.config.Source(string(run.Source))
	if err == nil {
		err = one(s.stack.place().Source(source))
	}
	if err != nil {
		return err
	}
	folder, err := c.asked(ctx, s.config, &run)
	if err != nil {
		return err
	}
	if _, _, err := s.stack.machines.StartBackup(ctx, run, remote.Key{}); err != nil {
		return err
	}
	reporter := c.reporter()
	defer reporter.Done()
	reporter.Note(fmt.Sprintf("backup %s was started in the stack %s", run.ID, s.stack.name))
	outcome, err := s.stack.await(ctx, func(ctx context.Context) (remote.Outcome, error) {
		return s.stack.machines.Backed(ctx, string(run.ID))
	}, func() {})
	if err != nil {
		return goesOn(err, "backup "+string(run.ID), fmt.Sprintf("lifeboat show %s --follow", run.ID))
	}
	record, err := s.backedUpThere(ctx, run, outcome)
	if err != nil {
		return err
	}
	return c.backedUp(cmd, s, record, folder)
}

// one returns the first of what a stack can't do.
func one(refused []error) error {
	if len(refused) == 0 {
		return nil
	}
	return refused[0]
}

// await asks how an execution stands until it has ended. seen is called each time before.
func (s *stack) await(ctx context.Context, ask func(context.Context) (remote.Outcome, error), seen func()) (remote.Outcome, error) {
	silent := 0
	for {
		seen()
		outcome, err := ask(ctx)
		switch {
		case ctx.Err() != nil:
			return outcome, ctx.Err()
		case err != nil && silent < askTries && passes(err):
			silent++
		case err != nil || !outcome.Running:
			return outcome, err
		default:
			silent = 0
		}
		select {
		case <-ctx.Done():
			return outcome, ctx.Err()
		case <-time.After(askTime):
		}
	}
}

// passes reports whether asking again may help: the service is busy, or has not heard yet of what was just started.
func passes(err error) bool {
	return failure.KindOf(err) == failure.Transient || failure.KindOf(err) == failure.NotFound
}

// goesOn says that a run is not followed any more, and goes on by itself.
func goesOn(err error, what, command string) error {
	kind, why := failure.KindOf(err), err.Error()
	if errors.Is(err, context.Canceled) {
		kind, why = failure.Canceled, "stopped"
	}
	return failure.New(kind, "%s is not followed any more (%s): it goes on by itself", what, why).WithHint("`%s` follows it again", command)
}

// backedUpThere makes of the end of an execution a record or an error, as runs of this machine do.
func (s *session) backedUpThere(ctx context.Context, run events.Run, outcome remote.Outcome) (catalog.Record, error) {
	var output struct {
		State events.Began `json:"state"`
	}
	if outcome.Succeeded && json.Unmarshal(outcome.Output, &output) == nil && output.State.Answer == "skip" {
		return catalog.Record{}, failure.New(failure.Conflict, "another run works on %s", run.Source).
			WithHint("wait for it: `lifeboat list %s` says how it stands", run.Source)
	}
	record, err := s.catalog.Record(ctx, run.Source, run.ID)
	if outcome.Succeeded || err == nil && record.Status.Good() { // what came after the proof does not make a backup worse
		return record, err
	}
	return record, step.Reason(outcome.Error)
}

// restoreOnStack starts a restore in the stack and follows it to its end.
func (c *cli) restoreOnStack(ctx context.Context, restore events.Restore) error {
	if restore.From.File != "" || restore.To.Folder != "" {
		return failure.New(failure.Usage, "a stack reaches no files and folders of this machine").
			WithHint("restore a backup or a URL to a target of the stack: --to TARGET; without --stack, with the stack's bucket as vault: of a lifeboat.yaml, this machine restores")
	}
	s, err := c.openStack(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.fits(restore); err != nil {
		return err
	}
	wanted := restore.From.Backup
	if restore, err = c.prepareThere(ctx, s, restore); err != nil {
		return err
	}
	earlier, _ := s.catalog.Restore(ctx, restore.ID) // the attempt before this one, if there was one
	_, execution, _, err := s.stack.machines.StartRestore(ctx, restore, wanted, remote.Key{}, time.Now())
	if err != nil {
		return err
	}
	record, err := c.followThere(ctx, s, restore, execution, earlier.Attempt)
	if err != nil {
		c.sayFailed(record)
		return advised(err)
	}
	c.sayRestored(record)
	return ended(record)
}

// fits refuses a restore that the stack can't do.
func (s *session) fits(restore events.Restore) error {
	if err := setup.Asked(s.config, restore); err != nil {
		return err
	}
	if b := restore.To.Bucket; b != nil {
		return one(s.stack.place().Bucket(config.Bucket{
			Name: b.Name, Prefix: b.Prefix, Endpoint: b.Endpoint, Region: b.Region, Profile: b.Profile,
			AccessKey: secret.Reference(b.AccessKey), SecretKey: secret.Reference(b.SecretKey),
		}))
	}
	target, err := s.config.Target(restore.To.Target)
	if err != nil {
		return err
	}
	return one(s.stack.place().Target(target))
}

// prepareThere gives a restore its id, and the backup its whole one.
func (c *cli) prepareThere(ctx context.Context, s *session, restore events.Restore) (events.Restore, error) {
	from, err := fetching(s.config, slog.New(slog.DiscardHandler))
	if err != nil {
		return restore, err
	}
	if err := c.choose(ctx, s, &restore); err != nil {
		return restore, err
	}
	steps := &replay.Steps{Vault: s.vault, Targets: &setup.Targets{Config: s.config}, Fetch: from, Now: time.Now, Log: c.log, Version: Version, Holder: holder()}
	return steps.Prepare(ctx, restore)
}

// followThere shows each step of a restore as it ends, and returns its record at the end.
func (c *cli) followThere(ctx context.Context, s *session, restore events.Restore, execution string, attempt int) (catalog.Restore, error) {
	id := restore.ID
	reporter := c.reporter()
	defer reporter.Done()
	reporter.Note(fmt.Sprintf("restore %s was started in the stack %s", id, s.stack.name))
	steps := stepsOf{attempt: attempt, reporter: reporter}
	outcome, err := s.stack.await(ctx, func(ctx context.Context) (remote.Outcome, error) {
		return s.stack.machines.Restored(ctx, execution)
	}, func() {
		if record, err := s.catalog.Restore(ctx, id); err == nil {
			steps.show(record)
		}
	})
	if err != nil {
		return catalog.Restore{}, goesOn(err, "restore "+string(id), fmt.Sprintf("lifeboat restores %s --follow", id))
	}
	return s.restoredThere(ctx, restore, outcome)
}

// stepsOf shows the steps of one attempt.
type stepsOf struct {
	attempt, shown int // the attempt that came before
	reporter       *progress.Reporter
}

func (s *stepsOf) show(record catalog.Restore) {
	if record.Attempt == s.attempt {
		return // it has not begun
	}
	for ; s.shown < len(record.Steps); s.shown++ {
		s.reporter.Note(stepLine(record.Steps[s.shown]))
	}
}

func (s *session) restoredThere(ctx context.Context, restore events.Restore, outcome remote.Outcome) (catalog.Restore, error) {
	var output struct {
		State struct {
			Answer string `json:"answer"`
		} `json:"state"`
	}
	if outcome.Succeeded && json.Unmarshal(outcome.Output, &output) == nil && output.State.Answer == "skip" {
		return catalog.Restore{}, s.busy(ctx, &setup.Targets{Config: s.config}, restore.To)
	}
	record, err := s.catalog.Restore(ctx, restore.ID)
	if outcome.Succeeded {
		return record, err
	}
	return record, step.Reason(outcome.Error)
}

// follow waits for the end of a backup that is under way, and shows it then.
func (c *cli) follow(cmd *cobra.Command, text string) error {
	ctx := cmd.Context()
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	record, err := c.awaitRecord(ctx, s, text)
	for err == nil && record.Status == backup.InProgress {
		var nobody bool
		if nobody, err = s.interrupted(ctx, record); nobody || err != nil {
			break // nobody works on it, and it would never end
		}
		select {
		case <-ctx.Done():
			return goesOn(ctx.Err(), "backup "+string(record.ID), fmt.Sprintf("lifeboat show %s --follow", record.ID))
		case <-time.After(askTime):
		}
		record, err = s.catalog.Record(ctx, record.Source, record.ID)
	}
	if err != nil {
		return err
	}
	return c.showRecord(ctx, s, record)
}

// awaitRecord finds a backup. In a stack, one that was just started has no record yet: it waits a while for a whole id.
func (c *cli) awaitRecord(ctx context.Context, s *session, text string) (catalog.Record, error) {
	_, whole := backup.ParseID(text)
	for until := time.Now().Add(beginTime); ; {
		record, err := c.named(ctx, s, text)
		if err == nil || failure.KindOf(err) != failure.NotFound || s.stack == nil || whole != nil || time.Now().After(until) {
			return record, err
		}
		select {
		case <-ctx.Done():
			return record, ctx.Err()
		case <-time.After(askTime):
		}
	}
}
