package zipcheck

import (
	"encoding/binary"
	"hash/maphash"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// decode gives an entry its name in UTF-8. The one rule: bytes that are UTF-8 are UTF-8, flagged or not; others are
// the Unicode path field's name where that one is for these bytes, and code page 437 where there is none.
func (c *checker) decode(i int, x extras) {
	e := &c.report.Entries[i]
	raw := e.Name
	if !utf8.ValidString(raw) {
		decoded, _ := charmap.CodePage437.NewDecoder().String(raw) // it has a character for every byte
		e.Name, e.Raw = decoded, raw
		how := "they are read as code page 437"
		if x.hasPath && c.overrides(i, raw, x) {
			e.Name, how = x.path, "its Unicode name is taken"
		}
		c.report.add(Sanitize, NonUTF8, i, "the bytes of its name are no UTF-8; %s", how)
	}
	if x.hasPath {
		c.unicodeName(i, raw, x)
	}
}

// unicodeName rejects a Unicode path field that gives an entry another name than its header.
func (c *checker) unicodeName(i int, raw string, x extras) {
	if x.path == raw || c.overrides(i, raw, x) && x.path == c.report.Entries[i].Name {
		return
	}
	c.report.reject(UnicodeName, i, "its Unicode path field gives it another name than its header")
}

// overrides reports whether a Unicode path is the true spelling of a name in some old character set: what is ASCII in
// both is the same, at the same places between what is not.
func (c *checker) overrides(i int, raw string, x extras) bool {
	if c.report.Entries[i].flags&flagUTF8 != 0 || utf8.ValidString(raw) || !x.soundPath || !utf8.ValidString(x.path) {
		return false
	}
	path := skeleton(x.path, false)
	return path == skeleton(raw, false) || path == skeleton(raw, true)
}

// skeleton returns s with each run of characters that are no ASCII as one. In the double-byte character sets of East
// Asia a character's second byte may be a letter or some other ASCII from "@" on, but no "/" and no ".".
func skeleton(s string, double bool) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] < 0x80 {
			b = append(b, s[i])
			continue
		}
		if len(b) == 0 || b[len(b)-1] != 0x80 {
			b = append(b, 0x80)
		}
		if double && i+1 < len(s) && s[i+1] >= '@' {
			i++
		}
	}
	return string(b)
}

// judgeNames judges every name by itself, then against the others.
func (c *checker) judgeNames() {
	t := tree{c: c, seed: maphash.MakeSeed(), nodes: map[uint64]node{}}
	for i := range c.report.Entries {
		if i%1000 == 0 && c.ctx.Err() != nil {
			return
		}
		c.judgeName(i)
		t.insert(i)
	}
}

