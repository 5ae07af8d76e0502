package zipcheck_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"lifeboat/internal/zipcheck"
)

// construction is a ZIP and what is to be said of it.
type construction struct {
	name string
	zip  image
	want string
}

// raw is a ZIP of given bytes, with nothing around them.
func raw(b []byte) image { return image{suffix: b} }

// TestAmbiguous holds the verdict on what two programs read differently: the 14 types of ZipDiff (USENIX Security
// 2025), a1 to c5, each with its variants.
func TestAmbiguous(t *testing.T) {
	var all []construction
	for _, list := range [][]construction{metadata(), sizes(), unicode(), types(), paths(), streams(), ends(), zip64Ends()} {
		all = append(all, list...)
	}
	seen := map[string]bool{}
	for _, c := range all {
		seen[c.name[:2]] = true
		t.Run(c.name, func(t *testing.T) {
			if r := whole(t, c.zip.bytes(), zipcheck.Strict); r.String() != c.want {
				t.Errorf("%s, want %s\n%s", r, c.want, sentences(r))
			}
		})
	}
	if len(seen) != 14 {
		t.Errorf("%d of 14 types", len(seen))
	}
}

const mismatch = "reject:local-central-mismatch"

func metadata() []construction {
	list := []construction{
		{"a1 stored in the local header", simple(local(file("a", "test", 8), func(h *header) { h.method, h.stored = 0, 4 })), mismatch},
		{"a1 stored in the directory", simple(central(file("a", "test", 8), func(h *header) { h.method, h.stored = 0, 4 })), mismatch + "+structure"},
		{"a3 names", simple(local(file("a", "x", 0), func(h *header) { h.name = "b" })), mismatch},
		{"a5 encrypted in the local header", simple(local(file("a", "x", 0), func(h *header) { h.flags = 1 })), "reject:encrypted+local-central-mismatch"},
		{"a5 encrypted in the directory", simple(central(file("a", "x", 0), func(h *header) { h.flags = 1 })), "reject:encrypted+local-central-mismatch"},
		{"a5 first encrypted", simple(file("a", "x", 0).both(func(h *header) { h.flags = 1 }), file("b", "y", 0)), "reject:encrypted"},
		{"a5 masked headers", simple(file("a", "x", 0).both(func(h *header) { h.flags = 1 << 13 })), "reject:encrypted"},
		{"a5 AES", simple(file("a", "x", 0).both(func(h *header) { h.extra = field(0x9901, make([]byte, 7)) })), "reject:encrypted"},
		{"a5 patched", simple(file("a", "x", 0).both(func(h *header) { h.flags = 1 << 5 })), "reject:structure"},
	}
	for _, m := range []uint16{1, 6, 9, 12, 14, 93, 95, 98, 99} {
		list = append(list, construction{fmt.Sprintf("a1 method %d", m), simple(file("a", "x", 0).both(func(h *header) { h.method = m })), fmt.Sprintf("reject:method-%d", m)})
	}
	return list
}

func local(p *piece, change func(*header)) *piece {
	change(&p.local)
	return p
}

func central(p *piece, change func(*header)) *piece {
	change(&p.central)
	return p
}

// large moves the sizes into a ZIP64 extra field.
func large(h *header) {
	h.extra = field(1, le(nil, uint64(h.len), uint64(h.stored)))
	h.stored, h.len = 1<<32-1, 1<<32-1
}

