package cli

import (
	"context"
	"net/url"

	"github.com/spf13/pflag"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// bucketOptions are the flags of a restore into a bucket.
type bucketOptions struct {
	endpoint, region, profile string
	accessKey, secretKey      string
	layout                    string
	objects                   bool

	bucket config.Bucket // of all of them
}

func (o *bucketOptions) bucketFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.endpoint, "endpoint", "", "URL of the bucket's store, where it is not AWS")
	flags.StringVar(&o.region, "region", "", "of the bucket")
	flags.StringVar(&o.profile, "profile", "", "of the AWS configuration, to reach the bucket with")
	flags.StringVar(&o.accessKey, "access-key", "", "to reach the bucket with: env:NAME or file:PATH")
	flags.StringVar(&o.secretKey, "secret-key", "", "that belongs to it: env:NAME or file:PATH")
	flags.StringVar(&o.layout, "layout", string(restore.ByPath), "names in the bucket: archive or datasource")
	flags.BoolVar(&o.objects, "only-objects", false, "leave the documents out")
}

func (o *bucketOptions) parseBucket(to string) error {
	var err error
	if o.bucket, err = config.ParseBucket(to); err != nil {
		return err
	}
	u, err := url.Parse(o.endpoint)
	switch {
	case o.endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return failure.New(failure.Usage, "--endpoint %s is no URL of a store", o.endpoint).WithHint("it starts with http:// or https://")
	case (o.accessKey == "") != (o.secretKey == ""):
		return failure.New(failure.Usage, "--access-key and --secret-key belong together").WithHint("give both, or neither")
	case o.accessKey != "" && o.profile != "":
		return failure.New(failure.Usage, "--profile can't stand beside --access-key").WithHint("use one of them")
	case secret.Reference(o.secretKey).Bare():
		return failure.New(failure.Usage, "--secret-key takes no key itself: others could read it").WithHint("write env:NAME or file:PATH")
	case o.layout != string(restore.ByPath) && o.layout != string(restore.ByKey):
		return failure.New(failure.Usage, "--layout %s: it is archive or datasource", o.layout).WithHint("`lifeboat restore --help` says what they are")
	}
	o.bucket.Endpoint, o.bucket.Region, o.bucket.Profile = o.endpoint, o.region, o.profile
	o.bucket.AccessKey, o.bucket.SecretKey = secret.Reference(o.accessKey), secret.Reference(o.secretKey)
	return nil
}

// reach returns how to reach the bucket: as the flags say, or else like the vault, if that is a bucket.
func (c *cli) reach(b config.Bucket) config.Bucket {
	if b.Endpoint != "" || b.Profile != "" || b.AccessKey != "" {
		return b
	}
	cfg, err := config.Load(c.configFile) // an archive is restored without any configuration too
	if err != nil || cfg.Vault.Bucket == nil {
		return b
	}
	like := *cfg.Vault.Bucket
	like.Name, like.Prefix = b.Name, b.Prefix
	if b.Region != "" {
		like.Region = b.Region
	}
	return like
}

// bucketDestination is a bucket.
type bucketDestination struct {
	*restore.BucketTarget
	progress func(items, bytes int64)
}

// bucketDestination opens the bucket that the flags name.
func (c *cli) bucketDestination(ctx context.Context, b *opened, o *restoreOptions) (destination, error) {
	bucket := c.reach(o.bucket)
	store, err := setup.Store(bucket)
	if err != nil {
		return nil, err
	}
	client, err := vault.Connect(ctx, store)
	if err != nil {
		return nil, err
	}
	if err := credentialed(ctx, client, "give --access-key and --secret-key, or --profile; --endpoint where the store is not AWS"); err != nil {
		return nil, err
	}
	m, body, err := b.image.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	body.Close()
	d := &bucketDestination{}
	d.BucketTarget, err = restore.OpenBucket(ctx, restore.BucketOptions{
		Client: client, Bucket: bucket.Name, Prefix: bucket.Prefix, Kind: m.Header.Kind, Layout: restore.Layout(o.layout), Objects: o.objects,
		Only: o.chosen(), Progress: func(items, bytes int64) { d.progress(items, bytes) },
	})
	return d, err
}

func (d *bucketDestination) release() {}

func (d *bucketDestination) wants(e manifest.Entry) bool { return d.Wants(e) }

func (d *bucketDestination) write(ctx context.Context, b *opened, progress func(items, bytes int64)) (restore.Result, error) {
	d.progress = progress
	source, err := b.bytes(ctx)
	if err != nil {
		return restore.Result{}, err
	}
	d.From(source)
	return d.Restore(ctx, verify.Entries(ctx, b.image))
}

// bytes says where the bytes of the backup are read from.
func (b *opened) bytes(ctx context.Context) (restore.Bytes, error) {
	if b.session == nil || b.archive && len(b.record.Archive.Volumes) > 0 {
		return restore.FileBytes(b.image), nil
	}
	v := b.session.vault
	if b.archive {
		key := vault.Archive(b.record.Source, b.record.ID)
		info, err := v.Head(ctx, key)
		return restore.ArchiveBytes(v, key, info.Size), err
	}
	packs, err := b.packs(ctx)
	if err != nil {
		return restore.Bytes{}, err
	}
	return restore.PackBytes(v, packs), nil
}

// sayCopied says how much of a restore the store did by itself, and why it did no more.
func (c *cli) sayCopied(r restore.Result) {
	if r.Spliced > 0 {
		c.say("  the store copied %s of them, %s, by itself", plain.Number(int64(r.Spliced)), plain.Size(r.SplicedBytes))
	}
	if r.Streams != "" && r.Written > r.Spliced {
		c.say("  %s passed through this machine: %s", plain.Size(r.Bytes-r.SplicedBytes), plain.Text(r.Streams))
	}
}
