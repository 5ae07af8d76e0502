package zipfmt

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCombineCRC(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for _, cut := range []int{0, 1, 2, 255, 4096, 1 << 19, len(data) - 1, len(data)} {
		a, b := crc32.ChecksumIEEE(data[:cut]), crc32.ChecksumIEEE(data[cut:])
		if got, want := CombineCRC(a, b, int64(len(data)-cut)), crc32.ChecksumIEEE(data); got != want {
			t.Errorf("cut at %d: got %08x, want %08x", cut, got, want)
		}
	}
}

// TestCombineCRCOfLongZeros crosses the lengths at which the table of powers repeats.
func TestCombineCRCOfLongZeros(t *testing.T) {
	// Doubling: crc(0^2n) = combine(crc(0^n), crc(0^n), n), from one byte to 2^40 bytes.
	crc, n := crc32.ChecksumIEEE([]byte{0}), int64(1)
	block := make([]byte, 1<<20)
	for n < 1<<40 {
		crc, n = CombineCRC(crc, crc, n), n*2
		if n == 1<<20 && crc != crc32.ChecksumIEEE(block) {
			t.Fatalf("1 MiB of zeros: got %08x", crc)
		}
	}
	whole := CombineCRC(crc, 0x12345678, 7)
	split := CombineCRC(crc32.ChecksumIEEE([]byte{0}), CombineCRC(zerosCRC(n-1), 0x12345678, 7), n-1+7)
	if whole != split {
		t.Errorf("2^40 zeros and 7 bytes: %08x as a whole, %08x in two pieces", whole, split)
	}
}

func zerosCRC(n int64) uint32 {
	var crc uint32
	one, length := crc32.ChecksumIEEE([]byte{0}), int64(1)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			crc = CombineCRC(crc, one, length)
		}
		one, length = CombineCRC(one, one, length), length*2
	}
	return crc
}

func TestCentralRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 21, 20, 18, 30, 0, time.UTC)
	for _, test := range []struct {
		entry  Entry
		offset uint64
	}{
		{Entry{Name: "a", Modified: at}, 0},
		{Entry{Name: "b/", Modified: at}, 12},
		{Entry{Name: "写真 🏔️.png", Method: Deflate, CRC32: 7, Size: 9, Stored: 5, Modified: at}, max32 - 1},
		{Entry{Name: "c", CRC32: 7, Size: max32, Stored: max32, Modified: at}, 5},
		{Entry{Name: "d", CRC32: 7, Size: 1 << 40, Stored: 1 << 40, Modified: at}, 1 << 41},
		{Entry{Name: "e", CRC32: 7, Size: 3, Stored: 3, Modified: at}, max32},
	} {
		b := test.entry.AppendCentral(nil, test.offset)
		got, offset, length, err := ParseCentral(append(b, 1, 2, 3))
		if err != nil || offset != test.offset || length != len(b) {
			t.Errorf("%q: offset %d, length %d, %v", test.entry.Name, offset, length, err)
		}
		if diff := cmp.Diff(test.entry, got); diff != "" {
			t.Error(diff)
		}
		if n := int64(len(test.entry.AppendLocal(nil))); n != test.entry.LocalSize() {
			t.Errorf("%q: local header has %d bytes, LocalSize says %d", test.entry.Name, n, test.entry.LocalSize())
		}
	}
}

func TestParseEnd(t *testing.T) {
	for _, d := range []Directory{
		{Entries: 0},
		{Entries: 3, Offset: 100, Size: 150},
		{Entries: max16, Offset: 1, Size: 2},
		{Entries: 1, Offset: max32, Size: 50},
		{Entries: 70_000, Offset: 1 << 42, Size: 1 << 33},
	} {
		tail := d.AppendEnd(nil)
		size := int64(d.Offset+d.Size) + int64(len(tail))
		if d.Offset+d.Size > 1<<20 {
			tail = append(make([]byte, MaxEnd-len(tail)), tail...)
		}
		got, err := ParseEnd(tail, size)
		if err != nil || got != d {
			t.Errorf("got %+v, %v, want %+v", got, err, d)
		}
		if _, err := ParseEnd(tail, size+1); err == nil {
			t.Errorf("%+v: a byte too many was not noticed", d)
		}
	}
}

func TestDOSTime(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"2026-11-21T20:18:31Z", "2026-11-21T20:18:30Z"},
		{"2026-11-21T20:18:31+05:00", "2026-11-21T15:18:30Z"},
		{"1970-01-01T00:00:00Z", "1980-01-01T00:00:00Z"},
		{"2200-01-01T00:00:00Z", "2107-12-31T23:59:58Z"},
	} {
		in, _ := time.Parse(time.RFC3339, test.in)
		if got := ParseDOSTime(DOSTime(in)).Format(time.RFC3339); got != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
	}
}
