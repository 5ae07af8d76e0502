package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
)

// breaking is an archive whose reader fails behind a number of bytes.
type breaking struct {
	data []byte
	left int
	err  error
}

func (b *breaking) Size() int64 { return int64(len(b.data)) }

func (b *breaking) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(&failing{io.NewSectionReader(bytes.NewReader(b.data), offset, length), b}), nil
}

type failing struct {
	r io.Reader
	b *breaking
}

func (f *failing) Read(p []byte) (int, error) {
	if f.b.left <= 0 {
		return 0, f.b.err
	}
	n, err := f.r.Read(p[:min(len(p), f.b.left)])
	f.b.left -= n
	return n, err
}

// TestTroubleIsNoVerdict fails the reading of an archive at many places: by what says nothing of its bytes, which ends the
// check with that very error, and by an end that comes too early, which is damage.
func TestTroubleIsNoVerdict(t *testing.T) {
	data := archivetest.New(t, []archivetest.File{{Path: "a", Data: bytesOf(1, 3000)}}, []archivetest.File{{Path: "b", Data: bytesOf(2, 500)}}).Zip(t)
	check := func(b *breaking) (problems int, err error) {
		f, err := archive.Open(t.Context(), b)
		if err != nil {
			return 0, err
		}
		m, body, err := f.Manifest(t.Context())
		if err != nil {
			return 0, err
		}
		defer body.Close()
		_, _, err = archive.Walk(t.Context(), f.Data, m.Entries(), nil, func(app.Finding) { problems++ })
		if err != nil || problems > 0 {
			return problems, err
		}
		again, body, err := f.Manifest(t.Context())
		if err != nil {
			return 0, err
		}
		defer body.Close()
		return 0, f.CheckTail(t.Context(), again, again.Entries())
	}
	disk := &fs.PathError{Op: "read", Path: "a.zip", Err: syscall.EIO}
	for name, test := range map[string]struct {
		err     error
		verdict bool
	}{
		"a disk that breaks":    {disk, false},
		"a fault of ours":       {errors.New("made up"), false},
		"a broken connection":   {failure.New(failure.Transient, "read: %w", io.ErrUnexpectedEOF), false},
		"a right that is gone":  {failure.New(failure.Denied, "no"), false},
		"a full disk":           {failure.New(failure.Exhausted, "full"), false},
		"a cancellation":        {context.Canceled, false},
		"another version":       {failure.New(failure.Conflict, "changed"), false},
		"an end":                {io.EOF, true},
		"an end, as some say":   {io.ErrUnexpectedEOF, true},
		"a pack that is gone":   {failure.New(failure.NotFound, "gone"), true},
		"a checksum of a store": {failure.New(failure.Corrupt, "another CRC-32"), true},
	} {
		complete := false
		for left := 0; !complete; left += 97 {
			b := &breaking{data: data, left: left, err: test.err}
			problems, err := check(b)
			complete = b.left > 0
			switch damaged := problems > 0 || failure.KindOf(err) == failure.Corrupt && err != nil || err != nil && failure.KindOf(err) == failure.NotFound; {
			case complete && (err != nil || problems > 0):
				t.Errorf("%s: undisturbed: %d problems, %v", name, problems, err)
			case complete:
			case test.verdict && !damaged:
				t.Errorf("%s after %d bytes is not noticed as damage: %v", name, left, err)
			case !test.verdict && (damaged || !errors.Is(err, test.err)):
				t.Errorf("%s after %d bytes: %d problems, %v", name, left, problems, err)
			}
		}
	}
}
