package verify_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/verify"
)

// three returns the volumes of a backup in three, by the names that the list of volumes has. change may make them what
// they should not be.
func three(t *testing.T, change func(i int, volume *archivetest.Backup)) map[string][]byte {
	t.Helper()
	whole := archivetest.New(t,
		[]archivetest.File{{Path: "uploads/a", Data: []byte("alpha")}, {Path: "uploads/b", Data: []byte("beta")}},
		[]archivetest.File{{Path: "uploads/c", Data: []byte("gamma")}, {Path: "export.json", Data: []byte(strings.Repeat("{}", 50)), Document: true}},
	)
	cuts := [][]manifest.Entry{whole.Entries[:1], whole.Entries[1:3], whole.Entries[3:]}
	orders := [][]string{whole.Order[:1], whole.Order, whole.Order[1:]}
	all := make([]manifest.VolumeFile, len(cuts))
	for i, entries := range cuts {
		part := *whole
		part.Entries = entries
		all[i] = manifest.VolumeFile{Name: fmt.Sprintf("%s.v%03d.zip", whole.Header.Backup, i+1), Entries: len(entries), Data: int64(len(part.Data()))}
	}
	found := map[string][]byte{}
	for i, entries := range cuts {
		part := *whole
		part.Entries, part.Order = entries, orders[i]
		part.Header.Volume = &manifest.Volume{Number: i + 1, All: append([]manifest.VolumeFile{}, all...)}
		if change != nil {
			change(i, &part)
		}
		found[all[i].Name] = part.Zip(t)
	}
	return found
}

