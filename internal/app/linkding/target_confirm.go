package linkding

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Confirm implements app.Target: every file is there with its size, the database is that of the backup and whole, its
// references hold, its rows are as many as in the backup, and every file that they name is there.
func (t *Target) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	if err := proper(r); err != nil {
		return app.Confirmation{}, err
	}
	there, err := t.look(ctx)
	if err != nil {
		return app.Confirmation{}, err
	}
	c := &confirmation{target: t, there: there.sizes, backup: map[string]int64{}, files: app.Count{What: "files"}}
	if err := c.items(ctx, r); err != nil {
		return app.Confirmation{}, err
	}
	if c.database != nil {
		if err := c.look(ctx, r); err != nil {
			return app.Confirmation{}, err
		}
	}
	c.Counts = append(c.Counts, c.files)
	c.Asserted = append(c.Asserted, fmt.Sprintf("%d of %d files are there with the backup's sizes", c.files.Create, c.files.Create+c.files.Skip))
	c.extra()
	return c.Confirmation, nil
}

// confirmation is one look at a restored folder.
type confirmation struct {
	app.Confirmation
	target   *Target
	there    map[string]int64 // sizes of the files in the folder, by path
	backup   map[string]int64 // and of those in the backup; -1: not chosen
	files    app.Count
	database *app.Item
}

func (c *confirmation) found(f app.Finding) { c.Findings = append(c.Findings, f) }

// items compares every item of the backup by its size.
func (c *confirmation) items(ctx context.Context, r *app.Replay) error {
	for i, err := range r.Items(ctx) {
		switch {
		case err != nil:
			return err
		case !belongs(i):
			continue
		case !i.Chosen:
			c.backup[i.Path] = -1
			continue
		}
		c.backup[i.Path] = i.Size
		if i.Path == database {
			c.database = &i
			continue
		}
		c.files.Backup++
		size, ok := c.there[i.Path]
		switch {
		case !ok:
			c.files.Skip++
			c.found(problem("missing", i.Path, "the file is in the backup and not in the data folder: run the same restore again"))
		case size != i.Size:
			c.files.Skip++
			c.found(problem("size", i.Path, "the file has %d bytes, in the backup it has %d: move it away, and run the same restore again", size, i.Size))
		default:
			c.files.Create++
		}
		r.Working(1, 0)
	}
	return nil
}

