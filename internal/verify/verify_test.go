package verify_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

// tiny is a backup of a kilobyte or two, with everything that an archive can have.
func tiny(t testing.TB) *archivetest.Backup {
	b := archivetest.New(t,
		[]archivetest.File{
			{Path: "uploads/ü.txt", Data: []byte("alpha")},
			{Path: "uploads/dead", Data: []byte("dead"), Dead: true},
			{Path: "uploads/b", Data: []byte("beta")},
			{Path: "uploads/empty/"},
		},
		[]archivetest.File{{Path: "export.json", Data: bytes.Repeat([]byte(`{"a":"b"},`), 20), Document: true, Secret: true}},
	)
	b.Header.Readme, b.Header.Facts = "read me\n", app.Facts{}
	return b
}

func whole(t testing.TB, data []byte) (verify.Report, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return wholeFile(t, name)
}

func wholeFile(t testing.TB, name string) (verify.Report, error) {
	image, file, err := verify.OpenFile(t.Context(), name)
	if err != nil {
		return verify.Report{}, err
	}
	defer file.Close()
	return verify.Whole(t.Context(), image, verify.Options{Trusted: trusted()})
}

func trusted() []ed25519.PublicKey {
	return []ed25519.PublicKey{archivetest.Key.Public().(ed25519.PublicKey)}
}

func TestWholeFile(t *testing.T) {
	b := tiny(t)
	report, err := whole(t, b.Zip(t))
	if err != nil || !report.OK || report.Signature != manifest.Authenticated || report.Entries != 4 || report.Bytes != 209 {
		t.Errorf("%+v, %v", report, err)
	}
	empty, err := whole(t, archivetest.New(t).Zip(t))
	if err != nil || !empty.OK || empty.Entries != 0 {
		t.Errorf("an archive of nothing: %+v, %v", empty, err)
	}
}

// refused fails the test where damage is not noticed, or is not called so.
func refused(t *testing.T, what string, report verify.Report, err error) {
	t.Helper()
	if report.OK {
		t.Errorf("%s: not noticed", what)
	}
	if kind := failure.KindOf(err); err != nil && kind != failure.Corrupt && kind != failure.Invalid {
		t.Errorf("%s: %v (%v)", what, err, kind)
	}
	if err == nil && len(report.Problems) == 0 {
		t.Errorf("%s: nothing is said", what)
	}
}

// TestEveryByte flips each byte of an archive, cuts it off at each length, and inserts a byte at each place.
func TestEveryByte(t *testing.T) {
	good := tiny(t).Zip(t)
	name := filepath.Join(t.TempDir(), "a.zip")
	try := func(what string, data []byte) {
		t.Helper()
		_ = os.Remove(name) // a file that is written over would be flushed to the disk each time
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := wholeFile(t, name)
		refused(t, what, report, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("byte %d of %d flipped", i, len(good)), bad)
		try(fmt.Sprintf("cut off after %d of %d bytes", i, len(good)), good[:i])
		if i%5 == 0 {
			try(fmt.Sprintf("a byte inserted at %d of %d", i, len(good)), append(append(bytes.Clone(good[:i]), 'P'), good[i:]...))
			try(fmt.Sprintf("a byte removed at %d of %d", i, len(good)), append(bytes.Clone(good[:i]), good[i+1:]...))
		}
	}
	try("a byte added", append(bytes.Clone(good), 0))
	try("added to itself", append(bytes.Clone(good), good...))
	try("zeros", make([]byte, len(good)))
}

// TestForged changes two places of an archive that agree with one another.
func TestForged(t *testing.T) {
	b := tiny(t)
	good := b.Zip(t)
	twice := func(old, change string) []byte {
		if bytes.Count(good, []byte(old)) < 2 {
			t.Fatalf("%q is not there twice", old)
		}
		return bytes.ReplaceAll(good, []byte(old), []byte(change))
	}
	le := func(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }
	_, sum := b.Manifest(t)
	for what, data := range map[string][]byte{
		"the name of an entry":      twice("uploads/b", "uploads/c"),
		"the CRC of an entry":       twice(le(crc32.ChecksumIEEE([]byte("beta"))), "abcd"),
		"the CRC of the manifest":   twice(le(sum.CRC32), "abcd"),
		"the size of the manifest":  twice(le(uint32(sum.Bytes)), le(uint32(sum.Bytes+1))),
		"the names of lifeboat":     twice("lifeboat/README.txt", "lifeboat/readme.txt"),
		"the content and its entry": bytes.Replace(twice(le(crc32.ChecksumIEEE([]byte("beta"))), le(crc32.ChecksumIEEE([]byte("BETA")))), []byte("beta"), []byte("BETA"), 1),
	} {
		report, err := whole(t, data)
		refused(t, what, report, err)
	}
	// The manifest of another backup, with its own seal: the data does not fit.
	other := archivetest.New(t, []archivetest.File{{Path: "a", Data: []byte("a")}})
	report, err := whole(t, append(b.Data(), other.Tail(t, int64(len(other.Data())))...))
	refused(t, "the tail of another", report, err)
}

