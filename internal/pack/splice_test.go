package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

const mib = 1 << 20

// bucket is a vault, and a source in another bucket of the same store.
type bucket struct {
	*Packer
	t      *testing.T
	store  *vaulttest.Store
	name   string
	source *datasource.Bucket
	seeds  map[string]uint64
	sizes  map[string]int64
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{t: t, store: vaulttest.Any(t), seeds: map[string]uint64{}, sizes: map[string]int64{}}
	b.name = b.store.Bucket() + "-source"
	if _, err := b.store.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b.name}); err != nil {
		t.Fatal(err)
	}
	b.source = datasource.NewBucket(b.store.Client, b.name, "")
	b.Packer = b.packer()
	return b
}

// packer is that of a new process.
func (b *bucket) packer() *Packer {
	return &Packer{
		Vault: b.store.Vault, Source: "photos", Backup: "20261121T120000Z-aaaaaa",
		Open: b.source.Open, Located: b.source.Located, Describe: b.source.Head, piece: 20 * mib, Chain: 1 << 40,
	}
}

// put writes an object into the source.
func (b *bucket) put(name string, size int64) {
	b.t.Helper()
	b.seeds[name]++
	b.sizes[name] = size
	_, err := b.store.Client.PutObject(b.t.Context(), &s3.PutObjectInput{
		Bucket: &b.name, Key: &name, Body: bytes.NewReader(b.bytes(name)), ContentType: aws.String("image/" + name),
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bucket) bytes(name string) []byte {
	sum := uint64(crc32.ChecksumIEEE([]byte(name)))
	data := make([]byte, b.sizes[name])
	_, _ = io.ReadFull(newNoise(sum%97+1000*b.seeds[name]), data)
	return data
}

func (b *bucket) remove(name string) {
	b.t.Helper()
	if _, err := b.store.Client.DeleteObject(b.t.Context(), &s3.DeleteObjectInput{Bucket: &b.name, Key: &name}); err != nil {
		b.t.Fatal(err)
	}
	delete(b.sizes, name)
}

// list returns the objects of the source; those of at least splice bytes are copied by the store.
func (b *bucket) list(splice int64) []Item {
	b.t.Helper()
	var items []Item
	for o, err := range b.source.List(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		o.Path = "files/" + o.Key
		items = append(items, Item{Object: &o, Splice: o.Size >= splice})
	}
	return items
}

// pack packs and holds the vault against the source.
func (b *bucket) pack(items []Item) Result {
	b.t.Helper()
	result, err := b.Pack(b.t.Context(), 1, items)
	if err != nil {
		b.t.Fatal(err)
	}
	b.store.Intercept(nil)
	b.check(result)
	return result
}

// check reads every pack: it holds the headers and bodies of the entries where they are said to be, and nothing else.
func (b *bucket) check(result Result) {
	b.t.Helper()
	packs := map[string][]byte{}
	for _, p := range result.Packs {
		body, _, err := b.store.Open(b.t.Context(), vault.Pack(b.Source, p.ID), 0, -1)
		if err != nil {
			b.t.Fatal(err)
		}
		buffer := bytes.NewBuffer(make([]byte, 0, p.Bytes+bytes.MinRead)) // does not grow
		_, err = buffer.ReadFrom(body)
		all := buffer.Bytes()
		if body.Close(); err != nil || int64(len(all)) != p.Bytes || crc32.ChecksumIEEE(all) != uint32(p.CRC32) {
			b.t.Errorf("pack %s has %d bytes, CRC %08x, %v, the result says %+v", p.ID, len(all), crc32.ChecksumIEEE(all), err, p)
		}
		packs[p.ID] = all
	}
	covered := map[string]int64{}
	for _, e := range result.Entries {
		header := e.Zip().AppendLocal(nil)
		place := e.Body()
		if !bytes.Equal(header, cutOut(packs[e.Header.Pack], e.Header.Offset, int64(len(header)))) {
			b.t.Errorf("%s: another header lies at %+v", e.Path, e.Header)
		}
		body := cutOut(packs[place.Pack], place.Offset, e.StoredSize())
		if name, ours := strings.CutPrefix(e.Path, "files/"); ours && !bytes.Equal(body, b.bytes(name)) {
			b.t.Errorf("%s: other bytes lie at %+v", e.Path, place)
		}
		if crc32.ChecksumIEEE(body) != e.StoredCRC() {
			b.t.Errorf("%s: the CRC-32 is %08x, not %08x", e.Path, crc32.ChecksumIEEE(body), e.StoredCRC())
		}
		covered[e.Header.Pack] += int64(len(header))
		covered[place.Pack] += e.StoredSize()
	}
	for _, p := range result.Packs {
		if covered[p.ID] != p.Bytes {
			b.t.Errorf("the entries of pack %s have %d of its %d bytes", p.ID, covered[p.ID], p.Bytes)
		}
	}
	b.store.NoUploads(b.t)
}

func cutOut(all []byte, offset, length int64) []byte {
	if offset < 0 || offset+length > int64(len(all)) {
		return nil
	}
	return all[offset : offset+length]
}

// complete fails the test unless every object of the source is in the result.
func (b *bucket) complete(result Result) {
	b.t.Helper()
	var want, got []string
	for name := range b.sizes {
		want = append(want, "files/"+name)
	}
	for _, e := range result.Entries {
		got = append(got, e.Path)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Error(diff)
	}
}

// traffic counts what passes through this process.
type traffic struct {
	in, out        atomic.Int64 // bytes of bodies
	copies, starts atomic.Int64
	mutex          sync.Mutex
	parts          []int64 // sizes of uploaded parts
}

func (c *traffic) hook(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && r.Header.Get("x-amz-copy-source") != "":
		c.copies.Add(1)
	case r.Method == http.MethodPut:
		size := r.ContentLength
		if text := r.Header.Get("x-amz-decoded-content-length"); text != "" {
			size, _ = strconv.ParseInt(text, 10, 64)
		}
		c.out.Add(size)
		if query.Has("partNumber") {
			c.mutex.Lock()
			c.parts = append(c.parts, size)
			c.mutex.Unlock()
		}
	case r.Method == http.MethodPost && query.Has("uploads"):
		c.starts.Add(1)
	}
	answer, err := next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet {
		answer.Body = &counted{answer.Body, &c.in}
	}
	return answer, err
}

type counted struct {
	io.ReadCloser
	sum *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Add(int64(n))
	return n, err
}

// TestSplice packs objects of sizes at which something changes, and reads everything back.
func TestSplice(t *testing.T) {
	sizes := []int64{0, 1, 100_000, mib, 3 * mib, 5*mib - 60, 5*mib - 1, 5 * mib, 5*mib + 1, 7 * mib, 10*mib - 50, 10 * mib, 10*mib + 1, 13 * mib, 21 * mib}
	seeds := uint64(10)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			random := rand.New(rand.NewPCG(seed, 3))
			b.Chain = []int64{1 << 40, 12 * mib, 7 * mib}[random.IntN(3)]
			b.part = []int64{0, 6 * mib}[random.IntN(2)]
			for i := range 4 + random.IntN(10) {
				b.put(fmt.Sprintf("%02d", i), sizes[random.IntN(len(sizes))])
			}
			result := b.pack(b.list([]int64{5*mib + 1, 10 * mib}[random.IntN(2)]))
			b.complete(result)
			if len(result.Findings) > 0 {
				t.Error(result.Findings)
			}
		})
	}
}

