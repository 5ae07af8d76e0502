package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// bucketGoal adds a Zipline whose files are in a bucket of the store's S3 server to the targets of the place.
func (p *place) bucketGoal(store *place, name string) *goal {
	p.Helper()
	address, env, done := store.bucket(name)
	p.Cleanup(done)
	for _, pair := range env {
		key, value, _ := strings.Cut(pair, "=")
		p.write(name+"-"+key, value+"\n")
	}
	g := &goal{folder: p.TempDir()}
	g.Server = standin.New(standin.Options{Admin: "mara", NoRateLimits: true, Fault: g.note, Storage: standin.Storage{Total: 1 << 40, Available: 1 << 40}})
	listening := httptest.NewServer(g.Server)
	p.Cleanup(listening.Close)
	p.addTarget(fmt.Sprintf("%s: {kind: zipline, url: %q, token: file:./token, datasource: {s3: s3://%[1]s/zip, endpoint: %[3]q, region: us-east-1, access-key: file:./%[1]s-STORE_KEY, secret-key: file:./%[1]s-STORE_SECRET}}",
		name, listening.URL, address))
	return g
}

// TestReplayBucket: the target's files are in a bucket, in the vault's own store, which copies the large ones by itself,
// and in another one.
func TestReplayBucket(t *testing.T) {
	t.Parallel()
	folder, p := recorded(t)
	other := newPlace(t)
	restore := func(name string) restoreMessage { // in another process, which leaves no connection to the stores behind
		return p.run("restore", "latest", "--to", name, "--json", "-q").exits(0).restored()
	}
	for name, store := range map[string]*place{"same-store": p, "other-store": other} {
		g := p.bucketGoal(store, name)
		m := restore(name)
		if m.Written != 62 || len(m.Problems) > 0 || (m.Spliced > 0) != (name == "same-store") {
			t.Errorf("%s: %+v", name, m)
		}
		got := map[string]string{}
		for key, data := range store.objects(name) {
			sum := sha256.Sum256([]byte(data))
			got[strings.TrimPrefix(key, "zip/")] = hex.EncodeToString(sum[:])
		}
		want := sums(t, filepath.Join(folder, "uploads"))
		for key := range want {
			if strings.HasPrefix(key, ".thumbnail.") {
				delete(want, key)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %d objects:\n%s", name, len(got), diff)
		}
		sameTables(t, realRows(t, folder, "mara"), g.rows(t).tables("nobody"), "users")
		if m := restore(name); m.Written != 0 || m.Existing != 62 {
			t.Errorf("%s again: %+v", name, m)
		}
	}
}

// TestReplayInTheWay: a file of the target with another one's name and other bytes, without a row, is never overwritten.
func TestReplayInTheWay(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	p.write("fresh/README.md", "of somebody else")
	m := p.restoreOf(0, "latest", "--to", "fresh")
	if data := string(p.read("fresh/README.md")); data != "of somebody else" {
		t.Errorf("README.md is %q", data)
	}
	if !slices.Contains(named(m.Notes), "renamed README.md") || m.Written != 18 {
		t.Errorf("%d written, notes %q", m.Written, named(m.Notes))
	}
	if string(p.read("fresh/README-2.md")) != string(p.read("uploads/README.md")) {
		t.Error("README-2.md is not what the backup has as README.md")
	}
	got := renamedSample(g.rows(t).tables("nobody"))
	for i, line := range got["files"] {
		got["files"][i] = strings.Replace(line, `"README-2.md" text`, `"README.md" text`, 1)
	}
	slices.Sort(got["files"])
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), got, "users")
}
