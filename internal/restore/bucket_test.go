package restore_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

// noise returns n bytes that do not compress and do not repeat.
func noise(n int, seed uint64) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), 1})
	_, _ = r.Read(data)
	return data
}

const large = 9 << 20

// mixed is a backup with everything that a bucket can get: small objects and large ones, one of them apart from its
// header, documents, an empty object, and what only kind files has in a bucket.
func mixed(t testing.TB) *archivetest.Backup {
	b := archivetest.New(t,
		[]archivetest.File{
			file("uploads/a.txt", "alpha"),
			{Path: "uploads/dead", Data: noise(300<<10, 1), Dead: true},
			file("uploads/ü #+%.txt", "beta"),
			file("uploads/empty", ""),
			{Path: "uploads/big.bin", Data: noise(large, 2)},
			file("uploads/c.JPG", "gamma"),
			{Path: "uploads/nothing/"},
		},
		[]archivetest.File{
			{Path: "export.json", Data: bytes.Repeat([]byte(`{"secret":1}`), 100), Document: true, Secret: true},
			{Path: "long.json", Data: bytes.Repeat([]byte(`0123456789abcdef`), 2<<20/16), Document: true},
			{Path: "uploads/apart.bin", Data: noise(large, 3)},
		},
	)
	apart := &b.Entries[len(b.Entries)-1]
	body := append([]byte("filler"), noise(large, 3)...)
	id := strings.Repeat("ab", 16)
	b.Packs[id], b.Order = body, append(b.Order, id)
	apart.BodyPlace = &manifest.Place{Pack: id, Offset: 6}
	media := &app.Media{
		ContentType: "image/x-test", ContentEncoding: "identity", ContentDisposition: `inline; filename="a.txt"`, CacheControl: "max-age=60",
		Metadata: map[string]string{"owner": "me", "x-y": "z"},
	}
	b.Entries[0].Origin.Media, apart.Origin.Media = media, media
	for i := range b.Entries {
		if o := b.Entries[i].Origin; o != nil {
			o.Key = "data/" + strings.TrimPrefix(b.Entries[i].Path, "uploads/")
		}
	}
	return b
}

// scene is a backup in a vault and an empty bucket of the same store.
type scene struct {
	parts int64 // that inCalls has written
	*testing.T
	vault, target *vaulttest.Store
	backup        *archivetest.Backup
	options       restore.BucketOptions
}

func newScene(t *testing.T, b *archivetest.Backup) *scene {
	s := &scene{T: t, vault: vaulttest.New(t), target: vaulttest.New(t), backup: b}
	b.Store(t, s.vault.Vault)
	s.options = restore.BucketOptions{Client: s.target.Client, Bucket: s.target.Bucket(), Prefix: "some/where", Kind: b.Header.Kind}
	return s
}

func (s *scene) image() verify.Image {
	s.Helper()
	i, err := verify.OpenPacks(s.Context(), s.vault.Vault, s.backup.Header.Source, s.backup.Header.Backup)
	if err != nil {
		s.Fatal(err)
	}
	return i
}

