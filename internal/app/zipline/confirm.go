package zipline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
)

// confirming compares a target with a backup after a replay.
type confirming struct {
	*Target
	r        *app.Replay
	plan     *plan
	stages   *stages
	answered bool   // the import was answered: no later run brings in more
	differ   hashes // what this first Confirm finds other than in the backup
	compared *comparison
	report   report
	counts   []app.Count
	asserted []string
	differs  int // app.Confirmation.Differs
}

// Confirm implements app.Target: a fresh export of the target and the listing of its datasource are held against the
// backup, by names and by every field that an import keeps.
func (t *Target) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	c := &confirming{Target: t, r: r}
	if nothingToReplay(r) {
		chosen, err := readObjects(ctx, r)
		if err != nil {
			return app.Confirmation{}, err
		}
		c.plan = newPlan(person{}, chosen)
		if _, err := r.Notes.Get(ctx, planNote, c.plan); err != nil {
			return app.Confirmation{}, fmt.Errorf("read the plan of this restore: %w", err)
		}
		err = c.objects(ctx)
		return c.confirmation(), err
	}
	var err error
	if c.plan, err = loadPlan(ctx, r); err != nil {
		return app.Confirmation{}, err
	}
	if c.stages, err = loadStages(ctx, r, c.plan); err != nil {
		return app.Confirmation{}, err
	}
	var s importing
	if _, err := r.Notes.Get(ctx, importNote, &s); err != nil {
		return app.Confirmation{}, fmt.Errorf("read the notes of this restore: %w", err)
	}
	c.answered = s.Answered
	if c.compared, err = t.compare(ctx, r, c.plan, c.plan.Metrics); err != nil {
		return app.Confirmation{}, err
	}
	for _, step := range []func(context.Context) error{c.rows, c.twinFolders, c.settings, c.objects} {
		if err := step(ctx); err != nil {
			return app.Confirmation{}, err
		}
	}
	if n := c.plan.Ignored; n != nil {
		c.report.passedOver(n)
		c.counts = append(c.counts, app.Count{What: "metrics", Backup: n.Stats, Skip: n.Stats})
	}
	c.report.add(note("lost", "", "%s", lostByNature))
	return c.confirmation(), c.remember(ctx)
}

// remember notes what the first Confirm has found: what a later one finds beyond that was changed since.
func (c *confirming) remember(ctx context.Context) error {
	if c.stages.Confirmed {
		return nil
	}
	c.stages.Confirmed, c.stages.Differ = true, c.differ
	c.stages.Differ.sort()
	return c.stages.note(ctx, c.r)
}

// since reports whether something that differs was as in the backup at the first Confirm.
func (c *confirming) since(array, key string) bool {
	digest := keyDigest(array, key)
	if c.stages.Confirmed {
		return !c.stages.Differ.has(digest)
	}
	c.differ = append(c.differ, digest)
	return false
}

func (c *confirming) confirmation() app.Confirmation {
	return app.Confirmation{Counts: c.counts, Findings: c.report.all(), Asserted: c.asserted, Differs: c.differs}
}

// noted names something that is other than in the backup, and no fault of the restore.
func (c *confirming) noted(item, format string, args ...any) {
	c.differs++
	c.report.add(note("changed", item, format, args...))
}

