package step

import (
	"cmp"
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// locks is until when a backup is locked: the earliest end of the locks of what it needs, and of its archive.
type locks struct{ backup, archive time.Time }

// lockers is how many objects are locked at the same time: ten thousand packs take seconds, not minutes.
const lockers = 64

// lockAll locks what a backup needs, before its record says that there is one: every pack that its manifest names, also
// those that earlier backups brought, the manifest and what proves it, the description of the vault, and its archive for
// as long as that is kept. What is locked long enough already is left alone. An attempt that was stopped leaves a list of
// what it has locked, and the next one does the rest.
func (s *Steps) lockAll(ctx context.Context, w work, file archiveFile, o *outcome, pool []vault.Key) (locks, error) {
	if s.Lock == nil {
		return locks{}, nil
	}
	known, err := s.knownLocks(ctx, w.run.Source)
	if err != nil {
		return locks{}, err
	}
	keys := []vault.Key{vault.Marker, vault.Manifest(w.run.Source, w.run.ID), vault.Seal(w.run.Source, w.run.ID)}
	if o.mac != "" {
		keys = append(keys, o.mac)
	}
	if file.Manifest.Found {
		keys = append(keys, vault.Findings(w.run.Source, w.run.ID))
	}
	l := &locker{steps: s, known: known, span: s.Lock.Span(s.Now())}
	l.lock(ctx, append(keys, pool...))
	ends := l.ends
	if err := l.save(ctx); err != nil {
		return locks{}, err
	}
	archive, err := s.lockArchive(ctx, w, file, o)
	return locks{ends, archive}, err
}

// knownLocks returns what is known of the locks of a source. A list is there before the first lock: whoever cleans up behind
// a run that was killed while it locked must know that the store is to be asked.
func (s *Steps) knownLocks(ctx context.Context, source backup.Source) (catalog.Locks, error) {
	known, err := s.catalog().Locks(ctx, source)
	if err != nil || known.Kept() {
		return known, err
	}
	if err := s.catalog().SaveLocks(ctx, known, s.Now()); err != nil {
		return known, err
	}
	return s.catalog().Locks(ctx, source)
}

// lockArchive locks the files of an archive, and the lists of its volumes, for no longer than it is kept: it is a view,
// and what nobody may delete costs.
func (s *Steps) lockArchive(ctx context.Context, w work, file archiveFile, o *outcome) (time.Time, error) {
	policy, err := s.Sources.Policy(w.run.Source)
	if err != nil || len(file.Files) == 0 {
		return time.Time{}, err
	}
	span := s.Lock.Span(s.Now())
	if kept := o.archive.Made.Add(policy.Keep).Truncate(time.Second); policy.Keep > 0 && kept.Before(span.Until) {
		if kept.Sub(s.Now()) < time.Hour { // S3 takes no lock that has ended when it arrives
			return time.Time{}, nil
		}
		span = vault.Span{Least: kept, Until: kept}
	}
	var keys []vault.Key
	for _, f := range file.Files {
		keys = append(keys, f.Key)
	}
	if file.Split > 0 {
		for info, err := range s.Vault.List(ctx, vault.VolumeLists(w.run.Source, w.run.ID)) {
			if err != nil {
				return time.Time{}, err
			}
			keys = append(keys, info.Key)
		}
	}
	l := &locker{steps: s, span: span}
	l.lock(ctx, keys)
	return l.ends, l.err
}

// lockRecord locks the version of a record that says "completed". What is noted in it later (a proof, a drill, who was told)
// makes versions of their own, which no lock needs: this one names manifest and packs, and the bucket keeps it.
func (s *Steps) lockRecord(ctx context.Context, run events.Run) error {
	if s.Lock == nil {
		return nil
	}
	_, err := s.Vault.Lock(ctx, vault.Record(run.Source, run.ID), *s.Lock, s.Lock.Span(s.Now()))
	return err
}

// locker locks objects for a span.
type locker struct {
	steps *Steps
	known catalog.Locks // of the pool
	span  vault.Span

	mutex   sync.Mutex
	ends    time.Time // the earliest of all
	changed bool      // known is
	err     error
}

func (l *locker) lock(ctx context.Context, keys []vault.Key) {
	var due []vault.Key
	for _, key := range keys {
		if until := l.known.Until(key); until.Before(l.span.Least) {
			due = append(due, key)
		} else {
			l.end(until)
		}
	}
	var group errgroup.Group // what is under way comes to its end, so that it can be written down
	group.SetLimit(lockers)
	for _, key := range due {
		group.Go(func() error {
			if l.failed() {
				return nil
			}
			until, err := l.steps.Vault.Lock(ctx, key, *l.steps.Lock, l.span)
			l.mutex.Lock()
			defer l.mutex.Unlock()
			if err != nil {
				l.err = cmp.Or(l.err, err)
				return nil
			}
			l.end(until)
			l.changed = l.known.Set(key, until) || l.changed
			return nil
		})
	}
	_ = group.Wait() // l.err has what went wrong
}

func (l *locker) failed() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.err != nil
}

// end notes when one of the locks ends. The caller has the mutex, or is alone.
func (l *locker) end(until time.Time) {
	if l.ends.IsZero() || until.Before(l.ends) {
		l.ends = until
	}
}

// save writes down what was locked, also where not everything was.
func (l *locker) save(ctx context.Context) error {
	if !l.changed {
		return l.err
	}
	if l.err != nil { // the time may be over
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = l.steps.catalog().SaveLocks(saving, l.known, l.steps.Now()) // it saves the next attempt some requests, no more
		return l.err
	}
	return l.steps.catalog().SaveLocks(ctx, l.known, l.steps.Now())
}

// authenticate writes the MAC of the manifest, where there is a key for it, and returns the key under which it lies.
func (s *Steps) authenticate(ctx context.Context, run events.Run, m manifestFile) (vault.Key, error) {
	if s.MAC == nil {
		return "", nil
	}
	sealed := manifest.Sealed{Source: run.Source, Backup: run.ID, SHA256: m.SHA256, Entries: m.Entries}
	data, err := manifest.Authenticate(ctx, s.MAC, sealed)
	if err != nil {
		return "", err
	}
	key := vault.MAC(run.Source, run.ID)
	err = s.Vault.Create(ctx, key, data)
	if err != nil && failure.KindOf(err) == failure.Conflict { // an attempt before the stack had another key
		err = failure.New(failure.Corrupt, "%w", err).WithHint("somebody else has written it: start the backup again")
	}
	return key, err
}
