package retention

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// Grace is how long what nobody needs stays in the pool after a sweep has found it: who reads a backup meanwhile, and
// learned before that where its packs lie, comes to an end.
const Grace = 24 * time.Hour

// Freed is what a sweep has removed, and what it has condemned.
type Freed struct {
	Packs   int   // merged ones too
	Bytes   int64 // of them and of indexes; after Delete also of the archive
	Refused int   // objects that the store did not let go, such as locked ones

	Condemned      int       // packs that wait for their end
	CondemnedBytes int64     // of them and of indexes
	Due            time.Time // when the last of them may go

	Locked      int       // of those that are condemned: packs that stay until their locks end
	LockedUntil time.Time // when the last of these locks ends

	// Kept is why nothing of the pool was looked at: nil after a whole sweep.
	Kept error
}

// condemnedFile is vault.Condemned(source).
type condemnedFile struct {
	Format  int         `json:"lifeboat_condemned"`
	Looked  time.Time   `json:"looked,omitzero"` // when somebody last looked for garbage
	Objects []condemned `json:"objects"`         // in the order of keys
}

type condemned struct {
	Key   vault.Key `json:"key"`
	Bytes int64     `json:"bytes"`
	Since time.Time `json:"since"`
	// Locked is when its lock ends, where it had one when it was looked at last.
	Locked time.Time `json:"locked,omitzero"`
}

const condemnedFormat = 1

// sweep collects the garbage of a pool, in two phases. What no manifest needs is condemned: written down, with the time.
// A sweep that finds it still unneeded after Grace deletes it; what became needed again is pardoned. What is locked stays
// until its lock has ended: a bucket that keeps versions would hide it, no more. The caller holds
// the source's lease, so that no run can count on what is about to go: a run that reuses a pack either has sealed its
// manifest, which is read here, or was stopped, and then nothing goes.
type sweep struct {
	vault  *vault.Vault
	source backup.Source
	except backup.ID // a backup that is being deleted, or "": it needs nothing any more
	now    time.Time
	atOnce bool // without Grace
	dry    bool // only says what would happen
	mac    manifest.Authenticator
}

func (s sweep) run(ctx context.Context) (Freed, error) {
	all, err := named(ctx, s.vault, s.source, s.except, s.mac)
	if err != nil {
		return Freed{}, err
	}
	p, err := pool.Open(ctx, s.vault, s.source)
	if err != nil {
		return Freed{}, err
	}
	if damaged := p.Damaged(); len(damaged) > 0 {
		return Freed{}, failure.New(failure.Corrupt, "the index %s of a merged pack is damaged: what lies in the pack is not known", damaged[0])
	}
	garbage, missing := p.Garbage(all.packs)
	if len(missing) > 0 { // it may lie in a merged pack that has lost its index
		id := all.by[missing[0]]
		if spot, found := p.Find(missing[0]); found {
			return Freed{}, failure.New(failure.Corrupt, "the pack %s has another size or CRC-32 in %s than backup %s says, which needs it: nothing else goes while that is so",
				missing[0], spot.Key, id).
				WithHint("`lifeboat verify %s` says what is left of it; once it is deleted, what nobody else needs can go", id)
		}
		return Freed{}, failure.New(failure.NotFound, "the pack %s, which backup %s needs, is gone: nothing else goes while that is so", missing[0], id).
			WithHint("`lifeboat verify %s` says what is left of it; once it is deleted, what nobody else needs can go", id)
	}
	file, etag, err := s.read(ctx)
	if err != nil {
		return Freed{}, err
	}
	locks, err := catalog.New(s.vault).Locks(ctx, s.source)
	if err != nil {
		return Freed{}, err
	}
	due, waiting, err := s.unlocked(ctx, locks, s.judge(garbage, file.Objects, locks))
	if err != nil {
		return Freed{}, err
	}
	freed, waiting, err := s.carryOut(ctx, p, due, waiting)
	if err != nil || s.dry {
		return freed, err
	}
	if len(waiting) == 0 && len(all.packs) == 0 { // nothing of the source is left
		if err := catalog.New(s.vault).ForgetLocks(ctx, locks); err != nil {
			return freed, err
		}
		return freed, s.forget(ctx, etag)
	}
	return freed, s.write(ctx, waiting, etag)
}

// judge tells what may go from what waits: for the end of its time, or of its lock.
func (s sweep) judge(garbage []vault.Info, before []condemned, locks catalog.Locks) (all verdict) {
	known := map[vault.Key]condemned{}
	for _, c := range before {
		known[c.Key] = c
	}
	for _, info := range garbage {
		c := condemned{info.Key, info.Size, known[info.Key].Since, locks.Until(info.Key)}
		if c.Since.IsZero() || info.Modified.After(c.Since) { // it is another object, or was written again
			c.Since = s.now.Round(0).UTC()
		} else if was := known[info.Key].Locked; was.After(c.Locked) {
			c.Locked = was
		}
		if !s.now.Before(c.due()) || s.atOnce && !s.now.Before(c.Locked) {
			all.due = append(all.due, c)
		} else {
			all.waiting = append(all.waiting, c)
		}
	}
	return all
}

// verdict is what may go, and what waits.
type verdict struct{ due, waiting []condemned }