// TestThroughCompute: what the store can copy does not pass through this process.
func TestThroughCompute(t *testing.T) {
	for name, test := range map[string]struct {
		small int
		large int
		chain int64
		most  int64 // bytes read
		packs int
	}{
		"filler":      {small: 22, large: 4, most: 22 * mib, packs: 1},
		"chained":     {large: 4, chain: 10 * mib, most: 5 * mib, packs: 4},
		"stolen":      {large: 3, most: 15 * mib, packs: 1},
		"little":      {small: 2, large: 3, chain: 10 * mib, most: 5 * mib, packs: 3},
		"more filler": {small: 40, large: 2, chain: 10 * mib, most: 40 * mib, packs: 1},
		"a few":       {small: 7, large: 2, chain: 10 * mib, most: 7 * mib, packs: 2},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && !slices.Contains([]string{"stolen", "a few", "more filler"}, name) {
				t.Skip("copies 80 to 160 MiB")
			}
			t.Parallel()
			b := newBucket(t)
			if test.chain > 0 {
				b.Chain = test.chain
			}
			for i := range test.small {
				b.put(fmt.Sprintf("small %02d", i), mib)
			}
			for i := range test.large {
				b.put(fmt.Sprintf("large %02d", i), 40*mib+int64(i))
			}
			var c traffic
			items := b.list(30 * mib)
			b.store.Intercept(c.hook)
			result := b.pack(items)
			b.complete(result)
			if slack := int64(20_000); c.in.Load() > test.most+slack || c.out.Load() > test.most+slack || len(result.Packs) != test.packs {
				t.Errorf("%d bytes in, %d out, at most %d expected; %d packs", c.in.Load(), c.out.Load(), test.most, len(result.Packs))
			}
			for _, e := range result.Entries {
				if spliced := e.Size > 30*mib; (e.SHA256 == "") != spliced {
					t.Errorf("%s has SHA-256 %q", e.Path, e.SHA256)
				}
				if e.Origin.Media == nil || e.Origin.Media.ContentType != "image/"+e.Origin.Key || !e.Origin.Settled || e.Origin.Identity == "" {
					t.Errorf("%s: %+v", e.Path, e.Origin)
				}
			}
			for i, p := range result.Packs[1:] {
				if first := result.Packs[0].ID; p.ID[:idPrefix] != first[:idPrefix] || p.ID[idPrefix:] != fmt.Sprintf("%04x", i+1) {
					t.Errorf("%s does not follow %s", p.ID, first)
				}
			}
		})
	}
}

