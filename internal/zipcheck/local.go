package zipcheck

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// localHeaders walks the file from its first entry to the central directory: every byte belongs to one entry, and
// every local header says what the central directory says.
func (c *checker) localHeaders() (bool, error) {
	if c.astray {
		return false, nil
	}
	entries := c.report.Entries
	c.report.order = make([]int, len(entries))
	for i := range entries {
		c.report.order[i] = i
	}
	slices.SortFunc(c.report.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(entries[a].Header, entries[b].Header), cmp.Compare(a, b))
	})
	var expected int64 // where the next local header has to begin
	for k, i := range c.report.order {
		if k%1000 == 0 && c.ctx.Err() != nil {
			return false, c.ctx.Err()
		}
		header := entries[i].Header
		var err error
		switch {
		case header+localLength > c.start:
			c.report.reject(BadLocal, i, "its local header would lie at %d, where no entries are", header)
			continue
		case k == 0 && header > 0:
			err = c.prefix(header)
		case header < expected:
			c.report.reject(Overlap, i, "its local header lies inside of another entry, at %d", header)
			if c.report.Counts[Overlap] > maxReasons {
				continue // many entries may share one header, and it may be long
			}
		case header > expected:
			err = c.gap(expected, header)
		}
		if err != nil {
			return false, err
		}
		next := c.start
		if k+1 < len(entries) {
			next = min(next, entries[c.report.order[k+1]].Header)
		}
		end, err := c.localHeader(i, next)
		if err != nil {
			return false, err
		}
		expected = max(expected, end)
	}
	if len(entries) > 0 && expected < c.start {
		return true, c.gap(expected, c.start)
	}
	return true, nil
}

// prefix judges the bytes before the first entry.
func (c *checker) prefix(length int64) error {
	if length > c.limits.Prefix {
		c.report.reject(Structure, -1, "%d bytes lie before the first entry", length)
		return nil
	}
	c.report.Prefix = length
	var hidden bool
	for at := int64(0); at < length; at += readAhead - 3 { // a signature may lie across
		b, err := c.window.bytes(at, int(min(readAhead, length-at)))
		if err != nil {
			return err
		}
		if _, found := record(b, directorySignatures); found {
			c.report.reject(Structure, -1, "data before the first entry holds records of a ZIP: programs read different archives in it")
			return nil
		}
		_, found := record(b, entrySignatures)
		hidden = hidden || found
	}
	if hidden {
		c.report.reject(Mismatch, -1, "an entry before the first one is not in the central directory")
		return nil
	}
	c.report.add(Sanitize, Prefix, -1, "%d bytes lie before the first entry; they are left out", length)
	return nil
}

// gap reports bytes that no entry accounts for.
func (c *checker) gap(from, to int64) error {
	b, err := c.window.bytes(from, len(localSignature))
	if err != nil {
		return err
	}
	if bytes.Equal(b, localSignature) {
		c.report.reject(Mismatch, -1, "an entry at %d is not in the central directory", from)
	} else {
		c.report.reject(Structure, -1, "%d bytes at %d belong to no entry", to-from, from)
	}
	return nil
}

