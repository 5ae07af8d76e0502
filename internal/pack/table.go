package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// digest identifies an object: 96 bits of a SHA-256. Among ten million objects two are taken for each other with a
// probability of 10⁻¹⁵.
type digest struct {
	high uint64
	low  uint32
}

func sum(kind, path, key, identity string, size int64, date, clock uint16) digest {
	line := make([]byte, 0, 512)
	for _, field := range []string{kind, path, key, identity} {
		line = binary.AppendUvarint(line, uint64(len(field)))
		line = append(line, field...)
	}
	line = binary.AppendVarint(line, size)
	line = binary.BigEndian.AppendUint16(line, date)
	line = binary.BigEndian.AppendUint16(line, clock)
	hash := sha256.Sum256(line)
	return digest{binary.BigEndian.Uint64(hash[:]), binary.BigEndian.Uint32(hash[8:])}
}

// table holds the digests of all objects of a snapshot, with what an entry takes over from its object: 14 bytes a
// place, of which a seventh stays free. It never grows.
type table struct {
	high []uint64
	low  []uint32
	note []uint16 // 0: the place is free
}

const (
	inUse    uint16 = 1 << 15
	isTaken  uint16 = 1 << 14
	isStable uint16 = 1 << 13
	modeBits uint16 = 1<<12 - 1 // Unix permissions with the set-id and sticky bits
)

func newTable(objects int) table {
	places := objects + objects/6 + 8
	return table{make([]uint64, places), make([]uint32, places), make([]uint16, places)}
}

// find returns the place of a digest, or the free one where it belongs.
func (t *table) find(d digest) int {
	at, _ := bits.Mul64(d.high, uint64(len(t.note)))
	for i := int(at); ; i++ {
		if i == len(t.note) {
			i = 0
		}
		if t.note[i] == 0 || t.high[i] == d.high && t.low[i] == d.low {
			return i
		}
	}
}

func (t *table) add(d digest, settled bool, mode uint32) {
	i := t.find(d)
	t.high[i], t.low[i], t.note[i] = d.high, d.low, inUse|uint16(mode)&modeBits
	if settled {
		t.note[i] |= isStable
	}
}

// claim takes an object for an earlier entry, once.
func (t *table) claim(d digest) (settled bool, mode uint32, ok bool) {
	i := t.find(d)
	note := t.note[i]
	if note == 0 || note&isTaken != 0 {
		return false, 0, false
	}
	t.note[i] |= isTaken
	return note&isStable != 0, uint32(note & modeBits), true
}

func (t *table) claimed(d digest) bool { return t.note[t.find(d)]&isTaken != 0 }
