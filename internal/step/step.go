// Package step is the story of the pipeline: each file is one step of the workflow, in this order:
//
//	begin.go → snapshot.go → plan.go → copy.go → assemble.go → seal.go → notify.go; abort.go after any failure
//
// A step takes a reference and returns a reference; what it makes lies in the vault. Every step may be repeated,
// at any point of its work, by another process: it finds what an earlier attempt did and does the rest. The same
// code runs in a Lambda function and in the embedded runner.
//
// Work files of a run lie below snapshots/<source>/<backup>/work/ until the run is sealed or aborted:
//
//	<attempt>/documents/<n>       a compressed document
//	<attempt>/objects.jsonl       one app.Object a line
//	<attempt>/findings.jsonl      one app.Finding a line: what the snapshot noticed, if anything
//	<attempt>/snapshot.json       what the snapshot learned (snapshotFile)
//	<attempt>/cursor-<n>.json     where the piece after the n-th goes on, if it was taken in pieces (cursorFile)
//	<attempt>/<piece>/            documents, objects.jsonl and findings.jsonl of a later piece
//	<attempt>/plan.jsonl          one pack.Item a line, batch after batch
//	<attempt>/batches.jsonl       one events.Batch a line, for the Map of many
//	<attempt>/results/…           what Step Functions notes of the Map of many
//	<attempt>/reused.jsonl        one manifest.Entry a line, pack by pack
//	<attempt>/packs.jsonl         one packLine a line
//	<attempt>/plan.json           planFile
//	<attempt>/packed/<n>.json     pack.Result of batch n: the index of its packs
//	<attempt>/going/<n>           how far batch n is that one call could not do, and bytes of its pack (pack.PackSome)
//	<attempt>/tail-<n>            the end of file n of the archive
//	<attempt>/parts-<n>.jsonl     one archive.Part a line
//	<attempt>/archive.json        archiveFile
package step

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// Steps runs the steps of the backup workflow. It is safe for concurrent use.
type Steps struct {
	Vault    *vault.Vault
	Sources  Sources
	Signer   ed25519.PrivateKey
	Notifier Notifier
	Now      func() time.Time
	Log      *slog.Logger
	Progress Progress
	Version  string                   // of this program
	Holder   string                   // who holds the lease: host and process
	Stale    func(catalog.Lease) bool // reports a lease whose holder is known to be dead; may be nil
	Merge    pool.Limits              // when packs are merged; zero for the defaults
	Lock     *vault.Lock              // how what a backup needs is locked; nil: not at all
	MAC      manifest.Authenticator   // nil: manifests are signed, and no more

	recent recent
	fresh  sync.Map // ids of uploads that this process has begun and written nothing to
	leases sync.Map // by run: when this process last made sure that it holds the source
}

// Sources opens the configured sources.
type Sources interface {
	// Open returns the adapter of a source and its kind. NotFound when it is not configured.
	Open(ctx context.Context, name backup.Source) (app.Source, string, error)
	// Policy returns how a source's backups are made.
	Policy(name backup.Source) (Policy, error)
}

// Policy is how a source's backups are made.
type Policy struct {
	Floor    int64         // bytes: objects from here on are copied by the store itself, where it can; 0: none
	Eager    bool          // time and bytes moved count more than storage
	Split    int64         // bytes of a volume of the archive; 0: one file
	OnDemand bool          // an archive is made only when somebody asks
	Keep     time.Duration // how long an archive is kept; 0: as long as its backup
}

// Notifier tells people about a run.
type Notifier interface {
	// Notify sends what is to be said of the record; previous is the good backup before it, or nil, and before
	// how the run before it ended, or "". A message that cannot be delivered is an answer, not an error.
	Notify(ctx context.Context, record catalog.Record, previous *catalog.Record, before backup.Status) (catalog.Notified, error)
}

// Progress receives how far a run is. Its methods may be called from several goroutines.
type Progress interface {
	Phase(name string, items, bytes int64)
	Add(items, bytes int64)
}

