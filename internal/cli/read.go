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
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/manifest"
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

// noURL refuses an address where a backup or a file is taken. It doesn't repeat it: it may hold a secret.
func noURL(command, arg string) error {
	if !strings.Contains(arg, "://") {
		return nil
	}
	return failure.New(failure.Usage, "`%s` takes a backup or a file: only `restore` takes a URL", command).
		WithHint("download the archive first and name the file; or let `lifeboat restore URL --to dir:PATH --dry-run` fetch and check it")
}

// ring returns the keys that a file's signature may be trusted by: those of the configuration's key ring, if there is
// one. An archive is read without any configuration too.
func (c *cli) ring() []keyring.Key {
	cfg, err := config.Load(c.configFile)
	if err != nil {
		return nil
	}
	return keyring.Ring{Folder: filepath.Join(cfg.StateDir, "keys")}.Keys()
}

// fileKeys returns the public halves of the ring.
func (c *cli) fileKeys() []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, key := range c.ring() {
		keys = append(keys, key.Public())
	}
	return keys
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
	r, err := c.named(ctx, s, arg)
	if err == nil {
		err = notGood(r)
	}
	if err != nil {
		return nil, r, errors.Join(err, s.close())
	}
	return s, r, nil
}

// named returns the record that a text names, and says where "latest" is not the newest backup, and why.
func (c *cli) named(ctx context.Context, s *session, text string) (catalog.Record, error) {
	found, err := c.foundBy(ctx, s, text)
	return found.Record, err
}

// foundBy is named, with what "latest" passed over.
func (c *cli) foundBy(ctx context.Context, s *session, text string) (catalog.Found, error) {
	found, err := s.catalog.Find(ctx, text)
	if failure.KindOf(err) == failure.Corrupt && failure.HintOf(err) == "" {
		return found, failure.New(failure.Corrupt, "the record of backup %s cannot be read: %w", text, err).WithHint("`lifeboat doctor` says what to do about it")
	}
	if err != nil {
		return found, s.noBackup(err)
	}
	c.sayPassed(found, text)
	return found, nil
}

// sayPassed warns where "latest" is not the newest backup, and says why.
func (c *cli) sayPassed(found catalog.Found, text string) {
	if n := len(found.Unreadable); n > 0 {
		more := map[bool]string{true: fmt.Sprintf(", and %s more", plain.Number(int64(n-1)))}[n > 1]
		c.warn("the record of backup %s%s cannot be read, and it may be the latest; taking %s: %v", found.Unreadable[0].ID, more, found.ID, found.Unreadable[0].Err)
	}
	if len(found.Passed) > 0 {
		newest, why := found.Passed[0], "suspicious: `lifeboat accept` says that what it found is right"
		if newest.Damage != "" {
			why = "damaged: " + newest.Damage
		}
		c.warn("the newest backup %s is %s; taking %s", newest.ID, why, found.ID)
	} else if found.Damage != "" && strings.HasSuffix(text, catalog.Latest) {
		c.warn("backup %s is damaged: %s; there is no other", found.ID, found.Damage)
	}
}

// noBackup says of a text that names no backup what to type instead, as far as the names of the sources tell.
func (s *session) noBackup(err error) error {
	none, ok := errors.AsType[catalog.NoBackup](err)
	if !ok {
		return err
	}
	var sources []string
	for _, source := range s.config.Sources {
		sources = append(sources, string(source.Name))
	}
	name, rest, colon := strings.Cut(none.Text, ":")
	known, meant := slices.Contains(sources, name), config.Closest(name, sources)
	with := func(format string, args ...any) error {
		return failure.New(failure.NotFound, "%w", err).WithHint(format, args...)
	}
	switch {
	case known && !colon:
		return with("%s is a source: write %s:%s", name, name, catalog.Latest)
	case known && rest == catalog.Latest:
		return with("`lifeboat backup %s` makes one", name)
	case known:
		return with("`lifeboat list %s` shows its backups", name)
	case meant != "" && colon:
		return with("did you mean %q?", meant+":"+rest)
	case meant != "":
		return with("did you mean %q?", meant+":"+catalog.Latest)
	}
	return err
}

