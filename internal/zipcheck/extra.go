package zipcheck

import (
	"encoding/binary"
	"hash/crc32"
)

// fileType is what an entry is, as far as anything says it.
type fileType uint8

const (
	unknownType fileType = iota
	regularType
	directoryType
	symlinkType
	specialType
)

// The extra fields that change what an entry is.
const (
	idZIP64       = 0x0001
	idNTFS        = 0x000a
	idPKWAREUnix  = 0x000d
	idEncryption  = 0x0017
	idPKCS7       = 0x0019
	idTime        = 0x5455
	idASiUnix     = 0x756e
	idUnicodePath = 0x7075
	idAES         = 0x9901
)

// extras is what the extra fields of one header say.
type extras struct {
	zip64     []byte
	hasZIP64  bool
	path      string // of the Unicode path field
	hasPath   bool
	soundPath bool // its version is 1 and its CRC-32 that of the name
	encrypted bool
	kind      fileType
	seconds   int64
}

// extras parses the extra fields of a header of entry i.
func (c *checker) extras(i int, b []byte) extras {
	var x extras
	name := c.report.Entries[i].Name
	if raw := c.report.Entries[i].Raw; raw != "" {
		name = raw
	}
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.LittleEndian.Uint16(b[2:])) {
			c.report.reject(Structure, i, "its extra fields are cut off")
			break
		}
		id, field := binary.LittleEndian.Uint16(b), b[4:4+int(binary.LittleEndian.Uint16(b[2:]))]
		b = b[4+len(field):]
		if id == idZIP64 && x.hasZIP64 || id == idUnicodePath && x.hasPath {
			c.report.reject(Structure, i, "an extra field is there twice, of which programs take the first or the last")
		}
		x.take(id, field, name)
	}
	return x
}

func (x *extras) take(id uint16, field []byte, name string) {
	switch {
	case id == idZIP64:
		x.zip64, x.hasZIP64 = field, true
	case id == idUnicodePath:
		x.hasPath = true
		if len(field) >= 5 {
			x.path = string(field[5:])
			x.soundPath = field[0] == 1 && binary.LittleEndian.Uint32(field[1:]) == crc32.ChecksumIEEE([]byte(name))
		}
	case id == idAES, id == idEncryption, id == idPKCS7:
		x.encrypted = true
	case id == idPKWAREUnix && len(field) > 12: // a link's target, or a device's numbers
		x.kind = symlinkType
	case id == idASiUnix && len(field) >= 14:
		x.kind = unixType(uint32(binary.LittleEndian.Uint16(field[4:])))
		if binary.LittleEndian.Uint32(field[6:]) != 0 && x.kind == unknownType { // the length of a link's target
			x.kind = symlinkType
		}
	case id == idTime && len(field) >= 5 && field[0]&1 != 0:
		x.seconds = int64(int32(binary.LittleEndian.Uint32(field[1:])))
	case id == idNTFS && x.seconds == 0:
		x.seconds = ntfsTime(field)
	}
}

// ntfsTime returns the time of the last change in an NTFS extra field as Unix seconds, or 0.
func ntfsTime(field []byte) int64 {
	if len(field) < 16 || binary.LittleEndian.Uint16(field[4:]) != 1 || binary.LittleEndian.Uint16(field[6:]) < 8 {
		return 0
	}
	const perSecond, from1601 = 10_000_000, 11_644_473_600
	ticks := binary.LittleEndian.Uint64(field[8:])
	if ticks == 0 || ticks > 1<<62 {
		return 0
	}
	return int64(ticks/perSecond) - from1601
}

// large replaces values of 0xFFFFFFFF by those of the ZIP64 extra field, in their order: size, stored bytes, and in
// the central directory offset; then the disk, if there is one. It reports false where the field has too little, or
// more than can be read in one way only.
func (x extras) large(values []uint64, disk *uint64) bool {
	rest, whole := x.zip64, x.zip64
	given := append([]uint64{}, values...)
	good := true
	for i, v := range values {
		if v != max32 {
			continue
		}
		if len(rest) < 8 {
			return false
		}
		values[i], rest = binary.LittleEndian.Uint64(rest), rest[8:]
	}
	if disk != nil && *disk == max16 {
		if len(rest) < 4 {
			return false
		}
		*disk, rest = uint64(binary.LittleEndian.Uint32(rest)), rest[4:]
	}
	if len(rest) == 0 {
		return good
	}
	// Some programs write all values, even those that the header has: harmless where both ways give the same.
	for i := range given {
		if len(whole) < 8 {
			break
		}
		v := binary.LittleEndian.Uint64(whole)
		whole = whole[8:]
		good = good && v == values[i]
	}
	if len(whole) == 4 && disk != nil {
		good = good && uint64(binary.LittleEndian.Uint32(whole)) == *disk
		whole = nil
	}
	return good && len(whole) == 0
}
