package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

func (c *cli) archiveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "archive BACKUP",
		Short: "Make the archive of a backup that has none",
		Long: `Make the archive of a backup where there is none: because the source says "archive: on-demand", or
because the archive has expired. The packs of the backup are joined; nothing of the source is read. It
has the same bytes whenever it is made. An archive that is not what the record says, or that "verify"
has found damaged, is made anew.

` + latestRule,
		Example: "  lifeboat archive latest\n  lifeboat download latest -o photos.zip",
		Args:    args(1, 1, "one backup"),
		RunE:    func(cmd *cobra.Command, given []string) error { return c.archive(cmd.Context(), given[0]) },
	}
}

func (c *cli) archive(ctx context.Context, arg string) error {
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return err
	}
	defer s.close()
	there, err := s.hasArchive(ctx, record)
	if err != nil {
		return err
	}
	if !there {
		if record, err = c.makeArchive(ctx, s, record); err != nil {
			return err
		}
	}
	c.message(struct {
		Type   string         `json:"message_type"`
		ID     string         `json:"id"`
		Made   bool           `json:"made"` // by this command
		Result archiveMessage `json:"archive"`
	}{"archive", string(record.ID), !there, archiveOf(record)})
	if there {
		c.say("%s has its archive already", record.ID)
	} else {
		c.say("%s: made, proven: %s", record.ID, record.Proof)
	}
	for _, line := range archiveLines(record) {
		c.say("  %s", line)
	}
	c.say("next: lifeboat download %s", record.ID)
	return nil
}

