package datasource_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// TestSkipInFolder: the rest of a file is what is read behind a skip.
func TestSkipInFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte(strings.Repeat("0123456789", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	skipped(t, datasource.NewFolder(dir, time.Now), app.Object{Key: "a"}, strings.Repeat("0123456789", 1000))
}

// skipped opens an object and skips to several of its places.
func skipped(t *testing.T, place datasource.Datasource, o app.Object, whole string) {
	t.Helper()
	for _, n := range []int64{0, 1, 5000, int64(len(whole)) - 1} {
		content, err := place.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := content.(app.Skipper); !ok {
			t.Errorf("%T reads what it skips", content)
		}
		if err := app.Skip(t.Context(), content, n); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(content)
		if err != nil || !bytes.Equal(rest, []byte(whole[n:])) {
			t.Errorf("%d bytes behind %d, %v", len(rest), n, err)
		}
		if now, err := content.Now(); err != nil || now.Size != int64(len(whole)) {
			t.Errorf("%+v, %v", now, err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSkipInBucket: the store is asked for the rest, of the version that was opened.
func TestSkipInBucket(t *testing.T) {
	whole := strings.Repeat("0123456789", 1000)
	for name, ranges := range map[string]bool{"a store": true, "one without ranges": false} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			fake := gofakes3.New(s3mem.New()).Server()
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					if asked++; r.Header.Get("If-Match") == "" {
						t.Errorf("%s: any version is asked for", r.Header.Get("Range"))
					}
					if !ranges {
						r.Header.Del("Range")
					}
				}
				fake.ServeHTTP(w, r)
			}))
			if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
				t.Fatal(err)
			}
			put(t, c, "in/a", whole)
			skipped(t, datasource.NewBucket(c, "files", "in/"), app.Object{Key: "a"}, whole)
			if asked != 3 {
				t.Errorf("%d ranges", asked)
			}
		})
	}
}

// TestSkipChanged: the object is another one by the time that its rest is asked for.
func TestSkipChanged(t *testing.T) {
	fake := gofakes3.New(s3mem.New()).Server()
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	put(t, c, "a", "0123456789")
	content, err := datasource.NewBucket(c, "files", "").Open(t.Context(), app.Object{Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if err := app.Skip(t.Context(), content, 5); failure.KindOf(err) != failure.Conflict {
		t.Errorf("%v", err)
	}
}
