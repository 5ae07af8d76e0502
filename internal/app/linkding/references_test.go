package linkding

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
)

// broken makes a data folder of the latest schema and changes its database, as a program that does not look at
// references would.
func broken(t *testing.T, statements ...string) string {
	t.Helper()
	data := modern(t)
	db := sqlOpen(t, filepath.Join(data, database), "mode=rw&_pragma=foreign_keys(OFF)")
	exec(t, db, statements...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

// applied is a statement that says that linkding has applied migrations.
func applied(names ...string) string {
	return "INSERT INTO django_migrations(app, name, applied) VALUES ('bookmarks', '" + strings.Join(names, "', ''), ('bookmarks', '") + "', '')"
}

// TestReferences makes backups of databases that are whole as files and not as a library: integrity_check finds nothing
// in any of them.
func TestReferences(t *testing.T) {
	for name, test := range map[string]struct {
		statements []string
		want       []string
	}{
		"whole":        {nil, nil},
		"a lost table": {[]string{"DROP TABLE bookmarks_tag"}, []string{"problem missing-table bookmarks_tag", "problem reference bookmarks_bookmark_tags → bookmarks_tag (30)"}},
		"a lost row": {[]string{"DELETE FROM bookmarks_bookmark WHERE id > 28"}, []string{
			"problem reference bookmarks_bookmark_tags → bookmarks_bookmark (2)",
		}},
		"a link to rows that never were": {[]string{"INSERT INTO bookmarks_bookmark_tags(bookmark_id, tag_id) VALUES (1, 9), (700, 8)"}, []string{
			"problem reference bookmarks_bookmark_tags → bookmarks_bookmark (1)", "problem reference bookmarks_bookmark_tags → bookmarks_tag (2)",
		}},
		"no users": {[]string{"DELETE FROM auth_user"}, []string{
			"problem reference bookmarks_bookmark → auth_user (30)", "problem reference bookmarks_tag → auth_user (1)", "problem suspicious",
		}},
		"no table of users": {[]string{"DROP TABLE auth_user", "DELETE FROM bookmarks_bookmark_tags", "DELETE FROM bookmarks_tag"}, []string{
			"problem missing-table auth_user", "problem reference bookmarks_bookmark → auth_user (30)",
		}},
		"a parent without a key": {[]string{
			"CREATE TABLE copied AS SELECT * FROM bookmarks_tag", "DROP TABLE bookmarks_tag", "ALTER TABLE copied RENAME TO bookmarks_tag",
		}, []string{"problem reference bookmarks_bookmark_tags"}},
		"of a later schema": {[]string{
			applied("0007_userprofile", "0030_bookmarkasset", "0045_userprofile_hide_bundles_bookmarkbundle"),
			"DROP TABLE bookmarks_userprofile", "DROP TABLE bookmarks_bookmarkasset", "DROP TABLE bookmarks_bookmarkbundle",
		}, []string{"problem missing-table bookmarks_bookmarkasset", "problem missing-table bookmarks_bookmarkbundle", "problem missing-table bookmarks_userprofile"}},
		"of a schema that had no such table yet": {[]string{
			applied("0007_userprofile"), "DROP TABLE bookmarks_bookmarkasset", "DROP TABLE bookmarks_globalsettings",
		}, nil},
		"of a linkding that is not known yet": {[]string{
			applied("0012_toast", "0099_no_more_toasts"), "DROP TABLE bookmarks_toast",
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sink, _ := must(t, broken(t, test.statements...))
			if diff := cmp.Diff(test.want, short(sink.found), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyReferences names the first ten, and counts the others.
func TestManyReferences(t *testing.T) {
	var statements []string
	for i := range 12 {
		name := "t" + string(rune('a'+i))
		statements = append(statements, "CREATE TABLE "+name+"(u INTEGER REFERENCES auth_user(id))", "INSERT INTO "+name+" VALUES (9)")
	}
	sink, _ := must(t, broken(t, statements...))
	last := app.Finding{}
	if len(sink.found) > 0 {
		last = sink.found[len(sink.found)-1]
	}
	if len(sink.found) != 11 || last.Kind != "reference" || !strings.HasPrefix(last.Message, "2 more") {
		t.Errorf("%d findings, the last: %+v", len(sink.found), last)
	}
}

// TestReferencesOfFullBackup says the same of linkding's own archive.
func TestReferencesOfFullBackup(t *testing.T) {
	full, err := openBytes(t, zipOf(t, file{database, databaseOf(t, broken(t, "DROP TABLE bookmarks_tag"))}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"problem missing-table bookmarks_tag", "problem reference bookmarks_bookmark_tags → bookmarks_tag (30)"}
	if diff := cmp.Diff(want, short(full.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