func (s *scene) pool() *pool.Pool {
	s.Helper()
	p, err := pool.Open(s.Context(), s.vault.Vault, s.backup.Header.Source)
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// run restores from the packs.
func (s *scene) run(ctx context.Context) (restore.Result, error) {
	return s.from(ctx, restore.PackBytes(s.vault.Vault, s.pool()))
}

func (s *scene) from(ctx context.Context, source restore.Bytes) (restore.Result, error) {
	target, err := restore.OpenBucket(ctx, s.options)
	if err != nil {
		return restore.Result{}, err
	}
	target.From(source)
	return target.Restore(ctx, verify.Entries(s.Context(), s.image()))
}

// has returns what the bucket has, by keys without the prefix: "TYPE BYTES".
func (s *scene) has() map[string]string {
	s.Helper()
	found := map[string]string{}
	for _, key := range s.target.Keys(s.T) {
		out, err := s.target.Client.GetObject(s.Context(), &s3.GetObjectInput{Bucket: &s.options.Bucket, Key: &key})
		if err != nil {
			s.Fatal(err)
		}
		data, err := io.ReadAll(out.Body)
		if err != nil {
			s.Fatal(err)
		}
		text := fmt.Sprintf("%s %d %08x", aws.ToString(out.ContentType), len(data), crc32.ChecksumIEEE(data))
		if len(out.Metadata) > 0 {
			text += fmt.Sprintf(" %v %s %s %s", out.Metadata, aws.ToString(out.ContentEncoding), aws.ToString(out.ContentDisposition), aws.ToString(out.CacheControl))
		}
		found[strings.TrimPrefix(key, "some/where/")] = text
	}
	return found
}

func described(kind string, data []byte) string {
	return fmt.Sprintf("%s %d %08x", kind, len(data), crc32.ChecksumIEEE(data))
}

const kept = ` map[owner:me x-y:z] identity inline; filename="a.txt" max-age=60`

func wantMixed() map[string]string {
	return map[string]string{
		"uploads/a.txt":     described("image/x-test", []byte("alpha")) + kept,
		"uploads/ü #+%.txt": described("text/plain; charset=utf-8", []byte("beta")),
		"uploads/empty":     described("application/octet-stream", nil),
		"uploads/big.bin":   described("application/octet-stream", noise(large, 2)),
		"uploads/c.JPG":     described("image/jpeg", []byte("gamma")),
		"export.json":       described("application/json", bytes.Repeat([]byte(`{"secret":1}`), 100)),
		"long.json":         described("application/json", bytes.Repeat([]byte(`0123456789abcdef`), 2<<20/16)),
		"uploads/apart.bin": described("image/x-test", noise(large, 3)) + kept,
	}
}

func (s *scene) wants(want map[string]string) {
	s.Helper()
	if diff := cmp.Diff(want, s.has()); diff != "" {
		s.Errorf("in the bucket (-want +got):\n%s", diff)
	}
	s.target.NoUploads(s.T)
}

// meter counts the bytes that pass through this process, and the requests.
type meter struct{ in, out, requests, writes atomic.Int64 }

func (m *meter) hook(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	m.requests.Add(1)
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		m.writes.Add(1)
	}
	m.out.Add(max(0, r.ContentLength))
	answer, err := next.RoundTrip(r)
	if err == nil && r.Method != http.MethodHead {
		m.in.Add(max(0, answer.ContentLength))
	}
	return answer, err
}

func (s *scene) meter() *meter {
	m := &meter{}
	s.vault.Intercept(m.hook)
	s.target.Intercept(m.hook)
	s.Cleanup(func() { s.free() })
	return m
}

func (s *scene) free() {
	s.vault.Intercept(nil)
	s.target.Intercept(nil)
}

func TestBucket(t *testing.T) {
	s := newScene(t, mixed(t))
	var items, bytes atomic.Int64
	s.options.Progress = func(i, b int64) { items.Add(i); bytes.Add(b) }
	m := s.meter()
	r, err := s.run(t.Context())
	s.free()
	want := restore.Result{Written: 8, Bytes: 2*large + 2<<20 + 1214, Spliced: 2, SplicedBytes: 2 * large}
	if diff := cmp.Diff(want, r); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if items.Load() != 8 || bytes.Load() != r.Bytes {
		t.Errorf("progress says %d items, %d bytes", items.Load(), bytes.Load())
	}
	if through := m.in.Load() + m.out.Load(); through > 3<<20 { // the long document, the small objects, XML
		t.Errorf("%d bytes passed through", through)
	}
	s.wants(wantMixed())

	m = s.meter()
	r, err = s.run(t.Context())
	s.free()
	if diff := cmp.Diff(restore.Result{Existing: 8}, r); diff != "" || err != nil || m.writes.Load() != 0 {
		t.Errorf("again: %d writes, %v\n%s", m.writes.Load(), err, diff)
	}
}