// latestRule says in the help of commands what they take for a backup.
const latestRule = `BACKUP is an id, the beginning of one, "latest", or SOURCE:latest. The latest is the newest complete or
partial backup of all objects that is neither damaged nor suspicious; where a newer one is passed over,
or its record cannot be read, a warning names it.`

func (c *cli) filesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "files BACKUP|FILE.zip",
		Short: "List what a backup holds, without reading its data",
		Args:  args(1, 1, "one backup or archive"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := noURL("files", given[0]); err != nil {
				return err
			}
			image, _, closeImage, err := c.image(cmd.Context(), given[0])
			if err != nil && looksLikeFile(given[0]) {
				return c.listForeign(cmd.Context(), given[0], err)
			}
			if err != nil {
				return err
			}
			defer closeImage()
			for e, err := range verify.Entries(cmd.Context(), image) {
				if err != nil {
					return err
				}
				c.listed(e)
			}
			return nil
		},
	}
}

// listed shows one entry of a backup.
func (c *cli) listed(e manifest.Entry) {
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
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return failure.New(failure.Conflict, "%s is a folder", name).WithHint("name the file to write: %s", filepath.Join(name, "NAME"))
	}
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
	if path, ok := errors.AsType[*fs.PathError](err); ok {
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
		Use:   "download BACKUP",
		Short: "Write the archive of a backup to a file and check it",
		Long: `Write the archive of a backup to a file and check its size and CRC-32.

A split archive becomes a file for each volume: with -o photos.zip, photos.v001.zip and so on. Volumes
that are there already with the right bytes are left alone: run the same command again after an
interruption.

` + latestRule,
		Example: "  lifeboat download latest -o photos.zip",
		Args:    args(1, 1, "one backup"),
		RunE:    func(cmd *cobra.Command, given []string) error { return c.download(cmd.Context(), given[0], output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write, - for standard output; default: SOURCE-BACKUP.zip")
	return cmd
}

func (c *cli) download(ctx context.Context, arg, output string) error {
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return err
	}
	defer s.close()
	if err := noArchive(record); err != nil {
		return err
	}
	files := record.Archive.Files()
	if output == "-" {
		if len(files) > 1 {
			return failure.New(failure.Usage, "the archive of %s has %d volumes: they cannot go to standard output one behind the other", record.ID, len(files)).
				WithHint("lifeboat download %s -o %s.zip", record.ID, record.Source)
		}
		return c.fetch(ctx, s, record, files[0], c.out)
	}
	if output == "" {
		output = fmt.Sprintf("%s-%s.zip", record.Source, record.ID)
	}
	if len(files) > 1 {
		return c.downloadVolumes(ctx, s, record, output)
	}
	if err := newFile(output, func(w io.Writer) error { return c.fetch(ctx, s, record, files[0], w) }); err != nil {
		return err
	}
	c.downloaded(record, output, files[0], 0)
	return nil
}

// downloadVolumes writes the volumes of a split archive beside one another. A file of theirs that has other bytes is
// found before the first is written.
func (c *cli) downloadVolumes(ctx context.Context, s *session, record catalog.Record, output string) error {
	stem := output
	if end := len(output) - len(".zip"); end > 0 && strings.EqualFold(output[end:], ".zip") {
		stem = output[:end]
	}
	files := record.Archive.Files()
	names, there := make([]string, len(files)), make([]bool, len(files))
	for i, f := range files {
		names[i] = fmt.Sprintf("%s.v%03d.zip", stem, i+1)
		var err error
		if there[i], err = isVolume(ctx, names[i], f); err != nil {
			return err
		}
	}
	for i, f := range files {
		if !there[i] {
			if err := newFile(names[i], func(w io.Writer) error { return c.fetch(ctx, s, record, f, w) }); err != nil {
				return err
			}
		}
		c.downloaded(record, names[i], f, i+1)
	}
	c.say("%s: all %s; each is a ZIP of its own, and `lifeboat restore %s` takes all of them", record.ID, count(len(files), "volume"), names[0])
	return nil
}

// isVolume reports whether a file is there and has the bytes of a volume; Conflict where it has others.
func isVolume(ctx context.Context, name string, f catalog.Volume) (bool, error) {
	other := failure.New(failure.Conflict, "%s exists already, with other bytes", name).WithHint("name another file, or remove it first")
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return false, nil
	case err != nil:
		return false, unwritable(name, err)
	case !info.Mode().IsRegular() || info.Size() != f.Bytes:
		return false, other
	}
	file, err := os.Open(name)
	if err != nil {
		return false, other
	}
	defer file.Close()
	sum := crc32.NewIEEE()
	stop := context.AfterFunc(ctx, func() { file.Close() })
	defer stop()
	if _, err := io.Copy(sum, file); err != nil {
		return false, errors.Join(ctx.Err(), other)
	}
	if fmt.Sprintf("%08x", sum.Sum32()) != f.CRC32 {
		return false, other
	}
	return true, nil
}

