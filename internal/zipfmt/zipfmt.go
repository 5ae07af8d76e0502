// Package zipfmt writes and reads the records of a ZIP file, byte for byte as lifeboat's archives have them.
//
// The format is PKWARE's APPNOTE 6.3.10, restricted: no data descriptors, sizes and CRC in the local header, UTF-8
// names (flag bit 11), methods 0 (stored) and 8 (deflate), a ZIP64 extra field only where a value needs it, no
// other extra field, no comment. The same Entry always gives the same bytes, so that every offset and every byte
// of an archive but the file contents follows from the list of its entries. Nothing here does I/O.
package zipfmt

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The methods.
const (
	Store   uint16 = 0
	Deflate uint16 = 8
)

const (
	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50
	end64Signature   = 0x06064b50
	locatorSignature = 0x07064b50

	localFixed   = 30
	centralFixed = 46
	endFixed     = 22
	end64Fixed   = 56
	locatorFixed = 20

	max16 = 1<<16 - 1
	max32 = 1<<32 - 1

	zip64ID = 1
	utf8    = 1 << 11
	unix    = 3 << 8 // version made by: attributes are Unix modes
)

// MaxName is the longest name that a ZIP can hold, in bytes.
const MaxName = max16

// Entry is what the headers of one entry say.
type Entry struct {
	Name     string    // UTF-8, forward slashes
	Method   uint16    // Store or Deflate
	CRC32    uint32    // of the content
	Size     uint64    // of the content
	Stored   uint64    // bytes in the archive: Size when stored
	Modified time.Time // to 2 seconds, as UTC; before 1980 it is 1980-01-01, after 2107 2107-12-31
}

func (e Entry) large() bool { return e.Size >= max32 || e.Stored >= max32 }

func (e Entry) version(offset uint64) uint16 {
	if e.large() || offset >= max32 {
		return 45
	}
	return 20
}

// LocalSize returns the length of the local header. It depends on the name and on whether a size reaches 4 GiB - 1.
func (e Entry) LocalSize() int64 {
	n := localFixed + len(e.Name)
	if e.large() {
		n += 20
	}
	return int64(n)
}

// AppendLocal appends the local header to b. It holds no offset: it is the same wherever the entry lies.
func (e Entry) AppendLocal(b []byte) []byte {
	date, clock := DOSTime(e.Modified)
	size, stored, extra := uint32(e.Size), uint32(e.Stored), 0
	if e.large() {
		size, stored, extra = max32, max32, 20
	}
	b = binary.LittleEndian.AppendUint32(b, localSignature)
	b = appendUint16s(b, e.version(0), utf8, e.Method, clock, date)
	b = appendUint32s(b, e.CRC32, stored, size)
	b = appendUint16s(b, uint16(len(e.Name)), uint16(extra))
	b = append(b, e.Name...)
	if extra > 0 {
		b = appendUint16s(b, zip64ID, 16)
		b = binary.LittleEndian.AppendUint64(b, e.Size)
		b = binary.LittleEndian.AppendUint64(b, e.Stored)
	}
	return b
}

// AppendCentral appends the central directory's header of an entry whose local header lies at offset.
func (e Entry) AppendCentral(b []byte, offset uint64) []byte {
	date, clock := DOSTime(e.Modified)
	size, stored, place := uint32(e.Size), uint32(e.Stored), uint32(offset)
	var extra []byte
	if e.large() {
		size, stored = max32, max32
		extra = binary.LittleEndian.AppendUint64(extra, e.Size)
		extra = binary.LittleEndian.AppendUint64(extra, e.Stored)
	}
	if offset >= max32 {
		place = max32
		extra = binary.LittleEndian.AppendUint64(extra, offset)
	}
	if len(extra) > 0 {
		extra = append(appendUint16s(nil, zip64ID, uint16(len(extra))), extra...)
	}
	mode, dosAttributes := uint32(0o100644), uint32(0)
	if n := len(e.Name); n > 0 && e.Name[n-1] == '/' {
		mode, dosAttributes = 0o040755, 0x10
	}
	b = binary.LittleEndian.AppendUint32(b, centralSignature)
	b = appendUint16s(b, unix|e.version(offset), e.version(offset), utf8, e.Method, clock, date)
	b = appendUint32s(b, e.CRC32, stored, size)
	b = appendUint16s(b, uint16(len(e.Name)), uint16(len(extra)), 0, 0, 0)
	b = appendUint32s(b, mode<<16|dosAttributes, place)
	b = append(b, e.Name...)
	return append(b, extra...)
}

// Directory says where a central directory lies.
type Directory struct {
	Entries uint64
	Offset  uint64
	Size    uint64
}

