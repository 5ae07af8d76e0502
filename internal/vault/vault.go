// Package vault is the one bucket that holds everything lifeboat keeps, reached through aws-sdk-go-v2 wherever it
// lies: on AWS, on any S3 server, or on the embedded one.
//
// What it promises: keys are typed (keys.go has the schema); what is created is created once (If-None-Match), and
// what is updated is updated from the version that was read (If-Match); every write carries a CRC-32 that the
// store checks; every read is checked by the SDK against the stored checksum or by the caller against a digest;
// errors carry a kind. A 403 is Denied and never "not there".
//
// It sits below all steps and knows nothing of what the bytes mean.
package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/failure"
)

// Vault is one bucket. It is safe for concurrent use.
type Vault struct {
	client    *s3.Client
	presigns  *s3.Client // client, unless PresignWith names another
	owner     *string    // see OwnedBy
	bucket    string
	sync      func(context.Context) error
	abilities *Abilities // nil: the store was never asked
}

// New returns the vault in a bucket. sync makes everything written so far survive a power loss; nil where the
// store promises that by itself.
func New(client *s3.Client, bucket string, sync func(context.Context) error) *Vault {
	if sync == nil {
		sync = func(context.Context) error { return nil }
	}
	return &Vault{client: client, presigns: client, bucket: bucket, sync: sync}
}

// PresignWith has the vault presign with another client of the same store: what presigns must put nothing into a request
// that a browser would not send.
func (v *Vault) PresignWith(client *s3.Client) { v.presigns = client }

// OwnedBy says which account the bucket must belong to; "" for any.
func (v *Vault) OwnedBy(account string) {
	if account != "" {
		v.owner = &account
	}
}

// ExpectedOwner is what another client's request that copies from the vault says of its owner; nil for any.
func (v *Vault) ExpectedOwner() *string { return v.owner }

// Bucket returns the bucket's name.
func (v *Vault) Bucket() string { return v.bucket }

// Sync returns when everything written so far survives a power loss.
func (v *Vault) Sync(ctx context.Context) error {
	if err := v.sync(ctx); err != nil {
		return fmt.Errorf("sync the vault: %w", err)
	}
	return nil
}

// Info describes one object.
type Info struct {
	Key      Key
	Size     int64
	ETag     string
	Modified time.Time
	CRC32    uint32 // of the whole object, where HasCRC32
	HasCRC32 bool
	// Version and Locked are known of what Head describes, in a bucket that keeps versions and locks them.
	Version string
	Locked  Locked
}

// Condition of a write.
type Condition struct {
	absent bool
	match  bool
	etag   string
}

// Always writes unconditionally: only for keys that belong to one attempt of one run.
func Always() Condition { return Condition{} }

// IfAbsent writes only what does not exist: Conflict otherwise.
func IfAbsent() Condition { return Condition{absent: true} }

// IfMatch writes only over the version with this ETag: Conflict otherwise.
func IfMatch(etag string) Condition { return Condition{match: true, etag: etag} }

// headers returns the condition as a request has it. An unknown ETag matches nothing, rather than everything.
func (c Condition) headers() (ifNoneMatch, ifMatch *string) {
	switch {
	case c.absent:
		return new("*"), nil
	case c.match && c.etag == "":
		return nil, new(`"none"`)
	case c.match:
		return nil, &c.etag
	}
	return nil, nil
}

// Put writes an object and returns its ETag. A write that was repeated because its answer was lost is success when
// the object has these bytes: the store refuses the repetition of a conditional write that it has done.
func (v *Vault) Put(ctx context.Context, key Key, body []byte, cond Condition) (string, error) {
	in := &s3.PutObjectInput{
		Bucket: &v.bucket, Key: new(string(key)), Body: bytes.NewReader(body),
		ContentLength: new(int64(len(body))), ChecksumCRC32: new(EncodeCRC(checksum(body))),
		ContentType: new(contentType(key)),
	}
	in.IfNoneMatch, in.IfMatch = cond.headers()
	var etag string
	sent := 0
	err := retryRace(ctx, func() error {
		in.Body = bytes.NewReader(body)
		out, err := v.client.PutObject(ctx, in, counting(&sent), v.unsigned)
		if err == nil {
			etag = aws.ToString(out.ETag)
		}
		return err
	})
	if err = wrap(err, "write %s", key); err == nil || failure.KindOf(err) != failure.Conflict || sent < 2 {
		return etag, err
	}
	if there, same := v.same(ctx, key, body); same {
		return there, nil
	}
	return "", err
}

