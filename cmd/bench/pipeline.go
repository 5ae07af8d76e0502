package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/keyring"
	"lifeboat/internal/machine"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// bed is a source in a store, and a vault in the same store.
type bed struct {
	store  *store
	set    set
	data   string // bucket of the files
	vault  string // bucket
	key    keyring.Key
	policy step.Policy
	runs   int
}

// measured is one run and what it took.
type measured struct {
	use
	wall   time.Duration
	record catalog.Record
}

// newBed fills a bucket with the set and makes a vault.
func newBed(ctx context.Context, s *store, files set, policy step.Policy) (*bed, error) {
	data, err := s.bucket(ctx, "data")
	if err != nil {
		return nil, err
	}
	t := &bed{store: s, set: files, data: data, policy: policy}
	if err := s.fill(ctx, data, files.files); err != nil {
		return nil, err
	}
	return t, t.forget(ctx)
}

// forget gives the bed an empty vault.
func (t *bed) forget(ctx context.Context) error {
	t.store.remove(t.vault)
	var err error
	if t.vault, err = t.store.bucket(ctx, "vault"); err != nil {
		return err
	}
	if t.key, err = keyring.Generate("BENCHVAULT"); err != nil {
		return err
	}
	v, err := t.open(ctx)
	if err != nil {
		return err
	}
	return v.Initialise(ctx, vault.Description{ID: t.key.Vault, Created: epoch, Lifeboat: "bench", PublicKey: t.key.Public()})
}

// open opens the vault for who prepares and looks after.
func (t *bed) open(ctx context.Context) (*vault.Vault, error) {
	client, err := t.store.client(ctx)
	return vault.New(client, t.vault, nil), err
}

func (t *bed) config(policy step.Policy) func(int) workerConfig {
	return func(i int) workerConfig {
		name := fmt.Sprintf("worker-%02d", i+1)
		access, key := t.store.credentials(name)
		return workerConfig{
			Name: name, Endpoint: t.store.url, AccessKey: access, SecretKey: key, Folder: t.store.folder,
			Data: t.data, Vault: t.vault, Policy: policy, Key: keyring.Encode(t.key),
		}
	}
}

// timed hires workers, does something with them, and says what it took from then on.
func (t *bed) timed(workers int, policy step.Policy, do func(*fleet) error) (measured, error) {
	f, err := hire(workers, t.config(policy))
	if err != nil {
		return measured{}, err
	}
	factor := t.store.pace(workers)
	began := time.Now()
	err = do(f)
	m := measured{wall: time.Since(began) / factor}
	var left error
	m.use, left = f.dismiss()
	m.busy /= factor
	return m, errors.Join(err, left)
}

// backup makes one backup with the workflow's definition; its archive is part of it.
func (t *bed) backup(ctx context.Context, workers int) (measured, error) {
	m, err := machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"), machine.WithName("backup"))
	if err != nil {
		return measured{}, err
	}
	v, err := t.open(ctx)
	if err != nil {
		return measured{}, err
	}
	t.runs++
	run := events.Run{ID: backup.NewID(time.Now()), Source: source, StartedBy: catalog.Starter{By: "person", Who: "bench"}}
	input, err := json.Marshal(events.Input{Run: run})
	if err != nil {
		return measured{}, err
	}
	took, err := t.timed(workers, t.policy, func(f *fleet) error {
		engine := &machine.Engine{Invoke: f.invoke, MaxConcurrency: workers * slots, Read: func(ctx context.Context, _, key string) (io.ReadCloser, error) {
			body, _, err := v.Open(ctx, vault.Key(key), 0, -1)
			return body, err
		}}
		outcome, err := engine.Execute(ctx, m, machine.Execution{Name: string(run.ID), Input: input})
		if err == nil && outcome.Status != machine.Succeeded {
			err = fmt.Errorf("the run ended as %s: %s: %s", outcome.Status, outcome.Error, outcome.Cause)
		}
		return err
	})
	if err != nil {
		return took, err
	}
	took.record, err = catalog.New(v).Record(ctx, source, run.ID)
	if err == nil && (took.record.Status != backup.Completed || took.record.Objects != len(t.set.files)) {
		err = fmt.Errorf("the backup %s is %s with %d of %d objects: %v", run.ID, took.record.Status, took.record.Objects, len(t.set.files), took.record.Problems)
	}
	return took, err
}

// change writes a share of the files anew.
func (t *bed) change(ctx context.Context, share float64) error {
	next, files := t.set.changed(share)
	t.set = next
	return t.store.fill(ctx, t.data, files)
}

// median repeats a measurement, up to so many times as long as all take less than budget together, and returns the one
// with the median wall.
func median(times int, budget time.Duration, measure func() (measured, error)) (measured, int, error) {
	var all []measured
	for began := time.Now(); len(all) == 0 || len(all) < times && time.Since(began) < budget; {
		m, err := measure()
		if err != nil {
			return m, len(all), err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.wall, b.wall) })
	return all[(len(all)-1)/2], len(all), nil
}
