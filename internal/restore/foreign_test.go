package restore_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// foreign is an archive of another program: with data descriptors, comments and extra fields.
type foreign struct {
	data    []byte
	entries []manifest.Entry
	at      map[string]int64
}

// foreignZIP makes one. Contents are deflated unless their name ends with .bin.
func foreignZIP(t *testing.T, names []string, contents map[string]string) *foreign {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestSpeed) })
	for _, name := range names {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: archivetest.Noon}
		if strings.HasSuffix(name, ".bin") || strings.HasSuffix(name, "/") {
			h.Method = zip.Store
		}
		part, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(part, contents[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.SetComment("of another program"), w.Close()); err != nil {
		t.Fatal(err)
	}
	f := &foreign{data: out.Bytes(), at: map[string]int64{}}
	r, err := zip.NewReader(bytes.NewReader(f.data), int64(len(f.data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.File {
		offset, err := e.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		f.at[e.Name] = offset
		entry := manifest.Entry{Path: e.Name, Size: int64(e.UncompressedSize64), CRC32: manifest.CRC(e.CRC32), Modified: e.Modified}
		if e.Method == zip.Deflate {
			entry.Deflated = &manifest.Deflated{Size: int64(e.CompressedSize64)}
		}
		f.entries = append(f.entries, entry)
	}
	return f
}

func (f *foreign) locate(e manifest.Entry) (restore.Spot, error) {
	return restore.Spot{Offset: f.at[e.Path]}, nil
}

func (f *foreign) all() iter.Seq2[manifest.Entry, error] { return listed(f.entries) }

func listed(entries []manifest.Entry) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (f *foreign) bytes() restore.Bytes {
	return restore.ReaderBytes(bytes.NewReader(f.data), f.locate)
}

// stranger is an archive with every sort of entry. Its bytes may be damaged.
func stranger(t *testing.T) (*foreign, map[string]string) {
	t.Helper()
	strangerOnce.Do(func() {
		strangerHolds = map[string]string{
			"small.bin": "stored", "small.txt": "deflated", "empty.txt": "", "big.bin": string(noise(large, 1)),
			"big.json": strings.Repeat("0123456789abcdef", 3<<20/16), "noise.txt": string(noise(17<<20, 2)),
		}
		strangerZIP = foreignZIP(t, []string{"small.bin", "d/", "small.txt", "empty.txt", "big.bin", "big.json", "noise.txt"}, strangerHolds)
	})
	return &foreign{bytes.Clone(strangerZIP.data), slices.Clone(strangerZIP.entries), strangerZIP.at}, strangerHolds
}

var (
	strangerOnce  sync.Once
	strangerZIP   *foreign
	strangerHolds map[string]string
)

// TestForeignFolder: entries whose deflated bytes have no known CRC-32 are checked by their contents.
func TestForeignFolder(t *testing.T) {
	f, want := stranger(t)
	slices.Reverse(f.entries) // whatever their order
	folder := t.TempDir()
	target := process(t, restore.FolderOptions{Folder: folder}, f.bytes())
	r, err := target.Restore(t.Context(), f.all())
	if err != nil || r.Written != 7 || r.Total > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := target.Finish(t.Context(), f.all()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, tree(t, folder)); diff != "" {
		t.Error(diff)
	}
}

// TestForeignRot: what is damaged, in the archive or in what its directory says, is never left behind.
func TestForeignRot(t *testing.T) {
	paths := []string{"small.txt", "big.bin", "empty.txt", "small.bin", "big.json", "noise.txt"}
	if testing.Short() {
		paths = paths[:3]
	}
	for _, path := range paths {
		for name, damage := range map[string]func(*foreign, *manifest.Entry){
			"flipped":    func(f *foreign, e *manifest.Entry) { f.data[f.at[path]+max(e.StoredSize()/2, 1)] ^= 0x10 },
			"CRC":        func(_ *foreign, e *manifest.Entry) { e.CRC32 ^= 1 },
			"SHA-256":    func(_ *foreign, e *manifest.Entry) { e.SHA256 = strings.Repeat("0", 64) },
			"longer":     func(_ *foreign, e *manifest.Entry) { e.Size++ },
			"shorter":    func(_ *foreign, e *manifest.Entry) { e.Size-- },
			"cut":        func(f *foreign, e *manifest.Entry) { f.data = f.data[:f.at[path]+e.StoredSize()/2] },
			"no body":    func(_ *foreign, e *manifest.Entry) { e.Deflated = &manifest.Deflated{} },
			"not packed": func(f *foreign, e *manifest.Entry) { clear(f.data[f.at[path]:][:e.StoredSize()]) },
		} {
			impossible := path == "empty.txt" && slices.Contains([]string{"shorter", "flipped", "cut", "not packed"}, name)
			if impossible || name == "longer" && strings.HasSuffix(path, ".bin") { // a stored body is as long as its entry
				continue
			}
			t.Run(path+"-"+strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
				f, want := stranger(t)
				i := slices.IndexFunc(f.entries, func(e manifest.Entry) bool { return e.Path == path })
				damage(f, &f.entries[i])
				folder := t.TempDir()
				target := process(t, restore.FolderOptions{Folder: folder}, f.bytes())
				entries := f.entries[:i+1] // what is behind a cut is lost too
				r, err := target.Restore(t.Context(), listed(entries))
				if name == "cut" {
					if err != nil || exists(filepath.Join(folder, path)) || r.Total == 0 {
						t.Errorf("%+v, %v", r, err)
					}
					return
				}
				if err != nil || r.Written != i || r.Total != 1 || r.Problems[0].Kind != "corrupt" || r.Problems[0].Item != path {
					t.Errorf("%+v, %v", r, err)
				}
				for name, data := range tree(t, folder) {
					if name != ".lifeboat-made" && data != want[name] || name == path {
						t.Errorf("%s was left behind", name)
					}
				}
				checkContent(t, f, f.entries[i])
			})
		}
	}
}

// checkContent reads an entry that is damaged.
func checkContent(t *testing.T, f *foreign, e manifest.Entry) {
	t.Helper()
	r, err := restore.Content(t.Context(), f.bytes(), e, restore.Spot{Offset: f.at[e.Path]})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if failure.KindOf(err) != failure.Corrupt || n > e.Size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := r.Read(make([]byte, 1)); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("once more: %v", err)
	}
}

func TestContent(t *testing.T) {
	f, want := stranger(t)
	for _, e := range f.entries {
		r, err := restore.Content(t.Context(), f.bytes(), e, restore.Spot{Offset: f.at[e.Path]})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || string(data) != want[e.Path] {
			t.Errorf("%s: %d bytes, %v", e.Path, len(data), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := restore.Content(ctx, f.bytes(), f.entries[4], restore.Spot{})
	cancel()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestForeignBucket: out of an archive that was fetched into the vault, the store copies what is stored by itself.
func TestForeignBucket(t *testing.T) {
	f, contents := stranger(t)
	s := newScene(t, archivetest.New(t, []archivetest.File{file("a", "a")}))
	key := vault.Incoming("0123456789abcdef")
	if _, err := s.vault.Put(t.Context(), key, f.data, vault.Always()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for name, data := range contents {
		media := map[string]string{".bin": "application/octet-stream", ".txt": "text/plain; charset=utf-8", ".json": "application/json"}[filepath.Ext(name)]
		want[name] = described(media, []byte(data))
	}
	run := func(source restore.Bytes) restore.Result {
		t.Helper()
		target, err := restore.OpenBucket(t.Context(), s.options)
		if err != nil {
			t.Fatal(err)
		}
		target.From(source)
		r, err := target.Restore(t.Context(), f.all())
		if err != nil || r.Total > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		return r
	}
	object := restore.ObjectBytes(s.vault.Vault, key, int64(len(f.data)), f.locate)
	if r := run(object); r.Written != 6 || r.Spliced != 1 || r.SplicedBytes != large {
		t.Errorf("%+v", r)
	}
	s.wants(want)
	if r := run(f.bytes()); r.Existing != 6 {
		t.Errorf("again, from a file: %+v", r)
	}
	f.entries[5].CRC32 ^= 1
	f.entries[2].CRC32 ^= 1
	s.options.Prefix = "other"
	target, err := restore.OpenBucket(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	target.From(object)
	if r, err := target.Restore(t.Context(), f.all()); err != nil || r.Written != 4 || r.Total != 2 || r.Problems[0].Kind != "corrupt" {
		t.Errorf("%+v, %v", r, err)
	}
	s.target.NoUploads(t)
}

// zeros is a file of zeros.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// TestFolderMemory: a file passes through in pieces, deflated or not.
func TestFolderMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MiB")
	}
	const size = 96 << 20
	crc := crc32.NewIEEE()
	_, _ = io.CopyN(crc, io.NewSectionReader(zeros{}, 0, size), size)
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err == nil {
		_, err = io.CopyN(w, io.NewSectionReader(zeros{}, 0, size), size)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	e := manifest.Entry{Path: "zeros", Size: size, CRC32: manifest.CRC(crc.Sum32())}
	deflated := e
	deflated.Deflated = &manifest.Deflated{Size: int64(packed.Len())}
	for name, test := range map[string]struct {
		entry manifest.Entry
		from  io.ReaderAt
	}{"stored": {e, zeros{}}, "deflated": {deflated, bytes.NewReader(packed.Bytes())}} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			at := func(manifest.Entry) (restore.Spot, error) { return restore.Spot{}, nil }
			target := process(t, restore.FolderOptions{Folder: folder}, restore.ReaderBytes(test.from, at))
			for existing := range 2 {
				want := restore.Result{Written: 1, Bytes: size, Existing: existing}
				before := allocated()
				r, err := target.Restore(t.Context(), listed([]manifest.Entry{test.entry}))
				if used := allocated() - before; err != nil || cmp.Diff(want, r) != "" || used > 2<<20 {
					t.Errorf("%d KiB were allocated, %+v, %v", used>>10, r, err)
				}
			}
			if info, err := os.Stat(filepath.Join(folder, "zeros")); err != nil || info.Size() != size {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
