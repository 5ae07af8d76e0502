package linkding

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"lifeboat/internal/app"
)

// maxReferences is how many broken references have a finding of their own.
const maxReferences = 10

// core are the tables that every linkding has, with those that say that it is one.
var core = []string{"auth_user", "bookmarks_bookmark_tags", "bookmarks_tag"}

// made are linkding's other tables and the migrations that make them.
var made = map[string]string{
	"0007_userprofile":    "bookmarks_userprofile",
	"0012_toast":          "bookmarks_toast",
	"0015_feedtoken":      "bookmarks_feedtoken",
	"0030_bookmarkasset":  "bookmarks_bookmarkasset",
	"0037_globalsettings": "bookmarks_globalsettings",
	"0045_userprofile_hide_bundles_bookmarkbundle": "bookmarks_bookmarkbundle",
	"0052_apitoken": "bookmarks_apitoken",
}

// knownMigrations is the number of the last migration that is known not to drop a table.
const knownMigrations = "0054"

// lacking finds tables that linkding has made, by its applied migrations (the last one first), and that are not there.
// Of a younger linkding than is known, only the core is sure to be needed.
func lacking(tables map[string]table, applied []string) []app.Finding {
	needed := slices.Clone(core)
	if last := applied[0]; last[:min(len(last), len(knownMigrations))] <= knownMigrations {
		for _, name := range applied {
			if made[name] != "" {
				needed = append(needed, made[name])
			}
		}
	}
	slices.Sort(needed)
	var all []app.Finding
	for _, name := range slices.Compact(needed) {
		if tables[name].columns == nil {
			all = append(all, problem("missing-table", name,
				"linkding's database has no such table any more, and linkding does not work without it: look for what it held in an older backup"))
		}
	}
	return all
}

// references finds rows that refer to rows that are not there. integrity_check looks at the file, not at what rows mean.
func (r *reader) references(tables map[string]table) ([]app.Finding, error) {
	var all []app.Finding
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		lost := map[string]int64{} // rows by the table that they refer to
		err := r.rows(`SELECT CAST(parent AS TEXT) FROM pragma_foreign_key_check(?)`, []any{name}, func(scan func(...any) error) error {
			var parent string
			err := scan(&parent)
			lost[parent]++
			return err
		})
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == codes.SQLITE_ERROR { // a mismatch
			all = append(all, problem("reference", name, "what its rows refer to has lost its keys, so that nothing says whether it is there: see whether linkding works with it, or look into an older backup"))
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, parent := range slices.Sorted(maps.Keys(lost)) {
			all = append(all, problem("reference", fmt.Sprintf("%s → %s (%d)", name, parent, lost[parent]),
				"rows of the database refer to rows that are not there: see whether linkding works with it, or look for them in an older backup"))
		}
	}
	if more := len(all) - maxReferences; more > 0 {
		all = append(all[:maxReferences], problem("reference", "", "%d more tables have rows that refer to rows that are not there", more))
	}
	return all, nil
}

// users says when nobody could sign in.
func (l *library) users() []app.Finding {
	if n, counted := l.facts.Counts["users"]; counted && n == 0 {
		return []app.Finding{problem("suspicious", "", "the database holds no user, so that nobody could sign in: is this the data folder that linkding uses?")}
	}
	return nil
}
