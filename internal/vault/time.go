package vault

import (
	"context"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/failure"
)

// Time returns the time of the store's clock, to the second.
func (v *Vault) Time(ctx context.Context) (time.Time, error) {
	out, err := v.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &v.bucket})
	if err != nil {
		return time.Time{}, wrap(err, "look at the bucket %s", v.bucket)
	}
	at, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return time.Time{}, failure.New(failure.Invalid, "the store's answers bear no date")
	}
	return at, nil
}