// hasArchive reports whether every file of the archive that the record names is in the vault with the size and the
// checksum of the record, and no verification has found it damaged. A rule of the store may have removed it.
func (s *session) hasArchive(ctx context.Context, record catalog.Record) (bool, error) {
	files := record.Archive.Files()
	for _, f := range files {
		info, err := s.vault.Head(ctx, vault.Key(f.Key))
		if err != nil && failure.KindOf(err) == failure.NotFound {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if info.Size != f.Bytes || info.HasCRC32 && fmt.Sprintf("%08x", info.CRC32) != f.CRC32 {
			return false, nil
		}
	}
	return len(files) > 0 && record.DamageOf != catalog.DamagedArchive, nil
}

// clear removes what is left of an archive that is to be made anew: a file that is there is never written over. Where
// packs are damaged, it may be the only copy of something, and stays.
func (s *session) clear(ctx context.Context, r *runner, record catalog.Record) error {
	files := record.Archive.Files()
	if len(files) == 0 {
		return nil
	}
	if record.Damage != "" && record.DamageOf != catalog.DamagedArchive {
		return failure.New(failure.Corrupt, "packs of backup %s are damaged, or nobody knows that they are not: no archive can be made of them", record.ID).
			WithHint("`lifeboat verify %s` says what is damaged; what is left of the archive stays where it is", record.ID)
	}
	if err := s.atWork(ctx, r, record.Source); err != nil {
		return err
	}
	for _, f := range files {
		if err := s.vault.Delete(ctx, vault.Key(f.Key)); err != nil {
			return err
		}
	}
	return nil
}

// atWork is a Conflict where a run works on a source.
func (s *session) atWork(ctx context.Context, r *runner, source backup.Source) error {
	lease, held, err := s.catalog.Holder(ctx, source)
	if err == nil && held && time.Now().Before(lease.Expires) && !stale(lease) {
		return working(source, catalog.Held{Lease: lease})
	}
	return err
}

// working is the error of a source that a run works on.
func working(source backup.Source, held catalog.Held) error {
	return failure.New(failure.Conflict, "the source %s is at work: %w", source, held).
		WithHint("wait for the run to end, then give the same command again")
}

func (c *cli) makeArchive(ctx context.Context, s *session, record catalog.Record) (catalog.Record, error) {
	r, err := c.runner(s, record.Source)
	if err != nil {
		return record, err
	}
	defer r.reporter.Done()
	if err := s.clear(ctx, r, record); err != nil {
		return record, err
	}
	made, err := r.steps.MakeArchive(ctx, record.Source, record.ID)
	if held, ok := errors.AsType[catalog.Held](err); ok {
		return record, working(record.Source, held)
	}
	if err != nil {
		r.reporter.Fail()
		return record, err
	}
	return made, nil
}

// noArchive is the error of commands that need the archive of a backup that keeps none; nil where it keeps one.
func noArchive(r catalog.Record) error {
	if len(r.Archive.Files()) > 0 {
		return nil
	}
	if !r.Archive.Expired.IsZero() {
		return failure.New(failure.NotFound, "the archive of backup %s expired on %s", r.ID, r.Archive.Expired.Local().Format(time.DateOnly)).
			WithHint("`lifeboat archive %s` makes it again", r.ID)
	}
	return failure.New(failure.NotFound, "backup %s has no archive: it is made on demand", r.ID).
		WithHint("`lifeboat archive %s` makes it", r.ID)
}

// archiveWord says in a word or two what a backup has of an archive.
func archiveWord(r catalog.Record) string {
	switch files := len(r.Archive.Files()); {
	case !r.Status.Good():
		return dash("")
	case files == 1:
		return "one file"
	case files > 1:
		return count(files, "volume")
	case !r.Archive.Expired.IsZero():
		return "expired"
	}
	return "on demand"
}

// mostVolumes is how many volumes are shown to people.
const mostVolumes = 5

// archiveLines says where the archive of a good backup is, and what to do where there is none.
func archiveLines(r catalog.Record) []string {
	files := r.Archive.Files()
	switch {
	case len(files) == 0 && !r.Archive.Expired.IsZero():
		return []string{fmt.Sprintf("no archive: it expired on %s (`lifeboat archive %s` makes it again)", r.Archive.Expired.Local().Format(time.DateOnly), r.ID)}
	case len(files) == 0:
		return []string{fmt.Sprintf("no archive: it is made on demand (`lifeboat archive %s`)", r.ID)}
	case len(files) == 1:
		return []string{fmt.Sprintf("archive %s, %s, CRC-32 %s", files[0].Key, plain.Size(files[0].Bytes), files[0].CRC32)}
	}
	lines := []string{fmt.Sprintf("archive of %s, %s", count(len(files), "volume"), plain.Size(r.Archive.Bytes))}
	for i, f := range files {
		if i == mostVolumes {
			lines = append(lines, fmt.Sprintf("  … and %s more: lifeboat show %s --json", plain.Number(int64(len(files)-i)), r.ID))
			break
		}
		lines = append(lines, fmt.Sprintf("  %s, %s, CRC-32 %s", f.Key, plain.Size(f.Bytes), f.CRC32))
	}
	return lines
}

// sayVolume says which part of a split archive a file is.
func (c *cli) sayVolume(name string, v manifest.Volume) {
	var others []string
	for i, other := range verify.Volumes(name, v) {
		if i+1 != v.Number {
			others = append(others, plain.Text(other))
		}
	}
	switch rest := len(others) - mostVolumes; {
	case len(others) == 0:
		c.say("  volume 1 of 1")
		return
	case rest > 0:
		others = append(others[:mostVolumes], fmt.Sprintf("%d more", rest))
	}
	c.say("  volume %d of %d: sound; the others are %s", v.Number, len(v.All), strings.Join(others, ", "))
}

// archiveMessage is what robots learn of an archive. The first three fields are always there; key is empty where no
// archive is kept.
type archiveMessage struct {
	Key     string          `json:"key"`
	Bytes   int64           `json:"bytes"`
	CRC32   string          `json:"crc32"`
	Volumes []volumeMessage `json:"volumes,omitempty"`
	Expired time.Time       `json:"expired,omitzero"`
}

type volumeMessage struct {
	Key   string `json:"key"`
	Bytes int64  `json:"bytes"`
	CRC32 string `json:"crc32"`
}

func archiveOf(r catalog.Record) archiveMessage {
	m := archiveMessage{Key: r.Archive.Key, Bytes: r.Archive.Bytes, CRC32: r.Archive.CRC32, Expired: r.Archive.Expired}
	if r.Archive.Key == "" {
		return m
	}
	for _, v := range r.Archive.Volumes {
		m.Volumes = append(m.Volumes, volumeMessage(v))
	}
	return m
}

// browserName is the name that a file of an archive gets where it is downloaded: SOURCE-BACKUP.zip, or
// SOURCE-BACKUP.v001.zip.
func browserName(r catalog.Record, f catalog.Volume) string {
	return fmt.Sprintf("%s-%s", r.Source, path.Base(f.Key))
}
