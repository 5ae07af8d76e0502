package standin

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

var fileRoutes = []route{
	{pattern: "GET /api/user/files", least: user, run: listFiles},
	{pattern: "GET /api/user/files/{id}", least: user, run: getFile},
	{pattern: "GET /api/user/files/{id}/raw", least: user, run: rawByID},
	{pattern: "PATCH /api/user/files/{id}", least: user, run: patchFile, body: object(
		field{"favorite", optional(truth)}, field{"maxViews", optional(least(0))}, field{"password", nullish(text)},
		field{"originalName", optional(name)}, field{"type", optional(name)}, field{"tags", optional(array(text))},
		field{"name", optional(name)}, field{"anonymous", optional(truth)},
	)},
	{pattern: "DELETE /api/user/files/{id}", least: user, run: deleteFileRoute},
	{pattern: "PATCH /api/user/files/transaction", least: user, seconds: 2, run: patchFiles, body: object(
		field{"files", some(text)}, field{"favorite", optional(truth)}, field{"folder", optional(text)},
	)},
	{pattern: "DELETE /api/user/files/transaction", least: user, seconds: 2, run: deleteMany, body: object(
		field{"files", some(text)}, field{"delete_datasourceFiles", optional(truth)},
	)},
}

// tagView is what a file shows of a tag.
type tagView struct {
	ID        string  `json:"id"`
	CreatedAt string  `json:"createdAt"`
	UpdatedAt string  `json:"updatedAt"`
	Name      string  `json:"name"`
	Color     *string `json:"color"`
}

type thumbnailView struct {
	Path string `json:"path"`
}

// fileView is what the API shows of a file; the order of the keys is Zipline's. Password and URL stand in lists only.
type fileView struct {
	CreatedAt    string         `json:"createdAt"`
	UpdatedAt    string         `json:"updatedAt"`
	DeletesAt    *string        `json:"deletesAt"`
	Favorite     bool           `json:"favorite"`
	ID           string         `json:"id"`
	OriginalName *string        `json:"originalName"`
	Name         string         `json:"name"`
	Size         number         `json:"size"`
	Type         string         `json:"type"`
	Views        number         `json:"views"`
	MaxViews     *number        `json:"maxViews"`
	Password     any            `json:"password,omitempty"` // a *bool: null is written
	FolderID     *string        `json:"folderId"`
	Anonymous    bool           `json:"anonymous"`
	Thumbnail    *thumbnailView `json:"thumbnail"`
	Tags         []tagView      `json:"tags"`
	URL          string         `json:"url,omitempty"`
}

func (d *Database) fileView(f *fileRow) fileView {
	v := fileView{
		CreatedAt: f.CreatedAt, UpdatedAt: f.updated, DeletesAt: f.DeletesAt, Favorite: f.Favorite, ID: f.ID,
		OriginalName: f.OriginalName, Name: f.Name, Size: f.Size, Type: f.Type, Views: f.Views, MaxViews: f.MaxViews,
		FolderID: f.FolderID, Anonymous: f.anonymous, Tags: []tagView{},
	}
	if t := find(d.thumbnails, func(t *thumbnailRow) bool { return t.FileID == f.ID }); t != nil {
		v.Thumbnail = &thumbnailView{t.Path}
	}
	for _, t := range d.tags {
		if slices.Contains(t.Files, f.ID) {
			v.Tags = append(v.Tags, tagView{t.ID, t.CreatedAt, t.updated, t.Name, t.Color})
		}
	}
	return v
}

// listed shows a file in a list.
func (c *call) listed(f *fileRow) fileView {
	v := c.d.fileView(f)
	var password *bool
	if f.Password != nil {
		password = new(true)
	}
	v.Password = password
	v.URL = c.d.setting("filesRoute") + "/" + escaped(f.Name)
	return v
}

// escaped is what JavaScript's encodeURIComponent returns.
func escaped(name string) string {
	return strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(url.QueryEscape(name))
}

