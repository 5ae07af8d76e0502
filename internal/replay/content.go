package replay

import (
	"context"
	"io"
	"iter"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
)

// content opens one entry by its path. Entries that are asked for in the order of the archive are found at once. It is
// safe for concurrent use, as is what it returns. A walk that broke off, since nobody asked for an hour, is begun anew.
func (b *subject) content(ctx context.Context, path string) (io.ReadCloser, error) {
	b.mutex.Lock()
	e, at, bytes, err := b.find(path)
	b.mutex.Unlock()
	if err != nil {
		return nil, err
	}
	return restore.Content(ctx, bytes, e, at)
}

func (b *subject) find(path string) (manifest.Entry, restore.Spot, restore.Bytes, error) {
	for {
		whole := b.cursor == nil
		if whole {
			b.cursor = b.walk()
		}
		c := b.cursor
		found, err := c.find(path)
		if found {
			return c.entry, c.at, c.bytes, nil
		}
		b.rewind()
		switch {
		case err != nil && (whole || failure.KindOf(err) != failure.Transient):
			return manifest.Entry{}, restore.Spot{}, restore.Bytes{}, err
		case err == nil && whole:
			return manifest.Entry{}, restore.Spot{}, restore.Bytes{}, failure.New(failure.NotFound, "%s holds no %q", b.name, path)
		}
	}
}

func (b *subject) rewind() {
	if b.cursor != nil {
		b.cursor.stop()
		b.cursor = nil
	}
}

// cursor walks over the entries and where they lie.
type cursor struct {
	bytes restore.Bytes
	next  func() (manifest.Entry, error, bool)
	stop  func()
	entry manifest.Entry // the last one
	at    restore.Spot
}

func (b *subject) walk() *cursor {
	// the walk outlives the call that begins it: it must not end with that one's context
	ctx, cancel := context.WithCancel(context.Background())
	next, stop := iter.Pull2(b.entries(ctx))
	return &cursor{bytes: b.bytes(), next: next, stop: func() { stop(); cancel() }}
}

// find goes on to the entry of a path; the one where it stands counts too.
func (c *cursor) find(path string) (bool, error) {
	for c.entry.Path != path || path == "" {
		e, err, ok := c.next()
		if !ok || err != nil {
			return false, err
		}
		if c.at, err = c.bytes.Locate(e); err != nil {
			return false, err
		}
		c.entry = e
	}
	return true, nil
}
