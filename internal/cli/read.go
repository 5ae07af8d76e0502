package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// looksLikeFile reports whether an argument names an archive file rather than a backup.
func looksLikeFile(arg string) bool {
	if strings.HasSuffix(strings.ToLower(arg), ".zip") || strings.ContainsRune(arg, filepath.Separator) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

// fileKeys returns the keys that a file's signature may be trusted by: those of the configuration's key ring, if
// there is one. An archive is read without any configuration too.
func (c *cli) fileKeys() []ed25519.PublicKey {
	cfg, err := config.Load(c.configFile)
	if err != nil {
		return nil
	}
	return keyring.Ring{Folder: filepath.Join(cfg.StateDir, "keys")}.All()
}

// image opens what BACKUP|FILE names, for reading entries. close is to be called at the end.
func (c *cli) image(ctx context.Context, arg string) (image verify.Image, trusted []ed25519.PublicKey, closeImage func(), err error) {
	if looksLikeFile(arg) {
		image, file, err := verify.OpenFile(ctx, arg)
		if err != nil {
			return nil, nil, nil, err
		}
		return image, c.fileKeys(), func() { file.Close() }, nil
	}
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return nil, nil, nil, err
	}
	image, err = verify.OpenPacks(ctx, s.vault, record.Source, record.ID)
	if err != nil {
		return nil, nil, nil, errors.Join(err, s.close())
	}
	return image, s.trusted(), func() { s.close() }, nil
}

// find opens the vault and the record of a backup that has an archive.
func (c *cli) find(ctx context.Context, arg string) (*session, catalog.Record, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, catalog.Record{}, err
	}
	r, err := s.catalog.Find(ctx, arg)
	if err == nil {
		err = notGood(r)
	}
	if err != nil {
		return nil, r, errors.Join(err, s.close())
	}
	return s, r, nil
}

func (c *cli) filesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "files BACKUP|FILE.zip",
		Short: "List what a backup holds, without reading its data",
		Args:  args(1, 1, "one backup or archive"),
		RunE: func(cmd *cobra.Command, given []string) error {
			image, _, closeImage, err := c.image(cmd.Context(), given[0])
			if err != nil {
				return err
			}
			defer closeImage()
			for e, err := range verify.Entries(cmd.Context(), image) {
				if err != nil {
					return err
				}
				c.message(struct {
					Type   string `json:"message_type"`
					Path   string `json:"path"`
					Size   int64  `json:"size"`
					CRC32  string `json:"crc32"`
					SHA256 string `json:"sha256"`
					Time   string `json:"modified"`
					Kind   string `json:"type,omitempty"`
				}{"entry", e.Path, e.Size, e.CRC32.String(), e.SHA256, e.Modified.Format("2006-01-02T15:04:05Z07:00"), e.Type})
				c.say("%12d  %s  %s", e.Size, e.Modified.Local().Format("2006-01-02 15:04"), plain.Text(e.Path))
			}
			return nil
		},
	}
}

func (c *cli) getCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "get BACKUP PATH",
		Short:   "Write one file of a backup, by one ranged read",
		Example: "  lifeboat get latest uploads/photo.jpg -o photo.jpg\n  lifeboat get latest export.json | jq .versions",
		Args:    args(2, 2, "a backup and a path in it"),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, record, err := c.find(cmd.Context(), given[0])
			if err != nil {
				return err
			}
			defer s.close()
			if output == "" || output == "-" {
				_, err := verify.Get(cmd.Context(), s.vault, record, given[1], c.out)
				return err
			}
			return newFile(output, func(w io.Writer) error {
				_, err := verify.Get(cmd.Context(), s.vault, record, given[1], w)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; default: standard output")
	return cmd
}

// newFile writes a file that appears as a whole or not at all, and never replaces one.
func newFile(name string, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil {
		return failure.New(failure.Conflict, "%s exists already", name).WithHint("name another file, or remove it first")
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".lifeboat-*")
	if err != nil {
		return unwritable(name, err)
	}
	defer os.Remove(temp.Name())
	if err := write(temp); err != nil {
		temp.Close()
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return unwritable(name, err)
		}
		return err
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return unwritable(name, err)
	}
	if err := os.Link(temp.Name(), name); err != nil { // unlike a rename it refuses what is there
		if os.IsExist(err) {
			return failure.New(failure.Conflict, "%s exists already", name).WithHint("name another file, or remove it first")
		}
		return os.Rename(temp.Name(), name) // a file system without hard links
	}
	return nil
}

// unwritable says why a file cannot be written, without the name of its temporary self.
func unwritable(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.NotFound, "%s cannot be written: there is no folder %s", name, filepath.Dir(name)).
			WithHint("create the folder, or name another file")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.New(failure.Denied, "%s cannot be written: %w", name, err).WithHint("name a file in a folder that you may write to")
	case failure.KindOf(err) == failure.Exhausted:
		return failure.New(failure.Exhausted, "%s cannot be written: %w", name, err).WithHint("free some space, or name a file on another disk")
	}
	return fmt.Errorf("write %s: %w", name, err)
}

func (c *cli) downloadCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "download BACKUP",
		Short:   "Write the archive of a backup to a file and check it",
		Example: "  lifeboat download latest -o photos.zip",
		Args:    args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, record, err := c.find(cmd.Context(), given[0])
			if err != nil {
				return err
			}
			defer s.close()
			if output == "-" {
				return c.fetch(cmd.Context(), s, record, c.out)
			}
			if output == "" {
				output = fmt.Sprintf("%s-%s.zip", record.Source, record.ID)
			}
			if err := newFile(output, func(w io.Writer) error { return c.fetch(cmd.Context(), s, record, w) }); err != nil {
				return err
			}
			c.message(struct {
				Type  string `json:"message_type"`
				ID    string `json:"id"`
				File  string `json:"file"`
				Bytes int64  `json:"bytes"`
				CRC32 string `json:"crc32"`
			}{"download", string(record.ID), output, record.Archive.Bytes, record.Archive.CRC32})
			c.say("%s: %s, CRC-32 %s as recorded", output, plain.Size(record.Archive.Bytes), record.Archive.CRC32)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write, - for standard output; default: SOURCE-BACKUP.zip")
	return cmd
}

// fetch copies the archive to w and checks size and CRC-32 on the way.
func (c *cli) fetch(ctx context.Context, s *session, record catalog.Record, w io.Writer) error {
	body, _, err := s.vault.Open(ctx, vault.Key(record.Archive.Key), 0, record.Archive.Bytes)
	if err != nil {
		return err
	}
	defer body.Close()
	reporter := c.reporter()
	if c.json && w == c.out {
		reporter = nil // the archive goes where its lines would go
	}
	reporter.Phase("download", 0, record.Archive.Bytes)
	defer reporter.Done()
	sum := crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(w, sum, tick(reporter.Add)), body)
	if err != nil {
		return fmt.Errorf("download the archive of %s: %w", record.ID, err)
	}
	if got := fmt.Sprintf("%08x", sum.Sum32()); n != record.Archive.Bytes || got != record.Archive.CRC32 {
		return failure.New(failure.Corrupt, "the archive of %s has %d bytes with CRC-32 %s, its record says %d with %s", record.ID, n, got, record.Archive.Bytes, record.Archive.CRC32).
			WithHint("`lifeboat verify %s` says which entries are damaged", record.ID)
	}
	return nil
}

type tick func(items, bytes int64)

func (t tick) Write(p []byte) (int, error) {
	t(0, int64(len(p)))
	return len(p), nil
}
