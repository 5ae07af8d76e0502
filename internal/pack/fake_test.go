package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// noise is bytes that repeat after an odd while only, the same for the same seed. (Made byte by byte they would take
// most of a test's time.)
type noise struct {
	block []byte
	at    int
}

var blocks sync.Map // of seeds

func newNoise(seed uint64) *noise {
	block, ok := blocks.Load(seed)
	if !ok {
		random := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 65_537)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		block, _ = blocks.LoadOrStore(seed, data)
	}
	return &noise{block: block.([]byte)}
}

func (n *noise) Read(p []byte) (int, error) {
	c := copy(p, n.block[n.at:])
	n.at = (n.at + c) % len(n.block)
	return c, nil
}

func content(seed uint64, size int64) io.Reader { return io.LimitReader(newNoise(seed), size) }

// version is one state of a fake object.
type version struct {
	size     int64
	seed     uint64
	modified time.Time
	openErr  error
	after    int64         // bytes until readErr; where that is nil the body just ends there, if it is not 0
	readErr  error         //
	later    bool          // it is another version by the time it was read
	nowErr   error         // of the look after reading
	hold     chan struct{} // reading waits for it
}

func (v version) identity() string { return fmt.Sprintf("%d-%d-%d", v.seed, v.size, v.modified.Unix()) }

// fake is a datasource whose objects have a version for each time they are opened; the last one stays.
type fake struct {
	mutex    sync.Mutex
	versions map[string][]version
	opened   map[string]int
}

func newFake() *fake { return &fake{versions: map[string][]version{}, opened: map[string]int{}} }

// object lists an object in its first version.
func (f *fake) object(name string, versions ...version) app.Object {
	for i := range versions {
		if versions[i].modified.IsZero() {
			versions[i].modified = noon
		}
	}
	f.versions[name] = versions
	v := versions[0]
	return app.Object{Key: "key/" + name, Path: name, Size: v.size, Modified: v.modified, Identity: v.identity(), Settled: true}
}

func (f *fake) Open(_ context.Context, o app.Object) (app.Content, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	name := strings.TrimPrefix(o.Key, "key/")
	versions := f.versions[name]
	v := versions[min(f.opened[name], len(versions)-1)]
	f.opened[name]++
	if v.openErr != nil {
		return nil, v.openErr
	}
	if o.Identity != "" && o.Identity != v.identity() {
		return nil, failure.New(failure.Conflict, "it is another version by now")
	}
	return &open{object: o, version: v, Reader: v.body()}, nil
}

func (v version) body() io.Reader {
	whole := content(v.seed, v.size)
	switch {
	case v.hold != nil:
		return io.MultiReader(waiting{v.hold}, whole)
	case v.readErr != nil:
		return io.MultiReader(io.LimitReader(whole, v.after), broken{v.readErr})
	case v.after > 0:
		return io.LimitReader(whole, v.after)
	case v.later:
		return io.MultiReader(whole, content(99, 1000)) // it grows
	}
	return whole
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

type waiting struct{ until chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}

type open struct {
	io.Reader
	object app.Object
	version
	asked int
}

func (o *open) Close() error { return nil }

func (o *open) Now() (app.Object, error) {
	now := o.object
	now.Size, now.Modified, now.Identity = o.size, o.modified, o.identity()
	if o.asked++; o.asked > 1 {
		if o.nowErr != nil {
			return now, o.nowErr
		}
		if o.later {
			now.Identity += "-later"
		}
	}
	return now, nil
}

// world is a vault and what is packed into it.
type world struct {
	*Packer
	t     *testing.T
	store *vaulttest.Store
	fake  *fake
}

// testPart is a short part; one that is cut for a header must still have 5 MiB.
const testPart = vault.MinPart + 70_000

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: vaulttest.Any(t), fake: newFake()}
	w.Packer = &Packer{Vault: w.store.Vault, Source: "photos", Backup: "20261121T120000Z-aaaaaa", Open: w.fake.Open, part: testPart}
	return w
}

// document stores a compressed document as a snapshot does.
func (w *world) document(name string, stored []byte, size int64) Document {
	w.t.Helper()
	if err := w.store.Create(w.t.Context(), vault.Work(w.Source, w.Backup, name), stored); err != nil {
		w.t.Fatal(err)
	}
	return Document{Name: name, Entry: manifest.Entry{
		Path: name, Document: true, Size: size, CRC32: 7, SHA256: "not looked at", Modified: noon,
		Deflated: &manifest.Deflated{Size: int64(len(stored)), CRC32: manifest.CRC(crc32.ChecksumIEEE(stored))},
	}}
}

