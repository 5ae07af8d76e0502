package notify

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
)

// Outbox delivers messages and remembers in the vault what it did. It is safe for concurrent use.
type Outbox struct {
	Vault  *vault.Vault
	Sender Sender
	Policy Policy           // Always when empty
	Holder string           // who claims; an attempt that repeats a dead one may bear its name and need not wait for the lease
	Now    func() time.Time // time.Now when nil
}

const (
	outboxFormat = 1
	lease        = 5 * time.Minute
	markTimeout  = 10 * time.Second
	maxRaces     = 20
	concealed    = 8 // characters that betray a token

	claimed Status = "claimed"
)

// entry is one recipient's mail as the vault knows it.
type entry struct {
	Format    int       `json:"format"`
	Run       backup.ID `json:"run"`
	Message   string    `json:"message"`
	MessageID string    `json:"message_id"`
	Status    Status    `json:"status"`
	Holder    string    `json:"holder,omitempty"`
	Until     time.Time `json:"until,omitzero"` // of the claim
	At        time.Time `json:"at,omitzero"`
	Detail    string    `json:"detail,omitempty"`
}

func (e entry) done() bool { return e.Status == Sent || e.Status == Written }

// Deliver sends the letter to every recipient, with the link made for each, unless the policy says to be quiet; before
// is the status of what it is compared with: the run before of the same scope, the restore before into the same target
// ("" for none). Repeated, it sends only what did not go out. What a mail server or a folder refuses is no error but the status "failed", with the reasons.
//
// An error means that the outbox itself can't be read or written, that l is no mail, or (Transient) that somebody
// else is sending it right now; a later Deliver settles it.
func (o *Outbox) Deliver(ctx context.Context, l Letter, before backup.Status, to ...Recipient) (catalog.Notified, error) {
	if o.Policy.Quiet(l.status(), before) {
		return catalog.Notified{Status: string(Quiet), At: o.now()}, nil
	}
	if len(to) == 0 {
		return catalog.Notified{Status: string(Quiet), At: o.now(), Message: "nobody to tell"}, nil
	}
	holder := o.Holder
	if holder == "" {
		holder = rand.Text()
	}
	var told catalog.Notified
	var reasons []string
	for i, recipient := range to {
		e, err := o.one(ctx, l, i, recipient, holder)
		if err != nil {
			return catalog.Notified{}, fmt.Errorf("notify %s of run %s: %w", plain.Short(recipient.Address, maxName), l.run(), err)
		}
		reasons = note(&told, reasons, e, recipient)
	}
	told.Message = strings.Join(reasons, "; ")
	return told, nil
}

// note adds one recipient's outcome to what the record will say.
func note(told *catalog.Notified, reasons []string, e entry, recipient Recipient) []string {
	address := plain.Short(recipient.Address, maxName)
	told.To = append(told.To, address)
	if told.Link == "" {
		told.Link = recipient.Link.ID
	}
	if e.At.After(told.At) {
		told.At = e.At
	}
	if told.Status != string(Failed) {
		told.Status = string(e.Status)
	}
	switch {
	case e.Detail == "":
		return reasons
	case e.Status == Failed:
		return append(reasons, address+": "+e.Detail)
	}
	return append(reasons, e.Detail)
}

// one claims, sends and marks the mail to one recipient.
func (o *Outbox) one(ctx context.Context, l Letter, index int, recipient Recipient, holder string) (entry, error) {
	sent, err := Compose(l.to(recipient, o.now()))
	if err != nil {
		return entry{}, err
	}
	sent.Copy = index
	key := vault.Outbox(sent.Run, sent.Name, sent.To())
	e, etag, err := o.claim(ctx, key, sent, holder)
	if err != nil || e.done() {
		return e, err
	}
	receipt, err := o.Sender.Send(ctx, sent)
	if failure.KindOf(err) == failure.Canceled {
		return entry{}, err
	}
	e.Status, e.Detail, e.Holder, e.Until, e.At = receipt.Status, receipt.Detail, "", time.Time{}, o.now()
	if err != nil {
		e.Status, e.Detail = Failed, conceal(err.Error(), recipient.Link)
	}
	return e, o.mark(ctx, key, e, etag)
}

// claim takes the right to send, or returns the entry of a mail that has gone out.
func (o *Outbox) claim(ctx context.Context, key vault.Key, sent *Mail, holder string) (entry, string, error) {
	for range maxRaces {
		var old entry
		cond := vault.IfAbsent()
		etag, err := o.Vault.GetJSON(ctx, key, &old)
		switch {
		case err == nil:
			cond = vault.IfMatch(etag)
		case failure.KindOf(err) != failure.NotFound:
			return entry{}, "", err
		}
		if err == nil {
			if ready, err := o.mayClaim(old, holder); !ready {
				return old, etag, err
			}
		}
		e := entry{
			Format: outboxFormat, Run: sent.Run, Message: sent.Name, MessageID: sent.ID,
			Status: claimed, Holder: holder, Until: o.now().Add(lease),
		}
		etag, err = o.Vault.PutJSON(ctx, key, e, cond)
		if failure.KindOf(err) != failure.Conflict {
			return e, etag, err
		}
	}
	return entry{}, "", failure.New(failure.Transient, "too many claims at once")
}

// mayClaim reports whether an entry that is there leaves something to do for us.
func (o *Outbox) mayClaim(old entry, holder string) (bool, error) {
	switch {
	case old.Format > outboxFormat:
		return false, failure.New(failure.Invalid, "the outbox was written by a later lifeboat (format %d)", old.Format).WithHint("update lifeboat")
	case old.done():
		return false, nil
	case old.Status == claimed && old.Holder != holder && o.now().Before(old.Until):
		return false, failure.New(failure.Transient, "somebody else is sending this mail").
			WithHint("try again after %s", old.Until.UTC().Format("15:04:05 UTC"))
	}
	return true, nil
}

// mark notes the outcome, even when the run is being stopped: the mail has gone out. A claim that somebody took over
// while we were sending is theirs to mark.
func (o *Outbox) mark(ctx context.Context, key vault.Key, e entry, etag string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	_, err := o.Vault.PutJSON(ctx, key, e, vault.IfMatch(etag))
	if failure.KindOf(err) == failure.Conflict {
		return nil
	}
	return err
}

// conceal takes the link out of a server's words: some quote the mail that they refuse, and perhaps not all of it.
func conceal(words string, l Link) string {
	token := path.Base(l.URL)
	if l.URL == "" || len(token) < 2*concealed {
		return words
	}
	return regexp.MustCompile(regexp.QuoteMeta(token[:concealed])+`[\w=-]*`).ReplaceAllString(words, "[link]")
}

func (o *Outbox) now() time.Time {
	if o.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return o.Now().UTC()
}
