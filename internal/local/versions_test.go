package local

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestCreateAfterDelete creates an object, deletes it, and creates it again, in a bucket that keeps versions: a marker of a
// deletion is no object.
func TestCreateAfterDelete(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	ctx, name, key := t.Context(), aws.String("versions"), aws.String("leases/a.json")
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	create := func() error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: key, Body: strings.NewReader("a"), IfNoneMatch: aws.String("*")})
		return err
	}
	for n := range 3 {
		if err := create(); err != nil {
			t.Fatalf("create it for the %d. time: %v", n+1, err)
		}
		wantCode(t, create(), "PreconditionFailed")
		if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: name, Key: key}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: name, Key: key}); err == nil {
			t.Fatal("it is still there")
		}
	}
	versions, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: name})
	if err != nil || len(versions.Versions) != 3 || len(versions.DeleteMarkers) != 3 {
		t.Errorf("%d versions, %d markers: %v", len(versions.Versions), len(versions.DeleteMarkers), err)
	}
}