// same reports whether the object at key has these bytes, and its ETag.
func (v *Vault) same(ctx context.Context, key Key, body []byte) (etag string, same bool) {
	info, err := v.Head(ctx, key)
	if err != nil || info.Size != int64(len(body)) {
		return "", false
	}
	if info.HasCRC32 {
		return info.ETag, info.CRC32 == checksum(body)
	}
	stored, info, err := v.Open(ctx, key, 0, -1)
	if err != nil {
		return "", false
	}
	defer stored.Close()
	sum := crc32.NewIEEE()
	_, err = io.Copy(sum, stored)
	return info.ETag, err == nil && sum.Sum32() == checksum(body)
}

// Create writes an object that must be the same whoever writes it: one that is there with the same bytes is
// success, with other bytes Conflict.
func (v *Vault) Create(ctx context.Context, key Key, body []byte) error {
	_, err := v.Put(ctx, key, body, IfAbsent())
	if err == nil || failure.KindOf(err) != failure.Conflict {
		return err
	}
	if _, same := v.same(ctx, key, body); same {
		return nil
	}
	return err
}

// maxSmall bounds what Get holds in memory, in bytes.
const maxSmall = 16 << 20

// Get returns a small object and its ETag.
func (v *Vault) Get(ctx context.Context, key Key) ([]byte, string, error) {
	body, info, err := v.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxSmall+1))
	if err != nil {
		return nil, "", err // body says what it is
	}
	if len(data) > maxSmall {
		return nil, "", failure.New(failure.Corrupt, "read %s: larger than %d bytes", key, maxSmall)
	}
	return data, info.ETag, nil
}

// GetJSON decodes a small JSON object into value and returns its ETag. Text that is no such JSON is
// Corrupt; its ETag is returned all the same.
func (v *Vault) GetJSON(ctx context.Context, key Key, value any) (string, error) {
	data, etag, err := v.Get(ctx, key)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return etag, failure.New(failure.Corrupt, "read %s: %w", key, err)
	}
	return etag, nil
}

// PutJSON writes value as indented JSON with a final newline and returns the ETag.
func (v *Vault) PutJSON(ctx context.Context, key Key, value any, cond Condition) (string, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", key, err)
	}
	return v.Put(ctx, key, append(data, '\n'), cond)
}

// Open reads length bytes from offset on; everything when length is negative. An object that does not reach so far is
// Corrupt. The caller closes the body.
func (v *Vault) Open(ctx context.Context, key Key, offset, length int64) (io.ReadCloser, Info, error) {
	in := &s3.GetObjectInput{Bucket: &v.bucket, Key: new(string(key))}
	if length >= 0 {
		if length == 0 {
			return io.NopCloser(bytes.NewReader(nil)), Info{Key: key}, nil
		}
		in.Range = byteRange(offset, length)
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := v.client.GetObject(ctx, in)
	if err != nil {
		return nil, Info{}, wrap(err, "read %s", key)
	}
	info := Info{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified)}
	if length > 0 && info.Size != length {
		out.Body.Close()
		return nil, Info{}, failure.New(failure.Corrupt, "read %s: it ends %d bytes before %d", key, length-info.Size, offset+length)
	}
	return &body{out.Body, key}, info, nil
}

func byteRange(offset, length int64) *string {
	return new(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
}

// body gives a read error its kind: bytes that do not have the stored checksum are Corrupt, what is left is the
// network's fault.
type body struct {
	io.ReadCloser
	key Key
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	switch err = wrap(err, "read %s", b.key); {
	case strings.Contains(err.Error(), "checksum did not match"): // the SDK has no type for it
		err = failure.New(failure.Corrupt, "%w", err)
	case failure.KindOf(err) == failure.Internal:
		err = failure.New(failure.Transient, "%w", err)
	}
	return n, err
}

// Head describes an object, with the store's own CRC-32 of all its bytes where it has one.
func (v *Vault) Head(ctx context.Context, key Key) (Info, error) {
	out, err := v.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &v.bucket, Key: new(string(key)), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return Info{}, wrap(err, "look at %s", key)
	}
	info := Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified),
		Version: aws.ToString(out.VersionId), Locked: lockedOf(out),
	}
	if out.ChecksumCRC32 != nil && out.ChecksumType != types.ChecksumTypeComposite {
		info.CRC32, info.HasCRC32 = DecodeCRC(*out.ChecksumCRC32)
	}
	return info, nil
}

