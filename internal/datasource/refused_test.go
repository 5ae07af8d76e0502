package datasource_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// TestTruncated is about stores that say that there is more, and not where, or where they were asked to begin: what they
// leave out must not be taken for nothing.
func TestTruncated(t *testing.T) {
	token := regexp.MustCompile(`<NextContinuationToken>.*</NextContinuationToken>`)
	for name, put := range map[string]string{"no token": "", "an empty token": "<NextContinuationToken></NextContinuationToken>", "the same token": "<NextContinuationToken>same</NextContinuationToken>"} {
		t.Run(name, func(t *testing.T) {
			fake, asked := gofakes3.New(s3mem.New()).Server(), 0
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				query := r.URL.Query()
				if !query.Has("list-type") {
					fake.ServeHTTP(w, r)
					return
				}
				if asked++; asked > 3 {
					t.Error("it is asked for ever")
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				query.Del("continuation-token")
				query.Set("max-keys", "2")
				r.URL.RawQuery = query.Encode()
				answer := httptest.NewRecorder()
				fake.ServeHTTP(answer, r)
				_, _ = io.WriteString(w, token.ReplaceAllString(answer.Body.String(), put))
			}))
			if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
				t.Fatal(err)
			}
			for n := range 5 {
				putObject(t, c, fmt.Sprint(n))
			}
			var last error
			for _, err := range datasource.NewBucket(c, "files", "").List(t.Context()) {
				last = err
			}
			if failure.KindOf(last) != failure.Invalid || failure.HintOf(last) == "" || !strings.Contains(fmt.Sprint(last), "more objects than it lists") {
				t.Errorf("%v", last)
			}
		})
	}
}

func putObject(t *testing.T, c *s3.Client, key string) {
	t.Helper()
	put(t, c, key, "0123456789")
}

// TestSkipOdd is about stores whose answer to a range is not the range: the rest is right, or the batch is tried again.
func TestSkipOdd(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, whole http.Handler)
		rest   string // "": Transient
	}{
		"shorter by now": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			_, _ = io.WriteString(w, "012")
		}, ""},
		"cut": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "012")
		}, ""},
		"not satisfiable": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, ""},
		"other bytes": {func(w http.ResponseWriter, r *http.Request, whole http.Handler) {
			r.Header.Set("Range", "bytes=4-")
			whole.ServeHTTP(w, r)
		}, ""},
		"the whole": {func(w http.ResponseWriter, r *http.Request, whole http.Handler) {
			r.Header.Del("Range")
			whole.ServeHTTP(w, r)
		}, "56789"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := gofakes3.New(s3mem.New()).Server()
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					test.answer(w, r, fake)
					return
				}
				fake.ServeHTTP(w, r)
			}))
			skipsTo(t, c, test.rest)
		})
	}
}

// TestSkipWithoutETag: only what is open is surely of the version that was opened.
func TestSkipWithoutETag(t *testing.T) {
	fake := gofakes3.New(s3mem.New()).Server()
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Errorf("it is asked for %s of any version", r.Header.Get("Range"))
		}
		answer := httptest.NewRecorder()
		fake.ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			if key != "Etag" && key != "ETag" {
				w.Header()[key] = values
			}
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	skipsTo(t, c, "56789")
}

// skipsTo skips five of ten bytes.
func skipsTo(t *testing.T, c *s3.Client, want string) {
	t.Helper()
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	putObject(t, c, "a")
	content, err := datasource.NewBucket(c, "files", "").Open(t.Context(), app.Object{Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	err = app.Skip(t.Context(), content, 5)
	if want == "" {
		if failure.KindOf(err) != failure.Transient {
			t.Errorf("%v", err)
		}
		return
	}
	rest, readErr := io.ReadAll(content)
	if err != nil || readErr != nil || string(rest) != want {
		t.Errorf("%q, %v, %v", rest, err, readErr)
	}
}