// localHeader holds a local header against the central directory and returns where its entry ends, descriptor
// included. next is where the next record begins.
func (c *checker) localHeader(i int, next int64) (int64, error) {
	e := &c.report.Entries[i]
	h, err := c.window.bytes(e.Header, localLength)
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(h, localSignature) {
		c.report.reject(BadLocal, i, "there is no local header at %d", e.Header)
		return e.Header, nil
	}
	name, extra := int(binary.LittleEndian.Uint16(h[26:])), int(binary.LittleEndian.Uint16(h[28:]))
	length := localLength + name + extra
	e.Data = e.Header + int64(length)
	if e.Data > c.start {
		c.report.reject(BadLocal, i, "its local header reaches into the central directory")
		return c.start, nil
	}
	if h, err = c.window.bytes(e.Header, length); err != nil {
		return 0, err
	}
	raw := e.Name
	if e.Raw != "" {
		raw = e.Raw
	}
	if string(h[localLength:localLength+name]) != raw {
		c.report.reject(Mismatch, i, "its local header has another name")
	}
	x := c.extras(i, h[localLength+name:])
	if x.hasPath {
		c.unicodeName(i, raw, x)
	}
	if x.kind != unknownType && x.kind != regularType && e.hidden == unknownType {
		e.hidden = x.kind
	}
	c.localFields(i, h, x)
	end := e.Data + e.Stored
	if end > c.start {
		c.report.reject(Overlap, i, "its data reach into the central directory")
		return c.start, nil
	}
	if e.flags&flagDescriptor == 0 {
		return end, nil
	}
	return c.descriptor(i, end, next, x.hasZIP64)
}

// localFields compares the numbers of a local header with those of the central directory.
func (c *checker) localFields(i int, h []byte, x extras) {
	e := &c.report.Entries[i]
	flags := binary.LittleEndian.Uint16(h[6:])
	if flags != e.flags {
		c.report.reject(Mismatch, i, "its local header has the flags %#x, the central directory %#x", flags, e.flags)
		c.flags(i, flags&^e.flags, extras{})
	}
	if x.encrypted && e.flags&flagEncrypted == 0 {
		c.report.reject(Encrypted, i, "it is encrypted")
	}
	c.version(i, h[4])
	if m := binary.LittleEndian.Uint16(h[8:]); m != e.Method {
		c.report.reject(Mismatch, i, "its local header has compression method %d, the central directory %d", m, e.Method)
	}
	values := []uint64{uint64(binary.LittleEndian.Uint32(h[22:])), uint64(binary.LittleEndian.Uint32(h[18:]))}
	if !x.large(values, nil) {
		c.report.reject(Structure, i, "the ZIP64 extra field of its local header does not hold what the header leaves to it")
	}
	later := e.flags&flagDescriptor != 0 // then the local header may leave the values to the descriptor
	for _, v := range []struct {
		what          string
		local, listed uint64
	}{
		{"CRC-32", uint64(binary.LittleEndian.Uint32(h[14:])), uint64(e.CRC32)},
		{"size", values[0], uint64(e.Size)},
		{"number of stored bytes", values[1], uint64(e.Stored)},
	} {
		if v.local != v.listed && (!later || v.local != 0) {
			c.report.reject(Mismatch, i, "its local header has the %s %d, the central directory %d", v.what, v.local, v.listed)
		}
	}
}

// descriptor finds the data descriptor at an offset, in the form that just fills the place up to next, and returns
// its end. Sizes have 64 bits where the local header has a ZIP64 extra field, or where 32 are too few.
func (c *checker) descriptor(i int, at, next int64, large bool) (int64, error) {
	e := &c.report.Entries[i]
	b, err := c.window.bytes(at, 24)
	if err != nil {
		return 0, err
	}
	b = b[:max(0, min(int64(len(b)), next-at))]
	short := binary.LittleEndian.AppendUint32(nil, e.CRC32)
	if large || e.Size >= max32 || e.Stored >= max32 {
		short = binary.LittleEndian.AppendUint64(short, uint64(e.Stored))
		short = binary.LittleEndian.AppendUint64(short, uint64(e.Size))
	} else {
		short = binary.LittleEndian.AppendUint32(short, uint32(e.Stored))
		short = binary.LittleEndian.AppendUint32(short, uint32(e.Size))
	}
	signed := append(slices.Clone(descriptorSignature), short...)
	switch {
	case bytes.HasPrefix(b, signed):
		return at + int64(len(signed)), nil
	case bytes.HasPrefix(b, short):
		return at + int64(len(short)), nil
	}
	c.report.reject(Mismatch, i, "the data descriptor behind it is missing, or differs from the central directory")
	return next, nil
}