// TestManySmall: a batch of any size is read into a few buffers.
func TestManySmall(t *testing.T) {
	if testing.Short() {
		t.Skip("packs 120 MiB")
	}
	b := newBucket(t)
	for i := range 120 {
		b.put(fmt.Sprintf("%03d", i), mib-int64(i))
	}
	var c traffic
	items := b.list(1 << 40)
	b.store.Intercept(c.hook)
	b.complete(b.pack(items))
	if len(c.parts) != 8 || slices.Max(c.parts) > literalPart {
		t.Errorf("parts of %v bytes", c.parts)
	}
}

// TestSourceChanges: objects that change or vanish between the listing and the copy.
func TestSourceChanges(t *testing.T) {
	large := int64(20 * mib)
	if testing.Short() {
		large = 12 * mib
	}
	for _, describes := range []bool{true, false} {
		t.Run(fmt.Sprint(describes), func(t *testing.T) {
			b := newBucket(t)
			if !describes {
				b.Describe = nil
			}
			for i := range 12 {
				b.put(fmt.Sprintf("small %02d", i), mib)
			}
			for i := range 5 {
				b.put(fmt.Sprintf("large %d", i), large+int64(i))
			}
			items := b.list(10 * mib)
			b.put("large 1", large+7)
			b.put("large 3", 8*mib)
			b.remove("large 4")
			result := b.pack(items)
			b.complete(result)
			want := []string{"problem changed files/large 1", "problem changed files/large 3", "problem missing files/large 4"}
			if diff := cmp.Diff(want, findings(result)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestChangesWhileCopied: a version is never mixed with another.
func TestChangesWhileCopied(t *testing.T) {
	b := newBucket(t)
	b.Describe, b.piece = nil, 10*mib
	b.put("large", 30*mib)
	b.put("other", 12*mib)
	items := b.list(10 * mib)
	var one sync.Mutex
	changed := false
	b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if !strings.HasPrefix(r.Header.Get("x-amz-copy-source"), b.name+"/large") {
			return next.RoundTrip(r)
		}
		one.Lock()
		defer one.Unlock()
		answer, err := next.RoundTrip(r)
		if !changed { // behind the first piece
			changed = true
			b.put("large", 30*mib)
		}
		return answer, err
	})
	result := b.pack(items)
	b.complete(result)
	if diff := cmp.Diff([]string{"problem changed files/large"}, findings(result)); diff != "" {
		t.Error(diff)
	}
}

// TestNoSplice: where the store does not copy, everything is read, and one note says why.
func TestNoSplice(t *testing.T) {
	copies := func(r *http.Request) bool { return r.Header.Get("x-amz-copy-source") != "" }
	refuse := func(status int, code string) vaulttest.Hook {
		return func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if copies(r) {
				return vaulttest.Refuse(r, status, code)
			}
			return next.RoundTrip(r)
		}
	}
	silent := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && copies(r) {
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			text := string(body)
			if from, to := strings.Index(text, "<ChecksumCRC32>"), strings.Index(text, "</ChecksumCRC32>"); from >= 0 {
				text = text[:from] + text[to+len("</ChecksumCRC32>"):]
			}
			answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			answer.Header.Del("Content-Length")
		}
		return answer, err
	}
	for name, hook := range map[string]vaulttest.Hook{
		"denied": refuse(403, "AccessDenied"), "not implemented": refuse(501, "NotImplemented"), "no bucket": refuse(404, "NoSuchBucket"), "no CRC": silent,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			for i := range 3 {
				b.put(fmt.Sprintf("small %d", i), mib)
				b.put(fmt.Sprintf("large %d", i), 12*mib)
			}
			b.put("huge", LargeObject)
			items := b.list(10 * mib)
			var told, bytes atomic.Int64
			b.Progress = func(i, n int64) {
				told.Add(i)
				bytes.Add(n)
			}
			b.store.Intercept(hook)
			result := b.pack(items)
			b.complete(result)
			if diff := cmp.Diff([]string{"note streamed "}, findings(result)); diff != "" {
				t.Error(diff)
			}
			if told.Load() != 7 || bytes.Load() != 39*mib+LargeObject {
				t.Errorf("%d items, %d bytes told", told.Load(), bytes.Load())
			}
			for _, e := range result.Entries {
				if e.SHA256 == "" {
					t.Errorf("%s was not read", e.Path)
				}
			}
		})
	}
}

