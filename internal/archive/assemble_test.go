package archive_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

const mib = 1 << 20

// bytesOf returns n bytes that do not repeat soon; other ones for another seed.
func bytesOf(seed, n int) []byte {
	block := make([]byte, 65_537)
	state := uint64(seed)
	for i := range block {
		state = state*6364136223846793005 + 1442695040888963407
		block[i] = byte(state >> 33)
	}
	return bytes.Repeat(block, n/len(block)+1)[:n]
}

// mixed has whole packs, packs with holes, packs too short to be copied, and a document.
func mixed(t testing.TB) *archivetest.Backup {
	file := func(seed, n int, dead bool) archivetest.File {
		return archivetest.File{Path: fmt.Sprintf("uploads/%02d ü.bin", seed), Data: bytesOf(seed, n), Dead: dead}
	}
	return archivetest.New(t,
		[]archivetest.File{file(1, 6*mib, false), file(2, 0, false), file(3, 7*mib, false)},
		[]archivetest.File{file(4, 6*mib, false), file(5, mib, true), file(6, 2*mib, false), file(7, 100, true), file(8, 3*mib, false)},
		[]archivetest.File{file(9, 4*mib, false)}, // from here on more than 16 MiB of literals
		[]archivetest.File{file(10, 4*mib, false)},
		[]archivetest.File{file(11, 4*mib, false)},
		[]archivetest.File{file(12, 4*mib, false)},
		[]archivetest.File{{Path: "export.json", Data: bytes.Repeat([]byte(`{"a": "b"}`), 1000), Document: true, Secret: true}},
	)
}

// little has one pack that is copied and one that is read.
func little(t testing.TB) *archivetest.Backup {
	return archivetest.New(t, []archivetest.File{{Path: "a", Data: bytesOf(1, 6*mib)}}, []archivetest.File{{Path: "b", Data: bytesOf(2, mib/2)}})
}

// several has more parts than are written at a time.
func several(t testing.TB) *archivetest.Backup {
	var packs [][]archivetest.File
	for i := range 5 {
		packs = append(packs, []archivetest.File{{Path: fmt.Sprint(i), Data: bytesOf(i, 5*mib+100)}})
	}
	return archivetest.New(t, packs...)
}

// assembly is an archive of a stored backup in the making.
type assembly struct {
	t     *testing.T
	store *vaulttest.Store
	archive.Assembler
	parts  []archive.Part
	size   int64
	crc    uint32
	upload vault.Upload
}

