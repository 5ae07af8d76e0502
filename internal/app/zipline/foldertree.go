package zipline

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// tree is one folder of an export with all that lies in it. The rows are added in any order that the export has.
type tree struct {
	*export
	root    string
	folders []*treeFolder // parents first; the first one is the root
	files   []treeFile    // by folder, then by age
	found   []app.Finding

	path    string                   // of the root in Zipline, as Folder takes it
	late    bool                     // files came before folders: they have to be read again
	again   bool                     // this is the second reading
	all     map[string]*treeFolder   // every folder of the instance, by id
	users   map[string]string        // names by id
	kids    map[string][]*treeFolder // of the tree, by the id of their parent
	tags    []tagRow
	badMore int // rows with bad names
}

// treeFolder is a folder of Zipline. Its fields with names are those of folder.json.
type treeFolder struct {
	ID      string `json:"id"`
	Name    string `json:"name"`             // as in Zipline
	Path    string `json:"path"`             // in the archive; ends with "/"
	Parent  string `json:"parent,omitempty"` // id; "" for the top folder
	Owner   string `json:"owner,omitempty"`  // name of the user
	Public  bool   `json:"public"`
	Uploads bool   `json:"allowUploads"`
	Created string `json:"createdAt"`

	user  string // id of the owner
	rows  int    // files that the folder's row lists; -1: it doesn't say
	kept  int    // files of the tree in it
	order int    // in tree.folders
	taken bool   // it belongs to the tree
}

// treeFile is a file of Zipline, as in folder.json.
type treeFile struct {
	Stored    string   `json:"stored"`         // name of the object, and of the file's address
	Name      *string  `json:"name"`           // original name; null: Zipline has none
	Path      string   `json:"path"`           // in the archive
	Folder    string   `json:"folder"`         // id
	Type      string   `json:"type,omitempty"` // MIME
	Size      int64    `json:"size"`           // bytes, as the export says; -1: it doesn't
	Favorite  bool     `json:"favorite,omitempty"`
	Views     int64    `json:"views,omitempty"`
	MaxViews  int64    `json:"maxViews,omitempty"`  // 0: no limit
	DeletesAt string   `json:"deletesAt,omitempty"` // "": never
	Created   string   `json:"createdAt"`
	Protected bool     `json:"protected,omitempty"` // it has a password, which is not in the backup
	Tags      []string `json:"tags,omitempty"`

	id     string
	folder *treeFolder
}

// tagRow is a tag of the export.
type tagRow struct {
	name  string
	files []string
}

// add takes one row of the export.
func (t *tree) add(array string, value any) error {
	row, ok := value.(map[string]any)
	if !ok {
		return nil // the schema has said so
	}
	switch array {
	case "users":
		t.addUser(row)
	case "folders":
		t.addFolder(row)
	case "userTags":
		t.addTag(row)
	case "files":
		return t.addFile(row)
	}
	return nil
}

func (t *tree) addUser(row map[string]any) {
	if t.users == nil {
		t.users = map[string]string{}
	}
	t.users[str(row, "id")] = str(row, "username")
}

func (t *tree) addFolder(row map[string]any) {
	if t.all == nil {
		t.all = map[string]*treeFolder{}
	}
	f := &treeFolder{
		ID: str(row, "id"), Name: str(row, "name"), Parent: str(row, "parentId"), user: str(row, "userId"),
		Public: row["public"] == true, Uploads: row["allowUploads"] == true, Created: str(row, "createdAt"), rows: -1,
	}
	if files, ok := row["files"].([]any); ok {
		f.rows = len(files)
	}
	if t.all[f.ID] == nil && f.ID != "" {
		t.all[f.ID] = f
	}
}

func (t *tree) addTag(row map[string]any) {
	if t.again {
		return // it is known from the first reading
	}
	tag := tagRow{name: str(row, "name")}
	list, _ := row["files"].([]any)
	for _, id := range list {
		if id, ok := id.(string); ok {
			tag.files = append(tag.files, id)
		}
	}
	t.tags = append(t.tags, tag)
}

