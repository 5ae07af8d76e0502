package zipline

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
	owned   []string // what users, that are to go, have made since, for a person; the first few
	more    int      // how much else there is of that
}

// takeBack removes what an interrupted import has made, and nothing else: users of the plan that the target did not
// have before, and the administrator's rows that have names of the plan. Rows of files go without their objects. A
// super administrator can't be deleted by another one: such a user stays, with what came in. Where a user who is to go
// has made something since, nothing is taken back: Conflict.
func (t *Target) takeBack(ctx context.Context, r *app.Replay, p *plan, c *comparison) error {
	u, err := t.left(ctx, p, c)
	if err == nil {
		err = u.refuse()
	}
	if err != nil {
		return err
	}
	if err := p.suspect(ctx, r, u.names); err != nil {
		return err
	}
	for ids := range slices.Chunk(u.files, perDelete) {
		body := map[string]any{"files": ids, "delete_datasourceFiles": false}
		if err := t.drop(ctx, filesPath, body); err != nil {
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
	p.again = len(u.users) > 0 // Zipline deletes the files of a user with the user
	return nil
}

// filesPath is where many files are changed or deleted at once.
const filesPath = "/api/user/files/transaction"

// maxOwned bounds how many things of users are named.
const maxOwned = 10

// refuse refuses to take back users who have made something since they came in.
func (u *undoing) refuse() error {
	if len(u.owned) == 0 {
		return nil
	}
	named := strings.Join(u.owned, ", ")
	if u.more > 0 {
		named += fmt.Sprintf(" and %d more", u.more)
	}
	return failure.New(failure.Conflict, "an interrupted import has to be taken back, and users that it has made have things of their own by now, which would be deleted with them: %s", named).
		WithHint("save those things, delete them in Zipline as these users, and run the restore again; or restore into another Zipline, which is empty")
}

// own notes a thing that a user has made since.
func (u *undoing) own(array, owner string, row fields) {
	if len(u.owned) >= maxOwned {
		u.more++
		return
	}
	name := cmp.Or(str(row, "name"), str(row, "vanity"), str(row, "code"), str(row, "provider"), str(row, "id"))
	u.owned = append(u.owned, fmt.Sprintf("%s of %s (%s)", quoteName(name), quoteName(owner), nameOf(array)))
}

// left looks at the target for what is to be taken back.
func (t *Target) left(ctx context.Context, p *plan, c *comparison) (*undoing, error) {
	u := &undoing{}
	created, fixed := map[string]bool{}, map[string]bool{}
	for id, user := range c.backup.users {
		if name := p.owner(c.backup.users, id); id != p.Merge && name != p.Admin.Username && !c.strangers[name] {
			created[name], fixed[name] = true, user.role == "SUPERADMIN"
		}
	}
	sent := map[uint64]bool{}
	for _, f := range c.backup.folders {
		owner := c.backup.ownerOf(f.owner)
		sent[digestOf(owner, f.name, f.created)], sent[digestOf(owner, p.Sent[f.id], f.created)] = true, true
	}
	v := t.targetView(t.exportOf(false).once(), p, c.backup)
	err := v.each(ctx, func(array, key string, traits []trait, row fields) error {
		id, owner := str(row, "id"), v.ownerOf(ownerID(row))
		asked := str(row, "destination") == askingDestination || array == "userTags" && str(row, "color") == askingColor
		made := c.made(array, key, traits, id)
		if f := v.folders[id]; array == "folders" && f != nil {
			made = sent[digestOf(owner, f.name, f.created)] && !p.had(array, id)
		}
		ours := owner == p.Admin.Username && (asked || made)
		theirs := created[owner] && !fixed[owner]
		if theirs && !made && array != "users" && array != "userQuotas" {
			u.own(array, owner, row)
		}
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
		case array == "folders" && ours:
			u.folders = append(u.folders, id)
		}
		return nil
	})
	return u, err
}

// drop deletes one thing; one that Zipline itself says is gone is success: a proxy may say so of what is there.
func (t *Target) drop(ctx context.Context, path string, body any) error {
	answer, err := t.call(ctx, http.MethodDelete, path, "", body)
	switch {
	case err != nil:
		return fmt.Errorf("take back an interrupted import: %w", err)
	case answer.ok():
		return nil
	case path == filesPath && answer.StatusCode == http.StatusBadRequest && answer.said().Code == codeNoneDeleted:
		return nil
	case path != filesPath && answer.StatusCode == http.StatusNotFound && saysGone(answer):
		return nil
	}
	return refused("take back an interrupted import", answer)
}

// saysGone reports whether it is Zipline itself that does not find a thing: E4000 and on, or E9002.
func saysGone(answer reply) bool {
	code := answer.said().Code
	return code/1000 == 4 || code == codeNotFound
}

// codeNotFound is what Zipline answers about tags and URLs that are not there.
const codeNotFound = 9002

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
// asks by making the tag and deleting it again. None gets a name that is planned: those of the backup's tags.
func (t *Target) freeTags(ctx context.Context, r *app.Replay, p *plan, all []string, planned map[string]bool) error {
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
		original, names, of := p.originalTag(name)
		for n := 2; !free; n++ {
			if n > maxRenames {
				return failure.New(failure.Conflict, "no free name was found for the tag %s", quoteName(original)).
					WithHint("rename the tag in the source or on the target, then run again")
			}
			name = bracketed(original, n)
			if planned[name] {
				continue
			}
			planned[name] = true
			names[of] = name // noted before it is made, so that it is taken back with the rest
			if err := r.Notes.Put(ctx, planNote, p); err != nil {
				return fmt.Errorf("note the plan: %w", err)
			}
			if free, err = t.tagFree(ctx, name); err != nil {
				return err
			}
		}
	}
	return r.Notes.Put(ctx, suspectNote, []string{})
}

