package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/zipcheck"
)

// Where lifeboat's own archives of Zipline have things; a foreign one is presented like them.
const (
	exportPath = "export.json"
	uploads    = "uploads/"
	thumbnails = ".thumbnail." // what their names begin with
)

// maxCandidates is how many files may have to be looked at to find the export.
const maxCandidates = 1000

// maxScanned is how many bytes of them are read together, at most. Zipline's exports say what they are in their first
// bytes; only those that another program has sorted don't. Tests lower it.
var maxScanned int64 = 256 << 20

// namedZipline reports whether the names may be those of an export with its files.
func namedZipline(r *zipcheck.Report) bool { return slices.ContainsFunc(r.Entries, isJSON) }

func isJSON(e zipcheck.Entry) bool {
	return len(e.Name) > 5 && strings.EqualFold(e.Name[len(e.Name)-5:], ".json")
}

// openZipline looks for an export of Zipline at the top, or in the one folder that everything lies in.
func (a *Archive) openZipline(ctx context.Context) error {
	roots := []string{""}
	if folder := onlyFolder(a.report); folder != "" {
		roots = append(roots, folder)
	}
	for _, root := range roots {
		found, e, err := a.findExports(ctx, root)
		switch {
		case err != nil:
			return err
		case len(found) > 1:
			a.Why = fmt.Sprintf("it holds several exports of Zipline, %s and %s for two: with one alone, it is an archive of Zipline",
				plain.Short(a.report.Entries[found[0]].Name, 80), plain.Short(a.report.Entries[found[1]].Name, 80))
			return nil
		case len(found) == 1:
			a.takeZipline(root, found[0], e)
			return nil
		}
	}
	return nil
}

// onlyFolder returns the folder that all entries lie in, with its "/", as when somebody has zipped the folder itself; ""
// where there is none. What macOS adds doesn't count.
func onlyFolder(r *zipcheck.Report) string {
	only := ""
	for i := range r.Entries {
		folder, _, inside := strings.Cut(r.Entries[i].Name, "/")
		switch {
		case folder == "__MACOSX" || r.Entries[i].Name == ".DS_Store":
		case !inside, only != "" && only != folder:
			return ""
		default:
			only = folder
		}
	}
	if only == "" {
		return ""
	}
	return only + "/"
}

// findExports returns the entries directly below root that are exports, and what the first one says of itself.
func (a *Archive) findExports(ctx context.Context, root string) (found []int, first export, err error) {
	candidates, scanned := 0, int64(0)
	for i := range a.report.Entries {
		e := &a.report.Entries[i]
		name, below := strings.CutPrefix(e.Name, root)
		if !below || !isJSON(*e) || strings.Contains(name, "/") || e.Shadowed {
			continue
		}
		if candidates++; candidates > maxCandidates || scanned >= maxScanned {
			break
		}
		x, n, err := a.scan(ctx, i, maxScanned-scanned, false)
		scanned += n
		switch {
		case errors.Is(err, errNoExport), err != nil && failure.KindOf(err) == failure.Corrupt: // Check will say so
			continue
		case err != nil:
			return nil, export{}, err
		}
		if found = append(found, i); len(found) == 1 {
			first = x
		}
	}
	return found, first, nil
}

// scan reads an entry as an export, up to a number of bytes, and returns how many it has read.
func (a *Archive) scan(ctx context.Context, entry int, most int64, whole bool) (export, int64, error) {
	body, err := a.report.Open(ctx, entry)
	if err != nil {
		return export{}, 0, err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: most}
	e, err := scanExport(limited, whole)
	return e, most - limited.N, err
}

// takeZipline presents the archive as one of Zipline: the export as export.json, and below uploads/ what lies there or,
// without that folder, beside the export. Anything else keeps its path and counts as a document.
func (a *Archive) takeZipline(root string, entry int, e export) {
	folder := root
	inFolder := func(e zipcheck.Entry) bool { return strings.HasPrefix(e.Name, root+uploads) && !e.Dir() }
	if slices.ContainsFunc(a.report.Entries, inFolder) {
		folder = root + uploads
	}
	var items []item
	objects, others := 0, 0
	for i := range a.report.Entries {
		name := a.report.Entries[i].Name
		key, inside := strings.CutPrefix(name, folder)
		switch {
		case a.report.Entries[i].Dir() || a.report.Entries[i].Shadowed:
		case i == entry:
			items = append(items, item{entry: i, path: exportPath, document: true, secret: true})
		case inside && (folder != root || !strings.Contains(key, "/")):
			objects++
			items = append(items, item{entry: i, path: uploads + key, key: key, sort: sortOfUpload(key)})
		default:
			others++
			items = append(items, item{entry: i, path: strings.TrimPrefix(name, root), document: true})
		}
	}
	exported := plain.Short(a.report.Entries[entry].Name, 80)
	if !a.arrange(items) {
		a.Why = fmt.Sprintf("%s is an export of Zipline %s, but another file would get its name %s, or two files one name",
			exported, plain.Short(e.zipline, 40), exportPath)
		return
	}
	a.Kind, a.export = "zipline", entry
	a.Facts = factsOfZipline(e, nil)
	a.Why = fmt.Sprintf("%s is an export of Zipline %s (format %s), and there are %d files of its datasource with it",
		exported, plain.Short(e.zipline, 40), e.format, objects)
	if objects == 0 {
		a.problem("no-objects", uploads, "the archive holds an export of Zipline and none of its files: they must lie beside it, or in a folder uploads")
	}
	if others > 0 {
		a.note("other-files", fmt.Sprintf("%s of the archive belong neither to the export nor to the datasource: they are not replayed", plain.Count(int64(others), "file")))
	}
}

func sortOfUpload(key string) string {
	if strings.HasPrefix(key, thumbnails) {
		return "thumbnail"
	}
	return ""
}

func factsOfZipline(e export, counts map[string]int64) app.Facts {
	return app.Facts{
		Application: "Zipline", Version: e.zipline, Versions: map[string]string{"export": e.format, "node": e.node},
		Counts: counts, Secrets: true,
	}
}

// checkZipline reads the whole export, for its counts.
func (a *Archive) checkZipline(ctx context.Context) error {
	e, _, err := a.scan(ctx, a.export, math.MaxInt64, true)
	if errors.Is(err, errNoExport) {
		return failure.New(failure.Invalid, "the export of Zipline in it, %s, ends in the middle or is no valid JSON",
			plain.Short(a.report.Entries[a.export].Name, 80)).
			WithHint("make the export again in Zipline's settings, and the archive with it")
	}
	if err != nil {
		return err
	}
	a.Facts = factsOfZipline(e, e.counts)
	return nil
}
