package linkding

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"

	"lifeboat/internal/failure"
)

// Verdict says what a ZIP is, going by the names of its entries.
type Verdict int

// The verdicts.
const (
	Foreign   Verdict = iota // no full_backup archive, or no readable ZIP at all
	Candidate                // laid out as full_backup does: OpenFullBackup checks it
	Nothing                  // a ZIP without entries, which a failed full_backup leaves behind
)

// maxEntries is how many entries an archive may have.
const maxEntries = 1_000_000

// Recognise says whether a file is an archive of linkding's `manage.py full_backup`: a ZIP that holds db.sqlite3 and
// nothing outside of assets/, favicons/ and previews/ (entries for these folders themselves may be there). It reads
// the ZIP's directory only. An error is about reading r, never about what was read. lifeboat's own archives of
// linkding have a folder lifeboat/ and are Foreign.
func Recognise(r io.ReaderAt, size int64) (Verdict, error) {
	files, err := directory(r, size, maxEntries)
	switch {
	case failure.KindOf(err) == failure.Invalid:
		return Foreign, nil
	case err != nil:
		return Foreign, err
	}
	return judge(files), nil
}

func judge(files []*zip.File) Verdict {
	if len(files) == 0 {
		return Nothing
	}
	verdict := Foreign
	for _, file := range files {
		switch {
		case file.Name == database:
			verdict = Candidate
		case !below(file.Name):
			return Foreign
		}
	}
	return verdict
}

// below reports whether a name is one of the folders of files, or lies below one.
func below(name string) bool {
	folder, _, found := strings.Cut(name, "/")
	return found && kinds[folder] != ""
}

// directory reads the central directory of a ZIP. Invalid: it is none, or has too many entries.
func directory(r io.ReaderAt, size int64, most int) ([]*zip.File, error) {
	limited := &budget{r: r, most: most}
	archive, err := zip.NewReader(limited, size)
	limited.open = true
	switch {
	case limited.err != nil:
		return nil, limited.err
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // names are checked later
		return nil, failure.New(failure.Invalid, "it is no ZIP that can be read: %w", err)
	}
	return archive.File, nil
}

// budget stops archive/zip, which reads a whole directory into memory before it returns. It counts the beginnings of
// entries that pass by, and the bytes.
type budget struct {
	r       io.ReaderAt
	most    int  // entries
	open    bool // the directory is read: no more limits
	entries int
	bytes   int64
	err     error // of r, or why the directory is too large
}

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 { // a directory may say so
		return 0, zip.ErrFormat
	}
	n, err := b.r.ReadAt(p, at)
	if b.open {
		return n, err
	}
	b.bytes += int64(n)
	b.entries += bytes.Count(p[:n], []byte("PK\x01\x02"))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	case b.entries > b.most, b.bytes > 512*int64(b.most)+1<<20:
		b.err = failure.New(failure.Invalid, "the ZIP has more than %d entries", b.most)
	}
	if b.err != nil {
		return 0, b.err
	}
	return n, err
}
