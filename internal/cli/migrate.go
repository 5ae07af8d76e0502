package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/replay"
)

func (c *cli) migrateCommand() *cobra.Command {
	var wishes app.Wishes
	cmd := &cobra.Command{
		Use:   "migrate SOURCE TARGET",
		Short: "Back up a source, restore that backup into a target, and compare: one command, one report",
		Long: `Back up a source of lifeboat.yaml, restore that very backup into a target of lifeboat.yaml, read the target
again and compare. The backup stays in the vault. The same command, run again after an interruption or a
failure, goes on with the backup that it has made, if some of it may be on the target already; otherwise it
makes another one.

Exit codes: 0 all of it is on the target, 3 all but what the report lists, others: it is not complete.`,
		Example: "  lifeboat migrate photos photos-new",
		Args:    args(2, 2, "the name of a source and the name of a target"),
		RunE: func(cmd *cobra.Command, given []string) error {
			wishes.Documents, wishes.Objects = true, true
			return c.migrate(cmd.Context(), given[0], given[1], wishes)
		},
	}
	cmd.Flags().StringVar(&wishes.As, "as", "", "Zipline: the user of the source whose things the target's administrator gets (default: the one of the same name)")
	cmd.Flags().BoolVar(&wishes.Rename, "rename", false, "Zipline: bring users in under another name that the target has already")
	return cmd
}

func (c *cli) migrate(ctx context.Context, source, target string, wishes app.Wishes) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	from, err := cfg.Source(source)
	if err != nil {
		return err
	}
	to, err := cfg.Target(target)
	if err != nil {
		return err
	}
	if from.Kind != to.Kind {
		return failure.New(failure.Usage, "%s is of kind %s and %s of kind %s: one can't become the other", source, from.Kind, target, to.Kind).
			WithHint("name a target of kind %s", from.Kind)
	}
	s, err := c.openWith(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.close()
	began := time.Now()
	record, err := c.unfinished(ctx, s, from.Name, target)
	if err == nil && record.ID == "" {
		record, err = c.backUp(ctx, s, from.Name)
	}
	if err != nil {
		return err
	}
	c.say("backup %s: %s, %s and %s", record.ID, record.Status, count(record.Documents, "document"), count(record.Objects, "object"))
	c.sayFindings(record, 10)
	r, err := c.restorer(s)
	if err != nil {
		return err
	}
	r.planned = c.sayForecast
	restored, err := r.run(ctx, events.Restore{
		From: events.From{Backup: string(record.Source) + ":" + string(record.ID)}, To: events.To{Target: target}, Check: replay.CheckFull,
		Wishes: wishes, StartedBy: starter(),
	})
	if err != nil {
		c.sayFailed(restored)
		return fmt.Errorf("backup %s is complete, its restore into %s is not: %w", record.ID, target, err)
	}
	c.sayRestored(restored)
	return c.migrated(record, restored, time.Since(began))
}

// unfinished returns the backup whose restore into the target has begun to write and is not complete, if that is how the
// last one from the source ended.
func (c *cli) unfinished(ctx context.Context, s *session, source backup.Source, target string) (catalog.Record, error) {
	for r, err := range s.catalog.Restores(ctx) {
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt:
			continue
		case err != nil:
			return catalog.Record{}, err
		case r.Target != target || r.From.Source != source || r.DryRun || r.From.Backup == "":
			continue
		case r.Status.Good(), !wrote(r):
			return catalog.Record{}, nil
		}
		record, err := s.catalog.Record(ctx, source, r.From.Backup)
		if err != nil || !record.Status.Good() || !record.Scope.AllObjects() {
			return catalog.Record{}, nil // it is gone: a new one is made
		}
		c.say("going on with backup %s, made %s, whose restore into %s is not complete", record.ID, ago(record.Finished), plain.Text(target))
		return record, nil
	}
	return catalog.Record{}, nil
}

// wrote reports whether a restore may have written something: it came past its check, now or in an earlier attempt.
func wrote(r catalog.Restore) bool {
	return r.Attempt > 1 || slices.ContainsFunc(r.Steps, func(s catalog.StepLog) bool { return s.Step != "fetch" && s.Step != "check" })
}

// backUp makes a whole backup of a source.
func (c *cli) backUp(ctx context.Context, s *session, source backup.Source) (catalog.Record, error) {
	configured, err := s.config.Source(string(source))
	if err != nil {
		return catalog.Record{}, err
	}
	run := events.Run{ID: backup.NewID(time.Now()), Source: source, StartedBy: starter()}
	run.Scope.NoMetrics = !configured.Metrics
	r, err := c.runner(s, source)
	if err != nil {
		return catalog.Record{}, err
	}
	record, _, err := r.run(ctx, run)
	return record, err
}

// migrateMessage is the last line of `migrate` for robots. Its fields are fixed.
type migrateMessage struct {
	Type     string           `json:"message_type"`
	Backup   backup.ID        `json:"backup"`
	Restore  backup.RestoreID `json:"restore"`
	Source   backup.Source    `json:"source"`
	Target   string           `json:"target"`
	Complete bool             `json:"complete"`
	Problems int              `json:"problems"` // of the backup and of the restore
	Seconds  float64          `json:"seconds"`
}

func (c *cli) migrated(record catalog.Record, restored catalog.Restore, took time.Duration) error {
	m := migrateMessage{
		Type: "migrate", Backup: record.ID, Restore: restored.ID, Source: record.Source, Target: restored.Target,
		Problems: record.ProblemsTotal + restored.ProblemsTotal, Seconds: took.Seconds(),
	}
	m.Complete = m.Problems == 0
	c.message(m)
	if m.Complete {
		c.say("%s is on %s as backup %s has it; %s in all", record.Source, restored.Target, record.ID, took.Round(time.Second))
		return nil
	}
	return partial{fmt.Sprintf("%s is on %s but for %d %s of the backup and %d of the restore: `lifeboat show %s` and `lifeboat restores %s` list them; `lifeboat restore %[6]s --to %[2]s`, with the flags of this command, tries again",
		record.Source, restored.Target, record.ProblemsTotal, plural(record.ProblemsTotal, "problem"), restored.ProblemsTotal, record.ID, restored.ID)}
}
