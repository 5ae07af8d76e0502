package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"lifeboat/internal/app/linkding"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
	"lifeboat/internal/zipcheck"
)

// foreignZIP is an archive that another program made. Nobody signed it.
type foreignZIP struct {
	name   string
	file   *os.File
	size   int64
	report *zipcheck.Report
}

func (f *foreignZIP) close() { f.file.Close() }

// foreign opens a file that is not lifeboat's as a ZIP of another program, and checks its structure and names; own is
// why the reader of lifeboat's archives refused it. A ZIP that has lifeboat's own entries is no other program's: it
// was changed or is forged, and is refused, not read in part.
func (c *cli) foreign(ctx context.Context, name string, own error) (*foreignZIP, error) {
	if kind := failure.KindOf(own); kind != failure.Corrupt && kind != failure.Invalid {
		return nil, own
	}
	file, err := os.Open(name) // it is a regular file, or own would be of another kind
	if err != nil {
		return nil, own
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, own
	}
	f := &foreignZIP{name: name, file: file, size: info.Size()}
	limits := zipcheck.Limits{Entries: 1_000_000, Names: 128 << 20} // somebody waits for it, with a whole machine
	if f.report, err = zipcheck.Check(ctx, file, f.size, limits, zipcheck.Strict); err != nil {
		f.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if f.pretends() {
		f.close()
		return nil, own
	}
	return f, nil
}

// pretends reports whether the archive has entries that only lifeboat writes.
func (f *foreignZIP) pretends() bool {
	own := []string{manifest.SealInArchive, manifest.PathInArchive}
	return slices.ContainsFunc(f.report.Entries, func(e zipcheck.Entry) bool { return slices.Contains(own, e.Name) })
}

// readForeign reads every content of an archive that was not rejected.
func (c *cli) readForeign(ctx context.Context, f *foreignZIP) error {
	if f.report.Verdict == zipcheck.Reject {
		return nil
	}
	reporter := c.reporter()
	reporter.Phase("verify", int64(len(f.report.Entries)), f.report.Bytes)
	defer reporter.Done()
	if err := f.report.Read(ctx, reporter.Add); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return nil
}

// foreignMessage is what `verify` and `restore` say of a foreign archive to robots. Its fields are fixed.
type foreignMessage struct {
	Type    string                `json:"message_type"`
	Verdict string                `json:"verdict"`
	Counts  map[zipcheck.Word]int `json:"counts"`
	Reasons []foreignReason       `json:"reasons"`
}

type foreignReason struct {
	Verdict string        `json:"verdict"`
	Word    zipcheck.Word `json:"word"`
	Entry   int           `json:"entry"` // -1: the archive
	Name    string        `json:"name,omitempty"`
	Text    string        `json:"text"`
}

func (r foreignReason) String() string {
	if r.Entry < 0 {
		return fmt.Sprintf("%s: %s", r.Word, r.Text)
	}
	return fmt.Sprintf("%s: entry %d, %s: %s", r.Word, r.Entry, r.Name, r.Text)
}

// sayForeign says the verdict with all its reasons.
func (c *cli) sayForeign(f *foreignZIP) {
	m := foreignMessage{Type: "foreign-archive", Verdict: f.report.Verdict.String(), Counts: f.report.Counts, Reasons: []foreignReason{}}
	listed := map[zipcheck.Word]int{}
	for _, r := range f.report.Reasons {
		m.Reasons = append(m.Reasons, foreignReason{r.Verdict.String(), r.Word, r.Entry, r.Name, r.Text})
	}
	c.message(m)
	c.say("%s: %s", plain.Text(f.name), f.report)
	for _, r := range m.Reasons {
		if listed[r.Word]++; listed[r.Word] <= 10 {
			c.say("  %s: %s", r.Verdict, r)
		} else if listed[r.Word] == 11 {
			c.say("  … and %d more of %s: --json lists them", f.report.Counts[r.Word]-10, r.Word)
		}
	}
}

// refused is the error of an archive that was rejected.
func (c *cli) refused(f *foreignZIP) error {
	reasons := strings.TrimPrefix(f.report.String(), "reject:")
	if f.unsupported() {
		return failure.New(failure.Invalid, "%s may be sound, but lifeboat cannot read it: %s", f.name, reasons).
			WithHint("unpack it with the program that made it, and make a ZIP of it in one file, without a password, with deflate or stored")
	}
	err := failure.New(failure.Corrupt, "%s is refused: %s", f.name, reasons).
		WithHint("get the archive again from where it was made; nothing of it was used")
	if f.report.Counts[zipcheck.Unreadable] > 0 {
		return err.WithHint("was the download complete? Nothing of the file was used")
	}
	return err
}

// unsupported reports whether everything that speaks against the archive is what lifeboat does not read: passwords, other
// methods, archives in several parts.
func (f *foreignZIP) unsupported() bool {
	if f.report.Several {
		return true
	}
	for word := range f.report.Counts {
		if f.rejects(word) && word != zipcheck.Encrypted && !word.Method() {
			return false
		}
	}
	return true
}

// rejects reports whether a word is one that the archive is rejected for.
func (f *foreignZIP) rejects(word zipcheck.Word) bool {
	return slices.ContainsFunc(f.report.Reasons, func(r zipcheck.Reason) bool { return r.Word == word && r.Verdict == zipcheck.Reject })
}

// nothing is the error of a ZIP without entries.
func (f *foreignZIP) nothing() error {
	if f.report.Verdict == zipcheck.Reject || len(f.report.Entries) > 0 {
		return nil
	}
	return failure.New(failure.Invalid, "%s is a ZIP that holds nothing", f.name).
		WithHint("whatever wrote it has failed: linkding's full_backup, for one, leaves such a file behind then; make the archive again")
}

// verifyForeign checks a file that is not lifeboat's.
func (c *cli) verifyForeign(ctx context.Context, name string, own error) error {
	f, err := c.foreign(ctx, name, own)
	if err != nil {
		return c.unreadable(name, err)
	}
	defer f.close()
	if err := c.readForeign(ctx, f); err != nil {
		return err
	}
	b, appErr := f.linkding(ctx)
	c.sayForeign(f)
	message := verifyMessage{Type: "verify", OK: f.report.Verdict != zipcheck.Reject && appErr == nil, Signature: string(manifest.Unsigned), Problems: []finding{}}
	message.Entries, message.Bytes = len(f.report.Entries), f.report.Bytes
	for _, r := range f.report.Reasons {
		if r.Verdict == zipcheck.Reject {
			message.Problems = append(message.Problems, finding{string(r.Word), r.Name, r.Text})
		}
	}
	if appErr != nil {
		message.Problems = append(message.Problems, finding{failure.KindOf(appErr).String(), name, appErr.Error()})
	}
	c.message(message)
	switch {
	case !message.OK && appErr != nil:
		return appErr
	case !message.OK:
		return c.refused(f)
	}
	if b != nil {
		c.sayLinkding(name, b)
	}
	c.say("%s: foreign archive: structure and checksums are sound; nobody signed it: %s, %s",
		plain.Text(name), countOf(message.Entries, "entry", "entries"), plain.Size(message.Bytes))
	return nil
}

// linkding opens the archive as one of linkding's full_backup, if it is that; nil: it is another's, or rejected. An
// archive that linkding left broken is Corrupt, with the reason.
func (f *foreignZIP) linkding(ctx context.Context) (*linkding.FullBackup, error) {
	if err := f.nothing(); err != nil {
		return nil, err
	}
	database := func(e zipcheck.Entry) bool { return e.Name == "db.sqlite3" }
	if f.report.Verdict == zipcheck.Reject || !slices.ContainsFunc(f.report.Entries, database) {
		return nil, nil // linkding's reader needs not look at the list again
	}
	verdict, err := linkding.Recognise(f.file, f.size)
	if err != nil || verdict == linkding.Foreign {
		return nil, err
	}
	b, err := linkding.OpenFullBackup(ctx, f.file, f.size, linkding.FullBackupOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return b, nil
}

func (c *cli) sayLinkding(name string, b *linkding.FullBackup) {
	counts := b.Facts.Counts
	c.say("%s is an archive of linkding's full_backup: %d bookmarks, %d tags, %d users; schema %s",
		plain.Text(name), counts["bookmarks"], counts["tags"], counts["users"], b.Facts.Versions["schema"])
	for _, f := range b.Findings {
		c.say("  %s: %s", f.Severity, findingLine(f))
	}
}

// restoreForeign writes the files of an archive that is not lifeboat's below a folder, after every byte was checked.
// linkding's own check proves an archive of full_backup; any other needs --trust.
func (c *cli) restoreForeign(ctx context.Context, name string, own error, o restoreOptions) error {
	f, err := c.foreign(ctx, name, own)
	if err != nil {
		return err
	}
	defer f.close()
	b, err := f.linkding(ctx)
	if err != nil {
		return err
	}
	if f.report.Verdict != zipcheck.Reject {
		if err := foreignTarget(name, o, b != nil); err != nil {
			return err
		}
	}
	release := func() {}
	if f.report.Verdict != zipcheck.Reject {
		if release, err = reserve(o.folder, o.into); err != nil {
			return err
		}
	}
	err = c.extractChecked(ctx, name, f, b, o)
	if err != nil {
		release()
	}
	return err
}

// extractChecked reads every byte of an archive, then writes its files.
func (c *cli) extractChecked(ctx context.Context, name string, f *foreignZIP, b *linkding.FullBackup, o restoreOptions) error {
	if err := c.readForeign(ctx, f); err != nil {
		return stopped(err, name, "nothing was written; the same command begins anew")
	}
	c.sayForeign(f)
	if f.report.Verdict == zipcheck.Reject {
		return c.refused(f)
	}
	each := f.each(ctx)
	if b != nil {
		c.sayLinkding(name, b)
		each = eachOfLinkding(ctx, b)
	}
	return c.extract(each, f, o)
}

// foreignTarget refuses early what cannot be.
func foreignTarget(name string, o restoreOptions, proven bool) error {
	switch {
	case o.folder == "":
		return failure.New(failure.Usage, "%s is an archive of another program: it is restored to a folder only", name).
			WithHint("lifeboat restore %s --to dir:PATH", name)
	case !proven && !o.trust:
		return failure.New(failure.Denied, "%s is an archive of another program: nobody signed it", name).
			WithHint("if you know where it is from: lifeboat restore %s --to dir:%s --trust", name, o.folder)
	}
	return nil
}

// put writes one entry.
type put = func(e manifest.Entry, content io.Reader) error

// each hands every entry to put, under the name that this system can have.
func (f *foreignZIP) each(ctx context.Context) func(put) error {
	return func(put put) error {
		for i := range f.report.Entries {
			e := &f.report.Entries[i]
			if e.Shadowed {
				continue
			}
			body, err := f.report.Open(ctx, i)
			if err != nil {
				return err
			}
			entry := manifest.Entry{Path: e.Path(runtime.GOOS), Size: e.Size, Modified: e.Modified()}
			if perm := e.Perm(); perm != 0 && perm&0o077 == 0 && !e.Dir() {
				entry.Mode = 0o600 // private there, private here; no other mode of a stranger is taken over
			}
			if err := errors.Join(put(entry, body), body.Close(), ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	}
}

func eachOfLinkding(ctx context.Context, b *linkding.FullBackup) func(put) error {
	return func(put put) error {
		return b.Restore(ctx, func(e linkding.Entry, body io.Reader) error {
			return put(manifest.Entry{Path: e.Path, Size: e.Size, Modified: e.Modified, Mode: uint32(e.Mode.Perm()), Secret: e.Secret}, body)
		})
	}
}

func (c *cli) extract(each func(put) error, f *foreignZIP, o restoreOptions) error {
	report := verify.Report{OK: true, Signature: manifest.Unsigned, Entries: len(f.report.Entries), Bytes: f.report.Bytes}
	wanted, chosen := amount{}, o.chosen()
	for i := range f.report.Entries {
		if e := &f.report.Entries[i]; chosen == nil || chosen(e.Path(runtime.GOOS)) {
			wanted.entries, wanted.bytes = wanted.entries+1, wanted.bytes+e.Size
		}
	}
	if chosen != nil {
		if unused := o.only.Unused(); len(unused) > 0 {
			return failure.New(failure.NotFound, "nothing in the archive matches --only %s", unused[0]).
				WithHint("`lifeboat files %s` lists the paths; a pattern starts at the first of their folders", f.name)
		}
	}
	folder, err := restore.OpenFolder(o.folder, o.into)
	if err != nil {
		return inaccessible(o.folder, err)
	}
	defer folder.Close()
	folder.Only(chosen)
	result, err := folder.RestoreForeign(each)
	if err != nil {
		return stopped(err, f.name, o.goOn())
	}
	return c.restored(o.folder, report, "", result, wanted, o)
}

// listForeign lists the entries of an archive that is not lifeboat's.
func (c *cli) listForeign(ctx context.Context, name string, own error) error {
	f, err := c.foreign(ctx, name, own)
	if err != nil {
		return err
	}
	defer f.close()
	if f.report.Verdict == zipcheck.Reject {
		c.sayForeign(f)
		return c.refused(f)
	}
	for i := range f.report.Entries {
		e := &f.report.Entries[i]
		c.listed(manifest.Entry{Path: e.Name, Size: e.Size, CRC32: manifest.CRC(e.CRC32), Modified: e.Modified()})
	}
	return nil
}
