package zipcheck

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	endLength     = 22
	end64Length   = 56
	locatorLength = 20
	maxComment    = 1<<16 - 1

	max16 = 1<<16 - 1
	max32 = 1<<32 - 1
	// maxOffset bounds every 64-bit number of an archive, so that no sum of three overflows.
	maxOffset = 1 << 60
)

var (
	localSignature      = []byte("PK\x03\x04")
	centralSignature    = []byte("PK\x01\x02")
	endSignature        = []byte("PK\x05\x06")
	end64Signature      = []byte("PK\x06\x06")
	locatorSignature    = []byte("PK\x06\x07")
	descriptorSignature = []byte("PK\x07\x08")
)

var (
	endSignatures       = [][]byte{endSignature, end64Signature, locatorSignature}
	directorySignatures = append([][]byte{centralSignature}, endSignatures...)
	entrySignatures     = [][]byte{localSignature, descriptorSignature}
	signatures          = slices.Concat(directorySignatures, entrySignatures)
)

// record reports which signature of a record lies within b, and where.
func record(b []byte, of [][]byte) (int, bool) {
	for _, s := range of {
		if i := bytes.Index(b, s); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

// endRecords finds the one end record, and from it the central directory. It reports whether there is one to read.
func (c *checker) endRecords() (bool, error) {
	tail, err := c.tail()
	if err != nil {
		return false, err
	}
	i, ok := c.chooseEnd(tail)
	if !ok {
		return false, nil
	}
	end := tail[i:]
	at := c.size - int64(len(end))
	length := int(binary.LittleEndian.Uint16(end[20:]))
	comment := end[endLength : endLength+length]
	c.report.Comment = string(comment)
	if _, found := record(comment, signatures); found {
		c.report.reject(Structure, -1, "the archive's comment holds a record of a ZIP, which some programs take for the archive's own")
	}
	if rest := len(end) - endLength - length; rest > 0 {
		c.report.reject(Structure, -1, "%d bytes follow the end of the archive", rest)
	}
	d := directory{
		disk: uint32(binary.LittleEndian.Uint16(end[4:])), startDisk: uint32(binary.LittleEndian.Uint16(end[6:])),
		here: uint64(binary.LittleEndian.Uint16(end[8:])), entries: uint64(binary.LittleEndian.Uint16(end[10:])),
		size: uint64(binary.LittleEndian.Uint32(end[12:])), offset: uint64(binary.LittleEndian.Uint32(end[16:])),
	}
	return c.directory(d, at)
}

// tail returns the bytes that an end record with the longest comment takes.
func (c *checker) tail() ([]byte, error) {
	tail := make([]byte, max(0, min(c.size, endLength+maxComment)))
	_, err := c.window.r.ReadAt(tail, c.size-int64(len(tail)))
	return tail, err
}

// chooseEnd returns the place of the end record in the last bytes of a file.
func (c *checker) chooseEnd(tail []byte) (int, bool) {
	last, fits := -1, []int{}
	for rest := tail; ; {
		i := bytes.LastIndex(rest, endSignature)
		if i < 0 {
			break
		}
		rest = rest[:i+len(endSignature)-1]
		if i+endLength > len(tail) {
			continue
		}
		last = max(last, i)
		if i+endLength+int(binary.LittleEndian.Uint16(tail[i+20:])) == len(tail) {
			fits = append(fits, i)
		}
	}
	switch {
	case len(fits) > 1:
		c.report.reject(Structure, -1, "%d end records reach the end of the file: programs read different archives in it", len(fits))
		return 0, false
	case len(fits) == 1:
		return fits[0], true
	case last < 0:
		c.report.reject(Unreadable, -1, "there is no end record: this is no ZIP, or its end is missing")
		return 0, false
	case last+endLength+int(binary.LittleEndian.Uint16(tail[last+20:])) > len(tail):
		c.report.reject(Unreadable, -1, "the comment is longer than what is left of the file: its end is missing")
		return 0, false
	}
	return last, true
}

// directory is what an end record says.
type directory struct {
	disk, startDisk uint32
	here, entries   uint64
	size, offset    uint64
}

// directory places the central directory, before the end record at an offset.
func (c *checker) directory(d directory, at int64) (bool, error) {
	d, at, ok, err := c.zip64(d, at)
	if err != nil || !ok {
		return false, err
	}
	if d.disk != 0 || d.startDisk != 0 || d.here != d.entries {
		c.report.Several = d.disk != 0 || d.startDisk != 0
		c.report.reject(Structure, -1, "the end record is of an archive in several parts")
	}
	switch {
	case d.size > maxOffset || d.offset > maxOffset || int64(d.offset+d.size) > at:
		c.report.reject(Structure, -1, "the central directory, %d bytes at %d, would reach beyond its end record at %d", d.size, d.offset, at)
		return false, nil
	case d.entries > uint64(c.limits.Entries):
		c.report.reject(SizeLimit, -1, "the archive has %d entries, more than %d", d.entries, c.limits.Entries)
		return false, nil
	}
	c.entries, c.start, c.end = d.entries, int64(d.offset), at
	switch {
	case d.entries == 0 && at != 0:
		c.report.reject(Structure, -1, "the archive lists no entries, and %d bytes lie before its end record", at)
		return false, nil
	case c.start+int64(d.size) != at:
		c.report.reject(Structure, -1, "the central directory ends at %d by its own offsets, and its end record lies at %d: something was put before or between", c.start+int64(d.size), at)
		c.start, c.astray = at-int64(d.size), true
	}
	return true, nil
}

// zip64 reads the ZIP64 end record before an end record, if a locator says that there is one, and returns where the
// central directory has to end.
func (c *checker) zip64(d directory, at int64) (directory, int64, bool, error) {
	locator, err := c.window.bytes(at-locatorLength, locatorLength)
	if err != nil {
		return d, at, false, err
	}
	if at < locatorLength || !bytes.HasPrefix(locator, locatorSignature) {
		if d.size == max32 || d.offset == max32 || d.disk == max16 || d.startDisk == max16 {
			c.report.reject(Structure, -1, "the ZIP64 end record is missing, which the end record needs")
			return d, at, false, nil
		}
		return d, at, true, nil // exactly 65,535 entries need none
	}
	disk, parts := binary.LittleEndian.Uint32(locator[4:]), binary.LittleEndian.Uint32(locator[16:])
	place := binary.LittleEndian.Uint64(locator[8:])
	if disk != 0 || parts != 1 {
		c.report.Several = true
		c.report.reject(Structure, -1, "the ZIP64 locator is of an archive in several parts")
	}
	from := at - locatorLength - end64Length
	end, err := c.window.bytes(from, end64Length)
	if err != nil {
		return d, at, false, err
	}
	if from < 0 || !bytes.HasPrefix(end, end64Signature) || place != uint64(from) || binary.LittleEndian.Uint64(end[4:]) != end64Length-12 {
		c.report.reject(Structure, -1, "the ZIP64 end record is not where its locator says, directly before it, or has an unknown form")
		return d, at, false, nil
	}
	large := directory{
		disk: binary.LittleEndian.Uint32(end[16:]), startDisk: binary.LittleEndian.Uint32(end[20:]),
		here: binary.LittleEndian.Uint64(end[24:]), entries: binary.LittleEndian.Uint64(end[32:]),
		size: binary.LittleEndian.Uint64(end[40:]), offset: binary.LittleEndian.Uint64(end[48:]),
	}
	if !either(uint64(d.disk), uint64(large.disk), max16) || !either(uint64(d.startDisk), uint64(large.startDisk), max16) ||
		!either(d.here, large.here, max16) || !either(d.entries, large.entries, max16) ||
		!either(d.size, large.size, max32) || !either(d.offset, large.offset, max32) {
		c.report.reject(Structure, -1, "the end record and the ZIP64 end record disagree: programs read different archives in it")
		return d, at, false, nil
	}
	return large, from, true, nil
}

// either reports whether a small field leaves its value to the large one, or has the same.
func either(small, large, none uint64) bool { return small == none || small == large }
