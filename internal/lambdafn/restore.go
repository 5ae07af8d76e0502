package lambdafn

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/netguard"
	"lifeboat/internal/replay"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
)

// Restore is the Handler of the steps of a restore. It also closes restores that ended without doing so themselves: see
// closing.
func (w *World) Restore(ctx context.Context, message []byte) (json.RawMessage, error) {
	open, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := open.restore.get(func() (*replay.Steps, error) { return open.restoreSteps(ctx) })
	if err != nil {
		return nil, err
	}
	_, late := ended(message)
	if message, err = closing(message, "restore"); err != nil {
		return nil, err
	}
	measure := w.measureRestore(ctx, open, steps, message, late)
	answer, err := steps.Handle(ctx, w.environment.Function, message)
	measure(err)
	return answer, err
}

func (w *warm) restoreSteps(ctx context.Context) (*replay.Steps, error) {
	var key keyring.Key
	var err error
	trusted := slices.Clone(w.environment.Trusted)
	if w.environment.SigningKey != "" && w.environment.Function == "restore" {
		if key, err = w.key(); err != nil {
			return nil, err
		}
		trusted = append(trusted, key.Public())
	}
	if err := w.known(ctx, key); err != nil {
		return nil, err
	}
	rules, err := fetchRules(w.config)
	if err != nil {
		return nil, err
	}
	steps := &replay.Steps{
		Vault: w.vault, Targets: targets{&setup.Targets{Config: w.config, Drills: w.vault, Account: w.environment.VaultOwner}, w.place()}, Trusted: trusted, MAC: w.mac, Fetch: rules,
		Now: time.Now, Log: slog.Default(), Version: deployed.Version, Holder: w.holder(),
	}
	if w.environment.Function == "notify" {
		steps.Notifier, err = w.notifier()
	}
	return steps, err
}

// fetchRules says what a URL may be.
func fetchRules(c *config.Config) (fetch.Options, error) {
	rules := netguard.Rules{MaxBytes: c.Fetch.MaxSize, Timeout: c.Fetch.Timeout, Audit: slog.Default()}
	for _, text := range c.Fetch.Allow {
		allowed, err := netguard.ParseAllowed(text)
		if err != nil {
			return fetch.Options{}, err
		}
		rules.Allow = append(rules.Allow, allowed)
	}
	return fetch.Options{Guard: netguard.New(rules), MaxBytes: c.Fetch.MaxSize, MaxTime: c.Fetch.Timeout, Margin: fetchMargin}, nil
}

// fetchMargin is how long before the deadline of a step a fetch stops; the deadline is well before Lambda's own.
const fetchMargin = 10 * time.Second

// targets refuses those that no function reaches, by name, and opens the others.
type targets struct {
	*setup.Targets
	place deployed.Place
}

// Name implements replay.Targets. It is asked before a restore begins.
func (t targets) Name(to events.To) (string, error) {
	if err := t.refuse(to); err != nil {
		return "", err
	}
	return t.Targets.Name(to)
}

func (t targets) refuse(to events.To) error {
	switch {
	case to.Bucket != nil:
		b := to.Bucket
		return first(t.place.Bucket(config.Bucket{
			Name: b.Name, Prefix: b.Prefix, Endpoint: b.Endpoint, Region: b.Region, Profile: b.Profile,
			AccessKey: secret.Reference(b.AccessKey), SecretKey: secret.Reference(b.SecretKey),
		}))
	case to.Target == "":
		return nil
	}
	c, err := t.Config.Target(to.Target)
	if err != nil {
		return err
	}
	return first(t.place.Target(c))
}

// measureRestore returns what writes the metrics of a restore once this step has ended it, or has found its backup damaged:
// of a restore that was ended before, nothing. late is as in measureBackup.
func (w *World) measureRestore(ctx context.Context, open *warm, steps *replay.Steps, message []byte, late bool) func(error) {
	var r events.RestoreRequest
	if json.Unmarshal(message, &r) != nil || !slices.Contains([]string{"check", "confirm", "release"}, r.Step) {
		return func(error) {}
	}
	read := func() (record catalog.Restore, there bool, err error) {
		id := r.Restore.ID
		if id == "" {
			id, err = steps.Known(ctx, r.Execution)
		}
		if err == nil && id != "" {
			record, err = catalog.New(open.vault).Restore(ctx, id)
		}
		if failure.KindOf(err) == failure.NotFound {
			err = nil
		}
		return record, record.ID != "", err
	}
	before, there, err := read()
	if err == nil && (there && before.Status != backup.InProgress || !there && late) {
		return func(error) {}
	}
	return func(failed error) {
		record, there, err := read()
		switch {
		case err != nil:
		case r.Step == "check":
			if failure.KindOf(failed) == failure.Corrupt && r.Restore.From.Backup != "" && record.From.Source != "" {
				err = w.metrics.Damaged(record.From.Source)
			}
		case failed == nil && !there: // it failed before it had a record
			err = w.metrics.Restore(catalog.Restore{Status: backup.Failed})
		case failed == nil:
			err = w.metrics.Restore(record)
		}
		if err != nil {
			slog.Warn("the metrics of the restore could not be written", "error", err)
		}
	}
}