// maxRenames bounds how many names are tried for one tag.
const maxRenames = 50

// originalTag returns what the new names of a tag start with, and where in the plan the tag's name stands: under its own
// one, or under its row where another tag of the backup has that one.
func (p *plan) originalTag(name string) (original string, names map[string]string, of string) {
	for row, other := range p.Twins {
		if other == name && strings.HasPrefix(row, "userTags/") {
			return name, p.Twins, row
		}
	}
	for original, other := range p.Tags {
		if other == name {
			return original, p.Tags, original
		}
	}
	return name, p.Tags, name
}

func (t *Target) tagFree(ctx context.Context, name string) (bool, error) {
	return t.nameFree(ctx, "/api/user/tags", codeTagExists, func(name string) any {
		return map[string]string{"name": name, "color": askingColor}
	}, name)
}

// codeTagExists is what Zipline answers to a tag that the user has.
const codeTagExists = 1033

// nameFree asks whether a name is free by making something of it, and deleting it again. Zipline says of some names
// that they are taken, with one of two codes, and stumbles over others; whether it would stumble over every name, a name
// that nobody has tells.
func (t *Target) nameFree(ctx context.Context, path string, taken int, body func(string) any, name string) (bool, error) {
	const doing = "ask whether a name is free"
	made, answer, err := t.makeNamed(ctx, path, body(name))
	if err != nil || made {
		return made, err
	}
	if answer.StatusCode == http.StatusBadRequest && answer.said().Code == taken {
		return false, nil
	}
	if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusInternalServerError {
		return false, refused(doing, answer)
	}
	made, other, err := t.makeNamed(ctx, path, body("lifeboat "+rand.Text()))
	if err == nil && !made {
		err = refused(doing, other)
	}
	return false, err
}

// makeNamed makes a tag or a URL and deletes it; false where Zipline refuses, with its answer.
func (t *Target) makeNamed(ctx context.Context, path string, body any) (bool, reply, error) {
	answer, err := t.call(ctx, http.MethodPost, path, "", body)
	if err != nil {
		return false, answer, fmt.Errorf("ask whether a name is free: %w", err)
	}
	if err := t.client.sleep(ctx, time.Second); err != nil {
		return false, answer, err
	}
	if !answer.ok() {
		return false, answer, nil
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.body, &made); err != nil || made.ID == "" {
		return false, answer, refused("ask whether a name is free", answer)
	}
	return true, answer, t.drop(ctx, path+"/"+url.PathEscape(made.ID), nil)
}

// freeVanities renames those URLs of the plan whose name is taken by a URL that no export shows, because its user was
// deleted: an import stumbles over the second one of a code and a name.
func (t *Target) freeVanities(ctx context.Context, r *app.Replay, p *plan, vanities []string) error {
	for _, original := range vanities {
		name := cmp.Or(p.Vanity[original], original)
		for n := 2; ; n++ {
			free, err := t.nameFree(ctx, "/api/user/urls", codeVanityTaken, func(name string) any {
				return map[string]string{"destination": askingDestination, "vanity": name}
			}, name)
			if err != nil {
				return err
			}
			if free {
				break
			}
			if n > maxRenames {
				return failure.New(failure.Conflict, "no free name was found for the short URL %s", quoteName(original)).
					WithHint("rename the short URL in the source or on the target, then run again")
			}
			name = dashed(original, n)
			p.Vanity[original] = name
			if err := r.Notes.Put(ctx, planNote, p); err != nil {
				return fmt.Errorf("note the plan: %w", err)
			}
		}
	}
	return nil
}

// What is made to ask whether a name is free has these, by which it is told from all else.
const (
	askingDestination = "https://lifeboat.invalid/asks-whether-a-name-is-free"
	askingColor       = "#11feb0"
)

// codeVanityTaken is what Zipline answers to a URL of a name that another has.
const codeVanityTaken = 1042
