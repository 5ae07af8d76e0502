package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

const key vault.Key = "links/one.json"

func wantKind(t *testing.T, err error, want failure.Kind) {
	t.Helper()
	if err == nil || failure.KindOf(err) != want {
		t.Errorf("got %v (%v), want %v", err, failure.KindOf(err), want)
	}
}

func TestConditions(t *testing.T) {
	v := vaulttest.New(t)
	ctx := t.Context()
	first, err := v.Put(ctx, key, []byte("one"), vault.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Put(ctx, key, []byte("two"), vault.IfAbsent())
	wantKind(t, err, failure.Conflict)
	second, err := v.Put(ctx, key, []byte("two"), vault.IfMatch(first))
	if err != nil || second == first {
		t.Fatalf("ETag %s after %s, %v", second, first, err)
	}
	_, err = v.Put(ctx, key, []byte("three"), vault.IfMatch(first))
	wantKind(t, err, failure.Conflict)
	_, err = v.Put(ctx, key, []byte("three"), vault.IfMatch(""))
	wantKind(t, err, failure.Conflict) // an unknown ETag is no permission
	if data, etag, err := v.Get(ctx, key); string(data) != "two" || etag != second || err != nil {
		t.Errorf("got %q, %s, %v", data, etag, err)
	}
	wantKind(t, v.DeleteMatch(ctx, key, first), failure.Conflict)
	if err := v.DeleteMatch(ctx, key, second); err != nil {
		t.Error(err)
	}
	if err := v.DeleteMatch(ctx, key, second); err != nil {
		t.Errorf("what is gone cannot be deleted again: %v", err)
	}
	_, _, err = v.Get(ctx, key)
	wantKind(t, err, failure.NotFound)
	if err := v.Delete(ctx, key); err != nil {
		t.Error(err)
	}
}

func TestCreate(t *testing.T) {
	v := vaulttest.New(t)
	for range 2 {
		if err := v.Create(t.Context(), key, []byte("same")); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, v.Create(t.Context(), key, []byte("diff")), failure.Conflict)
	if data, _, err := v.Get(t.Context(), key); string(data) != "same" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestOneWinner(t *testing.T) {
	v := vaulttest.New(t)
	var wins sync.Map
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			if _, err := v.Put(t.Context(), key, fmt.Appendf(nil, "%d", i), vault.IfAbsent()); err == nil {
				wins.Store(i, true)
			} else if failure.KindOf(err) != failure.Conflict {
				t.Error(err)
			}
		})
	}
	group.Wait()
	data, _, err := v.Get(t.Context(), key)
	won := []string{}
	wins.Range(func(i, _ any) bool { won = append(won, fmt.Sprint(i)); return true })
	if diff := cmp.Diff([]string{string(data)}, won); diff != "" || err != nil {
		t.Errorf("%v, winners %s", err, diff)
	}
}

func isPut(r *http.Request) bool      { return r.Method == http.MethodPut }
func isPost(r *http.Request) bool     { return r.Method == http.MethodPost }
func isComplete(r *http.Request) bool { return isPost(r) && r.URL.Query().Has("uploadId") }

