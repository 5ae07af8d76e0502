package lambdafn

import (
	"context"
	"log/slog"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/replay"
	"lifeboat/internal/setup"
)

// Starter starts the state machines of the stack for the API. It is safe for concurrent use.
type Starter struct {
	open     *warm
	machines *remote.Machines
	restores *replay.Steps // which prepare a restore, and do nothing else
}

// starter returns nil where the function was not told of the state machines.
func (w *warm) starter() (*Starter, error) {
	if w.environment.BackupMachine == "" || w.environment.RestoreMachine == "" {
		return nil, nil
	}
	rules, err := fetchRules(w.config)
	return &Starter{open: w, machines: w.machines(), restores: &replay.Steps{
		Vault: w.vault, Targets: targets{&setup.Targets{Config: w.config, Account: w.environment.VaultOwner}, w.place()}, Fetch: rules,
		Now: time.Now, Log: slog.Default(), Version: deployed.Version, Holder: w.holder(),
	}}, err
}

// StartBackup implements api.Starter.
func (s *Starter) StartBackup(ctx context.Context, run events.Run, key string) (backup.ID, error) {
	source, err := s.open.config.Source(string(run.Source))
	if err == nil {
		err = first(s.open.place().Source(source))
	}
	if err == nil {
		run.Scope, err = setup.Scope(source, run.Scope)
	}
	if err != nil {
		return "", err
	}
	run.ID = backup.NewID(time.Now())
	run, before, err := s.machines.StartBackup(ctx, run, remote.Key{Who: run.StartedBy.Who, Text: key})
	if err == nil {
		slog.Info("a backup was asked for", "run", string(run.ID), "source", string(run.Source), "before", before)
	}
	return run.ID, err
}

// StartRestore implements api.Starter.
func (s *Starter) StartRestore(ctx context.Context, restore events.Restore, key string) (backup.RestoreID, error) {
	if err := setup.Asked(s.open.config, restore); err != nil {
		return "", err
	}
	wanted := restore.From.Backup
	restore, err := s.restores.Prepare(ctx, restore)
	if err != nil {
		return "", err
	}
	restore, _, before, err := s.machines.StartRestore(ctx, restore, wanted, remote.Key{Who: restore.StartedBy.Who, Text: key}, time.Now())
	if err == nil {
		slog.Info("a restore was asked for", "restore", string(restore.ID), "before", before)
	}
	return restore.ID, err
}
