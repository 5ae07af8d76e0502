package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// perDelete bounds how many rows of files one request deletes.
const perDelete = 500

// undoing collects what an interrupted import has left on the target.
type undoing struct {
	files   []string // ids
	tags    []string // ids; of the administrator
	urls    []string // ids; of the administrator
	invites []string // ids
	folders []string // ids; of the administrator
	users   []string // ids
	names   []string // of tags whose owner goes: Zipline keeps such tags, hidden, and their names taken
}

// takeBack removes what an interrupted import has made, and nothing else: users of the plan that the target did not
// have before, and the administrator's rows that have names of the plan. Rows of files go without their objects. A
// super administrator can't be deleted by another one: such a user stays, with what came in.
func (t *Target) takeBack(ctx context.Context, r *app.Replay, p *plan, c *comparison) error {
	u, err := t.left(ctx, p, c)
	if err != nil {
		return err
	}
	if err := p.suspect(ctx, r, u.names); err != nil {
		return err
	}
	for ids := range slices.Chunk(u.files, perDelete) {
		body := map[string]any{"files": ids, "delete_datasourceFiles": false}
		if err := t.drop(ctx, "/api/user/files/transaction", body); err != nil {
			return err
		}
		if err := t.client.sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	for _, each := range []struct {
		path string
		ids  []string
		body any
	}{
		{"/api/user/tags/", u.tags, nil},
		{"/api/user/urls/", u.urls, nil},
		{"/api/auth/invites/", u.invites, nil},
		{"/api/user/folders/", u.folders, map[string]string{"delete": "folder", "childrenAction": "root"}},
		{"/api/users/", u.users, map[string]bool{"delete": true}},
	} {
		for _, id := range each.ids {
			if err := t.drop(ctx, each.path+url.PathEscape(id), each.body); err != nil {
				return err
			}
		}
	}
	return nil
}

// left looks at the target for what is to be taken back.
func (t *Target) left(ctx context.Context, p *plan, c *comparison) (*undoing, error) {
	u := &undoing{}
	created, fixed := map[string]bool{}, map[string]bool{}
	for id, user := range c.backup.users {
		if name := p.owner(c.backup.users, id); id != p.Merge && name != p.Admin.Username {
			created[name], fixed[name] = true, user.role == "SUPERADMIN"
		}
	}
	sent := map[uint64]bool{}
	for _, f := range c.backup.folders {
		sent[digestOf(f.name, f.created)], sent[digestOf(p.Sent[f.id], f.created)] = true, true
	}
	v := t.targetView(t.exportOf(false).once(), p, c.backup)
	err := v.each(ctx, func(array, key string, _ []trait, row fields) error {
		id, owner := str(row, "id"), v.ownerOf(str(row, "userId")+str(row, "inviterId"))
		digest := keyDigest(array, key)
		_, planned := c.index[digest]
		ours := owner == p.Admin.Username && planned && !p.exists[digest]
		theirs := created[owner] && !fixed[owner]
		switch {
		case array == "users" && created[key] && !fixed[key]:
			u.users = append(u.users, id)
		case array == "files" && (ours || theirs):
			u.files = append(u.files, id)
		case array == "userTags" && ours:
			u.tags = append(u.tags, id)
		case array == "userTags" && theirs:
			u.names = append(u.names, str(row, "name"))
		case array == "urls" && ours:
			u.urls = append(u.urls, id)
		case array == "invites" && ours:
			u.invites = append(u.invites, id)
		case array == "folders" && owner == p.Admin.Username && !p.exists[digest]:
			if f := v.folders[id]; sent[digestOf(f.name, f.created)] {
				u.folders = append(u.folders, id)
			}
		}
		return nil
	})
	return u, err
}

// drop deletes one thing; one that is gone is success.
func (t *Target) drop(ctx context.Context, path string, body any) error {
	answer, err := t.call(ctx, http.MethodDelete, path, "", body)
	switch {
	case err != nil:
		return fmt.Errorf("take back an interrupted import: %w", err)
	case answer.ok(), answer.StatusCode == http.StatusNotFound:
		return nil
	case answer.StatusCode == http.StatusBadRequest && answer.said().Code == codeNoneDeleted:
		return nil
	}
	return refused("take back an interrupted import", answer)
}

// codeNoneDeleted is what Zipline answers when none of the files is there any more.
const codeNoneDeleted = 1027

// suspects is the note of tag names that a taking back may leave taken.
const suspectNote = "tags"

func (p *plan) suspect(ctx context.Context, r *app.Replay, names []string) error {
	if len(names) == 0 {
		return nil
	}
	var known []string
	if _, err := r.Notes.Get(ctx, suspectNote, &known); err != nil {
		return fmt.Errorf("read the notes of this restore: %w", err)
	}
	known = append(known, names...)
	slices.Sort(known)
	if err := r.Notes.Put(ctx, suspectNote, slices.Compact(known)); err != nil {
		return fmt.Errorf("note what is taken back: %w", err)
	}
	return nil
}

// freeTags renames those tags of the plan whose name is taken by a tag that no export shows: its user was deleted. It
// asks by making the tag and deleting it again.
func (t *Target) freeTags(ctx context.Context, r *app.Replay, p *plan, all []string) error {
	var names []string
	if _, err := r.Notes.Get(ctx, suspectNote, &names); err != nil {
		return fmt.Errorf("read the notes of this restore: %w", err)
	}
	names = append(names, all...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		free, err := t.tagFree(ctx, name)
		if err != nil {
			return err
		}
		original := p.originalTag(name)
		for n := 2; !free; n++ {
			if n > maxRenames {
				return failure.New(failure.Conflict, "no free name was found for the tag %s", quoteName(original)).
					WithHint("rename the tag in the source or on the target, then run again")
			}
			p.Tags[original] = bracketed(original, n) // noted before it is made, so that it is taken back with the rest
			if err := r.Notes.Put(ctx, planNote, p); err != nil {
				return fmt.Errorf("note the plan: %w", err)
			}
			if free, err = t.tagFree(ctx, p.Tags[original]); err != nil {
				return err
			}
		}
	}
	return r.Notes.Put(ctx, suspectNote, []string{})
}

// maxRenames bounds how many names are tried for one tag.
const maxRenames = 50

func (p *plan) originalTag(name string) string {
	for original, other := range p.Tags {
		if other == name {
			return original
		}
	}
	return name
}

func (t *Target) tagFree(ctx context.Context, name string) (bool, error) {
	answer, err := t.call(ctx, http.MethodPost, "/api/user/tags", "", map[string]string{"name": name, "color": "#000000"})
	if err != nil {
		return false, fmt.Errorf("ask whether a tag's name is free: %w", err)
	}
	if err := t.client.sleep(ctx, time.Second); err != nil {
		return false, err
	}
	if answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusInternalServerError {
		return false, nil // Zipline looks among one's own only, and stumbles over the others
	}
	if !answer.ok() {
		return false, refused("ask whether a tag's name is free", answer)
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.body, &made); err != nil || made.ID == "" {
		return false, refused("ask whether a tag's name is free", answer)
	}
	return true, t.drop(ctx, "/api/user/tags/"+url.PathEscape(made.ID), nil)
}
