package foreign

import (
	"bufio"
	"errors"
	"io"
	"slices"
)

// export is what a scan learns of an export of Zipline.
type export struct {
	zipline, node, format string
	counts                map[string]int64 // rows by kind; only of a whole scan
}

// errNoExport says that a text is no export of Zipline.
var errNoExport = errors.New("it is no export of Zipline")

// errKnown ends a scan that has seen enough.
var errKnown = errors.New("enough")

// rows are the lists of an export, of format 4 below "data" and of format 3 at the top, where they may be objects.
var rows = map[string][]string{
	"4": {"users", "userPasskeys", "userQuotas", "userOauthProviders", "userTags", "invites", "folders", "urls", "files", "thumbnails", "metrics"},
	"3": {"users", "files", "thumbnails", "folders", "urls", "invites", "stats"},
}

// scanExport reads an export of Zipline, to its end if whole, and no further than its versions if not. It holds a buffer in
// memory, whatever the text holds, and judges the structure only as far as it must: the adapter's own reader says
// what is wrong with an export. errNoExport: it is none, or ends too early.
func scanExport(r io.Reader, whole bool) (export, error) {
	s := &scanner{r: bufio.NewReaderSize(r, 64<<10)}
	e := export{counts: map[string]int64{}}
	top := map[string]int64{}
	err := s.object(func(key string, first token) error {
		switch {
		case key == "versions" && first.kind == '{':
			if err := s.members(e.version(s)); err != nil {
				return err
			}
			if !whole && e.known() {
				return errKnown
			}
			return nil
		case key == "data" && first.kind == '{':
			return s.members(func(key string, first token) error { return s.count(e.counts, "4", key, first) })
		}
		return s.count(top, "3", key, first)
	})
	switch {
	case err != nil && !errors.Is(err, errKnown):
		return export{}, err
	case !e.known():
		return export{}, errNoExport
	case e.format == "3":
		e.counts = top
	}
	return e, nil
}

func (e *export) known() bool { return e.zipline != "" && (e.format == "4" || e.format == "3") }

// version takes the members of "versions".
func (e *export) version(s *scanner) func(key string, first token) error {
	return func(key string, first token) error {
		switch key {
		case "zipline":
			e.zipline = first.text
		case "node":
			e.node = first.text
		case "export":
			e.format = first.text
		}
		return s.skip(first)
	}
}

// scanner reads JSON token by token and keeps none of it.
type scanner struct {
	r *bufio.Reader
}

// token is a bracket, a comma or a colon, or a value: '"' for a string and '0' for any other.
type token struct {
	kind byte
	text string // of a value: its beginning, with escapes as they are
}

// maxText is how much of a value is kept.
const maxText = 100

func (s *scanner) token() (token, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return token{}, ended(err)
		}
		switch c {
		case ' ', '\t', '\r', '\n':
		case '{', '}', '[', ']', ',', ':':
			return token{kind: c}, nil
		case '"':
			return s.quoted()
		default:
			return s.literal(c)
		}
	}
}

// ended makes the end of the text the end of the export.
func ended(err error) error {
	if err == io.EOF {
		return errNoExport
	}
	return err
}

func (s *scanner) quoted() (token, error) {
	var text []byte
	for escaped := false; ; {
		c, err := s.r.ReadByte()
		if err != nil {
			return token{}, ended(err)
		}
		if c == '"' && !escaped {
			return token{'"', string(text)}, nil
		}
		escaped = c == '\\' && !escaped
		if len(text) < maxText {
			text = append(text, c)
		}
	}
}

func (s *scanner) literal(c byte) (token, error) {
	text := []byte{c}
	for {
		next, err := s.r.Peek(1)
		if err == io.EOF {
			return token{'0', string(text)}, nil
		}
		if err != nil {
			return token{}, err
		}
		switch next[0] {
		case ' ', '\t', '\r', '\n', '{', '}', '[', ']', ',', ':', '"':
			return token{'0', string(text)}, nil
		}
		if len(text) < maxText {
			text = append(text, next[0])
		} else if next[0] < ' ' || next[0] > '~' {
			return token{}, errNoExport // no JSON goes on like this
		}
		_, _ = s.r.Discard(1)
	}
}

// object reads the object that comes next.
func (s *scanner) object(each func(key string, first token) error) error {
	first, err := s.token()
	if err == nil && first.kind != '{' {
		err = errNoExport
	}
	if err != nil {
		return err
	}
	return s.members(each)
}

// members reads the members of an object whose "{" is read; each reads the value that begins with first.
func (s *scanner) members(each func(key string, first token) error) error {
	for {
		key, err := s.token()
		switch {
		case err != nil:
			return err
		case key.kind == '}':
			return nil
		case key.kind == ',':
			continue
		case key.kind != '"':
			return errNoExport
		}
		colon, err := s.token()
		if err == nil && colon.kind != ':' {
			err = errNoExport
		}
		if err != nil {
			return err
		}
		first, err := s.token()
		if err != nil {
			return err
		}
		if err := each(key.text, first); err != nil {
			return err
		}
	}
}

// skip reads the rest of the value that begins with first.
func (s *scanner) skip(first token) error {
	for depth := 0; ; {
		switch first.kind {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':':
			if depth == 0 {
				return errNoExport
			}
		}
		if depth <= 0 {
			return nil
		}
		var err error
		if first, err = s.token(); err != nil {
			return err
		}
	}
}

// count counts the rows of a list or object that a format has.
func (s *scanner) count(counts map[string]int64, format, key string, first token) error {
	if !slices.Contains(rows[format], key) || first.kind != '[' && (first.kind != '{' || format != "3") {
		return s.skip(first)
	}
	counts[key] = 0
	if first.kind == '{' {
		return s.members(func(_ string, first token) error {
			counts[key]++
			return s.skip(first)
		})
	}
	for {
		element, err := s.token()
		switch {
		case err != nil:
			return err
		case element.kind == ']':
			return nil
		case element.kind == ',':
			continue
		}
		counts[key]++
		if err := s.skip(element); err != nil {
			return err
		}
	}
}
