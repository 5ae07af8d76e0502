package zipline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// digest is the canonical digest of an export's data: equal for equal rows, whatever the order in which Zipline
// wrote them. It takes constant memory: each row's SHA-256 is added, as a 256-bit integer, to its array's sum,
// and the digest is the SHA-256 of all names, counts and sums. The sum makes it a means to notice changes, not
// a proof against a forger; the proof is the SHA-256 of the document, which the manifest has.
type digest struct {
	arrays map[string]*sum
}

type sum struct {
	rows  int64
	total [4]uint64 // big endian, modulo 2^256
}

// add adds one row to an array; a value that is no array is an array of one. It sorts the row's id lists.
func (d *digest) add(name string, row any) error {
	if object, ok := row.(map[string]any); ok && (name == "userTags" || name == "folders") {
		sortIDs(object["files"])
	}
	canonical, err := json.Marshal(row) // sorts the keys of maps
	if err != nil {
		return fmt.Errorf("encode a row of %s: %w", name, err)
	}
	s := d.array(name)
	s.rows++
	var carry uint64
	hash := sha256.Sum256(canonical)
	for i := 3; i >= 0; i-- {
		s.total[i], carry = bits.Add64(s.total[i], binary.BigEndian.Uint64(hash[8*i:]), carry)
	}
	return nil
}

// array returns the sum of an array, empty where it was not there: an empty array counts as well.
func (d *digest) array(name string) *sum {
	if d.arrays == nil {
		d.arrays = map[string]*sum{}
	}
	if d.arrays[name] == nil {
		d.arrays[name] = &sum{}
	}
	return d.arrays[name]
}

// hex returns the digest of everything added so far.
func (d *digest) hex() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(d.arrays)) {
		s := d.arrays[name]
		fmt.Fprintf(h, "%q %d %016x\n", name, s.rows, s.total)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sortIDs sorts a list of ids in place; a list that holds anything else stays as it is.
func sortIDs(list any) {
	ids, ok := list.([]any)
	if !ok {
		return
	}
	for _, id := range ids {
		if _, ok := id.(string); !ok {
			return
		}
	}
	slices.SortFunc(ids, func(a, b any) int {
		x, y := a.(string), b.(string)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}
