// Package zipcheck is the strict reader of every ZIP that lifeboat did not write: one from an upload, from a URL, of
// another program. It says what an archive is before a byte is extracted, and hands out contents only of what it
// did not reject.
//
// Two programs must not be able to read the same file differently. So the whole file has to be accounted for: local
// headers, data and descriptors one behind the other from the first entry to the central directory, each equal to
// what the central directory says, then the end records, then nothing. Data descriptors and comments are allowed, and
// bytes before the first entry where every offset counts them. Names that could leave a folder, or that are one name
// on some file system, are rejected too; names that only some systems can't hold are to be treated, with the reason.
//
// Check reads the structure, names and modes; Report.Read then reads every content. Both need memory for the list of
// entries only, and the limits bound that. Nothing here trusts a declared size, and nothing opens nested archives.
// lifeboat's own archives have a reader of their own, internal/archive, which accepts less.
package zipcheck

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/plain"
)

// Verdict says what is to be done with an archive.
type Verdict int

// The verdicts, from good to bad.
const (
	Accept   Verdict = iota // well formed, unambiguous, safe names
	Sanitize                // usable; each reason says what needs treatment
	Reject                  // nothing of it is to be used
)

// String returns the word for a verdict.
func (v Verdict) String() string { return [...]string{"accept", "sanitize", "reject"}[v] }

// Word names a reason.
type Word string

// The reasons. Those in the first group sanitize, unless a profile expects them; the others reject, unless a profile
// lets them pass as something to treat.
const (
	NonUTF8       Word = "non-utf8"        // a name is decoded as code page 437, or by its Unicode extra field
	Prefix        Word = "prefix"          // bytes before the first entry
	SetID         Word = "setid"           // mode bits are dropped
	Pipe          Word = "pipe"            // zip's standard input, with the mode of a pipe: taken for a file
	WinReserved   Word = "win-reserved"    // a device on Windows: renamed there
	Colon         Word = "colon"           // renamed on Windows
	TrailDotSpace Word = "trail-dot-space" // renamed on Windows

	Unreadable    Word = "unreadable" // no ZIP, or cut off
	Structure     Word = "structure"  // records that are missing, ambiguous or at odds with one another
	BadLocal      Word = "bad-local-header"
	Mismatch      Word = "local-central-mismatch"
	Overlap       Word = "overlap"
	UnicodeName   Word = "0x7075 name differs"
	Encrypted     Word = "encrypted"
	Symlink       Word = "symlink"
	SpecialFile   Word = "special-file"
	DirWithData   Word = "dir-with-data"
	Nonlocal      Word = "nonlocal"
	Drive         Word = "drive"
	Backslash     Word = "backslash"
	DotSegment    Word = "dot-segment"
	EmptyName     Word = "empty-name"
	NUL           Word = "nul"
	Control       Word = "control"
	DupName       Word = "dup-name"
	FileDir       Word = "file-dir-conflict"
	FoldCollision Word = "fold-collision"
	LongComponent Word = "long-component"
	Depth         Word = "depth"
	SizeLimit     Word = "size-limit"
	Ratio         Word = "ratio>1032"
	CRCZero       Word = "crc-zero"
	ReadError     Word = "read-error"
)

// Method reports whether a word is the reason for a compression that is not read.
func (w Word) Method() bool { return strings.HasPrefix(string(w), "method-") }

// method is the reason for a compression that is not read.
func method(n uint16) Word { return Word(fmt.Sprintf("method-%d", n)) }

// Reason is one thing that speaks against an archive.
type Reason struct {
	Verdict Verdict
	Word    Word
	Entry   int    // its place in the central directory, from 0; -1: the archive as a whole
	Name    string // of the entry, escaped for people
	Text    string // one sentence
}

const (
	// maxReasons is how many reasons of one word are kept. All are counted.
	maxReasons = 100
	// maxWords is how many words there are at most: an archive may have 65,534 unknown methods.
	maxWords = 64
)

