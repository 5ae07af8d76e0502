package zipcheck

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"
)

const (
	localLength   = 30
	centralLength = 46

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagPatched    = 1 << 5
	flagStrong     = 1 << 6
	flagUTF8       = 1 << 11
	flagMasked     = 1 << 13

	// maxVersion is the newest version of the format, 6.3.
	maxVersion = 63

	unixHost   = 3
	darwinHost = 19
)

// centralDirectory reads the list of entries. It reports whether all of it could be parsed.
func (c *checker) centralDirectory() (bool, error) {
	at := c.start
	// As many headers as the bytes that are really there can hold, and no more.
	c.report.Entries = make([]Entry, 0, min(int64(c.entries), (c.end-c.start)/centralLength))
	for at < c.end {
		if len(c.report.Entries) >= c.limits.Entries {
			c.report.reject(SizeLimit, -1, "the archive has more than %d entries", c.limits.Entries)
			return false, nil
		}
		if len(c.report.Entries)%1000 == 0 && c.ctx.Err() != nil {
			return false, c.ctx.Err()
		}
		length, err := c.centralHeader(at)
		if err != nil || length == 0 {
			return false, err
		}
		at += length
		if c.names > c.limits.Names {
			c.report.reject(SizeLimit, -1, "the names have more than %d bytes together", c.limits.Names)
			return false, nil
		}
	}
	if found := uint64(len(c.report.Entries)); found != c.entries {
		c.report.reject(Structure, -1, "the central directory lists %d entries, its end record says %d", found, c.entries)
	}
	return true, nil
}

// centralHeader parses one header of the central directory and returns its length, 0 where it is none.
func (c *checker) centralHeader(at int64) (int64, error) {
	h, err := c.window.bytes(at, centralLength)
	if err != nil {
		return 0, err
	}
	if at+centralLength > c.end || !bytes.HasPrefix(h, centralSignature) {
		c.report.reject(Structure, -1, "the central directory holds something else than headers at %d", at)
		return 0, nil
	}
	name, extra := int(binary.LittleEndian.Uint16(h[28:])), int(binary.LittleEndian.Uint16(h[30:]))
	length := centralLength + name + extra + int(binary.LittleEndian.Uint16(h[32:]))
	if at+int64(length) > c.end {
		c.report.reject(Structure, -1, "a header of the central directory reaches beyond its end")
		return 0, nil
	}
	if h, err = c.window.bytes(at, length); err != nil {
		return 0, err
	}
	c.names += int64(name)
	i := len(c.report.Entries)
	raw := string(h[centralLength : centralLength+name])
	c.report.Entries = append(c.report.Entries, Entry{
		Name: raw, CRC32: binary.LittleEndian.Uint32(h[16:]), Method: binary.LittleEndian.Uint16(h[10:]),
		flags: binary.LittleEndian.Uint16(h[8:]), madeBy: h[5], attributes: binary.LittleEndian.Uint32(h[38:]),
		seconds: dosTime(binary.LittleEndian.Uint16(h[14:]), binary.LittleEndian.Uint16(h[12:])),
	})
	c.centralFields(i, h, h[centralLength+name:centralLength+name+extra])
	if at, found := record(h[centralLength:], endSignatures); found {
		c.report.reject(Structure, i, "its name, extra fields or comment hold an end record, at %d", at)
	}
	if _, found := record(h[centralLength+name+extra:], signatures); found {
		c.report.reject(Structure, i, "its comment holds a record of a ZIP")
	}
	return int64(length), nil
}

// centralFields reads what may lie in extra fields, and judges what needs no local header.
func (c *checker) centralFields(i int, h, extra []byte) {
	e := &c.report.Entries[i]
	x := c.extras(i, extra)
	values := []uint64{uint64(binary.LittleEndian.Uint32(h[24:])), uint64(binary.LittleEndian.Uint32(h[20:])), uint64(binary.LittleEndian.Uint32(h[42:]))}
	disk := uint64(binary.LittleEndian.Uint16(h[34:]))
	if !x.large(values, &disk) {
		c.report.reject(Structure, i, "its ZIP64 extra field does not hold what the header leaves to it")
	}
	if disk != 0 {
		c.report.reject(Structure, i, "it lies in another part of the archive")
	}
	if values[0] > maxOffset || values[1] > maxOffset || values[2] > maxOffset {
		c.report.reject(Structure, i, "its sizes or its offset are beyond every file")
	}
	e.Size, e.Stored, e.Header = int64(min(values[0], maxOffset)), int64(min(values[1], maxOffset)), int64(min(values[2], maxOffset))
	if x.seconds != 0 {
		e.seconds = x.seconds
	}
	e.hidden = x.kind
	c.version(i, h[6])
	c.flags(i, e.flags, x)
	c.decode(i, x)
}

func (c *checker) version(i int, needed byte) {
	if needed > maxVersion {
		c.report.reject(Structure, i, "it needs version %d.%d of the format, which does not exist", needed/10, needed%10)
	}
}

// flags judges general purpose bits that no reader of ours understands.
func (c *checker) flags(i int, flags uint16, x extras) {
	if flags&(flagEncrypted|flagStrong|flagMasked) != 0 || x.encrypted {
		c.report.reject(Encrypted, i, "it is encrypted")
	}
	if flags&flagPatched != 0 {
		c.report.reject(Structure, i, "it is a patch for another file")
	}
}

// dosTime returns MS-DOS date and time as Unix seconds, or 0 for what is no date.
func dosTime(date, clock uint16) int64 {
	month, day, hour, minute, second := int(date>>5&15), int(date&31), int(clock>>11), int(clock>>5&63), int(clock&31)*2
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0
	}
	return time.Date(int(date>>9)+1980, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix()
}

// isASCII reports whether every byte is.
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
