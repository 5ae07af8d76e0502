package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
	"lifeboat/internal/vault"
)

// Prepare checks what was asked and returns it with its id and its defaults. It writes nothing.
func (s *Steps) Prepare(ctx context.Context, r events.Restore) (events.Restore, error) {
	r, _, err := s.complete(ctx, r)
	return r, err
}

// begin completes what was asked, takes the target and writes the record.
func (s *Steps) begin(ctx context.Context, r events.Restore) (events.RestoreBegan, error) {
	s.phase("begin", 0, 0)
	named := r.ID != ""
	r, origin, err := s.complete(ctx, r)
	if err != nil {
		return events.RestoreBegan{}, err
	}
	if !named {
		if err := s.know(ctx, r); err != nil {
			return events.RestoreBegan{}, err
		}
	}
	target, err := s.Targets.Name(r.To)
	if err != nil {
		return events.RestoreBegan{}, err
	}
	held, err := s.take(ctx, r)
	if held || err != nil {
		return events.RestoreBegan{Answer: "skip", Restore: r}, err
	}
	if err := s.record(ctx, r, origin, target); err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return events.RestoreBegan{}, errors.Join(err, s.End(after, r, backup.Failed, catalog.FailureOf(err)))
	}
	if r.From.URL != "" { // it is a secret: the states that follow need not hold it
		if err := (notes{s.Vault, r.ID}).Put(ctx, noteURL, r.From.URL); err != nil {
			return events.RestoreBegan{}, err
		}
		r.From.URL = netguard.Redact(r.From.URL)
	}
	return events.RestoreBegan{Answer: "run", Restore: r, Fetched: r.From.URL == ""}, nil
}

// record makes the place ready for this attempt and writes its record.
func (s *Steps) record(ctx context.Context, r events.Restore, origin catalog.Origin, target string) error {
	if err := s.closeLost(ctx, r, target); err != nil {
		return err
	}
	s.abandon(ctx, r) // of an attempt that was lost
	if err := s.clear(ctx, r.ID); err != nil {
		return err
	}
	if err := s.fetchedFrom(ctx, r); err != nil {
		return err
	}
	_, _, err := s.catalog().BeginRestore(ctx, catalog.Restore{
		ID: r.ID, From: origin, Target: target, Name: r.Wishes.Name, Only: r.Only, Part: part(r), Check: r.Check, DryRun: r.DryRun, Drill: r.To.Drill,
		Status: backup.InProgress, StartedBy: r.StartedBy, Started: s.Now().UTC(), Lifeboat: s.Version, Execution: r.Execution,
	})
	return err
}

