package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
	"lifeboat/internal/secret"
)

// catcher is a mail server that keeps what it gets, or answers RCPT with an error.
type catcher struct {
	refuse error
	user   string // requires this user and the password "pw"

	mu    sync.Mutex
	mails [][]byte
	to    []string
}

func (c *catcher) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{c: c}, nil }

type session struct {
	c  *catcher
	ok bool
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.c.user || password != "pw" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "bad\x1b[31m credentials"}
		}
		s.ok = true
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if s.c.user != "" && !s.ok {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.to = append(s.c.to, to)
	return s.c.refuse
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.mails = append(s.c.mails, data)
	return err
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

func (c *catcher) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mails)
}

func (c *catcher) serve(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	server := smtp.NewServer(c)
	server.Domain, server.AllowInsecureAuth, server.ErrorLog = "localhost", true, log.New(io.Discard, "", 0)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); _ = listener.Close(); <-done })
	return address
}

func newSMTP(t *testing.T, address string) *notify.SMTP {
	t.Helper()
	s, err := notify.NewSMTP(secret.New(address))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSMTP(t *testing.T) {
	c := &catcher{}
	sender := newSMTP(t, "smtp://"+c.serve(t, nil))
	sent, raw := compose(t, partialMessage())
	receipt, err := sender.Send(t.Context(), sent)
	if err != nil || receipt.Status != notify.Sent {
		t.Fatalf("%v, %v", receipt, err)
	}
	if c.count() != 1 || c.to[0] != "anna@example.org" {
		t.Fatalf("%d mails to %q", c.count(), c.to)
	}
	trim := func(b []byte) string { return strings.TrimRight(string(b), "\r\n") }
	if trim(c.mails[0]) != trim(raw) {
		t.Errorf("the server got\n%s", c.mails[0])
	}
}

func TestSMTPWithTLSAndPassword(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	c := &catcher{user: "anna"}
	address := c.serve(t, &tls.Config{Certificates: web.TLS.Certificates})
	sent, _ := compose(t, okMessage())

	sender := newSMTP(t, "smtps://anna:pw@"+address)
	if _, err := sender.Send(t.Context(), sent); failure.KindOf(err) != failure.Denied || failure.HintOf(err) == "" {
		t.Errorf("an unknown certificate: %v", err)
	}
	sender.RootCAs = x509.NewCertPool()
	sender.RootCAs.AddCert(web.Certificate())
	if _, err := sender.Send(t.Context(), sent); err != nil || c.count() != 1 {
		t.Errorf("%v, %d mails", err, c.count())
	}
	wrong := newSMTP(t, "smtps://anna:sesame@"+address)
	wrong.RootCAs = sender.RootCAs
	_, err := wrong.Send(t.Context(), sent)
	if failure.KindOf(err) != failure.Denied || !strings.Contains(fmt.Sprint(err), `bad\x1b[31m credentials`) {
		t.Errorf("a wrong password: %v", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, wrong), "sesame") {
		t.Error("the password shows")
	}
}

func TestSMTPPasswordOnLoopback(t *testing.T) {
	c := &catcher{user: "anna"}
	address := c.serve(t, nil)
	sent, _ := compose(t, okMessage())
	if _, err := newSMTP(t, "smtp://anna:pw@"+address).Send(t.Context(), sent); err != nil {
		t.Error(err)
	}
	if _, err := newSMTP(t, "smtp://"+address).Send(t.Context(), sent); failure.KindOf(err) == failure.Internal || err == nil {
		t.Errorf("without the password: %v", err)
	}
}

func TestSMTPRefusals(t *testing.T) {
	for code, kind := range map[int]failure.Kind{550: failure.Invalid, 530: failure.Denied, 451: failure.Transient} {
		c := &catcher{refuse: &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such\u202e user"}}
		sent, _ := compose(t, okMessage())
		_, err := newSMTP(t, "smtp://"+c.serve(t, nil)).Send(t.Context(), sent)
		if failure.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), `no such\u202e user`) {
			t.Errorf("%d: %v (%v), want %v", code, err, failure.KindOf(err), kind)
		}
	}
}

func TestSMTPDeadServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent, _ := compose(t, okMessage())
	sender := newSMTP(t, "smtp://"+listener.Addr().String())

	ctx, cancel := context.WithCancel(t.Context())
	go func() { // accepts, says nothing, and the run is stopped
		conn, err := listener.Accept()
		if err == nil {
			cancel()
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	if _, err := sender.Send(ctx, sent); failure.KindOf(err) != failure.Canceled {
		t.Errorf("a silent server and a canceled run: %v", err)
	}
	listener.Close()
	if _, err := sender.Send(t.Context(), sent); failure.KindOf(err) != failure.Transient {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestNewSMTPRefuses(t *testing.T) {
	for _, address := range []string{"", "localhost:25", "http://x", "smtp://", "smtp://x:99999", "smtp://x/y", "smtp://u:sesame@x?y=z", "smtp://u:sesame%@x"} {
		_, err := notify.NewSMTP(secret.New(address))
		if failure.KindOf(err) != failure.Usage || strings.Contains(fmt.Sprint(err), "sesame") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestFolder(t *testing.T) {
	folder := notify.Folder{Dir: filepath.Join(t.TempDir(), "var", "mail")}
	sent, raw := compose(t, okMessage())
	for range 2 {
		receipt, err := folder.Send(t.Context(), sent)
		want := filepath.Join(folder.Dir, "20261121T020000Z-abcdef-backup.eml")
		if err != nil || receipt != (notify.Receipt{Status: notify.Written, Detail: want}) {
			t.Fatalf("%v, %v", receipt, err)
		}
		data, err := os.ReadFile(want)
		if err != nil || !bytes.Equal(data, raw) {
			t.Errorf("the file differs: %v", err)
		}
		if info, _ := os.Stat(want); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	sent.Copy = 1
	if receipt, err := folder.Send(t.Context(), sent); err != nil || !strings.HasSuffix(receipt.Detail, "-backup-2.eml") {
		t.Errorf("%v, %v", receipt, err)
	}
	if files, _ := os.ReadDir(folder.Dir); len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (notify.Folder{Dir: file}).Send(t.Context(), sent); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is a file: %v", err)
	}
}
