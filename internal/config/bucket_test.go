package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
)

func TestParseBucket(t *testing.T) {
	for text, want := range map[string]config.Bucket{
		"s3://my-bucket": {Name: "my-bucket"}, "s3://my.bucket/": {Name: "my.bucket"}, "s3://abc/some/ü x/": {Name: "abc", Prefix: "some/ü x"},
	} {
		got, err := config.ParseBucket(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "s3://", "s3://a", "S3://abc", "abc", "s3://a..b", "s3://Abc", "s3://abc/a//b", "s3://abc/../b", "s3://abc/./b", "s3:///abc"} {
		if b, err := config.ParseBucket(text); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
			t.Errorf("%q: %+v, %v", text, b, err)
		}
	}
}
