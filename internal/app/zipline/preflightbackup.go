package zipline

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// usage is what a user of the backup has.
type usage struct{ files, bytes int64 }

// maxDepth is how deep folders may nest before a note warns of it: Zipline follows them without a guard.
const maxDepth = 50

// read checks the backup's export row by row, settles what doesn't depend on the target, and learns what rows refer to.
func (f *preflight) read(ctx context.Context) error {
	names, odd := map[uint64]bool{}, []string{}
	f.backup = backupView(f.r, f.plan)
	f.backup.forget()
	var err error
	f.backup.head, err = f.backup.open.walk(ctx, func(array string, n int64, row fields) error {
		unknown := settleDates(row)
		if why := oddRow(array, row); why != "" {
			if array == "users" || row == nil {
				odd = append(odd, label(any(row), n)+" of "+array+" "+why)
				return nil
			}
			f.leave(array, row, "schema", label(any(row), n), "the row is left out, because it "+why+" and Zipline would refuse all of the import")
			return nil
		}
		if unknown && array != "thumbnails" {
			f.plan.Undated[array+"/"+str(row, "id")] = true
			f.report.add(undated(array, label(any(row), n)))
		}
		switch array {
		case "metrics":
			f.metrics++
		case "thumbnails":
			f.report.thumbnails++
		case "files":
			f.file(row, names)
		}
		f.due(array, row)
		f.backup.learnRow(array, row)
		return nil
	}, func(settings fields) { f.backup.settings = settings })
	if err != nil {
		return err
	}
	f.backup.findPaths()
	if n := f.plan.Ignored; n != nil {
		f.report.thumbnails, f.metrics = n.Thumbnails, n.Stats
	}
	f.respell(names)
	if len(odd) > 0 {
		return failure.New(failure.Invalid, "Zipline would refuse all of this backup: %s", strings.Join(odd[:min(len(odd), 5)], "; ")).
			WithHint("correct the row in the source and back it up again")
	}
	if f.unchosen > 0 {
		f.report.add(note("filtered", "", "%d files are left out, as --only wants it; their rows don't come in either", f.unchosen))
	}
	if f.report.thumbnails > 0 {
		f.report.add(note("thumbnails", "", "%d thumbnails are left out: Zipline imports none, deletes those that it doesn't know at its start, and makes new ones", f.report.thumbnails))
	}
	if !f.r.Wishes.Objects {
		f.report.add(note("filtered", "", "the rows of %d files come in without the files themselves, as --only-documents wants it", f.files))
	}
	return nil
}

// undated is about a row whose date of creation can't be read.
func undated(array, item string) app.Finding {
	return problem("date", item, "%s has a date of creation in the backup that is none: it comes in as one of %s", oneOf(array), unknownDate[:len("1970-01-01")])
}

// respell makes sure that a name that had to change is no other file's, nor that of another object.
func (f *preflight) respell(names map[uint64]bool) {
	for _, from := range slices.Sorted(maps.Keys(f.plan.Files)) {
		free := func(name string) bool {
			_, object := f.plan.chosen.size(name)
			return !object && !names[digestOf("name", name)]
		}
		if to := f.plan.Files[from]; !free(to) {
			f.plan.Files[from] = numbered(to, beforeDot, free)
		}
		names[digestOf("name", f.plan.Files[from])] = true
	}
}

// leave leaves a row out.
func (f *preflight) leave(array string, row fields, kind, item, why string) {
	f.plan.Left[array+"/"+str(row, "id")] = true
	f.report.leave(array, problem(kind, item, "%s", why))
}

func (f *preflight) file(row fields, names map[uint64]bool) {
	name, id := str(row, "name"), str(row, "userId")
	digest := digestOf("name", name)
	switch {
	case f.plan.chosen.leftOut(name):
		f.unchosen++
		return
	case names[digest]:
		f.leave("files", row, "duplicate-name", name, "another file of the backup has the same stored name and shares its object; Zipline imports one of them only")
		return
	}
	names[digest] = true
	f.files++
	u := f.usage[id]
	if u == nil {
		u = &usage{}
		f.usage[id] = u
	}
	size, there := f.plan.chosen.size(name)
	if u.files++; there {
		u.bytes += size
	} else {
		f.bare[digestOf("bare", name)] = sizeOf(row)
		if f.r.Wishes.Objects {
			f.report.add(problem("missing", name, "the backup has the row of this file, but not the file itself: the row comes in, without bytes"))
		}
	}
	if other := spelled(name, f.old); other != name {
		f.plan.Files[name] = other
	}
}