// Limits bound what an archive may be. A zero means the default.
type Limits struct {
	Entries   int   // 100,000, which takes some 40 MB of memory
	Names     int64 // bytes of all names together: 16 MiB
	Component int   // bytes of one element of a path: 255
	Path      int   // bytes of a whole path: 4095
	Depth     int   // elements of a path: 500
	Prefix    int64 // bytes before the first entry: 4 MiB
	Bytes     int64 // of all contents together: 1 TiB
	Free      int64 // bytes of all contents that are fine whatever the file's size: 128 MiB
	Expansion int64 // beyond Free, contents may have this many times the file's size: 100
}

func (l Limits) complete() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, 100_000), Names: cmp.Or(l.Names, 16<<20), Component: cmp.Or(l.Component, 255),
		Path: cmp.Or(l.Path, 4095), Depth: cmp.Or(l.Depth, 500), Prefix: cmp.Or(l.Prefix, 4<<20),
		Bytes: cmp.Or(l.Bytes, 1<<40), Free: cmp.Or(l.Free, 128<<20), Expansion: cmp.Or(l.Expansion, 100),
	}
}

// Profile says which names a kind of source is known for. It loosens names, never structure.
type Profile struct {
	Colons        bool   // ':' and drive letters are part of names; they are not even worth a reason
	LongNames     bool   // elements of more than Limits.Component bytes are to be treated, not rejected
	FirstOfDouble string // below this folder a name may come twice: the first one counts, later ones are Shadowed
}

// The profiles.
var (
	Strict  = Profile{}
	Squidex = Profile{FirstOfDouble: "attachments/"}
	Labii   = Profile{Colons: true, LongNames: true}
	Zipline = Profile{Colons: true}
)

// Entry is what the headers of one entry say.
type Entry struct {
	Name     string // UTF-8; a folder's ends with "/"
	Raw      string // the bytes in the archive, where they are others than Name's
	Size     int64  // bytes of the content
	Stored   int64  // bytes in the archive
	Header   int64  // offset of the local header
	Data     int64  // offset of the stored bytes
	CRC32    uint32
	Method   uint16
	Shadowed bool // an earlier entry has this name and counts

	flags      uint16
	madeBy     byte
	hidden     fileType // what extra fields say
	attributes uint32
	seconds    int64 // Unix time; 0: none
}

// Dir reports whether the entry is a folder.
func (e *Entry) Dir() bool { return strings.HasSuffix(e.Name, "/") }

// Perm returns the permission bits that an archive of a Unix system gives, without set-id and sticky bits; 0: none.
func (e *Entry) Perm() uint32 {
	if e.madeBy != unixHost && e.madeBy != darwinHost {
		return 0
	}
	return e.attributes >> 16 & 0o777
}

// Modified returns the time of the entry, or the zero time. ZIP's own has no time zone, and is taken as UTC.
func (e *Entry) Modified() time.Time {
	if e.seconds == 0 {
		return time.Time{}
	}
	return time.Unix(e.seconds, 0).UTC()
}

// Report is what is known of an archive. It needs no closing; it is not for concurrent use.
type Report struct {
	Verdict Verdict
	Reasons []Reason     // in the order of the checks, at most 100 of each word
	Counts  map[Word]int // all of them
	Entries []Entry      // in the order of the central directory; of a rejected archive, what could be parsed
	Comment string       // of the archive, as it stands there
	Prefix  int64        // bytes before the first entry
	Bytes   int64        // of all contents, as declared; after Read, as found
	Several bool         // its end says that it is one of several parts, which are not read

	source *source
	order  []int // of the entries' offsets
	sums   [][sha256.Size]byte
}

