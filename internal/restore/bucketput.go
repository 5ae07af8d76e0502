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
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// small does a window: one read, and one write for each of its objects that is not there.
func (t *BucketTarget) small(ctx context.Context, u Unit) error {
	var mutex sync.Mutex
	missing := u
	missing.Items, missing.Length = nil, 0
	err := t.each(ctx, u.Items, func(i Item) error {
		there, err := t.there(ctx, u.Fresh, i)
		if err == nil && !there {
			mutex.Lock()
			defer mutex.Unlock()
			missing.Items = append(missing.Items, i)
		}
		return err
	})
	if err != nil || len(missing.Items) == 0 {
		return err
	}
	first, last := u.From.Offset+u.Length, u.From.Offset
	for _, i := range missing.Items {
		if size := i.Entry.StoredSize(); size > 0 {
			first, last = min(first, i.Offset), max(last, i.Offset+size)
		}
	}
	missing.From.Offset, missing.Length = first, max(0, last-first)
	return t.fill(ctx, missing)
}

// fill reads a window and writes its objects.
func (t *BucketTarget) fill(ctx context.Context, u Unit) error {
	if !acquire(ctx, t.window) {
		return ctx.Err()
	}
	defer func() { <-t.window }()
	data, err := t.read(ctx, u)
	if failure.KindOf(err) == failure.NotFound && err != nil {
		err = failure.New(failure.Corrupt, "could not be read: %w", err)
	}
	return t.each(ctx, u.Items, func(i Item) error {
		var content []byte
		itemErr := err
		if size := i.Entry.StoredSize(); itemErr == nil && size > 0 {
			at := i.Offset - u.From.Offset
			content, itemErr = whole(i.Entry, data[at:at+size])
		}
		var o outcome
		if itemErr == nil {
			o, itemErr = t.put(ctx, i, content)
		}
		return t.settle(i, o, itemErr)
	})
}

// settle counts an object that was written, or its trouble.
func (t *BucketTarget) settle(i Item, o outcome, err error) error {
	if err != nil {
		err = t.trouble(i, err)
	} else {
		t.done(i, o)
	}
	if err == nil {
		t.o.Progress(1, i.Entry.Size)
	}
	return err
}

// each does the items, many at a time, and returns the first error.
func (t *BucketTarget) each(ctx context.Context, items []Item, do func(Item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, i := range items {
		if !acquire(ctx, t.puts) {
			break
		}
		group.Go(func() {
			defer func() { <-t.puts }()
			if err := do(i); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// readAttempts is how often a window is read: the SDK repeats a request, not a body that breaks off.
const readAttempts = 3

func (t *BucketTarget) read(ctx context.Context, u Unit) ([]byte, error) {
	data := make([]byte, u.Length)
	for attempt := 1; ; attempt++ {
		err := t.readInto(ctx, u, data)
		if err == nil || failure.KindOf(err) != failure.Transient || attempt == readAttempts {
			return data, err
		}
	}
}

func (t *BucketTarget) readInto(ctx context.Context, u Unit, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	body, err := t.source.Open(ctx, u.From.Key, u.From.Offset, u.Length)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err = io.ReadFull(body, data); errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return failure.New(failure.Corrupt, "the backup ends before its entries do")
	}
	return err
}

// whole returns the content of an entry from its body, if it is what the manifest says; Corrupt otherwise.
func whole(e manifest.Entry, stored []byte) ([]byte, error) {
	if e.Deflated == nil {
		if manifest.CRC(crc32.ChecksumIEEE(stored)) != e.CRC32 {
			return nil, failure.New(failure.Corrupt, "does not have the CRC-32 that the manifest says")
		}
		if e.SHA256 != "" {
			if sum := sha256.Sum256(stored); hex.EncodeToString(sum[:]) != e.SHA256 {
				return nil, failure.New(failure.Corrupt, "does not have the SHA-256 that the manifest says")
			}
		}
		return stored, nil
	}
	var content bytes.Buffer
	problem, err := archive.Content(e, bytes.NewReader(stored), func(_ manifest.Entry, r io.Reader) error {
		_, _ = content.ReadFrom(r) // the check says what is wrong with it
		return nil
	})
	if err == nil && problem != "" {
		err = failure.New(failure.Corrupt, "%s", problem)
	}
	return content.Bytes(), err
}

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
