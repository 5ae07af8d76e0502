package linkding

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// files lists the included folders into the sink and compares them with the database.
func (s *Source) files(ctx context.Context, m *match, sink app.Sink) error {
	for _, name := range folders() {
		if s.folders[name] == nil {
			continue
		}
		if err := s.folder(ctx, name, m, sink); err != nil {
			return fmt.Errorf("list linkding's %s: %w", name, err)
		}
	}
	m.finish()
	return s.leftOut(sink)
}

func (s *Source) folder(ctx context.Context, name string, m *match, sink app.Sink) error {
	for object, err := range s.folders[name].List(ctx) {
		skipped, unreadable := errors.AsType[*datasource.Skipped](err)
		switch {
		case unreadable:
			key := name + "/" + skipped.Key
			m.claim(key)
			sink.Found(problem("unreadable", key, "%q is not in the backup: %s", key, skipped.Reason))
		case failure.KindOf(err) == failure.NotFound && m.listed[name] == 0:
			return nil // linkding makes the folder with its first file; rows without files are found by match
		case err != nil:
			return err
		default:
			if err := s.place(ctx, name, object, m, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// place adds one file to the snapshot.
func (s *Source) place(ctx context.Context, folder string, object app.Object, m *match, sink app.Sink) error {
	object.Key = folder + "/" + object.Key
	object.Path, object.Type = object.Key, kinds[folder]
	if !archivable(object.Path) {
		m.claim(object.Key)
		sink.Found(problem("bad-name", object.Key, "%q was left out: no archive can hold its name safely; rename it", object.Key))
		return nil
	}
	if whole, zipped := m.file(object.Path, object.Size, object.Modified); whole && zipped {
		if err := s.checkGzip(ctx, object, m); err != nil {
			return err
		}
	}
	return sink.Object(object)
}

// checkGzip reads a file through gzip to its end. What vanishes or changes meanwhile is for the copy step to see.
func (s *Source) checkGzip(ctx context.Context, object app.Object, m *match) error {
	file, err := s.Open(ctx, object)
	if failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Conflict {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	whole, err := unpack(app.Stoppable(ctx, file), s.options.MaxInflated)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if now, nowErr := file.Now(); nowErr != nil || now.Identity != object.Identity {
		return nil
	}
	switch {
	case err != nil:
		m.brokenGzip(object.Path, err)
	case !whole:
		m.found(note("unchecked", object.Path, "the file unpacks to more than %d bytes: the rest was not looked at", s.options.MaxInflated))
	}
	return nil
}

// unpack reads gzip to its end, checksum included; whole is false when it stopped at limit bytes.
func unpack(r io.Reader, limit int64) (whole bool, err error) {
	unzipped, err := gzip.NewReader(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return false, err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(unzipped, limit+1))
	return n <= limit, err
}

// reason says what is wrong with a gzip file, for a person.
func reason(err error) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	case errors.Is(err, gzip.ErrChecksum):
		return "its checksum is wrong"
	case errors.Is(err, gzip.ErrHeader):
		return "it is no gzip file, or has something behind it"
	}
	return err.Error()
}

// leftOut names what else lies in the data folder.
func (s *Source) leftOut(sink app.Sink) error {
	entries, err := os.ReadDir(s.options.Data)
	if err != nil {
		return s.denied(s.options.Data, err)
	}
	var usual, others []string
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name == "secretkey.txt", name == "tasks.sqlite3":
			usual = append(usual, name)
		case kinds[name] != "", name == database, strings.HasPrefix(name, database+"-"), strings.HasPrefix(name, "tasks.sqlite3-"):
		default:
			others = append(others, name)
		}
	}
	if len(usual) > 0 {
		sink.Found(note("left-out", strings.Join(usual, ", "),
			"not in the backup, as in linkding's own full_backup: linkding makes a new secret key (people sign in again), and jobs that are pending now are lost"))
	}
	if len(others) > 0 {
		shown := others[:min(len(others), 5)]
		quoted := make([]string, len(shown))
		for i, name := range shown {
			quoted[i] = fmt.Sprintf("%q", name)
		}
		sink.Found(note("left-out", shown[0], "%d things in the data folder are not linkding's files and not in the backup: %s; `kind: files` backs them up",
			len(others), strings.Join(quoted, ", ")))
	}
	return nil
}
