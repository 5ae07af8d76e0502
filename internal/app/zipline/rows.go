package zipline

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

// rowIndex finds the rows of an export by the name of their object. A row costs 24 bytes plus its name, and
// while the index grows up to twice that: a million files with names of 20 bytes are about 45 MB.
type rowIndex struct {
	names []byte // all names, one after the other
	rows  []row
}

// row is one row of data.files or data.thumbnails.
type row struct {
	offset    int64  // of the name, in names
	size      int64  // bytes; -1: the export doesn't say
	length    uint32 // of the name
	thumbnail bool
	seen      bool // the datasource has, or can't read, an object of this name
}

func (x *rowIndex) add(name string, size int64, thumbnail bool) {
	x.rows = append(x.rows, row{
		offset: int64(len(x.names)), length: uint32(len(name)), size: size, thumbnail: thumbnail,
	})
	x.names = append(x.names, name...)
}

// sort makes the index ready for find.
func (x *rowIndex) sort() {
	slices.SortFunc(x.rows, func(a, b row) int {
		return cmp.Or(bytes.Compare(x.bytes(a), x.bytes(b)), cmp.Compare(a.size, b.size))
	})
}

func (x *rowIndex) bytes(r row) []byte { return x.names[r.offset : r.offset+int64(r.length)] }

// name returns the name of a row's object.
func (x *rowIndex) name(r row) string { return string(x.bytes(r)) }

// find returns the rows of a name, which may be several; they may be changed.
func (x *rowIndex) find(name string) []row {
	start := sort.Search(len(x.rows), func(i int) bool { return string(x.bytes(x.rows[i])) >= name })
	end := start
	for end < len(x.rows) && string(x.bytes(x.rows[end])) == name {
		end++
	}
	return x.rows[start:end]
}