func prepare(t *testing.T, b *archivetest.Backup) *assembly {
	t.Helper()
	a := &assembly{t: t, store: vaulttest.New(t)}
	a.Vault = a.store.Vault
	b.Store(t, a.Vault)
	packs, err := pool.Open(t.Context(), a.Vault, "photos")
	if err != nil {
		t.Fatal(err)
	}
	layout := archive.NewLayout(packs)
	for _, e := range b.Entries {
		if err := layout.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	tail := b.Tail(t, layout.Size)
	key := vault.Work("photos", b.Header.Backup, "tail")
	if err := a.Vault.Create(t.Context(), key, tail); err != nil {
		t.Fatal(err)
	}
	layout.Append(archive.Range{Key: key, Length: int64(len(tail)), Object: int64(len(tail))}, crc32.ChecksumIEEE(tail))
	parts, err := archive.Parts(layout.Ranges, archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	a.parts, a.size, a.crc = parts, layout.Size, layout.CRC32
	a.begin()
	return a
}

func (a *assembly) begin() {
	a.t.Helper()
	var err error
	if a.upload, err = a.Vault.CreateUpload(a.t.Context(), vault.Archive("photos", archivetest.ID("aaaaaa"))); err != nil {
		a.t.Fatal(err)
	}
}

func always() bool { return true }

func (a *assembly) finish() []byte {
	a.t.Helper()
	have, err := a.Write(a.t.Context(), a.upload, a.parts, always)
	if err != nil || len(have) != len(a.parts) {
		a.t.Fatalf("%d of %d parts, %v", len(have), len(a.parts), err)
	}
	for range 2 { // the second time as if the first answer had been lost
		if err := a.Complete(a.t.Context(), a.upload, a.parts, have, a.size, a.crc); err != nil {
			a.t.Fatal(err)
		}
	}
	a.store.NoUploads(a.t)
	return a.read()
}

func (a *assembly) read() []byte {
	a.t.Helper()
	body, _, err := a.Vault.Open(a.t.Context(), a.upload.Key, 0, -1)
	if err != nil {
		a.t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		a.t.Fatal(err)
	}
	return data
}

func TestAssembly(t *testing.T) {
	b := mixed(t)
	a := prepare(t, b)
	var plan []string
	for _, p := range a.parts {
		word, _, _ := strings.Cut(p.String(), " ")
		plan = append(plan, fmt.Sprintf("%s %d", word, p.Size/mib))
	}
	if diff := cmp.Diff([]string{"copy 13", "copy 6", "literal 10", "literal 10"}, plan); diff != "" {
		t.Errorf("the plan does not hold what this test is about: %s", diff)
	}
	want := b.Zip(t)
	if !bytes.Equal(a.finish(), want) {
		t.Fatal("the archive has other bytes than one that is written from front to back")
	}
	if err := a.Vault.Delete(t.Context(), a.upload.Key); err != nil {
		t.Fatal(err)
	}
	a.begin()
	if !bytes.Equal(a.finish(), want) {
		t.Error("the same backup gives other bytes the second time")
	}
	opensAnywhere(t, want, b)
}

// opensAnywhere has programs of others read the archive.
func opensAnywhere(t *testing.T, data []byte, b *archivetest.Backup) {
	t.Run("archive/zip", func(t *testing.T) {
		r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.File) != len(b.Entries)+3 {
			t.Errorf("%d entries", len(r.File))
		}
		for i, f := range r.File {
			body, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			sum := crc32.NewIEEE()
			n, err := io.Copy(sum, body)
			if err != nil || i < len(b.Entries) && (f.Name != b.Entries[i].Path || n != b.Entries[i].Size || sum.Sum32() != uint32(b.Entries[i].CRC32)) {
				t.Errorf("%s: %d bytes, %v", f.Name, n, err)
			}
		}
	})
	name := filepath.Join(t.TempDir(), "archive.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"unzip", "-tqq", name},
		{"7z", "t", "-bso0", name},
		{"python3", "-c", "import sys, zipfile; sys.exit(zipfile.ZipFile(sys.argv[1]).testzip())", name},
	} {
		t.Run(command[0], func(t *testing.T) {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skipf("%s is not installed: whether it reads our archives is not tested here", command[0])
			}
			if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestResume stops after every group of parts and goes on as another process would.
func TestResume(t *testing.T) {
	b := several(t)
	a := prepare(t, b)
	if _, err := a.Vault.UploadPart(t.Context(), a.upload, 2, []byte("half a part")); err != nil { // of an attempt that died
		t.Fatal(err)
	}
	begun := 0
	have, err := a.Write(t.Context(), a.upload, a.parts, func() bool { begun++; return begun <= 2 })
	n := len(have)
	if err != nil || n < 2 || n >= len(a.parts) {
		t.Fatalf("%d of %d, %v: %v", n, len(a.parts), err, have)
	}
	var written atomic.Int64
	a.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPut {
			written.Add(1)
		}
		return next.RoundTrip(r)
	})
	if _, err = a.Write(t.Context(), a.upload, a.parts, always); err != nil { // the store knows what is done
		t.Fatal(err)
	}
	a.store.Intercept(nil)
	if again := int(written.Load()) - (len(a.parts) - n); again != 0 {
		t.Errorf("%d parts were written again", again)
	}
	if !bytes.Equal(a.finish(), b.Zip(t)) {
		t.Error("other bytes")
	}
}

func TestStopAtOnce(t *testing.T) {
	a := prepare(t, archivetest.New(t, []archivetest.File{{Path: "a", Data: []byte("a")}}))
	have, err := a.Write(t.Context(), a.upload, a.parts, func() bool { return false })
	if len(have) != 0 || err != nil {
		t.Errorf("%d, %v", len(have), err)
	}
	if err := a.Complete(t.Context(), a.upload, a.parts, have, a.size, a.crc); failure.KindOf(err) != failure.Internal {
		t.Errorf("an archive without its parts: %v", err)
	}
}

// TestDamagedPieces: the store must not accept an archive whose pieces are not what the manifest says.
func TestDamagedPieces(t *testing.T) {
	b := little(t)
	for name, damage := range map[string]func(*assembly, vault.Key) failure.Kind{
		"a flipped byte": func(a *assembly, key vault.Key) failure.Kind {
			data := bytes.Clone(b.Packs[vault.PackID(key)])
			data[1000] ^= 1
			a.put(key, data)
			return failure.Corrupt
		},
		"a pack that is cut off": func(a *assembly, key vault.Key) failure.Kind {
			a.put(key, b.Packs[vault.PackID(key)][:1000])
			return failure.Corrupt
		},
		"a pack that is gone": func(a *assembly, key vault.Key) failure.Kind {
			if err := a.Vault.Delete(a.t.Context(), key); err != nil {
				a.t.Fatal(err)
			}
			return failure.NotFound
		},
	} {
		for what, pack := range map[string]int{"copied": 0, "read": 1} {
			t.Run(name+", "+what, func(t *testing.T) {
				a := prepare(t, b)
				want := damage(a, vault.Pack("photos", b.Order[pack]))
				have, err := a.Write(t.Context(), a.upload, a.parts, always)
				if err == nil {
					err = a.Complete(t.Context(), a.upload, a.parts, have, a.size, a.crc)
				}
				if failure.KindOf(err) != want {
					t.Errorf("%v (%v), want %v", err, failure.KindOf(err), want)
				}
				if _, err := a.Vault.Head(t.Context(), a.upload.Key); failure.KindOf(err) != failure.NotFound {
					t.Errorf("there is an archive: %v", err)
				}
			})
		}
	}
}

func (a *assembly) put(key vault.Key, data []byte) {
	a.t.Helper()
	if _, err := a.Vault.Put(a.t.Context(), key, data, vault.Always()); err != nil {
		a.t.Fatal(err)
	}
}

func TestCanceledAssembly(t *testing.T) {
	a := prepare(t, little(t))
	ctx, cancel := context.WithCancel(t.Context())
	a.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/packs/") {
			cancel()
		}
		return next.RoundTrip(r)
	})
	if _, err := a.Write(ctx, a.upload, a.parts, always); failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v (%v)", err, failure.KindOf(err))
	}
}

