// Package linkding is the adapter of linkding, a bookmark manager, by its data folder (v1.28 and later).
//
// A snapshot is a copy of the database as db.sqlite3 and every file below assets/, favicons/ and previews/ under its
// own path: unpacked, it is a data folder that linkding starts with. The database comes first and the files after
// it, so that an asset whose row is in the copy is missing only if it is missing in linkding. As in linkding's own
// full_backup, secretkey.txt (a new one is made; people sign in again) and tasks.sqlite3 (pending jobs) stay out.
//
// The copy is made while linkding runs, holds what lies only in the -wal file, and changes nothing in the data
// folder: see copy.go. It is in journal mode DELETE, one file that opens on read-only media too; linkding switches to
// WAL at its start. It is whole (integrity_check), linkding's, and not empty, or there is no snapshot.
// Tables that are not there, and rows that refer to none (foreign_key_check), are problems: the backup is made all the same.
//
// linkding's own full_backup archives are read by OpenFullBackup. Of the repository, the package uses app and
// datasource; it stores nothing but a temporary folder, which it removes. What it finds has these kinds:
//
//	problems  missing size broken-gzip unreadable bad-name suspicious missing-table reference
//	notes     orphan newer unfinished unchecked missing-favicon missing-preview left-out excluded
package linkding

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// database is the name of linkding's database, in its data folder and in archives.
const database = "db.sqlite3"

// kinds are the folders of files and what app.Object.Type calls a file of each.
var kinds = map[string]string{"assets": "asset", "favicons": "favicon", "previews": "preview"}

// folders returns the names of the folders of files in their order.
func folders() []string { return slices.Sorted(maps.Keys(kinds)) }

// Options say which linkding to back up, and how.
type Options struct {
	Data    string   // linkding's data folder, which holds db.sqlite3; on the machine that runs linkding
	Include []string // of assets, favicons and previews; nil: all, empty: none

	// What has a default.
	LockTimeout time.Duration    // how long to wait while another program locks the database; 30 s
	MaxInflated int64            // how much of one gzip asset is unpacked to see whether it is whole, bytes; 4 GiB
	TempDir     string           // for the copy of the database, twice its size; empty: the system's
	Now         func() time.Time // nil: time.Now
}

// Source is one linkding. It implements app.Source and is safe for concurrent use.
type Source struct {
	options Options
	folders map[string]*datasource.Folder // by name; only the included ones
}

var _ app.Source = (*Source)(nil)

// New returns a source. It checks the options, with Usage errors, and touches no file.
func New(options Options) (*Source, error) {
	if options.Data == "" {
		return nil, failure.New(failure.Usage, "a linkding source needs its data folder").
			WithHint("`data:` names the folder that is mounted as /etc/linkding/data")
	}
	if options.Include == nil {
		options.Include = folders()
	}
	if options.LockTimeout <= 0 {
		options.LockTimeout = 30 * time.Second
	}
	if options.MaxInflated <= 0 {
		options.MaxInflated = 4 << 30
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Source{options: options, folders: map[string]*datasource.Folder{}}
	for _, name := range options.Include {
		if kinds[name] == "" {
			return nil, failure.New(failure.Usage, "a linkding source can't include %q", name).
				WithHint("`include:` lists any of %s", strings.Join(folders(), ", "))
		}
		s.folders[name] = datasource.NewFolder(filepath.Join(options.Data, name), options.Now)
	}
	return s, nil
}

// Snapshot implements app.Source: the database, then the files. The scope makes no difference.
func (s *Source) Snapshot(ctx context.Context, _ backup.Scope, sink app.Sink) (app.Facts, error) {
	if err := s.checkFolder(); err != nil {
		return app.Facts{}, err
	}
	dir, remove, err := temporaryFolder(s.options.TempDir)
	if err != nil {
		return app.Facts{}, err
	}
	defer remove()
	begun := s.options.Now()
	copied, modified, l, err := s.read(ctx, dir)
	if err != nil {
		return app.Facts{}, err
	}
	if err := store(ctx, copied, modified, sink); err != nil {
		return app.Facts{}, err
	}
	if err := s.files(ctx, newMatch(l, s.options.Include, begun, sink.Found), sink); err != nil {
		return app.Facts{}, err
	}
	return l.facts, nil
}

// read copies the database into the folder dir and reads the copy.
func (s *Source) read(ctx context.Context, dir string) (path string, modified time.Time, l *library, err error) {
	if path, modified, err = s.copyDatabase(ctx, dir); err == nil {
		l, err = inspect(ctx, path)
	}
	if err != nil {
		return "", time.Time{}, nil, s.refusal(err)
	}
	return path, modified, l, nil
}

// store hands the copy of the database to the sink.
func store(ctx context.Context, path string, modified time.Time, sink app.Sink) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the copy of linkding's database: %w", err)
	}
	defer file.Close()
	return sink.Document(ctx, app.Document{Path: database, Modified: modified, Secret: true}, file)
}

// Open implements app.Source: it reads from the folder that the object's key begins with.
func (s *Source) Open(ctx context.Context, object app.Object) (app.Content, error) {
	name, rest, _ := strings.Cut(object.Key, "/")
	folder := s.folders[name]
	if folder == nil {
		return nil, failure.New(failure.NotFound, "%q is none of the files that this linkding source backs up", object.Key)
	}
	object.Key = rest
	opened, err := folder.Open(ctx, object)
	if err != nil {
		return nil, err
	}
	return content{opened, name + "/"}, nil
}

// content is a file of one of the folders, under its key in the data folder.
type content struct {
	app.Content
	prefix string
}

// Now implements app.Content.
func (c content) Now() (app.Object, error) {
	object, err := c.Content.Now()
	object.Key = c.prefix + object.Key
	return object, err
}

// temporaryFolder makes a folder that only we may read, because a copy of the database holds secrets.
func temporaryFolder(parent string) (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp(parent, "lifeboat-linkding-"); err == nil {
		dir, err = filepath.Abs(dir) // SQLite gets it in a URI
	}
	if err == nil {
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	kind := failure.KindOf(err)
	if os.IsPermission(err) {
		kind = failure.Denied
	}
	return "", nil, failure.New(kind, "make a temporary folder for the copy of linkding's database: %w", err).
		WithHint("the temporary folder must exist and have room for twice the database; TMPDIR names another one")
}