func TestRaceIsRetried(t *testing.T) {
	v := vaulttest.New(t)
	v.Intercept(vaulttest.Once(isPut, func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusConflict, "ConditionalRequestConflict")
	}))
	if _, err := v.Put(t.Context(), key, []byte("body"), vault.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	if data, _, err := v.Get(t.Context(), key); string(data) != "body" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestLostAnswer drops the answer of a write that the server did. The SDK repeats it, and the store refuses the
// repetition of a conditional one: that must not look like somebody else's write.
func TestLostAnswer(t *testing.T) {
	for name, write := range map[string]func(context.Context, *vaulttest.Store, string) error{
		"always":    func(ctx context.Context, v *vaulttest.Store, _ string) error { return put(ctx, v, vault.Always()) },
		"if absent": func(ctx context.Context, v *vaulttest.Store, _ string) error { return put(ctx, v, vault.IfAbsent()) },
		"if match": func(ctx context.Context, v *vaulttest.Store, etag string) error {
			return put(ctx, v, vault.IfMatch(etag))
		},
		"create": func(ctx context.Context, v *vaulttest.Store, _ string) error {
			return v.Create(ctx, key, []byte("mine"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, etag := vaulttest.New(t), ""
			if name == "if match" {
				var err error
				if etag, err = v.Put(t.Context(), key, []byte("before"), vault.Always()); err != nil {
					t.Fatal(err)
				}
			}
			v.Intercept(vaulttest.Once(isPut, vaulttest.Drop))
			if err := write(t.Context(), v, etag); err != nil {
				t.Fatal(err)
			}
			v.Intercept(nil)
			if data, _, err := v.Get(t.Context(), key); string(data) != "mine" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

func put(ctx context.Context, v *vaulttest.Store, cond vault.Condition) error {
	etag, err := v.Put(ctx, key, []byte("mine"), cond)
	if err != nil {
		return err
	}
	if info, err := v.Head(ctx, key); err != nil || info.ETag != etag {
		return fmt.Errorf("ETag %s, the store has %s, %w", etag, info.ETag, err)
	}
	return nil
}

// TestLostAnswerOfAnother: the first request never arrived, and another writer came between.
func TestLostAnswerOfAnother(t *testing.T) {
	v := vaulttest.New(t)
	v.Intercept(vaulttest.Once(isPut, func(_ *http.Request, next http.RoundTripper) (*http.Response, error) {
		v.Intercept(nil)
		if _, err := v.Put(context.WithoutCancel(t.Context()), key, []byte("theirs"), vault.IfAbsent()); err != nil {
			t.Error(err)
		}
		return nil, vaulttest.ErrDropped
	}))
	_, err := v.Put(t.Context(), key, []byte("mine"), vault.IfAbsent())
	wantKind(t, err, failure.Conflict)
}

func TestErrorKinds(t *testing.T) {
	v := vaulttest.New(t)
	for _, test := range []struct {
		status int
		code   string
		want   failure.Kind
	}{
		{404, "NoSuchKey", failure.NotFound},
		{404, "NoSuchBucket", failure.NotFound},
		{404, "SomethingElse", failure.NotFound},
		{403, "AccessDenied", failure.Denied},
		{403, "SignatureDoesNotMatch", failure.Denied},
		{400, "ExpiredToken", failure.Denied},
		{403, "RequestTimeTooSkewed", failure.Denied},
		{401, "", failure.Denied},
		{412, "PreconditionFailed", failure.Conflict},
		{400, "BadDigest", failure.Corrupt},
		{416, "InvalidRange", failure.Corrupt},
		{507, "InsufficientStorage", failure.Exhausted},
		{400, "MalformedXML", failure.Internal},
	} {
		v.Intercept(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, test.status, test.code)
		})
		_, _, err := v.Get(t.Context(), key)
		if got := failure.KindOf(err); got != test.want {
			t.Errorf("%d %s: got %v, want %v (%v)", test.status, test.code, got, test.want, err)
		}
		if hint := failure.HintOf(err); (test.want == failure.Denied || test.want == failure.Exhausted) && hint == "" {
			t.Errorf("%d %s: there is no hint", test.status, test.code)
		}
	}
}

// TestTrouble fails in ways that the SDK repeats first.
func TestTrouble(t *testing.T) {
	for name, hook := range map[string]vaulttest.Hook{
		"busy": func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, 503, "SlowDown")
		},
		"broken": func(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, vaulttest.ErrDropped },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vaulttest.New(t)
			v.Intercept(hook)
			_, err := v.Head(t.Context(), key)
			wantKind(t, err, failure.Transient)
		})
	}
	v := vaulttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Head(ctx, key)
	wantKind(t, err, failure.Canceled)
}