// spelled returns a name that an import keeps: old versions decode percent signs, and all refuse some characters.
func spelled(name string, old bool) string {
	if decoded, err := url.PathUnescape(name); old && (err != nil || decoded != name) {
		name = strings.ReplaceAll(name, "%", "_")
	}
	name = strings.NewReplacer("/", "_", "\\", "_").Replace(name)
	if name == "" || name == "." || name == ".." {
		name = "_" + name
	}
	return name
}

// due names rows that Zipline deletes when it starts next, or soon after.
func (f *preflight) due(array string, row fields) {
	views, most := number(row, "views"), number(row, "maxViews")
	past := func(name string) bool {
		at, is := parseDate(str(row, name))
		return is && !at.After(f.client.now())
	}
	switch {
	case array == "files" && past("deletesAt"):
		f.report.add(note("due", str(row, "name"), "the file's date of deletion has passed: Zipline deletes it, and its bytes, at its next round"))
	case array == "files" && row["maxViews"] != nil && views >= most:
		f.report.add(note("due", str(row, "name"), "the file was viewed as often as it may be: Zipline deletes it, and its bytes, at its next round"))
	case array == "urls" && row["maxViews"] != nil && views >= most:
		f.report.add(note("due", str(row, "code"), "the short URL was used as often as it may be: Zipline deletes it at its next round"))
	case array == "invites" && (past("expiresAt") || row["maxUses"] != nil && number(row, "uses") >= number(row, "maxUses")):
		f.report.add(note("due", str(row, "code"), "the invite has expired or is used up: Zipline deletes it at its next round"))
	}
}

func number(row fields, name string) float64 {
	n, _ := row[name].(json.Number)
	value, _ := n.Float64() // no number: 0
	return value
}

// oddRow says why Zipline would refuse a row, or stumble over it; "" when it wouldn't. No value is repeated.
func oddRow(array string, row fields) string {
	if row == nil {
		return "is no object"
	}
	var o oddities
	o.check(array, array, map[string]any(row), func() string { return "" })
	for odd := range o.seen {
		if !odd.unknown {
			return "has a field " + odd.path + " that " + odd.message
		}
	}
	for name, why := range oddValues(array, row) {
		return "has a field " + name + " that " + why
	}
	return ""
}

// twinUsers gives users of one name, as a backup that was put together of two may have them, names of their own: an
// import skips the second one with all that is theirs.
func (f *preflight) twinUsers() {
	users, names, first := f.backup.users, map[string]bool{}, map[string]bool{}
	ids := slices.SortedFunc(maps.Keys(users), func(a, b string) int {
		return cmp.Or(cmp.Compare(users[a].created, users[b].created), cmp.Compare(a, b))
	})
	for _, id := range ids {
		names[users[id].name] = true
	}
	for _, id := range ids {
		name := users[id].name
		if !first[name] {
			first[name] = true
			continue
		}
		other := numbered(name, dashed, func(other string) bool { return !names[other] })
		f.plan.Users[id], names[other] = other, true
		f.report.add(note("renamed", name, "several users of the backup have this name: a later one comes in as %s", quoteName(other)))
	}
}

// merge finds the user of the backup whose things the importing administrator gets.
func (f *preflight) merge() error {
	me, wanted := f.plan.Admin, cmp.Or(f.r.Wishes.As, f.plan.Admin.Username)
	for id, u := range f.backup.users {
		if u.name == wanted && f.plan.Users[id] == "" {
			f.plan.Merge = id
		}
	}
	switch {
	case f.plan.Merge == "" && f.r.Wishes.As != "":
		return failure.New(failure.Usage, "the backup has no user %s", quoteName(wanted)).
			WithHint("--as names a user of the backup, whose things the importing administrator gets")
	case f.plan.Merge == "":
		return nil
	}
	f.report.add(note("merge", wanted, "the importing administrator %s gets the things of this user; name, password, role and date of the administrator stay", quoteName(me.Username)))
	return nil
}

// warnTOTP says that a second factor moves.
func (f *preflight) warnTOTP() {
	name := f.backup.users[f.plan.Merge].name
	switch {
	case f.plan.Merge == "":
	case f.totp:
		f.report.add(note("totp", name, "the second factor (TOTP) of this user becomes active for %s: have its authenticator at hand", quoteName(f.plan.Admin.Username)))
	case f.hasTOTP:
		f.report.add(note("totp", name, "this user has no second factor (TOTP): that of %s is switched off", quoteName(f.plan.Admin.Username)))
	}
}