func sizes() []construction {
	extra := func(numbers ...any) func(*header) {
		return func(h *header) { h.extra = field(1, le(nil, numbers...)) }
	}
	list := []construction{
		{"a2 ZIP64", simple(file("a", "test", 0).both(large)), "accept"},
		{"a2 ZIP64 in the directory only", simple(central(file("a", "test", 0), large)), "accept"},
		{"a2 ZIP64 with what the header has", simple(file("a", "test", 0).both(extra(uint64(4), uint64(4)))), "accept"},
		{"a2 ZIP64 that nobody needs, and differs", simple(file("a", "test", 0).both(extra(uint64(5), uint64(4)))), "reject:structure"},
		{"a2 ZIP64 in the other order", simple(file("a", "test", 8).both(func(h *header) {
			h.extra, h.len = field(1, le(nil, uint64(h.stored), uint64(h.len))), 1<<32-1
		})), "reject:structure"},
		{"a2 ZIP64 too short", simple(file("a", "test", 0).both(func(h *header) { h.extra, h.len, h.stored = field(1, le(nil, uint64(4))), 1<<32-1, 1<<32-1 })), "reject:overlap+structure"},
		{"a2 ZIP64 missing", simple(file("a", "test", 0).both(func(h *header) { h.len = 1<<32 - 1 })), "reject:size-limit+structure"},
		{"a2 ZIP64 twice", simple(file("a", "test", 0).both(func(h *header) { large(h); h.extra = append(h.extra, h.extra...) })), "reject:structure"},
		{"a2 negative size", simple(file("a", "test", 0).both(func(h *header) { large(h); h.extra = field(1, le(nil, int64(-4), int64(-4))) })), "reject:local-central-mismatch+overlap+size-limit+structure"},
		{"a2 size", simple(central(file("a", "test", 8), func(h *header) { h.len = 5 })), mismatch},
		{"a2 CRC-32", simple(central(file("a", "test", 8), func(h *header) { h.crc ^= 1 })), mismatch},
		{"a2 longer than it says", simple(file("a", "test", 8).both(func(h *header) { h.len = 3 })), "reject:read-error"},
		{"a2 shorter than it says", simple(file("a", "test", 8).both(func(h *header) { h.len = 5 })), "reject:read-error"},
		{"a2 CRC-32 of 0", simple(file("a", "test", 8).both(func(h *header) { h.crc = 0 })), "reject:crc-zero"},
		{"a2 wrong CRC-32", simple(file("a", "test", 8).both(func(h *header) { h.crc ^= 1 })), "reject:read-error"},
		{"a2 bytes behind the compressed ones", simple(padded()), "reject:read-error"},
		{"a2 impossible ratio", simple(file("a", "test", 8).both(func(h *header) { h.len = 1 << 20 })), "reject:ratio>1032"},
		{"a2 cut extra field", simple(file("a", "test", 0).both(func(h *header) { h.extra = []byte("abc") })), "reject:structure"},
		{"a2 descriptor for itself", simple(file("a", string(le([]byte("xPK\x07\x08"), uint32(0x8cdc1683), uint32(1), uint32(1)))+"rest", 0).streamed(true, false)), "reject:structure"},
		{"a2 descriptor that differs", simple(descriptorOf(file("a", "test", 8).streamed(true, false))), mismatch},
		{"a2 descriptor missing", simple(noDescriptor(file("a", "test", 8).streamed(true, false)), file("b", "test", 8)), mismatch},
		{"a2 descriptor and a wrong local size", simple(local(file("a", "test", 8).streamed(true, false), func(h *header) { h.len = 3 })), mismatch},
		{"a2 descriptor of 64 bits without ZIP64", simple(file("a", "test", 8).streamed(true, true)), mismatch},
		{"a2 descriptor of 32 bits with ZIP64", simple(local(file("a", "test", 8).streamed(true, false), func(h *header) { h.extra = field(1, make([]byte, 16)) })), mismatch},
		{"a2 descriptor of 64 bits with ZIP64", simple(local(file("a", "test", 8).streamed(true, true), func(h *header) { h.extra = field(1, make([]byte, 16)) })), "accept"},
	}
	for _, method := range []uint16{0, 8} {
		for _, signed := range []bool{true, false} {
			list = append(list, construction{fmt.Sprintf("a2 descriptor, method %d, signed %v", method, signed), simple(file("a", "test", method).streamed(signed, false), file("b", "test", 0)), "accept"})
		}
	}
	return list
}

func padded() *piece {
	p := file("a", "test", 8)
	p.data = append(p.data, "more"...)
	return p.both(func(h *header) { h.stored += 4 })
}

