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

// TestAccount reads whose bucket it is; a bucket that is reached with a role belongs to the role's account.
func TestAccount(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:role/partners/lifeboat-reader"
	for text, want := range map[string]config.Bucket{
		"owner: 111122223333":   {Owner: "111122223333"},
		"owner: '011122223333'": {Owner: "011122223333"},
		"owner: 011122223333":   {Owner: "011122223333"},
		"role: '" + arn + "'":   {Role: arn, Owner: "111122223333"},
		"role: '" + arn + "', external-id: 7f3e-xyz, owner: 999988887777":                             {Role: arn, ExternalID: "7f3e-xyz", Owner: "999988887777"},
		"role: '" + arn + "', external-id: 'file:id', endpoint: 'https://s3.eu-west-1.amazonaws.com'": {Role: arn, ExternalID: "file:/b/id", Owner: "111122223333", Endpoint: "https://s3.eu-west-1.amazonaws.com"},
		"role: 'arn:aws-us-gov:iam::111122223333:role/r'":                                             {Role: "arn:aws-us-gov:iam::111122223333:role/r", Owner: "111122223333"},
	} {
		c, err := config.Parse("f", []byte("vault: /v\ntargets:\n  t: {kind: files, path: {s3: s3://bucket, "+text+"}}\n"), "/b")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want.Name = "bucket"
		if diff := cmp.Diff(&want, c.Targets[0].Datasource.Bucket); diff != "" || len(c.Warnings) > 0 {
			t.Errorf("%s: %v\n%s", text, c.Warnings, diff)
		}
	}
}
