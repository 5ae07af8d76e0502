package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/retention"
)

func (c *cli) deleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete BACKUP",
		Short: "Delete a backup: its record is marked first, its bytes go after",
		Long: `Delete a backup, its archive, its links, and the packs that no other backup of the source needs.
A delete that was interrupted is finished by the same command.

Where nobody sits at a terminal it does not ask; the backup must be named by its whole id then, or
with --yes.`,
		Args: args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error { return c.delete(cmd, given[0], yes) },
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return cmd
}

func (c *cli) delete(cmd *cobra.Command, arg string, yes bool) error {
	s, err := c.open(cmd.Context())
	if err != nil {
		return err
	}
	defer s.close()
	record, err := s.catalog.Find(cmd.Context(), arg)
	if err != nil {
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
	freed, err := retention.Delete(cmd.Context(), s.vault, record, retention.Options{Holder: holder(), Stale: r.stale, Links: s.notifier().Links()})
	if err != nil {
		return err
	}
	if err := r.forget(record.ID); err != nil {
		return err
	}
	c.message(struct {
		Type  string `json:"message_type"`
		ID    string `json:"id"`
		Packs int    `json:"packs"`
		Bytes int64  `json:"bytes"`
	}{"delete", string(record.ID), freed.Packs, freed.Bytes})
	c.say("deleted %s: %s freed", record.ID, plain.Size(freed.Bytes))
	return nil
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
