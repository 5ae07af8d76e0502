package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestScripts runs testdata/script/*.txtar, which read like a manual: commands, what they say, and how they exit. Each
// runs in a folder of its own, with the sample's Zipline, its uploads, and a lifeboat.yaml with the source photos. The
// verbs are a few of those of rogpeppe/go-internal/testscript, and mean the same:
//
//	lifeboat ARG…         runs the program; it must exit with 0
//	exits CODE lifeboat…  … with that code
//	stdout RE, stderr RE  what the last command said has, or with ! has not, a match
//	exists FILE…          with !: is not there
//	cmp FILE FILE         have the same bytes
//	cp FILE FILE, rm FILE, mkdir FILE, flip FILE OFFSET
//	env NAME=VALUE        for the commands that follow
//	id NAME               keeps the id in the last line of standard output as $NAME
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts:", err)
	}
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{place: newPlace(t), name: name, values: map[string]string{}}
			s.values["ZIPLINE"] = s.zipline.URL
			for n, line := range strings.Split(s.unpack(string(data)), "\n") {
				s.line = n + 1
				s.do(strings.TrimSpace(line))
			}
		})
	}
}

// script is one that runs.
type script struct {
	*place
	name   string
	line   int
	last   result
	values map[string]string
}

func (s *script) fail(format string, args ...any) {
	s.Helper()
	s.Fatalf("%s:%d: %s\nstdout: %s\nstderr: %s", s.name, s.line, fmt.Sprintf(format, args...), s.last.out, s.last.err)
}

var fileHead = regexp.MustCompile(`(?m)^-- (.+) --\n`)

// unpack writes the script's files and returns its commands.
func (s *script) unpack(text string) string {
	heads := fileHead.FindAllStringSubmatchIndex(text, -1)
	for i, head := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		s.write(text[head[2]:head[3]], s.expand(text[head[1]:end]))
	}
	if len(heads) > 0 {
		text = text[:heads[0][0]]
	}
	return text
}

func (s *script) expand(text string) string {
	return os.Expand(text, func(name string) string {
		value, ok := s.values[name]
		if !ok {
			s.fail("$%s has no value", name)
		}
		return value
	})
}

// word is one word of a line: plain, or quoted with ', where ” is none of both.
var word = regexp.MustCompile(`'([^']*)'|\S+`)

func (s *script) do(line string) {
	s.Helper()
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	var words []string
	for _, found := range word.FindAllStringSubmatch(line, -1) {
		if strings.HasPrefix(found[0], "'") {
			words = append(words, found[1])
		} else {
			words = append(words, s.expand(found[0]))
		}
	}
	not := words[0] == "!"
	if not {
		words = words[1:]
	}
	verb, rest := words[0], words[1:]
	switch verb {
	case "lifeboat", "exits":
		s.program(verb, rest)
	case "stdout", "stderr":
		said := map[string]string{"stdout": s.last.out, "stderr": s.last.err}[verb]
		if regexp.MustCompile("(?m)"+rest[0]).MatchString(said) == not {
			s.fail("%s", line)
		}
	case "exists":
		for _, name := range rest {
			if _, err := os.Lstat(s.path(name)); (err == nil) == not {
				s.fail("%s", line)
			}
		}
	case "env":
		s.env = append(s.env, rest...)
	case "id":
		var message struct{ ID string }
		s.last.last(&message)
		s.values[rest[0]] = message.ID
	default:
		s.file(verb, rest)
	}
}

func (s *script) program(verb string, rest []string) {
	code := 0
	if verb == "exits" {
		var err error
		if code, err = strconv.Atoi(rest[0]); err != nil || len(rest) < 2 || rest[1] != "lifeboat" {
			s.fail("want exits CODE lifeboat …")
		}
		rest = rest[2:]
	}
	if s.last = s.run(rest...); s.last.code != code {
		s.fail("exit code %d, want %d", s.last.code, code)
	}
	if s.last.isPlain(); code != 0 && code != 3 && !strings.Contains(s.last.err, "lifeboat: hint: ") && !json.Valid([]byte(s.last.err)) {
		s.fail("no hint")
	}
}

func (s *script) file(verb string, rest []string) {
	read := func(name string) []byte {
		data, err := os.ReadFile(s.path(name))
		if err != nil {
			s.fail("%v", err)
		}
		return data
	}
	switch verb {
	case "cmp":
		if string(read(rest[0])) != string(read(rest[1])) {
			s.fail("%s and %s differ", rest[0], rest[1])
		}
	case "cp":
		s.write(rest[1], string(read(rest[0])))
	case "rm":
		s.remove(rest[0])
	case "mkdir":
		s.make(rest[0])
	case "flip":
		offset, err := strconv.ParseInt(rest[1], 10, 64)
		if err != nil {
			s.fail("%v", err)
		}
		flip(s.T, s.path(rest[0]), offset)
	default:
		s.fail("there is no verb %s", verb)
	}
}
