package vault

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
)

// Limits of a multipart upload (S3 user guide, "Multipart upload limits").
const (
	MinPart  = 5 << 20 // bytes; the last part may be smaller
	MaxPart  = 5 << 30
	MaxParts = 10_000
)

// Upload is a multipart upload in progress.
type Upload struct {
	Key   Key       `json:"key"`
	ID    string    `json:"id"`
	Begun time.Time `json:"-"` // where it was listed
}

// Part is a part that the store has.
type Part struct {
	Number int    `json:"number"`
	Size   int64  `json:"size"`
	ETag   string `json:"etag"`
	CRC32  uint32 `json:"crc32"`
	HasCRC bool   `json:"has_crc"`
}

// CreateUpload begins a multipart upload whose parts and whole carry CRC-32.
func (v *Vault) CreateUpload(ctx context.Context, key Key) (Upload, error) {
	out, err := v.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &v.bucket, Key: new(string(key)), ContentType: new(contentType(key)),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
	})
	if err != nil {
		return Upload{}, wrap(err, "begin to write %s", key)
	}
	return Upload{Key: key, ID: aws.ToString(out.UploadId)}, nil
}

// UploadPart writes one part. A number may be written again: the last one counts.
func (v *Vault) UploadPart(ctx context.Context, u Upload, number int, body []byte) (Part, error) {
	crc := checksum(body)
	out, err := v.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &v.bucket, Key: new(string(u.Key)), UploadId: &u.ID, PartNumber: new(int32(number)),
		Body: bytes.NewReader(body), ContentLength: new(int64(len(body))),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumCRC32: new(EncodeCRC(crc)),
	}, v.unsigned)
	if err != nil {
		return Part{}, wrap(err, "write part %d of %s", number, u.Key)
	}
	return Part{Number: number, Size: int64(len(body)), ETag: aws.ToString(out.ETag), CRC32: crc, HasCRC: true}, nil
}

// CopyPart writes one part by a server-side copy of a range of another object of the vault. No byte passes
// through this process.
func (v *Vault) CopyPart(ctx context.Context, u Upload, number int, from Key, offset, length int64) (Part, error) {
	part, err := v.copyPart(ctx, u, number, Foreign{Bucket: v.bucket, Key: string(from)}, offset, length)
	return part, shorter(wrap(err, "copy part %d of %s from %s", number, u.Key, from))
}

// copyPart gives errors of the store as they are.
func (v *Vault) copyPart(ctx context.Context, u Upload, number int, from Foreign, offset, length int64) (Part, error) {
	in := &s3.UploadPartCopyInput{
		Bucket: &v.bucket, Key: new(string(u.Key)), UploadId: &u.ID, PartNumber: new(int32(number)),
		CopySource:      new(from.Bucket + "/" + escapeKey(from.Key)),
		CopySourceRange: byteRange(offset, length),
	}
	if from.ETag != "" {
		in.CopySourceIfMatch = &from.ETag
	}
	if from.Owner != "" {
		in.ExpectedSourceBucketOwner = &from.Owner
	}
	out, err := v.client.UploadPartCopy(ctx, in)
	if err != nil {
		return Part{}, err
	}
	part := Part{Number: number, Size: length}
	if r := out.CopyPartResult; r != nil {
		part.ETag = aws.ToString(r.ETag)
		part.CRC32, part.HasCRC = DecodeCRC(aws.ToString(r.ChecksumCRC32))
	}
	return part, nil
}

// shorter gives the refusal of a range its kind: the source does not reach so far.
func shorter(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "InvalidArgument" {
		return failure.New(failure.Corrupt, "%w", err)
	}
	return err
}

