package linkding

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// FullBackupOptions are the limits of OpenFullBackup; the zero value is good.
type FullBackupOptions struct {
	TempDir     string // for the database while it is checked; empty: the system's
	MaxDatabase int64  // bytes; 16 GiB
	MaxInflated int64  // how much of one gzip asset is unpacked to see whether it is whole, bytes; 4 GiB
}

// FullBackup is what a checked archive of linkding's full_backup holds.
type FullBackup struct {
	Facts    app.Facts     // of the database, as Snapshot returns them
	Findings []app.Finding // rows without file, files without row, broken gzip, …, as Snapshot finds them
	files    []*zip.File
}

// OpenFullBackup checks an archive that Recognise calls a Candidate, completely: names, every byte against its
// CRC-32, the database as Snapshot does, and rows against files.
//
// Corrupt, with the reason: what a failed full_backup leaves (a ZIP of 22 bytes without entries; a ZIP over a
// database without tables), damage, unsafe or double names. Invalid: no full_backup archive, or the database of
// another application. Exhausted: the database is larger than MaxDatabase.
func OpenFullBackup(ctx context.Context, r io.ReaderAt, size int64, options FullBackupOptions) (*FullBackup, error) {
	if options.MaxDatabase <= 0 {
		options.MaxDatabase = 16 << 30
	}
	if options.MaxInflated <= 0 {
		options.MaxInflated = 4 << 30
	}
	files, err := directory(r, size, maxEntries)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	switch judge(files) {
	case Foreign:
		return nil, failure.New(failure.Invalid, "the file is no archive of linkding's full_backup").
			WithHint("such a ZIP holds db.sqlite3, assets/, favicons/ and previews/, and nothing else")
	case Nothing:
		return nil, failure.New(failure.Corrupt, "the ZIP is empty, %d bytes: linkding's full_backup leaves such a file behind when it fails", size).
			WithHint(hintAgain)
	}
	b := &FullBackup{}
	if b.files, err = checkEntries(files, size); err != nil {
		return nil, err
	}
	l, err := b.checkDatabase(ctx, options)
	if err != nil {
		return nil, err
	}
	b.Facts = l.facts
	return b, b.checkFiles(ctx, l, options)
}

const hintAgain = "run `manage.py full_backup` again inside of linkding's container, in /etc/linkding, and read what it prints; a linkding on PostgreSQL needs pg_dump"

// checkEntries returns the files of an archive; folders are left out.
func checkEntries(files []*zip.File, size int64) ([]*zip.File, error) {
	var kept []*zip.File
	seen, stored := map[string]bool{}, uint64(0)
	for _, f := range files {
		if strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 {
			continue
		}
		stored += f.CompressedSize64
		bad := ""
		switch {
		case !archivable(f.Name) || !filepath.IsLocal(f.Name):
			bad = "its name is unsafe"
		case seen[f.Name]:
			bad = "it is there twice"
		case f.Flags&1 != 0:
			bad = "it is encrypted"
		case f.Method != zip.Store && f.Method != zip.Deflate:
			bad = "its compression is unknown"
		case !f.Mode().IsRegular():
			bad = "it is no regular file"
		case f.CompressedSize64 > uint64(size) || stored > uint64(size) || f.UncompressedSize64 > 1<<62:
			bad = "its size can't be true"
		}
		if bad != "" {
			return nil, failure.New(failure.Corrupt, "refused the archive for its entry %q: %s", f.Name, bad)
		}
		seen[f.Name] = true
		kept = append(kept, f)
	}
	return kept, nil
}