// downloaded says that a file was written; volume is its number in a split archive, or 0.
func (c *cli) downloaded(record catalog.Record, name string, f catalog.Volume, volume int) {
	c.message(struct {
		Type   string `json:"message_type"`
		ID     string `json:"id"`
		File   string `json:"file"`
		Bytes  int64  `json:"bytes"`
		CRC32  string `json:"crc32"`
		Volume int    `json:"volume,omitzero"`
	}{"download", string(record.ID), name, f.Bytes, f.CRC32, volume})
	c.say("%s: %s, CRC-32 %s as recorded", name, plain.Size(f.Bytes), f.CRC32)
}

// fetch copies a file of the archive to w and checks size and CRC-32 on the way.
func (c *cli) fetch(ctx context.Context, s *session, record catalog.Record, f catalog.Volume, w io.Writer) error {
	body, _, err := s.vault.Open(ctx, vault.Key(f.Key), 0, f.Bytes)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return failure.New(failure.NotFound, "%s is not in the vault any more", f.Key).WithHint("`lifeboat archive %s` makes it again", record.ID)
	}
	damaged := fmt.Sprintf("`lifeboat archive %s` makes it again; `lifeboat verify %s` says which entries are damaged", record.ID, record.ID)
	if err != nil && failure.KindOf(err) == failure.Corrupt {
		return failure.New(failure.Corrupt, "download the archive of %s: %w", record.ID, err).WithHint("%s", damaged)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	reporter := c.reporter()
	if c.json && w == c.out {
		reporter = nil // the archive goes where its lines would go
	}
	reporter.Phase("download", 0, f.Bytes)
	defer reporter.Done()
	sum := crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(w, sum, tick(reporter.Add)), body)
	if err != nil && failure.KindOf(err) == failure.Corrupt {
		return failure.New(failure.Corrupt, "download the archive of %s: %w", record.ID, err).WithHint("%s", damaged)
	}
	if err != nil {
		return fmt.Errorf("download the archive of %s: %w", record.ID, err)
	}
	if got := fmt.Sprintf("%08x", sum.Sum32()); n != f.Bytes || got != f.CRC32 {
		return failure.New(failure.Corrupt, "%s has %d bytes with CRC-32 %s, the record says %d with %s", f.Key, n, got, f.Bytes, f.CRC32).
			WithHint("%s", damaged)
	}
	return nil
}

type tick func(items, bytes int64)

func (t tick) Write(p []byte) (int, error) {
	t(0, int64(len(p)))
	return len(p), nil
}
