package step_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/pool"
	"lifeboat/internal/retention"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// A flipped bit is found wherever it is: in these tests there is no list of places where it does not matter.

// rot makes an object of the vault one whose bytes the test may change while it lies there. The store keeps no checksum
// of it that could tell.
func (m *modelled) rot(key vault.Key) []byte {
	m.t.Helper()
	data := m.bytes(key)
	if err := m.store.Put("vault", string(key), time.Now(), data); err != nil {
		m.t.Fatal(err)
	}
	return data
}

// flip flips one bit of each of the places in turn, and asks whether somebody has found it.
func flip(t *testing.T, what string, data []byte, places []int, found func() bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(len(data)), 7))
	var missed []string
	for _, at := range places {
		bit := byte(1) << random.IntN(8)
		data[at] ^= bit
		if !found() {
			missed = append(missed, fmt.Sprintf("%d (%q ^ %02x in %q)", at, data[at]^bit, bit, data[max(0, at-20):min(len(data), at+20)]))
		}
		data[at] ^= bit
	}
	if len(missed) > 0 {
		t.Errorf("%s: %d of %d flipped bits were not found: %s", what, len(missed), len(places), strings.Join(missed[:min(len(missed), 20)], "\n"))
	}
	if found() {
		t.Errorf("%s: what was found is still there", what)
	}
}

// every returns each stride-th place of n bytes.
func every(n, stride int) []int {
	var places []int
	for at := 0; at < n; at += stride {
		places = append(places, at)
	}
	return places
}

// inBackup reports whether a verification of the backup finds something.
func (m *modelled) inBackup(record catalog.Record) func() bool {
	return func() bool {
		report, err := m.checked(record)
		return err != nil || !report.OK
	}
}

// frames returns the places of an archive that belong to no body of the application's, and a few of each body.
func frames(t *testing.T, data []byte) []int {
	t.Helper()
	var places []int
	at, names := 0, headers(t, data)
	for _, name := range names {
		if strings.HasPrefix(name, "lifeboat/") {
			break
		}
		header := at + 30 + len(name)
		body := int(data[at+18]) | int(data[at+19])<<8 | int(data[at+20])<<16 | int(data[at+21])<<24
		for ; at < header; at++ {
			places = append(places, at)
		}
		for _, of := range []int{0, body / 3, body - 1} {
			if body > 0 {
				places = append(places, header+of)
			}
		}
		at += body
	}
	for ; at < len(data); at++ {
		places = append(places, at)
	}
	return places
}

