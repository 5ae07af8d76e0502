package zipline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// survey is which files of the backup are in the target already.
type survey struct {
	of map[*upload]*fileOnTarget
}

func (s *survey) has(u *upload) bool { return s != nil && s.of[u] != nil }

// count counts the files that are there.
func (s *survey) count() int { return len(s.of) }

// survey finds what this restore has made before: the folders, and the files in them.
func (t *FolderTarget) survey(ctx context.Context, r *app.Replay, b *rebuild) (map[*treeFolder]*folderRow, *survey, error) {
	made, err := t.made(ctx, r, b)
	if err != nil {
		return nil, nil, err
	}
	there := &survey{of: map[*upload]*fileOnTarget{}}
	twins, err := twinsOf(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	for folder, uploads := range b.byFolder() {
		if made[folder] == nil {
			continue
		}
		listed, err := t.filesIn(ctx, made[folder].ID)
		if err != nil {
			return nil, nil, err
		}
		known(uploads, listed, twins, there.of)
	}
	return made, there, nil
}

// byFolder yields the uploads of each folder, which follow one another.
func (b *rebuild) byFolder() func(yield func(*treeFolder, []*upload) bool) {
	return func(yield func(*treeFolder, []*upload) bool) {
		for rest := b.files; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].folder == rest[0].folder {
				n++
			}
			if !yield(rest[0].folder, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// known finds the uploads among the files of their folder in the target: by the name that they travel under, by the
// noted id of a twin, or by original name and size.
func known(uploads []*upload, listed []*fileOnTarget, twins map[string]string, of map[*upload]*fileOnTarget) {
	type same struct {
		name string
		size int64
	}
	byName, byID, taken := map[same][]*fileOnTarget{}, map[string]*fileOnTarget{}, map[*fileOnTarget]bool{}
	for _, f := range listed {
		key := same{trimJS(valueOf(f.Original)), f.Size}
		byName[key] = append(byName[key], f)
		byID[f.ID] = f
	}
	claim := func(u *upload, list ...*fileOnTarget) {
		for _, f := range list {
			if f != nil && of[u] == nil && !taken[f] {
				of[u], taken[f] = f, true
			}
		}
	}
	for _, u := range uploads {
		if u.carried() {
			claim(u, byName[same{u.carrier(), u.size}]...)
			claim(u, byID[twins[u.Path]])
		}
	}
	for _, spelled := range []func(string) string{func(name string) string { return name }, percent} {
		for _, u := range uploads {
			if !u.twin {
				claim(u, byName[same{trimJS(spelled(u.name)), u.size}]...)
			}
		}
	}
}

func twinsOf(ctx context.Context, r *app.Replay) (map[string]string, error) {
	twins := map[string]string{}
	_, err := r.Notes.Get(ctx, noteTwins, &twins)
	return twins, err
}

// made finds the folders that this restore has made before. The top one is known by its note; one below it by its
// name, the first of a name being the oldest.
func (t *FolderTarget) made(ctx context.Context, r *app.Replay, b *rebuild) (map[*treeFolder]*folderRow, error) {
	var top topNote
	begun, err := r.Notes.Get(ctx, noteTop, &top)
	if err != nil || !begun {
		return nil, err
	}
	rows, err := t.folders(ctx)
	if err != nil {
		return nil, err
	}
	type child struct{ parent, name string }
	children, byID := map[child][]*folderRow{}, map[string]*treeFolder{}
	for _, row := range rows {
		children[child{valueOf(row.Parent), row.Name}] = append(children[child{valueOf(row.Parent), row.Name}], row)
	}
	made := map[*treeFolder]*folderRow{}
	for i, f := range b.wanted {
		byID[f.ID] = f
		if i == 0 {
			made[f] = topOf(rows, top, b)
		} else if above := made[byID[f.Parent]]; above != nil {
			at := child{above.ID, b.folderName(f)}
			if list := children[at]; len(list) > 0 {
				made[f], children[at] = list[0], list[1:]
			}
		}
		if made[f] == nil {
			delete(made, f)
		}
	}
	return made, nil
}

func topOf(rows []*folderRow, top topNote, b *rebuild) *folderRow {
	for _, row := range rows {
		if row.ID == top.ID || top.ID == "" && valueOf(row.Parent) == b.into && row.Name == b.folderName(b.folders[0]) && !slices.Contains(top.Before, row.ID) {
			return row
		}
	}
	return nil
}

// Replay implements app.Target: folders, parents first, then the files. Each call makes at least one thing.
func (t *FolderTarget) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	b, err := t.plan(ctx, r)
	if err != nil {
		return app.Progress{}, err
	}
	err = (&folderWork{FolderTarget: t, r: r, b: b, never: "never"}).run(ctx)
	if errors.Is(err, errSoon) {
		return app.Progress{}, nil
	}
	return app.Progress{Done: err == nil}, err
}

// folderWork is one call of Replay.
type folderWork struct {
	*FolderTarget
	r       *app.Replay
	b       *rebuild
	made    map[*treeFolder]*folderRow
	ids     map[string]string // of the folders in the target, by those in the backup
	most    int64             // bytes that a file may have
	twins   map[string]string
	refused map[string]string // by path; why
	before  map[string]string // refused when the restore came to its end before
	ended   endedNote
	never   string // how Zipline is told to keep a file for ever; "" where it doesn't know
	sure    bool   // it does know, or never is ""
	done    int    // things made in this call
}

func (w *folderWork) run(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	made, there, err := w.survey(ctx, w.r, w.b)
	if err != nil {
		return err
	}
	if w.made = made; made == nil {
		w.made = map[*treeFolder]*folderRow{}
	}
	if w.ended, err = ended(ctx, w.r); err != nil {
		return err
	}
	if w.ended.Once && w.made[w.b.wanted[0]] == nil {
		w.ended = endedNote{} // the top folder is gone: all is made anew
	}
	if w.ended.All {
		return nil
	}
	if w.twins, err = twinsOf(ctx, w.r); err != nil {
		return err
	}
	if w.most, err = w.largest(ctx); err != nil {
		return err
	}
	if _, err := w.r.Notes.Get(ctx, noteRefused, &w.before); err != nil {
		return err
	}
	w.refused, w.ids = map[string]string{}, map[string]string{}
	for _, f := range w.b.wanted {
		if err := w.folder(ctx, f); err != nil {
			return err
		}
	}
	for _, u := range w.b.files {
		if err := w.file(ctx, u, there.of[u]); err != nil {
			return err
		}
	}
	if err := w.r.Notes.Put(ctx, noteRefused, w.refused); err != nil {
		return err
	}
	w.ended.Once, w.ended.All = true, len(w.refused) == 0
	return w.r.Notes.Put(ctx, noteDone, w.ended)
}

// endedNote says how far a restore came.
type endedNote struct {
	Once bool `json:"once"` // to its end
	All  bool `json:"all"`  // and Zipline refused nothing
	// Confirmed is set at the end of the first Confirm; Differ are hashes of the paths that it has found different.
	Confirmed bool   `json:"confirmed"`
	Differ    hashes `json:"differ,omitempty"`
}

// judge adds what was found. It makes a note of what was changed since the first Confirm, and says of what is missing how
// it can be had.
func (e *endedNote) judge(c *app.Confirmation, found app.Finding, top bool) {
	path := digestOf("path", found.Item)
	switch {
	case found.Kind == "different" && !e.Confirmed:
		e.Differ = append(e.Differ, path)
	case found.Kind == "different" && !e.Differ.has(path):
		found.Severity, found.Kind = app.Note, "changed"
		c.Differs++
	case found.Kind == "missing" && e.All && top:
		found.Message = strings.TrimSuffix(found.Message, restoreAgain) + "; this restore is done and brings nothing in any more: take it out of the backup with `lifeboat get`, or delete the top folder in the target and restore again"
	}
	c.Findings = append(c.Findings, found)
}

// restoreAgain ends a message about what the next run brings in.
const restoreAgain = "; restore again"

// ended reads whether the restore has come to its end before.
func ended(ctx context.Context, r *app.Replay) (e endedNote, err error) {
	_, err = r.Notes.Get(ctx, noteDone, &e)
	return e, err
}

// begin notes which folders have the name of the top one already: they are not ours.
func (w *folderWork) begin(ctx context.Context) error {
	var top topNote
	if begun, err := w.r.Notes.Get(ctx, noteTop, &top); err != nil || begun {
		return err
	}
	if err := w.into(ctx, w.b); err != nil {
		return err
	}
	rows, err := w.folders(ctx)
	if err != nil {
		return err
	}
	top.Before = []string{}
	for _, row := range rows {
		if valueOf(row.Parent) == w.b.into && row.Name == w.b.folderName(w.b.folders[0]) {
			top.Before = append(top.Before, row.ID)
		}
	}
	return w.r.Notes.Put(ctx, noteTop, top)
}

// soon returns errSoon where the deadline is near and something was made already.
func (w *folderWork) soon(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.done > 0 && w.near(ctx) {
		return errSoon
	}
	return nil
}

// folder makes a folder, or sets its flags right.
func (w *folderWork) folder(ctx context.Context, f *treeFolder) error {
	row := w.made[f]
	there := row != nil
	if !there {
		if err := w.soon(ctx); err != nil {
			return err
		}
		asked := struct {
			Name   string `json:"name"`
			Public bool   `json:"isPublic"`
			Parent string `json:"parentId,omitempty"`
		}{w.b.folderName(f), f.Public, w.b.into}
		if f.Parent != "" {
			asked.Parent = w.ids[f.Parent]
		}
		row = &folderRow{}
		if err := w.call(ctx, fmt.Sprintf("make the folder %q", shorten(f.Path)), http.MethodPost, "/api/user/folders", "", asked, row); err != nil {
			return err
		}
		if row.ID == "" {
			return failure.New(failure.Invalid, "make the folder %q: the answer is not one of Zipline's", shorten(f.Path)).WithHint("look into Zipline's log, then run again")
		}
		w.made[f] = row
		w.done++
		w.r.Working(1, 0)
	}
	w.ids[f.ID] = row.ID
	if f == w.b.folders[0] {
		if err := w.noteTop(ctx, row.ID); err != nil {
			return err
		}
	}
	if row.Public == f.Public && row.Uploads == f.Uploads || there && w.ended.Once {
		return nil
	}
	flags := struct {
		Public  bool `json:"isPublic"`
		Uploads bool `json:"allowUploads"`
	}{f.Public, f.Uploads}
	return w.call(ctx, fmt.Sprintf("set the flags of the folder %q", shorten(f.Path)), http.MethodPatch, "/api/user/folders/"+escape(row.ID), "", flags, &folderRow{})
}

func (w *folderWork) noteTop(ctx context.Context, id string) error {
	var top topNote
	if _, err := w.r.Notes.Get(ctx, noteTop, &top); err != nil || top.ID == id {
		return err
	}
	top.ID = id
	return w.r.Notes.Put(ctx, noteTop, top)
}