// carryOut deletes what is due, and returns what waits then.
func (s sweep) carryOut(ctx context.Context, p *pool.Pool, due, waiting []condemned) (Freed, []condemned, error) {
	var freed Freed
	if s.dry {
		for _, c := range due {
			freed.gone(c)
		}
	} else if len(due) > 0 {
		kept, err := s.delete(ctx, p, due, &freed)
		if err != nil {
			return freed, nil, err
		}
		waiting = append(waiting, kept...)
	}
	for _, c := range waiting {
		freed.Condemned += c.packs()
		freed.CondemnedBytes += c.Bytes
		if at := c.due(); at.After(freed.Due) {
			freed.Due = at
		}
		if c.Locked.After(s.now) {
			freed.Locked += c.packs()
			if c.Locked.After(freed.LockedUntil) {
				freed.LockedUntil = c.Locked
			}
		}
	}
	return freed, waiting, nil
}

func (f *Freed) gone(c condemned) {
	f.Packs += c.packs()
	f.Bytes += c.Bytes
}

// packs is 1, or 0 for an index.
func (c condemned) packs() int {
	if vault.IsMerge(c.Key) {
		return 0
	}
	return 1
}

// delete removes objects, the indexes last, and returns those that stay: the store refuses, or the merged pack that
// holds the bytes of one is not proven to have them.
func (s sweep) delete(ctx context.Context, p *pool.Pool, due []condemned, freed *Freed) (kept []condemned, err error) {
	if err := s.vault.Sync(ctx); err != nil { // a merged pack must survive what it replaces
		return nil, err
	}
	whole := map[vault.Key]bool{}
	for _, index := range []bool{false, true} {
		var mutex sync.Mutex
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(64)
		for _, c := range due {
			if vault.IsMerge(c.Key) != index {
				continue
			}
			if !index && !s.replaced(ctx, p, c.Key, whole) {
				kept = append(kept, c)
				continue
			}
			group.Go(func() error {
				err := s.vault.Delete(groupCtx, c.Key)
				mutex.Lock()
				defer mutex.Unlock()
				switch {
				case err == nil:
					freed.gone(c)
				case failure.KindOf(err) == failure.Denied:
					freed.Refused++
					kept = append(kept, c)
				default:
					return err
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// replaced reports whether a pack may go as far as its bytes are concerned: where the pool finds them in a merged pack,
// the store's own checksum proves that pack.
func (s sweep) replaced(ctx context.Context, p *pool.Pool, key vault.Key, whole map[vault.Key]bool) bool {
	spot, ok := p.Find(vault.PackID(key))
	if !ok || spot.Key == key {
		return true
	}
	proven, asked := whole[spot.Key]
	if !asked {
		m, merged := p.Merges(spot.Key)
		proven = merged && s.vault.Completed(ctx, spot.Key, m.Pack.Bytes, uint32(m.Pack.CRC32))
		whole[spot.Key] = proven
	}
	return proven
}

// read returns the list of condemned objects. One that is damaged is as good as none: their time begins anew.
func (s sweep) read(ctx context.Context) (condemnedFile, string, error) {
	var file condemnedFile
	etag, err := s.vault.GetJSON(ctx, vault.Condemned(s.source), &file)
	switch kind := failure.KindOf(err); {
	case err != nil && kind == failure.NotFound:
		return condemnedFile{}, "", nil
	case err != nil && kind == failure.Corrupt && etag != "":
		return condemnedFile{}, etag, nil
	case err == nil && file.Format > condemnedFormat:
		return file, "", failure.New(failure.Usage, "%s was written by a newer lifeboat", vault.Condemned(s.source)).WithHint("use a newer lifeboat")
	}
	return file, etag, err
}

// write replaces the list that was read, and says that the pool was looked through.
func (s sweep) write(ctx context.Context, waiting []condemned, etag string) error {
	slices.SortFunc(waiting, func(a, b condemned) int { return cmp.Compare(a.Key, b.Key) })
	cond := vault.IfAbsent()
	if etag != "" {
		cond = vault.IfMatch(etag)
	}
	file := condemnedFile{condemnedFormat, s.now.Round(0).UTC(), append([]condemned{}, waiting...)}
	_, err := s.vault.PutJSON(ctx, vault.Condemned(s.source), file, cond)
	return err
}

// forget removes the list that was read.
func (s sweep) forget(ctx context.Context, etag string) error {
	if etag == "" {
		return nil
	}
	return s.vault.Delete(ctx, vault.Condemned(s.source))
}

// looked writes down that somebody looked, and nothing else.
func (s sweep) looked(ctx context.Context) error {
	file, etag, err := s.read(ctx)
	if err != nil {
		return err
	}
	return s.write(ctx, file.Objects, etag)
}

// worthIt reports whether something is condemned and due, or nobody has looked for LookTime; where nobody ever has, since
// the first backup of the source.
func (s sweep) worthIt(ctx context.Context) (bool, error) {
	file, _, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	for _, c := range file.Objects {
		if !s.now.Before(c.due()) {
			return true, nil
		}
	}
	since := file.Looked
	if since.IsZero() {
		if since, err = s.first(ctx); err != nil || since.IsZero() {
			return false, err
		}
	}
	return !s.now.Before(since.Add(LookTime)), nil
}

// first returns when the oldest backup of the source began; zero where it has none.
func (s sweep) first(ctx context.Context) (time.Time, error) {
	for info, err := range s.vault.List(ctx, vault.Records(s.source)) {
		if err != nil {
			return time.Time{}, err
		}
		name := strings.TrimSuffix(path.Base(string(info.Key)), ".json")
		if id, err := backup.ParseID(name); err == nil {
			return id.Time(), nil
		}
	}
	return time.Time{}, nil
}