func (c *checker) judgeName(i int) {
	name := c.report.Entries[i].Name
	for _, r := range []struct {
		word  Word
		holds bool
		text  string
	}{
		{EmptyName, name == "", "it has no name"},
		{NUL, strings.Contains(name, "\x00"), "its name has a NUL, where some programs end it"},
		{Control, strings.ContainsFunc(name, isControl), "its name has control characters"},
		{Backslash, strings.Contains(name, `\`), `its name has a "\", which some programs take for "/"`},
		{Drive, drive(name) && !c.profile.Colons, "its name begins with a drive"},
		{LongComponent, len(name) > c.limits.Path && !c.profile.LongNames, "its name is longer than any path"},
	} {
		if r.holds {
			c.report.reject(r.word, i, "%s", r.text)
		}
	}
	if strings.Contains(name, ":") && !c.profile.Colons && !drive(name) {
		c.report.add(Sanitize, Colon, i, "its name has a colon; it is renamed on Windows")
	}
	c.judgeElements(i, name)
}

func isControl(r rune) bool { return r > 0 && r < 0x20 || r >= 0x7f && r < 0xa0 }

// drive reports whether a name begins like C: or \\?\C:.
func drive(name string) bool {
	name = strings.TrimLeft(name, `\/?.`)
	return len(name) >= 2 && name[1] == ':' && (name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z')
}

// judgeElements judges the elements of a path.
func (c *checker) judgeElements(i int, name string) {
	elements := strings.Split(strings.TrimSuffix(name, "/"), "/")
	var dots, up, inner, reserved, trailing, long bool
	level := 0
	for _, element := range elements {
		switch bare := strings.TrimRight(element, ". "); {
		case element == "..":
			level--
			up, inner = up || level < 0, true
		case bare == "" && element != "" && element != " ":
			dots = true // nothing is left of it on Windows, or one or two dots are
		case element == "":
			dots = true
		default:
			level++
		}
		reserved = reserved || device(element)
		trailing = trailing || strings.HasSuffix(element, " ") || strings.HasSuffix(element, ".") && strings.Trim(element, ".") != ""
		long = long || len(element) > c.limits.Component
	}
	dots = dots || inner && !up
	if up || strings.HasPrefix(name, "/") || name != "" && !dots && !filepath.IsLocal(filepath.FromSlash(name)) {
		c.report.reject(Nonlocal, i, "its name leads out of the folder")
	}
	if dots {
		c.report.reject(DotSegment, i, "its name has empty elements, or elements of nothing but dots")
	}
	if len(elements) > c.limits.Depth {
		c.report.reject(Depth, i, "its name has %d elements, more than %d", len(elements), c.limits.Depth)
	}
	if long && c.profile.LongNames {
		c.report.add(Sanitize, LongComponent, i, "an element of its name has more than %d bytes; it can't be a file's", c.limits.Component)
	} else if long {
		c.report.reject(LongComponent, i, "an element of its name has more than %d bytes", c.limits.Component)
	}
	if reserved {
		c.report.add(Sanitize, WinReserved, i, "its name is a device on Windows; it is renamed there")
	}
	if trailing {
		c.report.add(Sanitize, TrailDotSpace, i, "an element of its name ends with a dot or a space; it is renamed on Windows")
	}
}

// device reports whether Windows takes an element of a path for a device, whatever follows the first dot or colon.
func device(element string) bool {
	if i := strings.IndexAny(element, ".:"); i >= 0 {
		element = element[:i]
	}
	element = strings.ToUpper(strings.TrimRight(element, " "))
	switch element {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	port, ok := strings.CutPrefix(element, "COM")
	if !ok {
		port, ok = strings.CutPrefix(element, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}

// Path returns the entry's name for a file system: on "windows" with everything percent-encoded that no file there
// can have in its name, and devices renamed; elsewhere as it is. A name with "%" stays unique: "%" is encoded too
// where anything is.
func (e *Entry) Path(system string) string {
	if system != "windows" {
		return e.Name
	}
	elements := strings.Split(e.Name, "/")
	for i, element := range elements {
		elements[i] = windowsName(element)
	}
	return strings.Join(elements, "/")
}

func windowsName(element string) string {
	last := len(element) - 1
	odd := func(i int) bool {
		return strings.IndexByte(`<>:"|?*`, element[i]) >= 0 || i == last && (element[i] == '.' || element[i] == ' ') || i == 0 && device(element)
	}
	need := false
	for i := range len(element) {
		need = need || odd(i)
	}
	if !need {
		return element
	}
	var b strings.Builder
	for i := range len(element) {
		if odd(i) || element[i] == '%' {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[element[i]>>4], digits[element[i]&15]})
		} else {
			b.WriteByte(element[i])
		}
	}
	return b.String()
}

// tree holds the paths of an archive as the least discerning file system sees them: by NFKC and case folding.
type tree struct {
	c     *checker
	seed  maphash.Seed
	nodes map[uint64]node
	full  bool
}

// node is a file or a folder. Its path is the beginning of the name of the entry that was the first to use it.
type node struct {
	entry  int32
	length int32
	dir    bool
	listed bool // has an entry of its own
}

// spelling returns the last element of a node's path. The elements before it were compared when it was reached.
func (t *tree) spelling(n node) string {
	path := t.c.report.Entries[n.entry].Name[:n.length]
	return path[strings.LastIndexByte(path, '/')+1:]
}

// key folds one element below a folder.
func (t *tree) key(parent uint64, element string) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], parent)
	_, _ = h.Write(b[:])
	_, _ = h.WriteString(fold(element))
	return h.Sum64()
}

func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}

// insert adds an entry's path, and reports what it collides with, each kind once.
func (t *tree) insert(i int) {
	name := t.c.report.Entries[i].Name
	trimmed := strings.TrimSuffix(name, "/")
	if trimmed == "" || t.full {
		return
	}
	var parent uint64
	var folded, clash bool
	depth := 0
	for from := 0; from <= len(trimmed) && depth < t.c.limits.Depth; depth++ {
		to := len(trimmed)
		if n := strings.IndexByte(trimmed[from:], '/'); n >= 0 {
			to = from + n
		}
		last := to == len(trimmed)
		element := trimmed[from:to]
		parent = t.key(parent, element)
		from = to + 1
		n, there := t.nodes[parent]
		switch {
		case !there:
			if len(t.nodes) >= 2*t.c.limits.Entries {
				t.c.report.reject(SizeLimit, -1, "the names make more than %d files and folders", 2*t.c.limits.Entries)
				t.full = true
				return
			}
			t.nodes[parent] = node{int32(i), int32(to), !last || len(name) > len(trimmed), last}
		case t.spelling(n) != element:
			folded = true
		case last && !folded:
			t.again(i, n, len(name) > len(trimmed))
			n.listed = true
			t.nodes[parent] = n
		case !last && !n.dir:
			clash = true
		}
	}
	if folded {
		t.c.report.reject(FoldCollision, i, "its name is another one's on file systems that ignore case or spelling")
	}
	if clash {
		t.c.report.reject(FileDir, i, "its name lies below that of a file")
	}
}

// again judges an entry whose path is there already, spelled the same.
func (t *tree) again(i int, n node, dir bool) {
	e := &t.c.report.Entries[i]
	first := t.c.profile.FirstOfDouble
	switch {
	case n.dir != dir:
		t.c.report.reject(FileDir, i, "its name is both a file's and a folder's")
	case n.listed && !dir && first != "" && strings.HasPrefix(e.Name, first):
		e.Shadowed = true
		t.c.report.add(Sanitize, DupName, i, "its name is there already; the first entry counts")
	case n.listed:
		t.c.report.reject(DupName, i, "its name is there already")
	}
}
