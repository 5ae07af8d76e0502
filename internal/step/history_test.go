package step_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/retention"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
	"lifeboat/internal/zipcheck"
)

// TestHistories lets an application live a random life, with backups, deletions, sweeps, merges and archives made again
// in between, and holds every backup after every step against what the application had. LIFEBOAT_HISTORIES sets how
// many lives there are.
func TestHistories(t *testing.T) {
	lives := 3
	if brief() {
		lives = 1
	}
	if text := os.Getenv("LIFEBOAT_HISTORIES"); text != "" {
		var err error
		if lives, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	merged := map[vault.Key]bool{}
	for seed := range lives {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHistory(t, uint64(seed))
			h.merged = merged
			h.live(14)
		})
	}
	if len(merged) < lives {
		t.Errorf("in %d lives packs were merged %d times: these tests no longer show much", lives, len(merged))
	}
}

// thing is one version of an object of the application.
type thing struct {
	seed     uint64
	size     int64
	modified time.Time
}

// kept is what a backup must hold.
type kept struct {
	record catalog.Record
	holds  map[string]thing
	files  []string // SHA-256 of the files of its archive; nil before one was made
}

type history struct {
	*modelled
	random  *rand.Rand
	objects map[string]thing // of the application, by key
	backups []*kept
	sums    map[thing]string // SHA-256 of contents
	log     []string
	seeds   uint64
	merged  map[vault.Key]bool // indexes of merged packs that there were
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{
		modelled: newModelled(t, s3model.Options{}), random: rand.New(rand.NewPCG(seed, 26)), objects: map[string]thing{},
		sums: map[thing]string{}, seeds: seed << 32,
	}
	h.clock = time.Now().UTC().Truncate(time.Hour).Add(time.Hour) // the store's clock is that of this machine
	h.steps.Merge = pool.Limits{Begin: 1, Hold: 2, Fan: 2, Bytes: 40 * mib}
	return h
}

func (h *history) one(percent int) bool { return h.random.IntN(100) < percent }

