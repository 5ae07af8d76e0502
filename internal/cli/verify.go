package cli

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/verify"
)

func (c *cli) verifyCommand() *cobra.Command {
	var deep bool
	cmd := &cobra.Command{
		Use:   "verify BACKUP|FILE.zip",
		Short: "Read every byte again and hold it against the signed manifest",
		Long: `Read every byte of a backup (its packs, and its archive in the vault) or of an archive file again
and hold it against the manifest and its signature.

The signature is one of:
  authenticated    signed with the key of this vault; of a file: with a key that this machine has
  unknown signer   signed, with a key that is not known here
  unsigned

With --deep every pack that a backup needs, or all backups of a source, or all there are, is read as a
whole, each once, also the bytes of it that no backup needs any more.

A ZIP of another program has no signature: its structure, its names and the checksums of its contents
are checked, and everything that speaks against it is listed. One that is known as an application's, and is
odd as one of these, ends with 3.

A backup that is found damaged, by this or by a restore of it, is marked in its record: "latest" passes it
over, "status" ends with 3.
The mark goes when all of it matches: after "verify", after "verify --deep" where the archive is not what
was damaged, and after "archive" where it was.

` + latestRule + `

Exit codes: 0 everything matches; 3 a ZIP of another program has problems; 13 something does not match, or the file is cut
off, hostile or no ZIP; 16 a ZIP that may be sound and that lifeboat does not read (encrypted, in several parts, another
compression), or that holds nothing.`,
		Example: "  lifeboat verify latest\n  lifeboat verify photos.zip",
		Args: func(cmd *cobra.Command, given []string) error {
			if deep {
				return args(0, 1, "with --deep one backup, one source, or nothing")(cmd, given)
			}
			return args(1, 1, "one backup or archive")(cmd, given)
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 1 {
				if err := noURL("verify", given[0]); err != nil {
					return err
				}
			}
			if deep {
				if len(given) == 1 && looksLikeFile(given[0]) {
					return failure.New(failure.Usage, "--deep reads packs of the vault: %s is a file", given[0]).
						WithHint("lifeboat verify %s reads every byte of it", given[0])
				}
				return c.verifyDeep(cmd.Context(), given)
			}
			if looksLikeFile(given[0]) {
				return c.verifyFile(cmd.Context(), given[0])
			}
			return c.verifyBackup(cmd.Context(), given[0])
		},
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "read whole packs: of a backup, of a source, or of all sources")
	return cmd
}

func (c *cli) verifyFile(ctx context.Context, name string) error {
	image, file, err := verify.OpenFile(ctx, name)
	if err != nil {
		return c.verifyForeign(ctx, name, err)
	}
	defer file.Close()
	report, err := c.whole(ctx, image, c.fileKeys(), 0, 0)
	if err != nil {
		return err
	}
	return c.verdict(name, report, c.fileSigner(image), "restore from another backup or another copy of this one, and make a new backup")
}

// unreadable reports an archive that is so damaged that nothing of it can be checked.
func (c *cli) unreadable(name string, err error) error {
	if kind := failure.KindOf(err); kind == failure.Corrupt || kind == failure.Invalid {
		c.message(verifyMessage{Type: "verify", Signature: "invalid", Problems: []finding{{kind.String(), name, err.Error()}}})
	}
	return err
}

func (c *cli) whole(ctx context.Context, image verify.Image, trusted []ed25519.PublicKey, entries, bytes int64) (verify.Report, error) {
	reporter := c.reporter()
	reporter.Phase("verify", entries, bytes)
	defer reporter.Done()
	return verify.Whole(ctx, image, verify.Options{Trusted: trusted, Progress: reporter.Add})
}

func (c *cli) verifyBackup(ctx context.Context, arg string) error {
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return err
	}
	defer s.close()
	reporter := c.reporter()
	times := int64(1)
	if len(record.Archive.Files()) > 0 {
		times = 2 // the packs, then the archive
	}
	reporter.Phase("verify", times*int64(record.Manifest.Entries), times*record.Bytes)
	report, err := verify.Backup(ctx, s.vault, record, verify.Options{Trusted: s.trusted(), Progress: reporter.Add})
	reporter.Done()
	if err != nil {
		return err
	}
	switch {
	case !report.OK:
		err = s.damaged(ctx, record, report)
	case report.Signature == manifest.Authenticated:
		err = s.reread(ctx, record)
	}
	if err != nil {
		return err
	}
	return c.verdict(string(record.ID), report, "",
		fmt.Sprintf("restore from another backup, or this one from its archive where that is whole; `lifeboat backup %s --rehash` makes a new one that needs none of these packs", record.Source))
}

