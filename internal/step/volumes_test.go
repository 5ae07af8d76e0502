package step_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/manifest"
	"lifeboat/internal/retention"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// splitSize makes several volumes of bulky files, and lets one of them be larger than a volume should be.
const splitSize = 256 << 10

// bulky are files that do not compress: 24 of 40 KB and one of 400 KB.
func bulky() map[string]string {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		return string(data)
	}
	all := map[string]string{"ü:#&.txt": "odd", "empty": ""}
	for n := range 24 {
		all[fmt.Sprintf("%02d.bin", n)] = text(40_000)
	}
	all["huge.bin"] = text(400_000)
	return all
}

// archived makes the first backup of bulky files and returns its record and the files of its archive by name.
func archived(t *testing.T, policy step.Policy) (*world, catalog.Record, map[string]string) {
	t.Helper()
	w := newWorld(t, bulky())
	w.policy = policy
	_, record, err := w.run(firstRun, "")
	if err != nil || record.Status != backup.Completed {
		t.Fatalf("%+v, %v", record, err)
	}
	return w, record, w.archives()
}

func (w *world) archives() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for key, data := range w.contents() {
		if strings.HasPrefix(key, "archives/") {
			found[path.Base(key)] = data
		}
		if strings.Contains(key, "/work/") || strings.HasPrefix(key, "upload") || strings.Contains(key, "leases") {
			w.t.Errorf("left behind: %s", key)
		}
	}
	return found
}

