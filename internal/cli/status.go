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

func (c *cli) statusCommand() *cobra.Command {
	var overdue time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show per source what runs, what is overdue, what was last good, last proven and last drilled",
		Long: `Show, for every source of the configuration, the run that works on it, the last good backup, the last one
of which every byte was read again, and the last one that a drill has restored and compared. A source
without a good backup for longer than --overdue is called overdue. The command ends with 3 where a source is overdue or suspicious, or where
"verify" or a restore has found a backup of it damaged, or the record of one cannot be read: one of any age and scope, until it
verifies or is deleted.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd.Context(), overdue) },
	}
	cmd.Flags().DurationVar(&overdue, "overdue", 26*time.Hour, "how old the last good backup may be")
	return cmd
}

// sourceStatus is what is known of one source.
type sourceStatus struct {
	Type       string        `json:"message_type"`
	Source     backup.Source `json:"source"`
	Running    backup.ID     `json:"running,omitempty"`
	LastGood   backup.ID     `json:"last_good,omitempty"`
	GoodAt     time.Time     `json:"last_good_at,omitzero"`
	LastProven backup.ID     `json:"last_proven,omitempty"`
	ProvenAt   time.Time     `json:"last_proven_at,omitzero"`
	// LastDrilled is the backup that was last proven restorable, by a drill.
	LastDrilled backup.ID     `json:"last_drilled,omitempty"`
	DrilledAt   time.Time     `json:"last_drilled_at,omitzero"`
	LastStatus  backup.Status `json:"last_status,omitempty"`
	// Interrupted says that the last run is in progress by its record, and that nobody works on it.
	Interrupted bool        `json:"interrupted,omitempty"`
	Suspicious  bool        `json:"suspicious"`
	Accept      backup.ID   `json:"accept,omitempty"` // the suspicious backup that waits for a word
	Overdue     bool        `json:"overdue"`
	Damaged     []backup.ID `json:"damaged,omitempty"` // backups that a verification found damaged, oldest first
	// Unreadable are backups whose records cannot be read: any of them may be the last one.
	Unreadable []backup.ID `json:"unreadable,omitempty"`

	lastStarted time.Time
}

func (c *cli) status(ctx context.Context, overdue time.Duration) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if !c.json {
		fmt.Fprintln(table, "SOURCE\tRUNNING\tLAST RUN\tLAST GOOD\tLAST PROVEN\tLAST DRILLED\t")
	}
	late := 0
	var reasons []string
	for _, source := range s.config.Sources {
		st, err := s.status(ctx, source.Name, time.Now(), overdue)
		if err != nil {
			return err
		}
		why := st.reasons(overdue)
		if len(why) > 0 {
			late++
		}
		for _, reason := range why {
			if !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
		c.message(st)
		if !c.json {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", st.Source, dash(string(st.Running)), dash(st.lastWord()),
				ago(st.GoodAt), ago(st.ProvenAt), ago(st.DrilledAt), warningWords(st))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if late > 0 {
		return partial{fmt.Sprintf("%d of %d sources need a look: %s", late, len(s.config.Sources), strings.Join(reasons, ", "))}
	}
	return nil
}

// lastWord says how the last run ended, or that it has not.
func (st *sourceStatus) lastWord() string {
	if st.Interrupted {
		return wordInterrupted
	}
	return string(st.LastStatus)
}

// reasons says why somebody should look at the source.
func (st *sourceStatus) reasons(overdue time.Duration) []string {
	var why []string
	if st.Overdue {
		why = append(why, fmt.Sprintf("overdue (no good backup within %s)", plain.Duration(overdue)))
	}
	if st.Suspicious {
		why = append(why, "suspicious")
	}
	if len(st.Damaged) > 0 {
		why = append(why, "damaged")
	}
	if len(st.Unreadable) > 0 {
		why = append(why, "a record that cannot be read")
	}
	return why
}

func warningWords(st sourceStatus) string {
	var words []string
	if st.Overdue {
		words = append(words, "OVERDUE")
	}
	words = append(words, newest("DAMAGED", st.Damaged)...)
	words = append(words, newest("RECORD UNREADABLE", st.Unreadable)...)
	if st.Suspicious {
		words = append(words, fmt.Sprintf("suspicious: lifeboat accept %s", st.Accept))
	}
	return strings.Join(words, ", ")
}

// newest names the last of some backups, and says how many there are.
func newest(word string, ids []backup.ID) []string {
	switch n := len(ids); n {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("%s: %s", word, ids[0])}
	default:
		return []string{fmt.Sprintf("%s: %s and %d more", word, ids[n-1], n-1)}
	}
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return plain.Duration(time.Since(t)) + " ago"
}

func (s *session) status(ctx context.Context, source backup.Source, now time.Time, overdue time.Duration) (sourceStatus, error) {
	st := sourceStatus{Type: "status", Source: source}
	for r, err := range s.catalog.All(ctx, source) {
		switch {
		case err == nil:
			st.add(r)
		case failure.KindOf(err) == failure.Corrupt && catalog.Stray(r.ID): // `doctor` names it
		case failure.KindOf(err) == failure.Corrupt:
			st.Unreadable = append(st.Unreadable, r.ID)
		default:
			return st, err
		}
	}
	lease, held, err := s.catalog.Holder(ctx, source)
	if held && now.Before(lease.Expires) && !stale(lease) {
		st.Running = lease.Run
	}
	st.Interrupted = st.LastStatus == backup.InProgress && st.Running == ""
	st.Overdue = now.Sub(st.GoodAt) > overdue
	return st, err
}

func (st *sourceStatus) add(r catalog.Record) {
	if r.Started.After(st.lastStarted) && r.Scope.AllObjects() {
		st.lastStarted, st.LastStatus = r.Started, r.Status
		if st.Suspicious, st.Accept = r.Suspicious(), ""; st.Suspicious {
			st.Accept = r.ID
		}
	}
	if r.Status.Good() && r.Damage != "" {
		st.Damaged = append(st.Damaged, r.ID)
	}
	if !r.Status.Good() || !r.Scope.AllObjects() || r.Damage != "" || r.Suspicious() { // nobody should count on it
		return
	}
	if r.Finished.After(st.GoodAt) {
		st.LastGood, st.GoodAt = r.ID, r.Finished
	}
	if r.Proof.Better(backup.Stored) && r.Proven.After(st.ProvenAt) {
		st.LastProven, st.ProvenAt = r.ID, r.Proven
	}
	if r.Drilled.After(st.DrilledAt) {
		st.LastDrilled, st.DrilledAt = r.ID, r.Drilled
	}
}

func (c *cli) acceptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept BACKUP",
		Short: "Say that what made a backup suspicious is right",
		Long: `A run that finds nothing, or much less than the run before it, is suspicious: later runs go on being
compared with what was there before, until somebody accepts the new state.`,
		Args: args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, r, err := c.find(cmd.Context(), given[0])
			if err != nil {
				return err
			}
			defer s.close()
			if !r.Suspicious() {
				return failure.New(failure.Conflict, "backup %s is not suspicious", r.ID).WithHint("there is nothing to accept; `lifeboat status` shows what is")
			}
			_, err = s.catalog.Update(cmd.Context(), r.Source, r.ID, func(r *catalog.Record) error {
				r.Accepted = true
				return nil
			})
			if err == nil {
				c.say("accepted %s: later runs are compared with it", r.ID)
			}
			return err
		},
	}
}
