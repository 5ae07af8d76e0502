package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/retention"
)

func (c *cli) deleteCommand() *cobra.Command {
	var yes, now bool
	cmd := &cobra.Command{
		Use:   "delete BACKUP",
		Short: "Delete a backup: its record is marked first, its bytes go after",
		Long: `Delete a backup, its archive and its links. The packs that no other backup of the source needs are
condemned: they go with the first prune or backup that is at least a day later. With --now they go at
once, for who must erase; don't use it while a restore or a download of the source is under way.
A delete that was interrupted is finished by the same command.

"latest" is refused where a newer backup is damaged, suspicious, or has a record that cannot be read: name
the whole id then. Where nobody sits at a terminal it does not ask; the backup must be named by its whole id then, or
with --yes.`,
		Args: args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error { return c.delete(cmd, given[0], yes, now) },
	}
	cmd.Flags().BoolVar(&now, "now", false, "don't wait a day before its packs go")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return cmd
}

func (c *cli) delete(cmd *cobra.Command, arg string, yes, now bool) error {
	s, err := c.open(cmd.Context())
	if err != nil {
		return err
	}
	defer s.close()
	found, err := s.catalog.Find(cmd.Context(), arg)
	record := found.Record
	if failure.KindOf(err) == failure.Corrupt && err != nil && record.ID != "" { // its whole id was typed: it can go unread
		c.warn("%v", err)
		err = nil
	}
	if err != nil {
		return s.noBackup(err)
	}
	if err := surely(found, arg); err != nil {
		return err
	}
	if !yes && !c.asks() && given(arg) {
		return failure.New(failure.Usage, "nobody sits here to be asked whether %s is meant by %q", record.ID, arg).
			WithHint("name the whole id, or add --yes")
	}
	question := fmt.Sprintf("delete backup %s of %s (%s, %s)?", record.ID, record.Source, record.Status, plain.Size(record.Bytes))
	if !yes && !c.confirm(question) {
		return failure.New(failure.Canceled, "nothing was deleted")
	}
	r, err := c.runner(s, record.Source)
	if err != nil {
		return err
	}
	freed, err := retention.Delete(cmd.Context(), s.vault, record, retention.Options{
		Holder: holder(), Stale: stale, Links: s.notifier().Links(), Now: now,
	})
	if err != nil {
		return err
	}
	if err := r.forget(record.ID); err != nil {
		return err
	}
	c.deleted(record.ID, freed)
	return nil
}

// surely refuses a deletion of "latest" where that may be another backup than the one that was found: what it passes over
// is the newest, and the one it falls back on may be the last that can be restored.
func surely(found catalog.Found, arg string) error {
	over := found.Over()
	if len(over) == 0 {
		return nil
	}
	return failure.New(failure.Corrupt, "%q may be another backup than %s, the one to fall back on: %s is passed over, since %s", arg, found.ID, over[0].Backup, over[0].Why).
		WithHint("name the whole id: `lifeboat delete %s` or `lifeboat delete %s`; nothing was deleted", over[0].Backup, found.ID)
}

// deleted says what a deletion has freed, and what goes later.
func (c *cli) deleted(id backup.ID, freed retention.Freed) {
	kept := ""
	if freed.Kept != nil {
		kept = freed.Kept.Error()
	}
	c.message(struct {
		Type           string    `json:"message_type"`
		ID             string    `json:"id"`
		Packs          int       `json:"packs"`
		Bytes          int64     `json:"bytes"`
		Condemned      int       `json:"condemned"`
		CondemnedBytes int64     `json:"condemned_bytes"`
		Due            time.Time `json:"due,omitzero"`
		Locked         int       `json:"locked,omitzero"` // packs that Object Lock keeps
		LockedUntil    time.Time `json:"locked_until,omitzero"`
		Kept           string    `json:"kept,omitempty"` // why no pack was looked at
	}{"delete", string(id), freed.Packs, freed.Bytes, freed.Condemned, freed.CondemnedBytes, freed.Due, freed.Locked, freed.LockedUntil, kept})
	c.say("deleted %s: %s freed", id, plain.Size(freed.Bytes))
	if freed.Condemned > 0 {
		c.say("%d %s of the source, %s, that no backup needs: the first prune or backup after %s frees that", freed.Condemned, plural(freed.Condemned, "pack"),
			plain.Size(freed.CondemnedBytes), moment(freed.Due))
	}
	if locks := freed.Locks(); locks != "" {
		c.say("%s", locks)
	}
	if freed.Kept != nil {
		c.warn("no pack of the source can be freed yet: %v", freed.Kept)
	}
}

// confirm asks a person; where nobody sits at a terminal the command itself is the answer.
func (c *cli) confirm(question string) bool {
	if !c.asks() {
		return true
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(c.in).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// asks reports whether somebody sits at a terminal.
func (c *cli) asks() bool {
	in, ok := c.in.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// given reports whether a backup was named by something that moves on, such as latest, and not by its whole id.
func given(arg string) bool {
	_, err := backup.ParseID(arg)
	return err != nil
}
