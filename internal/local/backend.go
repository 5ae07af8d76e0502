package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// partChecksums corrects UploadPartCopy of versitygw v1.8.0: when the upload and the source have the same checksum
// algorithm, it stores the checksum of the whole source as that of the part, also for a range. UploadPartCopy is the
// only caller that asks for checksums with an empty object (the source's path stands in for the bucket); without an
// answer it computes them. TestRangedCopyChecksum says when the library does so by itself.
type partChecksums struct{ meta.MetadataStorer }

func (m partChecksums) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	if object == "" && attribute == "checksums" {
		return nil, meta.ErrNoSuchKey
	}
	return m.MetadataStorer.RetrieveAttribute(f, bucket, object, attribute)
}

// unmarked corrects conditional writes of versitygw v1.8.0 in a bucket with versions: where the newest version is a marker
// of a deletion, it reads the marker's file as an object that is there, and refuses If-None-Match. A marker has no tag.
// TestCreateAfterDelete says when the library sees that by itself.
type unmarked struct{ meta.MetadataStorer }

func (m unmarked) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	if f == nil && object != "" && attribute == "etag" {
		if _, err := m.MetadataStorer.RetrieveAttribute(nil, bucket, object, "delete-marker"); err == nil {
			return nil, meta.ErrNoSuchKey
		}
	}
	return m.MetadataStorer.RetrieveAttribute(f, bucket, object, attribute)
}

// tagged gives the files of a vault that was copied without their extended attributes (cp -r, tar) a tag of their size and
// time. Without one a client could neither replace what it has read (If-Match), nor be kept from replacing what is there
// (If-None-Match). Folders get none: that is how the library tells them from objects.
type tagged struct{ meta.MetadataStorer }

func (m tagged) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	value, err := m.MetadataStorer.RetrieveAttribute(f, bucket, object, attribute)
	if attribute != "etag" || !errors.Is(err, meta.ErrNoSuchKey) {
		return value, err
	}
	info, gone := os.Stat(filepath.Join(bucket, object))
	if f != nil {
		info, gone = f.Stat()
	}
	if gone != nil || !info.Mode().IsRegular() {
		return value, err
	}
	return fmt.Appendf(nil, "%016x%016x", info.Size(), info.ModTime().UnixNano()), nil
}

// errFull answers every write that a full disk or quota stops. Clients repeat a 500 for a while; this they don't.
var errFull = s3err.APIError{
	Code:           "InsufficientStorage",
	Description:    "The disk or the quota of the vault is full.",
	HTTPStatusCode: http.StatusInsufficientStorage,
}

// slack is what a write may need beside the bytes of its object: folders, attributes.
const slack = 64 << 10

// guarded is the backend with one answer to a full disk, and honest completions of uploads.
type guarded struct {
	backend.Backend
	folder     string
	completing *names // uploads
	writing    *parts
}

func guard(b backend.Backend, v layout) guarded {
	return guarded{Backend: b, folder: string(v), completing: &names{held: map[string]chan struct{}{}}, writing: &parts{count: map[string]int{}}}
}

// diskError returns errFull where err comes from a full disk or quota. need is the size of what was to be written.
func (b guarded) diskError(err error, need int64) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errFull
	}
	known, ok := errors.AsType[s3err.S3Error](err)
	if ok {
		switch known.BaseError().Code {
		case "InsufficientStorage", "QuotaExceeded":
			return errFull
		case "InternalError", "ExistingObjectIsDirectory": // the latter is said of any folder that can't be made
		default:
			return err
		}
	}
	if free, known := freeSpace(b.folder); known && free < need+slack {
		return errFull
	}
	return err
}

// drain reads the rest of a body that a refused request still sends. Left unread, fasthttp v1.73.0 takes it for the next
// request and closes the connection, and the client sees a reset instead of the answer.
func drain(body io.Reader) {
	if body != nil {
		_, _ = io.Copy(io.Discard, body)
	}
}

func (b guarded) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	return b.diskError(b.Backend.CreateBucket(ctx, in, acl), 0)
}

func (b guarded) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	out, err := b.Backend.PutObject(ctx, in)
	if err != nil {
		drain(in.Body)
	}
	return out, b.diskError(err, aws.ToInt64(in.ContentLength))
}

func (b guarded) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := b.Backend.CopyObject(ctx, in)
	return out, b.diskError(err, 0)
}

func (b guarded) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (
	s3response.InitiateMultipartUploadResult, error,
) {
	out, err := b.Backend.CreateMultipartUpload(ctx, in)
	return out, b.diskError(err, 0)
}

func (b guarded) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	defer b.writing.begin(aws.ToString(in.UploadId))()
	out, err := b.Backend.UploadPart(ctx, in)
	if err != nil {
		drain(in.Body)
	}
	return out, b.diskError(err, aws.ToInt64(in.ContentLength))
}

func (b guarded) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	defer b.writing.begin(aws.ToString(in.UploadId))()
	out, err := b.Backend.UploadPartCopy(ctx, in)
	return out, b.diskError(err, 0)
}

func (b guarded) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	out, err := b.Backend.DeleteObject(ctx, in)
	return out, b.diskError(err, 0)
}