// closeLost ends every other restore into the target that is in progress by its record: the target is ours, so it died
// without closing itself. The name that it had reserved is free again.
func (s *Steps) closeLost(ctx context.Context, r events.Restore, target string) error {
	for lost, err := range s.catalog().Restores(ctx) {
		if err != nil && failure.KindOf(err) != failure.Corrupt && failure.KindOf(err) != failure.Invalid {
			return err
		}
		if err != nil || lost.ID == r.ID || lost.Target != target || lost.Status != backup.InProgress {
			continue
		}
		live, err := s.live(ctx, lost)
		if err != nil {
			return err
		}
		if live {
			continue
		}
		if lost.Name != "" {
			if err := s.catalog().ReleaseName(ctx, target, lost.Name, lost.ID); err != nil {
				return err
			}
		}
		s.abandon(ctx, events.Restore{ID: lost.ID, To: r.To, Wishes: app.Wishes{Documents: true, Objects: true}}) // into the same target
		sum := s.soFar(ctx, lost.ID)
		err = s.clear(ctx, lost.ID)
		if thrownAway(lost) {
			err = errors.Join(err, s.empty(ctx, lost.ID))
		}
		if err != nil {
			return err
		}
		_, err = s.update(ctx, lost.ID, func(record *catalog.Restore) {
			if record.Status == backup.InProgress {
				record.Status, record.Finished = backup.Failed, s.Now().UTC()
				record.Failure = &catalog.Failure{Kind: "lost", Message: "the restore ended without a word: its process was killed, or the machine went down", Hint: "run the same command again: it goes on with what is missing"}
				notePut(record, sum)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// part says what is left out of the backup, if anything.
func part(r events.Restore) string {
	switch {
	case !r.Wishes.Objects:
		return "documents"
	case !r.Wishes.Documents:
		return "objects"
	}
	return ""
}

// complete checks what was asked, fills in the defaults, and gives the restore its id.
func (s *Steps) complete(ctx context.Context, r events.Restore) (events.Restore, catalog.Origin, error) {
	r = withDefaults(r)
	if err := s.sensible(r); err != nil {
		return r, catalog.Origin{}, err
	}
	if r.ID == "" { // an attempt of this begin that was not heard may have found another one to be the latest
		k, _, err := s.knownBy(ctx, r.Execution)
		if err != nil {
			return r, catalog.Origin{}, err
		}
		r.From.Backup = cmp.Or(k.Backup, r.From.Backup)
	}
	origin, err := s.origin(ctx, &r)
	if err != nil {
		return r, origin, err
	}
	target, err := s.Targets.Name(r.To)
	if err != nil {
		return r, origin, err
	}
	words := []string{
		string(origin.Source), string(origin.Backup), origin.File, origin.URL, origin.Digest,
		target, r.Wishes.Name, r.Wishes.As, r.Wishes.FolderInto, part(r), strconv.FormatBool(r.Wishes.Rename),
	}
	if b := r.To.Bucket; b != nil {
		words = append(words, b.Endpoint, b.Layout) // which its name doesn't say
	}
	switch {
	case r.To.ThrowAway() && r.ID == "": // each has a target of its own
		words = append(words, cmp.Or(r.Execution, s.Now().UTC().String()))
	case r.To.Drill:
		words = append(words, "drill") // what it remembers is not what a restore remembers
	}
	words = append(words, r.Only...)
	if r.ID == "" || !r.To.ThrowAway() {
		r.ID = backup.NewRestoreID(words...)
	}
	if r.DryRun { // has a record of its own, and looks at what the restore itself remembers
		r.Trial = r.ID
		r.ID = backup.NewRestoreID(append(words, "dry run")...)
	}
	return r, origin, nil
}

func withDefaults(r events.Restore) events.Restore {
	r.Check = cmp.Or(r.Check, CheckFull)
	if r.Only == nil {
		r.Only = []string{}
	}
	if !r.Wishes.Documents && !r.Wishes.Objects { // a person who starts the workflow by hand says neither
		r.Wishes.Documents, r.Wishes.Objects = true, true
	}
	return r
}

// sensible refuses what cannot be done, before anything is opened.
func (s *Steps) sensible(r events.Restore) error {
	if n := count(r.From.Backup != "", r.From.File != "", r.From.URL != ""); n != 1 {
		return failure.New(failure.Usage, "a restore is from one of backup, file and url; %d of them are given", n)
	}
	if n := count(r.To.Target != "", r.To.Folder != "", r.To.Bucket != nil, r.To.ThrowAway()); n != 1 || r.To.Drill && (r.To.Folder != "" || r.To.Bucket != nil) {
		return failure.New(failure.Usage, "a restore goes to one of target, folder, bucket and drill, or to a target that is there for drills; %d of them are given", n)
	}
	switch {
	case r.Check != CheckFull && r.Check != CheckStored:
		return failure.New(failure.Usage, "check is %q: it is full or stored", r.Check)
	case r.Check == CheckStored && r.From.Backup == "":
		return failure.New(failure.Usage, "check stored is for backups in the vault: no store keeps checksums of anything else").
			WithHint("leave it out: every byte is read then")
	case !s.Local && (r.From.File != "" || r.To.Folder != ""):
		return failure.New(failure.Usage, "there are no files and folders where this restore runs").
			WithHint("restore a backup or a URL to a target of lifeboat.yaml, or run the restore on your machine")
	case r.From.File != "" && !filepath.IsAbs(r.From.File), r.To.Folder != "" && !filepath.IsAbs(r.To.Folder):
		return failure.New(failure.Usage, "files and folders are named with their absolute paths")
	case strings.ContainsAny(r.Wishes.Name, "/\\\x00\n\r") || r.Wishes.Name == "." || r.Wishes.Name == ".." || len(r.Wishes.Name) > 200:
		return failure.New(failure.Usage, "%q is no name: it has up to 200 bytes, no slashes and no line breaks", r.Wishes.Name)
	}
	if _, err := files.ParseGlobs(r.Only); err != nil {
		return err
	}
	return small(r)
}

// maxRestore is how large a restore may be as JSON, in bytes: it is in the input of every state.
const maxRestore = 24 << 10

func small(r events.Restore) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(data) > maxRestore {
		return failure.New(failure.Usage, "what is asked of the restore takes %d bytes, %d are allowed", len(data), maxRestore).
			WithHint("give fewer --only patterns, with wildcards, or a shorter address")
	}
	return nil
}

func count(given ...bool) int {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	return n
}

// origin finds what is restored, and writes the whole id of a backup into r.
func (s *Steps) origin(ctx context.Context, r *events.Restore) (catalog.Origin, error) {
	switch {
	case r.From.URL != "":
		if err := s.Fetch.Guard.Check(r.From.URL); err != nil {
			return catalog.Origin{}, err
		}
		return catalog.Origin{URL: netguard.Redact(r.From.URL)}, nil
	case r.From.File != "":
		return s.originOfFile(ctx, r.From.File)
	}
	found, err := s.catalog().Find(ctx, r.From.Backup)
	if err != nil {
		return catalog.Origin{}, err
	}
	if !found.Status.Good() {
		return catalog.Origin{}, failure.New(failure.NotFound, "backup %s is %s: there is nothing to restore", found.ID, found.Status).
			WithHint("`lifeboat list` shows the others")
	}
	r.From.Backup = string(found.Source) + ":" + string(found.ID)
	if over := found.Over(); len(over) > 0 {
		r.Passed = over
	}
	return catalog.Origin{Source: found.Source, Backup: found.ID, Digest: found.Manifest.SHA256}, nil
}

// take takes the target for the restore; held says that another restore, or another process at this one, works on it.
func (s *Steps) take(ctx context.Context, r events.Restore) (held bool, err error) {
	name, err := s.leaseOf(r)
	if err != nil {
		return false, err
	}
	_, err = s.catalog().Acquire(ctx, name, s.lease(r), s.Now(), s.Stale)
	if _, other := errors.AsType[catalog.Held](err); other {
		return true, nil
	}
	return false, err
}

// elsewhere reports whether another process is at the same restore.
func (s *Steps) elsewhere(ctx context.Context, r events.Restore) (bool, error) {
	name, err := s.leaseOf(r)
	if err != nil {
		return false, nil // nobody can be at it
	}
	lease, live, err := s.holder(ctx, name)
	return live && lease.Run != s.lease(r).Run && strings.HasPrefix(string(lease.Run), string(r.ID)+" "), err
}

// holder returns the lease of a target, and whether somebody lives who holds it.
func (s *Steps) holder(ctx context.Context, name backup.Source) (lease catalog.Lease, live bool, err error) {
	lease, there, err := s.catalog().Holder(ctx, name)
	return lease, there && s.Now().Before(lease.Expires) && (s.Stale == nil || !s.Stale(lease)), err
}

// free gives the target back.
func (s *Steps) free(ctx context.Context, r events.Restore) error {
	name, err := s.leaseOf(r)
	if err != nil {
		return err
	}
	return s.catalog().Release(ctx, name, s.lease(r).Run)
}

// clear removes what an earlier attempt planned and put; what the target remembers of it stays.
func (s *Steps) clear(ctx context.Context, id backup.RestoreID) error {
	for _, folder := range []string{"plan/", "check/", "put/", "putting/", "fell/", "results/"} {
		if err := s.Vault.DeleteAll(ctx, vault.RestoreWork(id, folder)); err != nil {
			return err
		}
	}
	return nil
}

// live reports whether a drill runs into a target that is made for it, and is under way: in functions each holds a lease of its own, on
// machines one at a time holds that of all.
func (s *Steps) live(ctx context.Context, record catalog.Restore) (bool, error) {
	if !thrownAway(record) {
		return false, nil
	}
	for _, name := range []string{drillLease(record.ID), drillTarget} {
		lease, alive, err := s.holder(ctx, catalog.TargetLease(name))
		if err != nil || alive && lease.Restore() == record.ID {
			return true, err
		}
	}
	return false, nil
}

// thrownAway reports whether a restore is a drill into a target that was made for it, wherever it ran.
func thrownAway(record catalog.Restore) bool { return record.Drill && record.Target == drillTarget }

// throwAway removes what a drill in the functions of AWS has restored.
func (s *Steps) throwAway(ctx context.Context, r events.Restore) error {
	if !s.inVault(r.To) {
		return nil
	}
	return s.empty(ctx, r.ID)
}

func (s *Steps) empty(ctx context.Context, id backup.RestoreID) error {
	return errors.Join(s.Vault.AbortAll(ctx, vault.Drill(id)), s.Vault.DeleteAll(ctx, vault.Drill(id)))
}
