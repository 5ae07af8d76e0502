package cli

import (
	"context"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// deepMessage is the last line of `verify --deep` for robots.
type deepMessage struct {
	Type     string    `json:"message_type"`
	OK       bool      `json:"ok"`
	Backups  int       `json:"backups"`
	Packs    int       `json:"packs"`
	Objects  int       `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Problems []finding `json:"problems"`
}

// verifyDeep reads the packs of one backup, of a source, or of all sources as a whole.
func (c *cli) verifyDeep(ctx context.Context, given []string) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	bySource, order, err := c.deep(ctx, s, given)
	if err != nil {
		return err
	}
	total := deepMessage{Type: "verify-deep"}
	var problems []app.Finding
	reporter := c.reporter()
	reporter.Phase("verify", 0, 0)
	for _, source := range order {
		report, err := verify.Deep(ctx, s.vault, source, bySource[source], reporter.Add)
		if err == nil {
			err = c.weighDeep(ctx, s, bySource[source], report)
		}
		if err != nil {
			reporter.Done()
			return err
		}
		total.Backups, total.Packs, total.Objects = total.Backups+report.Backups, total.Packs+report.Packs, total.Objects+report.Objects
		total.Bytes += report.Bytes
		problems = append(problems, report.Problems...)
	}
	reporter.Done()
	total.OK, total.Problems = len(problems) == 0, findings(problems)
	c.message(total)
	for i, f := range problems {
		if i == 10 {
			c.say("  … and %d more: --json lists them", len(problems)-i)
			break
		}
		c.say("  problem: %s", findingLine(f))
	}
	if !total.OK {
		return failure.New(failure.Corrupt, "%d %s in %d packs", len(problems), plural(len(problems), "problem"), total.Packs).
			WithHint("`lifeboat backup SOURCE --rehash` packs everything anew; a backup that is named can be restored as a whole only from its archive")
	}
	c.say("every byte matches: %s packs of %d %s, %s in %s objects of the store", plain.Number(int64(total.Packs)), total.Backups, plural(total.Backups, "backup"),
		plain.Size(total.Bytes), plain.Number(int64(total.Objects)))
	return nil
}

// deep finds the backups that are meant: the good ones of a source, or of all, or one of any name that `verify` takes.
func (c *cli) deep(ctx context.Context, s *session, given []string) (bySource map[backup.Source][]catalog.Record, order []backup.Source, err error) {
	bySource = map[backup.Source][]catalog.Record{}
	only := backup.Source("")
	if len(given) == 1 {
		source, err := backup.ParseSource(given[0])
		isSource := err == nil && given[0] != "latest"
		if isSource {
			isSource, err = s.has(ctx, source)
			if err != nil {
				return nil, nil, err
			}
		}
		if !isSource {
			record, err := c.named(ctx, s, given[0])
			if err == nil {
				err = notGood(record)
			}
			bySource[record.Source] = []catalog.Record{record}
			return bySource, []backup.Source{record.Source}, err
		}
		only = source
	}
	for r, err := range s.catalog.All(ctx, only) {
		if err != nil {
			return nil, nil, err
		}
		if !r.Status.Good() {
			continue
		}
		bySource[r.Source] = append(bySource[r.Source], r)
		if !slices.Contains(order, r.Source) {
			order = append(order, r.Source)
		}
	}
	if len(order) == 0 {
		err = failure.New(failure.NotFound, "there is no backup to verify").WithHint("`lifeboat list` shows the backups there are")
	}
	return bySource, order, err
}

// has reports whether a source is configured or has records.
func (s *session) has(ctx context.Context, source backup.Source) (bool, error) {
	if _, err := s.config.Source(string(source)); err == nil {
		return true, nil
	}
	for _, err := range s.vault.List(ctx, vault.Records(source)) {
		return err == nil, err
	}
	return false, nil
}

// weighDeep writes into the records what was found: nobody should count on a backup that needs damaged packs, and one
// whose packs were damaged and are not, and whose manifest is signed with the vault's key, counts again.
func (c *cli) weighDeep(ctx context.Context, s *session, records []catalog.Record, report verify.DeepReport) error {
	for _, record := range records {
		n := report.Damaged[record.ID]
		switch {
		case n > 0:
			of := catalog.DamagedPacks
			if record.Damage != "" && record.DamageOf != catalog.DamagedPacks {
				of = ""
			}
			if err := s.mark(ctx, record, count(n, "problem"), of); err != nil {
				return err
			}
		case record.Damage != "" && len(report.Problems) == 0:
			if err := c.sound(ctx, s, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// sound takes the mark of damage from a backup whose packs are sound, where its archive can't be what is damaged.
func (c *cli) sound(ctx context.Context, s *session, record catalog.Record) error {
	if len(record.Archive.Files()) > 0 && record.DamageOf != catalog.DamagedPacks {
		c.warn("backup %s stays marked as damaged: its archive was not read; `lifeboat verify %s` reads that too", record.ID, record.ID)
		return nil
	}
	signature, err := verify.Signed(ctx, s.vault, record, s.trusted()...)
	if err != nil {
		return err
	}
	if signature != manifest.Authenticated {
		c.warn("backup %s stays marked as damaged: it is not signed with the key of this vault", record.ID)
		return nil
	}
	return s.reread(ctx, record)
}