// List yields every object below a prefix in the order of keys.
func (v *Vault) List(ctx context.Context, prefix Key) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(v.client, &s3.ListObjectsV2Input{Bucket: &v.bucket, Prefix: new(string(prefix))})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, wrap(err, "list %s", prefix))
				return
			}
			for _, o := range page.Contents {
				info := Info{Key: Key(aws.ToString(o.Key)), Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified)}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// Delete removes an object; one that is not there is success.
func (v *Vault) Delete(ctx context.Context, key Key) error {
	_, err := v.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.bucket, Key: new(string(key))})
	return unlessGone(wrap(err, "delete %s", key))
}

// DeleteMatch removes the version of an object that has this ETag: Conflict when there is another. One that is not
// there is success.
func (v *Vault) DeleteMatch(ctx context.Context, key Key, etag string) error {
	_, ifMatch := IfMatch(etag).headers()
	_, err := v.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.bucket, Key: new(string(key)), IfMatch: ifMatch})
	return unlessGone(wrap(err, "delete %s", key))
}

// unlessGone is success where what was to go is not there.
func unlessGone(err error) error {
	if failure.KindOf(err) == failure.NotFound {
		return nil
	}
	return err
}

// DeleteAll removes everything below a prefix but the keys that keep names, a thousand with one request.
func (v *Vault) DeleteAll(ctx context.Context, prefix Key, keep ...Key) error {
	var keys []Key
	for info, err := range v.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if slices.Contains(keep, info.Key) {
			continue
		}
		if keys = append(keys, info.Key); len(keys) == deleteMost {
			if err := v.DeleteKeys(ctx, keys); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	return v.DeleteKeys(ctx, keys)
}

// deleteMost is how many keys one request deletes (S3 API reference, DeleteObjects).
const deleteMost = 1000

// DeleteKeys removes objects; those that are not there are success. The first refusal is the error; the others are
// deleted all the same.
func (v *Vault) DeleteKeys(ctx context.Context, keys []Key) error {
	for chunk := range slices.Chunk(keys, deleteMost) {
		in := &s3.DeleteObjectsInput{Bucket: &v.bucket, Delete: &types.Delete{Quiet: new(true)}}
		for _, key := range chunk {
			in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: new(string(key))})
		}
		out, err := v.client.DeleteObjects(ctx, in)
		if err != nil {
			return wrap(err, "delete %d objects", len(chunk))
		}
		if len(out.Errors) > 0 {
			refused, kind := out.Errors[0], failure.Transient
			if aws.ToString(refused.Code) == "AccessDenied" {
				kind = failure.Denied
			}
			return failure.New(kind, "delete %s: the store refuses (%s)", aws.ToString(refused.Key), aws.ToString(refused.Code))
		}
	}
	return nil
}

// Presign returns a URL that downloads an object under a file name for the given time; at most 15 minutes.
func (v *Vault) Presign(ctx context.Context, key Key, fileName string, ttl time.Duration) (string, error) {
	ttl = min(ttl, 15*time.Minute)
	request, err := s3.NewPresignClient(v.presigns).PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &v.bucket, Key: new(string(key)), ResponseContentType: new("application/zip"),
		ResponseContentDisposition: new(fmt.Sprintf("attachment; filename=%q", fileName)),
	}, s3.WithPresignExpires(ttl))
	if err != nil {
		return "", wrap(err, "presign %s", key)
	}
	return request.URL, nil
}

// EncodeCRC returns a CRC-32 as S3 spells it.
func EncodeCRC(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// DecodeCRC reads a CRC-32 as S3 spells it.
func DecodeCRC(text string) (uint32, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(raw), true
}

func contentType(key Key) string {
	switch {
	case strings.HasSuffix(string(key), ".json"):
		return "application/json"
	case strings.HasSuffix(string(key), ".zip"):
		return "application/zip"
	}
	return "application/octet-stream"
}
