package zipline

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"lifeboat/internal/app"
)

// expected is a row of the backup as the target should have it.
type expected struct {
	traits uint64
	born   uint32
	since  uint32
	bits   uint8
}

const (
	bitFound  = 1 << iota // the target has a row of this key
	bitSame               // and with the same traits
	bitExists             // it had it before this restore
	bitNobody             // it is nobody's in the backup, and the administrator's on the target
)

// maxDiffer bounds how many differing rows are kept for the report.
const maxDiffer = 1000

// comparison holds a target against a backup.
type comparison struct {
	plan           *plan
	backup, target *view
	index          map[uint64]expected
	sum            map[string]*tallied
	twins          map[uint64]int     // how many further rows of a digest there are: folders may be called alike
	begin          map[uint64]int     // of those: how many from the first on are found
	alike          map[alike][]int    // of those: which further ones, in order, have what; found ones go when it is asked
	differ         map[uint64][]trait // of the target's rows that are other than in the backup
	changed        []named            // rows that the target had, other than in the backup
	claimed        map[string]bool    // ids of the target's folders that are one of the backup
	strangers      map[string]bool    // users of the target that have a name of the plan, and were made by somebody else
}

// named is a row by what it is called.
type named struct{ array, key string }

// tallied counts the rows of an array.
type tallied struct {
	want, found, same int64
	exists            int64 // of found: rows that were there before this restore
	stays             int64 // of exists: those that are as in the backup
}

func keyDigest(array, key string) uint64 { return digestOf(array, key) }

// nth is the digest of the n-th further row that is called as the one of a digest; that of 0 is the one itself.
func nth(digest uint64, n int) uint64 {
	if n == 0 {
		return digest
	}
	return digestOf("nth", strconv.FormatUint(digest, 16), strconv.Itoa(n))
}

// backupView sees the backup with the names of the plan.
func backupView(r *app.Replay, p *plan) *view {
	return &view{open: backupOf(r), change: p.change, owner: p.owner, merged: p.mergedName(), legacy: p.Ignored != nil}
}

func (p *plan) mergedName() string {
	if p.Merge == "" {
		return ""
	}
	return p.Admin.Username
}

// targetView sees the target; folders that this restore has imported under another name have their own.
func (t *Target) targetView(open opener, p *plan, backup *view) *view {
	final := map[uint64]string{}
	for id, sent := range p.Sent {
		if f := backup.folders[id]; f != nil {
			final[digestOf(backup.ownerOf(f.owner), sent, f.created)] = f.name
		}
	}
	return &view{open: open, admin: p.Admin.Username, merged: p.mergedName(), legacy: p.Ignored != nil, rename: func(owner, name, created string) string {
		if other, ok := final[digestOf(owner, name, created)]; ok {
			return other
		}
		return name
	}}
}

func newComparison(r *app.Replay, p *plan) *comparison {
	c := &comparison{
		plan: p, backup: backupView(r, p), index: make(map[uint64]expected, len(p.chosen.known)), sum: map[string]*tallied{},
		twins: map[uint64]int{}, begin: map[uint64]int{}, alike: map[alike][]int{}, differ: map[uint64][]trait{}, strangers: map[string]bool{}, claimed: map[string]bool{},
	}
	for _, array := range arrays {
		c.sum[array] = &tallied{}
	}
	return c
}

// compare reads the backup and a fresh export of the target.
func (t *Target) compare(ctx context.Context, r *app.Replay, p *plan, metrics bool) (*comparison, error) {
	c := newComparison(r, p)
	return c, t.compareWith(ctx, c, r.Working, metrics)
}

func (t *Target) compareWith(ctx context.Context, c *comparison, working func(int64, int64), metrics bool) error {
	if err := c.backup.each(ctx, func(array, key string, traits []trait, row fields) error {
		if array == "metrics" && !metrics {
			return nil
		}
		c.expect(array, key, traits, row)
		working(1, 0)
		return nil
	}); err != nil {
		return err
	}
	c.target = t.targetView(t.exportOf(metrics).once(), c.plan, c.backup)
	return c.target.each(ctx, func(array, key string, traits []trait, row fields) error {
		c.find(array, key, traits, str(row, "id"))
		return nil
	})
}

