package step_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipcheck"
	"lifeboat/internal/zipfmt"
)

const gib = 1 << 30

// ranged reads an object of the vault by ranges.
type ranged struct {
	ctx   context.Context
	vault *vault.Vault
	key   vault.Key
	size  int64
}

func (r ranged) Size() int64 { return r.size }

func (r ranged) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	body, _, err := r.vault.Open(ctx, r.key, offset, length)
	return body, err
}

func (r ranged) ReadAt(p []byte, offset int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if offset >= r.size {
		return 0, io.EOF
	}
	length := min(int64(len(p)), r.size-offset)
	body, err := r.Range(r.ctx, offset, length)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p[:length])
	if err == nil && length < int64(len(p)) {
		err = io.EOF
	}
	return n, err
}

// structure holds the only file of an archive against its manifest, without reading contents, and returns it as Go's
// own reader sees it, with the offset of each local header.
func (m *modelled) structure(record catalog.Record, limits zipcheck.Limits) (*zip.Reader, []int64) {
	m.t.Helper()
	ctx, t := m.t.Context(), m.t
	if len(record.Archive.Files()) != 1 {
		t.Fatalf("%+v", record.Archive)
	}
	in := ranged{ctx, m.vault, vault.Key(record.Archive.Key), record.Archive.Bytes}
	file, err := archive.Open(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	list, body, err := file.Manifest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := file.CheckTail(ctx, list, list.Entries()); err != nil {
		t.Error(err)
	}
	if authentic, err := file.Seal.Check(list, record.Manifest.Entries, trusted(t)...); err != nil || authentic != manifest.Authenticated {
		t.Errorf("%s, %v", authentic, err)
	}
	report, err := zipcheck.Check(ctx, in, in.size, limits, zipcheck.Strict)
	if err != nil || report.Verdict != zipcheck.Accept {
		t.Fatalf("%v, %v", report, err)
	}
	z, err := zip.NewReader(in, in.size)
	if err != nil || len(z.File) != len(report.Entries) || len(z.File) != record.Manifest.Entries+3 {
		t.Fatalf("%d entries, %d for zipcheck, %d in the record and 3 of lifeboat: %v", len(z.File), len(report.Entries), record.Manifest.Entries, err)
	}
	again, body2, err := file.Manifest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer body2.Close()
	offsets, n, at := make([]int64, 0, len(z.File)), 0, int64(0)
	for e, err := range again.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		data, err := z.File[n].DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		theirs := report.Entries[n]
		if z.File[n].Name != e.Path || theirs.Header != at || theirs.Data != data || data != at+e.Zip().LocalSize() ||
			int64(z.File[n].UncompressedSize64) != e.Size || z.File[n].CRC32 != uint32(e.CRC32) {
			t.Fatalf("entry %d: the manifest has %+v at %d, zipcheck %+v, Go %+v at %d", n, e, at, theirs, z.File[n].FileHeader, data)
		}
		offsets = append(offsets, at)
		at, n = at+e.Zip().LocalSize()+e.StoredSize(), n+1
	}
	return z, offsets
}

// piece compares bytes of an entry with those of the application.
func (m *modelled) piece(record catalog.Record, f *zip.File, seed uint64, offset, length int64) {
	m.t.Helper()
	at, err := f.DataOffset()
	if err != nil {
		m.t.Fatal(err)
	}
	want, got := make([]byte, length), make([]byte, length)
	body, err := s3model.Derived{Seed: seed, Offset: offset, Size: length}.Reader()
	if err == nil {
		_, err = io.ReadFull(body, want)
	}
	if err == nil {
		_, err = ranged{m.t.Context(), m.vault, vault.Key(record.Archive.Key), record.Archive.Bytes}.ReadAt(got, at+offset)
	}
	if err != nil || !bytes.Equal(want, got) {
		m.t.Errorf("%s from %d on: other bytes, %v", f.Name, offset, err)
	}
}

// watch counts the ranged copies from each object of the application.
func (m *modelled) watch() func() map[string]int {
	var mutex sync.Mutex
	copies := map[string]int{}
	hook := func(r *http.Request) *http.Response {
		if from, ok := strings.CutPrefix(r.Header.Get("X-Amz-Copy-Source"), "data/"); ok {
			mutex.Lock()
			defer mutex.Unlock()
			copies[from]++
		}
		return nil
	}
	m.hook.hook.Store(&hook)
	return func() map[string]int {
		mutex.Lock()
		defer mutex.Unlock()
		return copies
	}
}

