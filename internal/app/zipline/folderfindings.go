package zipline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// findings says what the API can't carry. One finding sums up each sort.
func (b *rebuild) findings(now time.Time) []app.Finding {
	found := []app.Finding{}
	if len(b.files) > 0 {
		found = append(found, note("stored-names", "", "the files get new stored names, and so new addresses; their original names are kept"),
			note("dates", "", "folders and files get the date of the restore: Zipline's API takes no dates"))
	}
	count := func(kind, message string, of func(*upload) bool) {
		n, first := 0, ""
		for _, u := range b.files {
			if of(u) {
				if n++; n == 1 {
					first = u.Path
				}
			}
		}
		if n > 0 {
			found = append(found, note(kind, first, "%s: %s", message, countFiles(n)))
		}
	}
	count("views", "views start at 0", func(u *upload) bool { return u.Views > 0 })
	count("password", "passwords are not in the backup of a folder, so the files come without one and anybody with the address can see them", func(u *upload) bool { return u.Protected })
	count("tags", "tags are not brought in; "+folderDocument+" has their names", func(u *upload) bool { return len(u.Tags) > 0 })
	count("expired", "the date on which they were to be deleted is over, so they come without one", func(u *upload) bool { return u.DeletesAt != "" && u.expiry(now) == "" })
	count("original-name", "Zipline takes no such original name, so the files get one in which every slash and backslash is _", func(u *upload) bool { return u.name != u.wanted() })
	for _, f := range b.wanted {
		if name := b.folderName(f); name != f.Name && (f != b.folders[0] || name != b.name) {
			found = append(found, note("folder-name", f.Path, "Zipline takes no name like %q; the folder is called %q", shorten(f.Name), shorten(name)))
		}
	}
	for i, path := range b.gone {
		if i == maxBadNames {
			found = append(found, problem("missing", folderDocument, "%d further files are not in the backup", len(b.gone)-i))
			break
		}
		found = append(found, problem("missing", path, "%s lists the file, but it is not in the backup", folderDocument))
	}
	if b.out > 0 {
		found = append(found, note("left-out", "", "%s left out, as asked", countFiles(b.out)))
	}
	return found
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// expiry returns when Zipline is to delete the file, as the API takes it; "" for never, or for a date that is over.
func (f *treeFile) expiry(now time.Time) string {
	at := dateOf(f.DeletesAt)
	if f.DeletesAt == "" || at.Before(now.Add(time.Minute)) {
		return ""
	}
	return "date=" + at.Format("2006-01-02T15:04:05.000Z")
}

// Confirm implements app.Target: folders by name, parent and flags; files by original name, size, type and flags.
// The bytes are not read again: Zipline counts or checks no such reading, and the sizes are those of what it stored.
func (t *FolderTarget) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	b, err := t.plan(ctx, r)
	if err != nil {
		return app.Confirmation{}, err
	}
	made, there, err := t.survey(ctx, r, b)
	if err != nil {
		return app.Confirmation{}, err
	}
	var refused map[string]string
	if _, err := r.Notes.Get(ctx, noteRefused, &refused); err != nil {
		return app.Confirmation{}, err
	}
	done, err := ended(ctx, r)
	if err != nil {
		return app.Confirmation{}, err
	}
	top := made[b.wanted[0]] != nil
	c := app.Confirmation{Asserted: []string{
		"the folders of the target were listed and compared by name, parent and flags",
		"the files of each folder were listed and compared by original name, size, type, favorite, limit of views and date of deletion; their bytes were not read again",
	}}
	folders := app.Count{What: "folders", Backup: int64(len(b.folders)), Skip: int64(len(b.folders) - len(b.wanted))}
	for _, f := range b.wanted {
		if found := compareFolder(f, made[f]); found != nil {
			folders.Skip++
			done.judge(&c, *found, top)
			continue
		}
		folders.Create++
	}
	counted := app.Count{What: "files", Backup: int64(len(b.folderMap.files)), Skip: int64(len(b.folderMap.files) - len(b.files))}
	for _, u := range b.files {
		if found := compareFile(u, there.of[u], refused[u.Path], t.client.now()); found != nil {
			counted.Skip++
			done.judge(&c, *found, top)
			continue
		}
		counted.Create++
	}
	for _, f := range b.findings(t.client.now()) {
		if f.Severity == app.Problem {
			c.Findings = append(c.Findings, f)
		}
	}
	c.Counts = []app.Count{folders, counted}
	if done.Confirmed || !done.Once {
		return c, nil
	}
	done.Confirmed = true
	done.Differ.sort()
	return c, r.Notes.Put(ctx, noteDone, done)
}

func compareFolder(f *treeFolder, made *folderRow) *app.Finding {
	var found app.Finding
	switch {
	case made == nil:
		found = problem("missing", f.Path, "the folder %q is not in the target"+restoreAgain, shorten(f.Name))
	case made.Public != f.Public || made.Uploads != f.Uploads:
		found = problem("different", f.Path, "the folder is public: %t, takes uploads: %t; in the backup these are %t and %t; set them in Zipline", made.Public, made.Uploads, f.Public, f.Uploads)
	default:
		return nil
	}
	return &found
}

func compareFile(u *upload, there *fileOnTarget, why string, now time.Time) *app.Finding {
	differs := []string{}
	if there != nil {
		differs = u.differences(there, now)
	}
	var found app.Finding
	switch {
	case there == nil && why != "":
		found = problem("refused", u.Path, "the file is not in the target: %s", why)
	case there == nil:
		found = problem("missing", u.Path, "the file %q is not in the target"+restoreAgain, shorten(u.name))
	case len(differs) > 0:
		found = problem("different", u.Path, "the file differs in the target: %s", strings.Join(differs, "; "))
	default:
		return nil
	}
	return &found
}

// differences says in what a file of the target differs from the backup, name and size apart.
func (u *upload) differences(f *fileOnTarget, now time.Time) []string {
	var all []string
	add := func(differs bool, format string, args ...any) {
		if differs {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(valueOf(f.Original) != u.name, "its original name is %q instead of %q", shorten(valueOf(f.Original)), shorten(u.name))
	add(u.Type != "" && f.Type != u.Type, "its type is %q instead of %q", shorten(f.Type), shorten(u.Type))
	add(f.Favorite != u.Favorite, "it is a favorite: %t instead of %t", f.Favorite, u.Favorite)
	add(valueOf(f.MaxViews) != u.MaxViews, "its limit is %d views instead of %d", valueOf(f.MaxViews), u.MaxViews)
	switch due := u.expiry(now); {
	case due == "" && dateOf(u.DeletesAt).IsZero():
		add(f.DeletesAt != nil, "the target will delete it on its own: look into its default expiration")
	case due != "":
		add(f.DeletesAt == nil || !dateOf(*f.DeletesAt).Equal(dateOf(u.DeletesAt)), "the date on which it is deleted is another one")
	}
	return all
}

// aboutOne reports whether a refusal is about one file, so that the others can go on.
func aboutOne(err error) bool {
	kind := failure.KindOf(err)
	return (kind == failure.Invalid || kind == failure.Exhausted) && errors.Is(err, errRefuses)
}