// TestTailRefuses: a tail that does not fit what it ends is a fault, not an archive.
func TestTailRefuses(t *testing.T) {
	b := archivetest.New(t, []archivetest.File{{Path: "a", Data: []byte("a")}})
	gz, sum := b.Manifest(t)
	good := archive.Tail{Seal: b.Seal(t), Readme: b.Header.Readme, Started: archivetest.Noon, Data: int64(len(b.Data()))}
	doc := func(file []byte, length int64) archive.CompressedDoc {
		return archive.CompressedDoc{Size: sum.Bytes, CRC32: sum.CRC32, Gzip: bytes.NewReader(file), Length: length, Sealed: sum.Deflated}
	}
	named := bytes.Clone(gz)
	named[3] = 8 // FNAME
	for name, test := range map[string]struct {
		data int64
		doc  archive.CompressedDoc
	}{
		"another offset":        {good.Data + 1, doc(gz, int64(len(gz)))},
		"a manifest cut off":    {good.Data, doc(gz[:len(gz)/2], int64(len(gz)))},
		"no gzip file":          {good.Data, doc([]byte("{}"), 2)},
		"a gzip file with name": {good.Data, doc(named, int64(len(gz)))},
	} {
		tail := good
		tail.Data, tail.List = test.data, test.doc
		if err := tail.Write(io.Discard, b.All()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	full := errors.New("full")
	for room := range int64(len(b.Tail(t, good.Data)) - 50) {
		tail := good
		tail.List = doc(gz, int64(len(gz)))
		if err := tail.Write(&limited{room, full}, b.All()); !errors.Is(err, full) {
			t.Fatalf("after %d bytes: %v", room, err)
		}
	}
}

type limited struct {
	room int64
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.room -= int64(len(p)); l.room < 0 {
		return 0, l.err
	}
	return len(p), nil
}

func TestCRCOfArchive(t *testing.T) {
	b := little(t)
	data := b.Data()
	tail := b.Tail(t, int64(len(data)))
	combined := zipfmt.CombineCRC(crc32.ChecksumIEEE(data), crc32.ChecksumIEEE(tail), int64(len(tail)))
	if combined != crc32.ChecksumIEEE(b.Zip(t)) {
		t.Error("the CRC-32 of the archive does not follow from its halves")
	}
}