// TestHeadFromElsewhere: the store copies from a bucket that the vault's own client can't read.
func TestHeadFromElsewhere(t *testing.T) {
	b := newBucket(t)
	b.put("large", 12*mib)
	items := b.list(10 * mib)
	b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && r.Header.Get("Range") != "" && strings.Contains(r.URL.Path, "/large") {
			return vaulttest.Refuse(r, http.StatusMovedPermanently, "PermanentRedirect")
		}
		return next.RoundTrip(r)
	})
	result := b.pack(items)
	b.complete(result)
	if len(result.Findings) > 0 || result.Entries[0].SHA256 != "" {
		t.Errorf("%+v", result)
	}
}

// TestFillerVanishes: a part that has become too short takes bytes of the object behind it.
func TestFillerVanishes(t *testing.T) {
	for name, large := range map[string]int64{"long": 13 * mib, "short": 7 * mib} {
		for _, vanish := range []int{0, 1, 4, 6} {
			t.Run(fmt.Sprint(name, vanish), func(t *testing.T) {
				t.Parallel()
				b := newBucket(t)
				for i := range 12 {
					b.put(fmt.Sprintf("small %02d", i), mib)
				}
				b.put("large 1", large)
				b.put("large 2", large)
				items := b.list(6 * mib)
				for i := range vanish {
					b.remove(fmt.Sprintf("small %02d", i))
				}
				result := b.pack(items)
				b.complete(result)
				if len(result.Findings) != vanish {
					t.Error(findings(result))
				}
			})
		}
	}
}

