package lambdafn

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/setup"
	"lifeboat/internal/step"
)

// Backup is the Handler of the steps of a backup. It also closes runs that ended without doing so themselves: see
// closing.
func (w *World) Backup(ctx context.Context, message []byte) (json.RawMessage, error) {
	open, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := open.backup.get(func() (*step.Steps, error) { return open.backupSteps(ctx) })
	if err != nil {
		return nil, err
	}
	_, late := ended(message)
	if message, err = closing(message, "run"); err != nil {
		return nil, err
	}
	measure := w.measureBackup(ctx, open, message, late)
	answer, err := steps.Handle(ctx, w.environment.Function, message)
	if err == nil {
		measure()
	}
	return answer, err
}

func (w *warm) backupSteps(ctx context.Context) (*step.Steps, error) {
	var key keyring.Key
	var err error
	if w.environment.SigningKey != "" {
		if key, err = w.key(); err != nil {
			return nil, err
		}
	}
	if err := w.known(ctx, key); err != nil {
		return nil, err
	}
	steps := &step.Steps{
		Vault: w.vault, Sources: sources{&setup.Sources{Config: w.config}, w.place()}, Signer: key.Private,
		Now: time.Now, Log: slog.Default(), Version: deployed.Version, Holder: w.holder(),
		Lock: w.environment.Lock, MAC: w.mac,
	}
	if w.environment.Function == "notify" {
		steps.Notifier, err = w.notifier()
	}
	return steps, err
}

// sources refuses those that no function reaches, by name, and opens the others.
type sources struct {
	*setup.Sources
	place deployed.Place
}

// Open implements step.Sources.
func (s sources) Open(ctx context.Context, name backup.Source) (app.Source, string, error) {
	c, err := s.Config.Source(string(name))
	if err == nil {
		err = first(s.place.Source(c))
	}
	if err != nil {
		return nil, "", err
	}
	return s.Sources.Open(ctx, name)
}

// measureBackup returns what writes the metrics of a run once this step has ended it: of a run that was ended before,
// nothing. The run is no worse for metrics that could not be written. late says that an event has come of an execution that
// had ended; of a run without a record its workflow has written them.
func (w *World) measureBackup(ctx context.Context, open *warm, message []byte, late bool) func() {
	var r events.Request
	if json.Unmarshal(message, &r) != nil || r.Step != "seal" && r.Step != "abort" {
		return func() {}
	}
	read := func() (catalog.Record, error) {
		record, err := catalog.New(open.vault).Record(ctx, r.Run.Source, r.Run.ID)
		if failure.KindOf(err) == failure.NotFound && !late { // it failed before it had a record
			return catalog.Record{ID: r.Run.ID, Source: r.Run.Source, Status: backup.Failed}, nil
		}
		return record, err
	}
	before, err := read()
	if failure.KindOf(err) == failure.NotFound || err == nil && before.Status != backup.InProgress && !before.Started.IsZero() {
		return func() {}
	}
	return func() {
		record, err := read()
		if err == nil {
			err = w.metrics.Backup(record)
		}
		if err != nil {
			slog.Warn("the metrics of the run could not be written", "error", err)
		}
	}
}
