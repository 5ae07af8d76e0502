package apptest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local"
	"lifeboat/internal/machine"
	"lifeboat/internal/manifest"
	"lifeboat/internal/secret"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
	"lifeboat/workflow"
)

// newVault returns an empty vault on an embedded server of its own.
func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	server, err := local.Attach(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	access, key := server.Credentials()
	client, err := vault.Connect(t.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	v := vault.New(client, "vault", func(context.Context) error { return nil })
	if err := v.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

// world is a source in the vault, and the steps that back it up.
type world struct {
	t      *testing.T
	vault  *vault.Vault
	name   backup.Source
	source *disturbed
	key    keyring.Key
	clock  time.Time
	policy step.Policy

	hurried   bool // the time for a snapshot is over before it begins: every piece of it is as small as can be
	snapshots int  // how often the step was called
}

// hurried is a context whose deadline has passed, and that does not end.
type hurried struct{ context.Context }

// Deadline implements context.Context.
func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// timed returns the context of a call of a function.
func (w *world) timed(ctx context.Context, payload json.RawMessage) context.Context {
	var request events.Request
	if err := events.Decode(payload, &request); err != nil {
		w.t.Error(err)
	}
	if request.Step != "snapshot" {
		return ctx
	}
	w.snapshots++
	if w.hurried {
		return hurried{ctx}
	}
	return ctx
}

var (
	worlds   int
	counting sync.Mutex
)

// newWorld returns a source of its own in the vault.
func newWorld(t *testing.T, v *vault.Vault, source app.Source) *world {
	t.Helper()
	key, err := keyring.Generate("APPTEST")
	if err != nil {
		t.Fatal(err)
	}
	counting.Lock()
	defer counting.Unlock()
	worlds++
	return &world{
		t: t, vault: v, name: backup.Source(fmt.Sprintf("source-%d", worlds)), source: &disturbed{Source: source}, key: key,
		clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
	}
}

// Policy implements step.Sources.
func (w *world) Policy(backup.Source) (step.Policy, error) { return w.policy, nil }

// Open implements step.Sources.
func (w *world) Open(context.Context, backup.Source) (app.Source, string, error) {
	return w.source, "apptest", nil
}

// Notify implements step.Notifier.
func (w *world) Notify(context.Context, catalog.Record, *catalog.Record, backup.Status) (catalog.Notified, error) {
	return catalog.Notified{Status: "quiet"}, nil
}

func (w *world) steps() *step.Steps {
	return &step.Steps{
		Vault: w.vault, Sources: w, Signer: w.key.Private, Notifier: w, Version: "test", Holder: "test",
		Now: func() time.Time { return w.clock }, Log: slog.New(slog.DiscardHandler),
	}
}

// backup makes one backup with the real workflow and returns its record, an hour after the one before.
func (w *world) backup() catalog.Record {
	w.t.Helper()
	w.clock = w.clock.Add(time.Hour)
	id := backup.NewID(w.clock)
	steps := w.steps()
	engine := &machine.Engine{
		Rand: func() float64 { return 0 }, // nobody waits before trying again
		Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
			answer, err := steps.Handle(w.timed(ctx, payload), function, payload)
			if err != nil {
				return nil, step.Boundary{Err: err}
			}
			return answer, nil
		},
		Read: func(ctx context.Context, _, key string) (io.ReadCloser, error) {
			body, _, err := w.vault.Open(ctx, vault.Key(key), 0, -1)
			return body, err
		},
	}
	m, err := machine.Load(workflow.Backup, workflow.BackupFunctions, machine.WithInputs("run"))
	if err != nil {
		w.t.Fatal(err)
	}
	input, err := json.Marshal(events.Input{Run: events.Run{ID: id, Source: w.name, StartedBy: catalog.Starter{By: "test"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	outcome, err := engine.Execute(w.t.Context(), m, machine.Execution{Name: string(id), Input: input})
	if err != nil {
		w.t.Fatal(err)
	}
	record, err := catalog.New(w.vault).Record(w.t.Context(), w.name, id)
	if err != nil {
		w.t.Fatalf("%v; the run ended with %+v", err, outcome)
	}
	if (outcome.Status == machine.Succeeded) != record.Status.Good() {
		w.t.Errorf("the run ended with %+v, its record says %s", outcome, record.Status)
	}
	return record
}

// completed is a backup that has to succeed without a problem.
func (w *world) completed() catalog.Record {
	w.t.Helper()
	record := w.backup()
	if record.Status != backup.Completed {
		w.t.Fatalf("the backup is %s: %+v, problems %+v", record.Status, record.Failure, record.Problems)
	}
	return record
}

// verified reads every byte of a backup again, in its packs and its archive, and returns the contents by path.
func (w *world) verified(record catalog.Record) map[string]string {
	w.t.Helper()
	contents := map[string]string{}
	report, err := verify.Backup(w.t.Context(), w.vault, record, verify.Options{
		Trusted: []ed25519.PublicKey{w.key.Public()},
		Visit: func(e manifest.Entry, content io.Reader) error {
			data, err := io.ReadAll(content)
			contents[e.Path] = string(data)
			return err
		},
	})
	if err != nil || !report.OK || report.Signature != manifest.Authenticated {
		w.t.Fatalf("the backup does not verify: %v, signature %q, %+v", err, report.Signature, report.Problems)
	}
	return contents
}

// download stores the archive of a backup in a folder, and returns its files in order: one, or the volumes.
func (w *world) download(record catalog.Record) []string {
	w.t.Helper()
	folder := w.t.TempDir()
	var paths []string
	for _, f := range record.Archive.Files() {
		data, _, err := w.vault.Get(w.t.Context(), vault.Key(f.Key))
		if err != nil {
			w.t.Fatal(err)
		}
		file := filepath.Join(folder, path.Base(f.Key))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			w.t.Fatal(err)
		}
		paths = append(paths, file)
	}
	return paths
}

// hasArchive reports whether the vault has an archive of the run, or a part of one.
func (w *world) hasArchive(id backup.ID) bool {
	w.t.Helper()
	for _, err := range w.vault.List(w.t.Context(), vault.ArchiveFiles(w.name, id)) {
		if err != nil {
			w.t.Fatal(err)
		}
		return true
	}
	return false
}
