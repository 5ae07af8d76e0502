package linkding

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// TargetOptions say which data folder a backup is restored into.
type TargetOptions struct {
	Data string // linkding's data folder, on the machine that runs linkding; it may be missing, and is made then

	// What has a default.
	LockTimeout time.Duration // as in Options
	MaxDatabase int64         // bytes of the backup's database; 16 GiB
	TempDir     string        // for copies of the database, twice its size; empty: the system's
	// Free returns the bytes that can still be written where a folder lies; false where nobody says. nil: the system's.
	Free func(folder string) (int64, bool)
}

// Target is the data folder of a linkding that does not run: the files are the data, so that the replay has nothing to
// do but to see them to the disk. It implements app.Target. The folder may hold nothing but what this restore, or one
// of the same backup, has put there; a secretkey.txt stays as it is. What is restored without the database goes into
// any folder, that of a linkding that runs too: nothing is overwritten.
//
// Nothing but db.sqlite3, assets/, favicons/ and previews/ is ever put. Its note of a restore: "database", what the
// backup's database was found to hold. Its findings:
//
//	problems  missing size differs missing-table reference damaged
//	notes     left-out exists schema owner sign-in started extra missing size missing-favicon missing-preview
type Target struct {
	options TargetOptions
}

var _ app.Target = (*Target)(nil)

// NewTarget returns a target. It checks the options, with Usage errors, and touches no file.
func NewTarget(options TargetOptions) (*Target, error) {
	if options.Data == "" {
		return nil, failure.New(failure.Usage, "a linkding target needs its data folder").
			WithHint("`data:` names the folder that is mounted as /etc/linkding/data")
	}
	if options.LockTimeout <= 0 {
		options.LockTimeout = 30 * time.Second
	}
	if options.MaxDatabase <= 0 {
		options.MaxDatabase = 16 << 30
	}
	if options.Free == nil {
		options.Free = freeSpace
	}
	return &Target{options}, nil
}

// noted is the note "database".
type noted struct {
	Facts app.Facts `json:"facts"`
}

const databaseNote = "database"

// Preflight implements app.Target. Conflict: the folder holds something else, or a linkding runs on it. Exhausted: there
// is not enough space. Corrupt, Invalid: the backup's database is not one that linkding could start with.
func (t *Target) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	if err := proper(r); err != nil {
		return app.Forecast{}, err
	}
	there, err := t.look(ctx)
	if err != nil {
		return app.Forecast{}, err
	}
	p := &preflight{there: there, forecast: app.Forecast{Application: "linkding", Place: place}, files: app.Count{What: "files"}}
	if err := p.items(ctx, r); err != nil {
		return app.Forecast{}, err
	}
	p.rest()
	if err := t.accept(p); err != nil {
		return app.Forecast{}, err
	}
	if p.database != nil {
		err = t.preflightDatabase(ctx, r, p)
	}
	p.forecast.Counts = append(p.forecast.Counts, p.files)
	return p.forecast, err
}

// accept refuses what the folder or the backup alone speaks against.
func (t *Target) accept(p *preflight) error {
	switch {
	case p.database == nil && !p.partial:
		return failure.New(failure.Invalid, "the backup has no %s: linkding could not start with it", database).WithHint(hintAgain)
	case p.database != nil && len(p.there.odd) > 0: // else the folder may be anybody's
		return t.occupied(p.there.odd[0])
	case p.database != nil:
		if err := p.clash(); err != nil {
			return err
		}
	}
	return t.room(t.options.Data, p.bytes, "the backup")
}

// proper refuses what can't be a backup of linkding.
func proper(r *app.Replay) error {
	switch {
	case r.Kind != "linkding":
		return failure.New(failure.Invalid, "a backup of %s can't be restored into linkding", nameOf(r.Kind)).
			WithHint("name a target of the same kind, or restore it to a folder")
	case r.Folder != "":
		return failure.New(failure.Invalid, "the backup holds one folder only, and linkding has none").WithHint("restore it to a folder")
	}
	return nil
}