// TestHugeObjects: objects beyond 4 GiB and beyond what one copied part takes, in an archive beyond 8 GiB.
func TestHugeObjects(t *testing.T) {
	if brief() {
		t.Skip("derives 10 GB")
	}
	m := newModelled(t, s3model.Options{})
	m.policy.Floor = 5 * mib
	const first, second = 9 * gib / 2, 52*gib/10 + 1
	m.put("first", 1, first, noon)
	m.put("second", 2, second, noon)
	m.put("third", 3, 6*mib, noon)
	for n := range 10 {
		m.put(fmt.Sprintf("small/%d", n), uint64(10+n), 1000, noon)
	}
	copies := m.watch()
	record := m.good(firstRun)
	if read := m.hook.read.Load(); read > 16*mib+10_000 {
		t.Errorf("%d bytes passed through compute", read)
	}
	for _, name := range []string{"first", "second"} {
		if copies()[name] < 2 {
			t.Errorf("%s was copied in %d ranges", name, copies()[name])
		}
	}
	if record.Archive.Bytes < 8*gib {
		t.Errorf("%+v", record.Archive)
	}
	z, _ := m.structure(record, zipcheck.Limits{})
	for _, f := range z.File {
		switch f.Name {
		case "files/first":
			m.piece(record, f, 1, 0, 70_000)
			m.piece(record, f, 1, 5*mib-3, 70_000)
			m.piece(record, f, 1, first-70_000, 70_000)
		case "files/second":
			m.piece(record, f, 2, math.MaxUint32-7, 70_000)
			m.piece(record, f, 2, second-1, 1)
		case "files/small/7":
			m.piece(record, f, 17, 0, 1000)
		}
	}
	m.nothingLeft()
	m.clock = m.clock.Add(time.Hour)
	m.hook.read.Store(0)
	if again := m.good(secondRun); again.PackedObjects != 0 || m.hook.read.Load() != 0 {
		t.Errorf("%d objects were packed again, %d bytes read", again.PackedObjects, m.hook.read.Load())
	}
}

// TestFarEntries: entries that need ZIP64 for their offsets and not for their sizes.
func TestFarEntries(t *testing.T) {
	if brief() {
		t.Skip("derives 4 GB")
	}
	m := newModelled(t, s3model.Options{})
	m.policy.Floor = 5 * mib
	const count, size = 262, 16 * mib
	for n := range count {
		m.put(fmt.Sprintf("%03d", n), uint64(n), size, noon.Add(-time.Duration(n)*time.Minute))
	}
	copies := m.watch()
	record := m.good(firstRun)
	if len(copies()) != count {
		t.Errorf("%d objects were spliced", len(copies()))
	}
	z, offsets := m.structure(record, zipcheck.Limits{})
	far := 0
	for i, f := range z.File[:count] {
		if offsets[i] > math.MaxUint32 {
			far++
			if f.UncompressedSize64 != size || len(f.Extra) != 0 && len(f.Extra) != 12 {
				t.Errorf("%s: %+v", f.Name, f.FileHeader)
			}
			var n uint64
			if _, err := fmt.Sscanf(f.Name, "files/%d", &n); err != nil {
				t.Fatal(err)
			}
			m.piece(record, f, n, size-1000, 1000)
		}
	}
	if far < 2 {
		t.Errorf("only %d entries lie beyond 4 GiB", far)
	}
	m.nothingLeft()
}

