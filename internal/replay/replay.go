// Package replay is the story of a restore: each file is one step of workflow/restore.asl.json, in this order:
//
//	begin.go → fetch.go (from a URL) → check.go → reserve.go → put.go → apply.go (replay) → confirm.go → notify.go;
//	release.go after any failure
//
// What check rests on is beside it: subject.go opens what is restored, prove.go proves it, proof.go keeps what is proven
// where that takes several calls, plan.go divides the work. limit.go says when a call has to end.
//
// A step takes a reference and returns a reference. Nothing is written to the target before check has read or proven
// every byte. Every step may be repeated, at any point of its work, by another process: files that are there with the
// right bytes are left alone, and a target remembers in its notes what it did. A restore that was interrupted is begun
// anew under the same id.
//
// Files of a restore lie below restores/<id>/ in the vault:
//
//	plan/units.jsonl     one restore.Unit a line, batch after batch
//	plan/batches.jsonl   one events.Batch a line, for the Map of many
//	plan/plan.json       planFile
//	plan/folders.jsonl   the directories and their names in the target
//	check/proof          what is proven so far: see proof.go
//	put/<n>.json         restore.Result: what became of batch n
//	fell/<n>.json        restore.Result: what batch n had come to when a call of it failed
//	putting/<n>.json     how far batch n is, where it takes several calls: see putting.go
//	results/             what Step Functions writes of the answers of a Map of many; nobody reads it
//	notes/<name>.json    what the target remembers, across attempts; some are of this package (notes.go)
//
// All but the notes go with the attempt. restores/by-execution/ says which restore an execution has begun: see execution.go.
package replay

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// Steps runs the steps of the restore workflow. It is safe for concurrent use.
type Steps struct {
	Vault    *vault.Vault
	Targets  Targets
	Trusted  []ed25519.PublicKey    // whose signatures count as ours
	MAC      manifest.Authenticator // checks the manifests that have a MAC; nil: their signatures are enough
	Fetch    fetch.Options          // what a URL may be
	Local    bool                   // files and folders of this machine may be named
	Notifier Notifier
	Now      func() time.Time
	Log      *slog.Logger
	Progress step.Progress
	Version  string                   // of this program
	Holder   string                   // who holds the lease: host and process
	Stale    func(catalog.Lease) bool // reports a lease whose holder is known to be dead; may be nil

	until func(ctx context.Context) (context.Context, limit) // for tests: instead of the deadline of a call
}

// Targets opens what a restore writes to.
type Targets interface {
	// Name returns how records and people name the place, without opening anything: NotFound where no target has
	// the name.
	Name(to events.To) (string, error)
	// Open opens it for a backup. The restore's id tells the throw-away targets of drills apart.
	Open(ctx context.Context, id backup.RestoreID, to events.To, from Backup, wishes app.Wishes) (Place, error)
}

// Backup is what a target needs to know of what is restored.
type Backup struct {
	Kind   string
	Folder string // its scope; "" for all of the application
	Source backup.Source
	Facts  app.Facts
	Open   func(ctx context.Context, path string) (io.ReadCloser, error) // reads one entry
}

// Place is an open target.
type Place struct {
	App app.Target // nil: a folder or a bucket, and nothing more
	// Ready says, before the check, that files could be put; existing lets a folder hold something already. undo takes
	// back what it made. nil: there is nothing to say.
	Ready func(existing bool) (undo func(), err error)
	// Put opens where files go; nil where none go anywhere but through App.
	Put   func(ctx context.Context, f Files) (restore.Destination, error)
	Close func()
}

// Files say which files a place gets, and how.
type Files struct {
	Name     func(manifest.Entry) (name string, put bool) // nil: as the place has them by itself
	Wants    func(manifest.Entry) bool
	Existing bool // a folder may hold something already
	Progress func(items, bytes int64)
}

// Notifier tells people about a restore.
type Notifier interface {
	NotifyRestore(ctx context.Context, record catalog.Restore) (catalog.Notified, error)
}

// The values of events.Restore.Check.
const (
	CheckFull   = "full"
	CheckStored = "stored"
)

// Functions names the steps of each function.
var Functions = map[string][]string{
	"restore": {"begin", "fetch", "check", "reserve", "put", "replay", "confirm", "release"},
	"notify":  {"notify-restore"},
}

