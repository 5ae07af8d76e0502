package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"mime"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// put writes an object in one request.
func (t *BucketTarget) put(ctx context.Context, i Item, content []byte) (outcome, error) {
	m := t.media(i)
	in := &s3.PutObjectInput{
		Bucket: &t.o.Bucket, Key: &i.Key, ContentLength: new(int64(len(content))), IfNoneMatch: new("*"),
		ChecksumCRC32: new(vault.EncodeCRC(uint32(i.Entry.CRC32))), ContentType: &m.ContentType, Metadata: m.Metadata,
		ContentEncoding: some(m.ContentEncoding), ContentDisposition: some(m.ContentDisposition), CacheControl: some(m.CacheControl),
	}
	err := retryRace(ctx, func() error {
		in.Body = bytes.NewReader(content)
		_, err := t.o.Client.PutObject(ctx, in)
		return err
	})
	if err = t.fault(err, "write %s", i.Key); err != nil && failure.KindOf(err) == failure.Conflict {
		return existed, t.conflict(ctx, i, err)
	}
	if err == nil {
		err = t.kept(ctx, i)
	}
	return wrote, err
}

// kept finds out whether a store that keeps objects as files has one under the very name that it was given: it may drop
// segments that are empty.
func (t *BucketTarget) kept(ctx context.Context, i Item) error {
	if t.names.opaque || !strings.Contains("/"+i.Key, "//") {
		return nil
	}
	list, err := t.o.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &t.o.Bucket, Prefix: &i.Key, MaxKeys: new(int32(1))})
	if err == nil && (len(list.Contents) == 0 || aws.ToString(list.Contents[0].Key) != i.Key) {
		return failure.New(failure.Invalid, "the store keeps it under another name than %q", i.Key)
	}
	return nil // who may not list cannot know
}

// retryRace repeats a conditional write that the store refused because another one was under way.
func retryRace(ctx context.Context, write func() error) error {
	wait := 20 * time.Millisecond
	for {
		err := write()
		if code(err) != "ConditionalRequestConflict" || wait > 2*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// code returns the store's own word for an error; "" where it has none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// there reports whether the restore is done with an object before it has begun: it has the right bytes, or its name is
// taken by another. In a fresh target nobody asks: the write itself says so.
func (t *BucketTarget) there(ctx context.Context, fresh bool, i Item) (bool, error) {
	if fresh {
		return false, nil
	}
	same, found, err := t.compare(ctx, i)
	switch kind := failure.KindOf(err); {
	case err != nil && kind == failure.Denied: // AWS answers so for what is not there, to who may not list
		return false, nil
	case err != nil && kind != failure.Canceled && kind != failure.Transient: // the write will say it better
		return false, nil
	case err != nil || !found:
		return false, err
	case same:
		return true, t.settle(i, existed, t.kept(ctx, i))
	}
	return true, t.settle(i, existed, errTaken)
}

// errTaken is about a name that another object has.
var errTaken = failure.New(failure.Conflict, "an object with other bytes has its name already; it was left as it is")

// conflict says what a write means that the store refused because the name is taken. nil: it has the right bytes.
func (t *BucketTarget) conflict(ctx context.Context, i Item, refused error) error {
	same, found, err := t.compare(ctx, i)
	switch kind := failure.KindOf(err); {
	case err != nil && (kind == failure.Canceled || kind == failure.Transient):
		return err
	case err != nil:
		return failure.New(failure.Conflict, "an object that cannot be compared has its name already: %v", err)
	case !found:
		return refused
	case !same:
		return errTaken
	}
	return t.kept(ctx, i)
}

// compare reports whether the target has an object of this name, and whether it has the entry's bytes: by the store's
// checksum, or else by reading it.
func (t *BucketTarget) compare(ctx context.Context, i Item) (same, found bool, err error) {
	head, err := t.o.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &t.o.Bucket, Key: &i.Key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		err = vault.Fault(err, "look at %s", i.Key)
		if failure.KindOf(err) == failure.NotFound {
			return false, false, nil
		}
		return false, false, err
	}
	if aws.ToInt64(head.ContentLength) != i.Entry.Size {
		return false, true, nil
	}
	if head.ChecksumType != types.ChecksumTypeComposite {
		if crc, ok := vault.DecodeCRC(aws.ToString(head.ChecksumCRC32)); ok {
			return crc == uint32(i.Entry.CRC32), true, nil
		}
	}
	out, err := t.o.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &t.o.Bucket, Key: &i.Key, IfMatch: head.ETag})
	if err != nil {
		return false, true, vault.Fault(err, "read %s", i.Key)
	}
	defer out.Body.Close()
	crc, sha := crc32.NewIEEE(), sha256.New()
	if _, err := io.Copy(io.MultiWriter(crc, sha), out.Body); err != nil {
		return false, true, failure.New(failure.Transient, "read %s: %w", i.Key, err)
	}
	known := i.Entry.SHA256 == "" || hex.EncodeToString(sha.Sum(nil)) == i.Entry.SHA256
	return known && manifest.CRC(crc.Sum32()) == i.Entry.CRC32, true, nil
}

func some(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// media returns what the store keeps beside an object's bytes: what it had, or a type by its name.
func (t *BucketTarget) media(i Item) app.Media {
	var m app.Media
	if o := i.Entry.Origin; o != nil && o.Media != nil {
		if m = *o.Media; !sendable(m) {
			m = app.Media{}
			t.problem(app.Finding{
				Severity: app.Problem, Kind: "media", Item: i.Entry.Path, Message: "was written without its metadata, which no request can hold",
			})
		}
	}
	if m.ContentType == "" {
		m.ContentType = mime.TypeByExtension(strings.ToLower(path.Ext(i.Key)))
	}
	if m.ContentType == "" {
		m.ContentType = "application/octet-stream"
	}
	return m
}

// sendable reports whether headers can hold the media: a manifest may say anything.
func sendable(m app.Media) bool {
	values := []string{m.ContentType, m.ContentEncoding, m.ContentDisposition, m.CacheControl}
	for name, value := range m.Metadata {
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) }) {
			return false
		}
		values = append(values, value)
	}
	for _, value := range values {
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return false
		}
	}
	return true
}