// rows counts, and names every row that is missing or other than in the backup.
func (c *confirming) rows(ctx context.Context) error {
	left := map[string]int64{}
	for row := range c.plan.Left {
		array, _, _ := strings.Cut(row, "/")
		left[array]++
	}
	for _, array := range arrays {
		sum := c.compared.sum[array]
		if array == "thumbnails" || array == "metrics" && !c.plan.Metrics {
			continue
		}
		if n := c.plan.Ignored; n != nil && array == "invites" {
			c.counts = append(c.counts, app.Count{What: nameOf(array), Backup: n.Invites, Skip: n.Invites})
			continue
		}
		c.counts = append(c.counts, app.Count{
			What: nameOf(array), Backup: sum.want + left[array], Create: sum.same - sum.stays, Exists: sum.stays,
			Skip: sum.want - sum.same + left[array],
		})
	}
	c.asserted = append(c.asserted, "a fresh export of the target was compared with the backup, row by row and field by field")
	for _, row := range slices.Sorted(maps.Keys(c.plan.Undated)) {
		array, id, _ := strings.Cut(row, "/")
		if !c.plan.Left[row] && (array != "metrics" || c.plan.Metrics) {
			c.report.add(undated(array, id))
		}
	}
	for _, row := range slices.Sorted(maps.Keys(c.plan.Left)) {
		array, id, _ := strings.Cut(row, "/")
		c.report.add(problem("left-out", id, "this row of %s was left out, as the check before the restore said", nameOf(array)))
	}
	c.renamed()
	return c.name(ctx)
}

// renamed lists what has another name than in the backup.
func (c *confirming) renamed() {
	for _, each := range []struct {
		what  string
		names map[string]string
	}{
		{"tag", c.plan.Tags},
		{"code of a short URL", c.plan.Codes},
		{"name of a short URL", c.plan.Vanity},
		{"invite", c.plan.Invites},
		{"stored name of a file", c.plan.Files},
	} {
		for _, name := range slices.Sorted(maps.Keys(each.names)) {
			c.report.add(note("renamed", name, "this %s is %s on the target", each.what, quoteName(each.names[name])))
		}
	}
	for _, row := range slices.Sorted(maps.Keys(c.plan.Twins)) {
		array, id, _ := strings.Cut(row, "/")
		field, _ := c.plan.renames(array)
		c.report.add(note("renamed", id, "%s, whose %s another one of the backup has, has the %s %s on the target", oneOf(array), field, field, quoteName(c.plan.Twins[row])))
	}
	for id, name := range c.plan.Users {
		c.report.add(note("renamed", c.compared.backup.users[id].name, "this user is %s on the target", quoteName(name)))
	}
	if c.plan.Merge != "" {
		was := c.compared.backup.users[c.plan.Merge].name
		c.report.add(note("merge", was, "the things of this user belong to %s, who keeps name, password, role and date", quoteName(c.plan.Admin.Username)))
	}
}

// name walks the backup again for the names of what is not as it should be.
func (c *confirming) name(ctx context.Context) error {
	stuckUsers, metrics := c.compared.fixed(), int64(0)
	v := backupView(c.r, c.plan)
	before := map[uint64]int{} // rows that are called alike, read so far
	var moved map[uint64]bool  // folders
	if c.stages.Confirmed {
		moved = c.findMoved()
	}
	err := v.each(ctx, func(array, key string, traits []trait, row fields) error {
		if array == "metrics" && !c.plan.Metrics {
			metrics++
			return nil
		}
		digest := keyDigest(array, key)
		if c.compared.twins[digest] > 0 {
			before[digest]++
			digest = nth(digest, before[digest]-1)
		}
		e := c.compared.index[digest]
		if _, known := v.users[str(row, "userId")]; !known && (array == "files" || array == "urls") && e.bits&bitExists == 0 {
			c.report.add(note("ownerless", key, "it had no owner, and is one of %s now", quoteName(c.plan.Admin.Username)))
		}
		owner := v.ownerOf(str(row, "userId") + str(row, "inviterId"))
		switch {
		case e.bits&bitFound == 0 && stuckUsers[owner]:
			c.report.add(problem("missing", shown(array, key), "%s: it belongs to %s, a super administrator that an interrupted import has made and no other may delete; to finish, lower that user's role in the database, delete %s in Zipline, and run the restore again", oneOf(array), quoteName(owner), c.firstDelete()))
		case e.bits&bitFound == 0 && moved[digest]:
			c.noted(shown(array, key), "the folder was moved or renamed since it came in")
		case e.bits&bitFound == 0:
			c.report.add(problem("missing", shown(array, key), "%s is not on the target; %s", oneOf(array), c.finish(array)))
		case e.bits&bitSame == 0:
			c.other(array, key, traits, e.bits&bitExists != 0, c.compared.differ[digest])
		}
		return nil
	})
	if err == nil && metrics > 0 {
		c.counts = append(c.counts, app.Count{What: "metrics", Backup: metrics, Skip: metrics})
		c.report.add(note("metrics", "", "%d metrics were left out: the target had some of its own", metrics))
	}
	return err
}

