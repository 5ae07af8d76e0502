package zipline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// FolderTarget is a folder of a Zipline that the backup of a folder is rebuilt in, through its API, with the token of
// any user: the folders are made one by one, parents first, and the files uploaded into them. It implements
// app.Target.
//
// What was done is seen in the target itself, so that a lost answer costs nothing: the note "folder-top" says which
// folder was made first; a folder below it is known by its name, a file by its original name and size. Files of one
// folder that have both in common are uploaded under a name of their own, and renamed once the note "folder-twins"
// has their ids. The note "folder-refused" says what Zipline would not take, and why. The note "folder-done" says that all
// was brought in once: what people change after that is theirs, as long as the top folder is there.
//
// The API cannot carry stored names and dates, views, passwords, owners, nor tags; all files get the token's user.
type FolderTarget struct {
	options TargetOptions
	client  *client
	near    func(context.Context) bool // reports whether too little is left of the deadline; for tests
}

var _ app.Target = (*FolderTarget)(nil)

// NewFolderTarget returns a target. It checks the options, with Usage errors, and asks nobody. The datasource is not
// used: all goes through the API.
func NewFolderTarget(options TargetOptions) (*FolderTarget, error) {
	target, err := NewTarget(options)
	if err != nil {
		return nil, err
	}
	return &FolderTarget{options: target.options, client: target.client, near: nearEnd}, nil
}

// Notes of a restore into a folder.
const (
	noteTop     = "folder-top"
	noteTwins   = "folder-twins"
	noteRefused = "folder-refused"
	noteDone    = "folder-done"
)

// topNote says which folder of the target is the top one.
type topNote struct {
	Before []string `json:"before"` // ids of the folders that had its name before
	ID     string   `json:"id"`     // "": it may have been made, and the answer lost
}

// rebuild is what a folder's backup asks of a target.
type rebuild struct {
	*folderMap
	me     folderUser
	into   string // id of the folder in the target; "": the root
	name   string // of the top folder
	items  map[string]entryItem
	only   bool // something is left out by --only
	files  []*upload
	wanted []*treeFolder // to be made, parents first
	gone   []string      // paths that folder.json has and the backup does not
	out    int           // files that are not chosen
}

// entryItem is what the manifest says of a path.
type entryItem struct {
	size   int64
	chosen bool
}

// upload is one file to be brought in.
type upload struct {
	*treeFile
	size int64
	name string // original name that it gets
	twin bool   // another file of its folder has the name and size too
}

// Preflight implements app.Target.
func (t *FolderTarget) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	b, err := t.plan(ctx, r)
	if err != nil {
		return app.Forecast{}, err
	}
	if err := t.into(ctx, b); err != nil {
		return app.Forecast{}, err
	}
	made, there, err := t.survey(ctx, r, b)
	if err != nil {
		return app.Forecast{}, err
	}
	f := app.Forecast{Application: "Zipline", Findings: b.findings(t.client.now())}
	f.Place = func(app.Item) (string, bool) { return "", false }
	large, err := t.limits(ctx, b, there)
	if err != nil {
		return app.Forecast{}, err
	}
	f.Findings = append(f.Findings, large...)
	folders := app.Count{What: "folders", Backup: int64(len(b.folders)), Exists: int64(len(made))}
	folders.Create = int64(len(b.wanted)) - folders.Exists
	folders.Skip = folders.Backup - folders.Exists - folders.Create
	files := app.Count{What: "files", Backup: int64(len(b.folderMap.files)), Exists: int64(there.count())}
	files.Create = int64(len(b.files)-len(large)) - files.Exists
	files.Skip = files.Backup - files.Exists - files.Create
	if done, err := ended(ctx, r); err != nil {
		return app.Forecast{}, err
	} else if done.All && made[b.wanted[0]] != nil {
		folders.Skip, folders.Create = folders.Skip+folders.Create, 0
		files.Skip, files.Create = files.Skip+files.Create, 0
		f.Findings = append(f.Findings, note("changed", b.wanted[0].Path, "this restore is done: what was changed or deleted in the target since stays as it is"))
	}
	f.Counts = []app.Count{folders, files}
	return f, nil
}

