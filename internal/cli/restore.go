package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/app/files"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/replay"
	"lifeboat/internal/setup"
)

func (c *cli) restoreCommand() *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore BACKUP|FILE.zip|URL --to TARGET|dir:PATH|s3://BUCKET[/PREFIX]",
		Short: "Check a backup, then replay it into an application, a folder or a bucket",
		Long: `Check a backup or an archive, then replay it into a target of lifeboat.yaml, or write its files below
a folder or into a bucket.

Nothing is written before the check: with --check full, the default, every byte is read. --check stored
believes the signed manifest and the checksums that the vault's store keeps of the packs; each file is
then checked when it is written. It is for backups in the vault, and ends with 16 where the store keeps none,
as of a vault that was copied file by file. Then the target says what it would get:
what is made, what is there already, what is skipped or cannot be carried, and why. --dry-run ends there.

TARGET   an application under targets: in lifeboat.yaml. Files go into its datasource first, then the
         documents are brought in, then the target is read again and compared; every difference is
         listed, and the exit code is 3 where something is missing or other than in the backup.
dir:     a folder. One that is not empty is refused unless --into-existing is given.
s3://    a bucket. The objects get
           --layout archive     their paths in the archive, beside the documents; those of kind files
                                get the very names that they had, without documents (default)
           --layout datasource  their names in the application's own bucket or folder, without
                                documents: the bucket can take its place
         and the Content-Type and metadata that they had. Where the bucket lies in the vault's store,
         that store copies the large objects by itself. Without --endpoint, --profile or --access-key,
         the bucket is reached like the vault, if that is a bucket too.

No file or object that is there is ever overwritten, and one that has the right bytes is left alone: run
the same command again after an interruption. A restore into an application that has succeeded does
nothing when it is run again.

A ZIP of another program is recognised by its content (a Zipline export with its uploads, an archive of
linkding's full_backup, …) and restored with --trust: nobody signed it. A URL is https, and leads to no
private network unless fetch: {allow: [HOST]} in lifeboat.yaml says so.

` + latestRule,
		Example: `  lifeboat restore latest --to photos-new --dry-run
  lifeboat restore latest --to dir:./restored
  lifeboat restore photos.zip --to dir:/srv/restored --only 'uploads/2026-*'
  lifeboat restore latest --to s3://photos-new --layout datasource --check stored
  lifeboat restore https://example.org/photos.zip --to photos-new --trust`,
		Args: args(1, 1, "one backup, archive or URL"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if o.to == "" {
				if c.stack != "" {
					return failure.New(failure.Usage, "where to? --to is missing").WithHint("lifeboat --stack %s restore %s --to TARGET, which its lifeboat.yaml has", c.stack, given[0])
				}
				return failure.New(failure.Usage, "where to? --to is missing").WithHint("lifeboat restore %s --to dir:PATH", given[0])
			}
			restore, err := o.parse(given[0], cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return c.restore(cmd.Context(), restore)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "where to: the name of a target, dir:PATH, or s3://BUCKET[/PREFIX]")
	flags.BoolVar(&o.into, "into-existing", false, "write into a folder that is not empty; nothing that is there is overwritten")
	flags.StringVar(&o.check, "check", replay.CheckFull, "before the first write: full (every byte) or stored (checksums of the vault's store)")
	flags.StringArrayVar(&o.globs, "only", nil, "restore what matches the pattern in the archive, such as uploads/** or **/*.jpg; may be repeated")
	flags.BoolVar(&o.objects, "only-objects", false, "restore the files and leave the documents out")
	flags.BoolVar(&o.documents, "only-documents", false, "restore the documents and leave the files out")
	flags.BoolVar(&o.trust, "trust", false, "restore what nobody signed whose key is known here")
	flags.BoolVar(&o.dryRun, "dry-run", false, "check, say what would be done, and write nothing")
	flags.StringVar(&o.name, "name", "", "what the restored thing is called: a folder below PATH, a prefix, the top folder with --folder-into")
	flags.StringVar(&o.as, "as", "", "Zipline: the user of the backup whose things the administrator gets whose token is used (default: the one of the same name)")
	flags.BoolVar(&o.rename, "rename", false, "Zipline: bring users in under another name that the target has already")
	flags.StringVar(&o.folderInto, "folder-into", "", "Zipline: rebuild the backup of a folder in the folder with this id, or in root")
	o.bucketFlags(flags)
	return cmd
}

// restoreOptions are the flags of restore.
type restoreOptions struct {
	to                 string
	into               bool
	check              string
	trust, dryRun      bool
	globs              []string
	objects, documents bool
	name, as           string
	rename             bool
	folderInto         string
	bucketOptions
}