// findMoved finds, for the folders that are not where they were, one of the target that is none of the others and has the
// owner and date: one of the same name first, which was moved, then any, which was renamed.
func (c *confirming) findMoved() map[uint64]bool {
	backup, target, moved := c.compared.backup, c.compared.target, map[uint64]bool{}
	free := map[[2]string][]string{} // names, by owner and date
	for id, f := range target.folders {
		if !c.compared.claimed[id] {
			key := [2]string{target.ownerOf(f.owner), f.created}
			free[key] = append(free[key], f.name)
		}
	}
	for _, named := range []bool{true, false} {
		for id, f := range backup.folders {
			key, digest := [2]string{backup.ownerOf(f.owner), f.created}, backup.folderDigest(id)
			if moved[digest] || c.compared.index[digest].bits&bitFound != 0 {
				continue
			}
			at := slices.IndexFunc(free[key], func(name string) bool { return !named || name == f.name })
			if at >= 0 {
				free[key], moved[digest] = slices.Delete(free[key], at, at+1), true
			}
		}
	}
	return moved
}

// firstDelete says what has to go before another import can bring a user in.
func (c *confirming) firstDelete() string {
	if c.answered {
		return "that user and all else that this restore has made"
	}
	return "the user"
}

// finish says how a row that is missing can be had after all.
func (c *confirming) finish(array string) string {
	switch {
	case !c.answered || array == "metrics" && !c.stages.Metrics:
		return "look into Zipline's log for what its import stumbled over, then run the restore again"
	case array == "files":
		return "the import is over, and no further run brings it in: take the file out of the backup with `lifeboat get`, and upload it"
	}
	return "the import is over, and no further run brings it in: make it by hand, or restore into a Zipline that is empty"
}

func oneOf(array string) string { return "one of the " + nameOf(array) }

// shown writes a row's key for a person. A key may hold a token's like: only names are shown.
func shown(array, key string) string {
	switch array {
	case "metrics":
		key, _, _ = strings.Cut(key, pathJoin)
	case "folders":
		if parts := strings.Split(key, pathJoin+pathJoin); len(parts) > 1 {
			return shownPath(parts[1])
		}
	}
	return strings.ReplaceAll(key, pathJoin, " ")
}

// other names the fields that differ, never what they hold.
func (c *confirming) other(array, key string, want []trait, existed bool, got []trait) {
	has := map[string]string{}
	for _, t := range got {
		has[t.name] = t.value
	}
	var differ []string
	grown := true
	for _, t := range want {
		if has[t.name] == t.value {
			continue
		}
		differ = append(differ, t.name)
		grown = grown && t.name == "views" && len(has["views"]) >= len(t.value) && (len(has["views"]) > len(t.value) || has["views"] > t.value)
	}
	switch {
	case got != nil && grown:
		c.report.add(note("views", shown(array, key), "it was viewed since it came in"))
	case existed:
		c.noted(shown(array, key), "%s was on the target before, and stays as it was there; it is other than in the backup: %s", oneOf(array), strings.Join(differ, ", "))
	case c.since(array, key):
		c.noted(shown(array, key), "%s was changed since it came in: %s", oneOf(array), strings.Join(differ, ", "))
	case array == "folders" && slices.Equal(differ, []string{"name"}):
		c.report.add(problem("name", shown(array, key), "the folder is still called %s, because %s", quoteName(unquoted(has["name"])), whyStill(unquoted(want[0].value))))
	default:
		c.report.add(problem("differs", shown(array, key), "%s is other than in the backup: %s", oneOf(array), strings.Join(differ, ", ")))
	}
}

