package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader walks the nodes of one file and collects what is wrong. Its methods return the zero value for what they
// have reported, so that the walk goes on and finds the rest.
type reader struct {
	base     string
	vault    Location // for what must lie apart from it
	stateDir string
	problems []Problem
	warnings []Problem
}

// value is what stands at one place of the file.
type value struct {
	name string // as messages call it: "sources.photos.url"
	line int
	node *yaml.Node // nil: the key is not there
}

func (v value) absent() bool { return v.node == nil }

// null reports whether the key is there without a value.
func (v value) null() bool { return v.node != nil && v.node.ShortTag() == "!!null" }

func (v value) isTable() bool { return v.node != nil && v.node.Kind == yaml.MappingNode }

// describe says what stands there, never its text, which may be a secret.
func (v value) describe() string {
	switch {
	case v.node.Kind == yaml.MappingNode:
		return "keys and values"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	case v.null():
		return "nothing"
	case v.node.ShortTag() == "!!bool":
		return "true or false"
	case !untagged(v.node):
		return "a value with the tag " + fmt.Sprintf("%.40q", v.node.Tag)
	}
	return "text"
}

func untagged(n *yaml.Node) bool {
	return slices.Contains([]string{"!!str", "!!int", "!!float", "!!timestamp"}, n.ShortTag())
}

// problem reports something wrong with v. The message starts with v's name.
func (r *reader) problem(v value, format string, args ...any) {
	name := v.name
	if name == "" {
		name = "the file"
	}
	r.problems = append(r.problems, Problem{Line: v.line, Message: name + " " + fmt.Sprintf(format, args...)})
}

func (r *reader) warn(v value, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{Line: v.line, Message: v.name + " " + fmt.Sprintf(format, args...)})
}

// table is a mapping of which each key was seen once.
type table struct {
	r      *reader
	self   value
	fields []value // in the file's order; name is the whole path
	keys   []string
	broken bool // it is no mapping, and that was reported
}

// open reads v as a mapping with any keys. An absent or empty v is an empty table.
func (r *reader) open(v value) table {
	t := table{r: r, self: v}
	if v.absent() || v.null() {
		return t
	}
	if !v.isTable() {
		r.problem(v, "must hold keys and values, not %s", v.describe())
		t.broken = true
		return t
	}
	for pair := range slices.Chunk(v.node.Content, 2) {
		t.add(pair[0], pair[1])
	}
	return t
}

// add takes one key and its value, and reports a key that is no text or came before.
func (t *table) add(key, content *yaml.Node) {
	key, content = follow(key), follow(content)
	at := value{t.path(printable(key.Value)), key.Line, content}
	switch first := slices.Index(t.keys, key.Value); {
	case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
		t.r.problem(at, "can't be used: merging keys is not supported; write them out")
	case key.Kind != yaml.ScalarNode || !untagged(key):
		t.r.problem(value{name: "a key", line: key.Line}, "must be text; put it in quotes")
	case first >= 0:
		t.r.problem(at, "stands here for the second time; line %d has it already", t.fields[first].line)
	default:
		t.keys, t.fields = append(t.keys, key.Value), append(t.fields, at)
	}
}

func (t *table) path(key string) string {
	if t.self.name == "" {
		return key
	}
	return t.self.name + "." + key
}

// table reads v as a mapping with these keys and reports every other.
func (r *reader) table(v value, known ...string) table {
	t := r.open(v)
	t.only(known)
	return t
}

// only reports every key but the known ones.
func (t *table) only(known []string) {
	for i, key := range t.keys {
		if slices.Contains(known, key) {
			continue
		}
		hint := didYouMean(key, known)
		if hint == "" {
			hint = "known here: " + strings.Join(known, ", ")
		}
		t.r.problem(t.fields[i], "is not a key that lifeboat knows; %s", strings.TrimSpace(hint))
	}
}

// at returns what stands at key; it may be absent.
func (t *table) at(key string) value {
	if i := slices.Index(t.keys, key); i >= 0 {
		return t.fields[i]
	}
	return value{name: t.path(key), line: t.self.line}
}

// need returns what stands at key and reports when nothing does.
func (t *table) need(key string) value {
	v := t.at(key)
	if v.absent() && !t.broken {
		t.r.problem(v, "is missing")
	}
	return v
}

// text reads v as text that is not empty; "" where it is absent or was reported.
func (r *reader) text(v value) string {
	switch {
	case v.absent():
	case v.node.Kind != yaml.ScalarNode || !untagged(v.node) && !v.null():
		quotes := ""
		if v.node.Kind == yaml.ScalarNode {
			quotes = "; put it in quotes"
		}
		r.problem(v, "must be text, not %s%s", v.describe(), quotes)
	case v.null() || strings.TrimSpace(v.node.Value) == "":
		r.problem(v, "has no value")
	case strings.ContainsFunc(v.node.Value, func(c rune) bool { return c < ' ' || c == 0x7f }):
		r.problem(v, "must be one line without control characters")
	default:
		return v.node.Value
	}
	return ""
}

// flag reads v as on or off; fallback where it is absent or was reported.
func (r *reader) flag(v value, fallback bool) bool {
	if v.absent() {
		return fallback
	}
	if v.node.Kind == yaml.ScalarNode {
		switch strings.ToLower(v.node.Value) {
		case "on", "true", "yes":
			return true
		case "off", "false", "no":
			return false
		}
	}
	r.problem(v, "must be on or off (or true, false)")
	return fallback
}

// list returns the elements of v, each named after v and its place; one text counts as a list of one.
func (r *reader) list(v value) []value {
	switch {
	case v.absent():
		return nil
	case v.node.Kind == yaml.ScalarNode && untagged(v.node):
		return []value{v}
	case v.node.Kind != yaml.SequenceNode:
		r.problem(v, "must be a list, such as [one, two], not %s", v.describe())
		return nil
	case len(v.node.Content) == 0:
		r.problem(v, "is an empty list; leave it out")
		return nil
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = value{fmt.Sprintf("%s[%d]", v.name, i+1), n.Line, follow(n)}
	}
	return items
}

// follow returns the node that an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// printable returns a key as messages may show it: short, and quoted when it holds anything unusual.
func printable(key string) string {
	runes := []rune(key)
	if len(runes) > 60 {
		key = string(runes[:60]) + "…"
	}
	usual := func(c rune) bool {
		return c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return !usual(c) }) {
		return fmt.Sprintf("%q", key)
	}
	return key
}
