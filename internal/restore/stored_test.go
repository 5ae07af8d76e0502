package restore_test

import (
	"crypto/ed25519"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

func backupOf(t *testing.T, paths ...string) *archivetest.Backup {
	var files []archivetest.File
	for _, path := range paths {
		files = append(files, file(path, "content of "+path))
	}
	return archivetest.New(t, files)
}

func (s *scene) stored(trusted ...ed25519.PublicKey) (verify.Report, error) {
	s.Helper()
	return restore.Stored(s.Context(), s.vault.Vault, s.pool(), s.image(), trusted, func(int64, int64) {})
}

func TestStored(t *testing.T) {
	s := newScene(t, mixed(t))
	report, err := s.stored(signers()...)
	if err != nil || !report.OK || report.Signature != manifest.Authenticated || report.Entries != 9 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := s.stored(); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Errorf("an unknown signer: %v", err)
	}
	s.vault.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodHead {
			answer.Header.Del("X-Amz-Checksum-Crc32")
		}
		return answer, err
	})
	if _, err := s.stored(signers()...); failure.KindOf(err) != failure.Invalid || !strings.Contains(failure.HintOf(err), "--check full") {
		t.Errorf("a store without checksums: %v", err)
	}
	s.free()
	first, second := s.backup.Order[0], s.backup.Order[1]
	if err := s.vault.Delete(t.Context(), vault.Pack("photos", first)); err != nil {
		t.Fatal(err)
	}
	other := append([]byte("X"), s.backup.Packs[second][1:]...)
	if _, err := s.vault.Put(t.Context(), vault.Pack("photos", second), other, vault.Always()); err != nil {
		t.Fatal(err)
	}
	report, err = s.stored(signers()...)
	if err != nil || report.OK || report.Total != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// merge joins the packs of the backup to one.
func (s *scene) merge() {
	s.Helper()
	m := pool.Merged{Format: pool.Format}
	var data []byte
	for _, id := range s.backup.Order {
		pack := s.backup.Packs[id]
		m.Holds = append(m.Holds, pool.Held{
			Pack: manifest.Pack{ID: id, Bytes: int64(len(pack)), CRC32: manifest.CRC(crc32.ChecksumIEEE(pack))}, Offset: int64(len(data)),
		})
		data = append(data, pack...)
		if err := s.vault.Delete(s.Context(), vault.Pack("photos", id)); err != nil {
			s.Fatal(err)
		}
	}
	m.Pack = manifest.Pack{ID: pool.MergedID(s.backup.Order), Bytes: int64(len(data)), CRC32: manifest.CRC(crc32.ChecksumIEEE(data))}
	if err := s.vault.Create(s.Context(), vault.Pack("photos", m.Pack.ID), data); err != nil {
		s.Fatal(err)
	}
	if _, err := s.vault.PutJSON(s.Context(), vault.Merge("photos", m.Pack.ID), m, vault.IfAbsent()); err != nil {
		s.Fatal(err)
	}
}

// TestMerged restores from packs that lie in another one.
func TestMerged(t *testing.T) {
	s := newScene(t, mixed(t))
	s.merge()
	report, err := s.stored(signers()...)
	if err != nil || !report.OK {
		t.Errorf("%+v, %v", report, err)
	}
	r, err := s.run(t.Context())
	if err != nil || r.Written != 8 || r.Spliced != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(wantMixed())
}

func TestMergedDamaged(t *testing.T) {
	s := newScene(t, mixed(t))
	s.merge()
	spot, ok := s.pool().Find(s.backup.Order[0])
	if !ok {
		t.Fatal("the pool does not know the merged pack")
	}
	data := make([]byte, spot.Object) // another object of the same size
	if _, err := s.vault.Put(t.Context(), spot.Key, data, vault.Always()); err != nil {
		t.Fatal(err)
	}
	if report, err := s.stored(signers()...); err != nil || report.OK || report.Total != len(s.backup.Order) {
		t.Errorf("%+v, %v", report, err)
	}
	if err := s.vault.Delete(t.Context(), spot.Key); err != nil {
		t.Fatal(err)
	}
	if report, err := s.stored(signers()...); err != nil || report.OK {
		t.Errorf("%+v, %v", report, err)
	}
}
