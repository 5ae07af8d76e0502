// Package notify tells people how a backup or a restore ended: it composes one mail per recipient and delivers it at
// most once as far as that can be had.
//
// Compose turns a Message (the record of a backup, the good one before it and a finished link) or a RestoreMessage (the
// record of a restore) into a mail with a complete text part and an HTML part; the same letter gives the same bytes. A
// Sender carries it: SMTP, SES, a Webhook, or a Folder of .eml files. The Outbox keeps, in the vault at outbox/<run>/<message>-<recipient>.json, who sends what: a claim with a
// lease, then the outcome. A crash between sending and noting that repeats the mail under the same Message-ID.
//
// A mail server that refuses never fails a run. The package gets finished URLs and knows nothing of how links work.
package notify

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// Letter is what a mail is made of: a Message or a RestoreMessage.
type Letter interface {
	run() backup.ID                       // the folder of its entries in the outbox
	status() backup.Status                // of what it tells of
	to(r Recipient, now time.Time) Letter // is the one to r, dated now unless it has a date
	draft() (draft, error)
}

// Message is everything that one mail about a backup says. All text in the record counts as a stranger's.
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

func (m Message) run() backup.ID        { return m.Record.ID }
func (m Message) status() backup.Status { return m.Record.Status }

func (m Message) to(r Recipient, now time.Time) Letter {
	m.To, m.Link = r.Address, r.Link
	if m.Date.IsZero() {
		m.Date = now
	}
	return m
}

// draft returns the mail with its defaults, or an error where a value can't be part of one.
func (m Message) draft() (draft, error) {
	if m.Name == "" {
		m.Name = "backup"
	}
	if _, err := backup.ParseID(string(m.Record.ID)); err != nil {
		return draft{}, err
	}
	if _, err := backup.ParseSource(string(m.Record.Source)); err != nil {
		return draft{}, err
	}
	if err := m.Link.check(); err != nil {
		return draft{}, err
	}
	d := draft{
		run: m.Record.ID, name: m.Name, prefix: m.Prefix, from: m.From, replyTo: m.ReplyTo, recipient: m.To,
		date: m.Date, zone: m.Zone, content: m.content(),
		list:   fmt.Sprintf("lifeboat backups of %s <%s.lifeboat.", m.Record.Source, m.Record.Source),
		thread: fmt.Sprintf("lifeboat.source.%s", m.Record.Source),
	}
	if d.date.IsZero() {
		d.date = m.Record.Finished
	}
	return d, d.check()
}

// draft is a mail before it is rendered.
type draft struct {
	run                              backup.ID
	name                             string // of the message within its run
	prefix, from, replyTo, recipient string
	date                             time.Time
	zone                             *time.Location // UTC when nil
	content                          content
	list, thread                     string // the beginnings of the List-Id and of the mail that this one refers to
}

func (d draft) check() error {
	if !namePattern.MatchString(d.name) {
		return failure.New(failure.Internal, "%q is no name for a message", d.name)
	}
	if len([]rune(d.prefix)) > maxPrefix {
		return failure.New(failure.Usage, "the prefix of the subject is longer than %d characters", maxPrefix)
	}
	return headerSafe("prefix of the subject", d.prefix)
}

// prefixed returns a subject with the prefix that people have chosen.
func prefixed(prefix, subject string) string {
	if prefix == "" {
		return subject
	}
	return prefix + " " + subject
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
