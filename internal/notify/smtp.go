package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	gomail "github.com/wneessen/go-mail"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/secret"
)

// Deadlines of a delivery: for a step of the conversation, and for all of it.
const (
	smtpStep  = 30 * time.Second
	smtpTotal = 2 * time.Minute
)

// SMTP is a Sender that hands mails to a mail server.
//
// smtps:// speaks TLS from the start (port 465). smtp:// changes to TLS where the server offers it, must do so when
// there is a password (port 587; 25 without one), and stays plain on loopback.
type SMTP struct {
	RootCAs *x509.CertPool // that sign the server's certificate; the system's when nil

	host     string
	port     int
	implicit bool // TLS from the start
	loopback bool
	user     string
	password *secret.String // a pointer: fmt passes over the methods of a field that is not exported
}

// NewSMTP returns the sender of an address smtp://[user:password@]host[:port] or smtps://…, or a Usage error, which
// never holds the address.
func NewSMTP(address secret.String) (*SMTP, error) {
	bad := failure.New(failure.Usage, "the mail server's address is no smtp:// or smtps:// URL").
		WithHint("write smtp://user:password@host:587 or smtps://user:password@host")
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, bad
	}
	s := &SMTP{host: u.Hostname(), implicit: u.Scheme == "smtps", loopback: isLoopback(u.Hostname()), user: u.User.Username()}
	password, _ := u.User.Password()
	s.password = new(secret.New(password))
	switch {
	case u.Port() != "":
		if s.port, err = strconv.Atoi(u.Port()); err != nil || s.port < 1 || s.port > 65535 {
			return nil, bad
		}
	case s.implicit:
		s.port = 465
	case s.user != "":
		s.port = 587
	default:
		s.port = 25
	}
	return s, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Send implements Sender. A server that does not answer, or says "later", is Transient; one that refuses our
// credentials Denied, and one that refuses the mail Invalid, each with the server's own words, escaped.
func (s *SMTP) Send(ctx context.Context, m *Mail) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, smtpTotal)
	defer cancel()
	client, err := gomail.NewClient(s.host, s.options(ctx)...)
	if err != nil {
		return Receipt{}, failure.New(failure.Usage, "set up the mail server %s: %w", s.host, err)
	}
	msg := m.message()
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what comes after the server's yes doesn't matter
		return Receipt{Status: Sent}, nil
	}
	return Receipt{}, s.wrap(ctx, err)
}

// Greet connects to the server, shows it the credentials and leaves. The errors are those of Send.
func (s *SMTP) Greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, smtpTotal)
	defer cancel()
	client, err := gomail.NewClient(s.host, s.options(ctx)...)
	if err != nil {
		return failure.New(failure.Usage, "set up the mail server %s: %w", s.host, err)
	}
	if err := client.DialWithContext(ctx); err != nil {
		return s.wrap(ctx, err)
	}
	_ = client.Close() // it has said what we wanted to know
	return nil
}

func (s *SMTP) options(ctx context.Context) []gomail.Option {
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(smtpStep), gomail.WithTLSConfig(s.tls()), gomail.WithHELO("localhost"),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, dialing, network, address)
		}),
	}
	policy, auth := gomail.TLSOpportunistic, gomail.SMTPAuthNoAuth
	switch {
	case s.loopback && !s.implicit:
		policy = gomail.NoTLS
	case s.user != "" && !s.implicit:
		policy = gomail.TLSMandatory
	}
	if s.user != "" {
		auth = gomail.SMTPAuthAutoDiscover
		if s.loopback && !s.implicit {
			auth = gomail.SMTPAuthPlainNoEnc
		}
		options = append(options, gomail.WithUsername(s.user), gomail.WithPassword(s.password.Reveal()))
	}
	return append(options, gomail.WithTLSPolicy(policy), gomail.WithSMTPAuth(auth))
}

func (s *SMTP) tls() *tls.Config {
	return &tls.Config{ServerName: s.host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
}

// dial returns a connection with a deadline from its first byte on (go-mail sets one only after the greeting), which
// closes when the delivery is canceled.
func (s *SMTP) dial(ctx, dialing context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(smtpStep))
	if !s.implicit {
		return conn, nil
	}
	encrypted := tls.Client(conn, s.tls())
	if err := encrypted.HandshakeContext(dialing); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return encrypted, nil
}

func (s *SMTP) wrap(ctx context.Context, err error) error {
	doing := fmt.Sprintf("send mail through %s", net.JoinHostPort(s.host, strconv.Itoa(s.port)))
	code, words := answer(err)
	var certificate *tls.CertificateVerificationError
	switch {
	case code >= 500 && isAuth(code):
		return failure.New(failure.Denied, "%s: %s", doing, words).WithHint("check user and password of the mail server")
	case code >= 500:
		return failure.New(failure.Invalid, "%s: %s", doing, words)
	case code >= 400:
		return failure.New(failure.Transient, "%s: %s", doing, words)
	case errors.Is(ctx.Err(), context.Canceled):
		return failure.New(failure.Canceled, "%s: %w", doing, ctx.Err())
	case errors.As(err, &certificate):
		return failure.New(failure.Denied, "%s: %s", doing, words).WithHint("the certificate must be valid for %s", s.host)
	case errors.Is(err, gomail.ErrNoSupportedAuthDiscovered), errors.Is(err, gomail.ErrPlainAuthNotSupported):
		return failure.New(failure.Denied, "%s: the server takes no password in a way that is safe", doing).WithHint("use smtps://")
	}
	var dialing *net.OpError
	if errors.As(err, &dialing) && dialing.Op == "dial" {
		words = "the server does not answer"
		if errors.Is(err, syscall.ECONNREFUSED) {
			words += ": connection refused"
		}
	}
	return failure.New(failure.Transient, "%s: %s", doing, words).WithHint("check mail: {smtp: …}, and that the mail server runs")
}

func isAuth(code int) bool { return code == 530 || code == 534 || code == 535 || code == 538 }

// answer returns the server's code, or 0, and what it said, safe to show.
func answer(err error) (int, string) {
	words := err.Error()
	var sending *gomail.SendError
	var speaking *textproto.Error
	code := 0
	switch {
	case errors.As(err, &sending):
		code, words = sending.ErrorCode(), sending.Error()
	case errors.As(err, &speaking):
		code, words = speaking.Code, speaking.Error()
	}
	for _, tail := range []string{", affected recipient(s): ", ", affected message ID: "} {
		words, _, _ = strings.Cut(words, tail)
	}
	return code, plain.Short(words, maxSentence)
}
