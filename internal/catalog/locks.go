package catalog

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Locks says until when objects of a source's pool are locked: catalog/locks/<source>.json. A run writes it before its first
// lock, and again before its record says "completed", so that the next run need not ask the store for each pack.
// The store has the last word: the list may know of less than there is. It knows keys, not versions, and so of more where
// somebody has written a pack anew, or has shortened a lock that governance let him bypass.
type Locks struct {
	source backup.Source
	until  map[vault.Key]time.Time
	etag   string
}

// locksFile is how it is stored: what is locked together stands together.
type locksFile struct {
	Format int                 `json:"lifeboat_locks"`
	Locks  map[string][]string `json:"locks"` // by the time in RFC 3339: what follows packs/<source>/ in the keys, in order
}

const locksFormat = 1

// Locks returns what is known of the locks of a source. A list that is damaged is as good as none.
func (c *Catalog) Locks(ctx context.Context, source backup.Source) (Locks, error) {
	l := Locks{source: source, until: map[vault.Key]time.Time{}}
	var file locksFile
	etag, err := c.vault.GetJSON(ctx, vault.Locks(source), &file)
	l.etag = etag
	switch kind := failure.KindOf(err); {
	case err != nil && (kind == failure.NotFound || kind == failure.Corrupt && etag != ""):
		return l, nil
	case err != nil:
		return l, err
	case file.Format > locksFormat:
		return l, failure.New(failure.Usage, "%s was written by a newer lifeboat", vault.Locks(source)).WithHint("use a newer lifeboat")
	}
	for text, names := range file.Locks {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil {
			continue // as good as none
		}
		for _, name := range names {
			l.until[vault.Packs(source)+vault.Key(name)] = until.UTC()
		}
	}
	return l, nil
}

// Kept reports whether anybody has ever locked something of the pool.
func (l Locks) Kept() bool { return l.etag != "" }

// Until is when the lock of an object ends, as far as it is known; zero where it has none.
func (l Locks) Until(key vault.Key) time.Time { return l.until[key] }

// Set notes a lock, and reports whether that is something to write down: only what lies in the pool is.
func (l Locks) Set(key vault.Key, until time.Time) bool {
	if l.until == nil || !strings.HasPrefix(string(key), string(vault.Packs(l.source))) {
		return false
	}
	l.until[key] = until
	return true
}

// SaveLocks writes what is known of locks that have not ended, over the list that was read: Conflict when somebody else
// has written one meanwhile. The caller holds the source's lease.
func (c *Catalog) SaveLocks(ctx context.Context, l Locks, now time.Time) error {
	file := locksFile{Format: locksFormat, Locks: map[string][]string{}}
	for _, key := range slices.Sorted(maps.Keys(l.until)) {
		if until := l.until[key]; until.After(now) {
			text := until.UTC().Truncate(time.Second).Format(time.RFC3339)
			file.Locks[text] = append(file.Locks[text], strings.TrimPrefix(string(key), string(vault.Packs(l.source))))
		}
	}
	cond := vault.IfAbsent()
	if l.etag != "" {
		cond = vault.IfMatch(l.etag)
	}
	_, err := c.vault.PutJSON(ctx, vault.Locks(l.source), file, cond)
	return err
}

// ForgetLocks removes the list of a source that has nothing left to lock.
func (c *Catalog) ForgetLocks(ctx context.Context, l Locks) error {
	if l.etag == "" {
		return nil
	}
	return c.vault.Delete(ctx, vault.Locks(l.source))
}
