package s3model_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/s3model"
)

// derived returns a world whose object "large" of 3 GiB is derived from a seed.
func derived(t *testing.T, options s3model.Options) (*s3model.Server, *world) {
	t.Helper()
	store, client := serve(t, options)
	if err := store.Put("bucket", "large", time.Unix(0, 0), s3model.Derived{Seed: 7, Size: 3 << 30}); err != nil {
		t.Fatal(err)
	}
	return store, &world{T: t, Client: client, bucket: "bucket"}
}

func bytesOf(t *testing.T, d s3model.Derived) []byte {
	t.Helper()
	r, err := d.Reader()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDerived: every range of a derived object has the same bytes wherever it is read, and copies know their CRC-32.
func TestDerived(t *testing.T) {
	store, w := derived(t, s3model.Options{})
	whole := bytesOf(t, s3model.Derived{Seed: 7, Size: 9 << 20})
	u := w.begin("spliced")
	var parts []types.CompletedPart
	want := []byte{}
	for i, from := range []int64{0, 1, 1<<20 - 1, 1 << 20, 12345} {
		length := int64(5<<20 + i*777)
		p, err := w.copied(u, int32(i+1), "large", fmt.Sprintf("%d-%d", from, from+length-1))
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(p.ChecksumCRC32); got != crc(whole[from:from+length]) {
			t.Errorf("range from %d has the checksum %s", from, got)
		}
		parts, want = append(parts, p), append(want, whole[from:from+length]...)
	}
	if _, err := w.join(u, parts, func(in *s3.CompleteMultipartUploadInput) {
		in.ChecksumCRC32, in.ChecksumType = new(crc(want)), types.ChecksumTypeFullObject
	}); err != nil {
		t.Fatal(err)
	}
	out, err := w.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: new("spliced")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the object that was spliced has %d other bytes, %v", len(got), err)
	}
	if size, sum, ok := store.Sum("bucket", "spliced"); !ok || size != int64(len(want)) || sum != crc32.ChecksumIEEE(want) {
		t.Errorf("Sum: %d %08x %t", size, sum, ok)
	}
	offset := bytesOf(t, s3model.Derived{Seed: 7, Offset: 4711, Size: 5000})
	if !bytes.Equal(offset, whole[4711:9711]) {
		t.Error("an offset of the stream has other bytes than the stream")
	}
	if other := bytesOf(t, s3model.Derived{Seed: 8, Size: 16}); bytes.Equal(other, whole[:16]) {
		t.Error("two seeds have the same bytes")
	}
}

