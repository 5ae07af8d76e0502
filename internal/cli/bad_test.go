package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/emersion/go-smtp"

	"lifeboat/internal/app/zipline/standin"
)

// answering is a Zipline that gives each request for its export this answer.
func answering(status int, kind, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

// changed is the sample's Zipline, whose export is another text.
func changed(change func(export string) string) http.Handler {
	export := change(string(standin.Sample().Export()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("counts") {
			standin.New(standin.Options{Export: standin.Sample().Export}).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, export)
	})
}

// replacing returns the sample's Zipline with a part of its export replaced.
func replacing(t *testing.T, old, with string) http.Handler {
	t.Helper()
	return changed(func(export string) string {
		if !strings.Contains(export, old) {
			t.Fatalf("the export has no %s", old)
		}
		return strings.Replace(export, old, with, 1)
	})
}

func truncated() http.Handler {
	return changed(func(export string) string { return export[:len(export)/2] })
}

// TestBadServer: whatever Zipline answers, a sentence, a hint, an exit code, and the earlier backup stays good.
func TestBadServer(t *testing.T) {
	t.Parallel()
	const page = "<!doctype html><title>Log in</title>"
	p := newPlace(t)
	earlier, works := p.backup(0), *p.handler.Load()
	for _, test := range []struct {
		name    string
		zipline http.Handler
		token   string
		code    int
		says    string
	}{
		{"wrong token", nil, "nonsense", 12, "SUPERADMIN"},
		{"an admin's token", nil, standin.AdminToken, 12, "SUPERADMIN"},
		{"a user's token", nil, standin.UserToken, 12, "SUPERADMIN"},
		{"an empty token", nil, "", 2, "token"},
		{"a web page", answering(200, "text/html", page), "", 16, "web page"},
		{"a web page that says it is JSON", answering(200, "application/json", page), "", 16, "web page"},
		{"not found", answering(404, "application/json", `{"error":"Not Found","statusCode":404}`), "", 16, "4.4.0"},
		{"a gateway's error", answering(502, "text/html", page), "", 15, "Zipline"},
		{"cut JSON", truncated(), "", 16, "the export ends in the middle"},
		{"format 3", replacing(t, `"export":"4"`, `"export":"3"`), "", 16, "3"},
		{"format 7", replacing(t, `"export":"4"`, `"export":"7"`), "", 16, "7"},
		{"another JSON", answering(200, "application/json", `{"hello":"world"}`), "", 16, "export"},
		{"nothing", answering(200, "application/json", ""), "", 16, "url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := p.of(t)
			p.answer(works)
			p.write("token", test.token+"\n")
			if test.zipline != nil {
				p.write("token", standin.SuperAdminToken+"\n")
				p.answer(test.zipline)
			}
			p.run("backup", "photos", "-q").complains(test.code, test.says)
		})
	}
	p.good(earlier.ID)
	if count := p.statuses(); count["completed"] != 1 || len(count) != 2 {
		t.Errorf("backups: %v", count)
	}
}

