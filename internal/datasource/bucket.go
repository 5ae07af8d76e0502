package datasource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource/idle"
	"lifeboat/internal/failure"
)

// patience is how long a bucket may take for one page of a listing, for the start of an object, and for the
// next byte of it. The SDK's own retries count.
const patience = time.Minute

// Bucket is a datasource in an S3 bucket, or below a prefix of one.
type Bucket struct {
	client *s3.Client
	bucket string
	prefix string // "" or ending with "/"
	side   side
	access Access
}

// Access says how a client reaches a bucket that belongs to somebody else.
type Access struct {
	Role  string // the ARN of the role that it has assumed; "": none
	Owner string // the account that it names in every request as the bucket's; "": none
}

// NewBucket returns the objects below prefix as a datasource; keys are relative to it. A prefix gets its trailing
// "/" where it has none. It doesn't touch the bucket yet.
func NewBucket(client *s3.Client, bucket, prefix string) *Bucket {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &Bucket{client: client, bucket: bucket, prefix: prefix}
}

// OfTarget says that it is where restores go: errors then speak of the target's settings. It returns b.
func (b *Bucket) OfTarget() *Bucket {
	b.side = ofTarget
	return b
}

// As says how the client reaches the bucket, so that errors name what may be wrong, and no store is asked to copy with
// other credentials. It returns b.
func (b *Bucket) As(a Access) *Bucket {
	b.access = a
	return b
}

// Describe implements Datasource.
func (b *Bucket) Describe() string {
	if b.prefix == "" {
		return "the bucket " + b.bucket
	}
	return fmt.Sprintf("the bucket %s below %s", b.bucket, b.prefix)
}

// Place implements Resumable.
func (b *Bucket) Place() string {
	return fmt.Sprintf("%s at %q", b.Describe(), aws.ToString(b.client.Options().BaseEndpoint))
}

// List implements Datasource. Folder markers, which are empty objects whose key ends with "/", are left out.
func (b *Bucket) List(ctx context.Context) iter.Seq2[app.Object, error] { return b.ListAfter(ctx, "") }

// ListAfter implements Resumable.
func (b *Bucket) ListAfter(ctx context.Context, after string) iter.Seq2[app.Object, error] {
	return func(yield func(app.Object, error) bool) {
		for page, err := range b.pages(ctx, after, b.page) {
			if err != nil {
				yield(app.Object{}, err)
				return
			}
			for _, listed := range page.Contents {
				object, ok := b.object(listed)
				if ok && !yield(object, nil) {
					return
				}
			}
		}
	}
}

// start says where a page of a listing starts: after a key, or where the page before it ended.
type start struct{ after, token *string }

// pages yields the pages of a listing that starts after a key, "" for the first. Any error is the last value.
func (b *Bucket) pages(ctx context.Context, after string, ask func(context.Context, start) (*s3.ListObjectsV2Output, error)) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		var from start
		if after != "" {
			from.after = aws.String(b.prefix + after)
		}
		for {
			page, err := ask(ctx, from)
			if err == nil {
				err = b.inOrder(page, from)
			}
			if err == nil {
				err = b.continues(page, from)
			}
			if !yield(page, err) || err != nil || !aws.ToBool(page.IsTruncated) {
				return
			}
			from = start{token: page.NextContinuationToken}
		}
	}
}

// inOrder refuses a page that should start after a key and doesn't: what else the store left out, nobody knows.
func (b *Bucket) inOrder(page *s3.ListObjectsV2Output, from start) error {
	if from.after == nil || len(page.Contents) == 0 || aws.ToString(page.Contents[0].Key) > *from.after {
		return nil
	}
	return failure.New(failure.Invalid, "list: %s does not start after the key that it was asked to start after", b.Describe()).
		WithHint("back the source up on a machine, where its list is made in one go")
}