func descriptorOf(p *piece) *piece {
	p.descriptor[8]++
	return p
}

func noDescriptor(p *piece) *piece {
	p.descriptor = nil
	return p
}

func unicode() []construction {
	path := func(name string, fields ...[]byte) *piece {
		return file(name, "x", 0).both(func(h *header) { h.extra = bytes.Join(fields, nil) })
	}
	const differs = "reject:0x7075 name differs"
	return []construction{
		{"a3 Unicode path", simple(path("a", unicodePath(1, "a", "b"))), differs},
		{"a3 Unicode path in the local header only", simple(local(file("a", "x", 0), func(h *header) { h.extra = unicodePath(1, "a", "b") })), differs},
		{"a3 Unicode path of version 2", simple(path("a", unicodePath(2, "a", "b"))), differs},
		{"a3 Unicode path of other bytes", simple(path("a", unicodePath(1, "other", "b"))), differs},
		{"a3 two Unicode paths", simple(path("a", unicodePath(1, "a", "a"), unicodePath(1, "a", "a"))), "reject:structure"},
		{"a3 the same Unicode path", simple(path("a", unicodePath(1, "a", "a"))), "accept"},
		{"a3 Unicode path of an old name", simple(path("\xa7A\xa6n.txt", unicodePath(1, "\xa7A\xa6n.txt", "你好.txt"))), "sanitize:non-utf8"},
		{"a3 Unicode path of another kind", simple(path("\xa7A\xa6n.txt", unicodePath(1, "\xa7A\xa6n.txt", "你好.exe"))), "reject:0x7075 name differs"},
		{"a3 Unicode path that leads out", simple(path("\xa7/\xa6", unicodePath(1, "\xa7/\xa6", "../é"))), "reject:0x7075 name differs"},
		{"a3 code page 437", simple(file("caf\x82", "x", 0)), "sanitize:non-utf8"},
	}
}

