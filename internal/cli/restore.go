package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

func (c *cli) restoreCommand() *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore BACKUP|FILE.zip --to dir:PATH|s3://BUCKET[/PREFIX]",
		Short: "Check a backup, then write its files into a folder or a bucket",
		Long: `Check a backup or an archive, then write its files below a folder or into a bucket.

Nothing is written before the check: with --check full, the default, every byte is read. --check stored
believes the signed manifest and the checksums that the vault's store keeps of the packs; each file is
then checked when it is written. It is for backups in the vault.

A folder that is not empty is refused unless --into-existing is given. No file or object that is there is
ever overwritten, and one that has the right bytes is left alone: run the same command again after an
interruption.

A ZIP of another program is checked in the same way, and goes to a folder, with --trust: nobody signed it.

In a bucket the objects get
  --layout archive     their paths in the archive, beside the documents; those of kind files get the
                       very names that they had, without documents (default)
  --layout datasource  their names in the application's own bucket or folder, without documents: the
                       bucket can take its place
and the Content-Type and metadata that they had, where a store kept some. Where the bucket lies in the
vault's store, that store copies the large objects by itself. Without --endpoint, --profile or
--access-key, the bucket is reached like the vault, if that is a bucket too.

` + latestRule,
		Example: `  lifeboat restore latest --to dir:./restored
  lifeboat restore photos.zip --to dir:/srv/restored --only 'uploads/2026-*'
  lifeboat restore latest --to s3://photos-new --layout datasource --check stored`,
		Args: args(1, 1, "one backup or archive"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if o.to == "" {
				return failure.New(failure.Usage, "where to? --to is missing").WithHint("lifeboat restore %s --to dir:PATH", given[0])
			}
			if err := o.parse(cmd.Flags().Changed); err != nil {
				return err
			}
			return c.restore(cmd.Context(), given[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "where to: dir:PATH or s3://BUCKET[/PREFIX]")
	flags.BoolVar(&o.into, "into-existing", false, "write into a folder that is not empty; nothing that is there is overwritten")
	flags.StringVar(&o.check, "check", checkFull, "before the first write: full (every byte) or stored (checksums of the vault's store)")
	flags.StringArrayVar(&o.globs, "only", nil, "restore what matches the pattern in the archive, such as uploads/** or **/*.jpg; may be repeated")
	flags.BoolVar(&o.trust, "trust", false, "restore a ZIP of another program, which nobody signed")
	o.bucketFlags(flags)
	return cmd
}

// The values of --check.
const (
	checkFull   = "full"
	checkStored = "stored"
)

// restoreOptions are the flags of restore.
type restoreOptions struct {
	to    string
	into  bool
	check string
	trust bool
	globs []string
	bucketOptions

	folder string // of --to; "" for a bucket
	only   *files.Globs
}

// chosen returns what --only chooses; nil: everything.
func (o *restoreOptions) chosen() func(path string) bool {
	if len(o.globs) == 0 {
		return nil
	}
	return o.only.Match
}

// parse checks the flags and what they say of one another.
func (o *restoreOptions) parse(given func(flag string) bool) error {
	var err error
	if o.only, err = files.ParseGlobs(o.globs); err != nil {
		return err
	}
	if o.check != checkFull && o.check != checkStored {
		return failure.New(failure.Usage, "--check %s: it is full or stored", o.check).WithHint("leave it out to have every byte read before the first write")
	}
	folder, isFolder := strings.CutPrefix(o.to, "dir:")
	switch {
	case isFolder && folder != "":
		o.folder = folder
		for _, flag := range []string{"endpoint", "region", "profile", "access-key", "secret-key", "layout", "only-objects"} {
			if given(flag) {
				return failure.New(failure.Usage, "--%s is for buckets, not for %s", flag, o.to).WithHint("leave it out, or restore to s3://BUCKET")
			}
		}
		return nil
	case strings.HasPrefix(o.to, "/"), strings.HasPrefix(o.to, "."), strings.HasPrefix(o.to, "~"), !strings.Contains(o.to, ":") && strings.Contains(o.to, "/"):
		return failure.New(failure.Usage, "--to %s: say whether it is a folder or a bucket", o.to).WithHint("write --to dir:%s", o.to)
	case strings.HasPrefix(o.to, "s3://"):
		if given("into-existing") {
			return failure.New(failure.Usage, "--into-existing is for folders").WithHint("leave it out: a bucket need not be empty, and nothing in it is overwritten")
		}
		return o.parseBucket(o.to)
	}
	return failure.New(failure.Usage, "--to %s: restores go to a folder, dir:PATH, or to a bucket, s3://BUCKET/PREFIX; applications are not served yet", o.to).
		WithHint("the archive's lifeboat/README.txt says how to bring the application back by hand")
}

// destination is where a restore goes.
type destination interface {
	fmt.Stringer
	wants(e manifest.Entry) bool
	// write writes what is wanted of a backup that was checked.
	write(ctx context.Context, b *opened, progress func(items, bytes int64)) (restore.Result, error)
	// release takes back what was made for a restore that has written nothing.
	release()
}

func (c *cli) restore(ctx context.Context, arg string, o restoreOptions) error {
	if looksLikeFile(arg) {
		if o.check == checkStored {
			return failure.New(failure.Usage, "--check stored is for backups in the vault: no store keeps checksums of what is in %s", arg).
				WithHint("leave it out: every byte is read then")
		}
	}
	b, err := c.openBackup(ctx, arg)
	if err != nil && looksLikeFile(arg) {
		return c.restoreForeign(ctx, arg, err, o)
	}
	if err != nil {
		return err
	}
	defer b.close()
	to, err := c.destination(ctx, b, &o) // what it refuses is said at once, not after an hour of checking
	if err != nil {
		return err
	}
	err = c.restoreTo(ctx, arg, b, to, o)
	if err != nil {
		to.release()
	}
	return err
}

// restoreTo checks a backup and writes it.
func (c *cli) restoreTo(ctx context.Context, arg string, b *opened, to destination, o restoreOptions) error {
	all, wanted, err := tally(ctx, b.image, to, o)
	if err != nil {
		return err
	}
	report, err := c.checked(ctx, b, o.check, all)
	if err != nil {
		return stopped(err, arg, "nothing was written; the same command begins anew")
	}
	if !report.OK {
		return c.verdict(arg, report)
	}
	if report.Signature != manifest.Authenticated {
		c.warn("%s: nobody whose key is known here signed what is restored (%s): look at it before you use it", arg, report.Signature)
	}
	reporter := c.reporter()
	reporter.Phase("restore", wanted.entries, wanted.bytes)
	result, err := to.write(ctx, b, reporter.Add)
	reporter.Done()
	if err != nil {
		return stopped(err, arg, o.goOn())
	}
	return c.restored(to.String(), report, c.signedBy(b), result, wanted, o)
}

// goOn says how to go on with a restore that was stopped.
func (o *restoreOptions) goOn() string {
	if o.folder == "" || o.into {
		return "the same command goes on: what is there with the right bytes is left alone"
	}
	return "run the same command with --into-existing: what is there with the right bytes is left alone"
}

// stopped says of a restore that a person has stopped how to go on; other errors stay what they are.
func stopped(err error, what, hint string) error {
	if failure.KindOf(err) != failure.Canceled {
		return err
	}
	return failure.New(failure.Canceled, "stopped: the restore of %s is not complete", what).WithHint("%s", hint)
}

// amount is how much there is.
type amount struct{ entries, bytes int64 }

// tally says how much a backup holds and how much of it is to be restored.
func tally(ctx context.Context, image verify.Image, to destination, o restoreOptions) (all, wanted amount, err error) {
	for e, err := range verify.Entries(ctx, image) {
		if err != nil {
			return all, wanted, err
		}
		all.entries, all.bytes = all.entries+1, all.bytes+e.Size
		if to.wants(e) {
			wanted.entries, wanted.bytes = wanted.entries+1, wanted.bytes+e.Size
		}
	}
	if unused := o.only.Unused(); len(unused) > 0 {
		err = failure.New(failure.NotFound, "nothing in the backup matches --only %s", unused[0]).
			WithHint("`lifeboat files BACKUP` lists the paths; a pattern starts at the first of their folders")
	}
	return all, wanted, err
}

// opened is a backup or an archive that is open for a restore.
type opened struct {
	image   verify.Image
	trusted []ed25519.PublicKey
	close   func()

	// Of a backup in the vault only.
	session *session
	record  catalog.Record
	archive bool // the image is the archive in the vault, not the packs
	pool    *pool.Pool
}

func (c *cli) openBackup(ctx context.Context, arg string) (*opened, error) {
	if looksLikeFile(arg) {
		image, file, err := verify.OpenVolumes(ctx, arg)
		if err != nil {
			return nil, err
		}
		return &opened{image: image, trusted: c.fileKeys(), close: func() { file.Close() }}, nil
	}
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return nil, err
	}
	image, err := verify.OpenPacks(ctx, s.vault, record.Source, record.ID)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &opened{image: image, trusted: s.trusted(), close: func() { s.close() }, session: s, record: record}, nil
}

