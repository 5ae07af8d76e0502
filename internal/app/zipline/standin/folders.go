package standin

import "slices"

var folderRoutes = []route{
	{pattern: "GET /api/user/folders", least: user, run: listFolders, query: object(
		field{"noincl", queryFlag}, field{"root", queryFlag}, field{"parentId", optional(text)}, field{"user", optional(text)},
	)},
	{pattern: "POST /api/user/folders", least: user, seconds: 2, run: postFolder, body: object(
		field{"name", name}, field{"isPublic", optional(truth)}, field{"files", optional(array(text))}, field{"parentId", optional(text)},
	)},
	{pattern: "GET /api/user/folders/{id}", least: user, run: getFolder, query: object(field{"noincl", queryFlag})},
	{pattern: "PUT /api/user/folders/{id}", least: user, run: putFolder, body: object(field{"id", text})},
	{pattern: "PATCH /api/user/folders/{id}", least: user, run: patchFolder, body: object(
		field{"isPublic", optional(truth)}, field{"name", optional(name)}, field{"allowUploads", optional(truth)}, field{"parentId", nullish(text)},
	)},
	{pattern: "DELETE /api/user/folders/{id}", least: user, run: deleteFolder, body: object(
		field{"delete", oneOf("file", "folder")}, field{"id", optional(name)},
		field{"childrenAction", optional(oneOf("root", "folder", "cascade", "cascade-files"))}, field{"targetFolderId", optional(text)},
	)},
}

// parentView is what a folder shows of its parent; in a list without the parent's own.
type parentView struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	ParentID *string `json:"parentId"`
}

type chainView struct {
	parentView
	Parent *chainView `json:"parent"`
}

type folderCount struct {
	Children int `json:"children"`
	Files    int `json:"files"`
}

// folderView is what the API shows of a folder; the order of the keys is Zipline's.
type folderView struct {
	ID           string        `json:"id"`
	CreatedAt    string        `json:"createdAt"`
	UpdatedAt    string        `json:"updatedAt"`
	Name         string        `json:"name"`
	Public       bool          `json:"public"`
	AllowUploads bool          `json:"allowUploads"`
	ParentID     *string       `json:"parentId"`
	UserID       string        `json:"userId"`
	Files        *[]fileView   `json:"files,omitempty"`
	Parent       any           `json:"parent,omitempty"`
	Children     *[]folderView `json:"children,omitempty"`
	Count        folderCount   `json:"_count"`
}

// folderView shows a folder; with its parent where parent says so, which null is written for.
func (d *Database) folderView(f *folderRow, parent bool) folderView {
	v := folderView{
		ID: f.ID, CreatedAt: f.CreatedAt, UpdatedAt: f.updated, Name: f.Name, Public: f.Public, AllowUploads: f.AllowUploads,
		ParentID: f.ParentID, UserID: f.UserID,
		Count: folderCount{len(d.children(f.ID)), len(d.filesIn(f.ID))},
	}
	if parent {
		var above *parentView
		if p := d.folder(value(f.ParentID)); p != nil {
			above = &parentView{p.ID, p.Name, p.ParentID}
		}
		v.Parent = above
	}
	return v
}

func (d *Database) children(folder string) []*folderRow {
	all := where(d.folders, func(f *folderRow) bool { return is(f.ParentID, folder) })
	return newest(all)
}

func (d *Database) filesIn(folder string) []*fileRow {
	return where(d.files, func(f *fileRow) bool { return is(f.FolderID, folder) })
}

func (c *call) withFiles(v folderView) folderView {
	files := []fileView{}
	for _, f := range newest(c.d.filesIn(v.ID)) {
		files = append(files, c.listed(f))
	}
	v.Files = &files
	return v
}

