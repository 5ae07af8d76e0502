package linkding

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"
)

// digest returns the SHA-256 of everything that the tables hold: per table, in the order of names, its columns, and
// its rows in the order of the primary key, each value with its type. Pages, free space, indexes and the order of
// insertion don't count, so that a VACUUM or a checkpoint changes nothing. Reading all rows costs about as much as
// integrity_check does.
func (r *reader) digest(tables map[string]table) (string, error) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		t := tables[name]
		put(h, 'T', []byte(name))
		for _, column := range t.columns {
			put(h, 'C', []byte(column))
		}
		if err := r.digestRows(h, name, t); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (r *reader) digestRows(h hash.Hash, name string, t table) error {
	order := t.key
	if len(order) == 0 {
		order = t.columns
	}
	var values []string // as bytes: the driver would make times and booleans of some
	for _, column := range t.columns {
		values = append(values, "typeof("+quote(column)+")", "CAST("+quote(column)+" AS BLOB)")
	}
	keys := make([]string, len(order))
	for i, column := range order {
		keys[i] = quote(column)
	}
	question := "SELECT " + strings.Join(values, ", ") + " FROM " + quote(name) + " ORDER BY " + strings.Join(keys, ", ")
	types, bytes, into := make([]string, len(t.columns)), make([][]byte, len(t.columns)), make([]any, 0, 2*len(t.columns))
	for i := range t.columns {
		into = append(into, &types[i], &bytes[i])
	}
	return r.rows(question, nil, func(scan func(...any) error) error {
		if err := scan(into...); err != nil {
			return err
		}
		put(h, 'R', nil)
		for i := range types {
			put(h, types[i][0], bytes[i]) // integer, real, text, blob, null: all begin differently
		}
		return nil
	})
}

// put adds one item, so that no two lists of items give the same bytes.
func put(h hash.Hash, kind byte, value []byte) {
	var head [9]byte
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], uint64(len(value)))
	h.Write(head[:])
	h.Write(value)
}
