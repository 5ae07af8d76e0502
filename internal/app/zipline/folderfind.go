package zipline

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// Folder finds the folder that a person means, for backup.Scope: by its id, or by its path, such as "Work/2024". Names
// are separated by "/"; a "/" in a name is written "\/", and a "\" "\\". "lin:Memes" is a folder of the user lin. The
// path that it returns is written that way. NotFound comes with the names that are nearest; Usage where several
// folders have the path, with their ids.
func (s *Source) Folder(ctx context.Context, text string) (id, path string, err error) {
	t := &tree{}
	if _, err := s.readRows(ctx, func(array string, row any) error {
		if array == "users" || array == "folders" {
			return t.add(array, row)
		}
		return nil
	}); err != nil {
		return "", "", err
	}
	if f := t.all[text]; f != nil {
		return f.ID, t.place(f), nil
	}
	found := t.called(text)
	switch len(found) {
	case 0:
		return "", "", errNoFolder(text).WithHint("%s", t.nearest(text))
	case 1:
		return found[0].ID, t.place(found[0]), nil
	}
	return "", "", failure.New(failure.Usage, "%d folders are called %q", len(found), shorten(text)).
		WithHint("give the id of one, or say whose it is: %s", t.listed(found))
}

// called returns the folders that have the path, oldest first.
func (t *tree) called(text string) []*treeFolder {
	var found []*treeFolder
	user, rest, ok := strings.Cut(text, ":")
	for _, f := range t.all {
		names := t.names(f)
		if slices.Equal(names, splitPath(text)) || ok && t.users[f.user] == user && slices.Equal(names, splitPath(rest)) {
			found = append(found, f)
		}
	}
	slices.SortFunc(found, func(a, b *treeFolder) int { return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID)) })
	return found
}

// names returns the names from the root to a folder.
func (t *tree) names(f *treeFolder) []string {
	var names []string
	for _, above := range chain(t.all, f) {
		names = append(names, above.Name)
	}
	slices.Reverse(names)
	return names
}

// place returns a folder's path with its owner, as Folder takes it.
func (t *tree) place(f *treeFolder) string {
	names := t.names(f)
	for i, name := range names {
		names[i] = strings.NewReplacer(`\`, `\\`, "/", `\/`).Replace(name)
	}
	path := strings.Join(names, "/")
	if user := t.users[f.user]; user != "" {
		path = user + ":" + path
	}
	return path
}

// splitPath takes a path apart; a "/" at its beginning or end is none.
func splitPath(text string) []string {
	names, name, escaped := []string{}, strings.Builder{}, false
	text = strings.TrimPrefix(text, "/")
	for i := range len(text) {
		switch c := text[i]; {
		case escaped:
			escaped = false
			name.WriteByte(c)
		case c == '\\':
			escaped = true
		case c == '/':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	if name.Len() > 0 || len(names) == 0 {
		names = append(names, name.String())
	}
	return names
}

// nearest returns a hint that names the folders whose paths are most like text.
func (t *tree) nearest(text string) string {
	if len(t.all) == 0 {
		return "this Zipline has no folders"
	}
	type near struct {
		folder           *treeFolder
		distance, length int
	}
	var all []near
	_, rest, _ := strings.Cut(text, ":")
	for _, f := range t.all {
		place := t.place(f)
		_, path, _ := strings.Cut(place, ":")
		d := min(distance(text, place), distance(text, path), distance(text, f.Name))
		if rest != "" {
			d = min(d, distance(rest, path))
		}
		all = append(all, near{f, d, len(place)})
	}
	slices.SortFunc(all, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.length, b.length), cmp.Compare(a.folder.ID, b.folder.ID))
	})
	var list []*treeFolder
	for _, n := range all[:min(len(all), 3)] {
		list = append(list, n.folder)
	}
	return "the nearest are " + t.listed(list) + `; write a "/" in a name as "\/"`
}

// listed returns the first ten folders for a hint.
func (t *tree) listed(list []*treeFolder) string {
	var words []string
	for i, f := range list {
		if i == 10 {
			words = append(words, "…")
			break
		}
		words = append(words, plain.Text(shorten(t.place(f)))+" ("+plain.Text(shorten(f.ID))+")")
	}
	return strings.Join(words, ", ")
}

// distance is how many letters two texts differ in, in any case; of long texts only the beginning counts.
func distance(a, b string) int {
	return plain.Distance(strings.ToLower(shorten(a)), strings.ToLower(shorten(b)))
}