func listFolders(c *call) (any, error) {
	owner := c.user
	if id := c.param("user"); id != "" {
		if owner = c.d.user(id); owner == nil || !mayTouch(c.user, owner) {
			return nil, noSuchUser
		}
	}
	rows := where(c.d.folders, func(f *folderRow) bool {
		inside := c.param("parentId") == "" || is(f.ParentID, c.param("parentId"))
		return f.UserID == owner.ID && inside && (c.param("root") != "true" || f.ParentID == nil)
	})
	all := []folderView{}
	for _, f := range newest(rows) {
		v := c.d.folderView(f, true)
		if c.param("noincl") != "true" {
			v = c.withFiles(v)
		}
		all = append(all, v)
	}
	return all, nil
}

// editable returns the folder of the path where the caller may touch it.
func (c *call) editable() (*folderRow, error) {
	f := c.d.folder(c.r.PathValue("id"))
	if f == nil || !mayTouch(c.user, c.d.user(f.UserID)) {
		return nil, noSuchFolder
	}
	return f, nil
}

// getFolder shows a folder with its children and all parents. In a circle 4.6.3 walks for ever.
func getFolder(c *call) (any, error) {
	f, err := c.editable()
	if err != nil {
		return nil, err
	}
	v := c.d.folderView(f, true)
	if f.ParentID != nil {
		chain, circle := c.d.chain(*f.ParentID, map[string]bool{})
		if circle && c.s.options.Version != Newer {
			return nil, errHang
		}
		v.Parent = chain
	}
	children := []folderView{}
	for _, child := range c.d.children(f.ID) {
		children = append(children, c.d.folderView(child, false))
	}
	v.Children = &children
	if c.param("noincl") != "true" {
		v = c.withFiles(v)
	}
	return v, nil
}

// chain returns a folder with all above it, and whether that is a circle, which it is cut at.
func (d *Database) chain(id string, seen map[string]bool) (chain *chainView, circle bool) {
	f := d.folder(id)
	if f == nil || seen[id] {
		return nil, f != nil
	}
	seen[id] = true
	chain = &chainView{parentView: parentView{f.ID, f.Name, f.ParentID}}
	if f.ParentID != nil {
		chain.Parent, circle = d.chain(*f.ParentID, seen)
	}
	return chain, circle
}

func postFolder(c *call) (any, error) {
	f := &folderRow{base: base{newID(), c.now, c.now}, Name: c.trimmed("name"), UserID: c.user.ID}
	f.Public, _ = c.flag("isPublic")
	if id, _ := c.text("parentId"); id != "" {
		parent := c.d.folder(id)
		if parent == nil {
			return nil, fail(4007, "Parent folder not found")
		}
		if parent.UserID != c.user.ID {
			return nil, foreignParent
		}
		f.ParentID = &id
	}
	ids := c.texts("files")
	mine := where(c.d.files, func(o *fileRow) bool { return slices.Contains(ids, o.ID) && is(o.UserID, c.user.ID) })
	if c.has("files") && len(mine) == 0 {
		return nil, fail(1026, "No files found for the given request")
	}
	c.d.folders = append(c.d.folders, f)
	for _, file := range mine {
		file.FolderID, file.updated = &f.ID, c.now
	}
	return c.withFiles(c.d.folderView(f, true)), nil
}

// touchable returns a file that the caller may touch.
func (c *call) touchable(id string) (*fileRow, error) {
	f := c.d.file(id)
	if f == nil || !mayTouch(c.user, c.d.owner(f.UserID)) {
		return nil, noSuchFile
	}
	return f, nil
}

func putFolder(c *call) (any, error) {
	folder, err := c.editable()
	if err != nil {
		return nil, err
	}
	id, _ := c.text("id")
	file, err := c.touchable(id)
	if err != nil {
		return nil, err
	}
	if is(file.FolderID, folder.ID) {
		return nil, fail(1011, "File already in folder")
	}
	file.FolderID, file.updated, folder.updated = &folder.ID, c.now, c.now
	return c.d.folderView(folder, true), nil
}