// reread writes into the record that every byte was read again, and matches.
func (s *session) reread(ctx context.Context, record catalog.Record) error {
	_, err := s.catalog.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		if backup.ReRead.Better(r.Proof) {
			r.Proof = backup.ReRead
		}
		r.Proven, r.Damage, r.DamageOf = time.Now().UTC(), "", ""
		return nil
	})
	return err
}

// damaged writes into the record that a verification failed.
func (s *session) damaged(ctx context.Context, record catalog.Record, report verify.Report) error {
	of := ""
	switch report.OfArchive {
	case 0:
		of = catalog.DamagedPacks
	case report.Total:
		of = catalog.DamagedArchive
	}
	return s.mark(ctx, record, count(report.Total, "problem"), of)
}

// mark writes into the record that it is damaged, so that nobody counts on the backup.
func (s *session) mark(ctx context.Context, record catalog.Record, what, of string) error {
	_, err := s.catalog.Update(ctx, record.Source, record.ID, func(r *catalog.Record) error {
		r.Proof, r.Damage = backup.Unproven, fmt.Sprintf("%s found on %s", what, time.Now().UTC().Format(time.RFC3339))
		r.DamageOf = of
		return nil
	})
	return err
}

// markInstead marks the backup whose archive was restored in the place of its packs, unless it was found whole since.
func (s *session) markInstead(ctx context.Context, restored catalog.Restore) error {
	if !instead(restored) {
		return nil
	}
	record, err := s.catalog.Record(ctx, restored.From.Source, restored.From.Backup)
	if err != nil || record.Damage != "" || record.Proven.After(restored.Finished) {
		return err
	}
	return s.mark(ctx, record, "damaged packs", catalog.DamagedPacks)
}

// verifyMessage is the last line of `verify` for robots. Its fields are fixed.
type verifyMessage struct {
	Type      string    `json:"message_type"`
	OK        bool      `json:"ok"`
	Signature string    `json:"signature"`
	Entries   int       `json:"entries"`
	Bytes     int64     `json:"bytes"`
	Problems  []finding `json:"problems"`
	Volume    int       `json:"volume,omitzero"`  // of a file that is a volume of a split archive
	Volumes   int       `json:"volumes,omitzero"` // of that archive
}

// verdict says what a verification has found; by is the signer where that is not the vault that the backup lies in, and
// hint is what to do about damage that is not of an archive in the vault.
func (c *cli) verdict(name string, r verify.Report, by, hint string) error {
	signature := string(r.Signature)
	if signature == "" {
		signature = "invalid"
	}
	m := verifyMessage{Type: "verify", OK: r.OK, Signature: signature, Entries: r.Entries, Bytes: r.Bytes, Problems: findings(r.Problems)}
	if v := r.Header.Volume; v != nil {
		m.Volume, m.Volumes = v.Number, len(v.All)
	}
	c.message(m)
	for i, f := range r.Problems {
		if i == 10 {
			c.say("  … and %d more: --json lists them", len(r.Problems)-i)
			break
		}
		c.say("  problem: %s", findingLine(f))
	}
	if !r.OK {
		err := failure.New(failure.Corrupt, "%s does not verify: %s in %s", name, count(r.Total, "problem"), countOf(r.Entries, "entry", "entries"))
		if r.OfArchive == r.Total {
			return err.WithHint("its packs are sound: `lifeboat archive %s` makes the archive again", name)
		}
		return err.WithHint("%s", hint)
	}
	c.say("%s: every byte matches: %s, %s; %s", name, countOf(r.Entries, "entry", "entries"), plain.Size(r.Bytes), signatureWords(r, by))
	if r.Header.Volume != nil {
		c.sayVolume(name, *r.Header.Volume)
	}
	return nil
}

// signatureWords says who signed; by is the signer where that is not the vault that the backup lies in.
func signatureWords(r verify.Report, by string) string {
	switch {
	case r.Signature == manifest.Authenticated && by != "":
		return "authenticated: signed with " + by
	case r.Signature == manifest.Authenticated:
		return "authenticated: signed with the key of this vault"
	case r.Signature == manifest.UnknownSigner:
		return "signed by a key that is not known here (unknown signer)"
	}
	return "unsigned"
}

// fileSigner names the key of this machine's key ring that signed a file.
func (c *cli) fileSigner(image verify.Image) string { return c.keyName(image.Seal().Signer.ID) }

// keyName names a key of this machine's key ring by its id; "" for one that is not in it.
func (c *cli) keyName(id string) string {
	for _, key := range c.ring() {
		if manifest.KeyID(key.Public()) == id {
			return "the key of vault " + key.Vault + ", which this machine has"
		}
	}
	return ""
}
