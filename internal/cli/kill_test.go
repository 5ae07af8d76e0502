package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/local"
	"lifeboat/internal/pack"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// exported is an export with rows for objects of these sizes.
func exported(t *testing.T, sizes map[string]int64) []byte {
	t.Helper()
	var e standin.Export
	if err := json.Unmarshal(standin.Sample().Export(), &e); err != nil {
		t.Fatal(err)
	}
	e.Data.Files, e.Data.Thumbnails = nil, []json.RawMessage{}
	for name, size := range sizes {
		row, err := json.Marshal(map[string]any{
			"id": "cm" + name, "createdAt": "2026-03-02T09:00:00.000Z", "deletesAt": nil, "name": name, "originalName": name,
			"size": size, "type": "text/plain", "views": 0, "maxViews": nil, "favorite": false, "password": nil,
			"userId": nil, "folderId": nil,
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Data.Files = append(e.Data.Files, row)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// big is a Zipline whose 52 MB of objects, in four batches, lie in a bucket: every test reads the same ones.
type big struct {
	export []byte
	store  gofakes3.Backend
}

// bigObjects is their number: small ones for two batches, and a large one.
const bigObjects = 32

var theBig = sync.OnceValues(func() (gofakes3.Backend, map[string]int64) {
	now := time.Now().UTC().Truncate(time.Second)
	store, sizes := s3mem.New(s3mem.WithTimeSource(gofakes3.FixedTimeSource(now))), map[string]int64{}
	content := make([]byte, 17<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	if err := store.CreateBucket(context.Background(), "files"); err != nil {
		panic(err) // a fault of this test
	}
	modified := map[string]string{"Last-Modified": now.Format(http.TimeFormat)}
	for n := range bigObjects {
		name, bytes := fmt.Sprintf("file %02d.bin", n), content[n:n+1_100_000]
		if n == bigObjects-1 {
			bytes = content
		}
		sizes[name] = int64(len(bytes))
		if _, err := store.PutObject(context.Background(), "files", name, modified, strings.NewReader(string(bytes)), sizes[name]); err != nil {
			panic(err)
		}
	}
	return store, sizes
})

func newBig(t *testing.T) big {
	t.Helper()
	store, sizes := theBig()
	return big{exported(t, sizes), store}
}

// place is a place of its own with that Zipline, which takes a while for its export; reads counts how often each
// object was read.
func (b big) place(t *testing.T) (p *place, reads func(key string) int) {
	t.Helper()
	zipline := standin.New(standin.Options{Export: func() []byte { return b.export }})
	p = bare(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		zipline.ServeHTTP(w, r)
	}))
	var mutex sync.Mutex
	count := map[string]int{}
	bucket := gofakes3.New(b.store).Server()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			mutex.Lock()
			count[path.Base(r.URL.Path)]++
			mutex.Unlock()
		}
		bucket.ServeHTTP(w, r)
	}))
	t.Cleanup(store.Close)
	p.config("datasource: ./uploads", fmt.Sprintf(
		"datasource: {s3: s3://files, endpoint: %q, region: us-east-1, access-key: env:FILES_KEY, secret-key: env:FILES_SECRET}", store.URL))
	p.env = append(p.env, "FILES_KEY=key", "FILES_SECRET=secret")
	p.asPeopleGetIt()
	return p, func(key string) int {
		mutex.Lock()
		defer mutex.Unlock()
		return count[key]
	}
}

// typical is how long an undisturbed backup takes. It is measured once.
func (b big) typical(t *testing.T) time.Duration {
	t.Helper()
	typicalOnce.Do(func() {
		p, _ := b.place(t)
		began := time.Now()
		p.backup(0)
		typicalLength = time.Since(began)
	})
	if typicalLength == 0 {
		t.Fatal("an undisturbed backup failed")
	}
	return typicalLength
}

var (
	typicalOnce   sync.Once
	typicalLength time.Duration
)

// start starts a backup that is to be disturbed.
func (p *place) start() *exec.Cmd {
	p.Helper()
	cmd := p.command("backup", "photos", "--quiet")
	cmd.Stderr = new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// disturb starts a backup, waits, and disturbs it. Where its record had been closed before, it tries again somewhat
// earlier, in another place.
func (b big) disturb(t *testing.T, wait time.Duration, how func(*place, *exec.Cmd)) (*place, func(string) int, *exec.Cmd) {
	t.Helper()
	for {
		p, reads := b.place(t)
		cmd := p.start()
		time.Sleep(wait)
		how(p, cmd)
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() != 0 && !p.closed() {
			return p, reads, cmd
		}
		if wait /= 2; wait < time.Millisecond {
			t.Fatal("every run ends before it can be disturbed")
		}
	}
}

// begun waits until the place's run has a record, which a busy machine may take long for.
func (p *place) begun() {
	p.Helper()
	for range 3000 {
		if names, _ := filepath.Glob(p.path(records)); len(names) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Fatal("the run made no record")
}

// records is where the place's vault keeps the records of its backups.
const records = "vault/buckets/vault/catalog/backups/photos/*.json"

// closed reports whether a record says that its backup is complete. It looks at the vault's files, since nobody but
// the run may have touched them yet.
func (p *place) closed() bool {
	p.Helper()
	names, err := filepath.Glob(p.path(records))
	if err != nil {
		p.Fatal(err)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		data, err := os.ReadFile(name)
		return err == nil && bytes.Contains(data, []byte(`"status": "completed"`))
	})
}

// copied returns the objects that finished batches of the place's run hold.
func (p *place) copied() []string {
	p.Helper()
	results, err := filepath.Glob(p.path("vault/buckets/vault/snapshots/photos/*/work/*/packed/*.json"))
	if err != nil {
		p.Fatal(err)
	}
	var keys []string
	for _, name := range results {
		var result pack.Result
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &result)
		}
		if err != nil {
			p.Fatalf("%s: %v", name, err)
		}
		for _, e := range result.Entries {
			if !e.Document {
				keys = append(keys, e.Origin.Key)
			}
		}
	}
	return keys
}

