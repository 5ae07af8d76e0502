package remote

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// TestOwned looks at what reaches the server: the owner of the vault's bucket is named there, that of others is not.
func TestOwned(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("X-Amz-Expected-Bucket-Owner")+" "+r.Header.Get("X-Amz-Source-Expected-Bucket-Owner"))
	}))
	defer server.Close()
	client := s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: &server.URL, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	for _, c := range []*s3.Client{client, owned(client, "vault", ""), owned(client, "vault", "111122223333")} {
		for _, bucket := range []string{"vault", "data"} {
			if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("k")}); err != nil {
				t.Error(err)
			}
		}
		for _, source := range []string{"data/k", "vault/k"} {
			if _, err := c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
				Bucket: aws.String("vault"), Key: aws.String("p"), CopySource: &source, PartNumber: aws.Int32(1), UploadId: aws.String("u"),
			}); err != nil {
				t.Log(err) // the server's answer is none; the request is what counts
			}
		}
	}
	want := []string{
		"/vault/k  ", "/data/k  ", "/vault/p  ", "/vault/p  ",
		"/vault/k  ", "/data/k  ", "/vault/p  ", "/vault/p  ",
		"/vault/k 111122223333 ", "/data/k  ", "/vault/p 111122223333 ", "/vault/p 111122223333 111122223333",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestVault: a presigned URL says nothing of the owner, the other requests of the same vault do.
func TestVault(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("X-Amz-Expected-Bucket-Owner")
	}))
	defer server.Close()
	client := s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: &server.URL, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	v := Vault(client, "vault", "111122223333")
	if _, err := v.Head(t.Context(), "vault.json"); err != nil || got != "111122223333" {
		t.Errorf("a HEAD names %q, %v", got, err)
	}
	url, err := v.Presign(t.Context(), "archives/photos/a.zip", "a.zip", time.Minute)
	if err != nil || strings.Contains(strings.ToLower(url), "owner") {
		t.Errorf("%s, %v", url, err)
	}
}
