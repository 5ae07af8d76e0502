package foreign

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lifeboat/internal/app/linkding"
	"lifeboat/internal/failure"
	"lifeboat/internal/zipcheck"
)

// database is the name of linkding's database in an archive of its full_backup.
const database = "db.sqlite3"

// linkdingTypes are the folders of files and what the adapter calls a file of each.
var linkdingTypes = map[string]string{"assets": "asset", "favicons": "favicon", "previews": "preview"}

func namedLinkding(r *zipcheck.Report) bool {
	return slices.ContainsFunc(r.Entries, func(e zipcheck.Entry) bool { return e.Name == database })
}

// openLinkding goes by linkding's own layout. What the database is, Check says.
func (a *Archive) openLinkding(context.Context) error {
	verdict, err := linkding.Recognise(a.source, a.size)
	if err != nil || verdict != linkding.Candidate {
		return err
	}
	var items []item
	for i := range a.report.Entries {
		e := &a.report.Entries[i]
		folder, _, _ := strings.Cut(e.Name, "/")
		switch {
		case e.Dir():
		case e.Name == database:
			items = append(items, item{entry: i, path: e.Name, document: true, secret: true})
		default:
			items = append(items, item{entry: i, path: e.Name, key: e.Name, sort: linkdingTypes[folder]})
		}
	}
	if a.arrange(items) {
		a.Kind = "linkding"
		a.Facts.Application, a.Facts.Secrets = "linkding", true
		a.Why = "it is laid out as linkding's full_backup does: db.sqlite3, and nothing outside of assets, favicons and previews"
	}
	return nil
}

// checkLinkding has linkding's own reader check the database and compare it with the files.
func (a *Archive) checkLinkding(ctx context.Context) error {
	b, err := linkding.OpenFullBackup(ctx, a.source, a.size, linkding.FullBackupOptions{})
	if err != nil && failure.KindOf(err) == failure.Invalid {
		a.Why = fmt.Sprintf("it is laid out as linkding's full_backup does, but %v", err)
		a.Findings = nil
		a.plain()
		return nil
	}
	if err != nil {
		return err
	}
	a.Facts, a.Findings = b.Facts, append(a.Findings, b.Findings...)
	a.Why = fmt.Sprintf("it is an archive of linkding's full_backup: %d bookmarks, %d users; schema %s",
		b.Facts.Counts["bookmarks"], b.Facts.Counts["users"], b.Facts.Versions["schema"])
	return nil
}