// packs opens the pool of the backup.
func (b *opened) packs(ctx context.Context) (*pool.Pool, error) {
	var err error
	if b.pool == nil {
		b.pool, err = pool.Open(ctx, b.session.vault, b.record.Source)
	}
	return b.pool, err
}

// checked checks a backup before the first write. Where packs are damaged and the archive in the vault is whole, the
// backup is read from there from then on.
func (c *cli) checked(ctx context.Context, b *opened, how string, all amount) (verify.Report, error) {
	if how == checkStored {
		packs, err := b.packs(ctx)
		if err != nil {
			return verify.Report{}, err
		}
		reporter := c.reporter()
		reporter.Phase("check", 0, 0)
		defer reporter.Done()
		return restore.Stored(ctx, b.session.vault, packs, b.image, b.trusted, reporter.Add)
	}
	report, err := c.whole(ctx, b.image, b.trusted, all.entries, all.bytes)
	if err != nil || report.OK || b.session == nil {
		return report, err
	}
	image, err := c.archiveInstead(ctx, b, all)
	if err != nil {
		return report, err
	}
	if image != nil {
		b.image, b.archive, report.OK = image, true, true
	}
	return report, nil
}

// destination opens where the restore goes.
func (c *cli) destination(ctx context.Context, b *opened, o *restoreOptions) (destination, error) {
	if o.folder == "" {
		return c.bucketDestination(ctx, b, o)
	}
	release, err := reserve(o.folder, o.into)
	if err != nil {
		return nil, err
	}
	return &folderDestination{name: o.folder, into: o.into, only: o.chosen(), free: release}, nil
}

