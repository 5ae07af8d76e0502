package foreign

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/zipcheck"
)

// The names in a backup of Labii. Its ids are opaque; all that were ever seen have labiiSID's shape.
var (
	labiiSID     = regexp.MustCompile(`^[A-Za-z0-9]{4}0a40x[0-9a-f]+[A-Za-z0-9]*$`)
	labiiOpaque  = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)
	labiiVersion = regexp.MustCompile(`^[A-Za-z0-9]{8,64}_[0-9]+(\.json)?$`)
	labiiFile    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*[0-9]: .`)
)

// labii is what the names of a backup of Labii add up to.
type labii struct {
	organization    string
	versions, files int64
	others          int64
}

// labiiOf sums up the names; false where they are not Labii's: one folder for all, with versions, or with files that
// begin with an id of a record.
func labiiOf(r *zipcheck.Report) (labii, bool) {
	folder := onlyFolder(r)
	l := labii{organization: strings.TrimSuffix(folder, "/")}
	if !labiiOpaque.MatchString(l.organization) {
		return l, false
	}
	for i := range r.Entries {
		rest, inside := strings.CutPrefix(r.Entries[i].Name, folder)
		version, isVersion := strings.CutPrefix(rest, "versions/")
		switch {
		case r.Entries[i].Dir():
		case inside && isVersion && labiiVersion.MatchString(version):
			l.versions++
		case inside && labiiFile.MatchString(rest), strings.HasPrefix(rest, "google/"), strings.HasPrefix(rest, "microsoft/"):
			l.files++
		default:
			l.others++
		}
	}
	mostly := l.others <= (l.versions+l.files)/10 // its documentation is not complete
	return l, mostly && l.versions > 0 && (l.files > 0 || labiiSID.MatchString(l.organization))
}

func namedLabii(r *zipcheck.Report) bool {
	_, ok := labiiOf(r)
	return ok
}

// openLabii goes by names alone: what a version holds is not documented.
func (a *Archive) openLabii(context.Context) error {
	l, ok := labiiOf(a.report)
	if !ok {
		return nil
	}
	var items []item
	for i := range a.report.Entries {
		e := &a.report.Entries[i]
		switch {
		case e.Dir() || e.Shadowed:
		case strings.HasPrefix(e.Name, l.organization+"/versions/"):
			items = append(items, item{entry: i, path: e.Name, document: true, secret: true})
		default:
			items = append(items, item{entry: i, path: e.Name, key: e.Name})
		}
	}
	if !a.arrange(items) {
		return nil
	}
	a.Kind = "labii"
	a.Why = fmt.Sprintf("it is a backup of Labii's organization %s: %d versions of records, %d files", l.organization, l.versions, l.files)
	a.Facts = app.Facts{Application: "Labii", Counts: map[string]int64{"versions": l.versions, "files": l.files}, Secrets: true}
	a.note("no-tables", "a backup of Labii holds no tables, columns, projects and people: they have to come from Labii's export")
	return nil
}