func patchFolder(c *call) (any, error) {
	f, err := c.editable()
	if err != nil {
		return nil, err
	}
	if c.has("parentId") {
		if err := c.checkParent(f.ID, c.textOrNull("parentId")); err != nil {
			return nil, err
		}
		f.ParentID = c.textOrNull("parentId")
	}
	if public, given := c.flag("isPublic"); given {
		f.Public = public
	}
	if name := c.trimmed("name"); name != "" {
		f.Name = name
	}
	if allow, given := c.flag("allowUploads"); given {
		f.AllowUploads = allow
	}
	f.updated = c.now
	return c.d.folderView(f, true), nil
}

// checkParent says why a folder may not be moved into another. Above the other, 4.6.3 walks circles for ever.
func (c *call) checkParent(folder string, parent *string) error {
	if parent == nil {
		return nil
	}
	if *parent == folder {
		return fail(1015, "A folder cannot be its own parent")
	}
	p := c.d.folder(*parent)
	if p == nil {
		return fail(4007, "Parent folder not found")
	}
	if p.UserID != c.user.ID {
		return foreignParent
	}
	descendant := fail(1016, "Cannot move folder into one of its descendants")
	for seen := map[string]bool{}; p != nil && p.ParentID != nil; p = c.d.folder(*p.ParentID) {
		switch {
		case *p.ParentID == folder:
			return descendant
		case seen[p.ID] && c.s.options.Version == Newer:
			return descendant
		case seen[p.ID]:
			return errHang
		}
		seen[p.ID] = true
	}
	return nil
}

func deleteFolder(c *call) (any, error) {
	f, err := c.editable()
	if err != nil {
		return nil, err
	}
	if word, _ := c.text("delete"); word == "file" {
		return c.takeOut(f)
	}
	action, _ := c.text("childrenAction")
	into := c.textOrNull("targetFolderId")
	switch {
	case action == "folder" && value(into) == "":
		return nil, fail(1019, "Invalid action")
	case action == "folder":
		target := c.d.folder(*into)
		if target == nil {
			return nil, fail(4008, "Target folder not found")
		}
		if !mayTouch(c.user, c.d.user(target.UserID)) {
			refused := fail(4008, "Target folder not found")
			refused.StatusCode = 403
			return nil, refused
		}
		c.empty(f.ID, into)
	case action == "cascade" || action == "cascade-files":
		c.dropTree(f.ID, action == "cascade-files", map[string]bool{})
	}
	c.d.dropFolder(f.ID)
	return map[string]bool{"success": true}, nil
}

// takeOut takes a file out of a folder.
func (c *call) takeOut(f *folderRow) (any, error) {
	id := c.trimmed("id")
	if id == "" {
		return nil, fail(1013, "File ID is required")
	}
	file, err := c.touchable(id)
	if err != nil {
		return nil, err
	}
	if !is(file.FolderID, f.ID) {
		return nil, fail(1012, "File not in folder")
	}
	file.FolderID, file.updated, f.updated = nil, c.now, c.now
	return map[string]folderView{"folder": c.d.folderView(f, true)}, nil
}

// empty moves what is in a folder into another one.
func (c *call) empty(folder string, into *string) {
	for _, child := range c.d.children(folder) {
		child.ParentID, child.updated = into, c.now
	}
	for _, file := range c.d.filesIn(folder) {
		file.FolderID, file.updated = into, c.now
	}
}

// dropTree deletes the folders below one, and the files of all.
func (c *call) dropTree(folder string, files bool, seen map[string]bool) {
	if seen[folder] {
		return
	}
	seen[folder] = true
	for _, child := range c.d.children(folder) {
		c.dropTree(child.ID, files, seen)
	}
	if files {
		c.deleteFiles(true, c.d.filesIn(folder)...)
	}
	c.d.dropFolder(folder)
}

// dropFolder deletes a folder's row; what was in it stands at the root.
func (d *Database) dropFolder(id string) {
	d.folders = slices.DeleteFunc(d.folders, func(f *folderRow) bool { return f.ID == id })
	for _, child := range d.children(id) {
		child.ParentID = nil
	}
	for _, file := range d.filesIn(id) {
		file.FolderID = nil
	}
}
