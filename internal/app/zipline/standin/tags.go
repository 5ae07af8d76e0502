package standin

import (
	"regexp"
	"slices"
)

var color = such(text, "Invalid string: must match pattern /^#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})$/", func(value any) bool {
	return colorPattern.MatchString(value.(string))
})

var colorPattern = regexp.MustCompile(`^#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})$`)

var tagRoutes = []route{
	{pattern: "GET /api/user/tags", least: user, run: listTags},
	{pattern: "POST /api/user/tags", least: user, seconds: 1, run: postTag, body: object(field{"name", name}, field{"color", color})},
	{pattern: "GET /api/user/tags/{id}", least: user, run: getTag},
	{pattern: "PATCH /api/user/tags/{id}", least: user, run: patchTag, body: object(field{"name", optional(name)}, field{"color", optional(color)})},
	{pattern: "DELETE /api/user/tags/{id}", least: user, run: deleteTag},
}

// ownTag is what the API shows of a tag: each user sees their own only.
type ownTag struct {
	tagView
	Files []idOnly `json:"files"`
}

type idOnly struct {
	ID string `json:"id"`
}

func showTag(t *tagRow) ownTag {
	v := ownTag{tagView{t.ID, t.CreatedAt, t.updated, t.Name, t.Color}, []idOnly{}}
	for _, id := range t.Files {
		v.Files = append(v.Files, idOnly{id})
	}
	return v
}

func listTags(c *call) (any, error) {
	all := []ownTag{}
	for _, t := range c.d.tags {
		if is(t.UserID, c.user.ID) {
			all = append(all, showTag(t))
		}
	}
	return all, nil
}

func (d *Database) tagNamed(name string) *tagRow {
	return find(d.tags, func(t *tagRow) bool { return t.Name == name })
}

// postTag makes a tag. Only the caller's own are looked through for the name, though it is unique among all.
func postTag(c *call) (any, error) {
	name := c.trimmed("name")
	if other := c.d.tagNamed(name); other != nil {
		if is(other.UserID, c.user.ID) {
			return nil, fail(1033, "Cannot create tag with the same name")
		}
		return nil, exception{"unique constraint failed: name"}
	}
	t := &tagRow{base: base{newID(), c.now, c.now}, Name: name, Color: c.textOrNull("color"), Files: []string{}, UserID: &c.user.ID}
	c.d.tags = append(c.d.tags, t)
	return showTag(t), nil
}

func (c *call) ownTag() (*tagRow, error) {
	t := find(c.d.tags, func(t *tagRow) bool { return t.ID == c.r.PathValue("id") && is(t.UserID, c.user.ID) })
	if t == nil {
		return nil, notFound
	}
	return t, nil
}

func getTag(c *call) (any, error) {
	t, err := c.ownTag()
	if err != nil {
		return nil, err
	}
	return showTag(t), nil
}

func patchTag(c *call) (any, error) {
	t, err := c.ownTag()
	if err != nil {
		return nil, err
	}
	if name := c.trimmed("name"); name != "" {
		if c.d.tagNamed(name) != nil {
			return nil, fail(1034, "Tag name already exists")
		}
		t.Name = name
	}
	if c.has("color") {
		t.Color = c.textOrNull("color")
	}
	t.updated = c.now
	return showTag(t), nil
}

func deleteTag(c *call) (any, error) {
	t, err := c.ownTag()
	if err != nil {
		return nil, err
	}
	c.d.tags = slices.DeleteFunc(c.d.tags, func(o *tagRow) bool { return o == t })
	return map[string]bool{"success": true}, nil
}
