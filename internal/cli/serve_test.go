package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// serve runs `lifeboat serve` until the test ends and returns where it answers.
func (p *place) serve() string {
	p.Helper()
	cmd := p.command("serve", "--json", "-q")
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			p.Errorf("serve ended with %v", err)
		}
	})
	var said struct{ Address string }
	line, _ := bufio.NewReader(out).ReadString('\n')
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		p.Fatalf("serve says %q: %v", line, err)
	}
	return "http://" + said.Address
}

// browser is a person's browser that stops at redirects.
type browser struct {
	*testing.T
	client *http.Client
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{
		Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b browser) read(answer *http.Response, err error) (*http.Response, string) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer, string(text)
}

func (b browser) get(address string) (*http.Response, string) {
	b.Helper()
	return b.read(b.client.Get(address))
}

func (b browser) post(address, nonce, code string) (*http.Response, string) {
	b.Helper()
	return b.read(b.client.PostForm(address, url.Values{"nonce": {nonce}, "code": {code}}))
}

var nonceField = regexp.MustCompile(`name="nonce" value="([^"]+)"`)

// expire sets the end of a link to last year.
func (p *place) expire(id string) {
	p.Helper()
	client, done := p.client()
	defer done()
	bucket, key := localBucket, "links/"+id+".json"
	answer, err := client.GetObject(p.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		p.Fatal(err)
	}
	defer answer.Body.Close()
	var state map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&state); err != nil || state["expires"] == nil {
		p.Fatalf("%v: %v", state, err)
	}
	state["expires"] = "2025-11-21T00:00:00Z"
	text, err := json.Marshal(state)
	if err == nil {
		_, err = client.PutObject(p.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(text)})
	}
	if err != nil {
		p.Fatal(err)
	}
}

// TestServe follows a link as a person does: page, code, download; and what becomes of it when it is withdrawn.
func TestServe(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	base := p.serve()
	var made struct {
		ID, Backup, URL, Code string
	}
	p.run("link", "latest", "--json").exits(0).last(&made)
	there, err := url.Parse(made.URL)
	if err != nil || made.Code == "" {
		t.Fatalf("%+v: %v", made, err)
	}
	address := base + there.Path
	b := newBrowser(t)
	var page string
	for range 3 { // looking at it changes nothing
		var answer *http.Response
		if answer, page = b.get(address); answer.StatusCode != 200 || !strings.Contains(page, `name="code"`) {
			t.Fatalf("%s\n%s", answer.Status, page)
		}
	}
	nonce := nonceField.FindStringSubmatch(page)
	if nonce == nil {
		t.Fatalf("no nonce in\n%s", page)
	}
	if answer, _ := b.post(address, nonce[1], "WRONG-CODE"); answer.StatusCode < 400 {
		t.Errorf("a wrong code: %s", answer.Status)
	}
	answer, page := b.post(address, nonce[1], made.Code)
	to, err := answer.Location()
	if err != nil {
		t.Fatalf("%s: %v\n%s", answer.Status, err, page)
	}
	if to.Host != strings.TrimPrefix(base, "http://") {
		t.Errorf("the download is at %s, not at the server's own address", to.Host)
	}
	answer, archive := b.get(to.String())
	_, params, _ := mime.ParseMediaType(answer.Header.Get("Content-Disposition"))
	if want := "photos-" + made.Backup + ".zip"; answer.StatusCode != 200 || params["filename"] != want {
		t.Errorf("%s, file %q, want %q", answer.Status, params["filename"], want)
	}
	p.write("mailed.zip", archive)
	p.run("verify", "mailed.zip").exits(0)

	p.run("unlink", "latest").exits(0)
	if answer, page := b.get(address); answer.StatusCode < 400 || strings.Contains(page, `name="nonce"`) {
		t.Errorf("after unlink: %s", answer.Status)
	}
	if answer, _ := b.post(address, nonce[1], made.Code); answer.StatusCode < 400 {
		t.Errorf("POST after unlink: %s", answer.Status)
	}

	p.run("link", "latest", "--for", "1ms").complains(2, "a minute")
	p.run("link", "latest", "--for", "1m", "--json").exits(0).last(&made)
	there, _ = url.Parse(made.URL)
	p.expire(made.ID)
	if answer, _ := b.get(base + there.Path); answer.StatusCode < 400 {
		t.Errorf("an expired link: %s", answer.Status)
	}
	if answer, _ := b.get(base + "/l/nonsense"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("no link at all: %s", answer.Status)
	}

	p.run("link", "latest", "--direct", "--json").exits(0).last(&made) // the vault's server runs: serve's
	if answer, archive := b.get(made.URL); answer.StatusCode != 200 || len(archive) == 0 {
		t.Errorf("a direct link: %s", answer.Status)
	}
	p.run("list").exits(0)
	p.run("backup", "photos", "-q").exits(0) // beside a running serve
}

