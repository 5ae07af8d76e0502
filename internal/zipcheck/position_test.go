package zipcheck_test

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/zipcheck"
)

// ending is a file whose reader is told to stop after a number of bytes.
type ending struct {
	io.ReaderAt
	left int
	stop func()
}

func (e *ending) ReadAt(p []byte, at int64) (int, error) {
	if e.left -= len(p); e.left < 0 && e.stop != nil {
		e.stop()
	}
	return e.ReaderAt.ReadAt(p, at)
}

// contents is a ZIP with everything that is found only when contents are read.
func contents() []byte {
	long := strings.Repeat("0123456789abcdef", 16<<10)
	wrong := func(p *piece) *piece { return p.both(func(h *header) { h.crc ^= 1 }) }
	zero := file("zero", long, 0).both(func(h *header) { h.crc = 0 })
	inner := long[:100<<10]
	early := inner + string(le([]byte("PK\x07\x08"), crc32.ChecksumIEEE([]byte(inner)), uint32(len(inner)), uint32(len(inner)))) + long[:50<<10]
	return simple(
		file("empty", "", 0), file("long", long, 0), wrong(file("wrong", long, 0)), file("small", long[:9000], 8), wrong(file("wrong too", long, 8)),
		zero, file("streamed", long, 0).streamed(true, false), file("early", early, 0).streamed(true, false), file("last", long[:70], 0),
	).bytes()
}

// TestReadInPieces stops the reading of the contents all the time: the report is that of one that was not stopped.
func TestReadInPieces(t *testing.T) {
	data := contents()
	open := func(r io.ReaderAt) *zipcheck.Report {
		report, err := zipcheck.Check(t.Context(), r, int64(len(data)), zipcheck.Limits{}, zipcheck.Strict)
		if err != nil || report.Verdict != zipcheck.Accept {
			t.Fatalf("%v %v %v", report, report.Reasons, err)
		}
		return report
	}
	want := open(bytes.NewReader(data))
	if err := want.Read(t.Context(), nil); err != nil || want.Verdict != zipcheck.Reject || len(want.Words()) != 3 {
		t.Fatalf("%s %v", want, err)
	}
	for _, step := range []int{40_000, 100_000, 333_333} {
		at, calls := &zipcheck.Position{}, 0
		for ; ; calls++ {
			ctx, cancel := context.WithCancel(t.Context())
			r := &ending{ReaderAt: bytes.NewReader(data), left: 1 << 30}
			got := open(r)
			before := at.Done() + int64(at.Entries)
			r.left, r.stop = step, cancel
			err := got.ReadFrom(ctx, at, nil)
			cancel()
			if err == nil {
				compareReports(t, want, got)
				break
			}
			if at.Done()+int64(at.Entries) == before {
				t.Fatalf("call %d reads nothing: %+v", calls, at)
			}
			text, _ := json.Marshal(at)
			sums := at.Sums
			at = &zipcheck.Position{Sums: sums}
			if err := json.Unmarshal(text, at); err != nil {
				t.Fatal(err)
			}
		}
		if calls < len(data)/step/2 {
			t.Errorf("%d calls of %d bytes", calls, step)
		}
	}
}

func compareReports(t *testing.T, want, got *zipcheck.Report) {
	t.Helper()
	if diff := cmp.Diff(want.Reasons, got.Reasons); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Counts, got.Counts); diff != "" || want.Verdict != got.Verdict || want.Bytes != got.Bytes {
		t.Errorf("%s %d, want %s %d\n%s", got, got.Bytes, want, want.Bytes, diff)
	}
	for i := range want.Entries {
		a, _ := want.SHA256(i)
		b, ok := got.SHA256(i)
		if a != b || !ok {
			t.Errorf("%s has another SHA-256", want.Entries[i].Name)
		}
	}
}

// TestPositionOfAnother refuses to go on with what was kept of another archive.
func TestPositionOfAnother(t *testing.T) {
	data := simple(file("a", "alpha", 0)).bytes()
	r, err := zipcheck.Check(t.Context(), bytes.NewReader(data), int64(len(data)), zipcheck.Limits{}, zipcheck.Strict)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]*zipcheck.Position{
		"entries": {Entries: 7, Sums: make([][32]byte, 1)}, "sums": {Entries: 1, Sums: make([][32]byte, 2)},
		"begun": {Sums: make([][32]byte, 1), Begun: &zipcheck.Begun{Read: 9}}, "state": {Sums: make([][32]byte, 1), Begun: &zipcheck.Begun{Read: 1, SHA256: []byte("x")}},
	} {
		if err := r.ReadFrom(t.Context(), at, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
