package datasource_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

func TestBucketMedia(t *testing.T) {
	c := store(t, map[string]string{"up/plain": "plain"})
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("files"), Key: aws.String("up/photo"), Body: bytes.NewReader([]byte("photo")),
		ContentType: aws.String("image/png"), ContentDisposition: aws.String("inline"), CacheControl: aws.String("max-age=60"),
		Metadata: map[string]string{"Owner": "ada"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := datasource.NewBucket(c, "files", "up")
	objects, _, err := list(t, b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*app.Media{
		"photo": {ContentType: "image/png", ContentDisposition: "inline", CacheControl: "max-age=60", Metadata: map[string]string{"owner": "ada"}},
		"plain": nil,
	}
	for _, o := range objects {
		content, err := b.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		now, err := content.Now()
		content.Close()
		if diff := cmp.Diff(want[o.Key], now.Media); diff != "" || err != nil {
			t.Errorf("open %s: %v %s", o.Key, err, diff)
		}
		d, err := b.Head(t.Context(), o)
		if diff := cmp.Diff(want[o.Key], d.Object.Media); diff != "" || err != nil || d.Object.Identity != o.Identity {
			t.Errorf("head %s: %v, %+v %s", o.Key, err, d, diff)
		}
	}
}

func TestBucketLocated(t *testing.T) {
	c := store(t, map[string]string{"up/a b": "a"})
	b := datasource.NewBucket(c, "files", "up")
	objects, _, _ := list(t, b)
	got, ok := b.Located(objects[0])
	want := app.Location{Endpoint: *c.Options().BaseEndpoint, Bucket: "files", Key: "up/a b", ETag: got.ETag}
	if got != want || !ok || got.ETag == "" {
		t.Errorf("%+v, %v", got, ok)
	}
	objects[0].Identity = ""
	if got, ok := b.Located(objects[0]); ok {
		t.Errorf("a version that nobody knows lies at %+v", got)
	}
}

// TestBucketAs: what is reached as a role is nobody else's to copy, and a refusal names what may be wrong.
func TestBucketAs(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/lifeboat-reader"
	o := app.Object{Key: "a", Identity: `"e":5:1000`}
	for name, test := range map[string]struct {
		access  datasource.Access
		located bool
		hint    []string
	}{
		"own":   {datasource.Access{}, true, []string{"the access key"}},
		"owner": {datasource.Access{Owner: "111122223333"}, true, []string{"the access key", "owner (111122223333)"}},
		"role":  {datasource.Access{Role: role, Owner: "111122223333"}, false, []string{"the role " + role, "owner (111122223333)"}},
	} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
		b := datasource.NewBucket(c, "files", "").As(test.access)
		at, ok := b.Located(o)
		if ok != test.located || (at.Apart == "") != ok || at.Owner != test.access.Owner {
			t.Errorf("%s: %v, %+v", name, ok, at)
		}
		_, err := b.Head(t.Context(), o)
		for _, want := range test.hint {
			if failure.KindOf(err) != failure.Denied || !strings.Contains(failure.HintOf(err), want) {
				t.Errorf("%s: %v, hint %q, want %q", name, err, failure.HintOf(err), want)
			}
		}
	}
}

func TestBucketHead(t *testing.T) {
	o := app.Object{Key: "a", Identity: `"e":5:1000`}
	for name, test := range map[string]struct {
		header   map[string]string
		status   int
		kind     failure.Kind
		archived bool
		crc      bool
	}{
		"checksum":  {header: map[string]string{"x-amz-checksum-crc32": "NhCmhg==", "x-amz-checksum-type": "FULL_OBJECT"}, status: 200, crc: true},
		"composite": {header: map[string]string{"x-amz-checksum-crc32": "NhCmhg==-2", "x-amz-checksum-type": "COMPOSITE"}, status: 200},
		"gone":      {status: 404, kind: failure.NotFound},
		"changed":   {status: 412, kind: failure.Conflict},
		"denied":    {status: 403, kind: failure.Denied},
		"archived":  {header: map[string]string{"x-amz-storage-class": "DEEP_ARCHIVE"}, status: 200, kind: failure.Denied, archived: true},
		"restored": {header: map[string]string{
			"x-amz-storage-class": "GLACIER", "x-amz-restore": `ongoing-request="false", expiry-date="Fri, 21 Dec 2026 00:00:00 GMT"`,
		}, status: 200},
		"being restored": {header: map[string]string{
			"x-amz-storage-class": "GLACIER", "x-amz-restore": `ongoing-request="true"`,
		}, status: 200, kind: failure.Denied, archived: true},
	} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-Match") != `"e"` || r.Header.Get("x-amz-checksum-mode") != "ENABLED" {
				t.Errorf("%s: %v", name, r.Header)
			}
			for k, v := range test.header {
				w.Header().Set(k, v)
			}
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(test.status)
		}))
		d, err := datasource.NewBucket(c, "files", "").Head(t.Context(), o)
		if failed := test.kind != failure.Internal; failed != (err != nil) || failed && failure.KindOf(err) != test.kind ||
			errors.Is(err, app.ErrArchived) != test.archived || d.HasCRC32 != test.crc || test.crc && d.CRC32 != crc32.ChecksumIEEE([]byte("hello")) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestBucketArchived(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<Error><Code>InvalidObjectState</Code><Message>no</Message></Error>`))
	}))
	_, err := datasource.NewBucket(c, "files", "").Open(t.Context(), app.Object{Key: "a"})
	if !errors.Is(err, app.ErrArchived) || failure.KindOf(err) != failure.Denied {
		t.Error(err)
	}
}

// TestBucketClocks: some stores' answers give another second than their listings. The ETag and the size say what version
// it is.
func TestBucketClocks(t *testing.T) {
	listed := app.Object{Key: "a", Size: 5, Modified: time.Unix(1000, 0).UTC(), Identity: `"e":5:1000`}
	for name, test := range map[string]struct {
		etag, body string
		same       bool
	}{
		"a second later": {`"e"`, "hello", true}, "another ETag": {`"f"`, "hello", false}, "another size": {`"e"`, "hell", false},
	} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", test.etag)
			w.Header().Set("Last-Modified", time.Unix(1001, 0).UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
			_, _ = w.Write([]byte(test.body))
		}))
		b := datasource.NewBucket(c, "files", "")
		content, err := b.Open(t.Context(), listed)
		if err != nil {
			t.Fatal(err)
		}
		now, err := content.Now()
		content.Close()
		head, headErr := b.Head(t.Context(), listed)
		for _, o := range []app.Object{now, head.Object} {
			if same := o.Identity == listed.Identity && o.Modified.Equal(listed.Modified); same != test.same || err != nil || headErr != nil {
				t.Errorf("%s: %+v, %v, %v", name, o, err, headErr)
			}
		}
	}
}
