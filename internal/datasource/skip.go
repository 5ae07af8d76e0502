package datasource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource/idle"
	"lifeboat/internal/failure"
)

var (
	_ app.Skipper = (*remote)(nil)
	_ app.Skipper = (*content)(nil)
)

// Skip implements app.Skipper: it asks for the rest of the very version that is open. Where the store does not say which
// version that is, only what is open is surely of it, and is read up to there.
func (r *remote) Skip(ctx context.Context, n int64) error {
	doing, etag := "open "+strconv.Quote(r.now.Key), etagOf(r.now.Identity)
	if etag == "" {
		return skipped(io.CopyN(io.Discard, r, n))
	}
	_ = r.ReadCloser.Close() // nothing of it was read
	limited, guard := idle.New(ctx, patience)
	answer, err := r.bucket.client.GetObject(limited, &s3.GetObjectInput{
		Bucket: aws.String(r.bucket.bucket), Key: aws.String(r.bucket.prefix + r.now.Key), IfMatch: aws.String(etag),
		Range: aws.String(fmt.Sprintf("bytes=%d-", n)),
	})
	if err != nil {
		guard.Stop()
		if _, status := codeOf(err); status == http.StatusRequestedRangeNotSatisfiable { // the same version has more bytes than that
			return failure.New(failure.Transient, "%s: %s has no byte %d of it", doing, r.bucket.Describe(), n)
		}
		return r.bucket.fault(ctx, doing, err)
	}
	r.ReadCloser = guard.Body(answer.Body, patience)
	switch at := aws.ToString(answer.ContentRange); {
	case at == "" && aws.ToInt64(answer.ContentLength) == r.now.Size: // the store knows no ranges, and answers with the whole
		return skipped(io.CopyN(io.Discard, r, n))
	case !strings.HasPrefix(at, fmt.Sprintf("bytes %d-", n)):
		return failure.New(failure.Transient, "%s: %s answers with other bytes than it was asked for", doing, r.bucket.Describe())
	}
	return nil
}

// skipped gives an object that ends before its place its kind: it was longer when it was listed.
func skipped(n int64, err error) error {
	if err == io.EOF {
		return failure.New(failure.Transient, "the object ended after %d bytes, which is before the place where its reading stopped", n)
	}
	return err
}

// Skip implements app.Skipper.
func (c *content) Skip(_ context.Context, n int64) error {
	_, err := c.file.Seek(n, io.SeekStart)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		err = c.folder.faultOf(c.key, err)
	}
	return err
}
