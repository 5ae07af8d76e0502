package zipline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// user and folder are what other rows of an export refer to.
type user struct {
	name, role, created string
}

type folder struct {
	id, name, owner, parent, created string // owner and parent are ids
	sent                             string // on a target: the name that it was imported under and still has
	path                             string // names from the root, joined by pathJoin
	order                            int    // of the folders in the export
	nth                              int    // how many before it have its owner, path and date
}

// pathJoin joins names of folders, which may hold any character that people type.
const pathJoin = "\x1f"

// view reads one export and tells each row by what it is called, not by its id: the same row of a backup and of a
// target has the same key and the same traits. It walks the export twice, because rows refer to later ones, or once where another view has told what they refer to; in memory
// are users, folders, tags, and 16 bytes for each file that has a tag.
type view struct {
	open opener
	// change gives a row its names on the target; false leaves it out. nil: they are right.
	change func(array string, row fields) bool
	// owner names the user of an id; nil: as users do.
	owner func(users map[string]user, id any) string
	// rename returns what a folder is called in the end, by owner, name and date; nil: what it is called.
	rename func(owner, name, created string) string
	merged string // name of the user of whom only avatar, view and TOTP are compared
	admin  string // on a target: name of the importing administrator
	legacy bool   // the backup is of Zipline 3, which has no dates and views of users

	users    map[string]user
	folders  map[string]*folder
	tagged   map[uint64]uint64 // hash of a file's id to that of its name, or 0; of files that have a tag
	tags     []fields
	settings fields
	head     *export
	learned  bool // adopt has told what rows refer to
}

// trait is one field of a row, as text.
type trait struct{ name, value string }

// seen is called with each row; key is empty for a row that can't be told.
type seen func(array, key string, traits []trait, row fields) error

// each calls do for every row: users first, tags last.
func (v *view) each(ctx context.Context, do seen) error {
	if v.tags = nil; !v.learned {
		if err := v.learn(ctx); err != nil {
			return err
		}
	}
	_, err := v.open.walk(ctx, func(array string, _ int64, row fields) error {
		if row == nil || array == "thumbnails" || v.change != nil && !v.change(array, row) {
			return nil
		}
		switch array {
		case "userTags":
			v.tags = append(v.tags, row)
			return nil
		case "files":
			v.nameTagged(row)
		}
		key, traits := v.shape(array, row)
		return do(array, key, traits, row)
	}, nil)
	for _, row := range v.tags {
		if err != nil {
			break
		}
		key, traits := v.shape("userTags", row)
		err = do("userTags", key, traits, row)
	}
	return err
}

// learn walks the export for what its rows refer to.
func (v *view) learn(ctx context.Context) error {
	v.forget()
	var err error
	v.head, err = v.open.walk(ctx, func(array string, _ int64, row fields) error {
		v.learnRow(array, row)
		return nil
	}, func(settings fields) { v.settings = settings }, "files", "metrics", "thumbnails")
	if err == nil {
		v.findPaths()
	}
	return err
}

func (v *view) forget() {
	v.users, v.folders, v.tagged, v.tags = map[string]user{}, map[string]*folder{}, map[uint64]uint64{}, nil
}

// learnRow keeps what other rows refer to.
func (v *view) learnRow(array string, row fields) {
	if row == nil || v.change != nil && array != "users" && !v.change(array, row) {
		return
	}
	id := str(row, "id")
	switch array {
	case "users":
		v.users[id] = user{name: str(row, "username"), role: str(row, "role"), created: moment(row["createdAt"])}
	case "folders":
		v.folders[id] = &folder{id: id, name: str(row, "name"), owner: str(row, "userId"), parent: str(row, "parentId"), created: moment(row["createdAt"]), order: len(v.folders)}
	case "userTags":
		for _, file := range filesOf(row) {
			v.tagged[digestOf("id", file)] = 0
		}
	}
}

func (v *view) findPaths() {
	for _, f := range v.folders {
		if v.rename == nil {
			continue
		}
		if name := v.rename(v.ownerOf(f.owner), f.name, f.created); name != f.name {
			f.name, f.sent = name, f.name
		}
	}
	for _, f := range v.folders {
		f.path = v.pathOf(f)
	}
	all := slices.SortedFunc(maps.Values(v.folders), func(a, b *folder) int { return cmp.Compare(a.order, b.order) })
	before := make(map[uint64]int, len(all))
	for _, f := range all {
		digest := keyDigest("folders", v.where(f.id))
		f.nth = before[digest]
		before[digest]++
	}
}

// digest tells a row of a backup from all others, as a comparison does: folders may be called alike.
func (v *view) digest(array, key string, row fields) uint64 {
	if array == "folders" {
		return v.folderDigest(str(row, "id"))
	}
	return keyDigest(array, key)
}

func (v *view) folderDigest(id string) uint64 {
	digest := keyDigest("folders", v.where(id))
	if f := v.folders[id]; f != nil {
		return nth(digest, f.nth)
	}
	return digest
}

// adopt takes over what another view of the same backup has learned, as the plan has it by now: each does not learn it
// once more.
func (v *view) adopt(other *view, p *plan) {
	v.forget()
	v.users, v.settings, v.head, v.learned = other.users, other.settings, other.head, true
	for id, f := range other.folders {
		if p.Left["folders/"+id] {
			continue
		}
		own := *f
		if p.Cut[id] {
			own.parent = ""
		}
		v.folders[id] = &own
	}
	for id := range other.tagged {
		v.tagged[id] = 0
	}
	v.findPaths()
}