// TestSources restores the same from the archive in the vault and from a file.
func TestSources(t *testing.T) {
	s := newScene(t, mixed(t))
	s.backup.StoreArchive(t, s.vault.Vault)
	key := vault.Archive(s.backup.Header.Source, s.backup.Header.Backup)
	info, err := s.vault.Head(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.from(t.Context(), restore.ArchiveBytes(s.vault.Vault, key, info.Size))
	if err != nil || r.Written != 8 || r.Spliced != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(wantMixed())

	s.target = vaulttest.New(t)
	s.options.Client, s.options.Bucket = s.target.Client, s.target.Bucket()
	r, err = s.from(t.Context(), restore.FileBytes(image(t, s.backup.Zip(t))))
	if err != nil || r.Written != 8 || r.Spliced != 0 || r.Streams == "" {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(wantMixed())
}

// TestPieces: an object of several copies, none of which is shorter than a part may be.
func TestPieces(t *testing.T) {
	data := noise(17<<20+1, 7)
	s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
	s.options.Piece = 1 // as small as a part can be
	var copies atomic.Int64
	s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if isCopy(r) {
			copies.Add(1)
		}
		return next.RoundTrip(r)
	})
	r, err := s.run(t.Context())
	s.free()
	if err != nil || r.Spliced != 1 || copies.Load() != 3 {
		t.Errorf("%+v with %d copies, %v", r, copies.Load(), err)
	}
	s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
}

// TestStreamedParts: what is larger than one read is written in parts.
func TestStreamedParts(t *testing.T) {
	data := noise(33<<20, 7)
	s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
	r, err := s.from(t.Context(), restore.FileBytes(image(t, s.backup.Zip(t))))
	if err != nil || r.Written != 1 || r.Bytes != 33<<20 {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
	if again, err := s.from(t.Context(), restore.FileBytes(image(t, s.backup.Zip(t)))); err != nil || again.Existing != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestLayouts(t *testing.T) {
	s := newScene(t, mixed(t))
	s.options.Layout, s.options.Prefix, s.options.Floor = restore.ByKey, "", 1<<40
	s.options.Only = func(path string) bool { return !strings.HasSuffix(path, ".bin") }
	r, err := s.run(t.Context())
	if err != nil || r.Written != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if diff := cmp.Diff([]string{"data/a.txt", "data/c.JPG", "data/empty", "data/ü #+%.txt"}, s.target.Keys(t)); diff != "" {
		t.Error(diff)
	}
}

// TestFilesKind: the keys of a bucket come back as they were, markers too.
func TestFilesKind(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{
		file("files/a/b.txt", "b"),
		{Path: "files/marker/"},
		file("files/100%25", "%"), file("files/back%5Cslash", "\\"), file("files/%2E%2E/evil", "e"),
		file("files/x/%2Fy", "xy"),
		{Path: "files.json", Data: []byte("{}"), Document: true},
	})
	b.Header.Kind = "files"
	s := newScene(t, b)
	r, err := s.run(t.Context())
	if err != nil || r.Written != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	// The embedded store resolves names like a path.
	if diff := cmp.Diff([]string{"not written files/%2E%2E/evil", "not written files/x/%2Fy"}, problems(restored{Result: r})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"100%", "a/b.txt", `back\slash`, "marker/", "x/y"}, slices.Sorted(mapKeys(s.has()))); diff != "" {
		t.Error(diff)
	}
	if again, err := s.run(t.Context()); err != nil || again.Existing != 4 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// TestTaken: what is there is never overwritten, whatever the bucket says beforehand.
func TestTaken(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		s := newScene(t, mixed(t))
		for key, data := range map[string]string{"uploads/a.txt": "ALPHA", "uploads/big.bin": "mine", "uploads/c.JPG": "gamma"} {
			if _, err := s.target.Client.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &s.options.Bucket, Key: new("some/where/" + key), Body: strings.NewReader(data), ContentType: new("mine/mine"),
			}); err != nil {
				t.Fatal(err)
			}
		}
		if hidden { // as if they came after the first look
			s.target.Intercept(vaulttest.Once(func(r *http.Request) bool { return r.URL.Query().Has("list-type") },
				func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
					return rewritten(r, next, func(text string) string {
						before, _, _ := strings.Cut(text, "<Contents>")
						return before + "</ListBucketResult>"
					})
				}))
		}
		r, err := s.run(t.Context())
		s.free()
		if err != nil || r.Written != 5 || r.Existing != 1 || r.Total != 2 || r.Spliced != 1 {
			t.Errorf("hidden %v: %+v, %v", hidden, r, err)
		}
		want := wantMixed()
		want["uploads/a.txt"], want["uploads/big.bin"], want["uploads/c.JPG"] = described("mine/mine", []byte("ALPHA")), described("mine/mine", []byte("mine")), described("mine/mine", []byte("gamma"))
		s.wants(want)
	}
}