// whyStill says why a folder did not get its name back.
func whyStill(name string) string {
	if !settable(name) {
		return "Zipline sets no name that is blank, or has blanks at its ends; nothing else is other than it was"
	}
	return "the token may not rename folders of another super administrator; rename it in Zipline as its owner"
}

// unquoted returns a text out of its JSON.
func unquoted(text string) string {
	var plain string
	if json.Unmarshal([]byte(text), &plain) != nil {
		return text
	}
	return plain
}

// settings compares the settings, and says which can't be as they were.
func (c *confirming) settings(ctx context.Context) error {
	has, overridden, err := c.settingsOf(ctx)
	if err != nil {
		return err
	}
	why := map[string]string{}
	if _, err := c.r.Notes.Get(ctx, unsetNote, &why); err != nil {
		return fmt.Errorf("read the notes of this restore: %w", err)
	}
	count := app.Count{What: "settings"}
	backup := c.compared.backup.settings
	for _, key := range slices.Sorted(maps.Keys(backup)) {
		if slices.Contains(notSettings, key) {
			continue
		}
		count.Backup++
		is, known := has[key]
		switch {
		case known && canonical(is) == canonical(backup[key]):
			count.Create++
			if slices.Contains(overridden, key) {
				c.report.add(note("setting", key, "it is set, but an environment variable of the target overrides it"))
			}
			continue
		case !known:
			c.report.add(note("setting", key, "this version of Zipline has no such setting"))
		case stuck[key] != "":
			c.report.add(note("setting", key, "it was left as it is on the target, because %s", stuck[key]))
		case slices.Contains(overridden, key):
			c.report.add(note("setting", key, "an environment variable of the target overrides it"))
		case c.since("settings", key):
			c.noted(key, "it was changed since this restore has set it")
		case why[key] != "":
			c.report.add(problem("setting", key, "Zipline refuses the value of the backup (%s): set it in Zipline's settings", why[key]))
		default:
			c.report.add(problem("setting", key, "it is other than in the backup: set it in Zipline's settings"))
		}
		count.Skip++
	}
	c.counts = append(c.counts, count)
	return nil
}

// objects looks for the bytes in the target's datasource.
func (c *confirming) objects(ctx context.Context) error {
	if c.options.Datasource == nil || !c.r.Wishes.Objects {
		return nil
	}
	want, err := c.expected(ctx)
	if err != nil {
		return err
	}
	all := int64(len(want))
	for object, err := range c.options.Datasource.List(ctx) {
		if _, skipped := errors.AsType[*datasource.Skipped](err); skipped {
			continue
		}
		if err != nil {
			return fmt.Errorf("list the target's datasource: %w", err)
		}
		if size, ok := want[digestOf(object.Key)]; ok && size == object.Size {
			delete(want, digestOf(object.Key))
		}
	}
	c.counts = append(c.counts, app.Count{What: "objects", Backup: all, Create: all - int64(len(want)), Skip: int64(len(want))})
	if len(want) == 0 {
		c.asserted = append(c.asserted, "every file that was to be put is in the target's datasource, with its size")
		return nil
	}
	for item, err := range c.r.Items(ctx) {
		if err != nil {
			return fmt.Errorf("list the backup: %w", err)
		}
		name, put := c.plan.place(item)
		if _, missing := want[digestOf(name)]; put && missing {
			c.report.add(problem("no-bytes", name, "the file of %d bytes is not in the target's datasource, or has another size there; run the restore again", item.Size))
		}
	}
	return nil
}

// expected are the sizes of the objects that the target's datasource must have, by the digest of their names.
func (c *confirming) expected(ctx context.Context) (map[uint64]int64, error) {
	want := map[uint64]int64{}
	for item, err := range c.r.Items(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list the backup: %w", err)
		}
		if name, put := c.plan.place(item); put {
			want[digestOf(name)] = item.Size
		}
	}
	return want, nil
}