// Parts returns the parts that the store has, by number.
func (v *Vault) Parts(ctx context.Context, u Upload) (map[int]Part, error) {
	parts := map[int]Part{}
	pages := s3.NewListPartsPaginator(v.client, &s3.ListPartsInput{Bucket: &v.bucket, Key: new(string(u.Key)), UploadId: &u.ID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap(err, "list the parts of %s", u.Key)
		}
		for _, p := range page.Parts {
			part := Part{Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size), ETag: aws.ToString(p.ETag)}
			part.CRC32, part.HasCRC = DecodeCRC(aws.ToString(p.ChecksumCRC32))
			parts[part.Number] = part
		}
	}
	return parts, nil
}

// Complete joins the parts to one object. The store checks size and CRC-32 of the whole (Corrupt when they
// differ). An object that is already there with the same size and CRC-32 is success; with others it is Conflict.
func (v *Vault) Complete(ctx context.Context, u Upload, parts []Part, size int64, crc uint32) error {
	return v.complete(ctx, u, parts, size, crc, IfAbsent())
}

func (v *Vault) complete(ctx context.Context, u Upload, parts []Part, size int64, crc uint32, cond Condition) error {
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &v.bucket, Key: new(string(u.Key)), UploadId: &u.ID,
		ChecksumCRC32: new(EncodeCRC(crc)), ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: &size,
		MultipartUpload: &types.CompletedMultipartUpload{},
	}
	in.IfNoneMatch, in.IfMatch = cond.headers()
	for _, p := range parts {
		part := types.CompletedPart{PartNumber: new(int32(p.Number)), ETag: new(p.ETag)}
		if p.HasCRC {
			part.ChecksumCRC32 = new(EncodeCRC(p.CRC32))
		}
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, part)
	}
	_, err := v.client.CompleteMultipartUpload(ctx, in)
	if err == nil {
		return nil
	}
	err = wrap(err, "complete %s", u.Key)
	switch failure.KindOf(err) {
	case failure.NotFound, failure.Conflict, failure.Transient:
		// The answer of an earlier attempt was lost, or another attempt was faster.
		if v.Completed(ctx, u.Key, size, crc) {
			return v.Abort(ctx, u)
		}
	}
	return err
}

// Completed reports whether the key has an object of this size and CRC-32.
func (v *Vault) Completed(ctx context.Context, key Key, size int64, crc uint32) bool {
	info, err := v.Head(ctx, key)
	return err == nil && info.Size == size && info.HasCRC32 && info.CRC32 == crc
}

// Abort gives an upload up and frees its parts; one that is gone is success.
func (v *Vault) Abort(ctx context.Context, u Upload) error {
	_, err := v.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &v.bucket, Key: new(string(u.Key)), UploadId: &u.ID})
	return unlessGone(wrap(err, "abort the upload of %s", u.Key))
}

// Uploads yields the multipart uploads in progress below a prefix.
func (v *Vault) Uploads(ctx context.Context, prefix Key) iter.Seq2[Upload, error] {
	return func(yield func(Upload, error) bool) {
		pages := s3.NewListMultipartUploadsPaginator(v.client, &s3.ListMultipartUploadsInput{Bucket: &v.bucket, Prefix: new(string(prefix))})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Upload{}, wrap(err, "list the uploads below %s", prefix))
				return
			}
			for _, u := range page.Uploads {
				if !yield(Upload{Key: Key(aws.ToString(u.Key)), ID: aws.ToString(u.UploadId), Begun: aws.ToTime(u.Initiated)}, nil) {
					return
				}
			}
		}
	}
}

// AbortAll gives up every upload in progress below the prefixes.
func (v *Vault) AbortAll(ctx context.Context, prefixes ...Key) error {
	for u, err := range v.Uploads(ctx, commonPrefix(prefixes)) {
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(prefixes, func(p Key) bool { return strings.HasPrefix(string(u.Key), string(p)) }) {
			continue
		}
		if err := v.Abort(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func commonPrefix(keys []Key) Key {
	common := keys[0]
	for _, key := range keys[1:] {
		for !strings.HasPrefix(string(key), string(common)) {
			common = common[:len(common)-1]
		}
	}
	return common
}

// cleanUpTime bounds what is done after a cancellation.
const cleanUpTime = 10 * time.Second