// expect notes a row of the backup; false where one of the same name came before.
func (c *comparison) expect(array, key string, traits []trait, row fields) bool {
	first := keyDigest(array, key)
	_, twin := c.index[first]
	if twin {
		c.twins[first]++
	}
	digest := nth(first, c.twins[first])
	id := ownerID(row)
	e := expected{traits: digestTraits(traits), born: born(array, traits), since: since(array, c.backup.ownerOf(id), row)}
	if c.plan.exists[digest] {
		e.bits = bitExists
	}
	if _, known := c.backup.users[id]; !known {
		e.bits |= bitNobody
	}
	c.index[digest] = e
	c.sum[array].want++
	if c.twins[first] == 1 {
		c.addAlike(first, 0)
	}
	if twin {
		c.addAlike(first, c.twins[first])
	}
	return !twin
}

// alike are the rows of a backup that are called alike and have the same; the target had all of them before, or none.
type alike struct {
	digest, traits uint64
	existed        bool
}

// addAlike notes the n-th further row of a digest where twin finds it.
func (c *comparison) addAlike(digest uint64, n int) {
	e := c.index[nth(digest, n)]
	key := alike{digest, e.traits, e.bits&bitExists != 0}
	c.alike[key] = append(c.alike[key], n)
}

// nextAlike returns the first of some rows that is not found yet, or none.
func (c *comparison) nextAlike(key alike) []int {
	rows := c.alike[key]
	for len(rows) > 0 && c.index[nth(key.digest, rows[0])].bits&bitFound != 0 {
		rows = rows[1:]
	}
	c.alike[key] = rows
	return rows[:min(len(rows), 1)]
}

// twin picks the row of the backup that one of the target is: of several that are called alike, the first that is not
// found yet and has the same traits, and that the target had before or not as existed says, or else the first that is not
// found yet.
func (c *comparison) twin(digest, traits uint64, existed ...bool) uint64 {
	all := c.twins[digest]
	if all == 0 {
		return digest
	}
	for c.begin[digest] < all && c.index[nth(digest, c.begin[digest])].bits&bitFound != 0 {
		c.begin[digest]++
	}
	var fit []int
	for _, each := range existed {
		fit = append(fit, c.nextAlike(alike{digest, traits, each})...)
	}
	if len(fit) > 0 {
		return nth(digest, slices.Min(fit))
	}
	return nth(digest, c.begin[digest])
}

// take is twin, by what the rows have, for a row of the target that is looked at once.
func (c *comparison) take(digest uint64, traits []trait) uint64 {
	if c.twins[digest] == 0 {
		return digest
	}
	digest = c.twin(digest, digestTraits(traits), false, true)
	e := c.index[digest]
	e.bits |= bitFound
	c.index[digest] = e
	return digest
}

func (c *comparison) find(array, key string, traits []trait, id string) {
	digest := keyDigest(array, key)
	if c.twins[digest] > 0 {
		digest = c.twin(digest, digestTraits(traits), c.plan.had(array, id))
	}
	e, ours := c.index[digest]
	if !ours || e.bits&bitFound != 0 {
		return
	}
	if array == "folders" {
		c.claimed[id] = true
	}
	sum := c.sum[array]
	e.bits |= bitFound
	sum.found++
	if e.bits&bitExists != 0 && e.bits&bitNobody != 0 {
		traits = owned(traits, c.plan.Admin.Username)
	}
	there, same := sum.exists, e.traits == digestTraits(traits)
	switch {
	case e.bits&bitExists != 0, c.plan.had(array, id), array == "users" && key == c.plan.mergedName():
		sum.exists++
	case !e.isMade(array, traits): // somebody has made it since
		sum.exists++
		if array == "users" {
			c.strangers[key] = true
		}
	}
	switch {
	case same:
		e.bits |= bitSame
		sum.same++
		sum.stays += sum.exists - there
	case e.bits&bitExists != 0 && len(c.changed) < maxDiffer:
		c.changed = append(c.changed, named{array, key})
	}
	if !same && len(c.differ) < maxDiffer {
		c.differ[digest] = traits
	}
	c.index[digest] = e
}

