package zipcheck_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// piece is one entry of a ZIP that a test makes. Everything is as it should be until a test changes it: local and
// central are the two headers, and before the descriptor lies the data.
type piece struct {
	local, central header
	data           []byte
	descriptor     []byte
	before         []byte // bytes that belong to no entry
}

// header is what a header says.
type header struct {
	name             string
	flags, method    uint16
	crc, stored, len uint32
	extra            []byte
	comment          []byte
	madeBy, version  uint16
	attributes       uint32
	disk             uint16
	offset           int64 // of the local header; -1: where it is
}

// file returns an entry that is as it should be.
func file(name, content string, method uint16) *piece {
	data := []byte(content)
	if method == 8 {
		data = deflated(content)
	}
	h := header{
		name: name, method: method, crc: crc32.ChecksumIEEE([]byte(content)), stored: uint32(len(data)), len: uint32(len(content)),
		madeBy: 3<<8 | 20, version: 20, attributes: 0o100644 << 16, offset: -1,
	}
	if name != "" && name[len(name)-1] == '/' {
		h.attributes = 0o40755<<16 | 0x10
	}
	return &piece{local: h, central: h, data: data}
}

func deflated(content string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return b.Bytes()
}

// both changes both headers.
func (p *piece) both(change func(h *header)) *piece {
	change(&p.local)
	change(&p.central)
	return p
}

// streamed gives the entry a data descriptor.
func (p *piece) streamed(signed, large bool) *piece {
	if signed {
		p.descriptor = append(p.descriptor, "PK\x07\x08"...)
	}
	p.descriptor = le(p.descriptor, p.central.crc)
	if large {
		p.descriptor = le(p.descriptor, uint64(p.central.stored), uint64(p.central.len))
	} else {
		p.descriptor = le(p.descriptor, p.central.stored, p.central.len)
	}
	p.both(func(h *header) { h.flags |= 8 })
	p.local.crc, p.local.stored, p.local.len = 0, 0, 0
	return p
}

// le appends numbers, little end first.
func le(b []byte, numbers ...any) []byte {
	for _, n := range numbers {
		b, _ = binary.Append(b, binary.LittleEndian, n)
	}
	return b
}

// field returns one extra field.
func field(id uint16, data []byte) []byte { return append(le(nil, id, uint16(len(data))), data...) }

// unicodePath returns the extra field that gives another name.
func unicodePath(version byte, of, name string) []byte {
	return field(0x7075, append(le([]byte{version}, crc32.ChecksumIEEE([]byte(of))), name...))
}

// image is a ZIP that a test makes.
type image struct {
	pieces   []*piece
	prefix   []byte
	gap      []byte // between the last entry and the central directory
	tail     []byte // between the central directory and the end records
	zip64    bool
	extended []byte // in the ZIP64 end record
	comment  []byte
	suffix   []byte
	shift    int64 // added to every offset
	change   func(*end)
}

// end is what the end records say; large is the ZIP64 one.
type end struct {
	disk, start   uint16
	here, entries uint16
	size, offset  uint32
	comment       uint16
	large         struct {
		disk, start                 uint32
		here, entries, size, offset uint64
	}
	locator struct {
		disk   uint32
		offset uint64
		parts  uint32
	}
}

func (z image) bytes() []byte {
	b := bytes.Clone(z.prefix)
	for _, p := range z.pieces {
		b = append(b, p.before...)
		for _, h := range []*header{&p.local, &p.central} {
			if h.offset < 0 {
				h.offset = int64(len(b)) + z.shift
			}
		}
		h := p.local
		b = le(append(b, "PK\x03\x04"...), h.version, h.flags, h.method, uint16(0x6000), uint16(0x5a21), h.crc, h.stored, h.len, uint16(len(h.name)), uint16(len(h.extra)))
		b = append(append(append(append(b, h.name...), h.extra...), p.data...), p.descriptor...)
	}
	b = append(b, z.gap...)
	start := len(b)
	for _, p := range z.pieces {
		h := p.central
		b = le(append(b, "PK\x01\x02"...), h.madeBy, h.version, h.flags, h.method, uint16(0x6000), uint16(0x5a21), h.crc, h.stored, h.len,
			uint16(len(h.name)), uint16(len(h.extra)), uint16(len(h.comment)), h.disk, uint16(0), h.attributes, uint32(min(h.offset, 1<<32-1)))
		b = append(append(append(b, h.name...), h.extra...), h.comment...)
	}
	return z.finish(b, start)
}

func (z image) finish(b []byte, start int) []byte {
	n := len(z.pieces)
	e := end{here: uint16(n), entries: uint16(n), size: uint32(len(b) - start), offset: uint32(int64(start) + z.shift), comment: uint16(len(z.comment))}
	b = append(b, z.tail...)
	e.large.here, e.large.entries, e.large.size, e.large.offset = uint64(n), uint64(n), uint64(e.size), uint64(e.offset)
	e.locator.offset, e.locator.parts = uint64(int64(len(b))+z.shift), 1
	if z.zip64 {
		e.here, e.entries, e.size, e.offset = 1<<16-1, 1<<16-1, 1<<32-1, 1<<32-1
	}
	if z.change != nil {
		z.change(&e)
	}
	if z.zip64 {
		b = le(append(b, "PK\x06\x06"...), uint64(44+len(z.extended)), uint16(45), uint16(45), e.large.disk, e.large.start, e.large.here, e.large.entries, e.large.size, e.large.offset)
		b = append(b, z.extended...)
		b = le(append(b, "PK\x06\x07"...), e.locator.disk, e.locator.offset, e.locator.parts)
	}
	b = le(append(b, "PK\x05\x06"...), e.disk, e.start, e.here, e.entries, e.size, e.offset, e.comment)
	return append(append(b, z.comment...), z.suffix...)
}

// simple returns a ZIP of a few entries.
func simple(pieces ...*piece) image { return image{pieces: pieces} }
