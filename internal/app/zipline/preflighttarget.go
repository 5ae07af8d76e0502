package zipline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

func quoteName(name string) string { return strconv.QuoteToGraphic(shorten(name)) }

// quoteNames lists the first ten names.
func quoteNames(names []string) string {
	shown := make([]string, 0, 10)
	for _, name := range names[:min(len(names), 10)] {
		shown = append(shown, quoteName(name))
	}
	return strings.Join(shown, ", ")
}

// collisions are names of the backup that the target has for something else.
type collisions struct {
	users, vanities []string
	byArray         map[string][]string
	adminFolders    map[string]bool // names of the administrator's own
}

// settlePlan makes the plan: it reads the backup, then a fresh export of the target.
func (f *preflight) settlePlan(ctx context.Context) error {
	if err := f.look(ctx); err != nil {
		return err
	}
	if err := f.read(ctx); err != nil {
		return err
	}
	f.twinUsers()
	if err := f.merge(); err != nil {
		return err
	}
	f.backup.findPaths() // whose folders they are is settled now
	f.folders(nil)
	if err := f.rows(ctx); err != nil {
		return err
	}
	if err := f.settleNames(ctx); err != nil {
		return err
	}
	counted, err := f.counted(ctx)
	if err != nil {
		return err
	}
	if f.plan.Ignored != nil {
		return nil
	}
	if f.plan.Metrics = f.metrics > 0 && counted["metrics"] == 0; f.metrics > 0 && !f.plan.Metrics {
		f.report.add(note("metrics", "", "%d metrics are left out: the target has some of its own, and an import would mix them", f.metrics))
	}
	return nil
}

// look reads the version of the target.
func (f *preflight) look(ctx context.Context) error {
	head, err := f.exportOf(false).walk(ctx, func(string, int64, fields) error { return nil }, nil, arrays...)
	if err != nil {
		return err
	}
	f.version = head.versions.zipline
	v, ok := parseVersion(f.version)
	switch {
	case !ok:
		return failure.New(failure.Invalid, "the target does not say which version of Zipline it is").
			WithHint("lifeboat restores into Zipline 4.4.2 or newer")
	case v.before(oldest):
		return failure.New(failure.Invalid, "the target is Zipline %s, whose import loses where folders lie", shorten(f.version)).
			WithHint("upgrade it to 4.4.2 or newer")
	}
	f.old = !decodes.before(v)
	return nil
}

// rows looks at the backup's rows with their owners: what is nobody's, passkeys of one name, second factors, quotas.
func (f *preflight) rows(ctx context.Context) error {
	passkeys, providers, quotas := map[[2]string]bool{}, map[string]bool{}, map[string]bool{}
	view := backupView(f.r, f.plan)
	view.adopt(f.backup, f.plan)
	return view.each(ctx, func(array, _ string, _ []trait, row fields) error {
		if f.strangers(array, row) {
			return nil
		}
		switch array {
		case "users":
			if str(row, "id") == f.plan.Merge {
				f.totp = str(row, "totpSecret") != ""
			}
		case "userOauthProviders":
			if f.plan.Ignored == nil {
				key := str(row, "provider") + pathJoin + canonical(row["oauthId"])
				if providers[key] {
					f.leave(array, row, "duplicate", label(any(row), 0), "another row links the same account elsewhere to a user: Zipline imports one of them only")
				}
				providers[key] = true
			} else if id := str(row, "oauthId"); str(row, "provider") == "OIDC" {
				f.leave(array, row, "schema", label(any(row), 0), "Zipline 3 had no such provider: Zipline's import of version 3 would refuse all of the backup")
			} else if providers[id] {
				f.leave(array, row, "duplicate", label(any(row), 0), "another user or provider has the same id: Zipline's import of version 3 takes one of them only")
			} else {
				providers[id] = true
			}
		case "userQuotas":
			if owner := view.ownerOf(row["userId"]); quotas[owner] {
				f.leave(array, row, "duplicate", label(any(row), 0), "its user has another quota in the backup: Zipline imports one of them only")
			} else {
				quotas[owner] = true
				f.quotas(row)
			}
		case "userPasskeys":
			key := [2]string{str(row, "userId"), str(row, "name")}
			if passkeys[key] {
				name := numbered(key[1], bracketed, func(other string) bool { return !passkeys[[2]string{key[0], other}] })
				f.plan.Passkey[str(row, "id")], key[1] = name, name
				f.report.add(note("renamed", str(row, "name"), "the passkey comes in as %s: the import takes one of a name", quoteName(name)))
			}
			passkeys[key] = true
		}
		return nil
	})
}

