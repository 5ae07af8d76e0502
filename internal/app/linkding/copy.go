package linkding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// How the database is copied
//
// linkding runs while we copy, or it was stopped, or killed; its database is in WAL mode, or (old set-ups) in a
// rollback mode. Django opens the database per request: in a linkding without traffic the last connection is closed,
// which moves the -wal file into the database and deletes -wal and -shm; the next request makes them anew. The copy
// must be one committed state in all of these cases, and the data folder must stay as it was. SQLite alone does not
// do that: even with mode=ro it creates -wal and -shm where they are missing, and leaves them behind; it resets and
// rewrites a -shm that nobody uses; immutable=1 ignores the -wal; copying db.sqlite3 alone loses the -wal too.
//
// So we take SQLite's SHARED lock on db.sqlite3 first. While somebody holds it, nobody deletes -wal or -shm, changes
// the journal mode, or writes to the file in a rollback mode: each of these wants the EXCLUSIVE lock. (It stops
// neither readers nor writers in WAL mode; those in a rollback mode wait for the copy, as for any reader.) Then:
//
//   - -wal and -shm exist: SQLite opens the database with mode=ro&readonly_shm=1. It maps -shm read-only, so that it
//     can't write to it. If linkding is connected (it holds a lock on -shm), SQLite uses the index in there with the
//     ordinary reader's locks. If not, it trusts no byte of it, builds the index from the -wal in its own memory, and
//     keeps checkpoints away until it has read all. An unwritable -shm is no obstacle, an unreadable one an error.
//   - -wal alone, or a -journal (of a transaction that may have to be rolled back): nobody is connected in WAL mode,
//     since each such connection creates -shm. Both files are copied, and SQLite recovers the copy.
//   - neither: the database is all in its one file, which SQLite reads with immutable=1, without a file beside it.
//
// In the last two cases a linkding may connect meanwhile, and then write to the -wal, or checkpoint it into the file
// that we are reading. It can't do so without creating -wal and -shm, and our lock keeps those from being deleted: if
// they are still missing when all is read, nobody wrote. If not, we begin again, and find them.
//
// The copy itself is SQLite's online backup within one read transaction.

// copying serialises copies in this process: POSIX locks are the process's, and closing one descriptor of a file
// drops those of all others on it.
var copying sync.Mutex

// errChanged says that somebody opened or replaced the database while it was read.
var errChanged = errors.New("the database was opened or replaced meanwhile")

// attempts is how often a copy begins again. The second already finds -wal and -shm; more are needed only where the
// file is replaced, or where its -shm is being made.
const attempts = 10

// copyDatabase copies linkding's database into the folder dir. It returns the path of the copy and when the original
// was last changed.
func (s *Source) copyDatabase(ctx context.Context, dir string) (path string, modified time.Time, err error) {
	copying.Lock()
	defer copying.Unlock()
	path = filepath.Join(dir, database)
	for range attempts {
		modified, err = s.attempt(ctx, dir, path)
		if !errors.Is(err, errChanged) {
			return path, modified, err
		}
		if err := wait(ctx); err != nil {
			return "", time.Time{}, err
		}
	}
	return "", time.Time{}, failure.New(failure.Transient, "copy linkding's database %s: %w", filepath.Join(s.options.Data, database), err).
		WithHint("let the backup run again; if this repeats, look for a program that replaces the file")
}

