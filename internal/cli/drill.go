package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/replay"
)

func (c *cli) drillCommand() *cobra.Command {
	var chosen string
	cmd := &cobra.Command{
		Use:   "drill SOURCE",
		Short: "Prove that a backup can be restored: restore it into a throw-away target and look at it",
		Long: `Restore the newest backup of a source into a target that is made for it and removed afterwards, and check
what the application itself would: every row and every file of a Zipline in the built-in stand-in, which
has the rules of a real one's import; the database of a linkding (integrity, foreign keys, counts) with its
files; each file of a folder or a bucket. A backup that passes is proven "drilled", and "lifeboat status"
says when a source was last proven restorable.

It needs room for the backup's files in the folder for temporary files ($TMPDIR), and no application. A
timer can run it: docs/examples/systemd has one.

Exit codes: 0 proven; 3 restored with differences, or the record of a backup that may be newer cannot be
read (the backup is not marked then); others: not restored.`,
		Example: "  lifeboat drill photos\n  lifeboat drill photos --backup 20261121T020000Z-abcdef",
		Args:    args(1, 1, "the name of one source"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.drill(cmd.Context(), given[0], chosen)
		},
	}
	cmd.Flags().StringVar(&chosen, "backup", "latest", "which backup")
	return cmd
}

func (c *cli) drill(ctx context.Context, source, chosen string) error {
	name, err := backup.ParseSource(source)
	if err != nil {
		return err
	}
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.config.Source(source); err != nil {
		return err
	}
	r, err := c.restorer(s)
	if err != nil {
		return err
	}
	by := starter()
	restore := events.Restore{
		From: events.From{Backup: string(name) + ":" + chosen}, To: events.To{Drill: true}, Check: replay.CheckFull,
		Wishes: app.Wishes{Documents: true, Objects: true}, StartedBy: catalog.Starter{By: by.By, Who: by.Who},
	}
	if err := c.choose(ctx, s, &restore); err != nil {
		return err
	}
	record, err := r.run(ctx, restore)
	if err != nil {
		c.sayFailed(record)
		return roomless(err)
	}
	c.sayRestored(record)
	if err := s.markInstead(ctx, record); err != nil {
		return err
	}
	if record.Status != backup.Completed {
		return partial{fmt.Sprintf("backup %s was restored but for %d %s, and is not marked as proven: `lifeboat restores %s` lists them",
			record.From.Backup, record.ProblemsTotal, plural(record.ProblemsTotal, "problem"), record.ID)}
	}
	if !replay.Proves(record) {
		return partial{fmt.Sprintf("backup %s was restored, and is not marked as proven: %s", record.From.Backup, unproven(record))}
	}
	c.say("backup %s of %s is restorable: it was restored and compared at %s", record.From.Backup, source, record.Finished.Local().Format(time.RFC1123Z))
	return nil
}

// unproven says why a drill that ended well does not prove its backup.
func unproven(record catalog.Restore) string {
	seen := record.Confirmation
	switch {
	case instead(record):
		return fmt.Sprintf("its packs are damaged, and its archive was restored in their place; `lifeboat backup %s --rehash` makes a new backup", record.From.Source)
	case record.Signature != string(manifest.Authenticated):
		return "nobody known here signed it"
	case seen != nil && seen.Differs > 0:
		return fmt.Sprintf("its target holds %s other than in the backup", countOf(seen.Differs, "thing that is", "things that are"))
	}
	return "its target has nothing that could be asserted"
}

// instead reports whether the packs of a backup were found damaged, and its archive was restored in their place.
func instead(record catalog.Restore) bool {
	return slices.ContainsFunc(record.Notes, func(f app.Finding) bool { return f.Kind == replay.NoteArchive })
}

// roomless says of a drill that a disk was too full for what it may need: a restore's hint is about its folder, which a
// drill throws away.
func roomless(err error) error {
	if failure.KindOf(err) != failure.Exhausted {
		return err
	}
	return failure.New(failure.Exhausted, "%w", err).
		WithHint("free some space, then run the same command again; a drill writes the files of the backup below %s, and $TMPDIR names another folder", os.TempDir())
}