// look reads the restored database.
func (c *confirmation) look(ctx context.Context, r *app.Replay) error {
	if _, ok := c.there[database]; !ok {
		c.found(problem("missing", database, "the database is in the backup and not in the data folder: run the same restore again"))
		return nil
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	l, err := c.read(ctx)
	if failure.KindOf(err) == failure.Corrupt && err != nil {
		c.found(problem("damaged", database, "the restored database can't be used: %v", err))
		return nil
	}
	if err != nil {
		return err
	}
	c.whole(l)
	if err := c.rows(ctx, r, l); err != nil {
		return err
	}
	c.named(l)
	return nil
}

// compare holds the bytes of the restored database against the backup's.
func (c *confirmation) compare(ctx context.Context) error {
	same, err := c.target.sameDatabase(ctx, *c.database)
	switch {
	case failure.KindOf(err) == failure.Conflict && err != nil, err == nil && !same && c.target.started():
		c.found(note("started", database, "linkding has been started with the restored folder: its database is not the backup's byte for byte any more"))
	case err != nil:
		return err
	case same:
		c.Asserted = append(c.Asserted, "the restored database is the backup's, byte for byte")
	default:
		c.found(problem("differs", database, "the database in the data folder has other bytes than the backup's: it was there before, or was changed since"))
	}
	return nil
}

// started reports whether linkding seems to have been started with the folder.
func (t *Target) started() bool {
	return slices.ContainsFunc([]string{database + "-wal", database + "-shm", "tasks.sqlite3"}, func(name string) bool {
		return exists(filepath.Join(t.options.Data, name))
	})
}

// read reads a copy of the restored database, which linkding may be using by now.
func (c *confirmation) read(ctx context.Context) (*library, error) {
	dir, remove, err := temporaryFolder(c.target.options.TempDir)
	if err != nil {
		return nil, err
	}
	defer remove()
	if err := c.target.room(dir, c.there[database], "a copy of the restored database"); err != nil {
		return nil, err
	}
	_, _, l, err := c.target.source().read(ctx, dir)
	if failure.KindOf(err) == failure.Invalid { // it is not linkding's
		err = failure.New(failure.Corrupt, "%w", err)
	}
	return l, err
}

// whole says that the file of the restored database is whole, and whether its rows are a library.
func (c *confirmation) whole(l *library) {
	c.Findings = append(c.Findings, slices.Concat(l.lacking, l.references)...)
	if len(l.references) == 0 {
		c.Asserted = append(c.Asserted, "every reference between its rows holds: foreign_key_check finds nothing")
	}
	c.Asserted = append(c.Asserted, "the restored database is whole: integrity_check finds nothing")
}

// rows compares how many rows there are with what the backup's database had.
func (c *confirmation) rows(ctx context.Context, r *app.Replay, l *library) error {
	var before noted
	known, err := r.Notes.Get(ctx, databaseNote, &before)
	if err != nil {
		return err
	}
	facts := r.Facts
	if known {
		facts = before.Facts
	}
	equal := len(facts.Counts) > 0
	for _, f := range counted {
		want, ok := facts.Counts[f.name]
		if !ok {
			continue
		}
		got := l.facts.Counts[f.name]
		c.Counts = append(c.Counts, app.Count{What: f.name, Backup: want, Create: min(got, want), Skip: max(want-got, 0)})
		if got != want {
			equal = false
			found := c.differs(f.name, want, got)
			if found.Severity == app.Note {
				c.Differs++
			}
			c.found(found)
		}
	}
	if equal {
		c.Asserted = append(c.Asserted, "there are as many bookmarks, tags, users, assets and bundles as in the backup")
	}
	if facts.Digest != "" && facts.Digest == l.facts.Digest {
		c.Asserted = append(c.Asserted, "the rows of all tables are those of the backup: their digests are equal")
	}
	return nil
}

func (c *confirmation) differs(what string, want, got int64) app.Finding {
	if c.target.started() && got >= want {
		return note("started", what, "there are %d %s, %d in the backup: linkding has been started since", got, what, want)
	}
	return problem("differs", what, "there are %d %s, %d in the backup", got, what, want)
}

// named compares the files that the database names with those in the folder. What the backup lacks too is a note.
func (c *confirmation) named(l *library) {
	assets, missing := 0, 0
	for _, name := range slices.Sorted(maps.Keys(l.assets)) {
		path := "assets/" + name
		size, ok := c.there[path]
		switch {
		case !ok:
			missing++
			c.lacks("missing", path, "an asset of the database has no file")
		case !slices.ContainsFunc(l.assets[name], func(a *asset) bool { return a.size < 0 || a.size == size }):
			c.wrongSize(path, size, l.assets[name][0].size)
		default:
			assets++
		}
	}
	c.Asserted = append(c.Asserted, fmt.Sprintf("%d of %d files of assets are there with the size that the database says", assets, len(l.assets)))
	c.icons("favicons", "missing-favicon", l.favicons)
	c.icons("previews", "missing-preview", l.previews)
}

// icons is named for files that linkding fetches again.
func (c *confirmation) icons(folder, kind string, names map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if _, ok := c.there[folder+"/"+name]; !ok {
			c.lacks(kind, folder+"/"+name, "a bookmark names the file, but there is none; linkding can fetch it again")
		}
	}
}

// lacks is about a file that the database names. Where the backup has it, it was reported as missing already.
func (c *confirmation) lacks(kind, path, message string) {
	size, known := c.backup[path]
	switch {
	case !known:
		c.found(note(kind, path, "%s: the backup has none either", message))
	case size < 0:
		c.found(note(kind, path, "%s: it was not chosen", message))
	}
}

func (c *confirmation) wrongSize(path string, size, says int64) {
	if in, known := c.backup[path]; known && in != size {
		return // it was reported already
	}
	c.found(note("size", path, "the file has %d bytes, as in the backup; the database says %d", size, says))
}

// extra counts the files that the backup doesn't have.
func (c *confirmation) extra() {
	n := 0
	for path := range c.there {
		if _, known := c.backup[path]; !known {
			n++
		}
	}
	if n > 0 {
		c.found(note("extra", "", "%d files in the data folder are not in the backup: they were left as they are", n))
	}
}