func isCopy(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }

func rewritten(r *http.Request, next http.RoundTripper, change func(string) string) (*http.Response, error) {
	answer, err := next.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	text := change(string(body))
	answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	answer.Header.Del("Content-Length")
	return answer, err
}

// TestNoCopies: a store that does not copy, or not so that one can trust it, gets the bytes from here.
func TestNoCopies(t *testing.T) {
	cut := func(text, with string) string {
		before, rest, _ := strings.Cut(text, "<ChecksumCRC32>")
		_, after, _ := strings.Cut(rest, "</ChecksumCRC32>")
		return before + with + after
	}
	for name, hook := range map[string]vaulttest.Hook{
		"may not be read": func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
		},
		"does not copy": func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return vaulttest.Refuse(r, http.StatusNotImplemented, "NotImplemented")
		},
		"no checksum": func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			return rewritten(r, next, func(text string) string { return cut(text, "") })
		},
		"wrong checksums": func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			return rewritten(r, next, func(text string) string { return cut(text, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>") })
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if testing.Short() && (name == "does not copy" || name == "no checksum") {
				t.Skip("streams 20 MiB like the others")
			}
			s := newScene(t, mixed(t))
			var shown atomic.Int64
			s.options.Progress = func(_, b int64) { shown.Add(b) }
			s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if isCopy(r) {
					return hook(r, next)
				}
				return next.RoundTrip(r)
			})
			r, err := s.run(t.Context())
			s.free()
			if err != nil || r.Written != 8 || r.Spliced != 0 || r.Streams == "" || r.Total > 0 || shown.Load() != r.Bytes {
				t.Errorf("%+v, %v; %d bytes shown", r, err, shown.Load())
			}
			s.wants(wantMixed())
		})
	}
}

// TestRot: bytes that changed where they lie never get a name, and what is whole does.
func TestRot(t *testing.T) {
	paths := []string{"uploads/c.JPG", "uploads/apart.bin", "uploads/big.bin", "export.json", "long.json"}
	if testing.Short() {
		paths = paths[:2]
	}
	for _, path := range paths {
		t.Run(strings.ReplaceAll(path, "/", "-"), func(t *testing.T) {
			s := newScene(t, mixed(t))
			e, err := verify.Find(t.Context(), s.image(), path)
			if err != nil {
				t.Fatal(err)
			}
			flip(t, s.vault.Path(vault.Pack("photos", e.Body().Pack)), e.Body().Offset+e.StoredSize()/2)
			report, err := restore.Stored(t.Context(), s.vault.Vault, s.pool(), s.image(), signers(), func(int64, int64) {})
			if err != nil || !report.OK {
				t.Errorf("the store's checksums are what they were: %+v, %v", report, err)
			}
			r, err := s.run(t.Context())
			if err != nil || r.Written != 7 || len(r.Problems) != 1 || r.Problems[0].Kind != "corrupt" || r.Problems[0].Item != path {
				t.Errorf("%+v, %v", r, err)
			}
			want := wantMixed()
			delete(want, path)
			s.wants(want)
		})
	}
}

