package datasource_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

func client(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""), Retryer: aws.NopRetryer{},
	})
}

func serve(t *testing.T, handler http.Handler) *s3.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return client(server.URL)
}

// store is a bucket with objects, in this process.
func store(t *testing.T, objects map[string]string) *s3.Client {
	t.Helper()
	c := serve(t, gofakes3.New(s3mem.New()).Server())
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	for key, content := range objects {
		put(t, c, key, content)
	}
	return c
}

func put(t *testing.T, c *s3.Client, key, content string) {
	t.Helper()
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("files"), Key: aws.String(key), Body: bytes.NewReader([]byte(content)),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBucketList(t *testing.T) {
	c := store(t, map[string]string{
		"up/a": "a", "up/": "", "up/dir/": "", "up/dir/b": "bb", "up/ü + & # [1]:2.txt": "c", "upper": "no", "z": "",
	})
	for prefix, want := range map[string][]string{
		"up":  {"a", "dir/b", "ü + & # [1]:2.txt"},
		"up/": {"a", "dir/b", "ü + & # [1]:2.txt"},
		"":    {"up/a", "up/dir/b", "up/ü + & # [1]:2.txt", "upper", "z"},
		"no":  {},
	} {
		objects, _, err := list(t, datasource.NewBucket(c, "files", prefix))
		if diff := cmp.Diff(want, keys(objects)); diff != "" || err != nil {
			t.Errorf("prefix %q: %v\n%s", prefix, err, diff)
		}
		for _, object := range objects {
			if !object.Settled || object.Identity == "" || object.Path != "" {
				t.Errorf("%+v", object)
			}
		}
	}
}

func TestBucketListPages(t *testing.T) {
	all, want := map[string]string{}, []string{}
	for i := range 1100 {
		key := fmt.Sprintf("%05d", i)
		all["p/"+key] = ""
		want = append(want, key)
	}
	objects, _, err := list(t, datasource.NewBucket(store(t, all), "files", "p"))
	if diff := cmp.Diff(want, keys(objects)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestBucketOpen(t *testing.T) {
	c := store(t, map[string]string{"up/a": "hello", "up/gone": "x"})
	source := datasource.NewBucket(c, "files", "up")
	objects, _, err := list(t, source)
	if err != nil {
		t.Fatal(err)
	}
	content, err := source.Open(t.Context(), objects[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(content)
	now, _ := content.Now()
	if err != nil || string(text) != "hello" || now.Identity != objects[0].Identity || now.Size != 5 {
		t.Errorf("%q, %+v, listed %+v, %v", text, now, objects[0], err)
	}
	if err := content.Close(); err != nil {
		t.Error(err)
	}
	put(t, c, "up/a", "other")
	if _, err := source.Open(t.Context(), objects[0]); failure.KindOf(err) != failure.Conflict {
		t.Errorf("changed: %v", err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("files"), Key: aws.String("up/gone")}); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Open(t.Context(), objects[1]); failure.KindOf(err) != failure.NotFound {
		t.Errorf("gone: %v", err)
	}
	content, err = source.Open(t.Context(), app.Object{Key: "a"}) // without an identity: whatever is there
	if err != nil {
		t.Fatal(err)
	}
	content.Close()
}

func TestBucketFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	answer := func(status int, code string) *s3.Client {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>\x1b</Message></Error>", code)
		}))
	}
	for name, test := range map[string]struct {
		client *s3.Client
		want   failure.Kind
	}{
		"no bucket":    {store(t, nil), failure.NotFound},
		"denied":       {answer(403, "AccessDenied"), failure.Denied},
		"wrong key":    {answer(403, "InvalidAccessKeyId"), failure.Denied},
		"other region": {answer(301, "PermanentRedirect"), failure.Usage},
		"slow down":    {answer(503, "SlowDown"), failure.Transient},
		"odd":          {answer(400, "Odd"), failure.Invalid},
		"refused":      {client("http://" + listener.Addr().String()), failure.Transient},
	} {
		source := datasource.NewBucket(test.client, "none", "")
		_, _, err := list(t, source)
		if failure.KindOf(err) != test.want || failure.HintOf(err) == "" {
			t.Errorf("list, %s: kind %s, %v", name, failure.KindOf(err), err)
		}
		if _, err := source.Open(t.Context(), app.Object{Key: "a"}); failure.KindOf(err) != test.want {
			t.Errorf("open, %s: kind %s, %v", name, failure.KindOf(err), err)
		}
	}
}

// TestBucketBreaks ends a download in the middle.
func TestBucketBreaks(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "start")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	content, err := datasource.NewBucket(c, "files", "").Open(t.Context(), app.Object{Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if _, err := io.ReadAll(content); failure.KindOf(err) != failure.Transient {
		t.Errorf("%v", err)
	}
}

// TestBucketControlCharacters lists a key that XML can't hold: the page is asked for again, encoded.
func TestBucketControlCharacters(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, encoding := "p/a+b&#1;", ""
		if r.URL.Query().Get("encoding-type") == "url" {
			key, encoding = "p/a%2Bb+%01", "<EncodingType>url</EncodingType>"
		}
		fmt.Fprintf(w, "<ListBucketResult>%s<Contents><Key>%s</Key><Size>1</Size></Contents></ListBucketResult>", encoding, key)
	}))
	objects, _, err := list(t, datasource.NewBucket(c, "files", "p"))
	if diff := cmp.Diff([]string{"a+b \x01"}, keys(objects)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	odd := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<a>&#1;</a>") }))
	if _, _, err := list(t, datasource.NewBucket(odd, "files", "")); failure.KindOf(err) != failure.Invalid {
		t.Errorf("%v", err)
	}
}