// plan reads what the backup holds and checks the wishes. It asks the target whose token it is, and nothing else.
func (t *FolderTarget) plan(ctx context.Context, r *app.Replay) (*rebuild, error) {
	if err := fits(r); err != nil {
		return nil, err
	}
	b := &rebuild{items: map[string]entryItem{}}
	for item, err := range r.Items(ctx) {
		if err != nil {
			return nil, err
		}
		if !item.Document {
			b.items[item.Path] = entryItem{item.Size, item.Chosen}
			b.only = b.only || !item.Chosen && r.Wishes.Objects
		}
	}
	document, err := r.Open(ctx, folderDocument)
	if err != nil {
		return nil, fmt.Errorf("read %s of the backup: %w", folderDocument, err)
	}
	defer document.Close()
	if b.folderMap, err = readFolderMap(document); err != nil {
		return nil, err
	}
	b.name = cmp.Or(r.Wishes.Name, b.folders[0].Name)
	if err := t.get(ctx, "ask the target whose token it is", "/api/user", "", &struct{ User *folderUser }{&b.me}); err != nil {
		return nil, err
	}
	if b.me.ID == "" {
		return nil, failure.New(failure.Invalid, "the target does not say whose token it is").
			WithHint("check that the target's url is that of Zipline itself, without a path")
	}
	b.choose(r.Wishes.Objects)
	b.into = r.Wishes.FolderInto
	if b.into == "/" || b.into == "root" {
		b.into = ""
	}
	return b, nil
}

// fits refuses what can't be rebuilt in a folder.
func fits(r *app.Replay) error {
	switch {
	case r.Kind != "zipline":
		return failure.New(failure.Usage, "--folder-into rebuilds a folder of Zipline; this is a backup of %s", cmp.Or(r.Kind, "something else")).
			WithHint("leave --folder-into out")
	case r.Folder == "":
		return failure.New(failure.Usage, "--folder-into takes the backup of one folder; this is one of a whole Zipline").
			WithHint("leave --folder-into out to restore all of it, or restore a backup that was made with `lifeboat backup SOURCE --folder`")
	case !r.Wishes.Documents:
		return failure.New(failure.Usage, "--only-objects leaves out the folders, which the files need").
			WithHint("leave --only-objects out, or choose files with --only")
	case r.Wishes.As != "" || r.Wishes.Rename:
		return failure.New(failure.Usage, "--as and --rename are about users, and the backup of a folder has none").
			WithHint("leave them out")
	}
	return nil
}

// choose finds out which folders and files are brought in.
func (b *rebuild) choose(objects bool) {
	needed := map[*treeFolder]bool{}
	byID := map[string]*treeFolder{}
	for _, f := range b.folders {
		byID[f.ID] = f
		if !b.only || b.items[f.Path].chosen {
			needed[f] = true
		}
	}
	type same struct {
		folder, name string
		size         int64
	}
	twins := map[same]*upload{}
	for i := range b.folderMap.files {
		f := &b.folderMap.files[i]
		item, there := b.items[f.Path]
		switch {
		case !there:
			b.gone = append(b.gone, f.Path)
			continue
		case !item.chosen || !objects:
			b.out++
			continue
		}
		needed[f.folder] = true
		u := &upload{treeFile: f, size: item.size, name: fileName(f.wanted())}
		if first := twins[same{f.Folder, trimJS(u.name), u.size}]; first != nil {
			first.twin, u.twin = true, true
		} else {
			twins[same{f.Folder, trimJS(u.name), u.size}] = u
		}
		b.files = append(b.files, u)
	}
	for _, f := range slices.Backward(b.folders) {
		if needed[f] && f.Parent != "" {
			needed[byID[f.Parent]] = true
		}
	}
	needed[b.folders[0]] = true
	for _, f := range b.folders {
		if needed[f] {
			b.wanted = append(b.wanted, f)
		}
	}
}

// folderName returns the name that Zipline gives a folder that is asked for by name.
func (b *rebuild) folderName(f *treeFolder) string {
	name := f.Name
	if f == b.folders[0] {
		name = b.name
	}
	return cmp.Or(trimJS(name), unnamed)
}

