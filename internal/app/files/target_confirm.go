package files

import (
	"context"
	"fmt"
	"os"
	"strings"

	"lifeboat/internal/app"
)

// Confirm implements app.Target: it lists the target, and compares every chosen item by name and size.
func (t *Target) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	if err := t.proper(r); err != nil {
		return app.Confirmation{}, err
	}
	root, err := t.root()
	if err != nil {
		return app.Confirmation{}, err
	}
	if root != nil {
		defer root.Close()
	}
	c := &confirmation{target: t, root: root, wanted: newSizes(), files: app.Count{What: "files"}, bytes: app.Count{What: "bytes"}, directories: app.Count{What: "directories"}}
	for _, step := range []func(context.Context, *app.Replay) error{c.want, c.look, c.name} {
		if err := step(ctx, r); err != nil {
			return app.Confirmation{}, err
		}
	}
	c.sum()
	return c.Confirmation, nil
}

// confirmation is one look at a restored target.
type confirmation struct {
	app.Confirmation
	target      *Target
	root        *os.Root // of a folder; nil where its directories can't be looked at
	wanted      sizes    // of the chosen items, by name; found, once they are there as they should be
	files       app.Count
	bytes       app.Count
	directories app.Count
	unseen      int64 // directories that nobody could look at
	extra       int64
	limit       limit
}

// want notes what should be there.
func (c *confirmation) want(ctx context.Context, r *app.Replay) error {
	for i, err := range r.Items(ctx) {
		if err != nil {
			return err
		}
		if name, put := c.target.place(i); put {
			c.wanted.set(name, i.Size)
		}
	}
	return nil
}

// look notes what is there.
func (c *confirmation) look(ctx context.Context, r *app.Replay) error {
	for o, err := range c.target.list(ctx) {
		if err != nil {
			return err
		}
		size, wanted := c.wanted.get(o.Key)
		switch {
		case wanted && size == o.Size:
			c.wanted.set(o.Key, found)
		case wanted && size != found:
			c.wanted.set(o.Key, odd)
		case !wanted && !leftover(o.Key):
			c.extra++
		}
		r.Working(1, 0)
	}
	return nil
}

// leftover reports whether a name is that of a file of a restore that is under way.
func leftover(key string) bool {
	return strings.HasPrefix(key[strings.LastIndexByte(key, '/')+1:], ".lifeboat-")
}

// name goes through the backup again, for the names of what is not as it should be.
func (c *confirmation) name(ctx context.Context, r *app.Replay) error {
	for i, err := range r.Items(ctx) {
		if err != nil {
			return err
		}
		name, put := c.target.place(i)
		switch {
		case !put:
		case i.Dir:
			c.directory(i, name)
		default:
			c.file(i, name)
		}
	}
	c.limit.rest(func(f app.Finding) {
		f.Severity = app.Problem
		c.Findings = append(c.Findings, f)
	})
	return nil
}

func (c *confirmation) file(i app.Item, name string) {
	c.files.Backup++
	c.bytes.Backup += i.Size
	switch state, _ := c.wanted.get(name); state {
	case found:
		c.files.Create++
		c.bytes.Create += i.Size
		return
	case odd:
		c.problem("size", i, "what has its name in the target is no file of %d bytes, as in the backup: move it away, and run the same restore again", i.Size)
	default:
		c.problem("missing", i, "it is in the backup and not in the target: run the same restore again")
	}
	c.files.Skip++
	c.bytes.Skip += i.Size
}

// directory is about a folder that the backup has as an item of its own.
func (c *confirmation) directory(i app.Item, name string) {
	c.directories.Backup++
	state, _ := c.wanted.get(name)
	there, known := state == found, !c.target.folder
	if c.target.folder {
		there, known = c.target.directory(c.root, name)
	}
	switch {
	case there:
		c.directories.Create++
	case known:
		c.directories.Skip++
		c.problem("missing", i, "the directory is in the backup and not in the target: run the same restore again")
	default:
		c.directories.Skip++
		c.unseen++
	}
}

func (c *confirmation) problem(kind string, i app.Item, format string, args ...any) {
	if c.limit.more() {
		c.Findings = append(c.Findings, app.Finding{Severity: app.Problem, Kind: kind, Item: i.Path, Message: fmt.Sprintf(format, args...)})
	}
}

// sum says what was found as a whole.
func (c *confirmation) sum() {
	c.Counts = append(c.Counts, c.files, c.bytes)
	c.Asserted = append(c.Asserted, fmt.Sprintf("%d of %d files are in the target under their names and with their sizes, %d of %d bytes",
		c.files.Create, c.files.Backup, c.bytes.Create, c.bytes.Backup))
	if c.directories.Backup > 0 {
		c.Counts = append(c.Counts, c.directories)
		c.Asserted = append(c.Asserted, fmt.Sprintf("%d of %d directories are in the target", c.directories.Create, c.directories.Backup))
	}
	if c.unseen > 0 {
		c.Findings = append(c.Findings, app.Finding{Severity: app.Note, Kind: "unseen", Message: fmt.Sprintf("nobody has looked for %d directories in the target", c.unseen)})
	}
	if c.extra > 0 {
		c.Findings = append(c.Findings, app.Finding{Severity: app.Note, Kind: "extra", Message: fmt.Sprintf("%d files in the target are not in the backup, or were not chosen: they were left as they are", c.extra)})
	}
}