func nameOf(kind string) string {
	if kind == "" {
		return "an unknown program"
	}
	return "kind " + kind
}

// place is where an item goes: to its own path.
func place(i app.Item) (string, bool) { return i.Path, i.Chosen && belongs(i) }

// belongs reports whether an item is a part of linkding's data folder.
func belongs(i app.Item) bool {
	switch {
	case i.Dir:
		return false
	case i.Path == database:
		return i.Document
	}
	return !i.Document && below(i.Path) && archivable(i.Path) && filepath.IsLocal(filepath.FromSlash(i.Path))
}

// preflight is one look at backup and folder.
type preflight struct {
	there    folder
	forecast app.Forecast
	files    app.Count
	bytes    int64     // that are to be written
	database *app.Item // nil: it is not restored
	partial  bool      // because it was not chosen
	other    []string  // files in the folder that have the name of one in the backup, and another size
	left     int
}

// items goes through the backup.
func (p *preflight) items(ctx context.Context, r *app.Replay) error {
	for i, err := range r.Items(ctx) {
		if err != nil {
			return err
		}
		if !belongs(i) {
			p.leave(i)
			continue
		}
		size, there := p.there.sizes[i.Path]
		delete(p.there.sizes, i.Path)
		switch {
		case there && size != i.Size:
			p.other = append(p.other, i.Path)
		case i.Chosen && !there:
			p.bytes += i.Size
		}
		if i.Path != database {
			p.count(i, there, size == i.Size)
			continue
		}
		if p.partial = !i.Chosen; i.Chosen {
			p.database = &i
		}
	}
	return nil
}

// count adds a file to the forecast.
func (p *preflight) count(i app.Item, there, same bool) {
	p.files.Backup++
	switch {
	case !i.Chosen:
		p.files.Skip++
	case !there:
		p.files.Create++
	case same:
		p.files.Exists++
	default:
		p.files.Skip++
		p.forecast.Findings = append(p.forecast.Findings, note("exists", i.Path, "a file of another size has its name in the data folder already: it is left as it is"))
	}
}

// maxNamed is how many things that are left out have a finding of their own.
const maxNamed = 100

func (p *preflight) leave(i app.Item) {
	if !i.Chosen {
		return
	}
	if p.left++; p.left <= maxNamed {
		p.forecast.Findings = append(p.forecast.Findings, note("left-out", i.Path, "it is not put into linkding's data folder: it is none of the files that a backup of linkding has"))
	}
}

// rest sums up what has no finding of its own.
func (p *preflight) rest() {
	if more := p.left - maxNamed; more > 0 {
		p.forecast.Findings = append(p.forecast.Findings, note("left-out", "", "%d more are not put into linkding's data folder", more))
	}
}

// clash refuses a folder with files of somebody else.
func (p *preflight) clash() error {
	other := append(p.other, slices.Sorted(maps.Keys(p.there.sizes))...)
	if len(other) == 0 {
		return nil
	}
	return failure.New(failure.Conflict, "linkding's data folder holds %d files that are not those of the backup, %q for one", len(other), other[0]).
		WithHint(hintEmpty)
}

const hintEmpty = "stop linkding, name an empty folder as `data:`, and mount that as /etc/linkding/data; or move away what is there"

// room refuses a restore for which there is not enough space.
func (t *Target) room(folder string, bytes int64, what string) error {
	free, known := t.options.Free(existing(folder))
	if !known || free >= bytes {
		return nil
	}
	return failure.New(failure.Exhausted, "%s needs %d bytes in %s, and %d are free there", what, bytes, folder, free).
		WithHint("free some space, or name a folder on a larger disk")
}

// existing returns the folder, or the nearest one above it that exists.
func existing(folder string) string {
	for {
		if _, err := os.Stat(folder); err == nil {
			return folder
		}
		up := filepath.Dir(folder)
		if up == folder {
			return folder
		}
		folder = up
	}
}

