package datasource

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/app"
)

// Every yields what List yields and folder markers too: whatever has a key below the prefix but the prefix's own
// marker. Keys that XML can't hold arrive unharmed, from stores too that put U+FFFD in the place of such characters.
func (b *Bucket) Every(ctx context.Context) iter.Seq2[app.Object, error] {
	return b.EveryAfter(ctx, "")
}

// EveryAfter is Every from the key after after on; see Resumable.
func (b *Bucket) EveryAfter(ctx context.Context, after string) iter.Seq2[app.Object, error] {
	return func(yield func(app.Object, error) bool) {
		for page, err := range b.pages(ctx, after, b.unharmed) {
			if err != nil {
				yield(app.Object{}, err)
				return
			}
			for _, listed := range page.Contents {
				if key := strings.TrimPrefix(aws.ToString(listed.Key), b.prefix); key != "" && !yield(b.any(key, listed), nil) {
					return
				}
			}
		}
	}
}

// unharmed returns one page of the listing. Where a key of it holds U+FFFD, it is asked for again with encoded keys:
// the store may have replaced what its XML could not hold.
func (b *Bucket) unharmed(ctx context.Context, from start) (*s3.ListObjectsV2Output, error) {
	page, err := b.page(ctx, from)
	if err != nil || page.EncodingType == types.EncodingTypeUrl || !slices.ContainsFunc(page.Contents, replaced) {
		return page, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	page, err = b.client.ListObjectsV2(limited, &s3.ListObjectsV2Input{
		Bucket: aws.String(b.bucket), Prefix: aws.String(b.prefix), StartAfter: from.after, ContinuationToken: from.token, EncodingType: types.EncodingTypeUrl,
	})
	if err == nil {
		err = decodeKeys(page)
	}
	if err != nil {
		return nil, b.fault(ctx, "list", err)
	}
	return page, nil
}

func replaced(listed types.Object) bool {
	return strings.ContainsRune(aws.ToString(listed.Key), utf8.RuneError)
}

// any returns a listed object. Its time is in whole seconds, as in the answer to a GET: some stores list fractions.
func (b *Bucket) any(key string, listed types.Object) app.Object {
	size, modified := aws.ToInt64(listed.Size), aws.ToTime(listed.LastModified)
	return app.Object{
		Key: key, Size: size, Modified: modified.UTC().Truncate(time.Second), Settled: true,
		Identity: identity(aws.ToString(listed.ETag), size, modified),
	}
}
