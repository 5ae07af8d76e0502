package verify_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// TestDeep reads the packs of two backups that share one: in the pool, merged, and damaged where no backup needs them.
func TestDeep(t *testing.T) {
	v := vaulttest.New(t)
	large := func(seed byte) []byte {
		data := make([]byte, vault.MinPart)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
		return data
	}
	dead := []archivetest.File{{Path: "a", Data: large(1)}, {Path: "dead", Data: []byte("no backup needs this"), Dead: true}}
	first := archivetest.New(t, dead, []archivetest.File{{Path: "b", Data: large(2)}})
	second := archivetest.New(t, dead, []archivetest.File{{Path: "c", Data: large(3)}})
	second.Header.Backup = archivetest.ID("bbbbbb")
	first.Store(t, v.Vault)
	second.Store(t, v.Vault)
	records := []catalog.Record{recordOf(t, first), recordOf(t, second)}
	deep := func() verify.DeepReport {
		t.Helper()
		report, err := verify.Deep(t.Context(), v.Vault, "photos", records, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	var bytesOfPacks int64
	all := map[string][]byte{}
	for _, b := range []*archivetest.Backup{first, second} {
		maps.Copy(all, b.Packs)
	}
	for _, data := range all {
		bytesOfPacks += int64(len(data))
	}
	want := verify.DeepReport{Backups: 2, Packs: 3, Objects: 3, Bytes: bytesOfPacks, Damaged: map[backup.ID]int{}}
	if diff := cmp.Diff(want, deep()); diff != "" {
		t.Error(diff)
	}
	// Merged, the shared pack and that of the first lie in one object, which is read once.
	p, err := pool.Open(t.Context(), v.Vault, "photos")
	if err != nil {
		t.Fatal(err)
	}
	merged, err := p.Merge(t.Context(), v.Vault, p.Objects([]pool.Use{{Pack: packOf(t, first, 0)}, {Pack: packOf(t, first, 1)}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range first.Order {
		if err := v.Delete(t.Context(), vault.Pack("photos", id)); err != nil {
			t.Fatal(err)
		}
	}
	want.Objects = 2
	if diff := cmp.Diff(want, deep()); diff != "" {
		t.Error(diff)
	}
	if report, err := verify.Backup(t.Context(), v.Vault, recordOf(t, first), verify.Options{}); err != nil || report.Total != 1 { // it has no archive
		t.Errorf("%+v, %v", report.Problems, err)
	}
	good, _, err := v.Get(t.Context(), vault.Pack("photos", merged.ID))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[bytes.Index(bad, []byte("no backup needs this"))]++
	put(t, v, vault.Pack("photos", merged.ID), bad)
	report := deep()
	if len(report.Problems) != 1 || report.Problems[0].Item != "pack "+first.Order[0] || report.Damaged[first.Header.Backup] != 1 || report.Damaged[second.Header.Backup] != 1 {
		t.Errorf("dead bytes are damaged: %+v", report)
	}
	if text := report.Problems[0].Message; !strings.Contains(text, string(first.Header.Backup)) || !strings.Contains(text, string(second.Header.Backup)) {
		t.Error(text)
	}
	put(t, v, vault.Pack("photos", merged.ID), good)
	if report := deep(); !report.OK() {
		t.Errorf("%+v", report)
	}
	// A pack that is cut off, and one that is gone.
	alone := vault.Pack("photos", second.Order[1])
	put(t, v, alone, second.Packs[second.Order[1]][:100])
	if report := deep(); len(report.Problems) != 1 || report.Damaged[second.Header.Backup] != 1 || report.Damaged[first.Header.Backup] != 0 {
		t.Errorf("cut off: %+v", report)
	}
	if err := v.Delete(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	if report := deep(); len(report.Problems) != 1 || !strings.Contains(report.Problems[0].Message, "gone") {
		t.Errorf("gone: %+v", report)
	}
	// A manifest that is not the one of its record, and one that cannot be reached.
	records[1].Manifest.SHA256 = strings.Repeat("0", 64)
	if report := deep(); len(report.Problems) != 1 || report.Problems[0].Item != "manifest" || report.Damaged[second.Header.Backup] != 1 {
		t.Errorf("of another manifest: %+v", report)
	}
	v.Intercept(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	})
	if _, err := verify.Deep(t.Context(), v.Vault, "photos", records, nil); failure.KindOf(err) != failure.Denied {
		t.Errorf("no access: %v", err)
	}
	v.Intercept(nil)
}

func packOf(t *testing.T, b *archivetest.Backup, n int) manifest.Pack {
	t.Helper()
	gz, _ := b.Manifest(t)
	m, err := manifest.Open(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	return m.Packs[b.Order[n]]
}
