package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/zipcheck"
)

// reading names the archive in an error that does not.
func reading(name string, err error) error {
	if strings.Contains(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// ErrOwn is in the tree of the error about an archive that has entries of lifeboat's own: it is no other program's, and
// what lifeboat's own reader says of it says more.
var ErrOwn = errors.New("lifeboat's own entries, but is no archive as lifeboat writes it: it was changed, cut off or forged")

// forged is the error of an archive that has entries of lifeboat's own and is none that lifeboat wrote.
func forged(name string) error {
	return failure.New(failure.Corrupt, "%s has %w", name, ErrOwn).
		WithHint("get the archive again from where it was made; nothing of it was used")
}

// Refusal is the error of an archive of which nothing is to be used: it is rejected, or holds nothing. nil: it is fine as
// far as it was looked at.
func (a *Archive) Refusal() error {
	switch {
	case a.report.Verdict == zipcheck.Reject:
		return a.rejected()
	case len(a.report.Entries) == 0:
		return failure.New(failure.Invalid, "%s is a ZIP that holds nothing", a.name).
			WithHint("whatever wrote it has failed: linkding's full_backup, for one, leaves such a file behind then; make the archive again")
	}
	return nil
}

func (a *Archive) rejected() error {
	reasons := strings.TrimPrefix(a.report.String(), "reject:") + a.firstReason()
	if a.unsupported() {
		return failure.New(failure.Invalid, "%s may be sound, but lifeboat cannot read it: %s", a.name, reasons).
			WithHint("unpack it with the program that made it, and make a ZIP of it in one file, without a password, with deflate or stored")
	}
	err := failure.New(failure.Corrupt, "%s is refused: %s", a.name, reasons).
		WithHint("get the archive again from where it was made; nothing of it was used" + Verify)
	if a.report.Counts[zipcheck.Unreadable] > 0 {
		return err.WithHint("was the download complete? Nothing of the file was used" + Verify)
	}
	return err
}

// Verify ends the hint of a refusal: it says where the other reasons are.
const Verify = "; `lifeboat verify FILE` says all that is wrong with it"

// firstReason says why the archive is rejected, by the first reason, and how many others there are.
func (a *Archive) firstReason() string {
	first, others, words := "", -1, map[zipcheck.Word]bool{}
	for _, r := range a.report.Reasons {
		if r.Verdict != zipcheck.Reject {
			continue
		}
		if !words[r.Word] {
			words[r.Word] = true
			others += a.report.Counts[r.Word]
		}
		if first == "" && r.Entry >= 0 {
			first = fmt.Sprintf(": entry %d, %s: %s", r.Entry, r.Name, r.Text)
		} else if first == "" {
			first = ": " + r.Text
		}
	}
	if others > 0 {
		first += fmt.Sprintf(" (and %d more)", others)
	}
	return first
}

// unsupported reports whether everything that speaks against the archive is what lifeboat does not read: passwords, other
// methods, archives in several parts.
func (a *Archive) unsupported() bool {
	if a.report.Several {
		return true
	}
	for _, reason := range a.report.Reasons {
		if reason.Verdict == zipcheck.Reject && reason.Word != zipcheck.Encrypted && !reason.Word.Method() {
			return false
		}
	}
	return true
}

// bare looks at a file that is no ZIP: some are what would belong into one. nil: it is nothing that is known.
func (a *Archive) bare(ctx context.Context) error {
	if a.size == 0 {
		return failure.New(failure.Invalid, "%s is empty: it has 0 bytes", a.name).
			WithHint("whatever wrote it has failed, or had nothing to write: Zipline, for one, answers so for a folder without files")
	}
	begin := make([]byte, min(a.size, maxPage))
	if _, err := a.source.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) {
		return reading(a.name, err)
	}
	if err := a.page(begin); err != nil {
		return err
	}
	if strings.HasPrefix(string(begin), "SQLite format 3\x00") {
		return failure.New(failure.Invalid, "%s is a SQLite database, and no ZIP", a.name).
			WithHint("if it is linkding's: call it db.sqlite3, and put it into a ZIP together with the folders assets, favicons and previews")
	}
	if !strings.HasPrefix(strings.TrimLeft(string(begin), " \t\r\n"), "{") {
		return nil
	}
	e, err := scanExport(app.Stoppable(ctx, io.NewSectionReader(a.source, 0, min(a.size, maxScanned))), false)
	switch {
	case errors.Is(err, errNoExport):
		return nil
	case err != nil:
		return reading(a.name, err)
	}
	return failure.New(failure.Invalid, "%s is an export of Zipline %s without its files, and no ZIP", a.name, e.zipline).
		WithHint("put it into a ZIP together with the folder uploads, which holds the files as Zipline stores them, and restore that: zip -r zipline.zip export.json uploads")
}

// maxPage is how much of a file is looked at for what it is instead of a ZIP.
const maxPage = 512

// page refuses a web page, or another document of that sort, which a server gave instead of a ZIP.
func (a *Archive) page(begin []byte) error {
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(begin), "\ufeff"), " \t\r\n"))
	switch {
	case !strings.HasPrefix(text, "<"):
		return nil
	case strings.HasPrefix(text, "<!doctype html"), strings.Contains(text, "<html"), strings.HasPrefix(text, "<head"), strings.HasPrefix(text, "<body"):
		return failure.New(failure.Invalid, "%s is a web page, not a ZIP (a login page, an expired link?)", a.name).
			WithHint("open the address in a browser: what does it show? Take the address of the download itself")
	case strings.HasPrefix(text, "<?xml"), strings.HasPrefix(text, "<error>"):
		return failure.New(failure.Invalid, "%s is an XML document, not a ZIP (what a store answers to an expired link?)", a.name).
			WithHint("open it in an editor: a store says there what is wrong; then get the archive by a new link")
	}
	return nil
}