// Handle runs one step: what a function does with one message. The answer is the JSON of the step's answer.
func (s *Steps) Handle(ctx context.Context, function string, message []byte) (json.RawMessage, error) {
	var request events.RestoreRequest
	if err := events.Decode(message, &request); err != nil {
		return nil, err
	}
	if err := known(function, request); err != nil {
		return nil, err
	}
	request.Restore.Execution = cmp.Or(request.Restore.Execution, request.Execution)
	began := s.Now()
	kept, stop := s.keepLease(ctx, request)
	answer, done, err := s.dispatch(kept, request)
	stop()
	if lost := context.Cause(kept); err != nil && errors.Is(lost, catalog.ErrLeaseLost) {
		err = failure.New(failure.Conflict, "another restore has taken the target over, or this one was closed from outside").
			WithHint("wait until it has ended, then run the same command again")
	}
	if gone := s.closed(ctx, request); gone != nil {
		err = errors.Join(gone, err)
	}
	if err == nil && done.over { // not earlier: the lease was renewed until now
		err = s.free(ctx, request.Restore)
	}
	s.logStep(ctx, request, began, done, err)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func known(function string, request events.RestoreRequest) error {
	if !slices.Contains(Functions[function], request.Step) {
		return failure.New(failure.Usage, "the function %s has no step %q of a restore", function, request.Step)
	}
	if request.Restore.ID == "" && !working(request.Step) {
		return nil
	}
	_, err := backup.ParseRestoreID(string(request.Restore.ID))
	return err
}

// working reports whether a step works on a restore that has begun and not ended: the others may have no id, have no lease
// yet or none any more, and no line in the record.
func working(step string) bool {
	return step != "begin" && step != "release" && step != "notify-restore"
}

// done is how much a step did, for the log.
type done struct {
	items, bytes int64
	message      string
	over         bool // the restore has ended: its target is free
}

func (s *Steps) dispatch(ctx context.Context, r events.RestoreRequest) (answer any, d done, err error) {
	switch r.Step {
	case "begin":
		answer, err = s.begin(ctx, r.Restore)
	case "fetch":
		answer, d, err = s.fetch(ctx, r.Restore, r.Fetch)
	case "check":
		answer, d, err = s.check(ctx, r.Restore)
	case "reserve":
		answer, err = struct{}{}, s.reserve(ctx, r.Restore)
	case "put":
		answer, d, err = s.put(ctx, r.Restore, r.Batch)
	case "replay":
		answer, d, err = s.apply(ctx, r.Restore)
	case "confirm":
		answer, d, err = s.confirm(ctx, r.Restore)
	case "release":
		answer, err = struct{}{}, s.release(ctx, r.Restore, r.Error)
	default:
		answer, err = struct{}{}, s.tell(ctx, r.Restore)
	}
	return answer, d, err
}

// logStep writes what a step did to the log, and into the record, which people follow. The record of a restore is no
// worse for a line that could not be written.
func (s *Steps) logStep(ctx context.Context, r events.RestoreRequest, began time.Time, d done, failed error) {
	took := s.Now().Sub(began)
	log := s.Log.With("step", r.Step, "restore", r.Restore.ID, "took", took.String())
	if failed != nil {
		log.Info("step failed", "error", failed, "kind", failure.KindOf(failed).String())
	} else {
		log.Info("step done")
	}
	if !working(r.Step) {
		return
	}
	line := catalog.StepLog{Step: r.Step, Began: began.UTC(), Took: took, Items: d.items, Bytes: d.bytes, Message: d.message}
	if failed != nil {
		line.Message, line.Failed = failed.Error(), true
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if _, err := s.update(after, r.Restore.ID, func(record *catalog.Restore) { record.Log(line) }); err != nil {
		log.Info("the step could not be noted", "error", err)
	}
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

// lease is held by one restore in one process: the same restore in another one is another run.
func (s *Steps) lease(r events.Restore) catalog.Lease {
	holder := s.Holder
	if r.Execution != "" {
		holder += " " + r.Execution // in a Lambda function all have one holder
	}
	return catalog.Lease{Run: backup.ID(string(r.ID) + " " + holder), Holder: holder}
}

// leaseOf returns what the restore holds while it works: its target.
func (s *Steps) leaseOf(r events.Restore) (backup.Source, error) {
	name, err := s.Targets.Name(r.To)
	if s.inVault(r.To) { // several drills may run at a time
		name = drillLease(r.ID)
	}
	return catalog.TargetLease(name), err
}

// inVault reports whether it is a drill in the functions of AWS, which has a place of its own in the vault.
func (s *Steps) inVault(to events.To) bool { return to.ThrowAway() && !s.Local }

// drillTarget is what Targets calls every throw-away target.
const drillTarget = "drill"

func drillLease(id backup.RestoreID) string { return drillTarget + " " + string(id) }

// keepLease renews the lease of the target while a step works.
func (s *Steps) keepLease(ctx context.Context, r events.RestoreRequest) (kept context.Context, stop func()) {
	name, err := s.leaseOf(r.Restore)
	if err != nil || !working(r.Step) {
		return ctx, func() {}
	}
	return s.catalog().Keep(ctx, name, s.lease(r.Restore), s.Now)
}

// closed looks, behind a step of a drill that has a place of its own, whether somebody has closed the drill while the step
// was at work: what it has written since then goes too, as nobody else will remove it.
func (s *Steps) closed(ctx context.Context, request events.RestoreRequest) error {
	r := request.Restore
	if !working(request.Step) || !s.inVault(r.To) || r.DryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	holds, err := s.catalog().Holds(ctx, catalog.TargetLease(drillLease(r.ID)), s.lease(r).Run)
	if holds || err != nil {
		return nil // release removes it all the same
	}
	record, err := s.catalog().Restore(ctx, r.ID)
	if err != nil || record.Status == backup.InProgress || record.Status.Good() {
		return nil
	}
	return errors.Join(failure.New(failure.Conflict, "the drill was closed from outside"), s.throwAway(ctx, r), s.clear(ctx, r.ID))
}

// update changes the record of a restore.
func (s *Steps) update(ctx context.Context, id backup.RestoreID, change func(*catalog.Restore)) (catalog.Restore, error) {
	return s.catalog().UpdateRestore(ctx, id, func(r *catalog.Restore) error {
		change(r)
		return nil
	})
}
