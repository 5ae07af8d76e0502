package step_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	filesource "lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/datasource"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/s3model"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

const mib = 1 << 20

// brief says that tests are to show less, in less time: the race detector makes all of it ten times slower.
func brief() bool { return testing.Short() || raced }

// modelled is a world on the modelled store: its application is the bucket "data" of the same store, unless it is told
// another.
type modelled struct {
	*world
	store *s3model.Server
	hook  *hooked
	data  *s3.Client
}

// hooked lets a test answer in the store's place, and counts the bytes of the bucket "data" that it gives out.
type hooked struct {
	next http.RoundTripper
	hook atomic.Pointer[func(r *http.Request) *http.Response]
	read atomic.Int64
}

func (h *hooked) RoundTrip(r *http.Request) (*http.Response, error) {
	if hook := h.hook.Load(); hook != nil {
		if answer := (*hook)(r); answer != nil {
			return answer, nil
		}
	}
	answer, err := h.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/data/") {
		answer.Body = counting{answer.Body, &h.read}
	}
	return answer, err
}

type counting struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func newModelled(t testing.TB, options s3model.Options) *modelled {
	t.Helper()
	m := &modelled{store: s3model.New(options)}
	t.Cleanup(func() {
		if err := m.store.Close(); err != nil {
			t.Error(err)
		}
	})
	m.store.CreateBucket("vault")
	m.store.CreateBucket("data")
	m.hook = &hooked{next: vaulttest.InProcess(m.store)}
	m.world = &world{t: t, told: &told{}, clock: noon, faults: &faults{next: m.hook, bucket: "vault"}}
	m.vault = vault.New(m.client("vault", m.faults), "vault", nil)
	m.data = m.client("source", m.faults)
	source, err := filesource.New(filesource.Options{Bucket: datasource.NewBucket(m.data, "data", ""), Now: func() time.Time { return m.clock }})
	if err != nil {
		t.Fatal(err)
	}
	m.app = source
	m.steps = m.newSteps()
	return m
}

func (m *modelled) client(name string, transport http.RoundTripper) *s3.Client {
	m.t.Helper()
	client, err := vault.Connect(m.t.Context(), vault.Store{
		Endpoint: "http://store.test", Region: "us-east-1", AccessKey: secretOf(name), SecretKey: secretOf("any"), HTTP: &http.Client{Transport: transport},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return client
}

// put stores an object of the application.
func (m *modelled) put(key string, seed uint64, size int64, modified time.Time) {
	m.t.Helper()
	if err := m.store.Put("data", key, modified, s3model.Derived{Seed: seed, Size: size}); err != nil {
		m.t.Fatal(err)
	}
}

// remove deletes an object of the application.
func (m *modelled) remove(key string) {
	m.t.Helper()
	if _, err := m.data.DeleteObject(m.t.Context(), &s3.DeleteObjectInput{Bucket: new("data"), Key: &key}); err != nil {
		m.t.Fatal(err)
	}
}

// good runs a backup that must complete.
func (m *modelled) good(id backup.ID) catalog.Record {
	m.t.Helper()
	outcome, record, err := m.run(id, "")
	if err != nil || record.Status != backup.Completed {
		m.t.Fatalf("%+v, %+v, %v", outcome, record, err)
	}
	return record
}

// bytes returns an object of the vault.
func (m *modelled) bytes(key vault.Key) []byte {
	m.t.Helper()
	body, info, err := m.vault.Open(m.t.Context(), key, 0, -1)
	if err != nil {
		m.t.Fatal(err)
	}
	defer body.Close()
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		m.t.Fatal(key, err)
	}
	return data
}

func trusted(t testing.TB) []ed25519.PublicKey {
	key, err := keyring.Parse([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return []ed25519.PublicKey{key.Public()}
}

// sums returns size and SHA-256 of every object of the vault, but of what differs between runs that do the same.
func (m *modelled) sums() map[string]string {
	m.t.Helper()
	all := map[string]string{}
	for info, err := range m.vault.List(m.t.Context(), "") {
		if err != nil {
			m.t.Fatal(err)
		}
		if info.Key == vault.Condemned("photos") { // says when somebody swept
			continue
		}
		data := m.bytes(info.Key)
		if strings.HasPrefix(string(info.Key), "catalog/") {
			data = volatile.ReplaceAll(data, nil)
		}
		all[string(info.Key)] = fmt.Sprintf("%d bytes of %s", len(data), sumOf(m.t, bytes.NewReader(data)))
	}
	return all
}

// nothingLeft makes sure that nobody works on the source, and nothing lies about.
func (w *world) nothingLeft() {
	w.t.Helper()
	for info, err := range w.vault.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.Contains(string(info.Key), "/work/") || strings.HasPrefix(string(info.Key), "catalog/leases/") {
			w.t.Errorf("left behind: %s", info.Key)
		}
	}
	for u, err := range w.vault.Uploads(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Errorf("an upload of %s was left behind", u.Key)
	}
}

// checked reads every byte of a backup.
func (w *world) checked(record catalog.Record) (verify.Report, error) {
	return verify.Backup(w.t.Context(), w.vault, record, verify.Options{Trusted: trusted(w.t)})
}

func crcOf(data []byte) uint32 { return crc32.ChecksumIEEE(data) }