// Words returns the reasons, each once, sorted.
func (r *Report) Words() []Word {
	words := make([]Word, 0, len(r.Counts))
	for w := range r.Counts {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}

// String returns the verdict with its words: "reject:overlap+symlink". Of a rejected archive, what could have been
// treated is left out.
func (r *Report) String() string {
	var words []string
	for _, w := range r.Words() {
		if slices.ContainsFunc(r.Reasons, func(reason Reason) bool { return reason.Word == w && reason.Verdict == r.Verdict }) {
			words = append(words, string(w))
		}
	}
	if len(words) == 0 {
		return r.Verdict.String()
	}
	return r.Verdict.String() + ":" + strings.Join(words, "+")
}

// SHA256 returns the digest of an entry's content; ok is false before Read.
func (r *Report) SHA256(entry int) (sum [sha256.Size]byte, ok bool) {
	if r.sums == nil {
		return sum, false
	}
	return r.sums[entry], true
}

func (r *Report) add(v Verdict, w Word, entry int, format string, args ...any) {
	r.Verdict = max(r.Verdict, v)
	if r.Counts[w] == 0 && len(r.Counts) >= maxWords {
		w = Structure
	}
	r.Counts[w]++
	if r.Counts[w] > maxReasons {
		return
	}
	reason := Reason{Verdict: v, Word: w, Entry: entry, Text: fmt.Sprintf(format, args...)}
	if entry >= 0 && entry < len(r.Entries) {
		reason.Name = plain.Short(r.Entries[entry].Name, 200)
	}
	r.Reasons = append(r.Reasons, reason)
}

func (r *Report) reject(w Word, entry int, format string, args ...any) {
	r.add(Reject, w, entry, format, args...)
}

// checker is one run of Check.
type checker struct {
	ctx     context.Context
	limits  Limits
	profile Profile
	report  *Report
	window  *window
	size    int64
	start   int64  // of the central directory
	end     int64  // of the central directory
	astray  bool   // it does not lie where the end record says: no offset is to be believed
	entries uint64 // that the end record declares
	names   int64  // bytes so far
}

// Check reads everything but the contents of an archive of size bytes. What is wrong with the archive is in the
// report; an error is of reading r, or of ctx, and then there is no report.
func Check(ctx context.Context, r io.ReaderAt, size int64, limits Limits, profile Profile) (*Report, error) {
	source := &source{r: r}
	c := &checker{
		ctx: ctx, limits: limits.complete(), profile: profile, size: size, window: &window{r: source, size: size},
		report: &Report{Counts: map[Word]int{}, source: source},
	}
	for _, step := range []func() (bool, error){c.endRecords, c.centralDirectory, c.localHeaders} {
		complete, err := step()
		if err != nil {
			return nil, fmt.Errorf("read the ZIP: %w", err)
		}
		if !complete {
			break
		}
	}
	c.judgeNames()
	c.judgeModes()
	c.judgeContents()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read the ZIP: %w", err)
	}
	return c.report, nil
}

// source remembers the error of the bytes below, to tell it from one of what they say.
type source struct {
	r   io.ReaderAt
	err error
}

func (s *source) ReadAt(p []byte, at int64) (int, error) {
	n, err := s.r.ReadAt(p, at)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF { // nobody asks for more than the size
		err = io.ErrUnexpectedEOF
	}
	s.err = err
	return n, err
}

// window reads short stretches of a file, mostly forwards.
type window struct {
	r    io.ReaderAt
	size int64
	at   int64
	data []byte
	room []byte
}

// readAhead is how much is read at once, in bytes: a header and some of its neighbours.
const readAhead = 16 << 10

// bytes returns n bytes from an offset on, or less at the end of the file. They are good until the next call.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	if at < 0 || at >= w.size {
		return nil, nil
	}
	n = int(min(int64(n), w.size-at))
	if from := at - w.at; from >= 0 && from+int64(n) <= int64(len(w.data)) {
		return w.data[from : from+int64(n)], nil
	}
	length := int(min(int64(max(n, readAhead)), w.size-at))
	if cap(w.room) < length {
		w.room = make([]byte, length)
	}
	w.at, w.data = at, w.room[:length]
	if _, err := w.r.ReadAt(w.data, at); err != nil {
		return nil, err
	}
	return w.data[:n], nil
}
