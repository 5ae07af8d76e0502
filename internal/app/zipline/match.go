package zipline

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
)

const (
	uploads = "uploads/" // the folder of the objects in the archive: a drop-in local datasource
	// thumbnail is what the names of thumbnails start with, and their app.Object.Type without the dots.
	thumbnailPrefix = ".thumbnail."
	thumbnail       = "thumbnail"
	// maxPath is the longest name that an entry of a ZIP can have, in bytes.
	maxPath = 65535
	// maxProbe bounds the object that Zipline writes, reads and deletes at its start.
	maxProbe = 64
)

var probe = regexp.MustCompile(`^[A-Za-z0-9_-]{10}-zipline$`)

// match compares the objects of the datasource with the rows of the export.
type match struct {
	*export
	sink    app.Sink
	listed  int64
	skipped int64
}

// objects lists the datasource into the sink, and reports both differences: rows without an object, and objects
// without a row.
func (s *Source) objects(ctx context.Context, e *export, at *cursor, sink app.PausingSink) error {
	m := &match{export: e, sink: sink}
	if at != nil {
		m.listed, m.skipped = at.Listed, at.Skipped
	}
	if err := s.list(ctx, at, sink, m.position, m.take); err != nil {
		return err
	}
	m.suspect(s.options.Datasource.Describe())
	m.duplicates()
	m.missing()
	return nil
}

func (m *match) take(object app.Object, err error) error {
	if skipped, ok := errors.AsType[*datasource.Skipped](err); ok {
		m.skip(skipped)
		return nil
	}
	if err != nil {
		return fmt.Errorf("list Zipline's datasource: %w", err)
	}
	m.listed++
	return m.place(object)
}

// position is where the next piece goes on after a key.
func (m *match) position(after string) cursor {
	return cursor{
		After: after, Date: m.date, Listed: m.listed, Skipped: m.skipped,
		Seen: packBits(len(m.index.rows), func(i int) bool { return m.index.rows[i].seen }),
	}
}

func (m *match) skip(skipped *datasource.Skipped) {
	m.skipped++
	m.claim(skipped.Key)
	m.sink.Found(problem("unreadable", skipped.Key, "%q is not in the backup: %s", shorten(skipped.Key), skipped.Reason))
}

// claim marks the rows of an object as not missing and returns them.
func (m *match) claim(key string) []row {
	found := m.index.find(key)
	for i := range found {
		found[i].seen = true
	}
	return found
}

// place adds one object to the snapshot.
func (m *match) place(object app.Object) error {
	rows := m.claim(object.Key)
	object.Path = uploads + object.Key
	if !archivable(object.Path) {
		m.sink.Found(problem("bad-name", object.Key,
			"the object %q was left out: no archive can hold its name safely; rename it in Zipline", shorten(object.Key)))
		return nil
	}
	switch {
	case len(rows) == 0 && probe.MatchString(object.Key) && object.Size <= maxProbe:
		m.sink.Found(note("probe", object.Key, "left out: Zipline writes and deletes such an object at its start"))
		return nil
	case len(rows) == 0:
		m.sink.Found(m.stray(object))
	default:
		m.compareSize(object, rows)
	}
	if isThumbnail(object.Key, rows) {
		object.Type = thumbnail
	}
	return m.sink.Object(object)
}

// stray is about an object without a row; it is in the backup.
func (m *match) stray(object app.Object) app.Finding {
	if !m.date.IsZero() && object.Modified.After(m.date) {
		return note("newer", object.Key, "the object is newer than the export, which doesn't know it; it is treated like the others")
	}
	return note("orphan", object.Key, "the export has no row for the object; it is treated like the others")
}

func isThumbnail(key string, rows []row) bool {
	for _, r := range rows {
		if !r.thumbnail {
			return false
		}
	}
	return len(rows) > 0 || strings.HasPrefix(key, thumbnailPrefix)
}

// compareSize reports an object whose size is that of none of its rows.
func (m *match) compareSize(object app.Object, rows []row) {
	for _, r := range rows {
		if r.size < 0 || r.size == object.Size {
			return
		}
	}
	if rows[0].size == 0 {
		m.sink.Found(problem("size", object.Key,
			"the export says 0 bytes, the object has %d: most likely a chunked upload that has not ended; if it stays so, upload the file again or delete it", object.Size))
		return
	}
	m.sink.Found(problem("size", object.Key,
		"the export says %d bytes, the object has %d: it is in the backup as it is; open the file in Zipline and see whether it is whole", rows[0].size, object.Size))
}

// suspect speaks up when the datasource looks like another one.
func (m *match) suspect(place string) {
	if m.listed == 0 && m.skipped == 0 && m.counts["files"] > 0 {
		m.sink.Found(problem("suspicious", "", "the export lists %d files, but %s is empty: is the volume mounted, and is it this Zipline's datasource?",
			m.counts["files"], place))
	}
}

// duplicates reports names that several files have: the object is stored once.
func (m *match) duplicates() {
	for i := 0; i < len(m.index.rows); {
		name, n, files := m.index.bytes(m.index.rows[i]), 0, 0
		for ; i < len(m.index.rows) && string(m.index.bytes(m.index.rows[i])) == string(name); i++ {
			if n++; !m.index.rows[i].thumbnail {
				files++
			}
		}
		if files > 1 {
			m.sink.Found(problem("duplicate-name", string(name),
				"%d files of the export have this stored name and share one object; rename all but one in Zipline", files))
		}
	}
}

// missing reports rows without an object, a name once.
func (m *match) missing() {
	last := ""
	for _, r := range m.index.rows {
		name := ""
		if !r.seen {
			name = m.index.name(r)
		}
		switch {
		case r.seen || name == last:
		case r.thumbnail:
			m.sink.Found(note("missing-thumbnail", name, "the export lists the thumbnail, but there is no such object; Zipline makes a new one"))
		default:
			m.sink.Found(problem("missing", name,
				"the export lists the file, but there is no such object: it was deleted during the run, or its upload failed in the store; upload it again or delete it in Zipline"))
		}
		if name != "" {
			last = name
		}
	}
}

// archivable reports whether a path can stand in an archive and be extracted safely everywhere: UTF-8, relative,
// without control characters, backslashes and dot segments, and not longer than a ZIP entry's name may be.
func archivable(path string) bool {
	if len(path) > maxPath || !utf8.ValidString(path) {
		return false
	}
	for _, c := range path {
		if c < 0x20 || c == 0x7f || c == '\\' {
			return false
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