func (s *Source) attempt(ctx context.Context, dir, to string) (time.Time, error) {
	o, err := s.open(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer o.file.Close() // after SQLite has closed its own descriptor: the lock goes with the first of them
	if err := o.checkHeader(); err != nil {
		return time.Time{}, err
	}
	wal, shm, journal := o.beside("-wal"), o.beside("-shm"), o.beside("-journal")
	modified := o.info.ModTime()
	if wal != nil && wal.ModTime().After(modified) {
		modified = wal.ModTime()
	}
	switch {
	case wal != nil && shm != nil:
		err = s.copyLive(ctx, o, to)
	case wal != nil:
		err = o.copyFiles(ctx, dir, to, "-wal")
	case journal != nil && journal.Size() > 0:
		err = o.copyFiles(ctx, dir, to, "-journal")
	default:
		err = o.copyIdle(ctx, to)
	}
	if err == nil && !o.same() {
		err = errChanged
	}
	return modified.UTC(), err
}

// original is linkding's database, open and with the SHARED lock.
type original struct {
	path string // without symbolic links: SQLite has its files beside the real one
	file *os.File
	info fs.FileInfo
}

// open opens the database and locks it, waiting while another program has it to itself.
func (s *Source) open(ctx context.Context) (*original, error) {
	named := filepath.Join(s.options.Data, database)
	path, err := filepath.EvalSymlinks(named)
	if err != nil {
		return nil, s.denied(named, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, s.denied(named, err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, failure.New(failure.Invalid, "refused %s: it is no regular file", named).WithHint(hintData)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, s.denied(named, err)
	}
	if err := s.lock(ctx, file); err != nil {
		file.Close()
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, s.denied(named, err)
	}
	return &original{path, file, info}, nil
}

func (s *Source) lock(ctx context.Context, file *os.File) error {
	patient, stop := context.WithTimeout(ctx, s.options.LockTimeout)
	defer stop()
	for {
		err := lockShared(file)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errLocked):
			return failure.New(failure.Invalid, "lock linkding's database %s: %w", file.Name(), err).
				WithHint("lifeboat must run on the machine that runs linkding, on a file system with locks")
		}
		if wait(patient) == nil {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("lock linkding's database: %w", ctx.Err())
		}
		return failure.New(failure.Transient, "another program has locked linkding's database %s for %s", file.Name(), s.options.LockTimeout).
			WithHint("see what else uses the file (`fuser -v` shows it), and let the backup run again")
	}
}

// wait lets others do something.
func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// checkHeader keeps SQLite away from what is no database: it would delete the -wal of an empty file.
func (o *original) checkHeader() error {
	if o.info.Size() == 0 {
		return errEmpty
	}
	return checkMagic(o.file)
}

// checkMagic reads the first bytes of a file that should be a SQLite database.
func checkMagic(r io.ReaderAt) error {
	const magic = "SQLite format 3\x00"
	begin := make([]byte, len(magic))
	switch n, err := r.ReadAt(begin, 0); {
	case n == len(begin) && string(begin) == magic:
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read linkding's database: %w", err)
	}
	return errNotSQLite
}

// beside returns what is known of the file that SQLite has beside the database, nil when there is none.
func (o *original) beside(suffix string) fs.FileInfo {
	info, err := os.Stat(o.path + suffix)
	if err != nil {
		return nil
	}
	return info
}

// same reports whether the path still names the file that was read.
func (o *original) same() bool {
	info, err := os.Stat(o.path)
	return err == nil && os.SameFile(info, o.info)
}

// copyIdle copies a database that is all in its one file, as long as it stays so.
func (o *original) copyIdle(ctx context.Context, to string) error {
	return onlineBackup(ctx, dsn(o.path, "mode=ro&immutable=1"), to, o.stillAlone)
}

// stillAlone is errChanged once somebody has connected in WAL mode.
func (o *original) stillAlone() error {
	info, err := o.file.Stat()
	if err != nil || o.beside("-wal") != nil || info.Size() != o.info.Size() || !info.ModTime().Equal(o.info.ModTime()) {
		return errChanged
	}
	return nil
}

// copyLive copies a database that may be in use right now.
func (s *Source) copyLive(ctx context.Context, o *original, to string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		file, err := os.Open(o.path + suffix) // no connection of ours has locks on it yet
		if err != nil {
			return s.denied(filepath.Join(s.options.Data, database)+suffix, err)
		}
		file.Close()
	}
	return onlineBackup(ctx, dsn(o.path, "mode=ro&readonly_shm=1"), to, nil)
}

// copyFiles copies the database and the one file beside it, and lets SQLite recover the copy.
func (o *original) copyFiles(ctx context.Context, dir, to, suffix string) error {
	raw := filepath.Join(dir, "raw")
	second, err := os.Open(o.path + suffix)
	if err != nil {
		return failure.New(failure.Denied, "%s may not be read: %w", o.path+suffix, err).
			WithHint("give the user that runs lifeboat the right to read it: it holds the latest changes")
	}
	defer second.Close()
	if err := copyFile(ctx, raw+suffix, second); err != nil {
		return err
	}
	if err := copyFile(ctx, raw, io.NewSectionReader(o.file, 0, o.info.Size())); err != nil {
		return err
	}
	sign := map[string]string{"-wal": "-shm", "-journal": "-wal"}[suffix] // what a connection in WAL mode would make
	if o.beside(sign) != nil {
		return errChanged
	}
	return onlineBackup(ctx, dsn(raw, "mode=rw"), to, nil)
}

func copyFile(ctx context.Context, path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(file, app.Stoppable(ctx, from))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("copy linkding's database: %w", err)
	}
	return nil
}