func TestSigners(t *testing.T) {
	b := tiny(t)
	file := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(file, b.Zip(t), 0o600); err != nil {
		t.Fatal(err)
	}
	image, closer, err := verify.OpenFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	report, err := verify.Whole(t.Context(), image, verify.Options{})
	if err != nil || !report.OK || report.Signature != manifest.UnknownSigner {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestNoArchive(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]failure.Kind{
		filepath.Join(dir, "none"): failure.NotFound, dir: failure.Usage, pipe: failure.Usage,
		filepath.Join(dir, strings.Repeat("x", 300)): failure.Internal,
	} {
		if _, _, err := verify.OpenFile(t.Context(), name); failure.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if report, err := whole(t, []byte("PK\x05\x06"+strings.Repeat("\x00", 18))); failure.KindOf(err) != failure.Invalid || report.OK {
		t.Errorf("an empty ZIP: %+v, %v", report, err)
	}
}

// bomb is an archive whose document is a deflate stream of much more than it says.
func bomb(t testing.TB, claimed int64) []byte {
	t.Helper()
	b := archivetest.New(t, []archivetest.File{{Path: "export.json", Data: make([]byte, 8<<20), Document: true}})
	e := b.Entries[0]
	e.Size, e.SHA256 = claimed, ""
	pack := b.Packs[b.Order[0]]
	body := pack[b.Entries[0].Zip().LocalSize():]
	b.Packs[b.Order[0]] = append(e.Zip().AppendLocal(nil), body...)
	b.Entries[0] = e
	return b.Zip(t)
}

func TestBomb(t *testing.T) {
	for _, claimed := range []int64{0, 10, 1 << 20} {
		data := bomb(t, claimed)
		var read int64
		name := filepath.Join(t.TempDir(), "a.zip")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		image, file, err := verify.OpenFile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		report, err := verify.Whole(t.Context(), image, verify.Options{Visit: func(_ manifest.Entry, content io.Reader) error {
			n, _ := io.Copy(io.Discard, content)
			read += n
			return nil
		}})
		file.Close()
		refused(t, "a bomb", report, err)
		if read > claimed {
			t.Errorf("%d bytes came out of an entry that says %d", read, claimed)
		}
	}
}

// TestMemory has archives that would like to be read into memory.
func TestMemory(t *testing.T) {
	b := tiny(t)
	long := tiny(t)
	long.Header.Readme = strings.Repeat("x", 900<<10)
	seal := b.Seal(t)
	padded := append(bytes.TrimSuffix(seal, []byte("\n")), bytes.Repeat([]byte(" "), 5<<20)...)
	for what, data := range map[string][]byte{
		"a huge seal":       bytes.Replace(b.Zip(t), seal, padded, 1),
		"a manifest line":   archivetest.New(t).ZipWith(t, append([]byte(`{"lifeboat_manifest":1,"name":"`), bytes.Repeat([]byte("x"), 4<<20)...)),
		"too many packs":    archivetest.New(t).ZipWith(t, append(headerLine(t), manyPacks()...)),
		"nested header":     archivetest.New(t).ZipWith(t, bytes.Repeat([]byte("["), 4<<20)),
		"no end of entries": archivetest.New(t).ZipWith(t, append(headerLine(t), bytes.Repeat([]byte("{}\n"), 1<<20)...)),
	} {
		before := allocated()
		report, err := whole(t, data)
		refused(t, what, report, err)
		most := uint64(128 << 20) // in all, not at the same time
		if what == "too many packs" {
			most = 512 << 20
		}
		if used := allocated() - before - uint64(len(data)); used > most && used < 1<<60 {
			t.Errorf("%s: %d MiB were allocated", what, used>>20)
		}
	}
	if report, err := whole(t, long.Zip(t)); err != nil || !report.OK {
		t.Errorf("a long but honest README: %v, %v", report.Problems, err)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// manyPacks lists more packs than there may be.
func manyPacks() []byte {
	var lines []byte
	for i := range 1<<18 + 10 {
		lines = fmt.Appendf(lines, "{\"pack\":{\"id\":\"%032x\",\"bytes\":1,\"crc32\":\"00000000\"}}\n", i)
	}
	return lines
}

func headerLine(t *testing.T) []byte {
	t.Helper()
	gz, _ := archivetest.New(t).Manifest(t)
	m, err := manifest.Open(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	return append(m.RawHeader, '\n')
}

func TestGet(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	record := recordOf(t, b)
	for path, want := range map[string]string{"uploads/ü.txt": "alpha", "export.json": strings.Repeat(`{"a":"b"},`, 20), "uploads/empty/": ""} {
		var out bytes.Buffer
		e, err := verify.Get(t.Context(), v.Vault, record, path, &out)
		if err != nil || out.String() != want || e.Path != path {
			t.Errorf("%s: %q, %v", path, out.String(), err)
		}
	}
	if _, err := verify.Get(t.Context(), v.Vault, record, "uploads/dead", io.Discard); failure.KindOf(err) != failure.NotFound {
		t.Errorf("what is not of this backup: %v", err)
	}
	full := errors.New("full")
	if _, err := verify.Get(t.Context(), v.Vault, record, "uploads/b", failingWriter{full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	flipOnDisk(t, v.Path(vault.Pack("photos", b.Order[0])), "beta")
	if _, err := verify.Get(t.Context(), v.Vault, record, "uploads/b", io.Discard); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("a damaged pack: %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// flipOnDisk changes the first occurrence of a text in a file.
func flipOnDisk(t *testing.T, name, text string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{text[0] ^ 1}, int64(bytes.Index(data, []byte(text)))); err != nil {
		t.Fatal(err)
	}
}

func recordOf(t testing.TB, b *archivetest.Backup) catalog.Record {
	t.Helper()
	_, sum := b.Manifest(t)
	return catalog.Record{
		ID: b.Header.Backup, Source: b.Header.Source, Status: "completed", Started: b.Header.Started,
		Manifest: catalog.Manifest{Key: string(vault.Manifest(b.Header.Source, b.Header.Backup)), SHA256: sum.SHA256, Entries: sum.Entries},
		Archive:  catalog.Archive{Key: string(vault.Archive(b.Header.Source, b.Header.Backup)), Bytes: int64(len(b.Zip(t)))},
	}
}

func TestBackup(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	b.StoreArchive(t, v.Vault)
	report, err := verify.Backup(t.Context(), v.Vault, recordOf(t, b), verify.Options{Trusted: trusted()})
	if err != nil || !report.OK || report.Signature != manifest.Authenticated || report.Entries != 4 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestDamagedVault rewrites objects of a backup with one byte changed, as a sample of what may happen to them. The
// store's own checksum is right then, and does not help.
func TestDamagedVault(t *testing.T) {
	b := tiny(t)
	record := recordOf(t, b)
	v := vaulttest.New(t)
	b.Store(t, v.Vault)
	b.StoreArchive(t, v.Vault)
	source, id := record.Source, record.ID
	for _, key := range []vault.Key{
		vault.Pack(source, b.Order[0]), vault.Pack(source, b.Order[1]), vault.Manifest(source, id), vault.Seal(source, id), vault.Archive(source, id),
	} {
		good, _, err := v.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		bad := map[string][]byte{"cut off": good[:len(good)-1], "halved": good[:len(good)/2], "empty": {}}
		for i := 0; i < len(good); i += 1 + len(good)/12 {
			if dead := b.Packs[b.Order[0]]; key == vault.Pack(source, b.Order[0]) && inDead(dead, i) || isGzipHeader(key, i) {
				continue
			}
			bad[fmt.Sprintf("byte %d of %d", i, len(good))] = append(append(bytes.Clone(good[:i]), good[i]^0x21), good[i+1:]...)
		}
		for what, data := range bad {
			put(t, v, key, data)
			report, err := verify.Backup(t.Context(), v.Vault, record, verify.Options{Trusted: trusted()})
			refused(t, string(key)+" "+what, report, err)
		}
		if err := v.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		report, err := verify.Backup(t.Context(), v.Vault, record, verify.Options{})
		refused(t, string(key)+" is gone", report, err)
		put(t, v, key, good)
	}
}

func put(t *testing.T, v *vaulttest.Store, key vault.Key, data []byte) {
	t.Helper()
	if _, err := v.Put(t.Context(), key, data, vault.Always()); err != nil {
		t.Fatal(err)
	}
}

// inDead reports whether a byte belongs to an entry of other backups only.
func inDead(pack []byte, i int) bool {
	begin := bytes.Index(pack, []byte("uploads/dead")) - 30
	return i >= begin && i < begin+30+len("uploads/dead")+len("dead")
}

// isGzipHeader reports whether a byte is time, level or system of the manifest's gzip header, which nothing reads.
func isGzipHeader(key vault.Key, i int) bool {
	return strings.HasSuffix(string(key), ".gz") && i >= 4 && i < 10
}

// TestDamageInRange: one damaged entry is one problem, also where a pack is too short and the next one follows.
func TestDamageInRange(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	pack := b.Packs[b.Order[0]]
	put(t, v, vault.Pack("photos", b.Order[0]), pack[:len(pack)-20]) // in the middle of the last header
	image, err := verify.OpenPacks(t.Context(), v.Vault, "photos", b.Header.Backup)
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	report, err := verify.Whole(t.Context(), image, verify.Options{Found: func(f app.Finding) { items = append(items, f.Item) }})
	if err != nil || report.OK || report.Total != len(items) {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, item := range items {
		if item == "export.json" || item == "uploads/ü.txt" {
			t.Errorf("%s is said to be damaged: %v", item, report.Problems)
		}
	}
}

// TestArchiveOfAnother: an archive that is whole and authentic, but of another backup.
func TestArchiveOfAnother(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	other := archivetest.New(t, []archivetest.File{{Path: "a", Data: []byte("a")}})
	put(t, v, vault.Archive("photos", b.Header.Backup), other.Zip(t))
	report, err := verify.Backup(t.Context(), v.Vault, recordOf(t, b), verify.Options{Trusted: trusted()})
	refused(t, "the archive of another backup", report, err)
	put(t, v, vault.Archive("photos", b.Header.Backup), b.Zip(t))
	record := recordOf(t, b)
	record.Manifest.SHA256 = strings.Repeat("0", 64)
	report, err = verify.Backup(t.Context(), v.Vault, record, verify.Options{Trusted: trusted()})
	refused(t, "another manifest than the record names", report, err)
}

// TestTrouble: a store that refuses or breaks off is no damage.
func TestTrouble(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	b.StoreArchive(t, v.Vault)
	count := 0
	requests := func(n int, fail vaulttest.Hook) vaulttest.Hook {
		count = 0
		return func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if count++; count == n {
				return fail(r, next)
			}
			return next.RoundTrip(r)
		}
	}
	deny := func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	}
	for n := 1; ; n++ {
		v.Intercept(requests(n, deny))
		_, err := verify.Backup(t.Context(), v.Vault, recordOf(t, b), verify.Options{})
		if count < n {
			if n < 5 {
				t.Errorf("only %d requests", count)
			}
			break
		}
		if failure.KindOf(err) != failure.Denied {
			t.Errorf("request %d was denied: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v.Intercept(requests(3, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		cancel()
		return next.RoundTrip(r)
	}))
	if _, err := verify.Backup(ctx, v.Vault, recordOf(t, b), verify.Options{}); failure.KindOf(err) != failure.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestCanceledFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, tiny(t).Zip(t), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	image, file, err := verify.OpenFile(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = verify.Whole(ctx, image, verify.Options{Progress: func(int64, int64) { cancel() }})
	if failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v", err)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var files []archivetest.File
	for i := range verify.MaxProblems + 5 {
		files = append(files, archivetest.File{Path: fmt.Sprint(i)})
	}
	b := archivetest.New(t, files)
	data := b.Zip(t)
	report, err := whole(t, append(make([]byte, len(b.Data())), data[len(b.Data()):]...))
	if err != nil || report.OK || len(report.Problems) != verify.MaxProblems || report.Total < len(files) {
		t.Errorf("%d of %d problems, %v", len(report.Problems), report.Total, err)
	}
}

func TestEntries(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, tiny(t).Zip(t), 0o600); err != nil {
		t.Fatal(err)
	}
	image, file, err := verify.OpenFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var paths []string
	for e, err := range verify.Entries(t.Context(), image) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, e.Path)
	}
	if diff := cmp.Diff([]string{"uploads/ü.txt", "uploads/b", "uploads/empty/", "export.json"}, paths); diff != "" {
		t.Error(diff)
	}
	if _, err := verify.Find(t.Context(), image, "none"); failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// FuzzOpenFile: no file makes a reader panic, hang or fill the memory, and none but ours is OK.
func FuzzOpenFile(f *testing.F) {
	good := tiny(f).Zip(f)
	f.Add(good)
	f.Add(archivetest.New(f).Zip(f))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := whole(t, data)
		if err == nil && report.OK && !bytes.Equal(data, good) && report.Signature == manifest.Authenticated {
			if r, _ := whole(t, archivetest.New(t).Zip(t)); r.Header.Started != report.Header.Started || report.Entries != 0 {
				t.Errorf("%d bytes are OK: %+v", len(data), report)
			}
		}
	})
}