// TestModes: each option breaks what it says, and only that.
func TestModes(t *testing.T) {
	splice := func(w *world) (string, error) {
		u := w.begin("spliced")
		one, err1 := w.copied(u, 1, "stored", fmt.Sprintf("0-%d", 5*mib-1))
		two, err2 := w.copied(u, 2, "stored", "5-9")
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		whole := append(append([]byte{}, w.data[:5*mib]...), w.data[5:10]...)
		text, err := w.join(u, []types.CompletedPart{one, two}, func(in *s3.CompleteMultipartUploadInput) {
			in.ChecksumCRC32, in.ChecksumType = new(crc(whole)), types.ChecksumTypeFullObject
		})
		return strings.Replace(fmt.Sprint(one.ChecksumCRC32 != nil, " ", text), crc(whole), "right", 1), err
	}
	uneven := func(w *world) (string, error) {
		u := w.begin("uneven")
		return done(w.join(u, w.parts(u, 5*mib, 6*mib, 100)))
	}
	even := func(w *world) (string, error) {
		u := w.begin("even")
		return done(w.join(u, w.parts(u, 5*mib, 5*mib, 100)))
	}
	for _, test := range []struct {
		name    string
		options s3model.Options
		ask     func(*world) (string, error)
		want    string
	}{
		{"as AWS", s3model.Options{}, splice, "true right FULL_OBJECT"},
		{"as AWS, uneven parts", s3model.Options{}, uneven, "done"},
		{"no copies", s3model.Options{NoCopy: true}, splice, "501 NotImplemented"},
		{"no part checksums", s3model.Options{NoPartCRC: true}, splice, "false right FULL_OBJECT"},
		{"wrong part checksums", s3model.Options{WrongPartCRC: true}, splice, "400 BadDigest"},
		{"denied copies", s3model.Options{DenyCopies: true}, splice, "403 AccessDenied"},
		{"equal parts, uneven", s3model.Options{Equal: true}, uneven, "400 InvalidPart"},
		{"equal parts, even", s3model.Options{Equal: true}, even, "done"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, client := serve(t, test.options)
			store.CreateBucket("bucket")
			w := &world{T: t, Client: client, bucket: "bucket"}
			w.data = bytesOf(t, s3model.Derived{Seed: 1, Size: 12 * mib})
			if _, err := w.put("stored", w.data); err != nil {
				t.Fatal(err)
			}
			got, err := test.ask(w)
			if err != nil {
				got = spoken(err)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestSlowDown: every third request is refused; the SDK tries again.
func TestSlowDown(t *testing.T) {
	store, w := derived(t, s3model.Options{SlowEvery: 3})
	for range 6 {
		if _, err := w.head("large"); err != nil {
			t.Fatal(err)
		}
	}
	if got := store.Total().Get; got != 8 { // 6, and the third and the sixth again
		t.Errorf("%d requests, want 8", got)
	}
}

// TestCounters: requests and bytes are counted by worker and class.
func TestCounters(t *testing.T) {
	store, w := derived(t, s3model.Options{})
	server := aws.ToString(w.Options().BaseEndpoint)
	other := &world{T: t, Client: connect(t, server, "other"), bucket: "bucket", data: make([]byte, mib)}
	if _, err := w.get("large", func(in *s3.GetObjectInput) { in.Range = new("bytes=0-999999") }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.list(func(*s3.ListObjectsV2Input) {}); err != nil {
		t.Fatal(err)
	}
	u := other.begin("x")
	parts := other.parts(u, 1000)
	if _, err := other.copied(u, 2, "large", "0-99"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.join(u, parts); err != nil {
		t.Fatal(err)
	}
	want := map[string]s3model.Counters{
		"worker": {Get: 1, List: 1, Downloaded: 1_000_000},
		"other":  {Put: 4, Uploaded: 1000, Copied: 100},
	}
	if diff := cmp.Diff(want, store.Counters()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	answer, err := http.Get(server + "/-/counters")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(text), `"other":{"put":4,"get":0,"list":0,"free":0,"uploaded":1000,"downloaded":0,"copied":100}`) {
		t.Errorf("%s %v", text, err)
	}
}

// TestChunked: a body in the encoding that SDKs use for streams is decoded, and its trailing checksum compared.
func TestChunked(t *testing.T) {
	_, w := derived(t, s3model.Options{})
	for _, test := range []struct {
		trailer string
		want    int
	}{{crc([]byte("hello world")), 200}, {"AAAAAA==", 400}} {
		body := "5;chunk-signature=0123\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:" + test.trailer + "\r\n\r\n"
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, aws.ToString(w.Options().BaseEndpoint)+"/bucket/chunked", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		r.Header.Set("X-Amz-Decoded-Content-Length", "11")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != test.want {
			t.Errorf("trailer %s: status %d, want %d", test.trailer, answer.StatusCode, test.want)
		}
	}
	if text, err := w.get("chunked"); err != nil || text != "hello world " {
		t.Errorf("%q %v", text, err)
	}
}

// TestPace: latency, link and copy rate take the time that they say, and a link is shared by a worker's requests.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := s3model.New(s3model.Options{PutLatency: 40 * time.Millisecond, GetLatency: 20 * time.Millisecond, CopyRate: 150e6, LinkRate: 75e6})
		if err := store.Put("bucket", "large", time.Unix(0, 0), s3model.Derived{Seed: 7, Size: 300e6}); err != nil {
			t.Fatal(err)
		}
		ask := func(worker, method, path string, header ...string) {
			r, err := http.NewRequestWithContext(t.Context(), method, path, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+worker+"/20260101/us-east-1/s3/aws4_request")
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			store.ServeHTTP(&sink{header: http.Header{}}, r)
		}
		took := func(what ...func()) time.Duration {
			start := time.Now()
			ended := make(chan struct{})
			for _, f := range what {
				go func() { f(); ended <- struct{}{} }()
			}
			for range what {
				<-ended
			}
			return time.Since(start).Round(10 * time.Millisecond)
		}
		read := func(worker string) func() {
			return func() { ask(worker, http.MethodGet, "/bucket/large", "Range", "bytes=0-149999999") }
		}
		got := map[string]time.Duration{
			"head":                  took(func() { ask("a", http.MethodHead, "/bucket/large") }),
			"list":                  took(func() { ask("a", http.MethodGet, "/bucket?list-type=2") }),
			"copy":                  took(func() { ask("a", http.MethodPut, "/bucket/copy", "X-Amz-Copy-Source", "bucket/large") }),
			"read":                  took(read("a")),
			"two reads of a worker": took(read("a"), read("a")),
			"reads of two workers":  took(read("a"), read("b")),
		}
		store.Slow(2)
		got["slower read"] = took(read("a"))
		got["slower copy"] = took(func() { ask("a", http.MethodPut, "/bucket/copy", "X-Amz-Copy-Source", "bucket/large") })
		want := map[string]time.Duration{
			"head": 20 * time.Millisecond, "list": 20 * time.Millisecond, "copy": 2040 * time.Millisecond,
			"read": 2000 * time.Millisecond, "two reads of a worker": 4000 * time.Millisecond, "reads of two workers": 2000 * time.Millisecond,
			"slower read": 4020 * time.Millisecond, "slower copy": 4080 * time.Millisecond,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// sink is a response that nobody reads.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
