package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// large does an object by itself: the store copies it, or it streams.
func (t *BucketTarget) large(ctx context.Context, u Unit) error {
	i := u.Items[0]
	if there, err := t.there(ctx, u.Fresh, i); there || err != nil {
		return err
	}
	distrust := false
	if u.Copy && t.streaming() == "" {
		o, verdict, err := t.splice(ctx, u)
		if err != nil || verdict == copied {
			if err != nil {
				return t.settle(i, o, err)
			}
			t.done(i, o)
			t.progress(1, i.Entry.Size-t.shown(u, o))
			return nil
		}
		distrust = verdict == differs
	}
	o, err := t.streamed(ctx, u)
	if err == nil && distrust {
		t.stream("the store returns wrong checksums of what it copies")
	}
	return t.settle(i, o, err)
}

// shown returns how many bytes of a unit Progress has got while it was spliced.
func (t *BucketTarget) shown(u Unit, o outcome) int64 {
	if o == spliced {
		return u.Length
	}
	return 0
}

// verdict says how a splice ended.
type verdict int

const (
	copied   verdict = iota
	declined         // the store does not copy it
	differs          // what it copied is not what the manifest says, if its checksums are right
)

// splice has the store copy an object. What it copied of one that does not become whole is given up.
func (t *BucketTarget) splice(ctx context.Context, u Unit) (outcome, verdict, error) {
	i := u.Items[0]
	id, err := t.begin(ctx, i)
	if err != nil {
		return 0, declined, err
	}
	parts, v, err := t.copyParts(ctx, u, id)
	if err != nil || v != copied {
		t.abort(ctx, i, id)
		return 0, v, err
	}
	o, err := t.complete(ctx, i, id, parts, spliced)
	if err != nil || o != spliced {
		t.progress(0, -u.Length)
	}
	switch {
	case failure.KindOf(err) == failure.Corrupt && err != nil:
		return 0, differs, nil
	case code(err) == "ConditionalRequestConflict": // every part would have to be copied again
		return 0, declined, nil
	}
	return o, copied, err
}

// copyParts copies every part, several at a time, and holds their checksums against the entry's.
func (t *BucketTarget) copyParts(ctx context.Context, u Unit, id string) ([]types.CompletedPart, verdict, error) {
	n := max(1, min(u.Length/t.o.Piece, vault.MaxParts), (u.Length+vault.MaxPart-1)/vault.MaxPart)
	parts, crcs := make([]types.CompletedPart, n), make([]uint32, n)
	start := func(k int64) int64 { return u.Length/n*k + min(k, u.Length%n) }
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mutex sync.Mutex
	var group sync.WaitGroup
	var shown int64
	for k := range n {
		if !acquire(inner, copyPlaces) {
			break
		}
		group.Go(func() {
			defer func() { <-copyPlaces }()
			part, crc, err := t.copyPart(inner, u, id, int32(k+1), start(k), start(k+1)-start(k))
			if err != nil {
				cancel(err)
				return
			}
			parts[k], crcs[k] = part, crc
			mutex.Lock()
			shown += start(k+1) - start(k)
			mutex.Unlock()
			t.progress(0, start(k+1)-start(k))
		})
	}
	group.Wait()
	if err := context.Cause(inner); err != nil {
		t.progress(0, -shown)
		v, err := t.refused(err)
		return nil, v, err
	}
	var sum uint32
	for k := range n {
		sum = zipfmt.CombineCRC(sum, crcs[k], start(k+1)-start(k))
	}
	if manifest.CRC(sum) != u.Items[0].Entry.CRC32 {
		t.progress(0, -shown)
		return nil, differs, nil
	}
	return parts, copied, nil
}

// errNoCRC says that a store returns no checksum of what it copies.
var errNoCRC = failure.New(failure.Invalid, "the store returns no checksum of what it copies")

func (t *BucketTarget) copyPart(ctx context.Context, u Unit, id string, number int32, from, length int64) (types.CompletedPart, uint32, error) {
	if err := ctx.Err(); err != nil {
		return types.CompletedPart{}, 0, err
	}
	ctx, stop := patient(ctx) // a part that arrives after its upload was given up stays for ever
	defer stop()
	first := u.From.Offset + from
	out, err := t.o.Client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &t.o.Bucket, Key: &u.Items[0].Key, UploadId: &id, PartNumber: &number,
		CopySource:      new(t.source.Vault.Bucket() + "/" + (&url.URL{Path: string(u.From.Key)}).EscapedPath()),
		CopySourceRange: new(fmt.Sprintf("bytes=%d-%d", first, first+length-1)),
	})
	if err != nil {
		return types.CompletedPart{}, 0, vault.Fault(err, "have the store copy %s", u.Items[0].Key)
	}
	if out.CopyPartResult == nil {
		return types.CompletedPart{}, 0, errNoCRC
	}
	crc, ok := vault.DecodeCRC(aws.ToString(out.CopyPartResult.ChecksumCRC32))
	if !ok {
		return types.CompletedPart{}, 0, errNoCRC
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag, ChecksumCRC32: out.CopyPartResult.ChecksumCRC32}, crc, nil
}