// continues refuses a page that says that there are more, and not where they begin, or that they begin where it began.
func (b *Bucket) continues(page *s3.ListObjectsV2Output, from start) error {
	next := aws.ToString(page.NextContinuationToken)
	if !aws.ToBool(page.IsTruncated) || next != "" && next != aws.ToString(from.token) {
		return nil
	}
	return failure.New(failure.Invalid, "list: %s has more objects than it lists, and does not say where the next of them begin", b.Describe()).
		WithHint("check the endpoint in %s: the store, or a proxy in front of it, does not answer ListObjectsV2 as S3 does", b.side)
}

// page returns one page of the listing. A key with control characters makes the answer's XML invalid; only then the
// page is asked for with encoded keys, because stores differ in how they encode.
func (b *Bucket) page(ctx context.Context, from start) (*s3.ListObjectsV2Output, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	input := &s3.ListObjectsV2Input{Bucket: aws.String(b.bucket), Prefix: aws.String(b.prefix), StartAfter: from.after, ContinuationToken: from.token}
	page, err := b.client.ListObjectsV2(limited, input)
	if _, unreadable := errors.AsType[*smithy.DeserializationError](err); unreadable && limited.Err() == nil {
		input.EncodingType = types.EncodingTypeUrl
		if page, err = b.client.ListObjectsV2(limited, input); err == nil {
			err = decodeKeys(page)
		}
	}
	if err != nil {
		return nil, b.fault(ctx, "list", err)
	}
	return page, nil
}

func decodeKeys(page *s3.ListObjectsV2Output) error {
	if page.EncodingType != types.EncodingTypeUrl {
		return nil
	}
	for i, listed := range page.Contents {
		key, err := url.QueryUnescape(aws.ToString(listed.Key))
		if err != nil {
			return fmt.Errorf("decode a key: %w", err)
		}
		page.Contents[i].Key = &key
	}
	return nil
}

// object returns a listed object; false for the prefix's own marker and for other folder markers.
func (b *Bucket) object(listed types.Object) (app.Object, bool) {
	key, size := strings.TrimPrefix(aws.ToString(listed.Key), b.prefix), aws.ToInt64(listed.Size)
	if key == "" || size == 0 && strings.HasSuffix(key, "/") {
		return app.Object{}, false
	}
	return app.Object{
		Key: key, Size: size, Modified: aws.ToTime(listed.LastModified).UTC(), Settled: true,
		Identity: identity(aws.ToString(listed.ETag), size, aws.ToTime(listed.LastModified)),
	}, true
}

// identity holds the time in whole seconds, because that is all that the answer to a GET says of it.
func identity(etag string, size int64, modified time.Time) string {
	return fmt.Sprintf("%s:%d:%d", etag, size, modified.Unix())
}

// identified gives what a store has answered its identity. An answer with the ETag and the size of the listed version is
// that version, with its time: some stores' answers differ by a second from their listings.
func identified(now *app.Object, listed app.Object, etag string) {
	now.Identity = identity(etag, now.Size, now.Modified)
	if was := etagOf(listed.Identity); was != "" && was == etag && listed.Size == now.Size {
		now.Identity, now.Modified = listed.Identity, listed.Modified
	}
}

// etagOf returns the ETag in an identity, or "".
func etagOf(identity string) string {
	for range 2 {
		identity = identity[:max(strings.LastIndexByte(identity, ':'), 0)]
	}
	return identity
}

// Open implements Datasource. The store compares the ETag of object.Identity: another version is a Conflict.
func (b *Bucket) Open(ctx context.Context, object app.Object) (app.Content, error) {
	input := &s3.GetObjectInput{Bucket: aws.String(b.bucket), Key: aws.String(b.prefix + object.Key)}
	if etag := etagOf(object.Identity); etag != "" {
		input.IfMatch = aws.String(etag)
	}
	limited, guard := idle.New(ctx, patience)
	answer, err := b.client.GetObject(limited, input)
	if err != nil {
		guard.Stop()
		return nil, b.fault(ctx, "open "+strconv.Quote(object.Key), err)
	}
	now := app.Object{
		Key: object.Key, Path: object.Path, Type: object.Type, Settled: true,
		Size: aws.ToInt64(answer.ContentLength), Modified: aws.ToTime(answer.LastModified).UTC(),
		Media: media(answer.ContentType, answer.ContentEncoding, answer.ContentDisposition, answer.CacheControl, answer.Metadata),
	}
	identified(&now, object, aws.ToString(answer.ETag))
	return &remote{ReadCloser: guard.Body(answer.Body, patience), bucket: b, now: now}, nil
}

