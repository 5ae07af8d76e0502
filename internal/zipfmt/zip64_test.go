package zipfmt

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"testing"
	"time"
)

// sparse is a file of which only some runs of bytes are there, in their order; the rest is zeros.
type sparse struct {
	size  int64
	runs  [][]byte
	start []int64 // of each run
}

// put appends a run behind all others.
func (s *sparse) put(at int64, data []byte) {
	s.runs, s.start, s.size = append(s.runs, data), append(s.start, at), at+int64(len(data))
}

// ReadAt implements io.ReaderAt.
func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(0, s.size-off)))
	clear(p[:n])
	first := max(0, sort.Search(len(s.start), func(i int) bool { return s.start[i] > off })-1)
	for i := first; i < len(s.runs) && s.start[i] < off+int64(n); i++ {
		from, to := max(s.start[i], off), min(s.start[i]+int64(len(s.runs[i])), off+int64(n))
		if from < to {
			copy(p[from-off:to-off], s.runs[i][from-s.start[i]:to-s.start[i]])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// build lays out entries without their contents, and the end of the file.
func build(entries []Entry) *sparse {
	s := &sparse{}
	var directory []byte
	var at int64
	for _, e := range entries {
		directory = e.AppendCentral(directory, uint64(at))
		s.put(at, e.AppendLocal(nil))
		at += e.LocalSize() + int64(e.Stored)
	}
	d := Directory{Entries: uint64(len(entries)), Offset: uint64(at), Size: uint64(len(directory))}
	s.put(at, d.AppendEnd(directory))
	return s
}

// TestZIP64 has Go's own reader read archives that no disk holds: it must see the same entries at the same places.
func TestZIP64(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	entry := func(name string, size uint64) Entry {
		return Entry{Name: name, CRC32: 0xcafe, Size: size, Stored: size, Modified: at}
	}
	many := make([]Entry, 70_000)
	for i := range many {
		many[i] = entry(fmt.Sprint(i), 0)
	}
	for name, entries := range map[string][]Entry{
		"none":                  {},
		"4 GiB - 2":             {entry("a", max32-1), entry("b", 1)},
		"4 GiB - 1":             {entry("a", max32), entry("b", 1)},
		"4 GiB":                 {entry("a", max32+1), entry("b", 1)},
		"terabytes":             {entry("a", 1<<41), entry("b", 1<<42), entry("c/", 0), entry("d", 3)},
		"far away, but small":   {entry("a", 3<<30), entry("b", 3<<30), entry("c", 3)},
		"large once inflated":   {{Name: "a", Method: Deflate, Size: 1 << 33, Stored: 100, CRC32: 1, Modified: at}, entry("b", 1)},
		"65,534 entries":        many[:65_534],
		"65,535 entries":        many[:65_535],
		"65,536 entries":        many[:65_536],
		"70,000 entries":        many,
		"offset of 4 GiB - 1":   {entry("a", max32-31), entry("b", 3)},
		"offset of 4 GiB":       {entry("a", max32-30), entry("b", 3)},
		"directory at 4 GiB -1": {entry("a", max32-31)},
	} {
		t.Run(name, func(t *testing.T) {
			file := build(entries)
			r, err := zip.NewReader(file, file.size)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.File) != len(entries) {
				t.Fatalf("%d entries, want %d", len(r.File), len(entries))
			}
			var offset int64
			for i, f := range r.File {
				e := entries[i]
				data, err := f.DataOffset()
				if err != nil || f.Name != e.Name || f.UncompressedSize64 != e.Size || f.CompressedSize64 != e.Stored || f.CRC32 != e.CRC32 ||
					f.Method != e.Method || data != offset+e.LocalSize() || !f.Modified.Equal(at) || f.NonUTF8 {
					t.Fatalf("%+v, data at %d, %v", f.FileHeader, data, err)
				}
				offset += e.LocalSize() + int64(e.Stored)
			}
			ours(t, file, entries)
		})
	}
}

// ours reads the same file with our own parsers.
func ours(t *testing.T, file *sparse, entries []Entry) {
	t.Helper()
	tail := make([]byte, min(file.size, MaxEnd))
	if _, err := file.ReadAt(tail, file.size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	d, err := ParseEnd(tail, file.size)
	if err != nil || d.Entries != uint64(len(entries)) {
		t.Fatalf("%+v, %v", d, err)
	}
	directory := make([]byte, d.Size)
	if _, err := file.ReadAt(directory, int64(d.Offset)); err != nil {
		t.Fatal(err)
	}
	var want uint64
	for i := range entries {
		e, offset, length, err := ParseCentral(directory)
		if err != nil || offset != want || e.Name != entries[i].Name || e.Size != entries[i].Size || e.Stored != entries[i].Stored {
			t.Fatalf("%+v at %d, %v", e, offset, err)
		}
		directory = directory[length:]
		want += uint64(e.LocalSize()) + e.Stored
	}
	if len(directory) > 0 {
		t.Errorf("%d bytes are left", len(directory))
	}
}

func TestParseEndRefuses(t *testing.T) {
	good := Directory{Entries: 3, Offset: 100, Size: 150}.AppendEnd(nil)
	large := Directory{Entries: 3, Offset: max32, Size: 150}.AppendEnd(nil)
	small := Directory{Entries: 3, Offset: 1, Size: 150}
	forced := bytes.Clone(large) // ZIP64 records where none are needed
	copy(forced[48:], []byte{1, 0, 0, 0, 0, 0, 0, 0})
	huge := Directory{Entries: 1 << 63, Offset: 1 << 63, Size: 1<<63 + 98}.AppendEnd(nil)
	for name, test := range map[string]struct {
		tail []byte
		size int64
	}{
		"nothing": {nil, 0}, "cut off": {good[:21], 271}, "a comment": {append(bytes.Clone(good), 'c'), 273},
		"only the last record": {large[len(large)-22:], int64(max32) + 150 + 98}, "ZIP64 for nothing": {forced, 1 + 150 + 98},
		"too small a file": {good, 271}, "too large a file": {good, 273}, "sums that overflow": {huge, 98}, "no room": {small.AppendEnd(nil), 22},
	} {
		if d, err := ParseEnd(test.tail, test.size); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if d, err := ParseEnd(bad, 272); err == nil {
			t.Errorf("byte %d: %+v", i, d)
		}
	}
}

func FuzzParseCentral(f *testing.F) {
	f.Add(Entry{Name: "a/ü", Size: 5, Stored: 5}.AppendCentral(nil, 7))
	f.Add(Entry{Name: "b", Size: 1 << 40, Stored: 1 << 40}.AppendCentral(nil, 1<<41))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, offset, length, err := ParseCentral(data)
		if err == nil && !bytes.Equal(e.AppendCentral(nil, offset), data[:length]) {
			t.Errorf("%+v at %d is written in another way", e, offset)
		}
	})
}
