package linkding

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"lifeboat/internal/failure"
)

// What makes a file no database of linkding. Callers give these errors their kind and sentence.
var (
	errNotSQLite = errors.New("it is no SQLite database")
	errEmpty     = errors.New("the database is empty: it has no tables")
	errForeign   = errors.New("it is a SQLite database, but not linkding's: the tables django_migrations and bookmarks_bookmark are not as linkding makes them")
)

// marks are names by which a data folder of linkding is known, whatever database linkding uses.
var marks = []string{"secretkey.txt", "tasks.sqlite3", "assets", "favicons", "previews"}

const (
	hintData     = "`data:` names the folder of linkding that holds db.sqlite3, the one that is mounted as /etc/linkding/data"
	hintPostgres = "is LD_DB_ENGINE=postgres set? Then back up the database with pg_dump, and the folder with `kind: files`"
)

// checkFolder refuses a data folder without a database.
func (s *Source) checkFolder() error {
	data := s.options.Data
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failure.New(failure.NotFound, "linkding's data folder %s does not exist", data).
			WithHint("check `data:`, and whether the volume is mounted on this machine")
	case err != nil:
		return s.denied(data, err)
	case !info.IsDir():
		return failure.New(failure.Usage, "%s is not a folder", data).WithHint(hintData)
	}
	switch _, err := os.Stat(filepath.Join(data, database)); {
	case errors.Is(err, fs.ErrNotExist):
		return s.noDatabase()
	case err != nil:
		return s.denied(filepath.Join(data, database), err)
	}
	return nil
}

// noDatabase says why there may be no db.sqlite3.
func (s *Source) noDatabase() error {
	data := s.options.Data
	if inner := filepath.Join(data, "data"); exists(filepath.Join(inner, database)) {
		return failure.New(failure.Invalid, "there is no %s in %s", database, data).WithHint("did you mean `data: %s`?", inner)
	}
	if s.looksLikeLinkding() {
		return failure.New(failure.Invalid,
			"there is no %s in linkding's data folder %s: this linkding seems to keep its data in PostgreSQL, which lifeboat can't back up", database, data).
			WithHint(hintPostgres)
	}
	return failure.New(failure.Invalid, "there is no %s in %s, and nothing else of linkding's", database, data).WithHint(hintData)
}

func (s *Source) looksLikeLinkding() bool {
	return slices.ContainsFunc(marks, func(name string) bool { return exists(filepath.Join(s.options.Data, name)) })
}

// refusal gives what is wrong with the database of the data folder its kind and its hint.
func (s *Source) refusal(err error) error {
	path := filepath.Join(s.options.Data, database)
	switch {
	case errors.Is(err, errEmpty) && s.looksLikeLinkding():
		return failure.New(failure.Invalid,
			"refused %s: %w; linkding's full_backup leaves such a file where linkding keeps its data in PostgreSQL, which lifeboat can't back up", path, err).
			WithHint(hintPostgres)
	case errors.Is(err, errEmpty), errors.Is(err, errNotSQLite), errors.Is(err, errForeign):
		return failure.New(failure.Invalid, "refused %s: %w", path, err).WithHint(hintData)
	}
	return err
}

// denied gives an error about a path of the data folder its kind.
func (s *Source) denied(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return failure.New(failure.Denied, "%s may not be read", path).
			WithHint("give the user that runs lifeboat the right to enter %s and to read %s and the files beside it that end in -wal and -shm", s.options.Data, database)
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return failure.New(failure.KindOf(err), "read %s: %w", path, err)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
