package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// CompleteMultipartUpload says success only when the object is there. versitygw v1.8.0 also says so while another
// request still joins the parts, and for an unknown upload when the key has any object; a client that repeats a
// request after a lost connection would believe it.
func (b guarded) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (
	s3response.CompleteMultipartUploadResult, string, error,
) {
	defer b.completing.lock(aws.ToString(in.UploadId))()
	repeated := !b.hasUpload(ctx, in)
	out, version, err := b.Backend.CompleteMultipartUpload(ctx, in)
	if err == nil && repeated && !b.holds(ctx, in, out.ETag) {
		err = s3err.GetNoSuchUploadErr(aws.ToString(in.UploadId))
	}
	return out, version, b.diskError(err, 0)
}

func (b guarded) hasUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) bool {
	_, err := b.ListParts(ctx, &s3.ListPartsInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId,
		MaxParts: aws.Int32(1), PartNumberMarker: aws.String(fmt.Sprint(maxParts)), // spares it a look at the parts
	})
	return err == nil
}

// holds reports whether the key has the object with that ETag.
func (b guarded) holds(ctx context.Context, in *s3.CompleteMultipartUploadInput, etag *string) bool {
	head, err := b.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: in.Bucket, Key: in.Key, Range: new(string), VersionId: new(string),
	})
	return err == nil && strings.Trim(aws.ToString(head.ETag), `"`) == strings.Trim(aws.ToString(etag), `"`)
}

// abortWait is how long an abort waits for parts that are being written, at most: their clients may hang.
const abortWait = 10 * time.Second

// AbortMultipartUpload aborts once more when no part is under way any more: versitygw v1.8.0 makes the folder of their
// upload anew for those that are, and it would be there again. TestAbortWhileAPartIsWritten says when it no longer does.
func (b guarded) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	err := b.Backend.AbortMultipartUpload(ctx, in)
	b.writing.wait(aws.ToString(in.UploadId), abortWait)
	again := b.Backend.AbortMultipartUpload(ctx, in)
	if known, ok := errors.AsType[s3err.S3Error](again); ok && known.BaseError().Code == "NoSuchUpload" {
		return err
	}
	return again
}

// parts counts the parts of uploads that are being written.
type parts struct {
	mu    sync.Mutex
	count map[string]int
}

func (p *parts) begin(upload string) (end func()) {
	p.add(upload, 1)
	return func() { p.add(upload, -1) }
}

func (p *parts) add(upload string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[upload] += n; p.count[upload] == 0 {
		delete(p.count, upload)
	}
}

// wait waits until no part of an upload is being written.
func (p *parts) wait(upload string, most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		busy := p.count[upload] > 0
		p.mu.Unlock()
		if !busy {
			return
		}
	}
}

// names are locks by name.
type names struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits until nobody else holds the name.
func (n *names) lock(name string) (unlock func()) {
	for {
		n.mu.Lock()
		wait, busy := n.held[name]
		if !busy {
			done := make(chan struct{})
			n.held[name] = done
			n.mu.Unlock()
			return func() {
				n.mu.Lock()
				delete(n.held, name)
				n.mu.Unlock()
				close(done)
			}
		}
		n.mu.Unlock()
		<-wait
	}
}

// repair tidies up after a server that was killed. The caller holds the folder's lock, so nothing is under way.
// Uploads whose completion was cut off get their name back: the backend would take the next attempt for a second one
// beside it and call it a success. Temporary files go.
func repair(v layout, attributes meta.MetadataStorer) error {
	buckets := os.DirFS(v.buckets())
	claimed, err := fs.Glob(buckets, "*/"+posix.MetaTmpMultipartDir+"/*/*.inprogress")
	for _, name := range claimed {
		bucket, object, _ := strings.Cut(name, "/")
		id, _, _ := strings.Cut(path.Base(object), ".") // UPLOAD.ETAG.inprogress
		open := path.Join(path.Dir(object), id)
		err = errors.Join(err,
			attributes.RenameObject(bucket, object, open),
			os.Rename(filepath.Join(v.buckets(), name), filepath.Join(v.buckets(), bucket, open)))
	}
	for _, pattern := range []string{posix.MetaTmpDir + "/*", posix.MetaTmpMultipartDir + "/*/*"} {
		found, globErr := fs.Glob(buckets, "*/"+pattern)
		err = errors.Join(err, globErr)
		for _, name := range found {
			if info, statErr := fs.Stat(buckets, name); statErr == nil && info.Mode().IsRegular() {
				err = errors.Join(err, os.Remove(filepath.Join(v.buckets(), name)))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("tidy up after the last server: %w", err)
	}
	return nil
}
