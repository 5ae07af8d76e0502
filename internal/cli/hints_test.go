package cli

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTargetFirst: whether a folder may be written is known before an hour of reading, and nothing is left of a restore
// that has written nothing.
func TestTargetFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	id := p.backup(0).ID
	p.write("file", "mine")
	r := p.run("restore", id, "--to", "dir:file/below").complains(11, "is not a folder")
	if strings.Contains(r.err, "verify") {
		t.Errorf("the backup was read first:\n%s", r.err)
	}
	p.run("restore", id, "--to", "dir:new/deep", "--only", "nothing/**").complains(10, "nothing in the backup matches")
	if _, err := os.Stat(p.path("new")); err == nil {
		t.Error("a folder is left of a restore that has written nothing")
	}
	p.run("restore", id, "--to", "./new").complains(2, "say whether it is a folder or a bucket", "write --to dir:./new")
	p.run("restore", id, "--to", "dir:new/deep").exits(0)
	if left, err := filepath.Glob(p.path("new/deep/.lifeboat-*")); len(left) > 0 || err != nil {
		t.Errorf("%v %v", left, err)
	}
	if os.Getuid() != 0 { // root may write anywhere
		p.make("closed")
		if err := os.Chmod(p.path("closed"), 0o500); err != nil {
			t.Fatal(err)
		}
		p.run("restore", id, "--to", "dir:closed/x").complains(12, "may not be written")
		p.run("restore", id, "--to", "dir:closed").complains(12, "may not be written")
	}
}

// TestNoCredentials: a bucket that nobody gave credentials for is denied, in words of ours only.
func TestNoCredentials(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	id := p.backup(0).ID
	p.env = append(p.env, "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=", "AWS_PROFILE=", "HOME="+p.dir)
	p.run("restore", id, "--to", "s3://somewhere").complains(12, "there are no credentials", "--access-key and --secret-key")
	p.config("vault: ./vault", "vault: s3://somewhere")
	p.run("list").complains(12, "there are no credentials", "of vault: in lifeboat.yaml")
}

// TestStrangersKey: who signed is said as it is: by the vault's key, by one that was imported, by nobody known.
func TestStrangersKey(t *testing.T) {
	t.Parallel()
	a, b := newPlace(t), newPlace(t)
	id := a.backup(0).ID
	if out := a.run("verify", id).exits(0).out; !strings.Contains(out, "signed with the key of this vault") {
		t.Error(out)
	}
	a.run("download", id, "-o", b.path("a.zip")).exits(0)
	if r := b.run("restore", "a.zip", "--to", "dir:unknown").exits(0).says("lifeboat: warning: a.zip: nobody whose key is known here signed"); !strings.Contains(r.out, "unknown signer") {
		t.Error(r.out)
	}
	b.write("key", a.run("key", "export").exits(0).out)
	b.run("key", "import", "key").exits(0)
	b.backup(0)
	for _, args := range [][]string{{"verify", "a.zip"}, {"restore", "a.zip", "--to", "dir:known"}} {
		r := b.run(args...).exits(0)
		if !strings.Contains(r.out, "authenticated: signed with the key of vault ") || strings.Contains(r.out, "this vault") || strings.Contains(r.err, "warning") {
			t.Errorf("%s%s", r.out, r.err)
		}
	}
}

// TestUnsupportedZIP: what may be sound and cannot be read is no damage, and what holds nothing is no backup.
func TestUnsupportedZIP(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.zipOf("good.zip", "hello.txt", strings.Repeat("hello ", 100))
	good := string(p.read("good.zip"))
	change := func(name, signature string, offset int, value string) {
		data := []byte(good)
		at := strings.Index(good, signature) + offset
		copy(data[at:], value)
		p.write(name, string(data))
	}
	change("parts.zip", "PK\x05\x06", 4, "\x01\x00\x01\x00")
	p.run("verify", "parts.zip").complains(16, "may be sound, but lifeboat cannot read it", "make a ZIP of it in one file")
	p.run("restore", "parts.zip", "--to", "dir:never", "--trust").complains(16)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a", Method: 14, CompressedSize64: 3, UncompressedSize64: 3, CRC32: 1})
	if err == nil {
		_, err = io.WriteString(w, "abc")
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.write("lzma.zip", b.String())
	p.run("verify", "lzma.zip").complains(16, "method-14")
	p.zipOf("empty.zip")
	p.run("verify", "empty.zip").complains(16, "empty.zip is a ZIP that holds nothing", "make the archive again")
	p.run("restore", "empty.zip", "--to", "dir:never", "--trust").complains(16, "holds nothing")
	if _, err := os.Stat(p.path("never")); err == nil {
		t.Error("something was written")
	}
	p.write("cut.zip", good[:len(good)-30])
	p.run("verify", "cut.zip").complains(13, "was the download complete?")
	if help := p.run("verify", "--help").exits(0).out; !strings.Contains(help, "13 something does not match, or the file is cut") {
		t.Error(help)
	}
}

// TestWhatToType: commands that are nearly right say what is.
func TestWhatToType(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	id := p.backup(0).ID
	p.run("verify", "photos").complains(10, "write photos:latest")
	p.run("download", id, "-o", "uploads").complains(11, "uploads is a folder", "name the file to write")
	p.run("download", id, "-o", "a.zip").exits(0)
	p.run("verify", "a.zip", "--deep").complains(2, "lifeboat verify a.zip reads every byte of it")
	p.run("key", "import", os.DevNull).complains(13, "/dev/null: this is no signing key", "key export")
	r := p.run("--json", "bogus").exits(2)
	var fault struct {
		Type string `json:"message_type"`
		Kind string
	}
	result{T: t, out: r.err}.last(&fault)
	if fault.Type != "error" || fault.Kind != "usage" {
		t.Errorf("%+v", fault)
	}
	p.make("docs")
	p.write("files.yaml", "vault: ./vault\nsources:\n  docs: {kind: files, path: ./docs}\n")
	p.run("-c", "files.yaml", "backup", "docs", "--no-metrics").complains(2, "a source of kind files has none")
	if r := p.run("-c", "files.yaml", "backup", "docs").exits(3); !strings.Contains(r.out, "problem: empty: there is nothing at all in the folder") {
		t.Error(r.out)
	}
	p.write("files.yaml", "vault: ./vault\nsources:\n  docs: {kind: file, path: ./docs}\n  other: {kind: squidex, app: x}\n")
	p.run("-c", "files.yaml", "list").complains2(2, `docs.kind is "file"`, `other.kind is "squidex"`)
}

// complains2 is complains with two sentences.
func (r result) complains2(code int, texts ...string) {
	r.Helper()
	r.exits(code).says(texts...)
	if n := strings.Count(r.err, "\n"); n != 3 {
		r.Errorf("%d lines:\n%s", n, r.err)
	}
}