func flip(t *testing.T, name string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, offset); err == nil {
		b[0] ^= 0x10
		_, err = f.WriteAt(b, offset)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func signers() []ed25519.PublicKey {
	return []ed25519.PublicKey{archivetest.Key.Public().(ed25519.PublicKey)}
}

// TestRefused: what concerns every object is one error.
func TestRefused(t *testing.T) {
	s := newScene(t, mixed(t))
	s.options.Bucket = "no-such-bucket"
	if _, err := s.run(t.Context()); failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
		t.Errorf("no bucket: %v", err)
	}
	s.options.Bucket = s.target.Bucket()
	for _, list := range []bool{false, true} {
		s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if r.Method == http.MethodPut || r.Method == http.MethodPost || list {
				return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
			}
			return next.RoundTrip(r)
		})
		r, err := s.run(t.Context())
		if failure.KindOf(err) != failure.Denied || !strings.Contains(err.Error(), "may not be written") || failure.HintOf(err) == "" || r.Written > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// TestInterrupted stops a restore at each request, before and after the store has done it, and runs it again.
func TestInterrupted(t *testing.T) {
	b := archivetest.New(t,
		[]archivetest.File{file("a", "alpha"), file("b", "beta"), {Path: "big", Data: noise(6<<20, 1)}},
		[]archivetest.File{{Path: "doc.json", Data: bytes.Repeat([]byte("doc"), 1<<19), Document: true}},
	)
	want := map[string]string{}
	for path, data := range map[string][]byte{"a": []byte("alpha"), "b": []byte("beta"), "big": noise(6<<20, 1)} {
		want[path] = described("application/octet-stream", data)
	}
	want["doc.json"] = described("application/json", bytes.Repeat([]byte("doc"), 1<<19))
	vaultStore := newScene(t, b)
	stopped := 0
	for _, after := range []bool{false, true} {
		for n := range vaulttest.Calls(after) {
			s := &scene{T: t, vault: vaultStore.vault, target: vaulttest.New(t), backup: b, options: vaultStore.options}
			s.options.Client, s.options.Bucket, s.options.Floor = s.target.Client, s.target.Bucket(), 5<<20
			ctx, cancel := context.WithCancel(t.Context())
			var count atomic.Int64
			begun := false
			hook := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if count.Add(1) != int64(n) {
					return next.RoundTrip(r)
				}
				begun = r.Method == http.MethodPost && r.URL.Query().Has("uploads")
				if after {
					if answer, err := next.RoundTrip(r); err == nil {
						_, _ = io.Copy(io.Discard, answer.Body)
						answer.Body.Close()
					}
				}
				cancel()
				return nil, context.Canceled
			}
			bytes := restore.PackBytes(s.vault.Vault, s.pool())
			s.vault.Intercept(hook)
			s.target.Intercept(hook)
			target, err := restore.OpenBucket(ctx, s.options)
			if err == nil {
				target.From(bytes)
				_, err = target.Restore(ctx, b.All())
			}
			cancel()
			s.free()
			if count.Load() < int64(n) {
				if err != nil {
					t.Fatalf("%d requests, %v", n, err)
				}
				s.wants(want)
				break
			}
			stopped++
			if !errors.Is(err, context.Canceled) && failure.KindOf(err) != failure.Canceled && !(after && err == nil) {
				t.Errorf("stopped at request %d: %v", n, err)
			}
			if r, err := s.run(t.Context()); err != nil || r.Total > 0 || r.Written+r.Existing != 4 {
				t.Errorf("after request %d: %+v, %v", n, r, err)
			}
			if diff := cmp.Diff(want, s.has()); diff != "" {
				t.Errorf("after request %d:\n%s", n, diff)
			}
			if !begun { // nobody knows the upload then
				s.target.NoUploads(t)
			}
		}
	}
	if stopped < 3 || stopped < 12 && !testing.Short() {
		t.Errorf("stopped %d times", stopped)
	}
}

// TestMedia: a manifest may say what no request can hold.
func TestMedia(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{file("a", "alpha"), file("b", "beta")})
	b.Entries[0].Origin.Media = &app.Media{ContentType: "text/plain\r\nX-Evil: 1"}
	b.Entries[1].Origin.Media = &app.Media{ContentType: "text/html", Metadata: map[string]string{"a b": "c"}}
	s := newScene(t, b)
	r, err := s.run(t.Context())
	if err != nil || r.Written != 2 || r.Total != 2 || r.Problems[0].Kind != "media" {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(map[string]string{"a": described("application/octet-stream", []byte("alpha")), "b": described("application/octet-stream", []byte("beta"))})
}