// TestSilentServer: a server that refuses, or takes the connection and says nothing.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	earlier := p.backup(0)
	p.env = append(p.env, timeVariable+"=200ms")
	release := make(chan struct{})
	works := *p.handler.Load()
	p.answer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	p.run("backup", "photos", "-q").complains(15, "did not answer")
	p.answer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("counts") {
			works.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"versions":{"zipline":"4.6.3","node":"v24","export":"4"},`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	p.run("backup", "photos", "-q").complains(15, "export")
	close(release)
	p.zipline.Close()
	p.run("backup", "photos").complains(15, "can't be reached", "snapshot  ")
	p.good(earlier.ID)
}

// TestBadData: what is wrong with the data is a problem of the backup, which is made all the same.
func TestBadData(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	earlier, works := p.backup(0), *p.handler.Load()
	for _, test := range []struct {
		name, kind string
		change     func(p *place)
	}{
		{"a name with ..", "bad-name", func(p *place) {
			p.answer(replacing(p.T, `"name":"CHANGES.md"`, `"name":"../../etc/passwd"`))
		}},
		{"two rows with one name", "duplicate-name", func(p *place) {
			p.answer(replacing(p.T, `"name":"CHANGES.md"`, `"name":"README.md"`))
		}},
		{"a row without object", "missing", func(p *place) { p.remove("uploads/README.md") }},
		{"an empty folder", "suspicious", func(p *place) {
			p.remove("uploads")
			p.make("uploads")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := p.of(t)
			p.answer(works)
			test.change(p)
			made := p.backup(3)
			kinds := map[string]bool{}
			for _, f := range made.Problems {
				kinds[f.Kind] = true
				if f.Message == "" {
					t.Errorf("%+v has no message", f)
				}
			}
			if made.Status != "partial" || !kinds[test.kind] {
				t.Errorf("%s: %+v", made.Status, made.Problems)
			}
		})
	}
	odd := p.run("backup", "photos", "-q").exits(3).says("lifeboat: warning: ", "lifeboat show ")
	odd.isPlain()
	id, _, _ := strings.Cut(odd.out, "\n")
	if !strings.Contains(odd.out, "lifeboat accept "+id+"\n") {
		t.Error(odd.out)
	}
	if out := p.run("status").exits(3).out; !strings.Contains(out, "suspicious: lifeboat accept "+id) {
		t.Error(out)
	}
	if out := p.run("status", "--json").exits(3).out; !strings.Contains(out, `"accept":"`+id+`"`) {
		t.Error(out)
	}
	p.run("show", "latest").exits(0).says("lifeboat: warning: the newest backup " + id + " is suspicious: `lifeboat accept` says")
	for _, s := range p.list() {
		p.good(s.ID)
	}
	p.run("restore", earlier.ID, "-q", "--to", "dir:restored").exits(0)
}

func (p *place) remove(name string) {
	p.Helper()
	if err := os.RemoveAll(p.path(name)); err != nil {
		p.Fatal(err)
	}
}

func (p *place) make(name string) {
	p.Helper()
	if err := os.Mkdir(p.path(name), 0o755); err != nil {
		p.Fatal(err)
	}
}

// TestBadVault: a folder that is missing, a vault that is newer or damaged.
func TestBadVault(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	earlier := p.backup(0)
	p.config("./uploads", "./upload")
	p.run("backup", "photos", "-q").complains(10, "upload does not exist", "mounted")
	p.good(earlier.ID)

	client, done := p.client()
	text := about(t, client, nil)
	about(t, client, bytes.Replace(text, []byte(`"format": 1`), []byte(`"format": 2`), 1))
	done()
	for _, args := range [][]string{{"backup", "photos", "-q"}, {"list"}, {"verify", "latest"}, {"delete", "latest", "--yes"}} {
		p.run(args...).complains(16, "format 2", "newer lifeboat")
	}
	client, done = p.client()
	about(t, client, text)
	done()
	p.good(earlier.ID)

	flip(t, p.path("vault/buckets/vault/catalog/backups/photos/"+earlier.ID+".json"), 20)
	p.config("./upload", "./uploads")
	p.run("list").exits(13).says("lifeboat: error: 1 record cannot be read", "lifeboat: hint: ", earlier.ID)
	later := p.backup(3)
	if len(later.Problems) != 1 || later.Problems[0].Kind != "previous" {
		t.Errorf("%+v", later.Problems)
	}
	p.run("verify", later.ID).exits(0)
	flip(t, p.path("vault/buckets/vault/vault.json"), 20)
	p.run("list").complains(13, "vault.json")
}

// about returns what vault.json is; another text is written first.
func about(t *testing.T, client *s3.Client, text []byte) []byte {
	t.Helper()
	bucket, key := localBucket, "vault.json"
	if text != nil {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return text
}

// refusing answers every connection as a mail server that wants no mail, and says how many there were.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, "554 no mail here\r\n")
				_, _ = bufio.NewReader(conn).ReadString('\n')
			}()
		}
	}()
	return listener.Addr().String()
}

// TestMailRefused: the backup stays good, and its record says that nobody was told.
func TestMailRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("serve:", "mail: {from: lifeboat@example.com, smtp: smtp://"+refusing(t)+"}\nserve:")
	r := p.run("backup", "photos", "-q").exits(0)
	if !strings.Contains(r.out, "completed") || !strings.Contains(r.out, "nobody was told") {
		t.Errorf("it says %s", r.out)
	}
	shown := p.run("show", "latest").exits(0)
	if !strings.Contains(shown.out, "nobody was told") {
		t.Errorf("it shows %s", shown.out)
	}
	if all := p.list(); len(all) != 1 || all[0].Status != "completed" || all[0].Notified != "failed" {
		t.Errorf("%+v", all)
	}
}

// mailbox is an SMTP server that keeps what it gets.
type mailbox struct {
	address string
	mails   chan string
}

type mailSession struct{ box *mailbox }

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error)   { return &mailSession{b}, nil }
func (s *mailSession) Mail(string, *smtp.MailOptions) error      { return nil }
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error { return nil }
func (s *mailSession) Reset()                                    {}
func (s *mailSession) Logout() error                             { return nil }

func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.box.mails <- string(text)
	return err
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	box := &mailbox{listener.Addr().String(), make(chan string, 10)}
	server := smtp.NewServer(box)
	server.Domain = "localhost"
	t.Cleanup(func() { server.Close() })
	go func() { _ = server.Serve(listener) }()
	return box
}

// TestMailed: the mail arrives once, also for a run that fails.
func TestMailed(t *testing.T) {
	t.Parallel()
	p, box := newPlace(t), newMailbox(t)
	p.config("serve:", "mail: {from: lifeboat@example.com, smtp: smtp://"+box.address+"}\nserve:")
	if made := p.backup(0); made.Link == nil {
		t.Error("no link")
	}
	p.write("token", "nonsense")
	p.run("backup", "photos", "-q").complains(12)
	close(box.mails)
	var subjects []string
	for text := range box.mails {
		message, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
		if err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subject)
	}
	if len(subjects) != 2 || !strings.HasPrefix(subjects[0], "[ok] photos") || !strings.HasPrefix(subjects[1], "[FAILED] photos") {
		t.Errorf("mails: %q", subjects)
	}
}

// TestBadArchive: archives that are damaged, cut, or of another program.
func TestBadArchive(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.backup(0)
	p.run("download", "latest", "-o", "good.zip").exits(0)
	whole, err := os.ReadFile(p.path("good.zip"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/3] ^= 1
	p.write("damaged.zip", string(damaged))
	p.write("cut.zip", string(whole[:len(whole)/2]))
	p.write("empty.zip", "")
	p.write("text.zip", strings.Repeat("no ZIP at all\n", 100))
	for name, code := range map[string]int{"damaged.zip": 13, "cut.zip": 13, "empty.zip": 16, "text.zip": 13} {
		p.run("verify", name, "-q").complains(code)
		p.run("restore", name, "-q", "--to", "dir:never").complains(code)
		var verdict struct {
			OK        bool
			Signature string
			Problems  []finding
		}
		p.run("verify", name, "-q", "--json").exits(code).last(&verdict)
		if verdict.OK || len(verdict.Problems) == 0 {
			t.Errorf("%s: %+v", name, verdict)
		}
	}
	if _, err := os.Stat(p.path("never")); err == nil {
		t.Error("a damaged archive was restored")
	}
	// The vault's own copy.
	flip(t, p.path(filepath.Join("vault/buckets/vault", made.Archive.Key)), 1000)
	p.run("verify", "latest", "-q").complains(13)
	p.run("download", made.ID, "-q", "-o", "again.zip").complains(13, "lifeboat verify")
	if _, err := os.Stat(p.path("again.zip")); err == nil {
		t.Error("a damaged archive was left behind")
	}
}
