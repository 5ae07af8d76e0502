//go:build unix

package local

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
)

// TestCompleteAfterCrash ends a server where CompleteMultipartUpload has claimed the upload, and completes it again.
func TestCompleteAfterCrash(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		t.Run(fmt.Sprintf("side-car %v", sidecar), func(t *testing.T) {
			folder := t.TempDir()
			roots := []string{layout(folder).buckets()}
			if sidecar {
				if err := os.Mkdir(layout(folder).meta(), 0o700); err != nil {
					t.Fatal(err)
				}
				roots = append(roots, layout(folder).meta())
			}
			s, client := withBucket(t, folder)
			id := startUpload(t, client, "k")
			part := uploadPart(t, client, "k", id, 1, []byte("k"))
			if err := s.child.stop(); err != nil {
				t.Fatal(err)
			}
			token, err := backend.ComputeMultipartETagFromPartETags([]types.CompletedPart{part})
			if err != nil {
				t.Fatal(err)
			}
			for _, root := range roots {
				found, err := fs.Glob(os.DirFS(root), filepath.Join(bucket, posix.MetaTmpMultipartDir, "*", *id))
				if err != nil || len(found) != 1 {
					t.Fatalf("found %v (%v) in %s, want one upload", found, err, root)
				}
				claimed := filepath.Join(root, found[0])
				if err := os.Rename(claimed, claimed+"."+strings.Trim(token, `"`)+".inprogress"); err != nil {
					t.Fatal(err)
				}
			}
			waste := filepath.Join(layout(folder).buckets(), bucket, posix.MetaTmpDir, "0123.456")
			if err := os.WriteFile(waste, []byte("half an object"), 0o600); err != nil {
				t.Fatal(err)
			}

			in := &s3.CompleteMultipartUploadInput{Key: aws.String("k"), UploadId: id, ChecksumCRC32: aws.String(crcOf([]byte("k")))}
			if err := complete(t, client, in, part); err != nil {
				t.Fatal(err)
			}
			if err := checkObject(t.Context(), client, "k"); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(waste); err == nil {
				t.Error("the temporary file is still there")
			}
		})
	}
}

func TestCompleteSaysSuccessOnlyOfItsObject(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	put(t, client, "k", "old")
	id := startUpload(t, client, "k")
	part := uploadPart(t, client, "k", id, 1, []byte("k"))
	in := &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: aws.String("k"), UploadId: id}
	if _, err := client.AbortMultipartUpload(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	err := complete(t, client, &s3.CompleteMultipartUploadInput{Key: aws.String("k"), UploadId: id}, part)
	wantCode(t, err, "NoSuchUpload")

	id = startUpload(t, client, "k")
	part = uploadPart(t, client, "k", id, 1, []byte("k"))
	for range 2 { // the second repeats a request whose answer was lost
		err := complete(t, client, &s3.CompleteMultipartUploadInput{Key: aws.String("k"), UploadId: id}, part)
		if err != nil {
			t.Error(err)
		}
		if err := checkObject(t.Context(), client, "k"); err != nil {
			t.Error(err)
		}
	}
}

func TestCompleteManyTimesAtOnce(t *testing.T) {
	_, client := withBucket(t, t.TempDir())
	id := startUpload(t, client, "k")
	part := uploadPart(t, client, "k", id, 1, []byte("k"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := complete(t, client, &s3.CompleteMultipartUploadInput{Key: aws.String("k"), UploadId: id}, part)
			if err == nil {
				err = checkObject(t.Context(), client, "k")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
