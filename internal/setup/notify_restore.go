package setup

import (
	"context"
	"fmt"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/notify"
)

// NotifyRestore tells people how a restore ended: whom the target names, or else the source of the backup. Where nobody
// is named, or the policy keeps quiet, the status is "quiet" and the message says why.
func (n *Notifier) NotifyRestore(ctx context.Context, record catalog.Restore) (catalog.Notified, error) {
	if record.DryRun {
		return quiet("a dry run is told to nobody but who asked for it"), nil
	}
	who, whose, found := n.hearers(record)
	if !found {
		return quiet("neither the target nor the source of the backup names anybody to be told (notify: {to: …})"), nil
	}
	sender, from, err := n.sender()
	if err != nil {
		return catalog.Notified{Status: string(notify.Failed), Message: err.Error()}, nil
	}
	policy, err := notify.ParsePolicy(string(who.On))
	if err != nil {
		return catalog.Notified{}, err
	}
	var before backup.Status
	if policy == notify.OnChange && record.Status == backup.Completed {
		before = n.restoredBefore(ctx, record)
	}
	var recipients []notify.Recipient
	for _, to := range who.To {
		recipients = append(recipients, notify.Recipient{Address: to})
	}
	outbox := notify.Outbox{Vault: n.Vault, Sender: sender, Policy: policy, Holder: n.Holder}
	message := notify.RestoreMessage{Record: record, For: whose, From: from, Zone: time.Local, Version: n.Version}
	notified, err := outbox.Deliver(ctx, message, before, recipients...)
	if err == nil && notified.Status == string(notify.Quiet) {
		notified.Message = fmt.Sprintf("notify: {on: %s} of the %s keeps quiet about this restore", policy, whose)
	}
	return notified, err
}

func quiet(why string) catalog.Notified {
	return catalog.Notified{Status: string(notify.Quiet), Message: why}
}

// hearers returns who hears of a restore, and whose section of the configuration says so.
func (n *Notifier) hearers(record catalog.Restore) (who config.Notify, whose string, found bool) {
	if target, err := n.Config.Target(record.Target); err == nil && !record.Drill && len(target.Notify.To) > 0 {
		return target.Notify, "target " + target.Name, true
	}
	if source, err := n.Config.Source(string(record.From.Source)); err == nil && len(source.Notify.To) > 0 {
		return source.Notify, "source " + string(source.Name), true
	}
	return config.Notify{}, "", false
}

// restoredBefore returns how the newest other restore into the same target ended, or "" where there is none or the
// catalog does not say: then people are told.
func (n *Notifier) restoredBefore(ctx context.Context, record catalog.Restore) backup.Status {
	for other, err := range catalog.New(n.Vault).Restores(ctx) {
		ended := other.Status.Good() || other.Status == backup.Failed
		if err == nil && ended && other.ID != record.ID && other.Target == record.Target && !other.DryRun && other.Started.Before(record.Started) {
			return other.Status
		}
	}
	return ""
}
