package restore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/archive"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// large does an object by itself: the store copies it, or it streams.
func (t *BucketTarget) large(ctx context.Context, u Unit, w *writing) error {
	i := u.Items[0]
	if w.at == nil {
		if there, err := t.there(ctx, u.Fresh, i); there || err != nil {
			return err
		}
	}
	distrust := false
	// What another call has begun to stream goes on so: that the store does not copy it is known to that call alone.
	copies := u.Copy && t.streaming() == "" && (w.at == nil || w.at.Spliced)
	if w.at != nil && w.at.Spliced && !copies {
		t.Abandon(ctx, *w.at)
		w.at = nil
	}
	if copies {
		o, verdict, err := t.splice(ctx, u, w)
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
	o, err := t.streamed(ctx, u, w)
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
func (t *BucketTarget) splice(ctx context.Context, u Unit, w *writing) (outcome, verdict, error) {
	i := u.Items[0]
	if w.at == nil {
		id, err := t.begin(ctx, i)
		if err != nil {
			return 0, declined, err
		}
		w.at = &Upload{Key: i.Key, ID: id, Spliced: true}
	}
	id := w.at.ID
	parts, v, err := t.copyParts(ctx, u, w)
	if err != nil && w.keeps(err) {
		return 0, v, err
	}
	w.at = nil
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
	case gone(err):
		return 0, copied, err
	case code(err) == "ConditionalRequestConflict": // every part would have to be copied again
		return 0, declined, nil
	}
	return o, copied, err
}

// copyParts copies every part that is not there yet, several at a time, and holds their checksums against the entry's.
func (t *BucketTarget) copyParts(ctx context.Context, u Unit, w *writing) ([]types.CompletedPart, verdict, error) {
	n := max(1, min(u.Length/t.o.Piece, vault.MaxParts), (u.Length+vault.MaxPart-1)/vault.MaxPart)
	start := func(k int64) int64 { return u.Length/n*k + min(k, u.Length%n) }
	if int64(len(w.at.Parts)) != n { // none is there, or they were divided in another way
		w.at.Parts = make([]Part, n)
	}
	done := w.at.Parts
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mutex sync.Mutex
	var group sync.WaitGroup
	var shown int64
	var stopped error
	for k := range n {
		if done[k].ETag != "" {
			continue
		}
		if !acquire(inner, copyPlaces) {
			break
		}
		if w.stopped() { // what is under way ends first
			stopped = errStopped
			<-copyPlaces
			break
		}
		group.Go(func() {
			defer func() { <-copyPlaces }()
			part, err := t.copyPart(inner, u, w.at.ID, int32(k+1), start(k), start(k+1)-start(k))
			if err != nil {
				cancel(err)
				return
			}
			mutex.Lock()
			done[k] = part
			shown += start(k+1) - start(k)
			mutex.Unlock()
			t.progress(0, start(k+1)-start(k))
		})
	}
	group.Wait()
	if err := cmp.Or(context.Cause(inner), stopped); err != nil {
		if w.keeps(err) {
			return nil, declined, err
		}
		t.progress(0, -shown)
		if gone(err) {
			return nil, declined, err
		}
		v, err := t.refused(err)
		return nil, v, err
	}
	var sum uint32
	parts := make([]types.CompletedPart, n)
	for k := range n {
		crc, _ := vault.DecodeCRC(done[k].CRC32)
		sum = zipfmt.CombineCRC(sum, crc, start(k+1)-start(k))
		parts[k] = done[k].completed(int32(k + 1))
	}
	if manifest.CRC(sum) != u.Items[0].Entry.CRC32 {
		t.progress(0, -shown)
		return nil, differs, nil
	}
	return parts, copied, nil
}

// errNoCRC says that a store returns no checksum of what it copies.
var errNoCRC = failure.New(failure.Invalid, "the store returns no checksum of what it copies")

func (t *BucketTarget) copyPart(ctx context.Context, u Unit, id string, number int32, from, length int64) (Part, error) {
	if err := ctx.Err(); err != nil {
		return Part{}, err
	}
	ctx, stop := patient(ctx) // a part that arrives after its upload was given up stays for ever
	defer stop()
	first := u.From.Offset + from
	out, err := t.o.Client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &t.o.Bucket, Key: &u.Items[0].Key, UploadId: &id, PartNumber: &number,
		CopySource:      new(t.source.Vault.Bucket() + "/" + (&url.URL{Path: string(u.From.Key)}).EscapedPath()),
		CopySourceRange: new(fmt.Sprintf("bytes=%d-%d", first, first+length-1)),

		ExpectedSourceBucketOwner: t.source.Vault.ExpectedOwner(),
	})
	if err != nil {
		return Part{}, vault.Fault(err, "have the store copy %s", u.Items[0].Key)
	}
	if out.CopyPartResult == nil {
		return Part{}, errNoCRC
	}
	if _, ok := vault.DecodeCRC(aws.ToString(out.CopyPartResult.ChecksumCRC32)); !ok {
		return Part{}, errNoCRC
	}
	return Part{ETag: aws.ToString(out.CopyPartResult.ETag), CRC32: aws.ToString(out.CopyPartResult.ChecksumCRC32)}, nil
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
// Where a part of it is written already, a stored one is read from there on, and one that is compressed from its
// beginning.
func (t *BucketTarget) streamed(ctx context.Context, u Unit, w *writing) (outcome, error) {
	waited := len(windowPlaces) == cap(windowPlaces)
	if !acquire(ctx, windowPlaces) {
		return 0, ctx.Err()
	}
	defer func() { <-windowPlaces }()
	if waited && w.stopped() {
		return 0, errStopped
	}
	i := u.Items[0]
	s := &partWriter{target: t, item: i, size: partSize(i.Entry.Size), w: w}
	from, length, begun := u.From, u.Length, (*archive.Begun)(nil)
	if w.at != nil && w.at.Read != nil {
		begun = w.at.Read
		from.Offset, length = from.Offset+begun.Read, length-begun.Read
	} else if w.at != nil {
		s.skip = len(w.at.Parts)
	}
	body, err := t.source.open(ctx, from, length)
	if err == nil {
		defer body.Close()
		err = t.source.check(i.Entry, body, begun, func(content io.Reader) error { return s.fill(ctx, content) })
	}
	if err != nil {
		if w.at != nil && !w.keeps(err) {
			t.abort(ctx, i, w.at.ID)
			w.at = nil
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
	skip   int   // parts at the beginning that are written already
	buffer []byte
	w      *writing
}

// fill writes every full part. An error is the target's, or errStopped: one of the content is for who checks it.
func (s *partWriter) fill(ctx context.Context, content io.Reader) error {
	s.buffer = make([]byte, 0, min(s.size, s.item.Entry.Size+1))
	for {
		n, err := io.ReadFull(content, s.buffer[len(s.buffer):cap(s.buffer)])
		s.buffer = s.buffer[:len(s.buffer)+n]
		if err != nil {
			return nil
		}
		if err := s.full(ctx, content); err != nil {
			return err
		}
		s.buffer = s.buffer[:0]
		if s.w.stopped() {
			return errStopped
		}
	}
}

// full writes a full part, and keeps how much of the content was read by then.
func (s *partWriter) full(ctx context.Context, content io.Reader) error {
	if s.skip > 0 {
		s.skip--
		return nil
	}
	part, err := s.flush(ctx)
	if err != nil {
		return err
	}
	s.w.at.Parts = append(s.w.at.Parts, part)
	if s.item.Entry.Deflated == nil {
		s.w.at.Read, _ = archive.ReadSoFar(content)
	}
	return nil
}

func (s *partWriter) flush(ctx context.Context) (Part, error) {
	if s.w.at == nil {
		id, err := s.target.begin(ctx, s.item)
		if err != nil {
			return Part{}, err
		}
		s.w.at = &Upload{Key: s.item.Key, ID: id}
	}
	number := new(int32(len(s.w.at.Parts) + 1))
	out, err := s.target.o.Client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.target.o.Bucket, Key: &s.item.Key, UploadId: &s.w.at.ID, PartNumber: number, Body: bytes.NewReader(s.buffer),
		ContentLength: new(int64(len(s.buffer))), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return Part{}, s.target.fault(err, "write part %d of %s", *number, s.item.Key)
	}
	return Part{ETag: aws.ToString(out.ETag), CRC32: aws.ToString(out.ChecksumCRC32)}, nil
}

// close gives the object its name.
func (s *partWriter) close(ctx context.Context) (outcome, error) {
	if s.w.at == nil {
		return s.target.put(ctx, s.item, s.buffer)
	}
	parts := s.w.at.Parts
	if len(s.buffer) > 0 {
		last, err := s.flush(ctx)
		if err != nil {
			if !s.w.keeps(err) {
				s.target.abort(ctx, s.item, s.w.at.ID)
				s.w.at = nil
			}
			return 0, err
		}
		parts = append(slices.Clone(parts), last)
	}
	id := s.w.at.ID
	s.w.at = nil // from here on it is whole, or it is given up
	all := make([]types.CompletedPart, len(parts))
	for k, part := range parts {
		all[k] = part.completed(int32(k + 1))
	}
	return s.target.complete(ctx, s.item, id, all, wrote)
}
