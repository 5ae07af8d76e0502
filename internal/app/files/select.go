package files

import "strings"

// Globs are patterns that choose paths, as `include` spells them: each chooses what it matches and, of a folder, all
// that lies in it.
type Globs struct {
	filter filter
	used   []bool
}

// ParseGlobs reads patterns; what is none is Usage.
func ParseGlobs(patterns []string) (*Globs, error) {
	f, err := newFilter(patterns, nil)
	return &Globs{f, make([]bool, len(patterns))}, err
}

// Match reports whether a path is chosen; an empty directory's ends with "/". No patterns choose all.
func (g *Globs) Match(path string) bool {
	name, folder := strings.CutSuffix(path, "/")
	return g.filter.takes(strings.Split(name, "/"), folder, g.used)
}

// Unused returns the patterns that have chosen nothing so far.
func (g *Globs) Unused() []string {
	var unused []string
	for i, p := range g.filter.include {
		if !g.used[i] {
			unused = append(unused, p.text)
		}
	}
	return unused
}