func TestArchivedObject(t *testing.T) {
	for name, describe := range map[string]func(context.Context, app.Object) (app.Description, error){
		"seen at the copy": nil,
		"seen before": func(_ context.Context, o app.Object) (app.Description, error) {
			if o.Key == "cold" {
				return app.Description{}, failure.New(failure.Denied, "look: %w", app.ErrArchived)
			}
			return app.Description{Object: o}, nil
		},
	} {
		b := newBucket(t)
		b.Describe = describe
		b.put("cold", 12*mib)
		b.put("warm", 12*mib)
		b.put("cold and small", mib)
		items := b.list(10 * mib)
		b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if strings.HasPrefix(r.Header.Get("x-amz-copy-source"), b.name+"/cold") || r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/cold") {
				return vaulttest.Refuse(r, http.StatusForbidden, "InvalidObjectState")
			}
			return next.RoundTrip(r)
		})
		result := b.pack(items)
		want := []string{"problem archived files/cold", "problem archived files/cold and small"}
		if diff := cmp.Diff(want, findings(result)); diff != "" || len(result.Entries) != 1 {
			t.Errorf("%s: %d entries %s", name, len(result.Entries), diff)
		}
	}
}

// TestNotedChecksum: a copy is held against the checksum that the store has noted.
func TestNotedChecksum(t *testing.T) {
	b := newBucket(t)
	b.put("good", 12*mib)
	b.put("bad", 12*mib)
	b.Describe = func(ctx context.Context, o app.Object) (app.Description, error) {
		d, err := b.source.Head(ctx, o)
		d.HasCRC32, d.CRC32 = true, crc32.ChecksumIEEE(b.bytes(o.Key))
		if o.Key == "bad" {
			d.CRC32++
		}
		return d, err
	}
	result := b.pack(b.list(10 * mib))
	b.complete(result)
	if diff := cmp.Diff([]string{"problem checksum files/bad"}, findings(result)); diff != "" {
		t.Error(diff)
	}
}

// TestDies: a process dies at each of its requests, before or after the store has done it; the next one packs all.
func TestDies(t *testing.T) {
	b := newBucket(t)
	b.Chain = 11 * mib
	for i := range 3 {
		b.put(fmt.Sprintf("small %d", i), mib)
	}
	b.put("large 1", 10*mib+5)
	b.put("large 2", 12*mib)
	b.put("large 3", 12*mib)
	items := b.list(10 * mib)
	died := errors.New("dead")
	step := int64(5)
	if testing.Short() {
		step = 19
	}
	for _, after := range []bool{false, true} {
		for n, ended := int64(1), false; !ended; n += step {
			ctx, cancel := context.WithCancelCause(t.Context())
			var count atomic.Int64
			b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if count.Add(1) < n {
					return next.RoundTrip(r)
				}
				cancel(died)
				if after && count.Load() == n {
					return vaulttest.Drop(r.WithContext(t.Context()), next)
				}
				return nil, vaulttest.ErrDropped
			})
			batch := int(n) // each has ids of its own
			_, err := b.packer().Pack(ctx, batch, items)
			b.store.Intercept(nil)
			cancel(nil)
			ended = err == nil
			result, err := b.packer().Pack(t.Context(), batch, items)
			if err != nil {
				t.Fatalf("after request %d: %v", n, err)
			}
			b.check(result)
			b.complete(result)
			if t.Failed() {
				t.Fatalf("after request %d", n)
			}
		}
	}
}

