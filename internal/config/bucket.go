package config

import (
	"slices"
	"strings"

	"lifeboat/internal/failure"
)

// ParseBucket reads s3://bucket or s3://bucket/prefix, as the command line has it; what is none is Usage.
func ParseBucket(text string) (Bucket, error) {
	rest, found := strings.CutPrefix(text, "s3://")
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	bad := func(segment string) bool { return segment == "" || segment == "." || segment == ".." }
	switch {
	case !found || !bucketName.MatchString(name) || strings.Contains(name, ".."):
		return Bucket{}, failure.New(failure.Usage, "%q is no bucket", text).
			WithHint("write s3://bucket or s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and .")
	case prefix != "" && slices.ContainsFunc(strings.Split(prefix, "/"), bad):
		return Bucket{}, failure.New(failure.Usage, "%q holds a segment that is empty, . or ..", text).WithHint("name the prefix without them")
	}
	return Bucket{Name: name, Prefix: prefix}, nil
}