// cutBody ends an answer's body early, as a broken connection does.
func cutBody(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	answer, err := next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(answer.Body, 3), failing{}), answer.Body}
	}
	return answer, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReading(t *testing.T) {
	v := vaulttest.New(t)
	if _, err := v.Put(t.Context(), key, []byte("0123456789"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	read := func(offset, length int64) (string, error) {
		body, _, err := v.Open(t.Context(), key, offset, length)
		if err != nil {
			return "", err
		}
		defer body.Close()
		data, err := io.ReadAll(body)
		return string(data), err
	}
	for _, test := range []struct {
		offset, length int64
		want           string
	}{{0, -1, "0123456789"}, {0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {5, 0, ""}, {99, 0, ""}} {
		if got, err := read(test.offset, test.length); got != test.want || err != nil {
			t.Errorf("%d+%d: %q, %v", test.offset, test.length, got, err)
		}
	}
	for _, offset := range []int64{5, 10, 99} { // an object that is cut off is not read in part
		_, err := read(offset, 6)
		wantKind(t, err, failure.Corrupt)
	}
	v.Intercept(cutBody)
	for _, length := range []int64{-1, 10} {
		_, err := read(0, length)
		wantKind(t, err, failure.Transient)
	}
}

// TestDamage flips a byte on the disk: the checksum that the store keeps does not fit any more.
func TestDamage(t *testing.T) {
	v := vaulttest.New(t)
	if _, err := v.Put(t.Context(), key, bytes.Repeat([]byte("data "), 1000), vault.Always()); err != nil {
		t.Fatal(err)
	}
	flip(t, v.Path(key), 17)
	_, _, err := v.Get(t.Context(), key)
	wantKind(t, err, failure.Corrupt)
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestJSON(t *testing.T) {
	v := vaulttest.New(t)
	etag, err := v.Put(t.Context(), key, []byte("{"), vault.Always())
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]int
	got, err := v.GetJSON(t.Context(), key, &value)
	wantKind(t, err, failure.Corrupt)
	if got != etag {
		t.Errorf("the ETag of text that is no JSON: got %q, want %q", got, etag)
	}
	if etag, err = v.PutJSON(t.Context(), key, map[string]int{"a": 1}, vault.IfMatch(got)); err != nil {
		t.Fatal(err)
	}
	got, err = v.GetJSON(t.Context(), key, &value)
	if diff := cmp.Diff(map[string]int{"a": 1}, value); err != nil || got != etag || diff != "" {
		t.Error(err, got, diff)
	}
}

func TestDeleteAll(t *testing.T) {
	v := vaulttest.New(t)
	for _, k := range []vault.Key{"links/a.json", "links/b.json", "links/c.json", "linksx.json"} {
		if err := v.Create(t.Context(), k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.DeleteAll(t.Context(), "links/", "links/b.json"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"links/b.json", "linksx.json"}, v.Keys(t)); diff != "" {
		t.Error(diff)
	}
}

func TestDescribe(t *testing.T) {
	v := vaulttest.New(t)
	_, err := v.Describe(t.Context())
	wantKind(t, err, failure.NotFound)
	if err := v.Initialise(t.Context(), vault.Description{ID: "ABC", Lifeboat: "test"}); err != nil {
		t.Fatal(err)
	}
	d, err := v.Describe(t.Context())
	if err != nil || d.Format != vault.Format || d.ID != "ABC" {
		t.Errorf("%+v, %v", d, err)
	}
	wantKind(t, v.Initialise(t.Context(), vault.Description{ID: "DEF"}), failure.Conflict)
	for text, want := range map[string]failure.Kind{
		`{"format": 2, "id": ["of another shape"]}`: failure.Invalid,
		`{"format": 0, "id": "ABC"}`:                failure.Corrupt,
		`{"format": 1}`:                             failure.Corrupt,
		`not JSON`:                                  failure.Corrupt,
	} {
		if _, err := v.Put(t.Context(), vault.Marker, []byte(text), vault.Always()); err != nil {
			t.Fatal(err)
		}
		_, err := v.Describe(t.Context())
		wantKind(t, err, want)
	}
}

func TestCRCText(t *testing.T) {
	for _, crc := range []uint32{0, 1, 0xcbf43926, 0xffffffff} {
		if got, ok := vault.DecodeCRC(vault.EncodeCRC(crc)); !ok || got != crc {
			t.Errorf("%08x becomes %08x, %v", crc, got, ok)
		}
	}
	for _, text := range []string{"", "AAAA", "AAAAAA", "AAAAAA==-3", strings.Repeat("A", 12)} {
		if crc, ok := vault.DecodeCRC(text); ok {
			t.Errorf("%q is %08x", text, crc)
		}
	}
}

func TestPresignedURL(t *testing.T) {
	v := vaulttest.New(t)
	if err := v.Create(t.Context(), "archives/a/b.zip", []byte("zip")); err != nil {
		t.Fatal(err)
	}
	address, err := v.Presign(t.Context(), "archives/a/b.zip", `we"ird.zip`, 1<<62)
	if err != nil || !strings.Contains(address, "X-Amz-Expires=900") {
		t.Errorf("%s, %v", address, err)
	}
	client := &http.Client{Transport: v}
	answer, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); string(body) != "zip" || err != nil || answer.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("%q, %v, %v", body, err, answer.Header)
	}
}

func TestSync(t *testing.T) {
	v := vault.New(nil, "b", func(context.Context) error { return errors.New("no") })
	if err := v.Sync(t.Context()); err == nil || v.Bucket() != "b" {
		t.Error(err)
	}
}
