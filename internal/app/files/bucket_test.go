package files_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

var (
	segment = strings.Repeat("s", 300)
	longest = strings.Repeat("0123456789abcde/", 63) + strings.Repeat("x", 16) // 1,024 bytes
)

// odd are keys as odd as S3 allows, and the paths that they have; a path that ends with "/" is a folder's.
var odd = map[string]string{
	"plain.txt":        "files/plain.txt",
	"a//b":             "files/a/%2Fb",
	"a///b":            "files/a/%2F/b",
	"/lead":            "files/%2Flead",
	"//lead":           "files/%2F/lead",
	"../up":            "files/%2E%2E/up",
	"a/../b":           "files/a/%2E%2E/b",
	"a/./b":            "files/a/%2E/b",
	"..":               "files/%2E%2E",
	".":                "files/%2E",
	"bytes/":           "files/bytes%2F",
	"marker/":          "files/marker/",
	"k":                "files/k",
	"k/":               "files/k/",
	"k/x":              "files/k/x",
	"//":               "files/%2F%2F",
	"twice//":          "files/twice/%2F",
	`back\slash`:       "files/back%5Cslash",
	"new\nline\r":      "files/new%0Aline%0D",
	"control\x01\x7f":  "files/control%01%7F",
	"percent%41":       "files/percent%2541",
	"a b+c&d#e?f=g;:,": "files/a b+c&d#e?f=g;:,",
	"\u00fc":           "files/\u00fc",
	"u\u0308":          "files/u\u0308",
	"Case":             "files/Case",
	"case":             "files/case",
	"<xml>&amp;\"'":    "files/<xml>&amp;\"'",
	"\ufffd🌊":          "files/\ufffd🌊",
	segment:            "files/" + segment,
	longest:            "files/" + longest,
	"lifeboat/x":       "files/lifeboat/x",
	"symlinks.jsonl":   "files/symlinks.jsonl",
}

// text is the content of a key: nothing for markers.
func text(key string) string {
	switch key {
	case "marker/", "k/", "//", "twice//":
		return ""
	}
	return "content of " + key
}

func client(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""), Retryer: aws.NopRetryer{},
	})
}

// serve starts an empty store in this process; disturb, where it is not nil, gets the requests first and says whether it
// has answered.
func serve(t *testing.T, disturb func(http.ResponseWriter, *http.Request) bool) *s3.Client {
	t.Helper()
	return serveStore(t, disturb, gofakes3.WithV4Auth(map[string]string{"key": "secret"}))
}

func serveStore(t *testing.T, disturb func(http.ResponseWriter, *http.Request) bool, options ...gofakes3.Option) *s3.Client {
	t.Helper()
	store := gofakes3.New(s3mem.New(), options...).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if disturb == nil || !disturb(w, r) {
			store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c := client(server.URL)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("data")})
	must(t, err)
	return c
}

func put(t *testing.T, c *s3.Client, key, content string) {
	t.Helper()
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("data"), Key: aws.String(key), Body: bytes.NewReader([]byte(content))})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func remove(t *testing.T, c *s3.Client, key string) {
	t.Helper()
	_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("data"), Key: aws.String(key)})
	must(t, err)
}