// checkDatabase extracts the database and looks into it.
func (b *FullBackup) checkDatabase(ctx context.Context, options FullBackupOptions) (*library, error) {
	dir, remove, err := temporaryFolder(options.TempDir)
	if err != nil {
		return nil, err
	}
	defer remove()
	path := filepath.Join(dir, database)
	for _, f := range b.files {
		if f.Name != database {
			continue
		}
		if f.UncompressedSize64 > uint64(options.MaxDatabase) {
			return nil, failure.New(failure.Exhausted, "the archive's database has %d bytes, more than the limit of %d", f.UncompressedSize64, options.MaxDatabase)
		}
		body, err := open(ctx, f)
		if err != nil {
			return nil, err
		}
		err = copyFile(ctx, path, body)
		if err := errors.Join(err, body.Close()); err != nil {
			return nil, err
		}
	}
	l, err := inspect(ctx, path)
	switch {
	case errors.Is(err, errEmpty):
		return nil, failure.New(failure.Corrupt, "refused the archive: %w; linkding's full_backup makes such archives, and reports success, when there is no database where it looks", err).
			WithHint(hintAgain)
	case errors.Is(err, errNotSQLite):
		return nil, failure.New(failure.Corrupt, "refused the archive for its %s: %w", database, err).WithHint(hintAgain)
	case errors.Is(err, errForeign):
		return nil, failure.New(failure.Invalid, "refused the archive for its %s: %w", database, err)
	}
	return l, err
}

// checkFiles reads all other files, and compares them with the database.
func (b *FullBackup) checkFiles(ctx context.Context, l *library, options FullBackupOptions) error {
	m := newMatch(l, folders(), time.Time{}, func(f app.Finding) { b.Findings = append(b.Findings, f) })
	for _, f := range b.files {
		if f.Name == database {
			continue
		}
		whole, zipped := m.file(f.Name, int64(f.UncompressedSize64), f.Modified)
		if err := b.checkFile(ctx, f, m, whole && zipped, options.MaxInflated); err != nil {
			return err
		}
	}
	m.finish()
	return nil
}

func (b *FullBackup) checkFile(ctx context.Context, f *zip.File, m *match, zipped bool, limit int64) error {
	body, err := open(ctx, f)
	if err != nil {
		return err
	}
	defer body.Close()
	if zipped {
		buffered := bufio.NewReader(body)
		whole, err := unpack(buffered, limit)
		switch {
		case body.damage != nil: // of the ZIP, not of the file in it
			return body.damage
		case err != nil:
			m.brokenGzip(f.Name, err)
		case !whole:
			m.found(note("unchecked", f.Name, "the file unpacks to more than %d bytes: the rest was not looked at", limit))
		}
	}
	_, err = io.Copy(io.Discard, body)
	return err
}

// member is an open file of an archive. archive/zip lets a CRC-32 of zero in the directory pass; member doesn't.
type member struct {
	ctx    context.Context
	file   *zip.File
	body   io.ReadCloser
	crc    uint32
	size   uint64
	damage error // why the bytes are not all there, once Read has said so
}

func open(ctx context.Context, f *zip.File) (*member, error) {
	body, err := f.Open()
	m := &member{ctx: ctx, file: f, body: body}
	if err != nil {
		return nil, m.damaged(err)
	}
	return m, nil
}

func (m *member) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		m.damage = err
		return 0, err
	}
	n, err := m.body.Read(p)
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p[:n])
	m.size += uint64(n)
	switch {
	case errors.Is(err, io.EOF) && m.crc == m.file.CRC32 && m.size == m.file.UncompressedSize64:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = zip.ErrChecksum
	}
	if err != nil {
		m.damage = m.damaged(err)
		return n, m.damage
	}
	return n, nil
}

// damaged gives an error of reading the entry its kind: that of the io.ReaderAt, or Corrupt.
func (m *member) damaged(err error) error {
	var bad flate.CorruptInputError
	switch {
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrAlgorithm),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.As(err, &bad):
		return failure.New(failure.Corrupt, "the archive is damaged: its entry %q can't be read: %w", m.file.Name, err)
	}
	return fmt.Errorf("read the archive's entry %q: %w", m.file.Name, err)
}

// Close implements io.Closer.
func (m *member) Close() error { return m.body.Close() }