// preflightDatabase reads the backup's database, and notes what it holds.
func (t *Target) preflightDatabase(ctx context.Context, r *app.Replay, p *preflight) error {
	l, err := t.inspectBackup(ctx, r, p.database.Size)
	if err != nil {
		return err
	}
	same := false
	if exists(filepath.Join(t.options.Data, database)) {
		if same, err = t.sameDatabase(ctx, *p.database); err != nil {
			return err
		}
		if !same {
			return failure.New(failure.Conflict, "linkding's data folder holds another %s than the backup", database).WithHint(hintEmpty)
		}
	}
	for _, c := range counted {
		if n, ok := l.facts.Counts[c.name]; ok {
			count := app.Count{What: c.name, Backup: n, Create: n}
			if same {
				count.Create, count.Exists = 0, n
			}
			p.forecast.Counts = append(p.forecast.Counts, count)
		}
	}
	schema := l.facts.Versions["schema"]
	p.forecast.Version = schema
	p.forecast.Findings = append(p.forecast.Findings,
		note("schema", "", "the database has the schema %s: linkding upgrades older ones when it starts; one that does not know this schema yet is too old", schema),
		note("owner", "", "the restored files belong to the user that runs lifeboat: linkding's container gives them to its own user when it starts as root; otherwise, use chown"),
		note("sign-in", "secretkey.txt", "linkding's secret key is in no backup: where the folder has none, linkding makes a new one, and people sign in again; passwords and API tokens stay valid"))
	return r.Notes.Put(ctx, databaseNote, noted{l.facts})
}

// inspectBackup copies the backup's database into a temporary folder, and reads it.
func (t *Target) inspectBackup(ctx context.Context, r *app.Replay, size int64) (*library, error) {
	if size > t.options.MaxDatabase {
		return nil, failure.New(failure.Exhausted, "the backup's database has %d bytes, more than the limit of %d", size, t.options.MaxDatabase)
	}
	dir, remove, err := temporaryFolder(t.options.TempDir)
	if err != nil {
		return nil, err
	}
	defer remove()
	if err := t.room(dir, size, "a copy of the backup's database"); err != nil {
		return nil, err
	}
	body, err := r.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, database)
	err = copyFile(ctx, path, &ticking{io.LimitReader(body, size+1), r.Working})
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	l, err := inspect(ctx, path)
	if err == nil {
		return l, nil
	}
	return nil, unusable(err)
}

// unusable says what the backup's database is, where it is not linkding's.
func unusable(err error) error {
	switch {
	case errors.Is(err, errEmpty), errors.Is(err, errNotSQLite):
		return failure.New(failure.Corrupt, "refused the backup for its %s: %w", database, err).WithHint(hintAgain)
	case errors.Is(err, errForeign):
		return failure.New(failure.Invalid, "refused the backup for its %s: %w", database, err).
			WithHint("restore it to a folder, and see what it is")
	case failure.KindOf(err) == failure.Corrupt:
		return failure.New(failure.Corrupt, "refused the backup: %w", err).WithHint("restore another backup; `sqlite3 db.sqlite3 .recover` saves what can be read")
	}
	return err
}

// ticking tells how much was read.
type ticking struct {
	r       io.Reader
	working func(items, bytes int64)
}

func (t *ticking) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.working(0, int64(n))
	return n, err
}

// Replay implements app.Target: the files are the data. They and their folders are synced to the disk.
func (t *Target) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	if err := ctx.Err(); err != nil {
		return app.Progress{}, err
	}
	names := []string{".", database}
	for _, name := range append(names, folders()...) {
		if err := t.sync(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return app.Progress{}, failure.New(failure.KindOf(err), "write %s to the disk: %w", filepath.Join(t.options.Data, name), err)
		}
	}
	return app.Progress{Done: true}, nil
}

func (t *Target) sync(name string) error {
	copying.Lock() // closing a descriptor drops the locks of all others on the file
	defer copying.Unlock()
	file, err := os.Open(filepath.Join(t.options.Data, name))
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
