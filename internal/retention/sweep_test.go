package retention_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
	"lifeboat/internal/zipfmt"
)

// at returns options with a clock that stands that long after now.
func (w *world) at(later time.Duration) retention.Options {
	return retention.Options{Holder: "test", Links: w.links, Clock: func() time.Time { return time.Now().Add(later) }}
}

func (w *world) prune(later time.Duration) retention.Pruned {
	w.t.Helper()
	pruned, err := retention.Prune(w.t.Context(), w.Vault, "photos", w.at(later))
	if err != nil {
		w.t.Fatal(err)
	}
	return pruned
}

// condemned returns how many objects wait for their end.
func (w *world) condemned() int {
	w.t.Helper()
	var file struct {
		Objects []struct{ Key string } `json:"objects"`
	}
	if _, err := w.GetJSON(w.t.Context(), vault.Condemned("photos"), &file); err != nil && failure.KindOf(err) != failure.NotFound {
		w.t.Fatal(err)
	}
	return len(file.Objects)
}

// TestTwoPhases: a deletion condemns; what is condemned goes in a sweep a day later, and not before.
func TestTwoPhases(t *testing.T) {
	w := newWorld(t)
	freed, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.at(0))
	if err != nil || freed.Packs != 0 || freed.Condemned != 1 || freed.CondemnedBytes == 0 || !w.has(w.own) || w.condemned() != 1 {
		t.Fatalf("%+v, %v", freed, err)
	}
	if until := time.Until(freed.Due); until < 23*time.Hour || until > 24*time.Hour || freed.Bytes != w.records["aaaaaa"].Archive.Bytes {
		t.Errorf("due in %s, %d bytes freed", until, freed.Bytes)
	}
	w.gone("aaaaaa")
	for _, later := range []time.Duration{0, time.Hour, 23 * time.Hour} {
		if pruned := w.prune(later); pruned.Packs != 0 || pruned.Condemned != 1 || !w.has(w.own) {
			t.Errorf("after %s: %+v", later, pruned)
		}
	}
	dry := w.at(25 * time.Hour)
	dry.DryRun = true
	before := w.Keys(t)
	if pruned, err := retention.Prune(t.Context(), w.Vault, "photos", dry); err != nil || pruned.Packs != 1 || pruned.Bytes == 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	if diff := cmp.Diff(before, w.Keys(t)); diff != "" {
		t.Error(diff)
	}
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 1 || pruned.Condemned != 0 || w.has(w.own) || !w.has(w.shared) {
		t.Errorf("%+v", pruned)
	}
	if diff := cmp.Diff(retention.Pruned{}, w.prune(50*time.Hour)); diff != "" {
		t.Error(diff)
	}
	w.gone("aaaaaa")
	if _, err := w.delete("bbbbbb"); err != nil {
		t.Fatal(err)
	}
	for _, key := range w.Keys(t) {
		if strings.Contains(key, "condemned") {
			t.Errorf("left behind, though nothing of the source is: %s", key)
		}
	}
}

