package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"lifeboat/internal/app/linkding"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// foreign opens an archive that another program made and lifeboat knows: so far that of linkding's full_backup. It
// returns nil for any other file. An archive that the other program left broken is Corrupt, with the reason.
func foreign(ctx context.Context, name string) (*linkding.FullBackup, func(), error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() { // a pipe would never answer
		return nil, nil, nil // whoever opens it next says so better
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, nil
	}
	closeFile := func() { file.Close() }
	verdict, err := linkding.Recognise(file, info.Size())
	if err != nil || verdict == linkding.Foreign {
		closeFile()
		return nil, nil, err
	}
	b, err := linkding.OpenFullBackup(ctx, file, info.Size(), linkding.FullBackupOptions{})
	if err != nil {
		closeFile()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, closeFile, nil
}

// foreignReport is what is known of a checked foreign archive: nobody has signed it.
func foreignReport(b *linkding.FullBackup) verify.Report {
	r := verify.Report{OK: true, Signature: manifest.Unsigned}
	for _, e := range b.Entries() {
		r.Entries++
		r.Bytes += e.Size
	}
	return r
}

func (c *cli) sayForeign(name string, b *linkding.FullBackup) {
	counts := b.Facts.Counts
	c.say("%s is an archive of linkding's full_backup: %d bookmarks, %d tags, %d users; schema %s",
		name, counts["bookmarks"], counts["tags"], counts["users"], b.Facts.Versions["schema"])
	for _, f := range b.Findings {
		c.say("  %s: %s", f.Severity, findingLine(f))
	}
}

func (c *cli) verifyForeign(name string, b *linkding.FullBackup) error {
	c.sayForeign(name, b)
	return c.verdict(name, foreignReport(b))
}

func (c *cli) restoreForeign(ctx context.Context, name string, b *linkding.FullBackup, to string, into bool) error {
	c.sayForeign(name, b)
	if err := refuse(to, into); err != nil {
		return err
	}
	folder, err := restore.OpenFolder(to, into)
	if err != nil {
		return inaccessible(to, err)
	}
	defer folder.Close()
	result, err := folder.RestoreForeign(func(put func(manifest.Entry, io.Reader) error) error {
		return b.Restore(ctx, func(e linkding.Entry, body io.Reader) error {
			return put(manifest.Entry{Path: e.Path, Size: e.Size, Modified: e.Modified, Mode: uint32(e.Mode.Perm()), Secret: e.Secret}, body)
		})
	})
	if err != nil {
		return err
	}
	return c.restored(to, foreignReport(b), result)
}