// listFiles answers one page, newest first.
func listFiles(c *call) (any, error) {
	owner := c.user
	if id := c.param("id"); id != "" {
		if owner = c.d.user(id); owner == nil || !mayTouch(c.user, owner) {
			return nil, noSuchUser
		}
	}
	page, err := strconv.Atoi(c.param("page"))
	perPage := 9
	if c.param("perpage") != "" && err == nil {
		perPage, err = strconv.Atoi(c.param("perpage"))
	}
	if err != nil || page < 1 || perPage < 1 {
		return nil, invalid{"querystring", problem("/page", "invalid_type", "Invalid input: expected number, received NaN", map[string]any{"expected": "number"})}
	}
	files := newest(where(c.d.files, func(f *fileRow) bool { return is(f.UserID, owner.ID) }))
	from := min((page-1)*perPage, len(files))
	views := []fileView{}
	for _, f := range files[from:min(from+perPage, len(files))] {
		views = append(views, c.listed(f))
	}
	return struct {
		Page  []fileView `json:"page"`
		Total int        `json:"total"`
		Pages int        `json:"pages"`
	}{views, len(files), int(math.Ceil(float64(len(files)) / float64(perPage)))}, nil
}

// named returns the file of the path, by its id or stored name, where the caller may touch it.
func (c *call) named() (*fileRow, error) {
	id := c.r.PathValue("id")
	f := find(c.d.files, func(f *fileRow) bool { return f.ID == id || f.Name == id })
	if f == nil || !mayTouch(c.user, c.d.owner(f.UserID)) {
		return nil, noSuchFile
	}
	return f, nil
}

func getFile(c *call) (any, error) {
	f, err := c.named()
	if err != nil {
		return nil, err
	}
	return c.d.fileView(f), nil
}

func patchFile(c *call) (any, error) {
	f, err := c.named()
	if err != nil {
		return nil, err
	}
	tags, err := c.tagsFor(f)
	if err != nil {
		return nil, err
	}
	original, err := c.cleanName("originalName")
	if err != nil {
		return nil, err
	}
	if err := c.rename(f); err != nil {
		return nil, err
	}
	if original != "" {
		f.OriginalName = &original
	}
	if favorite, given := c.flag("favorite"); given {
		f.Favorite = favorite
	}
	if kind, given := c.text("type"); given {
		f.Type = kind
	}
	if c.has("maxViews") {
		f.MaxViews = c.numberOrNull("maxViews")
	}
	if c.has("password") {
		password, _ := c.text("password")
		f.Password = hashed(password)
	}
	if anonymous, given := c.flag("anonymous"); given && c.s.options.Version == Newer {
		f.anonymous = anonymous
	}
	if tags != nil {
		c.d.setTags(f.ID, tags)
	}
	f.updated = c.now
	return c.d.fileView(f), nil
}

// tagsFor returns the tags that a change asks for, which must be those of the file's owner; nil where it asks for none.
func (c *call) tagsFor(f *fileRow) ([]*tagRow, error) {
	if !c.has("tags") {
		return nil, nil
	}
	owner := c.user.ID
	if f.UserID != nil {
		owner = *f.UserID
	}
	ids := c.texts("tags")
	tags := where(c.d.tags, func(t *tagRow) bool { return slices.Contains(ids, t.ID) && is(t.UserID, owner) })
	if len(tags) != len(ids) {
		return nil, fail(1032, "Invalid tag specified")
	}
	return tags, nil
}

func (d *Database) setTags(file string, tags []*tagRow) {
	for _, t := range d.tags {
		t.Files = slices.DeleteFunc(t.Files, func(id string) bool { return id == file })
		if slices.Contains(tags, t) {
			t.Files = append(t.Files, file)
		}
	}
}

// cleanName returns a name of the body that may be stored; "" where none is given.
func (c *call) cleanName(member string) (string, error) {
	if !c.has(member) {
		return "", nil
	}
	clean, err := c.s.options.Version.sanitize(c.trimmed(member))
	if err == nil && clean == "" {
		err = invalid{"body", problem("/"+member, "custom", "Invalid path", nil)}
	}
	return clean, err
}

