package zipcheck_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/zipcheck"
)

func TestEntries(t *testing.T) {
	a, b := file("a.txt", "hello", 8), file("caf\x82/", "", 0)
	a.both(func(h *header) { h.extra = field(0x5455, le([]byte{1}, uint32(1_700_000_000))) })
	data := image{pieces: []*piece{a, b}, comment: []byte("mine")}.bytes()
	r := whole(t, data, zipcheck.Strict)
	type entry struct {
		Name, Raw                  string
		Size, Stored, Header, Data int64
		CRC                        uint32
		Perm                       uint32
		Modified                   time.Time
	}
	var got []entry
	for i := range r.Entries {
		e := &r.Entries[i]
		got = append(got, entry{e.Name, e.Raw, e.Size, e.Stored, e.Header, e.Data, e.CRC32, e.Perm(), e.Modified()})
	}
	stored := int64(len(deflated("hello")))
	want := []entry{
		{"a.txt", "", 5, stored, 0, 44, 0x3610a686, 0o644, time.Unix(1_700_000_000, 0).UTC()},
		{"café/", "caf\x82/", 0, 0, 44 + stored, 79 + stored, 0, 0o755, time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sum, ok := r.SHA256(0); !ok || sum != sha256.Sum256([]byte("hello")) {
		t.Errorf("SHA-256 %x %v", sum, ok)
	}
	if r.Comment != "mine" || r.Bytes != 5 || r.String() != "sanitize:non-utf8" {
		t.Errorf("%q, %d bytes, %s", r.Comment, r.Bytes, r)
	}
}

// TestProfiles: a profile loosens names, never structure.
func TestProfiles(t *testing.T) {
	long := strings.Repeat("n", 300)
	twice := simple(file("attachments/a", "1", 0), file("attachments/a", "2", 0)).bytes()
	for _, test := range []struct {
		name    string
		zip     []byte
		profile zipcheck.Profile
		want    string
	}{
		{"double attachment", twice, zipcheck.Strict, "reject:dup-name"},
		{"double attachment of Squidex", twice, zipcheck.Squidex, "sanitize:dup-name"},
		{"double event of Squidex", simple(file("events/a", "1", 0), file("events/a", "2", 0)).bytes(), zipcheck.Squidex, "reject:dup-name"},
		{"colon", simple(file("UID1: My file.txt", "1", 0)).bytes(), zipcheck.Strict, "sanitize:colon"},
		{"colon of Labii", simple(file("UID1: My file.txt", "1", 0)).bytes(), zipcheck.Labii, "accept"},
		{"long name of Labii", simple(file(long, "1", 0)).bytes(), zipcheck.Labii, "sanitize:long-component"},
		{"long name", simple(file(long, "1", 0)).bytes(), zipcheck.Zipline, "reject:long-component"},
		{"colon of Zipline", simple(file("c:x", "1", 0).streamed(true, false)).bytes(), zipcheck.Zipline, "accept"},
		{"backslash of Zipline", simple(file(`c:\x`, "1", 0)).bytes(), zipcheck.Zipline, "reject:backslash"},
		{"way out of Labii", simple(file("../x", "1", 0)).bytes(), zipcheck.Labii, "reject:nonlocal"},
		{"gap of Squidex", image{pieces: []*piece{file("a", "1", 0)}, gap: []byte("x")}.bytes(), zipcheck.Squidex, "reject:structure"},
		{"empty archive of linkding", image{}.bytes(), zipcheck.Strict, "accept"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := whole(t, test.zip, test.profile)
			if r.String() != test.want {
				t.Errorf("%s, want %s\n%s", r, test.want, sentences(r))
			}
			if test.profile == zipcheck.Squidex && r.Verdict == zipcheck.Sanitize && (r.Entries[0].Shadowed || !r.Entries[1].Shadowed) {
				t.Error("the first one does not count")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	three := simple(file("a/b", strings.Repeat("x", 1000), 8), file("c", strings.Repeat("x", 1000), 8), file("d", "", 0)).bytes()
	for _, test := range []struct {
		name   string
		zip    []byte
		limits zipcheck.Limits
		want   string
	}{
		{"entries", three, zipcheck.Limits{Entries: 2}, "reject:size-limit"},
		{"as many entries", three, zipcheck.Limits{Entries: 3}, "accept"},
		{"names", three, zipcheck.Limits{Names: 4}, "reject:size-limit"},
		{"bytes", three, zipcheck.Limits{Bytes: 1999}, "reject:size-limit"},
		{"as many bytes", three, zipcheck.Limits{Bytes: 2000}, "accept"},
		{"expansion", three, zipcheck.Limits{Free: 1, Expansion: 2}, "reject:size-limit"},
		{"depth", three, zipcheck.Limits{Depth: 1}, "reject:depth"},
		{"path", three, zipcheck.Limits{Path: 2}, "reject:long-component"},
		{"prefix", image{prefix: []byte("1234"), pieces: []*piece{file("a", "x", 0)}}.bytes(), zipcheck.Limits{Prefix: 3}, "reject:structure"},
		{"folders", simple(file("a/a/a/a/a", "x", 0)).bytes(), zipcheck.Limits{Entries: 1}, "reject:size-limit"},
	} {
		r, err := zipcheck.Check(t.Context(), bytes.NewReader(test.zip), int64(len(test.zip)), test.limits, zipcheck.Strict)
		if err != nil || r.String() != test.want {
			t.Errorf("%s: %v, %v, want %s", test.name, r, err, test.want)
		}
	}
}

// TestReasonsAreCounted: of a million reasons a few are kept.
func TestReasonsAreCounted(t *testing.T) {
	var pieces []*piece
	for i := range 1000 {
		pieces = append(pieces, file(fmt.Sprintf("../%d", i), "", 0))
	}
	r := whole(t, simple(append(pieces, file("a\\b", "", 0))...).bytes(), zipcheck.Strict)
	if diff := cmp.Diff(map[zipcheck.Word]int{zipcheck.Nonlocal: 1000, zipcheck.Backslash: 1}, r.Counts); diff != "" || len(r.Reasons) != 101 {
		t.Errorf("%d reasons kept %s", len(r.Reasons), diff)
	}
}

// changing is a file whose bytes somebody changes while it is read.
type changing struct {
	*bytes.Reader
	err error
}

func (c *changing) ReadAt(p []byte, at int64) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	return c.Reader.ReadAt(p, at)
}

func TestOpen(t *testing.T) {
	data := simple(file("a", "hello", 8), file("b", "world", 0)).bytes()
	source := &changing{Reader: bytes.NewReader(data)}
	check := func() *zipcheck.Report {
		r, err := zipcheck.Check(t.Context(), source, int64(len(data)), zipcheck.Limits{}, zipcheck.Strict)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	read := func(r *zipcheck.Report, i int) (string, error) {
		body, err := r.Open(t.Context(), i)
		if err != nil {
			return "", err
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		return string(b), err
	}
	r := check()
	if err := r.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"hello", "world"} {
		if got, err := read(r, i); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := read(r, 2); failure.KindOf(err) != failure.NotFound {
		t.Error(err)
	}

	unread := check()
	i := bytes.Index(data, []byte("world"))
	data[i] = 'W'
	if _, err := read(unread, 1); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("changed since the check: %v", err)
	}
	data[i] = 'w'

	broken := errors.New("the disk is gone")
	source.err = broken
	if _, err := read(r, 0); !errors.Is(err, broken) || failure.KindOf(err) == failure.Corrupt {
		t.Error(err)
	}
	if _, err := zipcheck.Check(t.Context(), source, int64(len(data)), zipcheck.Limits{}, zipcheck.Strict); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := r.Read(t.Context(), nil); !errors.Is(err, broken) {
		t.Error(err)
	}
	source.err = nil

	rejected := whole(t, simple(file("../a", "x", 0)).bytes(), zipcheck.Strict)
	if _, err := read(rejected, 0); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("opened an entry of a rejected archive: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := zipcheck.Check(ctx, source, int64(len(data)), zipcheck.Limits{}, zipcheck.Strict); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestTruncated: no beginning of an archive is accepted, and no archive behind anything.
func TestTruncated(t *testing.T) {
	data := image{pieces: []*piece{file("a", "hello", 8), file("b", "world", 0).streamed(true, false)}, zip64: true, comment: []byte("mine")}.bytes()
	for n := range len(data) {
		if r := whole(t, data[:n], zipcheck.Strict); r.Verdict != zipcheck.Reject {
			t.Fatalf("the first %d of %d bytes: %s", n, len(data), r)
		}
		if r := whole(t, data[len(data)-n:], zipcheck.Strict); r.Verdict != zipcheck.Reject && n > 0 {
			t.Fatalf("the last %d of %d bytes: %s", n, len(data), r)
		}
	}
}

// TestFlippedBits: a flipped bit is seen, but for those that say nothing of names, places or contents.
func TestFlippedBits(t *testing.T) {
	data := simple(file("a", "hello", 0)).bytes()
	// Of the local header: the version's two bytes and four of the time; of the central one: made by, version and time,
	// internal and external attributes.
	free := map[int]bool{}
	for _, i := range []int{4, 5, 10, 11, 12, 13} {
		free[i] = true
	}
	for i := range 46 {
		if i >= 4 && i < 8 || i >= 12 && i < 16 || i >= 36 && i < 42 {
			free[36+i] = true
		}
	}
	for i := range data {
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << bit
			if r := whole(t, changed, zipcheck.Strict); r.Verdict != zipcheck.Reject && !free[i] {
				t.Errorf("bit %d of byte %d: %s", bit, i, r)
			}
		}
	}
}

func TestPath(t *testing.T) {
	r := whole(t, simple(file("a: b?/con.txt", "1", 0), file("100%/x. ", "2", 0), file("plain 50%.txt", "3", 0)).bytes(), zipcheck.Strict)
	want := []string{"a%3A b%3F/%63on.txt", "100%/x.%20", "plain 50%.txt"}
	for i := range r.Entries {
		if got := r.Entries[i].Path("windows"); got != want[i] {
			t.Errorf("%q, want %q", got, want[i])
		}
		if got := r.Entries[i].Path("linux"); got != r.Entries[i].Name {
			t.Errorf("%q", got)
		}
	}
}

// TestMany: a hundred thousand entries with long paths stay within the limits of time and memory.
func TestMany(t *testing.T) {
	var pieces []*piece
	for i := range 100_000 {
		pieces = append(pieces, file(fmt.Sprintf("some/folder/%d/file-%d.txt", i%100, i), "", 0))
	}
	data := image{pieces: pieces, zip64: true, change: func(e *end) { e.large.entries, e.large.here = 100_000, 100_000 }}.bytes()
	start := time.Now()
	r := whole(t, data, zipcheck.Strict)
	if r.Verdict != zipcheck.Accept || len(r.Entries) != 100_000 {
		t.Errorf("%s of %d entries", r, len(r.Entries))
	}
	t.Logf("%d bytes in %s", len(data), time.Since(start))
}

// TestShared: entries that share one long header, or a folder of many elements, cost no more than others.
func TestShared(t *testing.T) {
	first := file("a", "x", 0)
	first.local.extra = bytes.Repeat(field(0x7777, nil), 16_000)
	pieces := []*piece{first}
	for i := range 99_999 {
		p := central(file("", "", 0), func(h *header) { h.name, h.offset, h.method = fmt.Sprint(i), 0, uint16(i) })
		pieces = append(pieces, p)
	}
	data := image{pieces: pieces, zip64: true, change: func(e *end) { e.large.entries, e.large.here = 100_000, 100_000 }}.bytes()
	if r := whole(t, data, zipcheck.Strict); r.Verdict != zipcheck.Reject || len(r.Reasons) > 6400 || len(r.Counts) > 65 {
		t.Errorf("%d reasons, %d words", len(r.Reasons), len(r.Counts))
	}
	pieces = nil
	for i := range 1000 {
		pieces = append(pieces, file(strings.Repeat("d/", 499)+strings.Repeat("n", 10_000)+fmt.Sprint(i), "", 0))
	}
	if r := whole(t, simple(pieces...).bytes(), zipcheck.Strict); r.Verdict != zipcheck.Reject {
		t.Errorf("%s", r)
	}
}

// FuzzCheck: whatever the bytes, Check and Read end without a panic, and what they do not reject can be opened, with
// names that stay below a folder and contents of the declared sizes.
func FuzzCheck(f *testing.F) {
	for _, list := range [][]construction{metadata(), sizes(), unicode(), types(), paths(), streams(), zip64Ends()} {
		for i, c := range list {
			if i%4 == 0 || c.want == "accept" {
				f.Add(c.zip.bytes())
			}
		}
	}
	limits := zipcheck.Limits{Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := zipcheck.Check(t.Context(), bytes.NewReader(data), int64(len(data)), limits, zipcheck.Strict)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Read(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if (r.Verdict == zipcheck.Accept) != (len(r.Reasons) == 0) {
			t.Fatalf("%s with %d reasons", r.Verdict, len(r.Reasons))
		}
		if r.Verdict == zipcheck.Reject {
			return
		}
		seen := map[string]bool{}
		for i := range r.Entries {
			e := &r.Entries[i]
			if seen[e.Name] || e.Name == "" || strings.HasPrefix(e.Name, "/") || strings.Contains("/"+e.Name+"/", "/../") || e.Header < r.Prefix || e.Data+e.Stored > int64(len(data)) {
				t.Fatalf("entry %q at %d", e.Name, e.Header)
			}
			seen[e.Name] = true
			body, err := r.Open(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, body); err != nil || n != e.Size {
				t.Fatalf("entry %q: %d of %d bytes: %v", e.Name, n, e.Size, err)
			}
		}
	})
}