// refused weighs why the store did not copy: for good, for this object only, or for a reason that ends the restore.
func (t *BucketTarget) refused(err error) (verdict, error) {
	switch code(err) {
	case "NotImplemented", "MethodNotAllowed":
		t.stream("the store does not copy ranges")
		return declined, nil
	case "NoSuchBucket":
		t.stream("the target's store does not know the vault")
		return declined, nil
	}
	switch failure.KindOf(err) {
	case failure.Canceled, failure.Transient, failure.Exhausted:
		return declined, err
	case failure.Denied:
		t.stream("the target's credentials may not read the vault")
	case failure.Invalid:
		t.stream(err.Error())
	}
	return declined, nil // reading it says more
}

// patient returns a context that outlives the end of another one by cleanUpTime.
func patient(ctx context.Context) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(cleanUpTime, cancel) })
	return longer, func() { forget(); cancel() }
}

// begin begins a multipart upload. A cancellation waits for its answer: only who knows the id can free the parts.
func (t *BucketTarget) begin(ctx context.Context, i Item) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	ctx, stop := patient(ctx)
	defer stop()
	m := t.media(i)
	out, err := t.o.Client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &t.o.Bucket, Key: &i.Key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
		ContentType: &m.ContentType, Metadata: m.Metadata,
		ContentEncoding: some(m.ContentEncoding), ContentDisposition: some(m.ContentDisposition), CacheControl: some(m.CacheControl),
	})
	if err != nil {
		return "", t.fault(err, "begin to write %s", i.Key)
	}
	return aws.ToString(out.UploadId), nil
}

// complete joins the parts, if they have the entry's size and CRC-32 and nothing has its name. However it fails, the
// parts are freed.
func (t *BucketTarget) complete(ctx context.Context, i Item, id string, parts []types.CompletedPart, success outcome) (outcome, error) {
	_, err := t.o.Client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &t.o.Bucket, Key: &i.Key, UploadId: &id, IfNoneMatch: new("*"), MpuObjectSize: &i.Entry.Size,
		ChecksumCRC32: new(vault.EncodeCRC(uint32(i.Entry.CRC32))), ChecksumType: types.ChecksumTypeFullObject,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err == nil {
		return success, t.kept(ctx, i)
	}
	err = t.fault(err, "complete %s", i.Key)
	switch failure.KindOf(err) {
	case failure.NotFound, failure.Transient: // the answer of an earlier attempt was lost
		if same, _, compared := t.compare(ctx, i); compared == nil && same {
			t.abort(ctx, i, id)
			return success, nil
		}
	case failure.Conflict:
		success, err = existed, t.conflict(ctx, i, err)
	}
	t.abort(ctx, i, id)
	return success, err
}

// abort frees the parts of an upload, after a cancellation too. What cannot be freed is for the bucket's own rule about
// incomplete uploads.
func (t *BucketTarget) abort(ctx context.Context, i Item, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	_, _ = t.o.Client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &t.o.Bucket, Key: &i.Key, UploadId: &id})
}

// streamed reads an object and writes it, in parts where it is larger than one. It is checked before it gets its name.
func (t *BucketTarget) streamed(ctx context.Context, u Unit) (outcome, error) {
	if !acquire(ctx, windowPlaces) {
		return 0, ctx.Err()
	}
	defer func() { <-windowPlaces }()
	i := u.Items[0]
	body, err := t.source.open(ctx, u.From, u.Length)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	s := &partWriter{target: t, item: i, size: partSize(i.Entry.Size)}
	err = t.source.check(i.Entry, body, func(content io.Reader) error { return s.fill(ctx, content) })
	if err != nil {
		if s.upload != "" {
			t.abort(ctx, i, s.upload)
		}
		return 0, err
	}
	return s.close(ctx)
}

// partSize returns how many bytes of an object are one part.
func partSize(size int64) int64 {
	const unit = 1 << 20
	return max(windowSize, (size/vault.MaxParts/unit+1)*unit)
}

// partWriter writes one object, one part in memory.
type partWriter struct {
	target *BucketTarget
	item   Item
	size   int64 // of a part
	buffer []byte
	upload string
	parts  []types.CompletedPart
}

// fill writes every full part. An error is the target's: one of the content is for who checks it.
func (s *partWriter) fill(ctx context.Context, content io.Reader) error {
	s.buffer = make([]byte, 0, min(s.size, s.item.Entry.Size+1))
	for {
		n, err := io.ReadFull(content, s.buffer[len(s.buffer):cap(s.buffer)])
		s.buffer = s.buffer[:len(s.buffer)+n]
		if err != nil {
			return nil
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
}

func (s *partWriter) flush(ctx context.Context) error {
	var err error
	if s.upload == "" {
		if s.upload, err = s.target.begin(ctx, s.item); err != nil {
			return err
		}
	}
	number := new(int32(len(s.parts) + 1))
	out, err := s.target.o.Client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.target.o.Bucket, Key: &s.item.Key, UploadId: &s.upload, PartNumber: number, Body: bytes.NewReader(s.buffer),
		ContentLength: new(int64(len(s.buffer))), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return s.target.fault(err, "write part %d of %s", *number, s.item.Key)
	}
	s.parts = append(s.parts, types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	s.buffer = s.buffer[:0]
	return nil
}

// close gives the object its name.
func (s *partWriter) close(ctx context.Context) (outcome, error) {
	if s.upload == "" {
		return s.target.put(ctx, s.item, s.buffer)
	}
	if len(s.buffer) > 0 {
		if err := s.flush(ctx); err != nil {
			s.target.abort(ctx, s.item, s.upload)
			return 0, err
		}
	}
	return s.target.complete(ctx, s.item, s.upload, s.parts, wrote)
}