// rename gives a file and its object another stored name.
func (c *call) rename(f *fileRow) error {
	to, err := c.cleanName("name")
	if err != nil || to == "" || to == f.Name {
		return err
	}
	if find(c.d.files, func(o *fileRow) bool { return o.Name == to }) != nil {
		return fail(1014, "File with this name already exists")
	}
	err = c.s.inDatasource(func(root *os.Root) error { return root.Rename(f.Name, to) })
	if err != nil {
		return fail(6002, "Failed to rename file in datasource")
	}
	f.Name = to
	return nil
}

func deleteFileRoute(c *call) (any, error) {
	f, err := c.named()
	if err != nil {
		return nil, err
	}
	view := c.d.fileView(f)
	c.deleteFiles(true, f)
	return view, nil
}

// deleteFiles deletes rows of files with what hangs on them, and their objects where bytes says so.
func (c *call) deleteFiles(bytes bool, files ...*fileRow) {
	gone := map[string]bool{}
	for _, f := range files {
		gone[f.ID] = true
	}
	c.d.files = slices.DeleteFunc(c.d.files, func(f *fileRow) bool { return gone[f.ID] })
	c.d.thumbnails = slices.DeleteFunc(c.d.thumbnails, func(t *thumbnailRow) bool { return gone[t.FileID] })
	for _, t := range c.d.tags {
		t.Files = slices.DeleteFunc(t.Files, func(id string) bool { return gone[id] })
	}
	if bytes {
		for _, f := range files {
			c.s.deleteObject(f.Name)
		}
	}
}

// inDatasource does something in the folder of the objects; nothing where there is none.
func (s *Server) inDatasource(do func(*os.Root) error) error {
	if s.options.Datasource == "" {
		return nil
	}
	root, err := os.OpenRoot(s.options.Datasource)
	if err != nil {
		return fmt.Errorf("open the datasource: %w", err)
	}
	defer root.Close()
	return do(root)
}

// deleteObject deletes an object. Zipline ignores one that is missing.
func (s *Server) deleteObject(name string) {
	_ = s.inDatasource(func(root *os.Root) error { return root.Remove(name) })
}

// chosen returns the files of a bulk request, and the places in it of those that the caller may not touch.
func (c *call) chosen() (files []*fileRow, foreign []string) {
	ids := c.texts("files")
	files = where(c.d.files, func(f *fileRow) bool { return slices.Contains(ids, f.ID) })
	for i, f := range files {
		if !mayTouch(c.user, c.d.owner(f.UserID)) {
			foreign = append(foreign, strconv.Itoa(i))
		}
	}
	return files, foreign
}

type bulk struct {
	Count int    `json:"count"`
	Name  string `json:"name,omitempty"`
}

func patchFiles(c *call) (any, error) {
	files, foreign := c.chosen()
	if favorite, given := c.flag("favorite"); given {
		if len(foreign) > 0 {
			return nil, fail(3014, "You don't have the permission to modify files["+strings.Join(foreign, ", ")+"]")
		}
		if len(files) == 0 {
			return nil, fail(1028, "No files were updated.")
		}
		for _, f := range files {
			f.Favorite, f.updated = favorite, c.now
		}
		return bulk{Count: len(files)}, nil
	}
	id, _ := c.text("folder")
	if id == "" {
		return nil, fail(1020, "Cannot PATCH without an action")
	}
	folder := c.d.folder(id)
	if folder == nil || folder.UserID != c.user.ID {
		return nil, noSuchFolder
	}
	files = where(files, func(f *fileRow) bool { return is(f.UserID, c.user.ID) })
	if len(files) == 0 {
		return nil, fail(4006, "No files were moved.")
	}
	for _, f := range files {
		f.FolderID, f.updated = &id, c.now
	}
	return bulk{len(files), folder.Name}, nil
}

func deleteMany(c *call) (any, error) {
	files, foreign := c.chosen()
	if len(foreign) > 0 {
		return nil, fail(3013, "You don't have the permission to delete files["+strings.Join(foreign, ", ")+"]")
	}
	if len(files) == 0 {
		return nil, fail(1027, "No files were deleted.")
	}
	too, _ := c.flag("delete_datasourceFiles")
	c.deleteFiles(too, files...)
	return bulk{Count: len(files)}, nil
}
