package lambdafn

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/notify"
	"lifeboat/internal/setup"
)

// Notify is the Handler that tells people how a backup or a restore ended. It also tells of those that ended without
// doing so themselves; while nobody has closed such a run yet, the answer is an error that Lambda tries again.
func (w *World) Notify(ctx context.Context, message []byte) (json.RawMessage, error) {
	_, late := ended(message)
	message, restore, err := telling(message)
	if err != nil {
		return nil, err
	}
	if late { // first: who closes the run may do so while this looks at it
		if err := w.closed(ctx, message); err != nil {
			return nil, err
		}
	}
	if restore {
		return w.Restore(ctx, message)
	}
	return w.Backup(ctx, message)
}

// closed is Transient while a run is in progress.
func (w *World) closed(ctx context.Context, message []byte) error {
	open, err := w.open(ctx)
	if err != nil {
		return err
	}
	var m struct {
		Run struct {
			ID     backup.ID     `json:"id"`
			Source backup.Source `json:"source"`
		} `json:"run"`
		Restore struct {
			ID backup.RestoreID `json:"id"`
		} `json:"restore"`
		Execution string `json:"execution"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	var status backup.Status
	if m.Run.ID != "" {
		var record catalog.Record
		record, err = catalog.New(open.vault).Record(ctx, m.Run.Source, m.Run.ID)
		status = record.Status
	} else if m.Restore.ID != "" {
		var record catalog.Restore
		record, err = catalog.New(open.vault).Restore(ctx, m.Restore.ID)
		if status = record.Status; record.Execution != "" && record.Execution != m.Execution {
			status = "" // another execution is at the same restore
		}
	}
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return err
	}
	if status == backup.InProgress {
		return failure.New(failure.Transient, "the run is not closed yet")
	}
	return nil
}

// notifier tells people by mail, and a webhook.
type notifier struct {
	mail *setup.Notifier
	hook *notify.Webhook // nil for none
}

func (w *warm) notifier() (*notifier, error) {
	linkKey, err := w.linkKey()
	if err != nil {
		return nil, err
	}
	if linkKey.Empty() { // without it no link can be made: the mail says how to get the archive
		w.config.Serve.PublicURL = ""
	}
	n := &notifier{mail: &setup.Notifier{
		Config: w.config, Vault: w.vault, LinkKey: linkKey, Holder: w.holder(), Version: deployed.Version, From: w.mailFrom(),
	}}
	switch {
	case w.environment.Mail == "ses":
		n.mail.Sender = notify.NewSES(w.aws, w.environment.ConfigurationSet)
	case w.config.Mail == nil || w.config.Mail.SMTP == "":
		n.mail.Sender, n.mail.From = nowhere{}, cmp.Or(n.mail.From, nobody)
	}
	if w.environment.Webhook == "" {
		return n, nil
	}
	address, err := w.environment.Webhook.Resolve()
	if err != nil {
		return nil, err
	}
	key, err := w.environment.WebhookKey.Resolve()
	if err != nil {
		return nil, err
	}
	n.hook, err = notify.NewWebhook(address, key)
	return n, err
}

// nobody is the sender's address of messages that no mail server gets.
const nobody = "lifeboat@localhost.localdomain"

// nowhere is a Sender where none is set up.
type nowhere struct{}

// Send implements notify.Sender.
func (nowhere) Send(context.Context, *notify.Mail) (notify.Receipt, error) {
	return notify.Receipt{}, failure.New(failure.Usage, "the stack has no way to send mail").
		WithHint("deploy with a sender's address for SES, or write mail: {smtp: secretsmanager:NAME} into lifeboat.yaml")
}

// Notify implements step.Notifier.
func (n *notifier) Notify(ctx context.Context, record catalog.Record, previous *catalog.Record, before backup.Status) (catalog.Notified, error) {
	told, err := n.mail.Notify(ctx, record, previous, before)
	if err != nil || n.hook == nil {
		return told, err
	}
	return n.call(ctx, told, before, notify.Message{
		Record: record, Previous: previous, From: cmp.Or(n.mail.From, nobody), Zone: time.UTC, Version: deployed.Version,
	})
}

// NotifyRestore implements replay.Notifier.
func (n *notifier) NotifyRestore(ctx context.Context, record catalog.Restore) (catalog.Notified, error) {
	told, err := n.mail.NotifyRestore(ctx, record)
	if err != nil || n.hook == nil || record.DryRun {
		return told, err
	}
	return n.call(ctx, told, "", notify.RestoreMessage{
		Record: record, For: "stack", From: cmp.Or(n.mail.From, nobody), Zone: time.UTC, Version: deployed.Version,
	})
}

// call tells the webhook of every run, once, and adds to what the record says of mails.
func (n *notifier) call(ctx context.Context, told catalog.Notified, before backup.Status, letter notify.Letter) (catalog.Notified, error) {
	outbox := notify.Outbox{Vault: n.mail.Vault, Sender: n.hook, Holder: n.mail.Holder}
	called, err := outbox.Deliver(ctx, letter, before, notify.Recipient{Address: n.hook.Address()})
	if err != nil {
		return told, err
	}
	told.To = append(told.To, called.To...)
	told.Message = strings.Join(filled(told.Message, called.Message), "; ")
	if told.Status != string(notify.Failed) {
		told.Status = called.Status
	}
	told.At = called.At
	return told, nil
}

func filled(texts ...string) []string {
	var list []string
	for _, t := range texts {
		if t != "" {
			list = append(list, t)
		}
	}
	return list
}
