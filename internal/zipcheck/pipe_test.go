package zipcheck_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/zipcheck"
)

// piped returns an entry as `cat FILE | zip X.zip -` makes it: the content of standard input, with the mode of the pipe
// that it came from, and sizes that only the ZIP64 field of the local header has.
func piped(name, content string, mode uint32) *piece {
	p := file(name, content, 0)
	p.both(func(h *header) { h.version = 45 })
	p.local.extra = field(0x0001, le(nil, uint64(len(content)), uint64(len(content))))
	p.local.stored, p.local.len = 1<<32-1, 1<<32-1
	p.central.madeBy, p.central.attributes = 3<<8|30, mode<<16
	return p
}

// TestPiped takes what came out of a pipe for the file that it is, and no other pipe.
func TestPiped(t *testing.T) {
	const pipe = 0o10600
	with := func(change func(h *header)) *piece { return central(piped("-", "hello\n", pipe), change) }
	unix := func(mode uint16) []byte {
		return field(0x756e, le(nil, uint32(0), mode, uint32(0), uint16(0), uint16(0)))
	}
	for name, c := range map[string]struct {
		entry *piece
		want  string
	}{
		"as zip makes it":            {piped("-", "hello\n", pipe), "sanitize:pipe"},
		"nothing came":               {piped("-", "", pipe), "sanitize:pipe"},
		"under another name":         {piped("fifo", "hello\n", pipe), "reject:special-file"},
		"in a folder":                {piped("a/-", "hello\n", pipe), "reject:special-file"},
		"a named pipe's mode":        {piped("-", "hello\n", 0o10644), "reject:special-file"},
		"with a set-id bit":          {piped("-", "hello\n", 0o14600), "reject:special-file"},
		"a device":                   {piped("-", "hello\n", 0o20600), "reject:special-file"},
		"a block device":             {piped("-", "hello\n", 0o60600), "reject:special-file"},
		"a socket":                   {piped("-", "hello\n", 0o140600), "reject:special-file"},
		"a link":                     {piped("-", "hello\n", 0o120600), "reject:symlink"},
		"of DOS":                     {with(func(h *header) { h.madeBy = 20 }), "reject:special-file"},
		"of a Mac":                   {with(func(h *header) { h.madeBy = 19<<8 | 30 }), "reject:special-file"},
		"a volume":                   {with(func(h *header) { h.attributes |= 0x08 }), "reject:special-file"},
		"a folder":                   {with(func(h *header) { h.attributes |= 0x10 }), "reject:special-file"},
		"a pipe in an extra field":   {with(func(h *header) { h.extra = unix(0o10600) }), "reject:special-file"},
		"a link in an extra field":   {with(func(h *header) { h.extra = unix(0o120777) }), "reject:special-file+symlink"},
		"a folder by an extra field": {with(func(h *header) { h.extra = unix(0o40755) }), "reject:file-dir-conflict+special-file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := whole(t, simple(c.entry).bytes(), zipcheck.Strict)
			if r.String() != c.want {
				t.Errorf("%s, want %s\n%s", r, c.want, sentences(r))
			}
		})
	}
}

// TestPipedByZip reads what Info-ZIP's zip makes of a pipe, into a file and into another pipe.
func TestPipedByZip(t *testing.T) {
	tool, err := exec.LookPath("zip")
	if err != nil {
		t.Skip("zip is not installed")
	}
	for name, content := range map[string]string{"short": "hello\n", "long": strings.Repeat("all work and no play ", 10_000), "empty": ""} {
		for _, target := range []string{"x.zip", "-"} {
			t.Run(name+" to "+target, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.zip")
				cmd := exec.CommandContext(t.Context(), tool, "-q", target, "-")
				cmd.Dir, cmd.Stdin = filepath.Dir(path), strings.NewReader(content) // which becomes a pipe
				answer, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				if target == "x.zip" {
					if answer, err = os.ReadFile(path); err != nil {
						t.Fatal(err)
					}
				}
				r := whole(t, answer, zipcheck.Strict)
				if r.String() != "sanitize:pipe" || len(r.Entries) != 1 {
					t.Fatalf("%s\n%s", r, sentences(r))
				}
				body, err := r.Open(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				if got, err := io.ReadAll(body); string(got) != content || err != nil || r.Entries[0].Name != "-" {
					t.Errorf("%q: %d bytes of %d, %v", r.Entries[0].Name, len(got), len(content), err)
				}
			})
		}
	}
}
