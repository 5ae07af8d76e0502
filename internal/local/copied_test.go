package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestCopiedWithoutAttributes: objects of a vault that was copied by cp -r can be replaced by who has read them, by nobody
// else, and are there for If-None-Match.
func TestCopiedWithoutAttributes(t *testing.T) {
	folder := t.TempDir()
	_, client := withBucket(t, folder)
	ctx, key := t.Context(), aws.String("catalog/a.json")
	put(t, client, *key, "one")
	named := filepath.Join(string(layout(folder).buckets()), bucket, *key)
	if err := os.Rename(named, named+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(named, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(named + ".old"); err != nil {
		t.Fatal(err)
	}
	write := func(body string, match, none *string) error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: key, Body: strings.NewReader(body), IfMatch: match, IfNoneMatch: none})
		return err
	}
	wantCode(t, write("another", nil, aws.String("*")), "PreconditionFailed")
	wantCode(t, write("another", aws.String(`"0123"`), nil), "PreconditionFailed")
	read, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Body.Close()
	if err := write("another", read.ETag, nil); err != nil {
		t.Error(err)
	}
	wantCode(t, write("a third", read.ETag, nil), "PreconditionFailed")
}
