package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

func (c *cli) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list [SOURCE]",
		Short:   "List the backups of the vault, oldest first",
		Example: "  lifeboat list\n  lifeboat list photos --json",
		Args:    args(0, 1, "no argument, or the name of a source"),
		RunE:    c.list,
	}
}

func (c *cli) list(cmd *cobra.Command, given []string) error {
	source := backup.Source("")
	if len(given) == 1 {
		var err error
		if source, err = backup.ParseSource(given[0]); err != nil {
			return err
		}
	}
	s, err := c.open(cmd.Context())
	if err != nil {
		return err
	}
	defer s.close()
	var records []catalog.Record
	damaged := 0
	for r, err := range s.catalog.All(cmd.Context(), source) {
		switch {
		case err == nil:
			records = append(records, r)
		case failure.KindOf(err) == failure.Corrupt:
			damaged++
			c.warn("%v", err)
		default:
			return err
		}
	}
	slices.SortFunc(records, func(a, b catalog.Record) int { return a.Started.Compare(b.Started) })
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if len(records) > 0 && !c.json {
		fmt.Fprintln(table, "BACKUP\tSOURCE\tSTATUS\tSTARTED\tOBJECTS\tSIZE\tPACKED\tPROVEN\tARCHIVE\tSCOPE\tNAME")
	}
	for _, r := range records {
		m := listed(r)
		if m.Interrupted, err = s.interrupted(cmd.Context(), r); err != nil {
			return err
		}
		c.message(m)
		if !c.json {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Source, statusWord(r, m.Interrupted), r.Started.Local().Format("2006-01-02 15:04"),
				plain.Number(int64(r.Objects)), plain.Size(r.Bytes), plain.Size(r.PackedBytes), proofWord(r), archiveWord(r), r.Scope, plain.Text(r.Name))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if _, err := s.config.Source(string(source)); len(records) == 0 && damaged == 0 && source != "" && err != nil {
		return err
	}
	if len(records) == 0 && damaged == 0 {
		c.say("no backups yet: lifeboat backup SOURCE makes one")
	}
	if damaged > 0 {
		return failure.New(failure.Corrupt, "%d %s cannot be read", damaged, plural(damaged, "record")).
			WithHint("`lifeboat doctor` says what to do about each; the other backups do not need them")
	}
	return nil
}

func statusWord(r catalog.Record, interrupted bool) string {
	switch {
	case interrupted:
		return wordInterrupted
	case r.ProblemsTotal > 0:
		return fmt.Sprintf("%s (%d)", r.Status, r.ProblemsTotal)
	}
	return string(r.Status)
}

// wordInterrupted is shown for a run whose record says that it is in progress, and that nobody works on.
const wordInterrupted = "interrupted"

// interrupted reports whether a run that has not ended is nobody's any more.
func (s *session) interrupted(ctx context.Context, r catalog.Record) (bool, error) {
	if r.Status != backup.InProgress {
		return false, nil
	}
	lease, held, err := s.catalog.Holder(ctx, r.Source)
	works := held && lease.Run == r.ID && time.Now().Before(lease.Expires) && !stale(lease)
	if err != nil || works {
		return false, err
	}
	again, err := s.catalog.Record(ctx, r.Source, r.ID) // it may have ended meanwhile
	return again.Status == backup.InProgress, err
}

func proofWord(r catalog.Record) string {
	if r.Damage != "" {
		return "DAMAGED"
	}
	return dash(string(r.Proof))
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func (c *cli) showCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "show BACKUP",
		Short: "Show everything that is known of a backup",
		Long:  "Show the record of a backup. --follow waits for the end of one that is under way, and shows it then.\n\n" + latestRule,
		Args:  args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if follow {
				return c.follow(cmd, given[0])
			}
			return c.show(cmd, given)
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "wait until a backup that is under way has ended")
	return cmd
}

// recordMessage is a whole record for robots.
type recordMessage struct {
	Type string `json:"message_type"`
	catalog.Record
}

func (c *cli) show(cmd *cobra.Command, given []string) error {
	s, err := c.open(cmd.Context())
	if err != nil {
		return err
	}
	defer s.close()
	r, err := c.named(cmd.Context(), s, given[0])
	if err != nil {
		return err
	}
	return c.showRecord(cmd.Context(), s, r)
}

