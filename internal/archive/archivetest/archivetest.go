// Package archivetest makes small backups for tests, byte by byte and without a store: packs, the manifest, its seal,
// and the archive. The same description gives the same bytes. Only tests import it.
package archivetest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"iter"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Noon is the start of every backup of this package.
var Noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Key signs them. It is no secret.
var Key = ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))

// File is one entry.
type File struct {
	Path     string
	Data     []byte
	Document bool // compressed
	Secret   bool
	Dead     bool // it lies in the pack, and is no entry of this backup
	Modified time.Time
}

// Backup is a backup in memory.
type Backup struct {
	Header  manifest.Header
	Packs   map[string][]byte // by id
	Entries []manifest.Entry
	Order   []string // ids of the packs
}

// New packs the files; each list is one pack.
func New(t testing.TB, packs ...[]File) *Backup {
	t.Helper()
	b := &Backup{
		Packs: map[string][]byte{},
		Header: manifest.Header{
			Backup: "20261121T120000Z-aaaaaa", Source: "photos", Kind: "zipline", Started: Noon, Secrets: true,
			Facts:  app.Facts{Application: "Zipline", Version: "4.4.1", Counts: map[string]int64{"files": 2}},
			Readme: archive.Readme("zipline", "photos", "20261121T120000Z-aaaaaa"),
		},
	}
	for _, files := range packs {
		b.pack(t, files)
	}
	return b
}

func (b *Backup) pack(t testing.TB, files []File) {
	t.Helper()
	var data []byte
	var live []manifest.Entry
	for _, f := range files {
		e, stored := f.entry(t)
		e.Header.Offset = int64(len(data))
		data = append(e.Zip().AppendLocal(data), stored...)
		if !f.Dead {
			live = append(live, e)
		}
	}
	sum := sha256.Sum256(data)
	id := hex.EncodeToString(sum[:16])
	for i := range live {
		live[i].Header.Pack = id
	}
	b.Packs[id], b.Order, b.Entries = data, append(b.Order, id), append(b.Entries, live...)
}