// TestStored packs entries anew that lie in the pool.
func TestStored(t *testing.T) {
	b := newBucket(t)
	for i := range 20 {
		b.put(fmt.Sprintf("%02d", i), 200_000+int64(i))
	}
	b.put("empty", 0)
	b.put("large", LargeObject+5*mib)
	first := b.pack(b.list(20 * mib))
	b.put("new", mib)
	var err error
	if b.Pool, err = pool.Open(t.Context(), b.store.Vault, b.Source); err != nil {
		t.Fatal(err)
	}
	var items []Item
	for _, item := range b.list(20 * mib) {
		if item.Object.Key == "new" {
			items = append(items, item)
		}
	}
	for i, e := range first.Entries {
		if i%3 != 1 || e.Size > mib {
			items = append(items, Item{Stored: &e})
		} else {
			b.remove(e.Origin.Key)
		}
	}
	var c traffic
	b.store.Intercept(c.hook)
	b.Packer.Backup = "20261121T130000Z-bbbbbb"
	result := b.pack(items)
	b.complete(result)
	if c.in.Load() > 10*mib || len(result.Findings) > 0 {
		t.Errorf("%d bytes read, %v", c.in.Load(), result.Findings)
	}
	before := map[string]manifest.Entry{}
	for _, e := range first.Entries {
		before[e.Path] = e
	}
	for _, e := range result.Entries {
		if old, ok := before[e.Path]; ok {
			old.Header, old.BodyPlace = e.Header, e.BodyPlace
			if diff := cmp.Diff(old, e); diff != "" {
				t.Errorf("%s: %s", e.Path, diff)
			}
		}
	}
	for _, damage := range []func(e *manifest.Entry){
		func(e *manifest.Entry) { e.CRC32++ },
		func(e *manifest.Entry) { e.Header.Pack = strings.Repeat("0", 32) },
	} {
		for _, i := range []int{0, len(first.Entries) - 1} {
			e := first.Entries[i]
			damage(&e)
			_, err := b.Pack(t.Context(), 2, []Item{{Stored: &e}})
			if failure.KindOf(err) != failure.Corrupt || failure.HintOf(err) != "lifeboat backup photos --rehash" {
				t.Errorf("%s: %v", e.Path, err)
			}
		}
	}
	b.store.NoUploads(t)
}

// TestStoredStretches: neighbours are read with one request.
func TestStoredStretches(t *testing.T) {
	b := newBucket(t)
	for i := range 30 {
		b.put(fmt.Sprintf("%02d", i), 100_000)
	}
	first := b.pack(b.list(20 * mib))
	var err error
	if b.Pool, err = pool.Open(t.Context(), b.store.Vault, b.Source); err != nil {
		t.Fatal(err)
	}
	for want, keep := range map[int]func(i int) bool{
		1: func(i int) bool { return i%2 == 0 },
		2: func(i int) bool { return i < 3 || i > 10 },
		3: func(i int) bool { return i%10 == 0 },
	} {
		slots := []slot{}
		for i, e := range first.Entries {
			if keep(i) {
				slots = append(slots, slot{item: Item{Stored: &e}, data: make([]byte, e.Size)})
			}
		}
		runs, err := b.stretches(slots)
		if err != nil || len(runs) != want {
			t.Errorf("%d stretches, want %d: %v", len(runs), want, err)
		}
	}
}

// TestEqual: a store that wants equal parts gets them.
func TestEqual(t *testing.T) {
	for _, header := range []int{1, 5_000} { // long names make headers cross from part to part
		b := newBucket(t)
		b.Equal, b.part = true, 5*mib
		name := func(i int) string { return fmt.Sprintf("%02d", i) }
		for i := range 3 {
			b.put(name(i), 20*mib+int64(i))
		}
		for i := range 30 {
			b.put(name(10+i), 5_000+int64(i)*mib/10)
		}
		items := b.list(6 * mib)
		for i := range items {
			items[i].Object.Path = strings.Repeat("x", header) + "/" + items[i].Object.Path
		}
		b.remove(name(12))
		b.remove(name(0))
		var c traffic
		b.store.Intercept(c.hook)
		result := b.pack(items)
		if len(result.Entries) != 31 || len(result.Findings) != 2 || c.copies.Load() > 0 {
			t.Errorf("%d entries, %v, %d copies", len(result.Entries), findings(result), c.copies.Load())
		}
		slices.Sort(c.parts)
		if n := len(c.parts); n < 10 || c.parts[1] != 5*mib || c.parts[n-1] != 5*mib {
			t.Errorf("parts of %v bytes", c.parts)
		}
	}
}