// Expired reports whether the archive of a record has had its time; nil where archives are kept.
func (p Policy) Expired(now time.Time) func(catalog.Record) bool {
	if p.Keep == 0 {
		return nil
	}
	return func(r catalog.Record) bool {
		made := r.Archive.Made
		if made.IsZero() {
			made = r.Finished
		}
		return !now.Before(made.Add(p.Keep))
	}
}

// Functions names the steps of each function.
var Functions = map[string][]string{
	"export":  {"begin", "snapshot", "plan-packs"},
	"copy":    {"copy"},
	"package": {"assemble", "seal", "abort"},
	"notify":  {"notify"},
}

// Handle runs one step: what a function does with one message. The answer is the JSON of the step's answer.
func (s *Steps) Handle(ctx context.Context, function string, message []byte) (json.RawMessage, error) {
	var request events.Request
	if err := events.Decode(message, &request); err != nil {
		return nil, err
	}
	if err := check(function, request); err != nil {
		return nil, err
	}
	started := s.Now()
	working, stop := s.keepLease(ctx, request)
	answer, err := s.dispatch(working, request)
	stop()
	if lost := context.Cause(working); err != nil && errors.Is(lost, catalog.ErrLeaseLost) {
		err = failure.New(failure.Conflict, "%w", lost)
	}
	log := s.Log.With("step", request.Step, "source", request.Run.Source, "backup", request.Run.ID, "took", s.Now().Sub(started).String())
	if err != nil {
		log.Info("step failed", "error", err, "kind", failure.KindOf(err).String())
		return nil, err
	}
	log.Info("step done")
	return json.Marshal(answer)
}

func check(function string, request events.Request) error {
	if !slices.Contains(Functions[function], request.Step) {
		return failure.New(failure.Usage, "the function %s has no step %q", function, request.Step)
	}
	if _, err := backup.ParseSource(string(request.Run.Source)); err != nil {
		return err
	}
	_, err := backup.ParseID(string(request.Run.ID))
	return err
}

func (s *Steps) dispatch(ctx context.Context, r events.Request) (any, error) {
	switch r.Step {
	case "begin":
		return s.begin(ctx, r.Run, r.Execution)
	case "snapshot":
		return s.snapshot(ctx, r.Run, r.Snapshot)
	case "notify":
		return struct{}{}, s.notify(ctx, r.Run)
	case "abort":
		return struct{}{}, s.abort(ctx, r.Run, r.Error, r.Execution)
	}
	if r.Snapshot == nil || r.Snapshot.Attempt == "" {
		return nil, failure.New(failure.Usage, "the step %q needs a snapshot", r.Step)
	}
	w := s.work(r.Run, r.Snapshot.Attempt)
	switch r.Step {
	case "plan-packs":
		return s.planPacks(ctx, w)
	case "copy":
		return s.copy(ctx, w, r.Batch)
	case "assemble":
		return s.assemble(ctx, w, r.Assembly)
	}
	return s.seal(ctx, w, r.Assembly)
}

func (s *Steps) catalog() *catalog.Catalog { return catalog.New(s.Vault) }

func (s *Steps) phase(name string, items, bytes int64) {
	if s.Progress != nil {
		s.Progress.Phase(name, items, bytes)
	}
}

func (s *Steps) add(items, bytes int64) {
	if s.Progress != nil {
		s.Progress.Add(items, bytes)
	}
}

// keepLease renews the lease of a run while one of its steps works, however long that takes, and cancels the step's
// context when another run has taken the source. stop ends it.
func (s *Steps) keepLease(ctx context.Context, r events.Request) (working context.Context, stop func()) {
	switch r.Step {
	case "begin", "notify", "abort": // have no lease yet, or none any more
		return ctx, func() {}
	}
	return s.keep(ctx, r.Run)
}

func (s *Steps) keep(ctx context.Context, run events.Run) (working context.Context, stop func()) {
	return s.catalog().Keep(ctx, run.Source, s.lease(run), s.Now)
}

// release gives the source back.
func (s *Steps) release(ctx context.Context, source backup.Source, id backup.ID) error {
	s.leases.Delete(id)
	return s.catalog().Release(ctx, source, id)
}
