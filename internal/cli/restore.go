package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

func (c *cli) restoreCommand() *cobra.Command {
	var to string
	var into bool
	cmd := &cobra.Command{
		Use:   "restore BACKUP|FILE.zip --to dir:PATH",
		Short: "Check a backup, then write its files below a folder",
		Long: `Check every byte of a backup or an archive, then write its files below a folder.

Nothing is written before everything was checked. A folder that is not empty is refused unless
--into-existing is given; even then no file that is there is overwritten.`,
		Example: "  lifeboat restore latest --to dir:./restored\n  lifeboat restore photos.zip --to dir:/srv/restored",
		Args:    args(1, 1, "one backup or archive"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if to == "" {
				return failure.New(failure.Usage, "where to? --to is missing").WithHint("lifeboat restore %s --to dir:PATH", given[0])
			}
			folder, ok := strings.CutPrefix(to, "dir:")
			if !ok || folder == "" {
				return failure.New(failure.Usage, "--to %s: restores go to a folder, dir:PATH; applications are not served yet", to).
					WithHint("the archive's lifeboat/README.txt says how to bring the application back by hand")
			}
			return c.restore(cmd.Context(), given[0], folder, into)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "where to: dir:PATH")
	cmd.Flags().BoolVar(&into, "into-existing", false, "write into a folder that is not empty; nothing that is there is overwritten")
	return cmd
}

func (c *cli) restore(ctx context.Context, arg, name string, into bool) error {
	if looksLikeFile(arg) {
		if b, done, err := foreign(ctx, arg); err != nil {
			return err
		} else if b != nil {
			defer done()
			return c.restoreForeign(ctx, arg, b, name, into)
		}
	}
	image, trusted, closeImage, err := c.image(ctx, arg)
	if err != nil {
		return err
	}
	defer closeImage()
	if err := refuse(name, into); err != nil { // said at once, not after an hour of checking
		return err
	}
	var entries, bytes int64
	for e, err := range verify.Entries(ctx, image) {
		if err != nil {
			return err
		}
		entries, bytes = entries+1, bytes+e.Size
	}
	report, err := c.whole(ctx, image, trusted, entries, bytes)
	if err != nil {
		return err
	}
	if !report.OK && !looksLikeFile(arg) {
		whole, done, err := c.archiveInstead(ctx, arg, entries, bytes)
		if err != nil {
			return err
		}
		defer done()
		if whole != nil {
			image, report.OK = whole, true
		}
	}
	if !report.OK {
		return c.verdict(arg, report)
	}
	folder, err := restore.OpenFolder(name, into)
	if err != nil {
		return inaccessible(name, err)
	}
	defer folder.Close()
	reporter := c.reporter()
	reporter.Phase("restore", entries, bytes)
	result, err := folder.Restore(ctx, image, reporter.Add)
	reporter.Done()
	if err != nil {
		return err
	}
	return c.restored(name, report, result)
}

// refuse says early what would be said late: that a folder is not empty.
func refuse(name string, into bool) error {
	entries, err := os.ReadDir(name)
	if err != nil || len(entries) == 0 || into {
		return nil
	}
	folder, err := restore.OpenFolder(name, into)
	if err == nil { // it is empty by now
		return folder.Close()
	}
	return err
}

// inaccessible gives the error of a folder that is to be written its kind.
func inaccessible(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.New(failure.Denied, "the folder %s may not be written", name).WithHint("name a folder that you may write to")
	case errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.Conflict, "%s is not a folder", name).WithHint("name a folder that is empty or does not exist yet")
	case errors.Is(err, fs.ErrNotExist):
		return failure.New(failure.NotFound, "the folder %s cannot be created", name).WithHint("check the path")
	}
	return err
}

func (c *cli) restored(name string, report verify.Report, r restore.Result) error {
	c.message(struct {
		Type      string    `json:"message_type"`
		Backup    string    `json:"backup"`
		Folder    string    `json:"folder"`
		Signature string    `json:"signature"`
		Written   int       `json:"written"`
		Existing  int       `json:"existing"`
		Bytes     int64     `json:"bytes"`
		Problems  []finding `json:"problems"`
	}{"restore", string(report.Header.Backup), name, string(report.Signature), r.Written, r.Existing, r.Bytes, findings(r.Problems)})
	for i, f := range r.Problems {
		if i == 10 {
			c.say("  … and %d more: --json lists them", len(r.Problems)-i)
			break
		}
		c.say("  problem: %s", findingLine(f))
	}
	c.say("%s: %s files written, %s; %s", name, plain.Number(int64(r.Written)), plain.Size(r.Bytes), signatureWords(report))
	if r.Existing > 0 {
		c.say("  %s were there already with the same bytes", plain.Number(int64(r.Existing)))
	}
	if len(r.Problems) > 0 {
		return partial{fmt.Sprintf("%d of %d files could not be written", len(r.Problems), report.Entries)}
	}
	return nil
}

// archiveInstead opens the archive of a backup whose packs are damaged, if every byte of it is right: it was joined
// while they were whole. It returns nil where there is none.
func (c *cli) archiveInstead(ctx context.Context, arg string, entries, bytes int64) (verify.Image, func(), error) {
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return nil, nil, err
	}
	done := func() { s.close() }
	image, err := verify.OpenArchive(ctx, s.vault, record.Source, record.ID)
	if err != nil {
		return nil, done, nil // the verdict on the packs says enough
	}
	report, err := c.whole(ctx, image, s.trusted(), entries, bytes)
	if err != nil || !report.OK || report.Header.Backup != record.ID {
		return nil, done, err
	}
	c.warn("packs of this backup are damaged; its archive in the vault is whole and is restored instead")
	return image, done, nil
}
