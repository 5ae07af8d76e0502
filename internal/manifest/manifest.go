// Package manifest is the canonical list of all entries of one backup: what the archive holds, in the archive's
// order, with sizes and digests, and where each entry's bytes lie in the pool.
//
// A manifest is JSON Lines in UTF-8, each line ended by "\n":
//
//	line 1      a Header
//	then        one {"pack":{…}} per pack that the entries name
//	then        one Entry per entry of the archive but lifeboat/*, in the order of their bytes
//
// It lies gzip-compressed in the vault (snapshots/<source>/<backup>/manifest.jsonl.gz) and, the very same deflate
// stream, in the archive as lifeboat/manifest.jsonl. The SHA-256 of the uncompressed lines is what is signed
// (seal.go). Places name packs by id: a pack that was merged into another is found through that other's index, so
// that a manifest, once written, stays true for ever.
package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/zipfmt"
)

// Format is the version of manifests that this program writes; it refuses to read a later one.
const Format = 1

// Header is the first line.
type Header struct {
	Format      int           `json:"lifeboat_manifest"`
	Backup      backup.ID     `json:"backup"`
	Source      backup.Source `json:"source"`
	Kind        string        `json:"kind"`
	Name        string        `json:"name,omitempty"`
	Description string        `json:"description,omitempty"`
	Scope       backup.Scope  `json:"scope"`
	Started     time.Time     `json:"started"`
	Facts       app.Facts     `json:"facts"`
	Secrets     bool          `json:"secrets"`
	Readme      string        `json:"readme"`          // text of lifeboat/README.txt
	Volume      *Volume       `json:"volume,omitzero"` // of the manifest of one volume of a split archive
}

// Volume says which part of a split archive a manifest lists.
type Volume struct {
	Number int          `json:"number"` // from 1
	All    []VolumeFile `json:"all"`
}

// VolumeFile is one file of a split archive.
type VolumeFile struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"`
	Data    int64  `json:"data"` // bytes before lifeboat's own entries
}

// Pack is a piece of a ZIP in the pool.
type Pack struct {
	ID    string `json:"id"`
	Bytes int64  `json:"bytes"`
	CRC32 CRC    `json:"crc32"`
}

// Place is where bytes lie in the pool.
type Place struct {
	Pack   string `json:"pack"`
	Offset int64  `json:"offset"`
}

// Entry is one document or object of the archive.
type Entry struct {
	Path      string    `json:"path"`
	Document  bool      `json:"document,omitzero"`
	Secret    bool      `json:"secret,omitzero"`
	Type      string    `json:"type,omitempty"`
	Size      int64     `json:"size"`              // bytes of the content
	CRC32     CRC       `json:"crc32"`             // of the content
	SHA256    string    `json:"sha256,omitempty"`  // of the content, hex; empty where only the store has seen the bytes
	Modified  time.Time `json:"modified"`          // the item's own time
	Mode      uint32    `json:"mode,omitzero"`     // Unix permission bits, where the application has them
	Deflated  *Deflated `json:"deflated,omitzero"` // nil: stored as it is
	Origin    *Origin   `json:"origin,omitzero"`   // of an object
	Header    Place     `json:"header"`            // the local header
	BodyPlace *Place    `json:"body,omitzero"`     // nil: directly behind the header
}

// Deflated describes the bytes of a compressed entry as they lie in the archive.
type Deflated struct {
	Size  int64 `json:"size"`
	CRC32 CRC   `json:"crc32"`
}

// Origin is what an object was read from. An object with an equal key and identity is not read again.
type Origin struct {
	Key      string `json:"key"`
	Identity string `json:"identity,omitempty"` // empty: not to be trusted, always read again
	Settled  bool   `json:"settled,omitzero"`
	// Media is what the store kept beside the bytes; nil where it is no store, or kept nothing.
	Media *app.Media `json:"media,omitempty"`
}

// CRC is a CRC-32; in JSON it is 8 hex digits.
type CRC uint32

// String returns 8 hex digits.
func (c CRC) String() string { return fmt.Sprintf("%08x", uint32(c)) }

// MarshalText implements encoding.TextMarshaler.
func (c CRC) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *CRC) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil || len(text) != 8 {
		return fmt.Errorf("%q is no CRC-32 of 8 hex digits", text)
	}
	*c = CRC(v)
	return nil
}

// Dir reports whether the entry is an empty directory.
func (e Entry) Dir() bool { return strings.HasSuffix(e.Path, "/") }

// Zip returns the entry as the archive's headers have it.
func (e Entry) Zip() zipfmt.Entry {
	z := zipfmt.Entry{Name: e.Path, CRC32: uint32(e.CRC32), Size: uint64(e.Size), Stored: uint64(e.Size), Modified: e.Modified}
	if e.Deflated != nil {
		z.Method, z.Stored = zipfmt.Deflate, uint64(e.Deflated.Size)
	}
	return z
}

// Body returns where the entry's bytes lie.
func (e Entry) Body() Place {
	if e.BodyPlace != nil {
		return *e.BodyPlace
	}
	return Place{e.Header.Pack, e.Header.Offset + e.Zip().LocalSize()}
}

// StoredSize returns how many bytes the body has in the archive.
func (e Entry) StoredSize() int64 { return int64(e.Zip().Stored) }

// StoredCRC returns the CRC-32 of the body as it lies in the archive.
func (e Entry) StoredCRC() uint32 {
	if e.Deflated != nil {
		return uint32(e.Deflated.CRC32)
	}
	return uint32(e.CRC32)
}
