package notify

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	htmltemplate "html/template"
	"io"
	"net/mail"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

var (
	//go:embed mail.txt.tmpl
	textSource string
	//go:embed mail.html.tmpl
	htmlSource string

	textTemplate = texttemplate.Must(texttemplate.New("text").Parse(textSource))
	htmlTemplate = htmltemplate.Must(htmltemplate.New("html").Parse(htmlSource))
)

const (
	maxAddress = 320 // bytes (RFC 3696 erratum 1690: 64 + 1 + 255, and as much is enough for a display name)
	maxHTML    = 100_000
)

// Mail is a composed mail to one recipient.
type Mail struct {
	Run     backup.ID // or the id of a restore
	Name    string    // of the message within its run
	Copy    int       // 0 for the first recipient of the message, 1 for the second, …
	ID      string    // Message-ID without brackets
	Subject string
	Text    string
	HTML    string

	from, to *mail.Address
	replyTo  *mail.Address
	date     time.Time
	headers  map[gomail.Header]string
}

// Compose renders a letter. The same one gives the same mail. A header value with a line break or another control
// character, or an address that is none, is a Usage error.
func Compose(l Letter) (*Mail, error) {
	d, err := l.draft()
	if err != nil {
		return nil, err
	}
	sent := &Mail{Run: d.run, Name: d.name, Subject: d.content.Subject, date: d.date.In(zone(d.zone))}
	if err := sent.address(d); err != nil {
		return nil, err
	}
	var text, html strings.Builder
	if err := textTemplate.Execute(&text, d.content); err != nil {
		return nil, fmt.Errorf("render the mail of run %s: %w", d.run, err)
	}
	if err := htmlTemplate.Execute(&html, d.content); err != nil {
		return nil, fmt.Errorf("render the mail of run %s: %w", d.run, err)
	}
	if html.Len() >= maxHTML {
		return nil, failure.New(failure.Internal, "the mail of run %s has %d bytes of HTML", d.run, html.Len())
	}
	sent.Text, sent.HTML = text.String(), html.String()
	sent.identify(d)
	return sent, nil
}

func (s *Mail) address(d draft) (err error) {
	if s.from, err = parseAddress("sender", d.from); err != nil {
		return err
	}
	if s.to, err = parseAddress("recipient", d.recipient); err != nil {
		return err
	}
	if d.replyTo != "" {
		s.replyTo, err = parseAddress("reply-to address", d.replyTo)
	}
	return err
}

// identify sets the Message-ID and the headers that tell machines what the mail is.
func (s *Mail) identify(d draft) {
	domain := domainOf(s.from)
	s.ID = fmt.Sprintf("lifeboat.%s.%s.%s@%s", s.Run, s.Name, digest(s.to.Address), domain)
	s.headers = map[gomail.Header]string{
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"List-Id":                  d.list + domain + ">",
		"References":               "<" + d.thread + "@" + domain + ">",
	}
}

// To returns the recipient's address without a display name.
func (s *Mail) To() string { return s.to.Address }

// WriteTo writes the mail as RFC 5322 text.
func (s *Mail) WriteTo(w io.Writer) (int64, error) { return s.message().WriteTo(w) }

// message returns a fresh MIME message: go-mail keeps the outcome of a delivery in it.
func (s *Mail) message() *gomail.Msg {
	boundary := "lifeboat-" + digest(s.ID)
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary(boundary))
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(s.to)
	if s.replyTo != nil {
		msg.ReplyToMailAddress(s.replyTo)
	}
	msg.Subject(s.Subject)
	msg.SetDateWithValue(s.date)
	msg.SetMessageIDWithValue(s.ID)
	for name, value := range s.headers {
		msg.SetGenHeader(name, value)
	}
	msg.SetBodyString(gomail.TypeTextPlain, s.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, s.HTML)
	return msg
}

func parseAddress(what, text string) (*mail.Address, error) {
	if len(text) > 2*maxAddress {
		return nil, failure.New(failure.Usage, "the %s of the mail is longer than %d bytes", what, 2*maxAddress)
	}
	if err := headerSafe(what, text); err != nil {
		return nil, err
	}
	address, err := mail.ParseAddress(text)
	if err != nil || len(address.Address) > maxAddress || strings.ContainsAny(address.Address, "<> \"") {
		return nil, failure.New(failure.Usage, "the %s %q is not one mail address", what, plain.Short(text, maxName)).
			WithHint("write name@example.org or Name <name@example.org>")
	}
	return address, nil
}

// headerSafe refuses what could end a header or hide what it says.
func headerSafe(what, value string) error {
	for _, r := range value {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return failure.New(failure.Usage, "the %s of the mail holds a control character: %s", what, plain.Short(value, maxName))
		}
	}
	if !utf8.ValidString(value) {
		return failure.New(failure.Usage, "the %s of the mail is no UTF-8: %s", what, plain.Short(value, maxName))
	}
	return nil
}

var domainPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?$`)

// domainOf returns the sender's domain, for ids; a reserved one where it has characters that ids don't take.
func domainOf(a *mail.Address) string {
	domain := strings.ToLower(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
	if !domainPattern.MatchString(domain) {
		return "lifeboat.invalid"
	}
	return domain
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