// settleNames holds all names against the target's, and renames what it has for something else.
func (f *preflight) settleNames(ctx context.Context) error {
	c := newComparison(f.r, f.plan)
	c.backup.adopt(f.backup, f.plan)
	vanities, twins, err := c.expectAll(ctx)
	if err != nil {
		return err
	}
	found := &collisions{byArray: map[string][]string{}, adminFolders: map[string]bool{}}
	if err := f.collide(ctx, c, vanities, found); err != nil {
		return err
	}
	if err := f.stored(ctx, c, found); err != nil {
		return err
	}
	f.plan.ready()
	free := func(array string) func(string) bool {
		return func(name string) bool {
			digest := keyDigest(array, name)
			if _, planned := c.index[digest]; planned || f.taken[digest] || array == "files" && f.occupied(name) {
				return false
			}
			f.taken[digest] = true
			return true
		}
	}
	for id, u := range f.backup.users {
		if name := cmp.Or(f.plan.Users[id], u.name); f.plan.Merge != "" && id != f.plan.Merge && name == f.plan.Admin.Username {
			found.users = append(found.users, name) // --as names another one
		}
	}
	f.warnTOTP()
	if err := f.renameUsers(found.users, free("users")); err != nil {
		return err
	}
	f.renameRows(c, found, free)
	defer func() { f.taken, f.listed, f.bare, f.earlier = nil, nil, nil, nil }() // of many files they are large
	f.nameTwins(twins, free)
	if len(found.adminFolders) > 0 {
		f.plan.Sent = map[string]string{}
		f.folders(found.adminFolders)
	}
	return nil
}

// twin is a row of the backup that has the name or code of one before it.
type twin struct{ array, id, key string }

// nameTwins gives every tag, short URL and invite whose name or code another one of the backup has one of its own.
func (f *preflight) nameTwins(twins []twin, free func(string) func(string) bool) {
	for _, each := range twins {
		form := dashed
		if each.array == "userTags" {
			form = bracketed
		}
		field, _ := f.plan.renames(each.array)
		name := numbered(each.key, form, free(each.array))
		f.plan.Twins[each.array+"/"+each.id] = name
		f.report.add(note("renamed", each.key, "several %s of the backup have this %s: one of them comes in as %s", nameOf(each.array), field, quoteName(name)))
	}
}

// expectAll expects every row of the backup on the target. It returns the digests of the vanities, and every tag, short
// URL and invite whose name or code another one has too.
func (c *comparison) expectAll(ctx context.Context) (vanities map[uint64]bool, twins []twin, err error) {
	vanities = map[uint64]bool{}
	err = c.backup.each(ctx, func(array, key string, traits []trait, row fields) error {
		if array == "metrics" {
			return nil
		}
		if first := c.expect(array, key, traits, row); !first && (array == "urls" || array == "userTags" || array == "invites") {
			twins = append(twins, twin{array, str(row, "id"), key})
		}
		if vanity := str(row, "vanity"); array == "urls" && vanity != "" {
			vanities[digestOf("vanity", vanity)] = true
		}
		return nil
	})
	return vanities, twins, err
}

