package lambdafn

import "lifeboat/internal/config"

// ownBuckets makes an account the owner of the buckets that are reached with the function's own role, where lifeboat.yaml
// names none: a bucket that was deleted can be made again by anybody, who would be given whole backups. A bucket of another
// account needs its owner: in the file.
func ownBuckets(c *config.Config, account string) {
	own := func(b *config.Bucket) {
		if b != nil && b.Endpoint == "" && b.AccessKey == "" && b.Role == "" && b.Profile == "" && b.Owner == "" {
			b.Owner = account
		}
	}
	for _, s := range c.Sources {
		own(s.Datasource.Bucket)
	}
	for _, t := range c.Targets {
		own(t.Datasource.Bucket)
	}
}