// verified re-reads packs and archive.
func (w *world) verified(record catalog.Record) verify.Report {
	w.t.Helper()
	key, err := keyring.Parse([]byte(testKey))
	if err != nil {
		w.t.Fatal(err)
	}
	report, err := verify.Backup(w.t.Context(), w.vault, record, verify.Options{Trusted: []ed25519.PublicKey{key.Public()}})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// entries returns the contents of a ZIP by name, in its order, without lifeboat's own.
func entries(t *testing.T, data string) (names []string, contents map[string]string) {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	contents = map[string]string{}
	for _, f := range z.File {
		if strings.HasPrefix(f.Name, "lifeboat/") {
			continue
		}
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		names, contents[f.Name] = append(names, f.Name), string(all)
	}
	return names, contents
}

func TestVolumes(t *testing.T) {
	_, _, one := archived(t, step.Policy{})
	wantNames, want := entries(t, one[string(firstRun)+".zip"])
	w, record, split := archived(t, step.Policy{Split: splitSize})
	a := record.Archive
	if len(a.Volumes) < 5 || len(a.Volumes) != len(split) || a.Key != a.Volumes[0].Key || a.CRC32 != a.Volumes[0].CRC32 || a.Split != splitSize {
		t.Fatalf("%+v", a)
	}
	var names []string
	contents, total := map[string]string{}, int64(0)
	folder := t.TempDir()
	for i, v := range a.Files() {
		if v.Key != string(vault.ArchiveVolume("photos", firstRun, i+1)) {
			t.Errorf("volume %d lies at %s", i+1, v.Key)
		}
		data := split[path.Base(v.Key)]
		total += v.Bytes
		if int64(len(data)) != v.Bytes {
			t.Errorf("%s has %d bytes, the record says %d", v.Key, len(data), v.Bytes)
		}
		here, held := entries(t, data)
		if v.Bytes > splitSize && len(here) != 1 {
			t.Errorf("%s has %d bytes and %d entries", v.Key, v.Bytes, len(here))
		}
		names = append(names, here...)
		maps.Copy(contents, held)
		file := filepath.Join(folder, path.Base(v.Key))
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		opensEverywhere(t, file)
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("order (-one file +volumes): %s", diff)
	}
	if len(want) != len(bulky())+1 || !cmp.Equal(want, contents) {
		t.Errorf("the volumes hold %d entries, one file %d, or other bytes", len(contents), len(want))
	}
	if total != a.Bytes {
		t.Errorf("the volumes have %d bytes, the record says %d", total, a.Bytes)
	}
	if len(record.Notes) != 1 || record.Notes[0].Kind != "volume" {
		t.Errorf("nobody says that a volume is too large: %+v", record.Notes)
	}
	if report := w.verified(record); !report.OK || report.Signature != manifest.Authenticated || report.Entries != len(want) {
		t.Errorf("%+v", report)
	}
}

// opensEverywhere opens a ZIP with every foreign reader of this machine.
func opensEverywhere(t *testing.T, file string) {
	t.Helper()
	for _, reader := range [][]string{{"unzip", "-tqq", file}, {"7z", "t", file}, {"python3", "-m", "zipfile", "-t", file}} {
		if _, err := exec.LookPath(reader[0]); err != nil {
			t.Logf("%s is not on this machine", reader[0])
			continue
		}
		if out, err := exec.Command(reader[0], reader[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(reader, " "), err, out)
		}
	}
}

// TestArchiveAgain: an archive has the same bytes whenever it is made: by its run, again, on demand, or after it has
// expired and the source has changed meanwhile.
func TestArchiveAgain(t *testing.T) {
	for _, split := range []int64{0, splitSize} {
		t.Run(fmt.Sprintf("split %d", split), func(t *testing.T) {
			always, first, want := archived(t, step.Policy{Split: split})
			onDemand, record, none := archived(t, step.Policy{Split: split, OnDemand: true})
			if len(none) > 0 || record.Archive.Key != "" || len(record.Archive.Files()) > 0 || !record.Archive.Made.IsZero() || !record.Archive.Expired.IsZero() {
				t.Errorf("made on demand, and there: %+v", record.Archive)
			}
			if report := onDemand.verified(record); !report.OK {
				t.Errorf("%+v", report.Problems)
			}
			same := func(what string, w *world) catalog.Record {
				t.Helper()
				record, err := w.steps.MakeArchive(t.Context(), "photos", firstRun)
				if err != nil {
					t.Fatal(what, err)
				}
				if got := w.archives(); !cmp.Equal(want, got) {
					t.Errorf("%s: %d files, want %d, or other bytes", what, len(got), len(want))
				}
				if diff := cmp.Diff(first.Archive.Files(), record.Archive.Files()); diff != "" || record.Archive.Bytes != first.Archive.Bytes {
					t.Errorf("%s: %s", what, diff)
				}
				if stored, err := catalog.New(w.vault).Record(t.Context(), "photos", firstRun); err != nil || !cmp.Equal(stored.Archive, record.Archive) {
					t.Errorf("%s: the vault has %+v, %v", what, stored.Archive, err)
				}
				if report := w.verified(record); !report.OK {
					t.Errorf("%s: %+v", what, report.Problems)
				}
				return record
			}
			same("again", always)
			same("on demand", onDemand)
			if _, err := retention.Prune(t.Context(), always.vault, "photos", retention.Options{Holder: "test", ExpireArchive: func(catalog.Record) bool { return true }}); err != nil {
				t.Fatal(err)
			}
			expired, err := catalog.New(always.vault).Record(t.Context(), "photos", firstRun)
			if err != nil || len(always.archives()) > 0 || expired.Archive.Key != "" || expired.Archive.Expired.IsZero() || expired.Archive.Bytes != first.Archive.Bytes {
				t.Fatalf("%+v, %v", expired.Archive, err)
			}
			always.clock = always.clock.Add(time.Hour)
			always.policy = step.Policy{Split: 4 * splitSize} // of later backups only
			always.source.set("00.bin", "changed")
			if _, _, err := always.run(secondRun, ""); err != nil {
				t.Fatal(err)
			}
			if err := always.vault.DeleteAll(t.Context(), vault.ArchiveFiles("photos", secondRun)); err != nil {
				t.Fatal(err)
			}
			if again := same("expired", always); !again.Archive.Expired.IsZero() {
				t.Errorf("%+v", again.Archive)
			}
		})
	}
}

// TestArchiveRefuses: no archive of a backup that is none, or while a run works on the source, another one for the same
// archive included.
func TestArchiveRefuses(t *testing.T) {
	w, _, _ := archived(t, step.Policy{OnDemand: true})
	if _, err := w.steps.MakeArchive(t.Context(), "photos", secondRun); failure.KindOf(err) != failure.NotFound {
		t.Errorf("no such backup: %v", err)
	}
	c := catalog.New(w.vault)
	if _, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: secondRun, Holder: "another"}, w.clock, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.steps.MakeArchive(t.Context(), "photos", firstRun); failure.KindOf(err) != failure.Conflict {
		t.Errorf("a run works on it: %v", err)
	}
	if err := c.Release(t.Context(), "photos", secondRun); err != nil {
		t.Fatal(err)
	}
	var second error
	w.faults.arm(0, false, false, nil)
	w.steps.Progress = phases(func(string) {
		other := w.newSteps()
		other.Holder = "test pid 2"
		_, second = other.MakeArchive(t.Context(), "photos", firstRun)
	})
	if _, err := w.steps.MakeArchive(t.Context(), "photos", firstRun); err != nil {
		t.Error(err)
	}
	if failure.KindOf(second) != failure.Conflict {
		t.Errorf("two at the same archive: %v", second)
	}
	if _, err := c.Update(t.Context(), "photos", firstRun, func(r *catalog.Record) error { r.Status = backup.Deleting; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.steps.MakeArchive(t.Context(), "photos", firstRun); err == nil || failure.KindOf(err) == failure.Internal {
		t.Errorf("a backup that goes: %v", err)
	}
}

// phases hears when the work begins.
type phases func(name string)

func (p phases) Phase(name string, _, _ int64) { p(name) }
func (phases) Add(int64, int64)                {}

// TestArchiveKilled kills the making of an archive at every request to the store, before and after it takes effect; the
// same call then makes the very archive.
func TestArchiveKilled(t *testing.T) {
	_, _, want := archived(t, step.Policy{Split: splitSize})
	w, _, _ := archived(t, step.Policy{Split: splitSize, OnDemand: true})
	stride := 13
	if testing.Short() {
		stride = 40
	}
	for n := 1; ; n += stride {
		after := n%2 == 0
		ctx, stop := context.WithCancel(t.Context())
		w.faults.arm(n, after, true, stop)
		_, err := w.newSteps().MakeArchive(ctx, "photos", firstRun)
		fired := w.faults.fired
		w.faults.arm(0, false, false, nil)
		stop()
		if !fired {
			if n < 20 || err != nil {
				t.Errorf("%d requests, %v", n, err)
			}
			return
		}
		w.clock = w.clock.Add(2 * catalog.LeaseTime) // the lease of the dead runs out
		if _, err := w.newSteps().MakeArchive(t.Context(), "photos", firstRun); err != nil {
			t.Fatalf("after request %d was killed (after it: %v): %v", n, after, err)
		}
		if got := w.archives(); !cmp.Equal(want, got) {
			t.Fatalf("after request %d was killed (after it: %v): %d files, want %d, or other bytes", n, after, len(got), len(want))
		}
		if err := w.vault.DeleteAll(t.Context(), vault.ArchiveFiles("photos", firstRun)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFailedRunLeavesNoVolumes: a run that fails after its volumes were joined takes all of them back.
func TestFailedRunLeavesNoVolumes(t *testing.T) {
	w, _, _ := archived(t, step.Policy{Split: splitSize})
	_, err := catalog.New(w.vault).Update(t.Context(), "photos", firstRun, func(r *catalog.Record) error {
		r.Status, r.Archive = backup.InProgress, catalog.Archive{} // as before its seal
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.steps.End(t.Context(), events.Run{ID: firstRun, Source: "photos"}, backup.Failed, catalog.Failure{Kind: "internal"}); err != nil {
		t.Fatal(err)
	}
	for key := range w.contents() {
		if strings.HasPrefix(key, "archives/") || strings.HasPrefix(key, "snapshots/") && !strings.HasSuffix(key, "/findings.jsonl") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// TestVolumesDamaged: what is wrong with a volume, or with how volumes belong together, does not verify.
func TestVolumesDamaged(t *testing.T) {
	w, record, split := archived(t, step.Policy{Split: splitSize})
	put := func(key, data string) {
		t.Helper()
		if _, err := w.vault.Put(t.Context(), vault.Key(key), []byte(data), vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	files := record.Archive.Files()
	key := files[1].Key
	good := split[path.Base(key)]
	flipped := []byte(good)
	flipped[len(flipped)/3] ^= 1
	tail := []byte(good)
	tail[bytes.LastIndex(tail, []byte("PK\x01\x02"))+16] ^= 1
	for what, data := range map[string]string{
		"a byte of an entry": string(flipped), "a byte of its directory": string(tail), "cut off": good[:len(good)-1],
		"the volume before it": split[path.Base(files[0].Key)], "empty": "",
	} {
		put(key, data)
		changed := record
		changed.Archive.Volumes = append([]catalog.Volume{}, files...)
		changed.Archive.Volumes[1].Bytes = int64(len(data)) // the record is not signed
		if report := w.verified(changed); report.OK {
			t.Errorf("%s: it verifies", what)
		}
	}
	if err := w.vault.Delete(t.Context(), vault.Key(key)); err != nil {
		t.Fatal(err)
	}
	if report := w.verified(record); report.OK {
		t.Error("one is gone: it verifies")
	}
	put(key, good)
	if report := w.verified(record); !report.OK {
		t.Errorf("all is back: %+v", report.Problems)
	}
	fewer := record
	fewer.Archive.Volumes = files[:len(files)-1]
	if report := w.verified(fewer); report.OK {
		t.Error("the record names fewer volumes: it verifies")
	}
}

// TestVolumesOfAnotherBackup: volumes that are whole, signed by the same key and belong together, but are of another
// content than the backup.
func TestVolumesOfAnotherBackup(t *testing.T) {
	w, record, _ := archived(t, step.Policy{Split: splitSize})
	files := bulky()
	files["00.bin"] = strings.ToUpper(files["00.bin"])
	other := newWorld(t, files)
	other.policy = w.policy
	_, wrong, err := other.run(firstRun, "")
	if err != nil {
		t.Fatal(err)
	}
	if report := other.verified(wrong); !report.OK {
		t.Fatalf("%+v", report.Problems)
	}
	for name, data := range other.archives() {
		if _, err := w.vault.Put(t.Context(), vault.Key("archives/photos/"+name), []byte(data), vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	record.Archive = wrong.Archive
	if report := w.verified(record); report.OK || !strings.Contains(report.Problems[0].Message, "00.bin") {
		t.Errorf("%+v", report.Problems)
	}
}