func (h *history) live(steps int) {
	for range 6 {
		h.add()
	}
	for n := range steps {
		for range h.random.IntN(5) {
			h.change()
		}
		h.clock = h.clock.Add(time.Hour)
		switch roll := h.random.IntN(100); {
		case n < 2 || roll < 55:
			h.backup()
		case roll < 70 && len(h.backups) > 1:
			h.delete()
		case roll < 85:
			h.sweep()
		default:
			h.again()
		}
		for len(h.backups) > 3 {
			h.delete()
		}
		h.checkAll()
		if h.t.Failed() {
			h.t.Fatalf("after:\n%s", strings.Join(h.log, "\n"))
		}
	}
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// size returns one that is likely to matter.
func (h *history) size() int64 {
	switch roll := h.random.IntN(100); {
	case roll < 10:
		return 0
	case roll < 45:
		return h.random.Int64N(64 << 10)
	case roll < 60:
		return 1*mib + h.random.Int64N(3*mib)
	case roll < 80:
		return 5*mib - 2 + h.random.Int64N(5)
	case roll < 90:
		return 5*mib + h.random.Int64N(6*mib)
	case roll < 97:
		return 10*mib - 100 + h.random.Int64N(200)
	}
	return 20 * mib
}

func (h *history) set(key string, seed uint64, size int64) {
	made := thing{seed, size, h.clock.Add(-time.Duration(h.random.IntN(7200)) * time.Second)}
	if strings.HasSuffix(key, "/") {
		made.size = 0
	}
	h.objects[key] = made
	h.put(key, seed, made.size, made.modified)
	h.note("set %q to %d bytes of seed %d, of %s", key, made.size, seed, made.modified.Format(time.TimeOnly))
}

func (h *history) fresh() uint64 {
	h.seeds++
	return h.seeds
}

func (h *history) add() {
	seed := h.fresh()
	key := fmt.Sprintf("d%d/ü %d.bin", h.random.IntN(3), seed)
	if h.one(5) {
		key = fmt.Sprintf("empty %d/", seed)
	}
	h.set(key, seed, h.size())
}

// change does one thing to the application.
func (h *history) change() {
	total := int64(0)
	for _, o := range h.objects {
		total += o.size
	}
	roll := h.random.IntN(100)
	if len(h.objects) == 0 || total < 30*mib && roll < 45 {
		h.add()
		return
	}
	key := sorted(h.objects)[h.random.IntN(len(h.objects))]
	o := h.objects[key]
	switch {
	case total > 60*mib || roll < 60:
		h.remove(key)
		delete(h.objects, key)
		h.note("delete %q", key)
	case roll < 75:
		h.set(key, h.fresh(), h.size())
	case roll < 90:
		o.modified = o.modified.Add(time.Duration(2+h.random.IntN(600)) * time.Second)
		h.objects[key] = o
		h.put(key, o.seed, o.size, o.modified)
		h.note("touch %q", key)
	default:
		h.remove(key)
		delete(h.objects, key)
		h.note("delete %q", key)
		h.set(fmt.Sprintf("moved/%d", h.fresh())+map[bool]string{true: "/"}[strings.HasSuffix(key, "/")], o.seed, o.size)
	}
}

func (h *history) backup() {
	h.policy = step.Policy{Floor: 5 * mib, Eager: h.one(50), OnDemand: h.one(25)}
	if h.one(40) {
		h.policy.Split = []int64{3 * mib, 7 * mib, 24 * mib}[h.random.IntN(3)]
	}
	h.scope, h.rehash = backup.Scope{}, h.one(10)
	if h.one(20) {
		h.scope.Since = h.clock.Add(-2 * time.Hour)
	}
	k := &kept{holds: map[string]thing{}}
	for key, o := range h.objects {
		if h.scope.Holds(o.modified) {
			k.holds["files/"+key] = o
		}
	}
	most := h.most(k)
	h.hook.read.Store(0)
	id := backup.NewID(h.clock)
	h.note("backup %s of %s, rehash %v, %+v", id, h.scope, h.rehash, h.policy)
	k.record = h.good(id)
	if read := h.hook.read.Load(); read > most {
		h.t.Errorf("%d bytes of the source were read, %d are enough", read, most)
	}
	if k.record.Objects != len(k.holds) {
		h.t.Errorf("%d objects, want %d", k.record.Objects, len(k.holds))
	}
	h.backups = append(h.backups, k)
	for info, err := range h.vault.List(h.t.Context(), vault.Packs("photos")) {
		if err != nil {
			h.t.Fatal(err)
		}
		if vault.IsMerge(info.Key) && !h.merged[info.Key] {
			h.merged[info.Key] = true
			h.note("merged %s", info.Key)
		}
	}
}

// most is how many bytes of the source a backup may read: all of what is new and too short to be spliced, and the head
// of what is spliced.
func (h *history) most(k *kept) int64 {
	total := int64(0)
	for path, o := range k.holds {
		if n := len(h.backups); n > 0 && !h.rehash && h.backups[n-1].holds[path] == o {
			continue
		}
		if o.size < 10*mib {
			total += o.size
		} else {
			total += vault.MinPart
		}
	}
	return total
}

func (h *history) delete() {
	n := h.random.IntN(len(h.backups))
	now := h.one(50)
	h.note("delete %s, packs at once: %v", h.backups[n].record.ID, now)
	_, err := retention.Delete(h.t.Context(), h.vault, h.backups[n].record, retention.Options{
		Holder: "test", Links: noLinks{}, Now: now, Clock: func() time.Time { return h.clock },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.backups = slices.Delete(h.backups, n, n+1)
}

func (h *history) sweep() {
	h.note("sweep")
	pruned, err := retention.Prune(h.t.Context(), h.vault, "photos", retention.Options{
		Holder: "test", Now: true, Clock: func() time.Time { return h.clock },
	})
	if err != nil || pruned.Kept != nil {
		h.t.Fatalf("%+v, %v", pruned, err)
	}
	named := map[string]manifest.Pack{}
	for _, k := range h.backups {
		m, err := manifest.Open(bytes.NewReader(h.bytes(vault.Manifest("photos", k.record.ID))))
		if err != nil {
			h.t.Fatal(err)
		}
		maps.Copy(named, m.Packs)
	}
	packs, err := pool.Open(h.t.Context(), h.vault, "photos")
	if err != nil {
		h.t.Fatal(err)
	}
	if garbage, missing := packs.Garbage(named); len(garbage)+len(missing) > 0 {
		h.t.Errorf("after a sweep: garbage %v, missing %v", garbage, missing)
	}
}

// again gives all archives up and makes them again.
func (h *history) again() {
	h.note("all archives again")
	_, err := retention.Prune(h.t.Context(), h.vault, "photos", retention.Options{
		Holder: "test", Clock: func() time.Time { return h.clock }, ExpireArchive: func(catalog.Record) bool { return true },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, k := range h.backups {
		if k.record, err = h.steps.MakeArchive(h.t.Context(), "photos", k.record.ID); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *history) checkAll() {
	h.t.Helper()
	h.nothingLeft()
	for _, k := range h.backups {
		record, err := catalog.New(h.vault).Record(h.t.Context(), "photos", k.record.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		k.record = record
		h.check(k)
	}
}

// sum returns the SHA-256 of a content.
func (h *history) sum(o thing) string {
	o.modified = time.Time{}
	if h.sums[o] == "" {
		body, err := s3model.Derived{Seed: o.seed, Size: o.size}.Reader()
		if err != nil {
			h.t.Fatal(err)
		}
		h.sums[o] = sumOf(h.t, body)
	}
	return h.sums[o]
}

func sumOf(t testing.TB, r io.Reader) string {
	t.Helper()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		t.Error(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// wanted returns the SHA-256 of every content of a backup, by path.
func (h *history) wanted(k *kept) map[string]string {
	want := map[string]string{"files.json": ""}
	for path, o := range k.holds {
		want[path] = h.sum(o)
	}
	return want
}

// check holds a backup against what the application had.
func (h *history) check(k *kept) {
	h.t.Helper()
	want, got := h.wanted(k), map[string]string{}
	report, err := verify.Backup(h.t.Context(), h.vault, k.record, verify.Options{
		Trusted: trusted(h.t), Visit: func(e manifest.Entry, content io.Reader) error {
			if got[e.Path] = sumOf(h.t, content); e.Document {
				got[e.Path] = ""
			}
			return nil
		},
	})
	if err != nil || !report.OK || report.Signature != manifest.Authenticated {
		h.t.Errorf("%s: %+v, %v", k.record.ID, report, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("%s holds (-want +got):\n%s", k.record.ID, diff)
	}
	var sums []string
	var datas [][]byte
	for _, f := range k.record.Archive.Files() {
		data := h.bytes(vault.Key(f.Key))
		if crc := fmt.Sprintf("%08x", crc32.ChecksumIEEE(data)); crc != f.CRC32 || int64(len(data)) != f.Bytes {
			h.t.Errorf("%s has %d bytes and %s, the record says %+v", f.Key, len(data), crc, f)
		}
		sums, datas = append(sums, sumOf(h.t, bytes.NewReader(data))), append(datas, data)
	}
	if sums == nil {
		return
	}
	if k.files == nil {
		k.files = sums
		h.checkArchive(k.record, want, datas)
	}
	if diff := cmp.Diff(k.files, sums); diff != "" {
		h.t.Errorf("the archive of %s changed:\n%s", k.record.ID, diff)
	}
}

// checkArchive reads the files of an archive as others do.
func (h *history) checkArchive(record catalog.Record, want map[string]string, datas [][]byte) {
	h.t.Helper()
	got := map[string]string{}
	for n, data := range datas {
		names := headers(h.t, data)
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			h.t.Fatal(err)
		}
		for i, f := range z.File {
			if i >= len(names) || names[i] != f.Name {
				h.t.Fatalf("file %d of %s: the directory has %q as entry %d, the headers are those of %q", n, record.ID, f.Name, i, names)
			}
			if path.Dir(f.Name) == "lifeboat" {
				continue
			}
			body, err := f.Open()
			if err != nil {
				h.t.Fatal(err)
			}
			if _, twice := got[f.Name]; twice {
				h.t.Errorf("%s comes twice", f.Name)
			}
			if got[f.Name] = sumOf(h.t, body); f.Name == "files.json" {
				got[f.Name] = ""
			}
		}
		report, err := zipcheck.Check(h.t.Context(), bytes.NewReader(data), int64(len(data)), zipcheck.Limits{}, zipcheck.Strict)
		if err != nil || report.Verdict != zipcheck.Accept {
			h.t.Errorf("file %d of %s: %v, %v", n, record.ID, report, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("the archive of %s holds (-want +got):\n%s", record.ID, diff)
	}
}

// headers reads local headers one after the other up to the central directory, with nothing in between, and returns
// their names.
func headers(t testing.TB, data []byte) []string {
	t.Helper()
	var names []string
	for at := uint64(0); ; {
		if at+46 > uint64(len(data)) {
			t.Fatalf("no central directory behind %d entries", len(names))
		}
		head := data[at:]
		switch binary.LittleEndian.Uint32(head) {
		case 0x02014b50:
			return names
		case 0x04034b50:
		default:
			t.Fatalf("at %d, behind %q, is neither an entry nor the central directory", at, names)
		}
		stored, size := uint64(binary.LittleEndian.Uint32(head[18:])), uint64(binary.LittleEndian.Uint32(head[22:]))
		name, extra := uint64(binary.LittleEndian.Uint16(head[26:])), uint64(binary.LittleEndian.Uint16(head[28:]))
		if size == 0xffffffff || stored == 0xffffffff || extra > 0 || binary.LittleEndian.Uint16(head[6:])&8 != 0 {
			t.Fatalf("at %d is a header with %d bytes of extra fields", at, extra)
		}
		names = append(names, string(head[30:30+name]))
		at += 30 + name + stored
	}
}