func TestOddKeys(t *testing.T) {
	if len(longest) != 1024 {
		t.Fatal(len(longest))
	}
	c := serve(t, nil)
	want := map[string]int64{}
	for _, prefix := range []string{"", "in/", "../"} {
		for key, path := range odd {
			if len(prefix+key) > 1024 {
				continue
			}
			put(t, c, prefix+key, text(key))
			if prefix == "in/" {
				if want[path] = int64(len(text(key))); strings.HasSuffix(path, "/") {
					want[path] = -1
				}
			}
		}
	}
	put(t, c, "in/", "") // the marker of the prefix itself
	o := files.Options{Bucket: datasource.NewBucket(c, "data", "in")}
	s, facts := snapshot(t, o)
	if diff := cmp.Diff(want, s.sizes()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if len(s.findings) > 0 || len(s.documents) != 1 || facts.Counts["files"] != int64(len(want)-2) || facts.Counts["directories"] != 2 {
		t.Errorf("%v, %+v", s.messages, facts)
	}
	source := newSource(t, o)
	for key, path := range odd {
		listed, ok := s.objects[path]
		if !ok || listed.Dir {
			continue
		}
		if listed.Key != key {
			t.Errorf("the key of %q is %q, want %q", path, listed.Key, key)
		}
		content, err := source.Open(t.Context(), throughJSON(t, listed))
		if err != nil {
			t.Errorf("open %q: %v", path, err)
			continue
		}
		data, err := io.ReadAll(content)
		now, _ := content.Now()
		if diff := cmp.Diff(listed, now); diff != "" || err != nil || string(data) != text(key) {
			t.Errorf("%q: %q, %v; listed and opened differ:\n%s", path, data, err, diff)
		}
		content.Close()
	}
}

// TestNoUTF8 keeps keys that S3 forbids and other stores take.
func TestNoUTF8(t *testing.T) {
	c := serveStore(t, nil) // the SDK's signature of such a key is not the store's
	put(t, c, "bad\xff/x", "content")
	o := files.Options{Bucket: datasource.NewBucket(c, "data", "")}
	s, _ := snapshot(t, o)
	listed := s.objects["files/bad%FF/x"]
	if listed.Key != "bad%FF/x" {
		t.Fatalf("%+v", s.objects)
	}
	content, err := newSource(t, o).Open(t.Context(), throughJSON(t, listed))
	must(t, err)
	content.Close()
}

func TestBucketPages(t *testing.T) {
	c := serve(t, nil)
	for i := range 1100 {
		put(t, c, fmt.Sprintf("p/%05d", i), "")
	}
	put(t, c, "p/00000\x02", "") // the first page comes encoded, the second plain
	s, _ := snapshot(t, files.Options{Bucket: datasource.NewBucket(c, "data", "p"), Exclude: []string{"*9"}})
	if len(s.objects) != 991 {
		t.Errorf("%d objects", len(s.objects))
	}
}

func TestBucketPatterns(t *testing.T) {
	c := serve(t, nil)
	for _, key := range []string{"a/1.jpg", "a/b/2.jpg", "a/b/", "a/c.txt", "d", "cache/x", "cache/"} {
		put(t, c, key, "")
	}
	s, _ := snapshot(t, files.Options{
		Bucket:  datasource.NewBucket(c, "data", ""),
		Include: []string{"**/*.jpg", "cache", "a/b/"}, Exclude: []string{"cache/"},
	})
	want := map[string]int64{"files/a/1.jpg": 0, "files/a/b/2.jpg": 0, "files/a/b/": -1}
	if diff := cmp.Diff(want, s.sizes()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"problem unmatched cache"}, s.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestBucketFails(t *testing.T) {
	status := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		if status != 0 {
			w.WriteHeader(status)
		}
		return status != 0
	})
	for want, code := range map[failure.Kind]int{failure.Denied: 403, failure.Transient: 503, failure.Usage: 301, failure.NotFound: 404} {
		status = code
		source := newSource(t, files.Options{Bucket: datasource.NewBucket(c, "data", "")})
		_, err := source.Snapshot(t.Context(), backup.Scope{}, &sink{})
		if failure.KindOf(err) != want || failure.HintOf(err) == "" {
			t.Errorf("status %d: kind %s, %v", code, failure.KindOf(err), err)
		}
		if _, err := source.Open(t.Context(), app.Object{Path: "files/a"}); failure.KindOf(err) != want {
			t.Errorf("open, status %d: kind %s, %v", code, failure.KindOf(err), err)
		}
	}
	status = 0
	_, err := newSource(t, files.Options{Bucket: datasource.NewBucket(c, "none", "")}).Snapshot(t.Context(), backup.Scope{}, &sink{})
	if failure.KindOf(err) != failure.NotFound {
		t.Error(err)
	}
	put(t, c, "a", "one")
	o := files.Options{Bucket: datasource.NewBucket(c, "data", "")}
	s, _ := snapshot(t, o)
	put(t, c, "a", "another")
	if _, err := newSource(t, o).Open(t.Context(), s.objects["files/a"]); failure.KindOf(err) != failure.Conflict {
		t.Errorf("changed: %v", err)
	}
	remove(t, c, "a")
	if _, err := newSource(t, o).Open(t.Context(), s.objects["files/a"]); failure.KindOf(err) != failure.NotFound {
		t.Errorf("gone: %v", err)
	}
}