// remote is an object being downloaded: one GET, hence one version.
type remote struct {
	io.ReadCloser
	bucket *Bucket
	now    app.Object
}

func (r *remote) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == nil || err == io.EOF || failure.KindOf(err) != failure.Internal {
		return n, err
	}
	return n, failure.New(failure.Transient, "read %q in %s: %w", r.now.Key, r.bucket.Describe(), err)
}

// Now implements app.Content: what the GET's own answer said.
func (r *remote) Now() (app.Object, error) { return r.now, nil }

// fault gives an error of the store its kind. A store's own words are not repeated, its error code is.
func (b *Bucket) fault(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s in %s: %w", doing, b.Describe(), ctx.Err())
	}
	if ours, ok := errors.AsType[*failure.Error](err); ok { // there are no credentials to ask with
		return fmt.Errorf("%s in %s: %w", doing, b.Describe(), ours)
	}
	code, status := codeOf(err)
	switch {
	case code == "InvalidObjectState":
		return failure.New(failure.Denied, "%s in %s: %w", doing, b.Describe(), app.ErrArchived)
	case code == "NoSuchBucket" || status == 404 && doing == "list":
		return failure.New(failure.NotFound, "the bucket %s does not exist", b.bucket).
			WithHint("check the bucket, the region and the endpoint in %s", b.side)
	case status == 404:
		return failure.New(failure.NotFound, "%s: it is gone from %s", doing, b.Describe())
	case status == 412:
		return failure.New(failure.Conflict, "%s: it has changed in %s since it was listed", doing, b.Describe())
	case status == 401 || status == 403:
		return failure.New(failure.Denied, "%s: %s refuses (%s)", doing, b.Describe(), code).
			WithHint("%s", b.access.hint())
	case status == 301 || status == 307:
		return failure.New(failure.Usage, "%s: %s lies in another region (%s)", doing, b.Describe(), code).
			WithHint("set the bucket's region or endpoint in %s", b.side)
	case status == 429 || status >= 500:
		return failure.New(failure.Transient, "%s: %s answers with status %d (%s)", doing, b.Describe(), status, code).
			WithHint("try again later")
	case status >= 400:
		return failure.New(failure.Invalid, "%s: %s answers with status %d (%s)", doing, b.Describe(), status, code).
			WithHint("check the endpoint in %s: is this an S3 store?", b.side)
	}
	if _, unreadable := errors.AsType[*smithy.DeserializationError](err); unreadable {
		return failure.New(failure.Invalid, "%s: the answer of %s can't be read: %w", doing, b.Describe(), err).
			WithHint("check the endpoint in %s: is this an S3 store?", b.side)
	}
	return failure.New(failure.Transient, "%s: %s does not answer: %w", doing, b.Describe(), err).
		WithHint("check that the store runs and that its endpoint can be reached from this machine")
}

// hint says what to look at where a bucket refuses: S3 says the same of a missing right and of another owner.
func (a Access) hint() string {
	who := "the access key, and that it"
	if a.Role != "" {
		who = "that the role " + a.Role
	}
	hint := "check " + who + " may s3:ListBucket the bucket and s3:GetObject its objects"
	if a.Owner != "" {
		hint += ", and owner (" + a.Owner + "), the account that the bucket must belong to"
	}
	return hint
}

func codeOf(err error) (code string, status int) {
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = answer.HTTPStatusCode()
	}
	code = "no error code"
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = strconv.Quote(api.ErrorCode())
		code = code[1 : len(code)-1]
	}
	return code, status
}
