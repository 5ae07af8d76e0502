//go:build unix

package local

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func crcOf(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
}

// startUpload begins a multipart upload with a CRC-32 of the whole object.
func startUpload(t *testing.T, client *s3.Client, key string) *string {
	t.Helper()
	up, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: &bucket, Key: &key,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
	})
	if err != nil {
		t.Fatal(err)
	}
	return up.UploadId
}

func uploadPart(t *testing.T, client *s3.Client, key string, id *string, number int32, body []byte) types.CompletedPart {
	t.Helper()
	out, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: &bucket, Key: &key, UploadId: id, PartNumber: &number,
		Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		t.Fatal(err)
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32: out.ChecksumCRC32}
}

func complete(t *testing.T, client *s3.Client, in *s3.CompleteMultipartUploadInput, parts ...types.CompletedPart) error {
	t.Helper()
	in.Bucket, in.MultipartUpload = &bucket, &types.CompletedMultipartUpload{Parts: parts}
	in.ChecksumType = types.ChecksumTypeFullObject
	_, err := client.CompleteMultipartUpload(t.Context(), in)
	return err
}

// TestRangedCopyChecksum is the reason for partChecksums: without it the part has the checksum of the whole source.
// When it passes without the decorator, the library has been corrected.
func TestRangedCopyChecksum(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		t.Run(fmt.Sprintf("side-car %v", sidecar), func(t *testing.T) {
			folder := t.TempDir()
			if sidecar {
				if err := os.Mkdir(layout(folder).meta(), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			_, client := withBucket(t, folder)
			source := bytes.Repeat([]byte("0123456789abcdef"), 6<<16)
			put(t, client, "src/a b", string(source)) // the SDK adds a CRC-32
			id := startUpload(t, client, "dst")
			part := source[:5<<20]
			var number int32 = 1
			copied, err := client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
				Bucket: &bucket, Key: aws.String("dst"), UploadId: id, PartNumber: &number,
				CopySource:      aws.String(bucket + "/src/a%20b"),
				CopySourceRange: aws.String(fmt.Sprintf("bytes=0-%d", len(part)-1)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := aws.ToString(copied.CopyPartResult.ChecksumCRC32); got != crcOf(part) {
				t.Fatalf("the part has the checksum %q, want %q (source: %q)", got, crcOf(part), crcOf(source))
			}
			first := types.CompletedPart{
				ETag: copied.CopyPartResult.ETag, PartNumber: &number, ChecksumCRC32: copied.CopyPartResult.ChecksumCRC32,
			}
			second := uploadPart(t, client, "dst", id, 2, []byte("tail"))
			in := &s3.CompleteMultipartUploadInput{Key: aws.String("dst"), UploadId: id}
			in.ChecksumCRC32 = aws.String(crcOf([]byte("wrong")))
			wantCode(t, complete(t, client, in, first, second), "BadDigest")
			in.ChecksumCRC32 = aws.String(crcOf(append(part[:len(part):len(part)], "tail"...)))
			if err := complete(t, client, in, first, second); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMultipartUploadsAreListedAndAborted(t *testing.T) {
	s, client := withBucket(t, t.TempDir())
	ids := map[string]*string{}
	for _, key := range []string{"packs/a", "packs/b", "archives/a"} {
		ids[key] = startUpload(t, client, key)
		uploadPart(t, client, key, ids[key], 1, []byte("part"))
	}
	list, err := client.ListMultipartUploads(t.Context(),
		&s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: aws.String("packs/")})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Uploads) != 2 || *list.Uploads[0].Key != "packs/a" || *list.Uploads[1].Key != "packs/b" {
		t.Errorf("listed %d uploads below packs/, want 2 in order", len(list.Uploads))
	}
	for key, id := range ids {
		in := &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: id}
		if _, err := client.AbortMultipartUpload(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(filepath.Join(s.vault.buckets(), bucket), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || filepath.Base(filepath.Dir(path)) == "multipart") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConditionalWrites(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	ctx := t.Context()
	key, none, wrong := aws.String("k"), aws.String("*"), aws.String(`"0123456789abcdef0123456789abcdef"`)
	putIf := func(match, noneMatch *string) (*s3.PutObjectOutput, error) {
		return client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: key, Body: strings.NewReader("k"), IfMatch: match, IfNoneMatch: noneMatch,
		})
	}
	_, err := putIf(wrong, nil)
	wantCode(t, err, "NoSuchKey")
	first, err := putIf(nil, none)
	if err != nil {
		t.Fatal(err)
	}
	_, err = putIf(nil, none)
	wantCode(t, err, "PreconditionFailed")
	_, err = putIf(wrong, nil)
	wantCode(t, err, "PreconditionFailed")
	if _, err = putIf(first.ETag, nil); err != nil {
		t.Error(err)
	}

	id := startUpload(t, client, "k")
	part := uploadPart(t, client, "k", id, 1, []byte("new"))
	err = complete(t, client, &s3.CompleteMultipartUploadInput{Key: key, UploadId: id, IfNoneMatch: none}, part)
	wantCode(t, err, "PreconditionFailed")
	err = complete(t, client, &s3.CompleteMultipartUploadInput{Key: key, UploadId: id, IfMatch: wrong}, part)
	wantCode(t, err, "PreconditionFailed")
	err = complete(t, client, &s3.CompleteMultipartUploadInput{Key: key, UploadId: id, IfMatch: first.ETag}, part)
	if err != nil {
		t.Error(err)
	}

	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: key, IfMatch: wrong})
	wantCode(t, err, "PreconditionFailed")
	if _, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: key, IfMatch: head.ETag}); err != nil {
		t.Error(err)
	}
}

