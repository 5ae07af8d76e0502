package datasource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource/idle"
)

var (
	_ app.Skipper = (*remote)(nil)
	_ app.Skipper = (*content)(nil)
)

// Skip implements app.Skipper: it asks for the rest of the very version that is open.
func (r *remote) Skip(ctx context.Context, n int64) error {
	_ = r.ReadCloser.Close() // nothing of it was read
	limited, guard := idle.New(ctx, patience)
	answer, err := r.bucket.client.GetObject(limited, &s3.GetObjectInput{
		Bucket: aws.String(r.bucket.bucket), Key: aws.String(r.bucket.prefix + r.now.Key), IfMatch: aws.String(etagOf(r.now.Identity)),
		Range: aws.String(fmt.Sprintf("bytes=%d-", n)),
	})
	if err != nil {
		guard.Stop()
		return r.bucket.fault(ctx, "open "+strconv.Quote(r.now.Key), err)
	}
	r.ReadCloser = guard.Body(answer.Body, patience)
	if rest := aws.ToInt64(answer.ContentLength); rest == r.now.Size { // the store knows no ranges
		_, err = io.CopyN(io.Discard, r, n)
	}
	return err
}

// Skip implements app.Skipper.
func (c *content) Skip(_ context.Context, n int64) error {
	_, err := c.file.Seek(n, io.SeekStart)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = c.folder.faultOf(c.key, err)
	}
	return err
}