// pathOf returns a folder's path; a circle is cut where it closes.
func (v *view) pathOf(f *folder) string {
	names, been := []string{}, map[string]bool{}
	for at := f; at != nil && !been[at.id]; at = v.folders[at.parent] {
		been[at.id] = true
		names = append(names, at.name)
	}
	slices.Reverse(names)
	return strings.Join(names, pathJoin)
}

func (v *view) nameTagged(row fields) {
	id := digestOf("id", str(row, "id"))
	if _, ok := v.tagged[id]; ok {
		v.tagged[id] = digestOf("name", str(row, "name"))
	}
}

func (v *view) ownerOf(id any) string {
	if v.owner != nil {
		return v.owner(v.users, id)
	}
	text, _ := id.(string)
	return v.users[text].name
}

// where tells a folder from all others: a user may have several of one path.
func (v *view) where(id any) string {
	text, _ := id.(string)
	f := v.folders[text]
	if f == nil {
		return ""
	}
	return v.ownerOf(f.owner) + pathJoin + pathJoin + f.path + pathJoin + pathJoin + f.created
}

// The traits that are compared as they are, by array: all that an import keeps.
var kept = map[string][]string{
	"users":              {"password", "role", "avatar", "view", "totpSecret"},
	"userOauthProviders": {"username", "accessToken", "refreshToken"},
	"userQuotas":         {"filesQuota", "maxBytes", "maxFiles", "maxUrls"},
	"userPasskeys":       {"reg"},
	"invites":            {"uses", "maxUses"},
	"folders":            {"name", "public", "allowUploads"},
	"urls":               {"vanity", "destination", "views", "maxViews", "enabled", "password"},
	"files":              {"size", "type", "originalName", "views", "maxViews", "favorite", "password"},
	"metrics":            {"data"},
}

// dated are the fields of kept dates.
var dated = map[string][]string{
	"users": {"createdAt"}, "userQuotas": {"createdAt"}, "invites": {"createdAt", "expiresAt"}, "urls": {"createdAt"},
	"files": {"createdAt", "deletesAt"},
}

// shape returns what a row is called and what it is.
func (v *view) shape(array string, row fields) (key string, traits []trait) {
	for _, name := range kept[array] {
		traits = append(traits, trait{name, canonical(row[name])})
	}
	for _, name := range dated[array] {
		traits = append(traits, trait{name, moment(row[name])})
	}
	owner := v.ownerOf(cmp.Or(row["userId"], row["inviterId"]))
	switch array {
	case "users":
		key = str(row, "username")
		merged := key == v.merged && key != ""
		return key, slices.DeleteFunc(traits, func(t trait) bool {
			switch t.name {
			case "password", "role":
				return merged
			case "createdAt":
				return merged || v.legacy
			case "view":
				return v.legacy
			}
			return false
		})
	case "userOauthProviders":
		key = str(row, "provider") + pathJoin + str(row, "oauthId")
	case "userQuotas":
		return owner, traits
	case "userPasskeys":
		return owner + pathJoin + str(row, "name"), traits
	case "userTags":
		key = str(row, "name")
		traits = append(traits, trait{"color", cmp.Or(canonical(row["color"]), `"#000000"`)}, trait{"files", v.tagFiles(row)})
	case "invites", "urls":
		key = str(row, "code")
	case "folders":
		if f := v.folders[str(row, "id")]; f != nil {
			return v.where(f.id), v.ofFolder(traits, f)
		}
		return "", traits
	case "files":
		key = str(row, "name")
		traits = append(traits, trait{"folder", v.where(row["folderId"])})
	case "metrics":
		return moment(row["createdAt"]) + pathJoin + canonical(row["data"]), nil
	}
	return key, append(traits, trait{"owner", owner})
}

// ofFolder puts the name that the folder really has into the traits.
func (v *view) ofFolder(traits []trait, f *folder) []trait {
	traits[0].value = canonical(cmp.Or(f.sent, f.name))
	return traits
}

// tagFiles sums up the names of a tag's files, in any order; a file that the export doesn't have doesn't count.
func (v *view) tagFiles(row fields) string {
	sum, n := uint64(0), 0
	for _, id := range filesOf(row) {
		if name := v.tagged[digestOf("id", id)]; name != 0 {
			sum, n = sum+name, n+1
		}
	}
	return fmt.Sprintf("%d:%016x", n, sum)
}

// digestOf tells words apart; of a million of them, two are equal with a chance of one in thirty million.
func digestOf(words ...string) uint64 {
	var room [256]byte
	text := room[:0]
	for _, word := range words {
		text = strconv.AppendInt(text, int64(len(word)), 10)
		text = append(append(text, ':'), word...)
	}
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint64(sum[:])
}

func digestTraits(traits []trait) uint64 {
	words := make([]string, 0, 2*len(traits))
	for _, t := range traits {
		words = append(words, t.name, t.value)
	}
	return digestOf(words...)
}

// str returns a string of a row, or "".
func str(row fields, name string) string {
	text, _ := row[name].(string)
	return text
}

// filesOf returns the ids of the files of a tag, or of a folder of format 3.
func filesOf(row fields) []string {
	var all []string
	values, _ := row["files"].([]any)
	for _, value := range values {
		if text, ok := value.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// moment returns a date in UTC and milliseconds, which is what Zipline keeps; what is no date stays as it is.
func moment(value any) string {
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return text
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// canonical returns a value as JSON with sorted keys, numbers in one form, and "" for null.
func canonical(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
		return v.String()
	}
	text, err := json.Marshal(plainNumbers(value))
	if err != nil {
		return fmt.Sprint(value) // never: it came from JSON
	}
	return string(text)
}

func plainNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
	case fields:
		for key, member := range v {
			v[key] = plainNumbers(member)
		}
	case []any:
		for i, member := range v {
			v[i] = plainNumbers(member)
		}
	}
	return value
}