// pack packs and checks that nothing is left behind but the packs of the result.
func (w *world) pack(items []Item) Result {
	w.t.Helper()
	result, err := w.Pack(w.t.Context(), 1, items)
	if err != nil {
		w.t.Fatal(err)
	}
	w.check(result)
	return result
}

// check holds the bytes of the packs against what the result says: headers and bodies at their places, nothing else.
func (w *world) check(result Result) {
	w.t.Helper()
	want := []string{}
	for _, p := range result.Packs {
		want = append(want, string(vault.Pack(w.Source, p.ID)))
		body, _, err := w.store.Open(w.t.Context(), vault.Pack(w.Source, p.ID), 0, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		all, err := io.ReadAll(body)
		if err != nil {
			w.t.Fatal(err)
		}
		body.Close()
		if int64(len(all)) != p.Bytes || crc32.ChecksumIEEE(all) != uint32(p.CRC32) {
			w.t.Errorf("pack %s has %d bytes and CRC %08x, the result says %+v", p.ID, len(all), crc32.ChecksumIEEE(all), p)
		}
		w.entries(p.ID, all, result.Entries)
	}
	packs := slices.DeleteFunc(w.store.Keys(w.t), func(k string) bool { return !strings.HasPrefix(k, "packs/") })
	slices.Sort(want)
	if diff := cmp.Diff(want, packs); diff != "" {
		w.t.Errorf("packs in the vault: %s", diff)
	}
	w.store.NoUploads(w.t)
}

func (w *world) entries(id string, all []byte, entries []manifest.Entry) {
	w.t.Helper()
	at := int64(0)
	for _, e := range entries {
		if e.Header.Pack != id {
			continue
		}
		header := e.Zip().AppendLocal(nil)
		end := at + int64(len(header)) + e.StoredSize()
		if e.Header.Offset != at || e.Body() != (manifest.Place{Pack: id, Offset: at + int64(len(header))}) || end > int64(len(all)) {
			w.t.Fatalf("%s: header at %d, body at %d, expected at %d, the pack has %d bytes", e.Path, e.Header.Offset, e.Body().Offset, at, len(all))
		}
		body := all[at+int64(len(header)) : end]
		if !bytes.Equal(all[at:at+int64(len(header))], header) {
			w.t.Errorf("%s: another header lies at its place", e.Path)
		}
		if crc32.ChecksumIEEE(body) != e.StoredCRC() {
			w.t.Errorf("%s: the body at its place has another CRC-32", e.Path)
		}
		if sum := sha256.Sum256(body); !e.Document && hex.EncodeToString(sum[:]) != e.SHA256 {
			w.t.Errorf("%s: the body at its place has another SHA-256", e.Path)
		}
		at = end
	}
	if at != int64(len(all)) {
		w.t.Errorf("the entries of pack %s end at %d of %d", id, at, len(all))
	}
}

// versions returns what each packed object holds, by size and digest, as "path: size of seed".
func describe(f *fake, entries []manifest.Entry) []string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.Path+": "+f.which(e))
	}
	slices.Sort(lines)
	return lines
}

func (f *fake) which(e manifest.Entry) string {
	for i, v := range f.versions[e.Path] {
		sum := sha256.New()
		_, _ = io.Copy(sum, io.LimitReader(v.body(), e.Size))
		if hex.EncodeToString(sum.Sum(nil)) == e.SHA256 {
			if v.size == e.Size {
				return fmt.Sprintf("version %d", i)
			}
			return fmt.Sprintf("%d bytes of version %d", e.Size, i)
		}
	}
	return "unknown"
}

func findings(r Result) []string {
	var lines []string
	for _, f := range r.Findings {
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Severity, f.Kind, f.Item))
	}
	slices.Sort(lines)
	return lines
}

// previous returns the entry that an earlier backup has of a version.
func previous(o app.Object, v version) *manifest.Entry {
	sum, crc := sha256.New(), crc32.NewIEEE()
	_, _ = io.Copy(io.MultiWriter(sum, crc), content(v.seed, v.size))
	return &manifest.Entry{
		Path: o.Path, Size: v.size, CRC32: manifest.CRC(crc.Sum32()), SHA256: hex.EncodeToString(sum.Sum(nil)), Modified: noon,
		Origin: &manifest.Origin{Key: o.Key, Identity: v.identity()},
		Header: manifest.Place{Pack: strings.Repeat("0", 32), Offset: 17},
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
