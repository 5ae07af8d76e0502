package cli

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// remotePlace is a place whose vault is a bucket of the S3 server of another one, with a source docs of kind files.
func remotePlace(t *testing.T) (store, p *place, flags []string) {
	store, p = newPlace(t), newPlace(t)
	address, env, done := store.bucket("backups", "restored", "whole")
	t.Cleanup(done)
	p.env = append(p.env, env...)
	p.write("lifeboat.yaml", fmt.Sprintf(`vault: {s3: s3://backups, endpoint: %q, region: us-east-1, access-key: env:STORE_KEY, secret-key: env:STORE_SECRET}
sources:
  docs: {kind: files, path: ./docs}
`, address))
	p.make("docs")
	p.make("docs/deep")
	for name, data := range docs() {
		p.write("docs/"+name, data)
	}
	return store, p, []string{"--endpoint", address, "--region", "us-east-1", "--access-key", "env:STORE_KEY", "--secret-key", "env:STORE_SECRET"}
}

func docs() map[string]string {
	return map[string]string{
		"a.txt": "alpha", "deep/100% ü.html": "<p>", "empty": "", "big.bin": strings.Repeat("0123456789abcdef", 9<<20/16),
	}
}

// objects returns the contents of a bucket of the place's S3 server.
func (p *place) objects(bucket string) map[string]string {
	p.Helper()
	client, done := p.client()
	defer done()
	list, err := client.ListObjectsV2(p.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		p.Fatal(err)
	}
	found := map[string]string{}
	for _, o := range list.Contents {
		out, err := client.GetObject(p.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: o.Key})
		if err != nil {
			p.Fatal(err)
		}
		data, err := io.ReadAll(out.Body)
		if err != nil {
			p.Fatal(err)
		}
		found[*o.Key] = string(data)
	}
	return found
}

// below puts a prefix before the keys of a map, and a value in the place of one of them.
func below(prefix string, of map[string]string, key, value string) map[string]string {
	all := map[string]string{}
	for k, v := range of {
		all[prefix+k] = v
	}
	if key != "" {
		all[prefix+key] = value
	}
	return all
}

func TestRestoreToBucket(t *testing.T) {
	t.Parallel()
	store, p, flags := remotePlace(t)
	p.run("backup", "docs", "-q").exits(0)
	var m restoreMessage
	p.run("restore", "latest", "--to", "s3://restored/one", "--json", "-q").exits(0).last(&m)
	want := restoreMessage{
		Type: "restore", ID: m.ID, Status: "completed", Backup: m.Backup, Source: "docs", Kind: "files", Bucket: "s3://restored/one", Attempt: 1,
		Started: m.Started, Finished: m.Finished, Check: "full", Signature: "authenticated", Written: 4,
		LeftOut: 1, Bytes: 9<<20 + 8, Spliced: 1, SplicedBytes: 9 << 20, Steps: m.Steps, Notes: []finding{}, Problems: []finding{},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(below("one/", docs(), "", ""), store.objects("restored")); diff != "" {
		t.Error(diff)
	}
	again := p.run("restore", "latest", "--to", "s3://restored/one", "--check", "stored").exits(0)
	if !strings.Contains(again.out, "s3://restored/one: 0 objects written") || !strings.Contains(again.out, "4 were there already") {
		t.Error(again.out)
	}

	// An archive file, without the configuration, beside what somebody else has there.
	p.run("download", "latest", "-q", "-o", "docs.zip").exits(0)
	client, done := store.client()
	defer done()
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("restored"), Key: new("two/a.txt"), Body: strings.NewReader("mine")}); err != nil {
		t.Fatal(err)
	}
	taken := p.run(append([]string{"-c", "none.yaml", "restore", "docs.zip", "-q", "--to", "s3://restored/two"}, flags...)...).exits(3)
	if !strings.Contains(taken.out, "problem: conflict: files/a.txt: ") || !strings.Contains(taken.out, "passed through this machine: the bytes come from a file") {
		t.Error(taken.out)
	}
	both := below("one/", docs(), "", "")
	maps.Copy(both, below("two/", docs(), "a.txt", "mine"))
	if diff := cmp.Diff(both, store.objects("restored")); diff != "" {
		t.Error(diff)
	}

	p.run("restore", "latest", "-q", "--to", "s3://nowhere").complains(10, "there is no bucket nowhere")
	p.env = append(p.env, "WRONG=wrong")
	flags[len(flags)-1] = "env:WRONG"
	p.run(append([]string{"restore", "docs.zip", "-q", "--to", "s3://restored/three"}, flags...)...).complains(12, "s3://restored/three may not be written")
}

// TestRestoreDamagedToBucket: bytes that rotted in the vault reach no bucket.
func TestRestoreDamagedToBucket(t *testing.T) {
	t.Parallel()
	store, p, _ := remotePlace(t)
	p.run("backup", "docs", "-q").exits(0)
	root := store.path("vault/buckets/backups")
	flipped := 0
	err := filepath.WalkDir(filepath.Join(root, "packs"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if at := bytes.Index(data, []byte("0123456789abcdef")); at >= 0 {
			flipped++
			flip(t, name, int64(at)+1000)
		}
		return err
	})
	if err != nil || flipped != 1 {
		t.Fatalf("%d packs hold the file, %v", flipped, err)
	}
	var m restoreMessage
	p.run("restore", "latest", "-q", "--json", "--to", "s3://whole").exits(3).last(&m) // the archive was joined before
	if diff := cmp.Diff(docs(), store.objects("whole")); diff != "" || m.Spliced != 1 {
		t.Errorf("%+v\n%s", m, diff)
	}
	if err := os.RemoveAll(filepath.Join(root, "archives")); err != nil {
		t.Fatal(err)
	}
	id := string(m.Backup) // it is marked now, and "latest" would warn of that
	p.run("restore", id, "-q", "--to", "s3://restored").complains(13, "is damaged", "nothing was written")
	if objects := store.objects("restored"); len(objects) > 0 {
		t.Errorf("written: %v", objects)
	}
	m = restoreMessage{}
	p.run("restore", id, "-q", "--json", "--to", "s3://restored", "--check", "stored").exits(13).last(&m)
	if m.Written != 3 || len(m.Problems) != 1 || m.Problems[0].Item != "files/big.bin" {
		t.Errorf("%+v", m)
	}
	var keys []string
	for key := range store.objects("restored") {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if diff := cmp.Diff([]string{"a.txt", "deep/100% ü.html", "empty"}, keys); diff != "" {
		t.Error(diff)
	}
}