var targetName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// parse checks the flags and what they say of one another.
func (o *restoreOptions) parse(from string, given func(flag string) bool) (events.Restore, error) {
	r := events.Restore{Only: o.globs, Check: o.check, Trust: o.trust, DryRun: o.dryRun, StartedBy: starter()}
	r.Wishes.Name, r.Wishes.As, r.Wishes.Rename, r.Wishes.FolderInto = o.name, o.as, o.rename, o.folderInto
	r.Wishes.Documents, r.Wishes.Objects = !o.objects, !o.documents
	if _, err := files.ParseGlobs(o.globs); err != nil {
		return r, err
	}
	var err error
	if r.From, err = whence(from); err != nil {
		return r, err
	}
	switch {
	case o.check != replay.CheckFull && o.check != replay.CheckStored:
		return r, failure.New(failure.Usage, "--check %s: it is full or stored", o.check).WithHint("leave it out to have every byte read before the first write")
	case o.check == replay.CheckStored && r.From.Backup == "":
		return r, failure.New(failure.Usage, "--check stored is for backups in the vault: no store keeps checksums of what is in %s", from).
			WithHint("leave it out: every byte is read then")
	case o.objects && o.documents:
		return r, failure.New(failure.Usage, "--only-objects and --only-documents leave nothing").WithHint("give one of them, or neither")
	}
	if r.To, err = o.whither(given); err == nil && r.To.Target == "" {
		err = setup.PlainWishes(r.Wishes)
	}
	return r, err
}

// whence says what is restored.
func whence(arg string) (events.From, error) {
	if strings.Contains(arg, "://") {
		return events.From{URL: arg}, nil
	}
	if !looksLikeFile(arg) {
		return events.From{Backup: arg}, nil
	}
	path, err := filepath.Abs(arg)
	return events.From{File: path}, err
}

// whither says where it goes.
func (o *restoreOptions) whither(given func(flag string) bool) (events.To, error) {
	folder, isFolder := strings.CutPrefix(o.to, "dir:")
	isBucket := strings.HasPrefix(o.to, "s3://")
	if !isBucket {
		for _, flag := range []string{"endpoint", "region", "profile", "access-key", "secret-key", "owner", "layout"} {
			if given(flag) {
				return events.To{}, failure.New(failure.Usage, "--%s is for buckets, not for %s", flag, o.to).WithHint("leave it out, or restore to s3://BUCKET")
			}
		}
	}
	if !isFolder && given("into-existing") {
		return events.To{}, failure.New(failure.Usage, "--into-existing is for folders").WithHint("leave it out: a bucket or a target need not be empty, and nothing in it is overwritten")
	}
	switch {
	case isFolder && folder != "":
		path, err := filepath.Abs(folder)
		return events.To{Folder: path, Existing: o.into}, err
	case isBucket:
		if err := o.parseBucket(o.to); err != nil {
			return events.To{}, err
		}
		b := o.bucket
		return events.To{Bucket: &events.Bucket{
			Name: b.Name, Prefix: b.Prefix, Layout: o.layout, Endpoint: b.Endpoint, Region: b.Region, Profile: b.Profile,
			AccessKey: string(b.AccessKey), SecretKey: string(b.SecretKey), Owner: b.Owner,
		}}, nil
	case targetName.MatchString(o.to):
		return events.To{Target: o.to}, nil
	case strings.HasPrefix(o.to, "/"), strings.HasPrefix(o.to, "."), strings.HasPrefix(o.to, "~"), !strings.Contains(o.to, ":") && strings.Contains(o.to, "/"):
		return events.To{}, failure.New(failure.Usage, "--to %s: say whether it is a folder or a bucket", o.to).WithHint("write --to dir:%s", o.to)
	}
	return events.To{}, failure.New(failure.Usage, "--to %s: restores go to a target of lifeboat.yaml, by its name, to a folder, dir:PATH, or to a bucket, s3://BUCKET/PREFIX", o.to).
		WithHint("`lifeboat restore --help` has examples")
}

func (c *cli) restore(ctx context.Context, restore events.Restore) error {
	if c.stack != "" {
		return c.restoreOnStack(ctx, restore)
	}
	if restore.To.Target != "" { // said before the vault is opened
		cfg, err := config.Load(c.configFile)
		if err != nil {
			return err
		}
		target, err := cfg.Target(restore.To.Target)
		if err == nil {
			err = setup.Wishes(target, restore.Wishes)
		}
		if err != nil {
			return err
		}
	}
	s, err := c.restoreSession(ctx, restore)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := c.restorer(s)
	if err != nil {
		return err
	}
	r.planned = c.sayForecast
	if err := c.choose(ctx, s, &restore); err != nil {
		return advised(err)
	}
	record, err := r.run(ctx, restore)
	if err != nil {
		c.sayFailed(record)
		return advised(err)
	}
	c.sayRestored(record)
	if err := s.markInstead(ctx, record); err != nil {
		return err
	}
	if err := ended(record); err != nil || !instead(record) {
		return err
	}
	return partial{fmt.Sprintf("nothing is missing, and packs of backup %s are damaged: `lifeboat backup %s --rehash` makes a new one", record.From.Backup, record.From.Source)}
}

// choose finds the backup that is to be restored, if it is one, and says what it passes over.
func (c *cli) choose(ctx context.Context, s *session, restore *events.Restore) error {
	if restore.From.Backup == "" {
		return nil
	}
	found, err := c.foundBy(ctx, s, restore.From.Backup)
	if err == nil {
		restore.From.Backup, restore.Passed = string(found.Source)+":"+string(found.ID), found.Over()
	}
	return err
}

// advised says what to do about an archive that is damaged, where the error doesn't.
func advised(err error) error {
	if failure.KindOf(err) != failure.Corrupt || failure.HintOf(err) != "" {
		return err
	}
	return failure.New(failure.Corrupt, "%w", err).WithHint("restore another backup, or get the archive again; `lifeboat verify` says what is wrong with this one")
}