// collide walks a fresh export of the target.
func (f *preflight) collide(ctx context.Context, c *comparison, vanities map[uint64]bool, found *collisions) error {
	v := f.targetView(f.exportOf(false).once(), f.plan, c.backup)
	return v.each(ctx, func(array, key string, traits []trait, row fields) error {
		digest := keyDigest(array, key)
		f.taken[digest] = true
		if array == "folders" {
			digest = c.take(digest, traits)
		}
		e, planned := c.index[digest]
		mine := v.ownerOf(str(row, "userId")+str(row, "inviterId")) == f.plan.Admin.Username
		same := planned && e.isOf(v, array, row, traits)
		if planned || array == "folders" || array == "files" && f.plan.Files[key] != "" {
			f.plan.Had = append(f.plan.Had, hadDigest(array, str(row, "id")))
		}
		if array == "users" && str(row, "id") == f.plan.Admin.ID {
			f.hasTOTP = str(row, "totpSecret") != ""
		}
		vanity := str(row, "vanity")
		if array == "urls" && vanity != "" {
			f.taken[keyDigest("vanity", vanity)] = true
			if vanities[digestOf("vanity", vanity)] && !same {
				found.vanities = append(found.vanities, vanity)
			}
		}
		if array == "files" && !planned && f.plan.Files[key] != "" {
			if renamed := c.index[keyDigest(array, f.plan.Files[key])]; renamed.isOf(v, array, row, traits) {
				delete(f.plan.Files, key) // it needs no import, and so no other name
				f.plan.Exists = append(f.plan.Exists, digest)
				return nil
			}
		} else if array == "files" && !planned {
			if _, object := f.plan.chosen.size(key); object {
				f.plan.Orphans[key] = true
				f.report.add(problem("taken", key, "the object has no row in the backup, and the target has a file of its name: it is not put there"))
			}
		}
		if array == "folders" && mine {
			found.adminFolders[str(row, "name")] = true
		}
		switch {
		case !planned || array == "users" && key == f.plan.mergedName():
		case array == "users":
			found.users = append(found.users, key)
		case same:
			f.plan.Exists = append(f.plan.Exists, digest)
		default:
			found.byArray[array] = append(found.byArray[array], key)
		}
		return nil
	})
}

// occupied reports whether a name is that of an object: one of the backup's, or one that the target's datasource lists.
func (f *preflight) occupied(name string) bool {
	_, backup := f.plan.chosen.size(name)
	_, target := f.listed[digestOf("object", name)]
	return backup || target
}

// again reports whether a file can have the name that an earlier attempt gave it: what the datasource has of it then is
// the file itself.
func (f *preflight) again(c *comparison, original, name string) bool {
	digest := keyDigest("files", name)
	_, planned := c.index[digest]
	_, object := f.plan.chosen.size(name)
	if name == "" || planned || object || f.taken[digest] {
		return false
	}
	there, listed := f.listed[digestOf("object", name)]
	size, known := f.plan.chosen.size(original)
	if listed && (!known || size != there) {
		return false
	}
	f.taken[digest] = true
	return true
}

// stored looks for objects of other bytes in the target's datasource. A row whose file the backup doesn't have may get
// one that is there only where its size is the row's.
func (f *preflight) stored(ctx context.Context, c *comparison, found *collisions) error {
	if f.options.Datasource == nil {
		return nil
	}
	var before plan
	if _, err := f.r.Notes.Get(ctx, planNote, &before); err != nil {
		return fmt.Errorf("read the plan of this restore: %w", err)
	}
	f.earlier, f.listed = before.Files, map[uint64]int64{}
	original := make(map[string]string, len(f.plan.Files))
	for from, to := range f.plan.Files {
		original[to] = from
	}
	for object, err := range f.options.Datasource.List(ctx) {
		if _, skipped := errors.AsType[*datasource.Skipped](err); skipped {
			continue
		}
		if err != nil {
			return fmt.Errorf("list the target's datasource: %w", err)
		}
		name := object.Key
		if from := original[name]; from != "" {
			name = from
		}
		f.listed[digestOf("object", object.Key)] = object.Size
		size, known := f.plan.chosen.size(name)
		if !known {
			size, known = f.bare[digestOf("bare", name)]
		}
		digest := keyDigest("files", object.Key)
		_, planned := c.index[digest]
		if !known || size == object.Size || f.taken[digest] {
			continue
		}
		f.taken[digest] = true
		if planned {
			found.byArray["files"] = append(found.byArray["files"], object.Key)
		} else if !f.plan.Orphans[object.Key] {
			f.plan.Orphans[object.Key] = true
			f.report.add(problem("taken", object.Key, "the object has no row in the backup, and the target's datasource has another of its name: it is not put there"))
		}
	}
	return nil
}

// renameUsers refuses users that the target has, or gives them new names where that is wished.
func (f *preflight) renameUsers(names []string, free func(string) bool) error {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if !f.r.Wishes.Rename {
		return failure.New(failure.Conflict, "the target has %d users of the backup already, and Zipline's import would skip all that is theirs: %s", len(names), quoteNames(names)).
			WithHint("restore into an empty Zipline, delete or rename those users there, or use --rename to bring them in under new names")
	}
	for id, u := range f.backup.users {
		if id != f.plan.Merge && slices.Contains(names, cmp.Or(f.plan.Users[id], u.name)) {
			f.plan.Users[id] = numbered(u.name, dashed, free)
			f.report.add(note("renamed", u.name, "the target has a user of this name: this one comes in as %s", quoteName(f.plan.Users[id])))
		}
	}
	return nil
}