func (f File) entry(t testing.TB) (manifest.Entry, []byte) {
	t.Helper()
	if f.Modified.IsZero() {
		f.Modified = Noon
	}
	sum := sha256.Sum256(f.Data)
	e := manifest.Entry{
		Path: f.Path, Document: f.Document, Secret: f.Secret, Size: int64(len(f.Data)), CRC32: manifest.CRC(crc32.ChecksumIEEE(f.Data)),
		SHA256: hex.EncodeToString(sum[:]), Modified: f.Modified,
	}
	if !f.Document {
		e.Origin = &manifest.Origin{Key: f.Path, Identity: "1", Settled: true}
		return e, f.Data
	}
	var stored bytes.Buffer
	w, err := flate.NewWriter(&stored, flate.BestCompression)
	if err == nil {
		_, err = w.Write(f.Data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	e.Deflated = &manifest.Deflated{Size: int64(stored.Len()), CRC32: manifest.CRC(crc32.ChecksumIEEE(stored.Bytes()))}
	return e, stored.Bytes()
}

// Manifest returns the compressed manifest.
func (b *Backup) Manifest(t testing.TB) ([]byte, manifest.Sum) {
	t.Helper()
	var out bytes.Buffer
	m, err := manifest.NewWriter(&out, b.Header)
	for _, id := range b.Order {
		if err == nil {
			err = m.Pack(manifest.Pack{ID: id, Bytes: int64(len(b.Packs[id])), CRC32: manifest.CRC(crc32.ChecksumIEEE(b.Packs[id]))})
		}
	}
	for _, e := range b.Entries {
		if err == nil {
			err = m.Entry(e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, err := m.Close()
	if err != nil {
		t.Fatal(err)
	}
	sum.Compressed = int64(out.Len())
	return out.Bytes(), sum
}

// Seal returns lifeboat/backup.json.
func (b *Backup) Seal(t testing.TB) []byte {
	t.Helper()
	gz, sum := b.Manifest(t)
	m, err := manifest.Open(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, sum, m.RawHeader)
}

func sign(t testing.TB, sum manifest.Sum, rawHeader []byte) []byte {
	t.Helper()
	seal, err := manifest.Sign(Key, sum, rawHeader)
	if err != nil {
		t.Fatal(err)
	}
	return seal
}

// All yields the entries.
func (b *Backup) All() iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for _, e := range b.Entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Data returns the bytes of the archive before its tail.
func (b *Backup) Data() []byte {
	var data []byte
	for _, e := range b.Entries {
		pack, body := b.Packs[e.Header.Pack], e.Body()
		data = append(data, pack[e.Header.Offset:e.Header.Offset+e.Zip().LocalSize()]...)
		data = append(data, b.Packs[body.Pack][body.Offset:body.Offset+e.StoredSize()]...)
	}
	return data
}

// Tail returns the bytes of the archive after its data.
func (b *Backup) Tail(t testing.TB, data int64) []byte {
	t.Helper()
	gz, sum := b.Manifest(t)
	tail := archive.Tail{
		Seal: b.Seal(t), Readme: b.Header.Readme, Started: b.Header.Started, Data: data,
		List: archive.CompressedDoc{Size: sum.Bytes, CRC32: sum.CRC32, Gzip: bytes.NewReader(gz), Length: sum.Compressed, Sealed: sum.Deflated},
	}
	var out bytes.Buffer
	if err := tail.Write(&out, b.All()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Zip returns the archive.
func (b *Backup) Zip(t testing.TB) []byte {
	t.Helper()
	data := b.Data()
	return append(data, b.Tail(t, int64(len(data)))...)
}

// ZipWith returns the archive of a backup without entries, with other text in place of the manifest's lines; all that
// does not look into the text agrees with it.
func (b *Backup) ZipWith(t testing.TB, text []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	gz, err := gzip.NewWriterLevel(&file, gzip.BestSpeed)
	if err == nil {
		_, err = gz.Write(text)
	}
	if err == nil {
		err = gz.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(text)
	sum := manifest.Sum{SHA256: hex.EncodeToString(digest[:]), CRC32: crc32.ChecksumIEEE(text), Bytes: int64(len(text)), Compressed: int64(file.Len())}
	sum.Deflated = manifest.CRC(crc32.ChecksumIEEE(file.Bytes()[manifest.GzipHeader : file.Len()-manifest.GzipTrailer]))
	tail := archive.Tail{
		Seal: sign(t, sum, []byte("{}")), Readme: b.Header.Readme, Started: b.Header.Started,
		List: archive.CompressedDoc{Size: sum.Bytes, CRC32: sum.CRC32, Gzip: &file, Length: sum.Compressed, Sealed: sum.Deflated},
	}
	var out bytes.Buffer
	if err := tail.Write(&out, func(func(manifest.Entry, error) bool) {}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Objects returns what a vault holds of the backup, the archive too.
func (b *Backup) Objects(t testing.TB) map[vault.Key][]byte {
	t.Helper()
	source, id := b.Header.Source, b.Header.Backup
	gz, _ := b.Manifest(t)
	objects := map[vault.Key][]byte{vault.Manifest(source, id): gz, vault.Seal(source, id): b.Seal(t), vault.Archive(source, id): b.Zip(t)}
	for id, data := range b.Packs {
		objects[vault.Pack(source, id)] = data
	}
	return objects
}

// Store writes the backup into a vault, but for its archive; what is there already stays.
func (b *Backup) Store(t testing.TB, v *vault.Vault) {
	t.Helper()
	for key, data := range b.Objects(t) {
		if key == vault.Archive(b.Header.Source, b.Header.Backup) {
			continue
		}
		if err := v.Create(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
}

// StoreArchive writes the archive into a vault.
func (b *Backup) StoreArchive(t testing.TB, v *vault.Vault) {
	t.Helper()
	if err := v.Create(t.Context(), vault.Archive(b.Header.Source, b.Header.Backup), b.Zip(t)); err != nil {
		t.Fatal(err)
	}
}

// ID returns an id of a run.
func ID(letters string) backup.ID { return backup.ID("20261121T120000Z-" + letters) }

// Golden returns the backup whose archive is internal/archive/testdata/golden-1.zip, the worked example of FORMAT.md.
func Golden(t testing.TB) *Backup {
	b := New(t,
		[]File{
			{Path: "uploads/a.txt", Data: []byte("alpha")},
			{Path: "uploads/gone.txt", Data: []byte("of an older backup"), Dead: true},
			{Path: "uploads/ü.txt", Data: []byte("beta\n"), Modified: time.Date(2025, 2, 3, 4, 5, 7, 890, time.UTC)},
			{Path: "uploads/none/"},
		},
		[]File{{Path: "export.json", Data: bytes.Repeat([]byte(`{"files":[]}`), 8), Document: true, Secret: true}},
	)
	b.Header.Facts = app.Facts{Application: "Zipline", Version: "4.4.1"}
	b.Header.Readme = "This ZIP is a backup of \"photos\", made by lifeboat.\n"
	return b
}