// owned returns what a row that is nobody's would be as one of owner's.
func owned(traits []trait, owner string) []trait {
	for i, t := range traits {
		if t.name == "owner" && t.value == "" {
			traits = slices.Clone(traits)
			traits[i].value = owner
		}
	}
	return traits
}

// born sums up what tells a row that this restore has made from one of the same name that somebody made since the plan
// was noted: its date, which an import keeps, or else what it has.
func born(array string, traits []trait) uint32 {
	for _, by := range []string{"createdAt", "color", "password"} { // tags have no date, and users of Zipline 3 neither
		for _, t := range traits {
			if t.name == by {
				return uint32(digestOf(by, t.value))
			}
		}
	}
	return 0
}

// isMade compares what a row of the target was born as; a tag may be one that was made to ask whether its name is free.
func (e expected) isMade(array string, traits []trait) bool {
	return e.born == born(array, traits) || array == "userTags" && born(array, traits) == born(array, []trait{{"color", canonical(askingColor)}})
}

// made reports whether a row of the target is one that this restore has made: it has a name of the plan, and neither
// name nor id was there before.
func (c *comparison) made(array, key string, traits []trait, id string) bool {
	digest := keyDigest(array, key)
	e, planned := c.index[digest]
	return planned && !c.plan.exists[digest] && !c.plan.had(array, id) && e.isMade(array, traits)
}

// ownerID is the id of the user that a row belongs to.
func ownerID(row fields) string { return cmp.Or(str(row, "userId"), str(row, "inviterId")) }

// since sums up what stays of a row whatever people do with it: owner, date, and the size of a file; 0 where it has no
// date. Two rows of one name that have it in common are the same one.
func since(array, owner string, row fields) uint32 {
	created := moment(row["createdAt"])
	if created == "" {
		return 0
	}
	words := []string{owner, created}
	if array == "files" {
		words = append(words, canonical(row["size"]))
	}
	return cmp.Or(uint32(digestOf(words...)), 1)
}

// isOf reports whether a row of the target is the very one of the backup, changed or not: v sees the target.
func (e expected) isOf(v *view, array string, row fields, traits []trait) bool {
	owner, admin := v.ownerOf(ownerID(row)), v.admin
	if owner == "" && e.bits&bitNobody != 0 {
		owner = admin
	}
	if owner != admin {
		return false
	}
	return e.since != 0 && e.since == since(array, owner, row) || e.traits == digestTraits(traits)
}

// missing is how many rows an import would still have to bring in; begun, how many of them are there. Metrics come in
// by an import of their own.
func (c *comparison) missing() (missing, begun int64) {
	for array, sum := range c.sum {
		if array != "metrics" {
			missing += sum.want - sum.found
			begun += sum.found - sum.exists
		}
	}
	return missing, begun
}

// stand is how many rows of the backup the target has, by array.
func (c *comparison) stand() []int64 {
	found := make([]int64, 0, len(arrays))
	for _, array := range arrays {
		found = append(found, c.sum[array].found)
	}
	return found
}

// fixed are the super administrators of the backup that the target has, by their names there: an import skips them with
// all that is theirs, and nobody can take them back.
func (c *comparison) fixed() map[string]bool {
	fixed := map[string]bool{}
	for id, u := range c.backup.users {
		name := c.plan.owner(c.backup.users, id)
		if u.role == "SUPERADMIN" && id != c.plan.Merge && c.index[keyDigest("users", name)].bits&bitFound != 0 {
			fixed[name] = true
		}
	}
	return fixed
}
