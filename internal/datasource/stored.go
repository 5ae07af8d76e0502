package datasource

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Stored is a Datasource whose objects lie in an S3 store as they are.
type Stored interface {
	Datasource
	// Located returns where the listed version of an object lies; false where that is not known, or nobody else may
	// copy it.
	Located(object app.Object) (app.Location, bool)
	// Head returns what the store knows of the listed version of an object, without reading it. Its errors are
	// those of Open.
	Head(ctx context.Context, object app.Object) (app.Description, error)
}

var _ Stored = (*Bucket)(nil)

// Located implements Stored.
func (b *Bucket) Located(object app.Object) (app.Location, bool) {
	at := app.Location{
		Endpoint: aws.ToString(b.client.Options().BaseEndpoint), Bucket: b.bucket, Key: b.prefix + object.Key,
		ETag: etagOf(object.Identity), Owner: b.access.Owner,
	}
	if b.access.Role != "" {
		at.Apart = "the bucket " + b.bucket + " is reached as " + b.access.Role + ", and a store copies only what one principal reaches on both sides"
	}
	return at, at.ETag != "" && at.Apart == "" && !object.Dir
}

// Head implements Stored.
func (b *Bucket) Head(ctx context.Context, object app.Object) (app.Description, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	input := &s3.HeadObjectInput{Bucket: aws.String(b.bucket), Key: aws.String(b.prefix + object.Key), ChecksumMode: types.ChecksumModeEnabled}
	if etag := etagOf(object.Identity); etag != "" {
		input.IfMatch = aws.String(etag)
	}
	doing := "look at " + strconv.Quote(object.Key)
	answer, err := b.client.HeadObject(limited, input)
	if err != nil {
		return app.Description{}, b.fault(ctx, doing, err)
	}
	if archived(answer) {
		return app.Description{}, failure.New(failure.Denied, "%s in %s: %w", doing, b.Describe(), app.ErrArchived)
	}
	d := app.Description{Object: object}
	d.Object.Size, d.Object.Modified = aws.ToInt64(answer.ContentLength), aws.ToTime(answer.LastModified).UTC()
	identified(&d.Object, object, aws.ToString(answer.ETag))
	d.Object.Media = media(answer.ContentType, answer.ContentEncoding, answer.ContentDisposition, answer.CacheControl, answer.Metadata)
	if answer.ChecksumCRC32 != nil && answer.ChecksumType != types.ChecksumTypeComposite {
		d.CRC32, d.HasCRC32 = decodeCRC(*answer.ChecksumCRC32)
	}
	return d, nil
}

// archived reports whether an object has to be restored before it can be read.
func archived(answer *s3.HeadObjectOutput) bool {
	switch answer.StorageClass {
	case types.StorageClassGlacier, types.StorageClassDeepArchive:
		return !strings.Contains(aws.ToString(answer.Restore), `ongoing-request="false"`)
	}
	return answer.ArchiveStatus != ""
}

// media returns what a store keeps beside the bytes; nil where that is no more than what it says of any object.
func media(contentType, encoding, disposition, cache *string, metadata map[string]string) *app.Media {
	m := app.Media{
		ContentType: aws.ToString(contentType), ContentEncoding: withoutChunked(aws.ToString(encoding)),
		ContentDisposition: aws.ToString(disposition), CacheControl: aws.ToString(cache),
	}
	for key, value := range metadata {
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[strings.ToLower(key)] = value
	}
	switch m.ContentType {
	case "", "application/octet-stream", "binary/octet-stream":
		if m.ContentEncoding+m.ContentDisposition+m.CacheControl == "" && m.Metadata == nil {
			return nil
		}
	}
	return &m
}

// withoutChunked removes the encoding of an upload's transport, which some stores keep as if it were the object's.
func withoutChunked(encoding string) string {
	var kept []string
	for name := range strings.SplitSeq(encoding, ",") {
		if name = strings.TrimSpace(name); name != "" && name != "aws-chunked" {
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, ", ")
}

// decodeCRC reads a CRC-32 as S3 spells it.
func decodeCRC(text string) (uint32, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(raw), true
}
