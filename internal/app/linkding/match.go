package linkding

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"lifeboat/internal/app"
)

// maxPath is the longest name that an entry of a ZIP can have, in bytes.
const maxPath = 65535

// match compares files with what the database says of them, for a data folder and for a full_backup archive alike.
type match struct {
	*library
	include []string // the folders that are looked at
	copied  time.Time
	found   func(app.Finding)
	listed  map[string]int64 // files by folder, those that are left out too
}

// newMatch begins a comparison. What changed after the database was copied is not an orphan; a zero time: never.
func newMatch(l *library, include []string, copied time.Time, found func(app.Finding)) *match {
	return &match{library: l, include: include, copied: copied, found: found, listed: map[string]int64{}}
}

// claim finds the rows of a file by its path, such as "assets/a.html.gz", and marks them. known is whether the
// database names the file.
func (m *match) claim(name string) (rows []*asset, known bool) {
	folder, file, _ := strings.Cut(name, "/")
	m.listed[folder]++
	switch folder {
	case "assets":
		rows = m.assets[file]
		for _, row := range rows {
			row.seen = true
		}
		return rows, len(rows) > 0
	case "favicons":
		return nil, seen(m.favicons, file)
	default:
		return nil, seen(m.previews, file)
	}
}

// seen marks a name that bookmarks have.
func seen(names map[string]bool, file string) bool {
	if _, ok := names[file]; !ok {
		return false
	}
	names[file] = true
	return true
}

// file compares one file; whole is whether its size is what the database says, and zipped whether it must be gzip.
func (m *match) file(name string, size int64, modified time.Time) (whole, zipped bool) {
	rows, known := m.claim(name)
	if !known {
		m.stray(name, modified)
		return true, false
	}
	whole = len(rows) == 0
	for _, row := range rows {
		whole = whole || row.size < 0 || row.size == size
		zipped = zipped || row.gzip
	}
	if !whole {
		m.found(problem("size", name, "the database says %d bytes, the file has %d: it is in the backup as it is; open it in linkding, and make the snapshot again if it is broken",
			rows[0].size, size))
	}
	return whole, zipped
}

// stray is about a file that the database doesn't name; it is in the backup.
func (m *match) stray(name string, modified time.Time) {
	if !m.copied.IsZero() && modified.After(m.copied) {
		m.found(note("newer", name, "the file is newer than the copy of the database, which doesn't name it; it is treated like the others"))
		return
	}
	m.found(note("orphan", name, "the database doesn't name the file; it is treated like the others"))
}

func (m *match) brokenGzip(name string, err error) {
	m.found(problem("broken-gzip", name, "the file can't be unpacked to its end (%s): it is in the backup as it is; make the snapshot again in linkding, or upload the file again", reason(err)))
}

// finish reports what no file was found for, and what looks wrong as a whole.
func (m *match) finish() {
	if m.facts.Counts["bookmarks"] == 0 {
		m.found(problem("suspicious", "", "the database holds no bookmark: is this the data folder that linkding uses?"))
	}
	m.every(m.users())
	m.every(m.lacking)
	m.every(m.references)
	if m.unfinished > 0 {
		m.found(note("unfinished", "", "%d assets are pending or have failed in linkding: they have no file", m.unfinished))
	}
	if !slices.Contains(m.include, "assets") {
		if len(m.assets) > 0 {
			m.found(note("excluded", "assets/", "%d assets are not in the backup: `include:` leaves them out", len(m.assets)))
		}
	} else {
		m.missingAssets()
	}
	m.missingNames("favicons", "missing-favicon", m.favicons)
	m.missingNames("previews", "missing-preview", m.previews)
}

func (m *match) every(findings []app.Finding) {
	for _, f := range findings {
		m.found(f)
	}
}

func (m *match) missingAssets() {
	if m.listed["assets"] == 0 && len(m.assets) > 0 {
		m.found(problem("suspicious", "assets/", "the database lists %d assets, but there is no file: is the folder mounted?", len(m.assets)))
	}
	for _, name := range slices.Sorted(maps.Keys(m.assets)) {
		if !m.assets[name][0].seen {
			m.found(problem("missing", "assets/"+name, "the database lists the asset, but there is no such file: delete it in linkding, or make it again"))
		}
	}
}

// missingNames reports files that linkding fetches again.
func (m *match) missingNames(folder, kind string, names map[string]bool) {
	if !slices.Contains(m.include, folder) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !names[name] {
			m.found(note(kind, folder+"/"+name, "a bookmark names the file, but there is none; linkding can fetch it again"))
		}
	}
}

// archivable reports whether a path can stand in an archive and be extracted safely everywhere.
func archivable(name string) bool {
	if len(name) > maxPath || !utf8.ValidString(name) || name != path.Clean(name) || strings.HasPrefix(name, "/") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || part == "." {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\\' })
}

func note(kind, item, format string, args ...any) app.Finding {
	return app.Finding{Severity: app.Note, Kind: kind, Item: item, Message: fmt.Sprintf(format, args...)}
}

func problem(kind, item, format string, args ...any) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: kind, Item: item, Message: fmt.Sprintf(format, args...)}
}