func (c *cli) showRecord(ctx context.Context, s *session, r catalog.Record) error {
	if c.json {
		c.message(recordMessage{"record", r})
		return nil
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	shown := rows(r)
	if is, err := s.interrupted(ctx, r); err != nil {
		return err
	} else if is {
		shown = append(shown, [2]string{"what to do", fmt.Sprintf("it was interrupted: `lifeboat backup %s` goes on with it, or closes it", r.Source)})
	}
	for _, row := range shown {
		if row[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	c.sayFindings(r, catalog.MaxFindings)
	return nil
}

func rows(r catalog.Record) [][2]string {
	yes := map[bool]string{true: "yes: keep it secret", false: "no"}
	out := [][2]string{
		{"backup", string(r.ID)},
		{"source", fmt.Sprintf("%s (%s)", r.Source, r.Kind)},
		{"name", plain.Text(r.Name)},
		{"description", plain.Text(r.Description)},
		{"status", string(r.Status)},
		{"scope", r.Scope.String()},
		{"started", fmt.Sprintf("%s by %s (%s)", moment(r.Started), plain.Text(r.StartedBy.Who), r.StartedBy.By)},
		{"finished", moment(r.Finished)},
		{"application", plain.Text(strings.TrimSpace(r.Facts.Application + " " + r.Facts.Version))},
		{"counts", plain.Counts(r.Facts.Counts, 30)},
	}
	if r.Failure != nil {
		return append(out, [2]string{"failure", plain.Text(r.Failure.Kind + ": " + r.Failure.Message)}, [2]string{"what to do", plain.Text(r.Failure.Hint)})
	}
	if !r.Status.Good() {
		return out
	}
	out = append(out,
		[2]string{"took", plain.Duration(r.Finished.Sub(r.Started))},
		[2]string{"documents", plain.Number(int64(r.Documents))},
		[2]string{"objects", plain.Number(int64(r.Objects))},
		[2]string{"size", fmt.Sprintf("%s (%d bytes)", plain.Size(r.Bytes), r.Bytes)},
		[2]string{"packed", fmt.Sprintf("%s, %s", count(r.PackedObjects, "object"), plain.Size(r.PackedBytes))},
	)
	out = append(out, archiveRows(r)...)
	proven := proofWord(r)
	if r.Damage == "" && r.Proof != "" {
		proven = fmt.Sprintf("%s, %s", r.Proof, moment(r.Proven))
	}
	return append(out,
		[2]string{"manifest", fmt.Sprintf("%s, SHA-256 %s, signed by %s", countOf(r.Manifest.Entries, "entry", "entries"), r.Manifest.SHA256, r.Manifest.Signer)},
		[2]string{"proven", proven},
		[2]string{"restorable", drilledWord(r)},
		[2]string{"locked until", moment(r.LockedUntil)},
		[2]string{"damage", r.Damage},
		[2]string{"secrets", yes[r.Secrets]},
		[2]string{"told", told(r.Notified)},
	)
}

// drilledWord says when a backup was last restored and compared.
func drilledWord(r catalog.Record) string {
	if r.Drilled.IsZero() {
		return ""
	}
	return "restored into a throw-away target and compared, " + moment(r.Drilled)
}

// archiveRows lists every file of the archive.
func archiveRows(r catalog.Record) [][2]string {
	files := r.Archive.Files()
	if len(files) == 0 {
		line, _ := strings.CutPrefix(archiveLines(r)[0], "no archive: ")
		return [][2]string{{"archive", "none: " + line}}
	}
	var rows [][2]string
	if len(files) > 1 {
		rows = append(rows, [2]string{"archive", fmt.Sprintf("%s, %d bytes", count(len(files), "volume"), r.Archive.Bytes)})
	}
	for i, f := range files {
		label := "archive"
		if len(files) > 1 {
			label = fmt.Sprintf("volume %d", i+1)
		}
		rows = append(rows, [2]string{label, fmt.Sprintf("%s, %d bytes, CRC-32 %s", f.Key, f.Bytes, f.CRC32)})
	}
	return rows
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
