package files

import (
	"path"
	"slices"
	"strings"

	"lifeboat/internal/failure"
)

// pattern is one glob, cut at its slashes. "**" stands for any number of segments.
type pattern struct {
	text     string
	segments []string
	folders  bool // it matches folders only
}

// filter says what is in the backup: what an include pattern covers, or all where there is none, but nothing that an
// exclude pattern covers. A pattern covers what it matches and, of a folder, all that lies in it.
type filter struct {
	include, exclude []pattern
}

func newFilter(include, exclude []string) (filter, error) {
	var f filter
	var err error
	if f.include, err = parseAll(include); err == nil {
		f.exclude, err = parseAll(exclude)
	}
	return f, err
}

func parseAll(texts []string) ([]pattern, error) {
	var all []pattern
	for _, text := range texts {
		p, err := parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func parse(text string) (pattern, error) {
	bad := func(format string, args ...any) (pattern, error) {
		return pattern{}, failure.New(failure.Usage, "the pattern %q is none", text).WithHint(format, args...)
	}
	body, folders := strings.CutSuffix(text, "/")
	switch {
	case body == "":
		return bad("a pattern names files or folders below the root, such as cache/ or **/*.tmp")
	case body[0] == '/':
		return bad("patterns start below the root: leave out the / at the start")
	case body[0] == '!':
		return bad("there is no negation: include and exclude have lists of their own; a name that starts with ! is written [!]")
	}
	p := pattern{text: text, segments: strings.Split(body, "/"), folders: folders}
	for _, s := range p.segments {
		if _, err := path.Match(s, ""); err != nil {
			return bad("[ starts a set of characters and needs its ]; \\ takes the next character as it is")
		}
		switch {
		case s == "", s == ".", s == "..":
			return bad("no file has a name with an empty segment, . or ..")
		case s != "**" && strings.Contains(s, "**"):
			return bad("** stands alone between slashes: write a/**/*.jpg, not a/**.jpg")
		}
	}
	if p.segments[len(p.segments)-1] == "**" {
		p.segments = append(p.segments, "*") // what lies in a folder, not the folder itself
	}
	return p, nil
}

// matches reports whether the whole name is one of the pattern's.
func (p pattern) matches(name []string, folder bool) bool {
	if p.folders && !folder {
		return false
	}
	at, i := 0, 0        // in the pattern and in the name
	star, retry := -1, 0 // the last "**", and what of the name follows what it has taken
	for i < len(name) || at < len(p.segments) {
		switch {
		case at < len(p.segments) && p.segments[at] == "**":
			star, retry = at, i
			at++
			continue
		case at < len(p.segments) && i < len(name) && one(p.segments[at], name[i]):
			at, i = at+1, i+1
			continue
		case star >= 0 && retry < len(name):
			retry++
			at, i = star+1, retry
			continue
		}
		return false
	}
	return true
}

func one(pattern, segment string) bool {
	ok, err := path.Match(pattern, segment)
	return ok && err == nil
}

// below reports whether the pattern may match something in the folder of that name.
func (p pattern) below(folder []string) bool {
	for i, segment := range p.segments {
		switch {
		case segment == "**", i == len(folder):
			return true
		case !one(segment, folder[i]):
			return false
		}
	}
	return false
}

// excluded reports whether the name itself is excluded; its folders are for the caller to ask for.
func (f filter) excluded(name []string, folder bool) bool {
	return slices.ContainsFunc(f.exclude, func(p pattern) bool { return p.matches(name, folder) })
}

// included reports whether the name itself is included, and marks the patterns that say so.
func (f filter) included(name []string, folder bool, used []bool) bool {
	in := len(f.include) == 0
	for i, p := range f.include {
		if p.matches(name, folder) {
			in, used[i] = true, true
		}
	}
	return in
}

// below reports whether something in a folder, which no pattern covers, may be included.
func (f filter) below(folder []string) bool {
	return slices.ContainsFunc(f.include, func(p pattern) bool { return p.below(folder) })
}

// takes reports whether a name that was found without a walk is in the backup: it asks for its folders too.
func (f filter) takes(name []string, folder bool, used []bool) bool {
	for i := 1; i <= len(name); i++ {
		if f.excluded(name[:i], i < len(name) || folder) {
			return false
		}
	}
	in := false
	for i := 1; i <= len(name); i++ {
		in = f.included(name[:i], i < len(name) || folder, used) || in
	}
	return in
}
