package linkding

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"lifeboat/internal/failure"
)

// pages is how many pages one step of a backup copies: the context is looked at in between.
const pages = 4096

// dsn returns the name of a database for SQLite. Nothing of a strange path is taken for a parameter.
func dsn(path, parameters string) string {
	name := url.URL{Scheme: "file", Path: path, RawQuery: parameters + "&_pragma=busy_timeout(10000)"}
	return name.String()
}

// connect opens one connection; closing what it returns closes all of it.
func connect(ctx context.Context, name string) (*sql.Conn, func(), error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, nil, fault(ctx, err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, nil, fault(ctx, err)
	}
	return conn, func() { conn.Close(); db.Close() }, nil
}

// onlineBackup copies the database called name to a new file, within one read transaction: it is one committed state,
// however many steps it takes. Before the original is closed, check has the last word; it may be nil.
func onlineBackup(ctx context.Context, name, to string, check func() error) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("copy linkding's database: %w", err)
	}
	conn, closeAll, err := connect(ctx, name)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, statement := range []string{"BEGIN", "SELECT count(*) FROM sqlite_master"} { // only a read begins it
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fault(ctx, err)
		}
	}
	if err := conn.Raw(func(source any) error { return copyPages(ctx, source, to) }); err != nil {
		return fault(ctx, err)
	}
	if check != nil {
		return check()
	}
	return nil
}

func copyPages(ctx context.Context, source any, to string) error {
	from, ok := source.(interface {
		NewBackup(name string) (*sqlite.Backup, error)
	})
	if !ok {
		return fmt.Errorf("%T makes no backups", source)
	}
	b, err := from.NewBackup(dsn(to, "mode=rwc&_pragma=synchronous(OFF)"))
	if err != nil {
		return err
	}
	more := true
	for more && err == nil {
		if err = ctx.Err(); err == nil {
			more, err = b.Step(pages)
		}
	}
	return errors.Join(err, b.Finish())
}

// fault gives an error of SQLite its kind.
func fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read linkding's database: %w", ctx.Err())
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("read linkding's database: %w", err)
	}
	switch e.Code() {
	case codes.SQLITE_READONLY_RECOVERY, codes.SQLITE_READONLY_CANTINIT, codes.SQLITE_READONLY_CANTLOCK, codes.SQLITE_READONLY_ROLLBACK:
		return fmt.Errorf("%w: %w", errChanged, err) // somebody begins or ends to use it
	}
	kind := failure.Internal
	switch e.Code() & 0xff {
	case codes.SQLITE_NOTADB:
		return fmt.Errorf("%w, or it is encrypted: %w", errNotSQLite, err)
	case codes.SQLITE_CORRUPT:
		return failure.New(failure.Corrupt, "linkding's database is damaged: %w", err).WithHint(hintDamaged)
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED, codes.SQLITE_PROTOCOL, codes.SQLITE_IOERR:
		kind = failure.Transient
	case codes.SQLITE_FULL, codes.SQLITE_NOMEM:
		kind = failure.Exhausted
	case codes.SQLITE_CANTOPEN, codes.SQLITE_PERM, codes.SQLITE_READONLY:
		kind = failure.Denied
	}
	return failure.New(kind, "read linkding's database: %w", err)
}

const hintDamaged = "restore the last good backup beside it and compare; `sqlite3 db.sqlite3 .recover` saves what can be read"
