package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

func (c *cli) restoresCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "restores [RESTORE]",
		Short: "List the restores from this vault, or show one with the log of its steps",
		Long: `List what was restored from this vault, newest first, or show one restore: what it made, what it found on
the target, every problem, and each step with its time. --follow shows a restore that is under way, step by
step, until it has ended. RESTORE is an id, or the beginning of one. One that was killed is shown as interrupted.`,
		Example: "  lifeboat restores\n  lifeboat restores r0123456789abcdef0123 --follow",
		Args:    args(0, 1, "at most one id of a restore"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if follow && len(given) == 0 {
				return failure.New(failure.Usage, "--follow needs the id of a restore").WithHint("`lifeboat restores` lists them")
			}
			s, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			if len(given) == 0 {
				return c.listRestores(cmd.Context(), s)
			}
			record, err := s.catalog.FindRestore(cmd.Context(), given[0])
			if err != nil {
				return err
			}
			if follow {
				return c.followRestore(cmd.Context(), s, record.ID)
			}
			interrupted, err := s.restoreInterrupted(cmd.Context(), record)
			if err != nil {
				return err
			}
			c.showRestore(record, interrupted)
			return nil
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "show the steps of a restore that is under way, until it has ended")
	return cmd
}

func noRestore(id backup.RestoreID, err error) error {
	if failure.KindOf(err) != failure.NotFound {
		return err
	}
	return failure.New(failure.NotFound, "there is no restore %s", id).WithHint("`lifeboat restores` lists them")
}

func (c *cli) listRestores(ctx context.Context, s *session) error {
	none := true
	for r, err := range s.catalog.Restores(ctx) {
		if err != nil && failure.KindOf(err) != failure.Corrupt {
			return err
		}
		none = false
		if err != nil {
			c.warn("restore %s: %v", r.ID, err)
			continue
		}
		interrupted, err := s.restoreInterrupted(ctx, r)
		if err != nil {
			return err
		}
		c.message(listedRestore{restoreMessageOf(r), interrupted})
		c.say("%s  %s  %-11s  %s → %s", r.ID, r.Started.Local().Format("2006-01-02 15:04"), restoreStatus(r, interrupted), plain.Text(originWords(r)), plain.Text(r.Target))
		if reason := shortReason(r); reason != "" {
			c.say("  %s", plain.Text(reason))
		}
	}
	if none {
		c.say("nothing was restored from this vault yet")
	}
	return nil
}

// listedRestore is a restore for robots, as `restores` says it.
type listedRestore struct {
	restoreMessage
	Interrupted bool `json:"interrupted,omitempty"` // it is in progress by its record, and nobody works on it
}

func restoreStatus(r catalog.Restore, interrupted bool) string {
	switch {
	case interrupted:
		return wordInterrupted
	case r.DryRun:
		return "dry run"
	}
	return string(r.Status)
}

// restoreInterrupted reports whether a restore that has not ended is nobody's any more: one that works holds its target
// from before its record says that it does until after it says that it doesn't.
func (s *session) restoreInterrupted(ctx context.Context, r catalog.Restore) (bool, error) {
	if r.Status != backup.InProgress {
		return false, nil
	}
	lease, held, err := s.catalog.Holder(ctx, catalog.TargetLease(r.Target))
	works := held && lease.Restore() == r.ID && time.Now().Before(lease.Expires) && !stale(lease)
	if err != nil || works {
		return false, err
	}
	again, err := s.catalog.Restore(ctx, r.ID) // it may have ended meanwhile
	return again.Status == backup.InProgress, err
}

// originWords names what was restored.
func originWords(r catalog.Restore) string {
	return cmp.Or(r.From.File, r.From.URL, string(r.From.Source)+" "+string(r.From.Backup))
}

// showRestore says everything that is known of a restore.
func (c *cli) showRestore(r catalog.Restore, interrupted bool) {
	c.message(listedRestore{restoreMessageOf(r), interrupted})
	c.say("%s: %s, attempt %d", r.ID, restoreStatus(r, interrupted), r.Attempt)
	c.say("  from    %s", plain.Text(originWords(r)))
	c.say("  to      %s%s", plain.Text(r.Target), plain.Text(map[bool]string{true: ", as " + r.Name}[r.Name != ""]))
	c.say("  started %s by %s%s", r.Started.Local().Format(time.RFC1123Z), r.StartedBy.By, plain.Text(map[bool]string{true: " " + r.StartedBy.Who}[r.StartedBy.Who != ""]))
	if !r.Finished.IsZero() {
		c.say("  ended   %s", r.Finished.Local().Format(time.RFC1123Z))
	}
	c.say("  check   %s, %s", r.Check, cmp.Or(r.Signature, "not reached"))
	for _, s := range r.Steps {
		c.say("  %s", stepLine(s))
	}
	if r.Forecast != nil {
		c.sayForecast(*r.Forecast)
	}
	c.sayConfirmation(r.Confirmation)
	folders := map[bool]string{true: ", " + count(r.Put.Folders, "folder")}[r.Put.Folders > 0]
	c.say("files: %s written%s, %s; %s there already; %s left out", plain.Number(int64(r.Put.Written-r.Put.Folders)), folders, plain.Size(r.Put.Bytes),
		plain.Number(int64(r.Put.Existing)), plain.Number(int64(r.Put.LeftOut)))
	c.sayRestoreFindings(r, catalog.MaxFindings)
	if r.Failure != nil {
		c.say("  why: %s", plain.Text(r.Failure.Message))
		if r.Failure.Hint != "" {
			c.say("  hint: %s", plain.Text(r.Failure.Hint))
		}
	}
	if interrupted {
		c.say("  what to do: run the same restore command again: it leaves alone what is there with the right bytes")
	}
	if r.Notified.Status != "" {
		c.say("  %s", told(r.Notified))
	}
}

func stepLine(s catalog.StepLog) string {
	line := fmt.Sprintf("%s  %-8s %8s", s.Began.Local().Format("15:04:05"), s.Step, s.Took.Round(time.Millisecond))
	if s.Items > 0 {
		line += fmt.Sprintf("  %s items, %s", plain.Number(s.Items), plain.Size(s.Bytes))
	}
	if s.Message != "" {
		line += "  " + plain.Text(s.Message)
	}
	if s.Failed {
		line += " (failed)"
	}
	return line
}

// followTime is how often a restore that is followed is looked at.
const followTime = time.Second

// followRestore shows each step of a restore as it ends, until the restore has, or nobody works on it any more.
func (c *cli) followRestore(ctx context.Context, s *session, id backup.RestoreID) error {
	shown := 0
	for {
		record, err := s.catalog.Restore(ctx, id)
		if err != nil {
			return noRestore(id, err)
		}
		if len(record.Steps) < shown { // another attempt
			shown = 0
		}
		for ; shown < len(record.Steps); shown++ {
			c.message(struct {
				Type string `json:"message_type"`
				catalog.StepLog
			}{"step", record.Steps[shown]})
			c.say("%s", stepLine(record.Steps[shown]))
		}
		interrupted, err := s.restoreInterrupted(ctx, record)
		if err != nil {
			return err
		}
		if record.Status != backup.InProgress || interrupted {
			c.message(listedRestore{restoreMessageOf(record), interrupted})
			c.say("%s: %s", id, restoreStatus(record, interrupted))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followTime):
		}
	}
}