// AppendEnd appends the end of central directory record, after the ZIP64 end record and its locator where a value
// needs them.
func (d Directory) AppendEnd(b []byte) []byte {
	entries, size, offset := uint16(d.Entries), uint32(d.Size), uint32(d.Offset)
	if d.Entries >= max16 || d.Size >= max32 || d.Offset >= max32 {
		entries, size, offset = uint16(min(d.Entries, max16)), uint32(min(d.Size, max32)), uint32(min(d.Offset, max32))
		b = binary.LittleEndian.AppendUint32(b, end64Signature)
		b = binary.LittleEndian.AppendUint64(b, end64Fixed-12)
		b = appendUint16s(b, unix|45, 45)
		b = appendUint32s(b, 0, 0)
		for _, v := range []uint64{d.Entries, d.Entries, d.Size, d.Offset} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = appendUint32s(b, locatorSignature, 0)
		b = binary.LittleEndian.AppendUint64(b, d.Offset+d.Size)
		b = appendUint32s(b, 1)
	}
	b = binary.LittleEndian.AppendUint32(b, endSignature)
	b = appendUint16s(b, 0, 0, entries, entries)
	b = appendUint32s(b, size, offset)
	return appendUint16s(b, 0)
}

// MaxEnd is the most bytes that AppendEnd appends.
const MaxEnd = end64Fixed + locatorFixed + endFixed

// ParseEnd reads the end records from the last bytes of a file of the given size (MaxEnd bytes, or all where the
// file is shorter). It accepts exactly what AppendEnd writes.
func ParseEnd(tail []byte, size int64) (Directory, error) {
	if len(tail) < endFixed {
		return Directory{}, fmt.Errorf("the file is too short for a ZIP")
	}
	end := tail[len(tail)-endFixed:]
	if binary.LittleEndian.Uint32(end) != endSignature {
		return Directory{}, fmt.Errorf("no end record at the end of the file: it is cut off, or something follows the ZIP")
	}
	d := Directory{
		Entries: uint64(binary.LittleEndian.Uint16(end[10:])),
		Size:    uint64(binary.LittleEndian.Uint32(end[12:])),
		Offset:  uint64(binary.LittleEndian.Uint32(end[16:])),
	}
	length := uint64(endFixed)
	if d.Entries == max16 || d.Size == max32 || d.Offset == max32 {
		if len(tail) < MaxEnd || binary.LittleEndian.Uint32(tail[len(tail)-MaxEnd:]) != end64Signature {
			return Directory{}, fmt.Errorf("the ZIP64 end record is missing")
		}
		end64 := tail[len(tail)-MaxEnd:]
		d = Directory{
			Entries: binary.LittleEndian.Uint64(end64[24:]),
			Size:    binary.LittleEndian.Uint64(end64[40:]),
			Offset:  binary.LittleEndian.Uint64(end64[48:]),
		}
		length = MaxEnd
	}
	if want := d.AppendEnd(nil); string(want) != string(tail[uint64(len(tail))-length:]) {
		return Directory{}, fmt.Errorf("the end record is not as lifeboat writes it")
	}
	if total := d.Offset + d.Size + length; d.Offset > uint64(size) || d.Size > uint64(size) || total != uint64(size) {
		return Directory{}, fmt.Errorf("the end record does not fit the size of the file")
	}
	return d, nil
}

// ParseCentral reads one header of the central directory from b and returns the entry, the offset of its local
// header and the header's length. It accepts exactly what AppendCentral writes.
func ParseCentral(b []byte) (e Entry, offset uint64, length int, err error) {
	bad := fmt.Errorf("a central directory header is not as lifeboat writes it")
	if len(b) < centralFixed || binary.LittleEndian.Uint32(b) != centralSignature {
		return e, 0, 0, bad
	}
	name, extra := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:]))
	length = centralFixed + name + extra
	if len(b) < length {
		return e, 0, 0, bad
	}
	e = Entry{
		Name: string(b[centralFixed : centralFixed+name]), Method: binary.LittleEndian.Uint16(b[10:]),
		CRC32: binary.LittleEndian.Uint32(b[16:]), Stored: uint64(binary.LittleEndian.Uint32(b[20:])),
		Size:     uint64(binary.LittleEndian.Uint32(b[24:])),
		Modified: ParseDOSTime(binary.LittleEndian.Uint16(b[14:]), binary.LittleEndian.Uint16(b[12:])),
	}
	offset = uint64(binary.LittleEndian.Uint32(b[42:]))
	rest := b[centralFixed+name : length]
	if len(rest) >= 4 {
		rest = rest[4:]
	}
	take := func() uint64 {
		if len(rest) < 8 {
			return 0
		}
		v := binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
		return v
	}
	if e.Size == max32 {
		e.Size, e.Stored = take(), take()
	}
	if offset == max32 {
		offset = take()
	}
	if string(e.AppendCentral(nil, offset)) != string(b[:length]) {
		return e, 0, 0, bad
	}
	return e, offset, length, nil
}

// MaxCentral is the most bytes that AppendCentral appends.
const MaxCentral = centralFixed + MaxName + 28

// DOSTime returns a time as MS-DOS date and time, in UTC, clamped to what they can hold.
func DOSTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	switch {
	case t.Year() < 1980:
		return 1<<5 | 1, 0
	case t.Year() > 2107:
		return 127<<9 | 12<<5 | 31, 23<<11 | 59<<5 | 29
	}
	date = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	clock = uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	return date, clock
}

// ParseDOSTime is the inverse of DOSTime.
func ParseDOSTime(date, clock uint16) time.Time {
	return time.Date(int(date>>9)+1980, time.Month(date>>5&15), int(date&31),
		int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
}

func appendUint16s(b []byte, values ...uint16) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func appendUint32s(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