// fileName returns the original name that a file can get: Zipline takes no slashes in one.
func fileName(name string) string {
	name = strings.NewReplacer("/", "_", `\`, "_", "\x00", "_").Replace(name)
	if name == "." || name == ".." || trimJS(name) == "" {
		return unnamed
	}
	return name
}

// trimJS cuts what JavaScript's trim cuts.
func trimJS(text string) string {
	return strings.TrimFunc(text, func(c rune) bool {
		return strings.ContainsRune("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff", c) || c >= 0x2000 && c <= 0x200a
	})
}

// into looks at the folder that the tree goes into.
func (t *FolderTarget) into(ctx context.Context, b *rebuild) error {
	if b.into == "" {
		return nil
	}
	var f folderRow
	err := t.get(ctx, "look at the folder of the target", "/api/user/folders/"+escape(b.into), "noincl=true", &f)
	switch {
	case failure.KindOf(err) == failure.NotFound:
		return failure.New(failure.NotFound, "the target has no folder %q that the token's user may use", shorten(b.into)).
			WithHint("give --folder-into the id of a folder of the user %s, or root", plain.Text(shorten(b.me.Username)))
	case err != nil:
		return err
	case f.UserID != b.me.ID:
		return failure.New(failure.Denied, "the folder %q belongs to another user than the token", shorten(f.Name)).
			WithHint("Zipline lets a user make folders in folders of their own only: use the token of the folder's owner, or another folder")
	}
	return nil
}

// limits says what does not fit into the target: an error where the quota is too small for all, a finding for each
// file that is too large for it.
func (t *FolderTarget) limits(ctx context.Context, b *rebuild, there *survey) ([]app.Finding, error) {
	most, err := t.largest(ctx)
	if err != nil {
		return nil, err
	}
	var large []app.Finding
	files, bytes := int64(0), int64(0)
	for _, u := range b.files {
		switch {
		case there.has(u):
		case u.size > most:
			large = append(large, problem("too-large", u.Path, "the file has %s, and the target takes files of up to %s: raise its limit in Zipline's settings, and restore again",
				plain.Size(u.size), plain.Size(most)))
		default:
			files, bytes = files+1, bytes+u.size
		}
	}
	return large, t.quota(ctx, b.me, files, bytes)
}

// largest returns how large a file of the target may be, in bytes.
func (t *FolderTarget) largest(ctx context.Context) (int64, error) {
	var public struct {
		Files struct {
			MaxFileSize string `json:"maxFileSize"`
		} `json:"files"`
	}
	if err := t.get(ctx, "ask the target for its limits", "/api/server/public", "", &public); err != nil && !unknown(err) {
		return 0, err
	}
	if most, ok := parseBytes(public.Files.MaxFileSize); ok {
		return most, nil
	}
	return math.MaxInt64, nil
}

// quota refuses what the token's user may not store.
func (t *FolderTarget) quota(ctx context.Context, me folderUser, files, bytes int64) error {
	if me.Quota == nil || files == 0 {
		return nil
	}
	var used struct {
		Files   int64 `json:"filesUploaded"`
		Storage int64 `json:"storageUsed"`
	}
	if err := t.get(ctx, "ask the target what its user has stored", "/api/user/stats", "", &used); err != nil && !unknown(err) {
		return err
	}
	const hint = "raise the quota of the user %s in Zipline, or use the token of another one"
	if most, ok := parseBytes(me.Quota.MaxBytes); ok && me.Quota.FilesQuota == "BY_BYTES" && used.Storage+bytes > most {
		return failure.New(failure.Exhausted, "the files have %s, and of the quota of %s %s are used", plain.Size(bytes), plain.Size(most), plain.Size(used.Storage)).
			WithHint(hint, plain.Text(shorten(me.Username)))
	}
	if most := me.Quota.MaxFiles; most != nil && me.Quota.FilesQuota == "BY_FILES" && used.Files+files > *most {
		return failure.New(failure.Exhausted, "these are %d files, and of the quota of %d files %d are used", files, *most, used.Files).
			WithHint(hint, plain.Text(shorten(me.Username)))
	}
	return nil
}

// unknown reports whether an error says that this Zipline does not know what was asked: then its limits show when
// they are met.
func unknown(err error) bool {
	kind := failure.KindOf(err)
	return kind == failure.NotFound || kind == failure.Invalid || kind == failure.Denied
}

// errSoon ends a call of Replay: it goes on with the next one.
var errSoon error = failure.New(failure.Transient, "Zipline's rate limit asks to wait longer than there is time").WithHint("run again later")