// TestAtTheSameTime: a second backup of the source is refused, other commands share the running server.
func TestAtTheSameTime(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	works, arrived, release := *p.handler.Load(), make(chan struct{}, 10), make(chan struct{})
	earlier := p.backup(0)
	p.answer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		works.ServeHTTP(w, r)
	}))
	cmd := p.start()
	<-arrived
	p.run("backup", "photos", "-q").complains(11, "wait for it")
	if count := p.statuses(); count["in progress"] != 1 || count["completed"] != 1 {
		t.Errorf("meanwhile: %v", count)
	}
	p.run("verify", earlier.ID).exits(0)
	p.run("delete", earlier.ID, "-y").complains(11)
	close(release)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the first one: %v %s", err, cmd.Stderr)
	}
	for _, s := range p.list() {
		p.good(s.ID)
	}
}

// TestRemote takes the whole cycle to a vault that is a bucket elsewhere: the S3 server of another place.
func TestRemote(t *testing.T) {
	t.Parallel()
	store, p := newPlace(t), newPlace(t)
	address, env, done := store.bucket("backups", "uploads")
	defer done()
	p.env = append(p.env, env...)
	p.config("vault: ./vault", fmt.Sprintf("vault: {s3: s3://backups, endpoint: %q, region: us-east-1, access-key: env:STORE_KEY, secret-key: env:STORE_SECRET}", address))
	p.config("datasource: ./uploads", fmt.Sprintf("datasource: {s3: s3://uploads/zipline, endpoint: %q, region: us-east-1, access-key: env:STORE_KEY, secret-key: env:STORE_SECRET}", address))
	store.upload("uploads", "zipline/", p.path("uploads"))
	first := p.backup(0)
	if first.Status != "completed" || first.Objects != 20 || first.PackedObjects != 20 {
		t.Errorf("%+v", first)
	}
	second := p.backup(0)
	if second.PackedObjects != 0 || second.Objects != 20 {
		t.Errorf("again: %+v", second)
	}
	p.run("verify", "latest").exits(0)
	p.run("download", "latest", "-o", "photos.zip").exits(0)
	p.readable("photos.zip")
	p.run("restore", first.ID, "--to", "dir:restored").exits(0)
	if n, err := sameFolders(p.path("uploads"), p.path("restored/uploads")); err != nil || n != 20 {
		t.Errorf("%d files: %v", n, err)
	}
	got := p.run("get", "latest", "uploads/README.md").exits(0)
	if want, err := os.ReadFile(p.path("uploads/README.md")); err != nil || got.out != string(want) {
		t.Errorf("get: %d bytes, want %d: %v", len(got.out), len(want), err)
	}
	var direct struct{ URL string }
	p.run("link", "latest", "--direct", "--json").exits(0).last(&direct)
	if answer, archive := newBrowser(t).get(direct.URL); answer.StatusCode != 200 || len(archive) == 0 {
		t.Errorf("a direct link: %s", answer.Status)
	}
	p.run("delete", first.ID, "-y").exits(0)
	p.run("verify", second.ID).exits(0)
	if entries, err := os.ReadDir(p.path("vault")); err == nil {
		t.Errorf("there is a local vault: %v", entries)
	}

	p.env = append(p.env, "STORE_SECRET=wrong")
	p.run("list").complains(12, "credentials")
	p.env = p.env[:len(p.env)-1]
	p.config("s3://backups", "s3://elsewhere")
	p.run("list").complains(10, "elsewhere")
	p.config("s3://elsewhere", "s3://backups")
	done()
	p.run("list").complains(15)
}