// renameRows renames what can be renamed, and leaves out what can't.
func (f *preflight) renameRows(c *comparison, found *collisions, free func(string) func(string) bool) {
	original := make(map[string]string, len(f.plan.Files))
	for from, to := range f.plan.Files {
		original[to] = from
	}
	for _, array := range slices.Sorted(maps.Keys(found.byArray)) {
		for _, key := range found.byArray[array] {
			field, names := f.plan.renames(array)
			if f.plan.exists[keyDigest(array, key)] {
				continue // another one of the name is the very row
			}
			switch array {
			case "userTags":
				names[key] = numbered(key, bracketed, free(array))
			case "urls", "invites":
				names[key] = numbered(key, dashed, free(array))
			case "files":
				name := key
				key = cmp.Or(original[name], name)
				if names[key] = f.earlier[key]; names[key] == name || !f.again(c, key, names[key]) {
					names[key] = numbered(name, beforeDot, free(array))
				}
			case "folders": // another folder of the same path and date: both stay
				continue
			default:
				f.refuse(array, key)
				continue
			}
			f.report.add(note("renamed", key, "the %s of one of the %s is taken on the target: it comes in as %s", field, nameOf(array), quoteName(names[key])))
		}
	}
	for _, vanity := range found.vanities {
		f.plan.Vanity[vanity] = numbered(vanity, dashed, free("vanity"))
		f.report.add(note("renamed", vanity, "the name of a short URL is taken on the target: it comes in as %s", quoteName(f.plan.Vanity[vanity])))
	}
	for from, to := range f.plan.Files {
		if spelled(from, f.old) == to {
			f.respelled(from, to)
		}
	}
}

func (f *preflight) respelled(from, to string) {
	f.report.add(note("renamed", from, "Zipline %s would decode or refuse this stored name: row and file come in as %s, so that links to it change", shorten(f.version), quoteName(to)))
}

// refuse is about rows that the target has otherwise and that nothing can bring in.
func (f *preflight) refuse(array, key string) {
	shown := strings.ReplaceAll(key, pathJoin, " ")
	f.report.add(problem("taken", shown, "the target has other %s of this name: Zipline's import skips the one of the backup", nameOf(array)))
}

// foresee compares the backup with the target under the settled plan, and says what can't come back.
func (f *preflight) foresee(ctx context.Context) error {
	if f.compared == nil {
		c := newComparison(f.r, f.plan)
		c.backup.adopt(f.backup, f.plan)
		err := f.compareWith(ctx, c, f.r.Working, false)
		if err != nil {
			return err
		}
		f.compared = c
	}
	f.version = f.compared.target.head.versions.zipline
	if err := f.foreseeSettings(ctx); err != nil {
		return err
	}
	for _, row := range f.compared.changed {
		f.report.add(note("changed", shown(row.array, row.key), "%s is on the target already, and is other there than in the backup: it stays as it is", oneOf(row.array)))
	}
	for id, name := range f.plan.Sent {
		each := f.compared.backup.folders[id]
		if each == nil {
			continue
		}
		owner := f.compared.backup.users[each.owner]
		if owner.role == "SUPERADMIN" && each.owner != f.plan.Merge {
			f.report.add(note("name", shownPath(each.path), "the folder comes in as %s and stays so: its owner is another super administrator, whose folders the token may not rename", quoteName(name)))
		} else if !settable(each.name) {
			f.report.add(note("name", shownPath(each.path), "the folder comes in as %s and stays so: Zipline sets no name that is blank, or has blanks at its ends", quoteName(name)))
		}
	}
	f.report.add(note("lost", "", "%s", lostByNature))
	return nil
}

// lostByNature is what no import brings back, said before and after.
const lostByNature = "what Zipline never exports or keeps can't come back: ids and links by id, API tokens, sessions, the mark of anonymous uploads, " +
	"the dates of tags, passkeys and oauth providers, dates of last changes, thumbnails, and short URLs and tags of users who were deleted"