func (t *tree) addFile(row map[string]any) error {
	id := str(row, "folderId")
	switch {
	case id == "":
		return nil
	case t.all == nil:
		t.late = true
		return nil
	}
	if err := t.gather(); err != nil {
		return err
	}
	folder := t.all[id]
	if folder == nil || !folder.taken {
		return nil
	}
	folder.kept++
	name, ok := row["name"].(string)
	if !ok || !objectName(name) {
		if t.badMore++; t.badMore <= maxBadNames {
			t.found = append(t.found, problem("bad-name", shorten(name),
				"the export holds a row with the name %q, which no object can have: it was not looked for; correct or delete the row in Zipline", shorten(name)))
		}
		return nil
	}
	if len(t.files) == maxTreeFiles {
		return failure.New(failure.Exhausted, "the folder and those below it hold more than %d files", maxTreeFiles).
			WithHint("back up the folders in it one by one, or the whole source")
	}
	t.files = append(t.files, fileOf(row, name, folder))
	return nil
}

func fileOf(row map[string]any, name string, folder *treeFolder) treeFile {
	f := treeFile{
		Stored: name, Folder: folder.ID, folder: folder, id: str(row, "id"), Type: str(row, "type"), Size: sizeOf(row),
		Favorite: row["favorite"] == true, Views: whole(row, "views"), MaxViews: whole(row, "maxViews"),
		DeletesAt: str(row, "deletesAt"), Created: str(row, "createdAt"), Protected: str(row, "password") != "",
	}
	if original, ok := row["originalName"].(string); ok && original != "" {
		f.Name = &original
	}
	return f
}

// wanted returns the name that people know the file by.
func (f *treeFile) wanted() string {
	if f.Name != nil {
		return *f.Name
	}
	return f.Stored
}

// gather finds the folders of the tree once all folders are known.
func (t *tree) gather() error {
	if len(t.folders) > 0 {
		return nil
	}
	root := t.all[t.root]
	if root == nil {
		return errNoFolder(t.root).WithHint("it was deleted since; name another one with --folder")
	}
	children := map[string][]*treeFolder{}
	for _, f := range t.all {
		if f.Parent != "" {
			children[f.Parent] = append(children[f.Parent], f)
		}
	}
	if above := chain(t.all, root); above[len(above)-1].Parent != "" && t.all[above[len(above)-1].Parent] != nil {
		t.found = append(t.found, note("cycle", shorten(root.Name), "the folder lies in a folder that lies in itself: the circle was cut above it; move it to the root in Zipline"))
	}
	t.path = t.place(root)
	t.take(root)
	for i := 0; i < len(t.folders); i++ { // it grows
		below := children[t.folders[i].ID]
		slices.SortFunc(below, func(a, b *treeFolder) int { return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID)) })
		for _, f := range below {
			if !f.taken {
				t.take(f)
			}
		}
	}
	root.Parent = ""
	return nil
}

func (t *tree) take(f *treeFolder) {
	f.taken, f.order, f.Owner = true, len(t.folders), t.users[f.user]
	t.folders = append(t.folders, f)
}

// chain returns a folder and those above it, the nearest first; it ends before a folder comes twice.
func chain(all map[string]*treeFolder, f *treeFolder) []*treeFolder {
	seen, list := map[*treeFolder]bool{}, []*treeFolder{}
	for ; f != nil && !seen[f]; f = all[f.Parent] {
		seen[f] = true
		list = append(list, f)
	}
	return list
}

// tag hands the names of tags to the files, and puts the files in order.
func (t *tree) tag() {
	at := make(map[string]int, len(t.files))
	for i := range t.files {
		at[t.files[i].id] = i
	}
	for _, tag := range t.tags {
		for _, id := range tag.files {
			if i, ok := at[id]; ok {
				t.files[i].Tags = append(t.files[i].Tags, tag.name)
			}
		}
	}
	t.tags = nil
	for i := range t.files {
		slices.Sort(t.files[i].Tags)
	}
	slices.SortFunc(t.files, func(a, b treeFile) int {
		return cmp.Or(cmp.Compare(a.folder.order, b.folder.order), cmp.Compare(a.Created, b.Created), cmp.Compare(a.Stored, b.Stored), cmp.Compare(a.id, b.id))
	})
	for _, f := range t.folders {
		if f.rows >= 0 && f.rows != f.kept {
			t.found = append(t.found, note("changed", shorten(f.Name), "the export lists %d files in the folder and has %d rows of such files: something changed meanwhile", f.rows, f.kept))
		}
	}
	if more := t.badMore - maxBadNames; more > 0 {
		t.found = append(t.found, problem("bad-name", folderDocument, "%d further rows have names that no object can have", more))
	}
}

// whole returns a member that is a whole number, or 0.
func whole(row map[string]any, key string) int64 {
	number, _ := row[key].(json.Number)
	n, _ := number.Int64()
	return max(n, 0)
}

// dateOf reads a date as Zipline writes it; the zero time where it is none.
func dateOf(text string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, text)
	return at.UTC()
}