// TestPardon: a backup that is made between the phases and writes a condemned pack again, or names it, keeps it. A pack
// that is condemned anew waits anew.
func TestPardon(t *testing.T) {
	w := newWorld(t)
	if _, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.at(0)); err != nil {
		t.Fatal(err)
	}
	b := archivetest.New(t, []archivetest.File{{Path: "export.json", Data: []byte("1"), Document: true}})
	b.Header.Backup = archivetest.ID("eeeeee")
	if b.Order[0] != w.own {
		t.Fatal("the same content has another id")
	}
	w.store(b)
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 0 || pruned.Condemned != 0 || !w.has(w.own) {
		t.Fatalf("%+v", pruned)
	}
	w.gone("aaaaaa")
	if _, err := retention.Delete(t.Context(), w.Vault, w.records["eeeeee"], w.at(26*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if pruned := w.prune(49 * time.Hour); pruned.Packs != 0 || pruned.Condemned != 1 {
		t.Errorf("%+v", pruned)
	}
	if pruned := w.prune(51 * time.Hour); pruned.Packs != 1 {
		t.Errorf("%+v", pruned)
	}
}

// store puts a backup of photos into the vault, with its record and without its archive.
func (w *world) store(b *archivetest.Backup) {
	w.t.Helper()
	b.Store(w.t, w.Vault)
	_, sum := b.Manifest(w.t)
	record := catalog.Record{
		ID: b.Header.Backup, Source: "photos", Status: backup.Completed, Started: archivetest.Noon,
		Manifest: catalog.Manifest{Key: string(vault.Manifest("photos", b.Header.Backup)), SHA256: sum.SHA256, Entries: sum.Entries},
	}
	if err := w.catalog.Create(w.t.Context(), record); err != nil {
		w.t.Fatal(err)
	}
	_, letters, _ := strings.Cut(string(record.ID), "-")
	w.records[letters] = record
}

// TestWrittenAgain: an object that is written again after it was condemned is condemned anew.
func TestWrittenAgain(t *testing.T) {
	w := newWorld(t)
	stray := vault.Pack("photos", strings.Repeat("a", 32))
	put := func() {
		t.Helper()
		if _, err := w.Put(t.Context(), stray, []byte("stray"), vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if pruned := w.prune(-48 * time.Hour); pruned.Condemned != 1 { // the object is younger than that
		t.Errorf("%+v", pruned)
	}
	if pruned := w.prune(0); pruned.Packs != 0 || pruned.Condemned != 1 {
		t.Errorf("%+v", pruned)
	}
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 1 || w.has(strings.Repeat("a", 32)) {
		t.Errorf("%+v", pruned)
	}
}

// TestSweepWaits: nothing goes while not everything is known.
func TestSweepWaits(t *testing.T) {
	stray := strings.Repeat("a", 32)
	id := archivetest.ID("dddddd")
	record := func(w *world, status backup.Status) error {
		return w.catalog.Create(t.Context(), catalog.Record{ID: id, Source: "photos", Status: status, Started: time.Now()})
	}
	put := func(w *world, key vault.Key, text string) error {
		_, err := w.Put(t.Context(), key, []byte(text), vault.Always())
		return err
	}
	for name, c := range map[string]struct {
		change func(*world) error
		kind   failure.Kind
	}{
		"a run works":                 {func(w *world) error { return record(w, backup.InProgress) }, failure.Conflict},
		"a run was stopped":           {func(w *world) error { return record(w, backup.Canceled) }, failure.Conflict},
		"a record is damaged":         {func(w *world) error { return put(w, vault.Record("photos", id), "{") }, failure.Corrupt},
		"a record is of a later time": {func(w *world) error { return put(w, vault.Record("photos", id), `{"format":99}`) }, failure.Invalid},
		"a record names no manifest":  {func(w *world) error { return record(w, backup.Partial) }, failure.Corrupt},
		"a manifest is damaged":       {func(w *world) error { return put(w, vault.Manifest("photos", archivetest.ID("bbbbbb")), "x") }, failure.Corrupt},
		"a manifest is gone":          {func(w *world) error { return w.Delete(t.Context(), vault.Manifest("photos", archivetest.ID("bbbbbb"))) }, failure.NotFound},
		"a pack is gone":              {func(w *world) error { return w.Delete(t.Context(), vault.Pack("photos", w.shared)) }, failure.NotFound},
		"an index is damaged":         {func(w *world) error { return put(w, vault.Merge("photos", stray), "{}") }, failure.Corrupt},
		"a manifest is a third one's": {func(w *world) error {
			gz, _ := archivetest.New(t).Manifest(t)
			return put(w, vault.Manifest("photos", archivetest.ID("bbbbbb")), string(gz))
		}, failure.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := errors.Join(put(w, vault.Pack("photos", stray), "stray"), c.change(w)); err != nil {
				t.Fatal(err)
			}
			o := w.at(0)
			o.Now = true
			pruned, err := retention.Prune(t.Context(), w.Vault, "photos", o)
			if err != nil || pruned.Kept == nil || failure.KindOf(pruned.Kept) != c.kind || pruned.Packs != 0 || !w.has(stray) {
				t.Errorf("%+v, %v", pruned, err)
			}
		})
	}
	w := newWorld(t)
	if _, err := w.catalog.Acquire(t.Context(), "photos", catalog.Lease{Run: id, Holder: "another"}, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := retention.Prune(t.Context(), w.Vault, "photos", w.at(0)); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
		t.Errorf("another holds the source: %v", err)
	}
}

// TestDeleteBesideDamage: a backup can be deleted though another one is damaged; no pack goes, and that is said. Who must
// erase is refused.
func TestDeleteBesideDamage(t *testing.T) {
	for name, key := range map[string]func(*world) vault.Key{
		"a pack of another is gone":       func(w *world) vault.Key { return vault.Pack("photos", w.shared) },
		"the manifest of another is gone": func(w *world) vault.Key { return vault.Manifest("photos", w.records["bbbbbb"].ID) },
		"the record of another is damaged": func(w *world) vault.Key {
			key := vault.Record("photos", w.records["bbbbbb"].ID)
			if _, err := w.Put(t.Context(), key, []byte("{"), vault.Always()); err != nil {
				t.Fatal(err)
			}
			return ""
		},
	} {
		w := newWorld(t)
		if key := key(w); key != "" {
			if err := w.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if freed, err := w.delete("aaaaaa"); err == nil || failure.HintOf(err) == "" || freed.Packs != 0 || !w.has(w.own) {
			t.Errorf("%s, at once: %+v, %v", name, freed, err)
		}
		freed, err := retention.Delete(t.Context(), w.Vault, w.records["aaaaaa"], w.at(0))
		if err != nil || freed.Kept == nil || freed.Condemned != 0 || !w.has(w.own) || w.condemned() != 0 {
			t.Errorf("%s: %+v, %v", name, freed, err)
		}
		if strings.Contains(strings.Join(w.Keys(t), " "), "aaaaaa") {
			t.Errorf("%s: something of the backup is left", name)
		}
		if freed, err := w.delete("bbbbbb"); err != nil || w.has(w.own) || w.has(w.shared) { // the damaged one was in the way
			t.Errorf("%s: %+v, %v", name, freed, err)
		}
	}
}

// TestLocked: what the store does not let go stays condemned, and the rest goes.
func TestLocked(t *testing.T) {
	w := newWorld(t)
	for _, letter := range []string{"a", "b"} {
		if err := w.Create(t.Context(), vault.Pack("photos", strings.Repeat(letter, 32)), []byte("stray")); err != nil {
			t.Fatal(err)
		}
	}
	w.prune(0)
	locked := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/packs/photos/aa") {
			return refuse(r)
		}
		return next.RoundTrip(r)
	}
	w.Intercept(locked)
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 1 || pruned.Refused != 1 || pruned.Condemned != 1 {
		t.Errorf("%+v", pruned)
	}
	if freed, err := w.delete("aaaaaa"); failure.KindOf(err) != failure.Denied || freed.Refused != 1 {
		t.Errorf("%+v, %v", freed, err)
	}
	w.Intercept(nil)
	if freed, err := w.delete("aaaaaa"); err != nil || freed.Packs != 1 {
		t.Errorf("%+v, %v", freed, err)
	}
	w.gone("aaaaaa")
}

// big is a backup whose packs are large enough to be merged.
func big(t *testing.T, letters string, seeds ...byte) *archivetest.Backup {
	t.Helper()
	var packs [][]archivetest.File
	for _, seed := range seeds {
		data := make([]byte, vault.MinPart+int(seed))
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
		packs = append(packs, []archivetest.File{{Path: fmt.Sprintf("files/%d", seed), Data: data}})
	}
	b := archivetest.New(t, packs...)
	b.Header.Backup = archivetest.ID(letters)
	return b
}

// intact checks that a backup verifies, and that its bytes are those of its archive.
func (w *world) intact(b *archivetest.Backup) {
	w.t.Helper()
	_, letters, _ := strings.Cut(string(b.Header.Backup), "-")
	report, err := verify.Backup(w.t.Context(), w.Vault, w.records[letters], verify.Options{})
	if err != nil || !report.OK {
		w.t.Errorf("%s does not verify: %v, %v", letters, report.Problems, err)
		return
	}
	image, err := verify.OpenPacks(w.t.Context(), w.Vault, "photos", b.Header.Backup)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := image.Data(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(data, b.Data()) {
		w.t.Errorf("%s has other bytes: %v", letters, err)
	}
	var out bytes.Buffer
	e := b.Entries[len(b.Entries)-1]
	if _, err := verify.Get(w.t.Context(), w.Vault, w.records[letters], e.Path, &out); err != nil || int64(out.Len()) != e.Size {
		w.t.Errorf("get %s of %s: %v", e.Path, letters, err)
	}
	deep, err := verify.Deep(w.t.Context(), w.Vault, "photos", []catalog.Record{w.records[letters]}, nil)
	if err != nil || !deep.OK() {
		w.t.Errorf("%s does not verify deeply: %v, %v", letters, deep.Problems, err)
	}
}

// merge merges the objects behind packs.
func (w *world) merge(ids ...string) manifest.Pack {
	w.t.Helper()
	p, err := pool.Open(w.t.Context(), w.Vault, "photos")
	if err != nil {
		w.t.Fatal(err)
	}
	var uses []pool.Use
	for _, id := range ids {
		uses = append(uses, pool.Use{Pack: w.packOf(id)})
	}
	merged, err := p.Merge(w.t.Context(), w.Vault, p.Objects(uses), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return merged
}

func (w *world) packOf(id string) manifest.Pack {
	w.t.Helper()
	for _, r := range w.records {
		body, _, err := w.Open(w.t.Context(), vault.Manifest(r.Source, r.ID), 0, -1)
		if failure.KindOf(err) == failure.NotFound {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		m, err := manifest.Open(body)
		body.Close()
		if err != nil {
			w.t.Fatal(err)
		}
		if p, ok := m.Packs[id]; ok {
			return p
		}
	}
	w.t.Fatalf("nobody names the pack %s", id)
	return manifest.Pack{}
}

// TestMergedTwice merges packs twice, sweeps, and deletes one backup after the other.
func TestMergedTwice(t *testing.T) {
	w := newWorld(t)
	first, second := big(t, "eeeeee", 1, 2, 3), big(t, "ffffff", 2, 3, 4)
	w.store(first)
	w.store(second)
	inner := w.merge(first.Order[0], first.Order[1])
	outer := w.merge(first.Order[0], first.Order[2])
	w.intact(first)
	w.intact(second)
	if pruned := w.prune(0); pruned.Condemned != 4 { // three packs and the inner merged one
		t.Errorf("%+v", pruned)
	}
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 4 || w.has(inner.ID) || !w.has(outer.ID) || w.has(first.Order[0]) {
		t.Errorf("%+v", pruned)
	}
	w.intact(first)
	w.intact(second)
	if _, err := w.delete("eeeeee"); err != nil || !w.has(outer.ID) {
		t.Errorf("%v", err)
	}
	w.intact(second)
	if freed, err := w.delete("ffffff"); err != nil || freed.Packs != 2 || w.has(outer.ID) { // the outer merged pack and the fourth one
		t.Errorf("%+v, %v", freed, err)
	}
	w.gone("eeeeee", "ffffff")
}

// TestUnprovenMerge: where the store cannot prove a merged pack, what it was made of stays.
func TestUnprovenMerge(t *testing.T) {
	w := newWorld(t)
	b := big(t, "eeeeee", 1, 2)
	w.store(b)
	merged := w.merge(b.Order...)
	data, _, err := w.Get(t.Context(), vault.Pack("photos", merged.ID))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(data)
	bad[100]++
	if _, err := w.Put(t.Context(), vault.Pack("photos", merged.ID), bad, vault.Always()); err != nil {
		t.Fatal(err)
	}
	w.prune(0)
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 0 || pruned.Condemned != 2 || !w.has(b.Order[0]) || !w.has(b.Order[1]) {
		t.Errorf("%+v", pruned)
	}
	if _, err := w.Put(t.Context(), vault.Pack("photos", merged.ID), data, vault.Always()); err != nil {
		t.Fatal(err)
	}
	if pruned := w.prune(25 * time.Hour); pruned.Packs != 2 {
		t.Errorf("%+v", pruned)
	}
	w.intact(b)
}

func refuse(r *http.Request) (*http.Response, error) {
	return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
}

// TestSweepInterrupted fails at each call of a sweep, before and after it took effect, in both phases, and sweeps again.
func TestSweepInterrupted(t *testing.T) {
	data := make([]byte, vault.MinPart)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	b := archivetest.New(t, []archivetest.File{{Path: "files/large", Data: data}}, []archivetest.File{{Path: "files/small", Data: []byte("small")}})
	b.Header.Backup = archivetest.ID("eeeeee")
	prepare := func() *world {
		w := newWorld(t)
		w.store(b)
		w.merge(b.Order...)
		if err := w.Create(t.Context(), vault.Pack("photos", strings.Repeat("a", 32)), []byte("stray")); err != nil {
			t.Fatal(err)
		}
		return w
	}
	undisturbed := prepare()
	undisturbed.prune(0)
	undisturbed.prune(25 * time.Hour)
	want := undisturbed.Keys(t)
	for _, phase := range []time.Duration{0, 25 * time.Hour} {
		for _, after := range []bool{false, true} {
			for n := range vaulttest.Calls(after) {
				w := prepare()
				if phase > 0 {
					w.prune(0)
				}
				calls := w.failAt(n, after)
				_, _ = retention.Prune(t.Context(), w.Vault, "photos", w.at(phase))
				w.Intercept(nil)
				if int(calls.Load()) < n {
					if n < 10 {
						t.Errorf("only %d calls", calls.Load())
					}
					break
				}
				w.intactQuickly(b)
				stale := w.at(phase) // the interrupted one may not have given its lease back
				stale.Stale = func(catalog.Lease) bool { return true }
				for _, later := range []time.Duration{phase, 50 * time.Hour} {
					stale.Clock = func() time.Time { return time.Now().Add(later) }
					if pruned, err := retention.Prune(t.Context(), w.Vault, "photos", stale); err != nil || pruned.Kept != nil {
						t.Errorf("again: %+v, %v", pruned, err)
					}
				}
				if diff := cmp.Diff(want, w.Keys(t)); diff != "" {
					t.Errorf("phase %s, call %d, after %v (-want +got):\n%s", phase, n, after, diff)
				}
				w.intactQuickly(b)
			}
		}
	}
}

// TestSchedule makes random backups, deletions, merges and sweeps, and holds the vault against a model: every backup that
// was not deleted verifies and has its bytes, and at the end nothing is left that nobody needs.
func TestSchedule(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) { schedule(t, rand.New(rand.NewPCG(seed+1, 7))) })
	}
}

func schedule(t *testing.T, random *rand.Rand) {
	w := newWorld(t)
	for _, letters := range []string{"aaaaaa", "bbbbbb"} {
		if _, err := w.delete(letters); err != nil {
			t.Fatal(err)
		}
		delete(w.records, letters)
	}
	delete(w.records, "cccccc")
	alive := map[string]*archivetest.Backup{}
	names := func() []string {
		list := []string{}
		for l := range alive {
			list = append(list, l)
		}
		slices.Sort(list)
		return list
	}
	clock := time.Duration(0)
	made := 0
	backUp := func() {
		letters := strings.Repeat(string(rune('d'+made)), 6)
		made++
		seeds := random.Perm(7)[:1+random.IntN(4)]
		list := make([]byte, len(seeds))
		for i, s := range seeds {
			list[i] = byte(s + 1)
		}
		alive[letters] = big(t, letters, list...)
		w.storeReusing(alive[letters])
	}
	backUp()
	for range 16 {
		what := random.IntN(6)
		switch {
		case what < 2:
			backUp()
		case what == 2 && len(alive) > 0:
			letters := names()[random.IntN(len(alive))]
			o := w.at(clock)
			o.Now = random.IntN(3) == 0
			if _, err := retention.Delete(t.Context(), w.Vault, w.records[letters], o); err != nil {
				t.Fatal(err)
			}
			delete(alive, letters)
			delete(w.records, letters)
		case what == 3 && len(alive) > 0:
			b := alive[names()[random.IntN(len(alive))]]
			w.mergeSome(random, b)
		default:
			clock += time.Duration(random.IntN(30)) * time.Hour
			if pruned := w.prune(clock); pruned.Kept != nil {
				t.Fatal(pruned.Kept)
			}
		}
		for _, letters := range names() {
			w.intactQuickly(alive[letters])
		}
	}
	w.prune(clock)
	w.prune(clock + 25*time.Hour)
	for _, letters := range names() {
		w.intact(alive[letters])
		o := w.at(clock)
		o.Now = true
		if _, err := retention.Delete(context.WithoutCancel(t.Context()), w.Vault, w.records[letters], o); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range w.Keys(t) {
		if strings.Contains(key, "photos") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// storeReusing stores a backup as a run does: it writes only the packs that the pool does not have.
func (w *world) storeReusing(b *archivetest.Backup) {
	w.t.Helper()
	p, err := pool.Open(w.t.Context(), w.Vault, "photos")
	if err != nil {
		w.t.Fatal(err)
	}
	for id, data := range b.Packs {
		if !p.Has(manifest.Pack{ID: id, Bytes: int64(len(data))}) {
			if err := w.Create(w.t.Context(), vault.Pack("photos", id), data); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	gz, sum := b.Manifest(w.t)
	record := catalog.Record{
		ID: b.Header.Backup, Source: "photos", Status: backup.Completed, Started: archivetest.Noon,
		Manifest: catalog.Manifest{Key: string(vault.Manifest("photos", b.Header.Backup)), SHA256: sum.SHA256, Entries: sum.Entries},
	}
	if err := errors.Join(
		w.Create(w.t.Context(), vault.Manifest("photos", b.Header.Backup), gz),
		w.Create(w.t.Context(), vault.Seal("photos", b.Header.Backup), b.Seal(w.t)),
		w.catalog.Create(w.t.Context(), record),
	); err != nil {
		w.t.Fatal(err)
	}
	_, letters, _ := strings.Cut(string(record.ID), "-")
	w.records[letters] = record
}

// mergeSome merges some of the objects behind a backup.
func (w *world) mergeSome(random *rand.Rand, b *archivetest.Backup) {
	w.t.Helper()
	p, err := pool.Open(w.t.Context(), w.Vault, "photos")
	if err != nil {
		w.t.Fatal(err)
	}
	var uses []pool.Use
	for _, id := range b.Order {
		uses = append(uses, pool.Use{Pack: w.packOf(id)})
	}
	objects := p.Objects(uses)
	random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	if objects = objects[:min(len(objects), 2+random.IntN(2))]; len(objects) < 2 {
		return
	}
	if _, err := p.Merge(w.t.Context(), w.Vault, objects, nil); err != nil {
		w.t.Fatal(err)
	}
}

// intactQuickly reads every pack of a backup.
func (w *world) intactQuickly(b *archivetest.Backup) {
	w.t.Helper()
	_, letters, _ := strings.Cut(string(b.Header.Backup), "-")
	deep, err := verify.Deep(w.t.Context(), w.Vault, "photos", []catalog.Record{w.records[letters]}, nil)
	if err != nil || !deep.OK() {
		w.t.Fatalf("%s does not verify deeply: %v, %v", letters, deep.Problems, err)
	}
}

// TestForgedIndex: an index that says of a pack what no manifest says makes nothing garbage that is needed, at once or
// ever. Where only the manifest contradicts it, the sweep waits until a person has looked.
func TestForgedIndex(t *testing.T) {
	for name, change := range map[string]func(*manifest.Pack){
		"size":   func(p *manifest.Pack) { p.Bytes = 100 },
		"CRC-32": func(p *manifest.Pack) { p.CRC32++ },
	} {
		w := newWorld(t)
		b := big(t, "eeeeee", 1, 2)
		w.store(b)
		first, second := w.packOf(b.Order[0]), w.packOf(b.Order[1])
		change(&first)
		forged := pool.Merged{Format: pool.Format, Holds: []pool.Held{{Pack: first}, {Pack: second, Offset: first.Bytes}}}
		forged.Pack = manifest.Pack{
			ID: pool.MergedID([]string{first.ID, second.ID}), Bytes: first.Bytes + second.Bytes,
			CRC32: manifest.CRC(zipfmt.CombineCRC(uint32(first.CRC32), uint32(second.CRC32), second.Bytes)),
		}
		index, err := json.MarshalIndent(forged, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			w.Create(t.Context(), vault.Pack("photos", forged.Pack.ID), make([]byte, forged.Pack.Bytes)),
			w.Create(t.Context(), vault.Merge("photos", forged.Pack.ID), append(index, '\n')),
		); err != nil {
			t.Fatal(err)
		}
		for _, later := range []time.Duration{0, 25 * time.Hour, 50 * time.Hour} {
			o := w.at(later)
			o.Now = later > 0
			pruned, err := retention.Prune(t.Context(), w.Vault, "photos", o)
			doubted := name == "CRC-32" && failure.KindOf(pruned.Kept) == failure.Corrupt && failure.HintOf(pruned.Kept) != ""
			if err != nil || !doubted && (name != "size" || pruned.Kept != nil) {
				t.Errorf("%s: %+v, %v", name, pruned, err)
			}
			for _, id := range b.Order {
				if !w.has(id) {
					t.Errorf("%s, after %s: the pack %s is gone", name, later, id)
				}
			}
		}
	}
}
