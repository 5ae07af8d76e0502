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
step, until it has ended.`,
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
			id, err := backup.ParseRestoreID(given[0])
			if err != nil {
				return err
			}
			if follow {
				return c.followRestore(cmd.Context(), s, id)
			}
			record, err := s.catalog.Restore(cmd.Context(), id)
			if err != nil {
				return noRestore(id, err)
			}
			c.showRestore(record)
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
		c.message(restoreMessageOf(r))
		c.say("%s  %s  %-11s  %s → %s", r.ID, r.Started.Local().Format("2006-01-02 15:04"), restoreStatus(r), plain.Text(originWords(r)), plain.Text(r.Target))
		if reason := shortReason(r); reason != "" {
			c.say("  %s", plain.Text(reason))
		}
	}
	if none {
		c.say("nothing was restored from this vault yet")
	}
	return nil
}

func restoreStatus(r catalog.Restore) string {
	if r.DryRun {
		return "dry run"
	}
	return string(r.Status)
}

// originWords names what was restored.
func originWords(r catalog.Restore) string {
	return cmp.Or(r.From.File, r.From.URL, string(r.From.Source)+" "+string(r.From.Backup))
}

// showRestore says everything that is known of a restore.
func (c *cli) showRestore(r catalog.Restore) {
	c.message(restoreMessageOf(r))
	c.say("%s: %s, attempt %d", r.ID, restoreStatus(r), r.Attempt)
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
	c.say("files: %s written, %s; %s there already; %s left out", plain.Number(int64(r.Put.Written)), plain.Size(r.Put.Bytes),
		plain.Number(int64(r.Put.Existing)), plain.Number(int64(r.Put.LeftOut)))
	c.sayRestoreFindings(r, catalog.MaxFindings)
	if r.Failure != nil {
		c.say("  why: %s", plain.Text(r.Failure.Message))
		if r.Failure.Hint != "" {
			c.say("  hint: %s", plain.Text(r.Failure.Hint))
		}
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

// followRestore shows each step of a restore as it ends, until the restore has.
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
		if record.Status != backup.InProgress {
			c.message(restoreMessageOf(record))
			c.say("%s: %s", id, restoreStatus(record))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followTime):
		}
	}
}
