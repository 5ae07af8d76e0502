// Package notify tells people how a run ended: it composes one mail per recipient and delivers it at most once as far
// as that can be had.
//
// Compose turns a record of the catalog, the good record before it and a finished link into a mail with a complete
// text part and an HTML part; the same Message gives the same bytes. A Sender carries it: SMTP, or a Folder of .eml
// files. The Outbox keeps, in the vault at outbox/<run>/<message>-<recipient>.json, who sends what: a claim with a
// lease, then the outcome. A crash between sending and noting that repeats the mail under the same Message-ID.
//
// A mail server that refuses never fails a run. The package gets finished URLs and knows nothing of how links work.
package notify

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// Message is everything that one mail says. All text in the record counts as a stranger's.
type Message struct {
	Name     string          // within its run, [a-z0-9-]{1,40}; "backup" when empty
	Record   catalog.Record  // of the run, with its final status
	Previous *catalog.Record // the newest good one of the same source and scope before it; nil for none
	Link     Link            // to the archive; the zero value where nothing serves it
	Prefix   string          // of the subject, at most 60 characters; may be empty
	From     string          // one RFC 5322 address
	ReplyTo  string          // one RFC 5322 address, or empty
	To       string          // one RFC 5322 address
	Zone     *time.Location  // that people read times in, beside UTC; UTC when nil
	Date     time.Time       // of the mail; the end of the run when zero
	Version  string          // of the program that sends
}

// Link is the address of the archive's landing page. It is never a presigned URL.
type Link struct {
	ID        string // for the record; says nothing of the address
	URL       string
	Expires   time.Time
	NeedsCode bool
}

// Recipient is one person and the link made for them.
type Recipient struct {
	Address string
	Link    Link
}

// Policy says which runs send mail.
type Policy string

// The policies. A run that did not complete always sends mail.
const (
	Always    Policy = "always"
	OnProblem Policy = "problem"
	OnChange  Policy = "change" // of the status, from one run to the next
)

// ParsePolicy returns text as a policy, Always when it is empty, or a Usage error.
func ParsePolicy(text string) (Policy, error) {
	switch p := Policy(text); p {
	case "":
		return Always, nil
	case Always, OnProblem, OnChange:
		return p, nil
	}
	return "", failure.New(failure.Usage, "%q is no policy for notifications", text).
		WithHint("use always, problem or change")
}

// Quiet reports whether a run that ended with status, after a run that ended with before ("" for none), sends nothing.
func (p Policy) Quiet(status, before backup.Status) bool {
	if status != backup.Completed {
		return false
	}
	return p == OnProblem || p == OnChange && before == status
}

const maxPrefix = 60 // characters

var namePattern = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// checked returns m with its defaults, or an error where a value can't be part of a mail.
func (m Message) checked() (Message, error) {
	if m.Name == "" {
		m.Name = "backup"
	}
	if m.Zone == nil {
		m.Zone = time.UTC
	}
	if m.Date.IsZero() {
		m.Date = m.Record.Finished
	}
	if !namePattern.MatchString(m.Name) {
		return m, failure.New(failure.Internal, "%q is no name for a message", m.Name)
	}
	if _, err := backup.ParseID(string(m.Record.ID)); err != nil {
		return m, err
	}
	if _, err := backup.ParseSource(string(m.Record.Source)); err != nil {
		return m, err
	}
	if len([]rune(m.Prefix)) > maxPrefix {
		return m, failure.New(failure.Usage, "the prefix of the subject is longer than %d characters", maxPrefix)
	}
	if err := headerSafe("prefix of the subject", m.Prefix); err != nil {
		return m, err
	}
	return m, m.Link.check()
}

func (l Link) check() error {
	if l.URL == "" {
		return nil
	}
	if err := headerSafe("link", l.URL); err != nil {
		return err
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return failure.New(failure.Usage, "the address of the link is not an http or https URL").
			WithHint("check serve: {public-url: …} in lifeboat.yaml")
	}
	if strings.Contains(strings.ToLower(u.RawQuery), "signature") {
		return failure.New(failure.Internal, "a presigned URL must not be mailed")
	}
	return nil
}
