package zipfmt

import "hash/crc32"

// CombineCRC returns the CRC-32 (IEEE) of A followed by B from those of A and of B and B's length in bytes. It takes
// time proportional to the logarithm of the length: appending n zero bytes multiplies the CRC, as a polynomial over
// GF(2) modulo the generator, by x^(8n) (Mark Adler's method in zlib's crc32_combine).
func CombineCRC(a, b uint32, lengthB int64) uint32 {
	return multiply(zeros(uint64(lengthB)), a) ^ b
}

// powers[k] is x^(2^k) modulo the generator.
var powers = func() (table [32]uint32) {
	table[0] = 1 << 30 // x^1 in reflected order: bit 31 is x^0
	for k := 1; k < len(table); k++ {
		table[k] = multiply(table[k-1], table[k-1])
	}
	return table
}()

// zeros returns x^(8n) modulo the generator. x^(2^32-1) is 1, hence the powers repeat.
func zeros(n uint64) uint32 {
	product := uint32(1 << 31) // x^0
	for k := 3; n != 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			product = multiply(powers[k%32], product)
		}
	}
	return product
}

// multiply returns a·b modulo the generator, both in reflected bit order.
func multiply(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(1 << 31); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return product
}