// laid writes volumes into a folder, under a name of their own unless it is empty, and returns the files in order.
func laid(t *testing.T, volumes map[string][]byte, stem string) []string {
	t.Helper()
	folder := t.TempDir()
	paths := make([]string, len(volumes))
	for name, data := range volumes {
		var id string
		var n int
		if _, err := fmt.Sscanf(name, "%23s.v%03d.zip", &id, &n); err != nil {
			t.Fatal(name, err)
		}
		if stem != "" {
			name = fmt.Sprintf("%s.v%03d.zip", stem, n)
		}
		paths[n-1] = filepath.Join(folder, name)
		if err := os.WriteFile(paths[n-1], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func TestOpenVolumes(t *testing.T) {
	for _, stem := range []string{"", "photos", "a.v001.zip"} {
		for i, name := range laid(t, three(t, nil), stem) {
			image, file, err := verify.OpenVolumes(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var visited []string
			report, err := verify.Whole(t.Context(), image, verify.Options{Trusted: trusted(), Visit: func(e manifest.Entry, content io.Reader) error {
				data, err := io.ReadAll(content)
				visited = append(visited, fmt.Sprintf("%s %d", e.Path, len(data)))
				return err
			}})
			if err != nil || !report.OK || report.Signature != manifest.Authenticated || report.Entries != 4 || report.Bytes != 114 || report.Header.Volume != nil {
				t.Fatalf("opened by volume %d: %+v, %v", i+1, report, err)
			}
			want := []string{"uploads/a 5", "uploads/b 4", "uploads/c 5", "export.json 100"}
			if diff := cmp.Diff(want, visited); diff != "" {
				t.Error(diff)
			}
			offset := int64(0)
			for e, err := range verify.Entries(t.Context(), image) {
				if err != nil {
					t.Fatal(err)
				}
				body, err := image.Data(t.Context(), offset)
				if err != nil {
					t.Fatal(err)
				}
				head := make([]byte, e.Zip().LocalSize())
				if _, err := io.ReadFull(body, head); err != nil || string(head) != string(e.Zip().AppendLocal(nil)) {
					t.Errorf("%s does not lie at %d: %v", e.Path, offset, err)
				}
				body.Close()
				offset += e.Zip().LocalSize() + e.StoredSize()
			}
			if rest, err := image.Data(t.Context(), offset); err != nil {
				t.Error(err)
			} else if data, err := io.ReadAll(rest); err != nil || len(data) > 0 {
				t.Errorf("%d bytes behind the data, %v", len(data), err)
			}
			alone, one, err := verify.OpenFile(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			defer one.Close()
			if report, err := verify.Whole(t.Context(), alone, verify.Options{Trusted: trusted()}); err != nil || !report.OK || report.Header.Volume.Number != i+1 {
				t.Errorf("volume %d alone: %+v, %v", i+1, report, err)
			}
		}
	}
}

func TestVolumesMissing(t *testing.T) {
	paths := laid(t, three(t, nil), "photos")
	for _, gone := range []int{0, 2} {
		if err := os.Remove(paths[gone]); err != nil {
			t.Fatal(err)
		}
		_, _, err := verify.OpenVolumes(t.Context(), paths[1])
		if failure.KindOf(err) != failure.NotFound || !strings.Contains(err.Error(), filepath.Base(paths[gone])) || !strings.Contains(err.Error(), "volume 2 of 3") {
			t.Errorf("%v", err)
		}
	}
}

// TestVolumesThatDoNotFit: each volume is whole and signed, but they are not all of one archive.
func TestVolumesThatDoNotFit(t *testing.T) {
	good := three(t, nil)
	first, second := "20261121T120000Z-aaaaaa.v001.zip", "20261121T120000Z-aaaaaa.v002.zip"
	for what, volumes := range map[string]map[string][]byte{
		"another backup": three(t, func(i int, v *archivetest.Backup) {
			if i == 1 {
				v.Header.Name = "another"
			}
		}),
		"another list of volumes": three(t, func(i int, v *archivetest.Backup) {
			if i == 2 {
				v.Header.Volume.All[0].Name = "x.zip"
			}
		}),
		"the same number twice": {first: good[first], second: good[first], "20261121T120000Z-aaaaaa.v003.zip": good["20261121T120000Z-aaaaaa.v003.zip"]},
		"an entry less than listed": three(t, func(i int, v *archivetest.Backup) {
			if i == 1 {
				v.Entries = v.Entries[:1]
			}
		}),
		"the same entry twice": three(t, func(i int, v *archivetest.Backup) {
			v.Header.Volume.All[1] = manifest.VolumeFile{Name: second, Entries: 1, Data: v.Header.Volume.All[0].Data}
			if i == 1 {
				v.Order = v.Order[:1]
				v.Entries = archivetest.New(t, []archivetest.File{{Path: "uploads/a", Data: []byte("alpha")}, {Path: "uploads/b", Data: []byte("beta")}}).Entries[:1]
			}
		}),
		"a size that is wrong": three(t, func(_ int, v *archivetest.Backup) { v.Header.Volume.All[0].Data++ }),
		"a size below zero":    three(t, func(_ int, v *archivetest.Backup) { v.Header.Volume.All[2].Data = -1 }),
		"a huge size":          three(t, func(_ int, v *archivetest.Backup) { v.Header.Volume.All[0].Data = 1 << 62 }),
	} {
		image, file, err := verify.OpenVolumes(t.Context(), laid(t, volumes, "photos")[0])
		if err != nil {
			if failure.KindOf(err) != failure.Corrupt {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		report, err := verify.Whole(t.Context(), image, verify.Options{Trusted: trusted()})
		refused(t, what, report, err)
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestVolumesOutside: names of a stranger's list lead nowhere but beside the file.
func TestVolumesOutside(t *testing.T) {
	v := manifest.Volume{Number: 1, All: []manifest.VolumeFile{{Name: "mine.zip"}, {Name: "../../etc/passwd"}, {Name: "/etc/passwd"}, {Name: ".."}}}
	for _, name := range verify.Volumes("x/mine.zip", v) {
		if filepath.Base(name) != name || name == ".." {
			t.Errorf("%q", name)
		}
	}
	for _, bad := range []manifest.Volume{{Number: 0}, {Number: 7, All: v.All}, {Number: -1, All: v.All[:1]}} {
		volumes := three(t, func(_ int, b *archivetest.Backup) { b.Header.Volume = &bad })
		image, file, err := verify.OpenVolumes(t.Context(), laid(t, volumes, "photos")[0])
		if err == nil {
			report, err := verify.Whole(t.Context(), image, verify.Options{})
			refused(t, fmt.Sprintf("%+v", bad), report, err)
			file.Close()
		} else if kind := failure.KindOf(err); kind != failure.Corrupt {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