func types() []construction {
	mode := func(name string, madeBy uint16, attributes uint32) *piece {
		return central(file(name, "test", 0), func(h *header) { h.madeBy, h.attributes = madeBy<<8|20, attributes })
	}
	list := []construction{
		{"a4 data in a folder", simple(file("a/", "test", 0)), "reject:dir-with-data"},
		{"a4 folder", simple(file("a/", "", 0)), "accept"},
		{"a4 folder with an empty compressed stream", simple(file("a/", "", 8)), "accept"},
		{"a4 backslash", simple(file(`a\`, "test", 0)), "reject:backslash"},
		{"a4 set-id", simple(mode("a", 3, 0o104755<<16)), "sanitize:setid"},
		{"a4 link's target in an extra field", simple(file("a", "test", 0).both(func(h *header) { h.extra = field(0x000d, make([]byte, 20)) })), "reject:symlink"},
		{"a4 link in an extra field", simple(file("a", "test", 0).both(func(h *header) {
			h.extra = field(0x756e, append(le(nil, uint32(0), uint16(0o120777), uint32(4), uint16(0), uint16(0)), "evil"...))
		})), "reject:symlink"},
		{"a4 reparse point", simple(mode("a", 10, 0x400)), "reject:symlink"},
	}
	for madeBy := range uint16(21) {
		list = append(
			list,
			construction{fmt.Sprintf("a4 folder by attributes, system %d", madeBy), simple(mode("a", madeBy, 0o40755<<16)), "reject:file-dir-conflict"},
			construction{fmt.Sprintf("a4 link, system %d", madeBy), simple(mode("a", madeBy, 0o120777<<16)), "reject:symlink"},
			construction{fmt.Sprintf("a4 pipe, system %d", madeBy), simple(mode("a", madeBy, 0o10644<<16)), "reject:special-file"},
		)
	}
	return append(list, construction{"a4 folder of DOS", simple(mode("a", 0, 0x10)), "reject:file-dir-conflict"})
}

func paths() []construction {
	two := func(a, b string) image { return simple(file(a, "x", 0), file(b, "y", 0)) }
	list := []construction{
		{"b1 duplicate", two("a", "a"), "reject:dup-name"},
		{"b1 duplicate folder", simple(file("a/", "", 0), file("a/", "", 0)), "reject:dup-name"},
		{"b1 file and folder", simple(file("a", "x", 0), file("a/", "", 0)), "reject:file-dir-conflict"},
		{"b1 file below a file", two("a", "a/b"), "reject:file-dir-conflict"},
		{"b1 file above a file", two("a/b", "a"), "reject:file-dir-conflict"},
		{"b3 /", two("a/b", "/a/b"), "reject:dot-segment+nonlocal"},
		{"b3 //", two("a/b", "a//b"), "reject:dot-segment"},
		{"b3 backslash", two("a/b", `a\b`), "reject:backslash"},
		{"b3 ./", two("a/b", "./a/b"), "reject:dot-segment"},
		{"b3 /./", two("a/b", "a/./b"), "reject:dot-segment"},
		{"b3 /.", two("a/b", "a/b/."), "reject:dot-segment+file-dir-conflict"},
		{"b3 ../", two("a/b", "../a/b"), "reject:nonlocal"},
		{"b3 .../", two("a/b", ".../a/b"), "reject:dot-segment"},
		{"b3 /.../", two("a/b", "a/.../b"), "reject:dot-segment"},
		{"b3 c/../", two("a/b", "c/../a/b"), "reject:dot-segment"},
		{"b3 .. with a space", two("a/b", ".. /x"), "reject:dot-segment"},
		{"b3 empty", two("a/b", ""), "reject:dot-segment+empty-name"},
		{"b3 drive", two("a/b", "C:x"), "reject:drive"},
		{"b3 UNC", two("a/b", `\\?\C:\x`), "reject:backslash+drive"},
		{"b4 case", two("test.txt", "test.TXT"), "reject:fold-collision"},
		{"b4 case of a folder", two("a/x", "A/y"), "reject:fold-collision"},
		{"b4 NFC and NFD", two("\u00e9", "e\u0301"), "reject:fold-collision"},
		{"b4 NFKC", two("\ufb01", "fi"), "reject:fold-collision"},
		{"b4 sharp s", two("stra\u00dfe", "STRASSE"), "reject:fold-collision"},
		{"b4 bidi", two("a\u202ecod.exe", "b\u2066"), "accept"},
	}
	for b := range 256 {
		want := "accept"
		switch {
		case b == 0:
			want = "reject:nul"
		case b < 0x20 || b == 0x7f:
			want = "reject:control"
		case b == '\\':
			want = "reject:backslash"
		case b == ':':
			want = "reject:drive"
		case b >= 0x80:
			want = "sanitize:non-utf8"
		}
		list = append(list, construction{fmt.Sprintf("b2 byte %#02x", b), simple(file("a"+string([]byte{byte(b)})+"b", "", 0)), want})
	}
	for name, want := range map[string]string{
		"a\u0085b": "reject:control", "ab:c": "sanitize:colon", "a.": "sanitize:trail-dot-space", "a /b": "sanitize:trail-dot-space",
		"x/COM¹.txt": "sanitize:win-reserved", "nul .x": "sanitize:win-reserved", "conin$": "sanitize:win-reserved", "com10": "accept", "console": "accept",
		strings.Repeat("a", 256): "reject:long-component", strings.Repeat("a/", 501) + "b": "reject:depth",
		strings.Repeat(strings.Repeat("a", 200)+"/", 21) + "b": "reject:long-component", "__proto__": "accept", "<b>&=1|": "accept",
	} {
		list = append(list, construction{"b2 " + name[:min(len(name), 10)], simple(file(name, "x", 0)), want})
	}
	return list
}

func streams() []construction {
	a, b := file("a", "a", 0), file("b", "b", 0)
	hidden := file("b", "b", 0)
	hidden.before = simple(file("h", "h", 0)).bytes()[:32]
	junk := file("b", "b", 0)
	junk.before = []byte("0123")
	inner := simple(file("inner", "x", 0)).bytes()
	nested := file("junk", string(inner), 0)
	return []construction{
		{"c1 hidden entry", simple(file("a", "a", 0), hidden), mismatch},
		{"c1 hidden first entry", image{prefix: simple(file("h", "h", 0)).bytes()[:32], pieces: []*piece{file("b", "b", 0)}}, mismatch},
		{"c1 bytes between entries", simple(file("a", "a", 0), junk), "reject:structure"},
		{"c1 signing block", image{pieces: []*piece{a, b}, gap: []byte("APK Sig Block 42")}, "reject:structure"},
		{"c1 nested archive", simple(nested, file("b", "b", 0)), "accept"},
		{"c1 entry inside of another", simple(file("junk", string(inner), 0), central(file("inner", "x", 0), func(h *header) { h.offset = 34 })), "reject:local-central-mismatch+overlap"},
		{"c1 full overlap", simple(file("a", "x", 0), central(file("b", "x", 0), func(h *header) { h.offset = 0 })), "reject:local-central-mismatch+overlap"},
		{"c1 entry in a comment", simple(central(file("a", "x", 0), func(h *header) { h.comment = inner })), "reject:structure"},
		{"c1 offset in the directory", simple(file("a", "x", 0), central(file("b", "x", 0), func(h *header) { h.offset = 80 })), "reject:bad-local-header+local-central-mismatch"},
		{"c1 offset in the nowhere", simple(central(file("b", "x", 0), func(h *header) { h.offset = 1 << 31 })), "reject:bad-local-header+local-central-mismatch"},
		{"c1 prefix that counts", image{prefix: []byte("#!/bin/sh\n"), pieces: []*piece{file("a", "x", 0)}}, "sanitize:prefix"},
		{"c1 archive before the archive", image{prefix: inner, pieces: []*piece{file("a", "x", 0)}}, "reject:structure"},
		{"c4 prefix that does not count", image{prefix: []byte("#!/bin/sh\n"), pieces: []*piece{file("a", "x", 0)}, shift: -10}, "reject:structure"},
		{"c4 bytes behind the directory", image{pieces: []*piece{file("a", "x", 0)}, tail: []byte("1234")}, "reject:structure"},
		{"c4 directory elsewhere", image{pieces: []*piece{file("a", "x", 0)}, change: func(e *end) { e.offset-- }}, "reject:structure"},
		{"c4 directory too far", image{pieces: []*piece{file("a", "x", 0)}, change: func(e *end) { e.offset++ }}, "reject:structure"},
	}
}

func ends() []construction {
	one := func(change func(*end)) image {
		return image{pieces: []*piece{file("a", "x", 0), file("b", "y", 0)}, change: change}
	}
	inner := simple(file("c", "x", 0)).bytes()
	list := []construction{
		{"c2 empty", image{}, "accept"},
		{"c2 comment", image{comment: []byte("hello")}, "accept"},
		{"c2 end record in the comment", image{pieces: []*piece{file("a", "x", 0)}, comment: inner}, "reject:structure"},
		{"c2 end record in the comment that is not at the end", image{pieces: []*piece{file("a", "x", 0)}, comment: append(bytes.Clone(inner), "rest"...)}, "reject:structure"},
		{"c2 bytes behind", image{pieces: []*piece{file("a", "x", 0)}, suffix: []byte{0}}, "reject:structure"},
		{"c2 comment too long", one(func(e *end) { e.comment = 1 }), "reject:unreadable"},
		{"c2 comment too short", image{comment: []byte("hello"), change: func(e *end) { e.comment = 4 }}, "reject:structure"},
		{"c2 no end record", raw(inner[:len(inner)-22]), "reject:structure"},
		{"c2 two archives", image{prefix: inner, pieces: []*piece{file("a", "x", 0)}, shift: -int64(len(inner))}, "reject:structure"},
		{"c2 end record in a name", simple(file("PK\x05\x06", "x", 0)), "reject:control+structure"},
		{"c3 here", one(func(e *end) { e.here-- }), "reject:structure"},
		{"c3 entries", one(func(e *end) { e.entries-- }), "reject:structure"},
		{"c3 both", one(func(e *end) { e.here, e.entries = 1, 1 }), "reject:structure"},
		{"c3 more", one(func(e *end) { e.here, e.entries = 3, 3 }), "reject:structure"},
		{"c3 none", one(func(e *end) { e.here, e.entries = 0, 0 }), "reject:structure"},
		{"c3 size", one(func(e *end) { e.size -= 47 }), "reject:structure"},
		{"c3 no size", one(func(e *end) { e.size = 0 }), "reject:structure"},
		{"c3 disk", one(func(e *end) { e.disk = 1 }), "reject:structure"},
		{"c3 start disk", one(func(e *end) { e.start = 1 }), "reject:structure"},
		{"c3 disk of an entry", simple(central(file("a", "x", 0), func(h *header) { h.disk = 1 })), "reject:structure"},
	}
	var many []*piece
	for i := range 65537 {
		many = append(many, file(fmt.Sprintf("%x/%x", i/256, i%256), "", 0))
	}
	return append(
		list,
		construction{"c3 modulo 65536", simple(many...), "reject:structure"},
		construction{"c3 65535 without ZIP64", simple(many[:65535]...), "accept"},
		construction{"c3 65537 entries", image{pieces: many, zip64: true, change: func(e *end) { e.large.entries, e.large.here = 65537, 65537 }}, "accept"},
	)
}

func zip64Ends() []construction {
	one := func(change func(*end)) image {
		return image{pieces: []*piece{file("a", "x", 0)}, zip64: true, change: change}
	}
	other := image{pieces: []*piece{file("b", "y", 0)}, zip64: true}.bytes()
	gapped := simple(central(file("a", "x", 0), func(h *header) { h.comment = append(bytes.Clone(other[:len(other)-22]), "gap"...) }))
	return []construction{
		{"c5 ZIP64", one(nil), "accept"},
		{"c5 both say the same", one(func(e *end) { e.entries, e.here, e.size, e.offset = 1, 1, uint32(e.large.size), uint32(e.large.offset) }), "accept"},
		{"c5 other entries", one(func(e *end) { e.entries, e.here = 2, 2 }), "reject:structure"},
		{"c5 other offset", one(func(e *end) { e.offset = 1 }), "reject:structure"},
		{"c5 other size", one(func(e *end) { e.size = 1 }), "reject:structure"},
		{"c5 locator elsewhere", one(func(e *end) { e.locator.offset-- }), "reject:structure"},
		{"c5 negative locator", one(func(e *end) { e.locator.offset = 1<<64 - 1 }), "reject:structure"},
		{"c5 parts", one(func(e *end) { e.locator.parts = 2 }), "reject:structure"},
		{"c5 disk of the locator", one(func(e *end) { e.locator.disk = 1 }), "reject:structure"},
		{"c5 disk", one(func(e *end) { e.large.disk = 1 }), "reject:structure"},
		{"c5 negative offset", one(func(e *end) { e.large.offset = 1<<64 - 1 }), "reject:structure"},
		{"c5 sum that overflows", one(func(e *end) { e.large.offset, e.large.size = 1<<63, 1<<63+47 }), "reject:structure"},
		{"c5 a trillion entries", one(func(e *end) { e.large.entries, e.large.here = 1<<40, 1<<40 }), "reject:size-limit"},
		{"c5 extensible data", image{pieces: []*piece{file("a", "x", 0)}, zip64: true, extended: []byte("12345678")}, "reject:structure"},
		{"c5 gap before the end record", gapped, "reject:structure"},
		{"c5 record missing", image{pieces: []*piece{file("a", "x", 0)}, change: func(e *end) { e.offset = 1<<32 - 1 }}, "reject:structure"},
		{"c5 archive in a comment", simple(central(file("a", "x", 0), func(h *header) { h.comment = other[:len(other)-22] })), "reject:structure"},
	}
}
