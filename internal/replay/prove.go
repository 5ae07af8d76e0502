package replay

import (
	"context"
	"errors"
	"fmt"

	"lifeboat/events"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// signed opens what is restored and holds its seal against its manifest. A backup of which the packs or the manifest
// can't be read is read from its archive in the vault.
func (s *Steps) signed(ctx context.Context, r events.Restore) (b *subject, use string, signature manifest.Authenticity, all amount, err error) {
	b, signature, all, err = s.sealed(ctx, r, fromPacks)
	if err == nil || r.From.Backup == "" || !lost(err) {
		return b, fromPacks, signature, all, err
	}
	b, signature, all, archived := s.sealed(ctx, r, fromArchive)
	if archived != nil {
		if passing(archived) {
			err = archived
		}
		return nil, "", "", all, err
	}
	return b, fromArchive, signature, all, nil
}

// lost reports whether an error says that a backup's own bytes are gone or wrong.
func lost(err error) bool {
	kind := failure.KindOf(err)
	return kind == failure.Corrupt || kind == failure.NotFound
}

// sealed opens what is restored, and holds its seal against its manifest, and that against the record of a backup.
func (s *Steps) sealed(ctx context.Context, r events.Restore, use string) (*subject, manifest.Authenticity, amount, error) {
	b, err := s.open(ctx, r, use)
	if err != nil {
		return nil, "", amount{}, err
	}
	signature, all, err := b.signature(ctx, s.Trusted)
	if err == nil {
		err = s.recorded(ctx, b, nil)
	}
	if err != nil {
		b.end()
		return nil, "", all, wrong(b, err)
	}
	return b, signature, all, nil
}

// wrong names what cannot be read.
func wrong(b *subject, err error) error {
	if failure.KindOf(err) == failure.Corrupt {
		return failure.New(failure.Corrupt, "%s is damaged: %w", b.name, err).WithHint("nothing was written; restore another backup")
	}
	return err
}

// mayRestore refuses what nobody signed whose key is known here, where it is to be brought into an application.
func mayRestore(b *subject, signature manifest.Authenticity, r events.Restore) error {
	application := r.To.Target != ""
	switch {
	case signature == manifest.Authenticated, r.Trust, r.To.ThrowAway():
		return nil
	case b.about.Kind == "linkding" && b.foreign != nil && !application: // its own check proves it
		return nil
	case b.foreign != nil:
		what := "an archive of another program"
		if b.foreign.Kind != "" {
			what = b.foreign.Why
		}
		return failure.New(failure.Denied, "%s is not lifeboat's: nobody signed it (%s)", b.name, what).
			WithHint("if you know where it is from, add --trust")
	case application:
		return failure.New(failure.Denied, "nobody whose key is known here signed %s (%s)", b.name, signature).
			WithHint("if you know where it is from, add --trust; `lifeboat key import` makes a key known")
	}
	return nil
}

// prove checks every byte, or what the store says of them. Where packs are damaged and the archive in the vault is
// whole, the backup is read from there from then on.
func (s *Steps) prove(ctx context.Context, p *planner, all amount) error {
	b, r := p.subject, p.restore
	if b.foreign != nil {
		at, err := p.proof.of(ctx, b, p.file.Use)
		if err != nil {
			return err
		}
		s.phase("check", all.entries, all.bytes)
		s.add(at.done())
		err = b.foreign.CheckFrom(ctx, &at.Foreign, s.add)
		b.learn()
		return err
	}
	report, err := s.verified(ctx, p, b, p.file.Use, all)
	if err != nil {
		return err
	}
	if report.OK {
		p.signature = report.Signature
		return nil
	}
	if r.From.Backup == "" || p.file.Use == fromArchive {
		return s.damaged(ctx, r, b, report)
	}
	archive, err := s.open(ctx, r, fromArchive)
	if err != nil {
		if passing(err) {
			return err
		}
		return s.damaged(ctx, r, b, report)
	}
	var again verify.Report
	if err = s.recorded(ctx, archive, b); err == nil {
		again, err = s.verified(ctx, p, archive, fromArchive, all)
	}
	if err != nil || !again.OK {
		archive.end()
		if passing(err) {
			return err
		}
		return s.damaged(ctx, r, b, report)
	}
	p.spare, p.subject, p.file.Use, p.signature = archive, archive, fromArchive, again.Signature
	return nil
}

// passing reports whether an error says nothing of what was to be read.
func passing(err error) bool {
	return err != nil && !failure.Damage(err) && failure.KindOf(err) != failure.Invalid
}

func (s *Steps) verified(ctx context.Context, p *planner, b *subject, use string, all amount) (verify.Report, error) {
	if p.restore.Check == CheckStored && use == fromPacks {
		s.phase("check", 0, 0)
		return restore.Stored(ctx, s.Vault, b.pool, b.image, s.Trusted, s.add)
	}
	at, err := p.proof.of(ctx, b, use)
	if err != nil {
		return verify.Report{}, err
	}
	s.phase("check", all.entries, all.bytes)
	s.add(at.done())
	return verify.Whole(ctx, b.image, verify.Options{Trusted: s.Trusted, Progress: s.add, State: &at.Own})
}

// damaged writes into the record what is wrong with the backup.
func (s *Steps) damaged(ctx context.Context, r events.Restore, b *subject, report verify.Report) error {
	_, err := s.update(ctx, r.ID, func(record *catalog.Restore) {
		record.Problems, record.ProblemsTotal = nil, 0
		for _, f := range report.Problems {
			record.Add(f)
		}
		record.ProblemsTotal = report.Total
	})
	first := "what it says of itself is not true"
	if len(report.Problems) > 0 {
		first = fmt.Sprintf("%s: %s", plain.Text(report.Problems[0].Item), report.Problems[0].Message)
	}
	return errors.Join(failure.New(failure.Corrupt, "%s is damaged, %d %s, and nothing was written; the first: %s", b.name, report.Total, problems(report.Total), first).
		WithHint("restore another backup; `lifeboat verify` says all that is wrong with this one"), err)
}

func problems(n int) string {
	if n == 1 {
		return "problem"
	}
	return "problems"
}
