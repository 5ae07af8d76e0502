package cli

import (
	"net/url"

	"github.com/spf13/pflag"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/restore"
	"lifeboat/internal/secret"
)

// bucketOptions are the flags of a restore into a bucket.
type bucketOptions struct {
	endpoint, region, profile string
	accessKey, secretKey      string
	owner                     string
	layout                    string

	bucket config.Bucket // of all of them
}

func (o *bucketOptions) bucketFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.endpoint, "endpoint", "", "URL of the bucket's store, where it is not AWS")
	flags.StringVar(&o.region, "region", "", "of the bucket")
	flags.StringVar(&o.profile, "profile", "", "of the AWS configuration, to reach the bucket with")
	flags.StringVar(&o.accessKey, "access-key", "", "to reach the bucket with: env:NAME or file:PATH")
	flags.StringVar(&o.secretKey, "secret-key", "", "that belongs to it: env:NAME or file:PATH")
	flags.StringVar(&o.owner, "owner", "", "account that the bucket must belong to, in 12 digits")
	flags.StringVar(&o.layout, "layout", string(restore.ByPath), "names in the bucket: archive or datasource")
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
	case o.owner != "" && !config.IsAccount(o.owner):
		return failure.New(failure.Usage, "--owner %s is no AWS account", o.owner).WithHint("it has 12 digits, such as 111122223333")
	case o.layout != string(restore.ByPath) && o.layout != string(restore.ByKey):
		return failure.New(failure.Usage, "--layout %s: it is archive or datasource", o.layout).WithHint("`lifeboat restore --help` says what they are")
	}
	o.bucket.Endpoint, o.bucket.Region, o.bucket.Profile, o.bucket.Owner = o.endpoint, o.region, o.profile, o.owner
	o.bucket.AccessKey, o.bucket.SecretKey = secret.Reference(o.accessKey), secret.Reference(o.secretKey)
	return nil
}