// TestManyEntries: more entries than a ZIP without ZIP64 can count.
func TestManyEntries(t *testing.T) {
	if brief() {
		t.Skip("packs 70,000 objects")
	}
	m := newModelled(t, s3model.Options{})
	files := map[string]string{}
	for n := range 70_000 {
		files[fmt.Sprintf("%02x/%05d.txt", n%256, n)] = fmt.Sprint("text ", n)
	}
	m.app, m.source = nil, newFake(files)
	m.steps = m.newSteps()
	record := m.good(firstRun)
	z, _ := m.structure(record, zipcheck.Limits{})
	if len(z.File) != 70_000+1+3 {
		t.Fatalf("%d entries", len(z.File))
	}
	for i := 0; i < 70_000; i += 777 {
		name, ours := strings.CutPrefix(z.File[i].Name, "uploads/")
		if !ours {
			continue
		}
		body, err := z.File[i].Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != files[name] {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	m.nothingLeft()
}

// entriesByHand writes the manifest and the packs of a backup of so many entries, as a run leaves them behind.
func (w *world) entriesByHand(count, packs int) catalog.Record {
	w.t.Helper()
	ctx, t := w.t.Context(), w.t
	key, err := keyring.Parse([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 256)
	for i := range body {
		body[i] = byte(i * 7)
	}
	crc := zipfmt.CombineCRC(0, crcOf(body), int64(len(body)))
	entry := func(n int) manifest.Entry {
		return manifest.Entry{
			Path: fmt.Sprintf("files/photos/2026/%04d/IMG_%08d.jpg", n/1000, n), Size: int64(len(body)), CRC32: manifest.CRC(crc), Modified: noon,
			Origin: &manifest.Origin{Key: fmt.Sprintf("photos/2026/%04d/IMG_%08d.jpg", n/1000, n), Identity: fmt.Sprintf("\"%032x\":%d:%d", n, n, n), Settled: true},
		}
	}
	list := make([]manifest.Pack, packs)
	for p := range packs {
		var data []byte
		for n := p * (count / packs); n < (p+1)*(count/packs); n++ {
			data = append(entry(n).Zip().AppendLocal(data), body...)
		}
		list[p] = manifest.Pack{ID: fmt.Sprintf("%032x", p+1), Bytes: int64(len(data)), CRC32: manifest.CRC(crcOf(data))}
		if _, err := w.vault.Put(ctx, vault.Pack("photos", list[p].ID), data, vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	out := w.vault.NewWriter(ctx, vault.Manifest("photos", firstRun), vault.IfAbsent())
	lines, err := manifest.NewWriter(out, manifest.Header{Backup: firstRun, Source: "photos", Kind: "fake", Started: firstRun.Time(), Readme: "by hand\n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if err := lines.Pack(p); err != nil {
			t.Fatal(err)
		}
	}
	for p := range packs {
		at := int64(0)
		for n := p * (count / packs); n < (p+1)*(count/packs); n++ {
			e := entry(n)
			e.Header = manifest.Place{Pack: list[p].ID, Offset: at}
			if err := lines.Entry(e); err != nil {
				t.Fatal(err)
			}
			at += e.Zip().LocalSize() + e.Size
		}
	}
	sum, err := lines.Close()
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	sum.Compressed = out.Size()
	opened, closer, err := w.open(vault.Manifest("photos", firstRun))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := manifest.Sign(key.Private, sum, opened.RawHeader)
	closer.Close()
	if err == nil {
		err = w.vault.Create(ctx, vault.Seal("photos", firstRun), seal)
	}
	if err != nil {
		t.Fatal(err)
	}
	record := catalog.Record{
		ID: firstRun, Source: "photos", Kind: "fake", Status: backup.Completed, Started: noon, Objects: count,
		Manifest: catalog.Manifest{Key: string(vault.Manifest("photos", firstRun)), SHA256: sum.SHA256, Entries: count},
	}
	if err := catalog.New(w.vault).Create(ctx, record); err != nil {
		t.Fatal(err)
	}
	return record
}

func (w *world) open(key vault.Key) (*manifest.Reader, io.Closer, error) {
	body, _, err := w.vault.Open(w.t.Context(), key, 0, -1)
	if err != nil {
		return nil, nil, err
	}
	list, err := manifest.Open(body)
	return list, body, err
}

// heap watches how much the heap holds at most, in bytes, garbage included.
func heap() (most func() uint64) {
	debug.FreeOSMemory()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		peak := uint64(0)
		for {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-stop:
				done <- peak
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-done
	}
}

// TestMillionEntries makes an archive of a million entries in bounded memory. The store is a process of its own.
func TestMillionEntries(t *testing.T) {
	if brief() {
		t.Skip("a million entries")
	}
	m := newWorld(t, nil)
	m.entriesByHand(1_000_000, 40)
	most := heap()
	record, err := m.steps.MakeArchive(t.Context(), "photos", firstRun)
	if peak := most(); peak > 200*mib {
		t.Errorf("the heap had %d MiB", peak/mib)
	} else {
		t.Logf("the heap had %d MiB", peak/mib)
	}
	if err != nil {
		t.Fatal(err)
	}
	in := ranged{t.Context(), m.vault, vault.Key(record.Archive.Key), record.Archive.Bytes}
	file, err := archive.Open(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	list, body, err := file.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := file.CheckTail(t.Context(), list, list.Entries()); err != nil {
		t.Error(err)
	}
	m.nothingLeft()
}

// mixed is an application with every size that matters: small, just spliced, and large enough for several parts.
func (m *modelled) mixed() {
	for n := range 40 {
		m.put(fmt.Sprintf("small/%02d", n), uint64(100+n), int64(n)*1_000, noon.Add(-time.Duration(n)*time.Hour))
	}
	m.put("empty/", 0, 0, noon)
	sizes := []int64{5*mib - 1, 5 * mib, 5*mib + 1, 9 * mib, 12 * mib, 33 * mib, 70 * mib}
	if brief() {
		sizes[5], sizes[6] = 13*mib, 26*mib // the one still more than two parts, the other more than a volume
	}
	for n, size := range sizes {
		m.put(fmt.Sprintf("large/%d", n), uint64(200+n), size, noon.Add(-time.Duration(n)*time.Hour))
	}
}

// archiveSum returns the SHA-256 of the files of an archive.
func (m *modelled) archiveSum(record catalog.Record) []string {
	m.t.Helper()
	sums := []string{}
	for _, f := range record.Archive.Files() {
		body, _, err := m.vault.Open(m.t.Context(), vault.Key(f.Key), 0, -1)
		if err != nil {
			m.t.Fatal(err)
		}
		sums = append(sums, sumOf(m.t, body))
		body.Close()
	}
	return sums
}

// TestPoorStores: on a store that takes equal parts only, and on one that copies nothing, a backup works, and its archive
// has the same bytes as that of a store that can do everything and was told to splice nothing.
func TestPoorStores(t *testing.T) {
	splits := []int64{24 * mib, 0}
	stores := []struct {
		name    string
		options s3model.Options
		floor   int64
	}{
		{"as AWS", s3model.Options{}, 0},
		{"equal parts and no copies", s3model.Options{NoCopy: true, Equal: true, NoPartCRC: true}, 5 * mib},
		{"equal parts", s3model.Options{Equal: true}, 5 * mib},
		{"no copies", s3model.Options{NoCopy: true}, 5 * mib},
	}
	if brief() {
		splits, stores = splits[:1], stores[:2]
	}
	for _, split := range splits {
		var want []string
		for _, c := range stores {
			t.Run(fmt.Sprintf("%s, split %d", c.name, split), func(t *testing.T) {
				m := newModelled(t, c.options)
				m.mixed()
				m.policy = step.Policy{Floor: c.floor, Split: split}
				if _, err := m.vault.Learn(t.Context()); err != nil {
					t.Fatal(err)
				}
				if m.vault.EqualParts() != (c.options != s3model.Options{}) {
					t.Error("nobody noticed")
				}
				m.nothingLeft()
				record := m.good(firstRun)
				if report, err := m.checked(record); err != nil || !report.OK {
					t.Errorf("%+v, %v", report, err)
				}
				if got := m.archiveSum(record); want == nil {
					want = got
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				m.nothingLeft()
				m.clock = m.clock.Add(time.Hour)
				m.remove("large/4")
				m.put("small/07", 7, 77, noon)
				second := m.good(secondRun)
				if report, err := m.checked(second); err != nil || !report.OK || second.PackedObjects != 1 {
					t.Errorf("%d objects packed, %+v, %v", second.PackedObjects, report, err)
				}
			})
		}
	}
}

// TestNoSplices: where the store may not copy from the application's bucket, or does not say the checksums of what it
// copies, objects are read, and one note says why.
func TestNoSplices(t *testing.T) {
	deny := func(r *http.Request) *http.Response {
		if !strings.HasPrefix(r.Header.Get("X-Amz-Copy-Source"), "data/") {
			return nil
		}
		answer, _ := vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
		return answer
	}
	for name, c := range map[string]struct {
		options s3model.Options
		hook    func(*http.Request) *http.Response
	}{
		"no checksums": {s3model.Options{NoPartCRC: true}, nil},
		"denied":       {s3model.Options{}, deny},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModelled(t, c.options)
			m.mixed()
			for n := range 12 { // more than one batch
				m.put(fmt.Sprintf("more/%d", n), uint64(300+n), 6*mib, noon)
			}
			m.policy = step.Policy{Floor: 5 * mib}
			if c.hook != nil {
				m.hook.hook.Store(&c.hook)
			}
			record := m.good(firstRun)
			if len(record.Notes) != 1 || record.Notes[0].Kind != "streamed" {
				t.Errorf("%+v", record.Notes)
			}
			if report, err := m.checked(record); err != nil || !report.OK || record.PackedObjects != 60 {
				t.Errorf("%d objects, %+v, %v", record.PackedObjects, report, err)
			}
			m.nothingLeft()
		})
	}
}

// TestNothingCopied: where every copy is refused, the vault's own included, an archive can't be joined, and the run says
// so; the store was never asked what it can.
func TestNothingCopied(t *testing.T) {
	m := newModelled(t, s3model.Options{DenyCopies: true})
	m.mixed()
	outcome, record, err := m.run(firstRun, "")
	if err != nil || record.Status != backup.Failed || record.Failure.Kind != failure.Denied.String() {
		t.Errorf("%+v, %+v, %v", outcome, record, err)
	}
	m.nothingLeft()
}
