package local

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestAbortWhileAPartIsWritten: what a part that is under way writes is gone with its upload.
func TestAbortWhileAPartIsWritten(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	key := aws.String("object")
	other, id := startUpload(t, client, *key), startUpload(t, client, *key)
	const size = 6 << 20
	signed, err := s3.NewPresignClient(client).PresignUploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: &bucket, Key: key, UploadId: id, PartNumber: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	body, out := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = size
	written := make(chan error)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			err = answer.Body.Close()
		}
		written <- err
	}()
	if _, err := out.Write(make([]byte, size/2)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() {
		_, _ = out.Write(make([]byte, size/2))
		_ = out.Close()
	})
	abort := func(id *string) {
		if _, err := client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: key, UploadId: id}); err != nil {
			t.Error(err)
		}
	}
	abort(id)
	if err := <-written; err != nil {
		t.Error(err)
	}
	abort(other)
	left, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil || len(left.Uploads) > 0 {
		t.Errorf("%d uploads are left: %v", len(left.Uploads), err)
	}
}
