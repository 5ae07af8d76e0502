package s3model

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"lifeboat/internal/zipfmt"
)

// mark is the distance of the known checksums of an extent, in bytes.
const mark = 1 << 20

// extent is a run of bytes that was written or derived once and never changes.
type extent struct {
	io.ReaderAt

	mutex sync.Mutex
	marks []uint32 // marks[i] is the CRC-32 of the first (i+1)·mark bytes; they grow as they are asked for
}

// prefix returns the CRC-32 of the first n bytes.
func (x *extent) prefix(n int64) (uint32, error) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	buffer := []byte(nil)
	read := func(crc uint32, from, length int64) (uint32, error) {
		if buffer == nil {
			buffer = make([]byte, mark)
		}
		_, err := io.ReadFull(io.NewSectionReader(x, from, length), buffer[:length])
		return crc32.Update(crc, crc32.IEEETable, buffer[:length]), err
	}
	last := func(i int64) uint32 {
		if i == 0 {
			return 0
		}
		return x.marks[i-1]
	}
	for i := int64(len(x.marks)); i < n/mark; i++ {
		crc, err := read(last(i), i*mark, mark)
		if err != nil {
			return 0, err
		}
		x.marks = append(x.marks, crc)
	}
	if n%mark == 0 {
		return last(n / mark), nil
	}
	return read(last(n/mark), n/mark*mark, n%mark)
}

// segment is a piece of an extent.
type segment struct {
	*extent
	from, length int64
}

// crc follows from two prefixes: those of A and of A and B give that of B.
func (g segment) crc() (uint32, error) {
	before, err := g.prefix(g.from)
	if err != nil {
		return 0, err
	}
	all, err := g.prefix(g.from + g.length)
	return all ^ zipfmt.CombineCRC(before, 0, g.length), err
}

// content is what an object or a part holds.
type content []segment

func (c content) size() int64 {
	total := int64(0)
	for _, g := range c {
		total += g.length
	}
	return total
}

func (c content) crc() (uint32, error) {
	sum := uint32(0)
	for _, g := range c {
		crc, err := g.crc()
		if err != nil {
			return 0, err
		}
		sum = zipfmt.CombineCRC(sum, crc, g.length)
	}
	return sum, nil
}

// slice returns the bytes [from, from+length) of c, which must have them.
func (c content) slice(from, length int64) content {
	var cut content
	for _, g := range c {
		skip := min(from, g.length)
		from -= skip
		if take := min(g.length-skip, length); take > 0 {
			cut = append(cut, segment{g.extent, g.from + skip, take})
			length -= take
		}
	}
	return cut
}

func (c content) reader() io.Reader {
	readers := make([]io.Reader, len(c))
	for i, g := range c {
		readers[i] = io.NewSectionReader(g, g.from, g.length)
	}
	return io.MultiReader(readers...)
}

// generated is the key stream of AES-128 in counter mode: unique, incompressible, and cheap at any offset.
type generated struct{ block cipher.Block }

func generate(seed uint64) (generated, error) {
	key := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("s3model"), seed))
	block, err := aes.NewCipher(key[:aes.BlockSize])
	return generated{block}, err
}

// ReadAt implements io.ReaderAt; the stream does not end.
func (g generated) ReadAt(p []byte, offset int64) (int, error) {
	counter := binary.BigEndian.AppendUint64(make([]byte, 8, aes.BlockSize), uint64(offset)/aes.BlockSize)
	stream := cipher.NewCTR(g.block, counter)
	var skipped [aes.BlockSize]byte
	stream.XORKeyStream(skipped[:offset%aes.BlockSize], skipped[:offset%aes.BlockSize])
	clear(p)
	stream.XORKeyStream(p, p)
	return len(p), nil
}