// one fails unless the vault holds one completed backup, nothing half, and nothing that was copied twice.
func (p *place) one(reads func(string) int, copied []string) {
	p.Helper()
	for _, key := range copied {
		if n := reads(key); n != 1 {
			p.Errorf("%s was read %d times, though its batch was finished", key, n)
		}
	}
	all := p.list()
	if len(all) != 1 || all[0].Status != "completed" || all[0].Objects != bigObjects || all[0].PackedObjects != bigObjects {
		p.Errorf("backups: %+v", all)
	}
	for _, s := range all {
		p.good(s.ID)
	}
	p.noUploads()
}

// client talks to the place's S3 server, which runs until done is called.
func (p *place) client() (client *s3.Client, done func()) {
	p.Helper()
	_, client, done = p.attached()
	return client, done
}

func (p *place) attached() (server *local.Server, client *s3.Client, done func()) {
	p.Helper()
	server, err := local.Attach(p.Context(), p.path("vault"), nil)
	if err != nil {
		p.Fatal(err)
	}
	access, key := server.Credentials()
	client, err = vault.Connect(p.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: key,
	})
	if err != nil {
		p.Fatal(err)
	}
	return server, client, func() {
		if err := server.Close(); err != nil {
			p.Error(err)
		}
	}
}

// bucket makes buckets in the place's S3 server, and returns its address and the environment with its key.
func (p *place) bucket(names ...string) (address string, env []string, done func()) {
	p.Helper()
	server, client, closeServer := p.attached()
	for _, name := range names {
		if _, err := client.CreateBucket(p.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			p.Fatal(err)
		}
	}
	access, key := server.Credentials()
	return server.URL(), []string{"STORE_KEY=" + access, "STORE_SECRET=" + key.Reveal()}, sync.OnceFunc(closeServer)
}

// upload copies a folder into a bucket of the place's S3 server.
func (p *place) upload(bucket, prefix, folder string) {
	p.Helper()
	client, done := p.client()
	defer done()
	entries, err := os.ReadDir(folder)
	if err != nil {
		p.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			p.Fatal(err)
		}
		key := prefix + entry.Name()
		if _, err := client.PutObject(p.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)}); err != nil {
			p.Fatal(err)
		}
	}
}

// noUploads asks the place's S3 server for multipart uploads.
func (p *place) noUploads() {
	p.Helper()
	client, done := p.client()
	defer done()
	bucket := localBucket
	list, err := client.ListMultipartUploads(p.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil || len(list.Uploads) > 0 {
		p.Errorf("uploads are left: %v %v", err, list)
	}
}

// TestKilled kills a run ten times, at moments spread over its whole length: the same command then makes the one
// backup, and copies nothing again that was finished.
func TestKilled(t *testing.T) {
	t.Parallel()
	heavy(t)
	b := newBig(t)
	length := b.typical(t)
	random := rand.New(rand.NewPCG(20260302, 9))
	for n := range 10 {
		wait := time.Duration((float64(n) + random.Float64()) / 10 * float64(length))
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			p, reads, cmd := b.disturb(t, wait, func(_ *place, cmd *exec.Cmd) { _ = cmd.Process.Kill() })
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
				t.Fatalf("it ended by itself: %v", cmd.ProcessState)
			}
			copied := p.copied()
			t.Logf("killed after %v of %v: %d of %d objects are copied", wait, length, len(copied), bigObjects)
			again := p.run("backup", "photos").exits(0)
			if n := len(copied); n > 0 && n < bigObjects && !regexp.MustCompile(`(?m)^pack +done`).MatchString(again.err) {
				t.Errorf("it went on with packing and showed no progress of it:\n%s", again.err)
			}
			p.one(reads, copied)
		})
	}
}

// TestServerKilled kills only the S3 server: the run goes on with a new one, or says what to do.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	heavy(t)
	b := newBig(t)
	length := b.typical(t)
	for n := range 3 {
		wait := length * time.Duration(n+1) / 4
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			p, reads := b.place(t)
			cmd := p.start()
			time.Sleep(wait)
			for _, pid := range p.servers() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			err := cmd.Wait()
			said := cmd.Stderr.(*bytes.Buffer).String()
			t.Logf("after %v: %v %s", wait, err, said)
			if err != nil {
				result{T: t, args: []string{"backup"}, code: cmd.ProcessState.ExitCode(), err: said}.complains(15)
				p.run("backup", "photos").exits(0)
				return
			}
			p.one(reads, nil)
		})
	}
}

// TestInterrupted: Ctrl-C ends a run in order, and the same command goes on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	heavy(t)
	b := newBig(t)
	p, reads, cmd := b.disturb(t, b.typical(t)/2, func(p *place, cmd *exec.Cmd) {
		p.begun()
		_ = cmd.Process.Signal(os.Interrupt)
	})
	said := cmd.Stderr.(*bytes.Buffer).String()
	result{T: t, args: []string{"backup"}, code: cmd.ProcessState.ExitCode(), err: said}.
		complains(130, "the same command goes on where it stopped")
	stopped := p.list()
	if len(stopped) != 1 || stopped[0].Status != "canceled" {
		t.Errorf("%+v", stopped)
	}
	copied := p.copied()
	r := p.run("backup", "photos").exits(0).says("going on with backup")
	if len(stopped) > 0 && !strings.HasPrefix(r.out, stopped[0].ID) {
		t.Errorf("went on with another backup than %s: %s", stopped[0].ID, r.out)
	}
	p.one(reads, copied)
}