// folders cuts circles and finds names that a user has more than once; taken are those of the administrator on the target.
func (f *preflight) folders(taken map[string]bool) {
	all := make([]*folder, 0, len(f.backup.folders))
	for _, each := range f.backup.folders {
		all = append(all, each)
	}
	slices.SortFunc(all, func(a, b *folder) int { return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id)) })
	for _, each := range all {
		f.climb(each)
	}
	if f.plan.Ignored != nil {
		return // the import of version 3 takes several folders of a name
	}
	used := map[[2]string]bool{}
	for _, each := range all {
		used[[2]string{f.backup.ownerOf(each.owner), each.name}] = false // known, nobody has come in with it yet
	}
	for _, each := range all {
		if f.plan.exists[f.backup.folderDigest(each.id)] {
			continue // it is not sent
		}
		owner := f.backup.ownerOf(each.owner)
		mine := func(name string) bool { return owner == f.plan.Admin.Username && taken[name] }
		name := each.name
		if used[[2]string{owner, name}] || mine(name) {
			name = numbered(name, bracketed, func(other string) bool {
				_, known := used[[2]string{owner, other}]
				return !known && !mine(other)
			})
			f.plan.Sent[each.id] = name
		}
		used[[2]string{owner, name}] = true
	}
}

// climb follows a folder to its root, and cuts a circle where it closes.
func (f *preflight) climb(from *folder) {
	been, depth := map[string]bool{}, 0
	for at := from; at != nil; at = f.backup.folders[at.parent] {
		if been[at.id] = true; at.parent == "" || f.plan.Cut[at.id] {
			break
		}
		if depth++; depth == maxDepth {
			f.report.add(note("deep", from.name, "the folder lies more than %d folders deep; Zipline follows such without a guard", maxDepth))
		}
		up := f.backup.folders[at.parent]
		if up != nil && !been[up.id] {
			continue
		}
		f.plan.Cut[at.id] = true
		if up != nil {
			f.report.add(problem("circle", at.name, "the folder lies within itself: it comes in at the root"))
		} else {
			f.report.add(problem("parent", at.name, "the folder's parent is not in the backup: it comes in at the root"))
		}
		at.parent = ""
		break
	}
}

// strangers leaves out rows whose user the backup doesn't have, and finds what has no owner.
func (f *preflight) strangers(array string, row fields) bool {
	id := cmp.Or(str(row, "userId"), str(row, "inviterId"))
	_, known := f.backup.users[id]
	switch {
	case known || array == "users" || array == "metrics" || array == "thumbnails":
		return false
	case array == "files" || array == "urls" || array == "folders" && f.plan.Ignored != nil:
		f.plan.Keeps = true
		f.report.add(note("ownerless", cmp.Or(str(row, "name"), str(row, "code")), "it has no owner: it comes in as one of %s, because Zipline's import skips what is nobody's", quoteName(f.plan.Admin.Username)))
		return false
	}
	f.leave(array, row, "stranger", label(any(row), 0), "its user is not in the backup: it is left out of "+nameOf(array))
	return true
}

// quotas warns of users that have more than their quota lets them have.
func (f *preflight) quotas(row fields) {
	u := f.usage[str(row, "userId")]
	if u == nil {
		return
	}
	name := f.backup.ownerOf(row["userId"])
	if most := number(row, "maxFiles"); row["maxFiles"] != nil && float64(u.files) > most {
		f.report.add(note("quota", name, "the user has %d files, and a quota of %.0f: all come in, new uploads are refused", u.files, most))
	}
	if most, ok := quotaBytes(str(row, "maxBytes")); ok && u.bytes > most {
		f.report.add(note("quota", name, "the user has %d bytes, and a quota of %d: all come in, new uploads are refused", u.bytes, most))
	}
}

// quotaBytes reads a size as Zipline writes it, such as 2gb.
func quotaBytes(text string) (int64, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	factor, known := map[string]float64{"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}[strings.TrimSpace(text[len(digits):])]
	value, err := json.Number(digits).Float64()
	if err != nil || !known || value <= 0 || value*factor > 1<<62 {
		return 0, false
	}
	return int64(value * factor), true
}
