package vault_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// foreignObject puts an object into a bucket of its own and returns it.
func foreignObject(t *testing.T, s *vaulttest.Store, key string, content []byte) vault.Foreign {
	t.Helper()
	bucket := s.Bucket() + "-source"
	_, _ = s.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
	out, err := s.Client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	return vault.Foreign{Bucket: bucket, Key: key, ETag: *out.ETag}
}

func TestCopyPartFrom(t *testing.T) {
	s := vaulttest.New(t)
	content := bytes.Repeat([]byte("0123456789abcde\n"), 400_000) // 6.4 MB
	key := vault.Pack("photos", "00112233445566778899aabbccddeeff")
	for _, name := range []string{"plain", "a b", "a+b", "100%", "50%2B", "ü/日本", "q?x=1&y#z", `"quoted"`} {
		from := foreignObject(t, s, name, content)
		u, err := s.CreateUpload(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.CopyPartFrom(t.Context(), u, 1, from, 5, 6_000_001)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if want := crc32.ChecksumIEEE(content[5 : 5+6_000_001]); !part.HasCRC || part.CRC32 != want || part.Size != 6_000_001 {
			t.Errorf("%q: %+v, want CRC %08x", name, part, want)
		}
		body, err := s.OpenFrom(t.Context(), from, 7, 100)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if body.Close(); err != nil || !bytes.Equal(got, content[7:107]) {
			t.Errorf("%q: read %q, %v", name, got, err)
		}
		if err := s.Abort(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyPartFromTrouble(t *testing.T) {
	s := vaulttest.New(t)
	from := foreignObject(t, s, "a", make([]byte, 6<<20))
	u, err := s.CreateUpload(t.Context(), vault.Pack("photos", "00112233445566778899aabbccddeeff"))
	if err != nil {
		t.Fatal(err)
	}
	other, gone, nowhere := from, from, from
	other.ETag, gone.Key, nowhere.Bucket = `"0123"`, "b", "no-such-bucket"
	refuse := func(status int, code string) vaulttest.Hook {
		return func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, status, code)
		}
	}
	for name, test := range map[string]struct {
		from   vault.Foreign
		length int64
		hook   vaulttest.Hook
		want   failure.Kind
	}{
		"another version": {from: other, length: 100, want: failure.Conflict},
		"gone":            {from: gone, length: 100, want: failure.NotFound},
		"no bucket":       {from: nowhere, length: 100, want: failure.Denied},
		"shorter":         {from: from, length: 7 << 20, want: failure.Corrupt},
		"denied":          {from: from, length: 100, hook: refuse(403, "AccessDenied"), want: failure.Denied},
		"unknown":         {from: from, length: 100, hook: refuse(501, "NotImplemented"), want: failure.Invalid},
		"archived":        {from: from, length: 100, hook: refuse(403, "InvalidObjectState"), want: failure.Denied},
		"other region":    {from: from, length: 100, hook: refuse(301, "PermanentRedirect"), want: failure.Invalid},
		"no upload":       {from: from, length: 100, hook: refuse(404, "NoSuchUpload"), want: failure.Transient},
	} {
		s.Intercept(test.hook)
		_, err := s.CopyPartFrom(t.Context(), u, 1, test.from, 0, test.length)
		if failure.KindOf(err) != test.want || err == nil || errors.Is(err, vault.ErrArchived) != (name == "archived") {
			t.Errorf("%s: copy: %v", name, err)
		}
		if name == "no upload" {
			continue
		}
		body, err := s.OpenFrom(t.Context(), test.from, 0, test.length)
		if failure.KindOf(err) != test.want || err == nil {
			t.Errorf("%s: read: %v, %v", name, body, err)
		}
	}
	s.Intercept(nil)
	if err := s.Abort(t.Context(), u); err != nil {
		t.Error(err)
	}
}

func TestSameStore(t *testing.T) {
	for _, test := range []struct {
		ours, theirs string
		same         bool
	}{
		{"", "", true},
		{"", "https://s3.eu-central-1.amazonaws.com", true},
		{"https://s3.eu-central-1.amazonaws.com/", "", true},
		{"", "https://s3.cn-north-1.amazonaws.com.cn", false},
		{"", "http://127.0.0.1:9000", false},
		{"http://127.0.0.1:9000", "http://127.0.0.1:9000/", true},
		{"http://127.0.0.1:9000", "http://127.0.0.1:9001", false},
		{"http://127.0.0.1:9000", "https://127.0.0.1:9000", false},
		{"https://S3.example.org", "https://s3.example.org:443/", true},
		{"http://s3.example.org:80", "http://s3.example.org", true},
		{"https://s3.example.org/a", "https://s3.example.org/b", false},
		{"https://s3.example.org", "", false},
		{"https://s3.example.org", "s3.example.org", false},
	} {
		client, err := vault.Connect(t.Context(), vault.Store{Endpoint: test.ours, Region: "us-east-1", HTTP: http.DefaultClient})
		if err != nil {
			t.Fatal(err)
		}
		if same := vault.New(client, "vault", nil).SameStore(test.theirs); same != test.same {
			t.Errorf("vault at %q, source at %q: %v", test.ours, test.theirs, same)
		}
	}
}