// restoreMessage is the last line of `restore` for robots. Its fields are fixed.
type restoreMessage struct {
	Type         string    `json:"message_type"`
	Backup       string    `json:"backup"`
	Folder       string    `json:"folder,omitempty"`
	Bucket       string    `json:"bucket,omitempty"`
	Check        string    `json:"check"`
	Signature    string    `json:"signature"`
	Written      int       `json:"written"`
	Existing     int       `json:"existing"`
	LeftOut      int64     `json:"left_out"`
	Bytes        int64     `json:"bytes"`
	Spliced      int       `json:"spliced"`
	SplicedBytes int64     `json:"spliced_bytes"`
	Problems     []finding `json:"problems"`
}

func (c *cli) restored(name string, report verify.Report, by string, r restore.Result, wanted amount, o restoreOptions) error {
	m := restoreMessage{
		Type: "restore", Backup: string(report.Header.Backup), Check: o.check, Signature: string(report.Signature),
		Written: r.Written, Existing: r.Existing, LeftOut: int64(report.Entries) - wanted.entries, Bytes: r.Bytes,
		Spliced: r.Spliced, SplicedBytes: r.SplicedBytes, Problems: findings(r.Problems),
	}
	noun := "files"
	if o.folder != "" {
		m.Folder = name
	} else {
		m.Bucket, noun = name, "objects"
	}
	c.message(m)
	for i, f := range r.Problems {
		if i == 10 {
			c.say("  … and %d more: --json lists them", r.Total-i)
			break
		}
		c.say("  problem: %s", findingLine(f))
	}
	c.say("%s: %s written, %s; %s", name, count(r.Written, strings.TrimSuffix(noun, "s")), plain.Size(r.Bytes), signatureWords(report, by))
	if r.Existing > 0 {
		c.say("  %s were there already with the same bytes", plain.Number(int64(r.Existing)))
	}
	if o.folder == "" {
		c.sayCopied(r)
	}
	if m.LeftOut > 0 {
		c.say("  %s of the backup were left out", countOf(int(m.LeftOut), "entry", "entries"))
	}
	damaged := slices.ContainsFunc(r.Problems, func(f app.Finding) bool { return f.Kind == "corrupt" })
	switch {
	case damaged && o.check == checkStored:
		return failure.New(failure.Corrupt, "%d of %d %s could not be written: bytes in the vault are damaged", r.Total, wanted.entries, noun).
			WithHint("`lifeboat verify %s` says what else is; restore the rest from another backup", report.Header.Backup)
	case r.Total > 0:
		return partial{fmt.Sprintf("%d of %d %s could not be written", r.Total, wanted.entries, noun)}
	}
	return nil
}

// archiveInstead opens the archive of a backup whose packs are damaged, if every byte of it is right: it was joined
// while they were whole. It returns nil where there is none.
func (c *cli) archiveInstead(ctx context.Context, b *opened, all amount) (verify.Image, error) {
	image, err := verify.OpenRecorded(ctx, b.session.vault, b.record)
	if err != nil {
		return nil, nil // the verdict on the packs says enough
	}
	report, err := c.whole(ctx, image, b.trusted, all.entries, all.bytes)
	if err != nil || !report.OK || report.Header.Backup != b.record.ID {
		return nil, err
	}
	c.warn("packs of this backup are damaged; its archive in the vault is whole and is restored instead")
	return image, nil
}