// downloaded flips bits of the files of an archive as somebody has them who downloaded them.
func (m *modelled) downloaded(t *testing.T, record catalog.Record, stride int) {
	folder := m.t.TempDir()
	for _, f := range record.Archive.Files() {
		if err := os.WriteFile(filepath.Join(folder, path.Base(f.Key)), m.bytes(vault.Key(f.Key)), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	t.Run("downloaded", func(t *testing.T) {
		for _, f := range record.Archive.Files() {
			name := filepath.Join(folder, path.Base(f.Key))
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			places := frames(t, data)
			before := bytes.Clone(data)
			flip(t, path.Base(name), data, strided(places, stride), func() bool {
				if err := changed(file, before, data); err != nil {
					t.Fatal(err)
				}
				image, closer, err := verify.OpenVolumes(t.Context(), name)
				if err != nil {
					return true
				}
				defer closer.Close()
				report, err := verify.Whole(t.Context(), image, verify.Options{Trusted: trusted(t)})
				return err != nil || !report.OK || report.Signature != "authenticated"
			})
		}
	})
}

func strided(places []int, stride int) []int {
	var some []int
	for i := 0; i < len(places); i += stride {
		some = append(some, places[i])
	}
	return some
}

// changed writes what differs between before and now into a file, and remembers it.
func changed(file *os.File, before, now []byte) error {
	const block = 4 << 10
	for at := 0; at < len(now); at += block {
		end := min(at+block, len(now))
		if bytes.Equal(before[at:end], now[at:end]) {
			continue
		}
		if _, err := file.WriteAt(now[at:end], int64(at)); err != nil {
			return err
		}
		copy(before[at:end], now[at:end])
	}
	return nil
}

// TestFlippedBits: small objects and a compressed document, in one file and in volumes.
func TestFlippedBits(t *testing.T) {
	stride := 1
	if brief() {
		stride = 17
	}
	for _, split := range []int64{0, 3_000} {
		t.Run(fmt.Sprintf("split %d", split), func(t *testing.T) {
			t.Parallel()
			m := newModelled(t, s3model.Options{})
			for n := range 3 {
				m.put(fmt.Sprintf("ü %d", n), uint64(n), int64(n)*70, noon)
			}
			m.put("empty/", 0, 0, noon)
			m.policy = step.Policy{Split: split}
			record := m.good(firstRun)
			if split > 0 && len(record.Archive.Volumes) < 2 {
				t.Fatalf("%+v", record.Archive)
			}
			var keys []vault.Key
			for info, err := range m.vault.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				volumeList := strings.HasPrefix(string(info.Key), string(vault.VolumeLists("photos", firstRun))) // follow from the manifest
				if !volumeList && !strings.HasPrefix(string(info.Key), "catalog/") {
					keys = append(keys, info.Key)
				}
			}
			if len(keys) < 5 {
				t.Fatalf("%q", keys)
			}
			m.downloaded(t, record, stride*int(1+split/200))
			for _, key := range keys {
				t.Run(string(key), func(t *testing.T) {
					data, step := m.rot(key), stride
					if strings.HasPrefix(string(key), "archives/") || split > 0 { // read as if they were downloaded
						step *= 41
					}
					flip(t, string(key), data, every(len(data), step), m.inBackup(record))
				})
			}
		})
	}
}

// merged returns a backup of spliced objects whose packs were merged, and the key of the index.
func merged(t *testing.T) (*modelled, catalog.Record, vault.Key) {
	m := newModelled(t, s3model.Options{})
	m.policy = step.Policy{Floor: 5 * mib}
	m.steps.Merge = pool.Limits{Begin: 1, Hold: 1, Fan: 2}
	m.put("first", 1, 10*mib+5, noon)
	m.good(firstRun)
	m.clock = m.clock.Add(time.Hour)
	m.put("second", 2, 9*mib, noon)
	record := m.good(secondRun)
	if _, err := retention.Prune(t.Context(), m.vault, "photos", retention.Options{Holder: "test", Now: true}); err != nil {
		t.Fatal(err)
	}
	var indexes []vault.Key
	for info, err := range m.vault.List(t.Context(), vault.Packs("photos")) {
		if err != nil {
			t.Fatal(err)
		}
		if vault.IsMerge(info.Key) {
			indexes = append(indexes, info.Key)
		}
	}
	if len(indexes) != 1 {
		t.Fatalf("%q", indexes)
	}
	return m, record, indexes[0]
}

// TestFlippedBitsOfLargePacks: bodies that no process of ours has read, in a merged pack.
func TestFlippedBitsOfLargePacks(t *testing.T) {
	m, record, index := merged(t)
	merge, _, err := m.index(index)
	if err != nil {
		t.Fatal(err)
	}
	places, stride := 40, 1
	if brief() {
		places, stride = 4, 11
	}
	random := rand.New(rand.NewPCG(3, 3))
	for _, key := range []vault.Key{vault.Pack("photos", merge.Pack.ID), vault.Key(record.Archive.Key)} {
		data := m.rot(key)
		list := []int{0, len(data) - 1, 31, int(merge.Holds[1].Offset), int(merge.Holds[1].Offset) - 1, vault.MinPart, vault.MinPart - 1}
		for range places {
			list = append(list, random.IntN(len(data)))
		}
		if key != vault.Key(record.Archive.Key) {
			list = slices.DeleteFunc(list, func(at int) bool { return !m.live(record, merge, at) })
		}
		flip(t, string(key), data, list, m.inBackup(record))
	}
	data := m.rot(index)
	flip(t, string(index), data, every(len(data), stride), func() bool {
		packs, err := pool.Open(t.Context(), m.vault, "photos")
		return err != nil || len(packs.Damaged()) > 0
	})
	flip(t, string(index), data, every(len(data), len(data)/places), m.inBackup(record))
}

// index reads the index of a merged pack.
func (m *modelled) index(key vault.Key) (pool.Merged, string, error) {
	var merge pool.Merged
	etag, err := m.vault.GetJSON(m.t.Context(), key, &merge)
	return merge, etag, err
}

// live reports whether a backup needs a byte of a merged pack: the documents of another backup are none of its.
func (m *modelled) live(record catalog.Record, merge pool.Merged, at int) bool {
	list, body, err := m.open(vault.Manifest("photos", record.ID))
	if err != nil {
		m.t.Fatal(err)
	}
	defer body.Close()
	for e, err := range list.Entries() {
		if err != nil {
			m.t.Fatal(err)
		}
		for _, held := range merge.Holds {
			header, body := int(held.Offset+e.Header.Offset), int(held.Offset+e.Body().Offset)
			if held.ID == e.Header.Pack && at >= header && at < header+int(e.Zip().LocalSize()) ||
				held.ID == e.Body().Pack && at >= body && at < body+int(e.StoredSize()) {
				return true
			}
		}
	}
	return false
}