func TestRefusedBeforeItsBodyIsRead(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	large, key := make([]byte, 6<<20), aws.String("large")
	put(t, client, *key, "here already")
	once := func(o *s3.Options) { o.Retryer = aws.NopRetryer{} }
	for range 50 {
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: key, Body: bytes.NewReader(large), IfNoneMatch: aws.String("*"),
		}, once)
		wantCode(t, err, "PreconditionFailed")
		_, err = client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: key, Body: bytes.NewReader(large), UploadId: aws.String("none"), PartNumber: aws.Int32(1),
		}, once)
		wantCode(t, err, "NoSuchUpload")
	}
}

func TestOneCreatorWins(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = client.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("k"), IfNoneMatch: aws.String("*"),
			})
		})
	}
	wg.Wait()
	winners := 0
	for _, err := range errs {
		if err == nil {
			winners++
			continue
		}
		wantCode(t, err, "PreconditionFailed", "ConditionalRequestConflict")
	}
	if winners != 1 {
		t.Errorf("%d of %d creators won", winners, len(errs))
	}
}

func TestPresignedGet(t *testing.T) {
	s, client := withBucket(t, t.TempDir())
	put(t, client, "k", "0123456789")
	sign := func(valid time.Duration, at time.Time) string {
		t.Helper()
		in := &s3.GetObjectInput{
			Bucket: &bucket, Key: aws.String("k"), ResponseContentDisposition: aws.String(`attachment; filename="a b.zip"`),
		}
		signer := s3.NewPresignClient(client, s3.WithPresignExpires(valid), func(o *s3.PresignOptions) {
			o.Presigner = signerAt{at, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
		})
		r, err := signer.PresignGetObject(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return r.URL
	}
	get := func(url, ranges string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		response, err := s.HTTPClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}

	valid := sign(time.Minute, time.Now())
	response, body := get(valid, "")
	if response.StatusCode != http.StatusOK || body != "0123456789" {
		t.Errorf("got %s %q", response.Status, body)
	}
	if got := response.Header.Get("Content-Disposition"); got != `attachment; filename="a b.zip"` {
		t.Errorf("content disposition %q", got)
	}
	if response, body = get(valid, "bytes=2-4"); response.StatusCode != http.StatusPartialContent || body != "234" {
		t.Errorf("range: got %s %q", response.Status, body)
	}
	if response, _ = get(sign(time.Minute, time.Now().Add(-2*time.Minute)), ""); response.StatusCode != http.StatusForbidden {
		t.Errorf("expired: got %s", response.Status)
	}
	if response, _ = get(strings.Replace(valid, "/k?", "/l?", 1), ""); response.StatusCode != http.StatusForbidden {
		t.Errorf("of another key: got %s", response.Status)
	}
}

// signerAt signs as if it were another time.
type signerAt struct {
	at time.Time
	s3.HTTPPresignerV4
}

func (s signerAt) PresignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string,
	_ time.Time, opts ...func(*v4.SignerOptions),
) (string, http.Header, error) {
	return s.HTTPPresignerV4.PresignHTTP(ctx, c, r, hash, service, region, s.at, opts...)
}
