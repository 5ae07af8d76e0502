package s3model_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/s3model"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

const mib = 1 << 20

// world is one of the stores under comparison.
type world struct {
	*testing.T
	*s3.Client
	bucket string
	data   []byte // 12 MiB, also stored as "large"
	etag   string // of "large"
}

func serve(t testing.TB, options s3model.Options) (*s3model.Server, *s3.Client) {
	t.Helper()
	store := s3model.New(options)
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	return store, connect(t, server.URL, "worker")
}

func connect(t testing.TB, url, name string) *s3.Client {
	t.Helper()
	client, err := vault.Connect(t.Context(), vault.Store{
		Endpoint: url, Region: "us-east-1", AccessKey: secret.New(name), SecretKey: secret.New("any"), HTTP: http.DefaultClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *world) prepare() {
	w.data = make([]byte, 12*mib)
	for i := range w.data {
		w.data[i] = byte(i) ^ byte(i>>8)*7 ^ byte(i>>16)*31
	}
	out, err := w.put("large", w.data)
	if err != nil {
		w.Fatal(err)
	}
	w.etag = aws.ToString(out.ETag)
	for _, key := range []string{"small", "list/a", "list/b/c", "list/b/d", "list/e f", "to be deleted"} {
		if _, err := w.put(key, []byte("content of "+key)); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) put(key string, body []byte, change ...func(*s3.PutObjectInput)) (*s3.PutObjectOutput, error) {
	in := &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(body)}
	for _, c := range change {
		c(in)
	}
	return w.PutObject(w.Context(), in)
}

func (w *world) get(key string, change ...func(*s3.GetObjectInput)) (string, error) {
	in := &s3.GetObjectInput{Bucket: &w.bucket, Key: &key}
	for _, c := range change {
		c(in)
	}
	out, err := w.GetObject(w.Context(), in)
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	text := string(body)
	if at := bytes.Index(w.data, body); len(body) > mib {
		text = fmt.Sprintf("%d bytes of the data from %d", len(body), at)
	}
	return text + " " + aws.ToString(out.ContentRange), err
}

// begin creates an upload with CRC-32 of the whole.
func (w *world) begin(key string) *s3.CreateMultipartUploadOutput {
	out, err := w.CreateMultipartUpload(w.Context(), &s3.CreateMultipartUploadInput{
		Bucket: &w.bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
		ContentType: new("text/strange"), Metadata: map[string]string{"color": "blue"},
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) part(u *s3.CreateMultipartUploadOutput, number int32, body []byte) (types.CompletedPart, error) {
	out, err := w.UploadPart(w.Context(), &s3.UploadPartInput{
		Bucket: u.Bucket, Key: u.Key, UploadId: u.UploadId, PartNumber: &number, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32: out.ChecksumCRC32}, nil
}

func (w *world) copied(u *s3.CreateMultipartUploadOutput, number int32, source, span string, change ...func(*s3.UploadPartCopyInput)) (types.CompletedPart, error) {
	in := &s3.UploadPartCopyInput{
		Bucket: u.Bucket, Key: u.Key, UploadId: u.UploadId, PartNumber: &number, CopySource: new(w.bucket + "/" + source),
	}
	if span != "" {
		in.CopySourceRange = new("bytes=" + span)
	}
	for _, c := range change {
		c(in)
	}
	out, err := w.UploadPartCopy(w.Context(), in)
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: &number, ChecksumCRC32: out.CopyPartResult.ChecksumCRC32}, nil
}

// parts uploads bodies of these sizes, out of the data.
func (w *world) parts(u *s3.CreateMultipartUploadOutput, sizes ...int) []types.CompletedPart {
	var parts []types.CompletedPart
	at := 0
	for i, n := range sizes {
		p, err := w.part(u, int32(i+1), w.data[at:at+n])
		if err != nil {
			w.Fatal(err)
		}
		parts, at = append(parts, p), at+n
	}
	return parts
}

func (w *world) join(u *s3.CreateMultipartUploadOutput, parts []types.CompletedPart, change ...func(*s3.CompleteMultipartUploadInput)) (string, error) {
	in := &s3.CompleteMultipartUploadInput{Bucket: u.Bucket, Key: u.Key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	for _, c := range change {
		c(in)
	}
	out, err := w.CompleteMultipartUpload(w.Context(), in)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s", aws.ToString(out.ChecksumCRC32), out.ChecksumType), nil
}

func (w *world) head(key string) (string, error) {
	out, err := w.HeadObject(w.Context(), &s3.HeadObjectInput{Bucket: &w.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(aws.ToInt64(out.ContentLength), " ", aws.ToString(out.ContentType), " ", out.Metadata, " ", aws.ToString(out.ChecksumCRC32), " ", out.ChecksumType), nil
}

func (w *world) list(change func(*s3.ListObjectsV2Input)) (string, error) {
	in := &s3.ListObjectsV2Input{Bucket: &w.bucket, Prefix: new("list/")}
	change(in)
	var text []string
	for pages := s3.NewListObjectsV2Paginator(w.Client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(w.Context())
		if err != nil {
			return "", err
		}
		for _, o := range page.Contents {
			text = append(text, fmt.Sprint(aws.ToString(o.Key), ":", aws.ToInt64(o.Size)))
		}
		for _, p := range page.CommonPrefixes {
			text = append(text, aws.ToString(p.Prefix))
		}
		text = append(text, "|")
	}
	return strings.Join(text, " "), nil
}

func crc(data []byte) string { return vault.EncodeCRC(crc32.ChecksumIEEE(data)) }

func done(_ any, err error) (string, error) { return "done", err }

// requests are asked of both stores, in this order. want is what AWS answers by its documentation: a text, or status
// and code. Where the embedded server is known to differ, embedded has its answer.
var requests = []struct {
	name     string
	ask      func(w *world) (string, error)
	want     string
	embedded string
}{
	{name: "head bucket", want: "done", ask: func(w *world) (string, error) {
		return done(w.HeadBucket(w.Context(), &s3.HeadBucketInput{Bucket: &w.bucket}))
	}},
	{name: "head a bucket that is not there", want: "404 NotFound", ask: func(w *world) (string, error) {
		return done(w.HeadBucket(w.Context(), &s3.HeadBucketInput{Bucket: new("nobody-has-this")}))
	}},
	{name: "create a bucket that is there", want: "409 BucketAlreadyOwnedByYou", ask: func(w *world) (string, error) {
		return done(w.CreateBucket(w.Context(), &s3.CreateBucketInput{Bucket: &w.bucket}))
	}},
	{name: "put with type and metadata", want: "done", ask: func(w *world) (string, error) {
		return done(w.put("described", []byte("abc"), func(in *s3.PutObjectInput) {
			in.ContentType, in.Metadata = new("text/strange"), map[string]string{"color": "blue"}
		}))
	}},
	{name: "head with checksum", want: "3 text/strange map[color:blue] " + crc([]byte("abc")) + " FULL_OBJECT", ask: func(w *world) (string, error) { return w.head("described") }},
	{name: "put with a wrong checksum", want: "400 BadDigest", ask: func(w *world) (string, error) {
		return done(w.put("wrong", []byte("abc"), func(in *s3.PutObjectInput) { in.ChecksumCRC32 = new("AAAAAA==") }))
	}},
	{name: "put where something is", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		return done(w.put("small", []byte("x"), func(in *s3.PutObjectInput) { in.IfNoneMatch = new("*") }))
	}},
	{name: "put over another version", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		return done(w.put("small", []byte("x"), func(in *s3.PutObjectInput) { in.IfMatch = new(`"none"`) }))
	}},
	{name: "put over what is not there", want: "404 NoSuchKey", ask: func(w *world) (string, error) {
		return done(w.put("absent", []byte("x"), func(in *s3.PutObjectInput) { in.IfMatch = new(`"none"`) }))
	}},
	{name: "put over the known version", want: "done", ask: func(w *world) (string, error) {
		out, err := w.put("versions", []byte("one"))
		if err != nil {
			return "", err
		}
		return done(w.put("versions", []byte("two"), func(in *s3.PutObjectInput) { in.IfMatch = out.ETag }))
	}},
	{name: "get", want: "content of small ", ask: func(w *world) (string, error) { return w.get("small") }},
	{name: "get a range", want: "tent of bytes 3-9/16", ask: func(w *world) (string, error) {
		return w.get("small", func(in *s3.GetObjectInput) { in.Range = new("bytes=3-9") })
	}},
	{name: "get an open range", want: " small bytes 10-15/16", ask: func(w *world) (string, error) {
		return w.get("small", func(in *s3.GetObjectInput) { in.Range = new("bytes=10-") })
	}},
	{name: "get the last bytes", want: "small bytes 11-15/16", ask: func(w *world) (string, error) {
		return w.get("small", func(in *s3.GetObjectInput) { in.Range = new("bytes=-5") })
	}},
	{name: "get a range that begins behind the end", want: "416 InvalidRange", ask: func(w *world) (string, error) {
		return w.get("small", func(in *s3.GetObjectInput) { in.Range = new("bytes=99-100") })
	}},
	{name: "get another version", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		return w.get("small", func(in *s3.GetObjectInput) { in.IfMatch = new(`"none"`) })
	}},
	{name: "get the known version", want: "12582912 bytes of the data from 0 ", ask: func(w *world) (string, error) {
		return w.get("large", func(in *s3.GetObjectInput) { in.IfMatch = &w.etag })
	}},
	{name: "get what is not there", want: "404 NoSuchKey", ask: func(w *world) (string, error) { return w.get("absent") }},
	{name: "head what is not there", want: "404 NotFound", ask: func(w *world) (string, error) { return w.head("absent") }},
	{name: "delete another version", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		return done(w.DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: new("small"), IfMatch: new(`"none"`)}))
	}},
	{name: "delete what is not there", want: "done", ask: func(w *world) (string, error) {
		return done(w.DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: new("absent")}))
	}},
	{name: "delete several", want: "2 deleted, 0 errors", ask: func(w *world) (string, error) {
		out, err := w.DeleteObjects(w.Context(), &s3.DeleteObjectsInput{Bucket: &w.bucket, Delete: &types.Delete{
			Objects: []types.ObjectIdentifier{{Key: new("to be deleted")}, {Key: new("absent")}},
		}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d deleted, %d errors", len(out.Deleted), len(out.Errors)), nil
	}},
	{name: "list", want: "list/a:17 list/b/c:19 list/b/d:19 list/e f:19 |", ask: func(w *world) (string, error) {
		return w.list(func(*s3.ListObjectsV2Input) {})
	}},
	{name: "list in pages", want: "list/a:17 list/b/c:19 list/b/d:19 | list/e f:19 |", ask: func(w *world) (string, error) {
		return w.list(func(in *s3.ListObjectsV2Input) { in.MaxKeys = new(int32(3)) })
	}},
	{name: "list folders", want: "list/a:17 list/e f:19 list/b/ |", ask: func(w *world) (string, error) {
		return w.list(func(in *s3.ListObjectsV2Input) { in.Delimiter = new("/") })
	}},
	{name: "list folders in pages", want: "list/a:17 list/b/ | list/e f:19 |", ask: func(w *world) (string, error) {
		return w.list(func(in *s3.ListObjectsV2Input) { in.Delimiter, in.MaxKeys = new("/"), new(int32(2)) })
	}},
	{name: "list after a key", want: "list/b/d:19 list/e f:19 |", ask: func(w *world) (string, error) {
		return w.list(func(in *s3.ListObjectsV2Input) { in.StartAfter = new("list/b/c") })
	}},
	{name: "copy an object", want: "12582912 application/octet-stream map[] ", ask: func(w *world) (string, error) {
		if _, err := w.CopyObject(w.Context(), &s3.CopyObjectInput{Bucket: &w.bucket, Key: new("copy"), CopySource: new(w.bucket + "/large")}); err != nil {
			return "", err
		}
		text, err := w.head("copy")
		text, _, _ = strings.Cut(text, crc(w.data)) // the checksum comes along
		return text, err
	}},
	{name: "part number 0", want: "400 InvalidArgument", ask: func(w *world) (string, error) {
		return done(w.part(w.begin("number"), 0, []byte("x")))
	}},
	{name: "part number 10,001", want: "400 InvalidArgument", ask: func(w *world) (string, error) {
		return done(w.part(w.begin("number"), 10_001, []byte("x")))
	}},
	{name: "a part of no upload", want: "404 NoSuchUpload", ask: func(w *world) (string, error) {
		return done(w.part(&s3.CreateMultipartUploadOutput{Bucket: &w.bucket, Key: new("x"), UploadId: new("x")}, 1, []byte("x")))
	}},
	{name: "parts and a small last one", want: "done", ask: func(w *world) (string, error) {
		u := w.begin("joined")
		return done(w.join(u, w.parts(u, 5*mib, 5*mib, 1000), func(in *s3.CompleteMultipartUploadInput) {
			in.ChecksumCRC32, in.ChecksumType, in.MpuObjectSize = new(crc(w.data[:10*mib+1000])), types.ChecksumTypeFullObject, new(int64(10*mib+1000))
		}))
	}},
	{name: "head what was joined", want: "10486760 text/strange map[color:blue] true FULL_OBJECT", ask: func(w *world) (string, error) {
		text, err := w.head("joined")
		return strings.Replace(text, crc(w.data[:10*mib+1000]), "true", 1), err
	}},
	{name: "join with a wrong checksum", want: "400 BadDigest", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		return w.join(u, w.parts(u, 1000), func(in *s3.CompleteMultipartUploadInput) {
			in.ChecksumCRC32, in.ChecksumType = new("AAAAAA=="), types.ChecksumTypeFullObject
		})
	}},
	{name: "join with a wrong size", want: "400 InvalidRequest", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		return w.join(u, w.parts(u, 1000), func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = new(int64(999)) })
	}},
	{name: "join where something is", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		u := w.begin("small")
		return w.join(u, w.parts(u, 1000), func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = new("*") })
	}},
	{name: "join a part that is too small", want: "400 EntityTooSmall", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		return w.join(u, w.parts(u, 5*mib-1, 1000))
	}},
	{name: "join parts out of order", want: "400 InvalidPartOrder", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		parts := w.parts(u, 5*mib, 5*mib)
		return w.join(u, []types.CompletedPart{parts[1], parts[0]})
	}},
	{name: "join a part that is not there", want: "400 InvalidPart", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		return w.join(u, append(w.parts(u, 5*mib), types.CompletedPart{PartNumber: new(int32(7)), ETag: new(`"0123"`)}))
	}},
	{name: "join with another checksum of a part", want: "400 InvalidPart", ask: func(w *world) (string, error) {
		u := w.begin("bad")
		parts := w.parts(u, 1000)
		parts[0].ChecksumCRC32 = new("AAAAAA==")
		return w.join(u, parts)
	}},
	{name: "join twice", want: "404 NoSuchUpload", embedded: " ", ask: func(w *world) (string, error) {
		u := w.begin("twice")
		parts := w.parts(u, 1000)
		if _, err := w.join(u, parts); err != nil {
			return "", err
		}
		return w.join(u, parts)
	}},
	{name: "a part written again", want: "done", ask: func(w *world) (string, error) {
		u := w.begin("again")
		w.parts(u, 2000)
		return done(w.join(u, w.parts(u, 1000), func(in *s3.CompleteMultipartUploadInput) {
			in.ChecksumCRC32, in.ChecksumType, in.MpuObjectSize = new(crc(w.data[:1000])), types.ChecksumTypeFullObject, new(int64(1000))
		}))
	}},
	{name: "copy ranges and join", want: "true true done", ask: func(w *world) (string, error) {
		u := w.begin("spliced")
		one, err1 := w.copied(u, 2, "large", fmt.Sprintf("100-%d", 100+6*mib-1), func(in *s3.UploadPartCopyInput) { in.CopySourceIfMatch = &w.etag })
		two, err2 := w.copied(u, 3, "large", "7-106")
		head, err3 := w.part(u, 1, w.data[:5*mib])
		if err := errors.Join(err1, err2, err3); err != nil {
			return "", err
		}
		whole := append(append(append([]byte{}, w.data[:5*mib]...), w.data[100:100+6*mib]...), w.data[7:107]...)
		right := fmt.Sprint(aws.ToString(one.ChecksumCRC32) == crc(w.data[100:100+6*mib]), " ", aws.ToString(two.ChecksumCRC32) == crc(w.data[7:107]))
		text, err := done(w.join(u, []types.CompletedPart{head, one, two}, func(in *s3.CompleteMultipartUploadInput) {
			in.ChecksumCRC32, in.ChecksumType, in.MpuObjectSize = new(crc(whole)), types.ChecksumTypeFullObject, new(int64(len(whole)))
		}))
		return right + " " + text, err
	}},
	{name: "read what was spliced", want: "6291456 bytes of the data from 100 bytes 5242880-11534335/11534436", ask: func(w *world) (string, error) {
		return w.get("spliced", func(in *s3.GetObjectInput) { in.Range = new("bytes=5242880-11534335") })
	}},
	{name: "copy the whole of a small object as a part", want: crc([]byte("content of small")), ask: func(w *world) (string, error) {
		p, err := w.copied(w.begin("x"), 1, "small", "")
		return aws.ToString(p.ChecksumCRC32), err
	}},
	{name: "copy a range of a small object", want: "400 InvalidRequest", embedded: "done", ask: func(w *world) (string, error) {
		return done(w.copied(w.begin("x"), 1, "small", "0-3"))
	}},
	{name: "copy a range beyond the end", want: "400 InvalidArgument", ask: func(w *world) (string, error) {
		return done(w.copied(w.begin("x"), 1, "large", fmt.Sprintf("0-%d", 12*mib)))
	}},
	{name: "copy of another version", want: "412 PreconditionFailed", ask: func(w *world) (string, error) {
		return done(w.copied(w.begin("x"), 1, "large", "0-9", func(in *s3.UploadPartCopyInput) { in.CopySourceIfMatch = new(`"none"`) }))
	}},
	{name: "copy of what is not there", want: "404 NoSuchKey", ask: func(w *world) (string, error) {
		return done(w.copied(w.begin("x"), 1, "absent", ""))
	}},
	{name: "list parts", want: "1:5242880:true 2:1000:true", ask: func(w *world) (string, error) {
		u := w.begin("x")
		w.parts(u, 5*mib, 1000)
		out, err := w.ListParts(w.Context(), &s3.ListPartsInput{Bucket: u.Bucket, Key: u.Key, UploadId: u.UploadId})
		if err != nil {
			return "", err
		}
		var text []string
		for _, p := range out.Parts {
			text = append(text, fmt.Sprint(*p.PartNumber, ":", *p.Size, ":", aws.ToString(p.ChecksumCRC32) != ""))
		}
		return strings.Join(text, " "), nil
	}},
	{name: "list and abort uploads", want: "listed/a listed/b then none", ask: func(w *world) (string, error) {
		w.begin("listed/a")
		w.begin("listed/b")
		list := func() (string, error) {
			out, err := w.ListMultipartUploads(w.Context(), &s3.ListMultipartUploadsInput{Bucket: &w.bucket, Prefix: new("listed/")})
			if err != nil {
				return "", err
			}
			var text strings.Builder
			for _, u := range out.Uploads {
				_, err = w.AbortMultipartUpload(w.Context(), &s3.AbortMultipartUploadInput{Bucket: &w.bucket, Key: u.Key, UploadId: u.UploadId})
				text.WriteString(*u.Key + " ")
			}
			return text.String(), err
		}
		text, err := list()
		if err != nil {
			return "", err
		}
		rest, err := list()
		return text + "then none" + rest, err
	}},
	{name: "abort no upload", want: "404 NoSuchUpload", ask: func(w *world) (string, error) {
		return done(w.AbortMultipartUpload(w.Context(), &s3.AbortMultipartUploadInput{Bucket: &w.bucket, Key: new("x"), UploadId: new("x")}))
	}},
}

// TestAsTheEmbeddedServer asks both stores the same and compares what they say with AWS's documentation.
func TestAsTheEmbeddedServer(t *testing.T) {
	real := vaulttest.New(t)
	model, client := serve(t, s3model.Options{})
	model.CreateBucket("bucket")
	worlds := map[string]*world{"embedded": {Client: real.Client, bucket: real.Bucket()}, "model": {Client: client, bucket: "bucket"}}
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			w.T = t
			w.prepare()
			for _, r := range requests {
				t.Run(r.name, func(t *testing.T) {
					w.T = t
					want := r.want
					if name == "embedded" && r.embedded != "" {
						want = r.embedded
					}
					got, err := r.ask(w)
					if err != nil {
						got = spoken(err)
					}
					if got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
		})
	}
}

// spoken returns status and code of an error of the store.
func spoken(err error) string {
	answer, isAnswer := errors.AsType[*smithyhttp.ResponseError](err)
	api, isAPI := errors.AsType[smithy.APIError](err)
	if !isAnswer || !isAPI {
		return err.Error()
	}
	return fmt.Sprint(answer.HTTPStatusCode(), " ", api.ErrorCode())
}
