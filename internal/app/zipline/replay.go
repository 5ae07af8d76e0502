package zipline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Replay implements app.Target: the rows, the names of folders, the settings, the metrics; each only as far as the
// target does not show it.
func (t *Target) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	if nothingToReplay(r) {
		return app.Progress{Done: true}, nil
	}
	p, err := loadPlan(ctx, r)
	if err != nil {
		return app.Progress{}, err
	}
	if p.stages, err = loadStages(ctx, r, p); err != nil {
		return app.Progress{}, err
	}
	for _, stage := range []struct {
		run  func(context.Context, *app.Replay, *plan) (bool, error)
		done *bool // nil: the target itself shows whether it is done
	}{
		{t.bringIn, nil},
		{t.nameFolders, &p.stages.Names},
		{t.mend, &p.stages.Mended},
		{t.setSettings, &p.stages.Settings},
		{t.bringMetrics, nil}, // it has to wait after the first
	} {
		if stage.done != nil && *stage.done {
			continue
		}
		if t.nearEnd(ctx) {
			return app.Progress{}, nil
		}
		if done, err := stage.run(ctx, r, p); err != nil || !done {
			return app.Progress{Put: p.again}, err
		}
		if stage.done == nil {
			continue
		}
		*stage.done = true
		if err := p.stages.note(ctx, r); err != nil {
			return app.Progress{}, err
		}
	}
	return app.Progress{Done: true}, nil
}

// bringIn imports the rows, unless the target shows that they are in.
func (t *Target) bringIn(ctx context.Context, r *app.Replay, p *plan) (bool, error) {
	var s importing
	if _, err := r.Notes.Get(ctx, importNote, &s); err != nil {
		return false, fmt.Errorf("read the notes of this restore: %w", err)
	}
	c, still, err := t.rest(ctx, r, p, s)
	if err != nil || !still {
		return false, err
	}
	missing, begun := c.missing()
	if missing == 0 || s.Answered && begun > 0 || s.Tries >= maxTries {
		return true, nil
	}
	if s.Stumbled && begun > 0 && !s.Stood {
		stand := c.stand()
		if s.Tries > 0 && slices.Equal(stand, s.Stand) {
			return true, nil // as the import before it did: a further one would too
		}
		s.Stand, s.Stood = stand, true // once for each import: a taking back may end in the middle
		if err := r.Notes.Put(ctx, importNote, s); err != nil {
			return false, fmt.Errorf("note how far the import has come: %w", err)
		}
	}
	if err := t.stumbledOver(ctx, r, c, &s); err != nil {
		return false, err
	}
	if s.Begun && begun > 0 {
		if err := t.takeBack(ctx, r, p, c); err != nil || p.again {
			return false, err
		}
	}
	p.fixed = c.fixed()
	if err := t.clearTags(ctx, r, p, c, s); err != nil {
		return false, err
	}
	done, err := t.importRows(ctx, r, p, s)
	if errors.Is(err, errStumbled) && !t.nearEnd(ctx) {
		return t.bringIn(ctx, r, p) // at most maxTries times
	}
	return done, err
}

// clearTags settles the names of tags that no export shows: after a taking back, and after an import that stumbled.
func (t *Target) clearTags(ctx context.Context, r *app.Replay, p *plan, c *comparison, s importing) error {
	if !s.Begun {
		return nil
	}
	suspects, planned := []string{}, map[string]bool{}
	for _, row := range c.backup.tags {
		key := str(row, "name")
		if planned[key] = true; s.Stumbled && !p.exists[keyDigest("userTags", key)] {
			suspects = append(suspects, key)
		}
	}
	if s.Stumbled {
		if err := t.freeVanities(ctx, r, p, s.Vanities); err != nil {
			return err
		}
	}
	return t.freeTags(ctx, r, p, suspects, planned)
}

// stumbledOver notes the names of URLs that an import may have stumbled over: those that did not come in, where all
// tags did. What has come in is about to be taken back.
func (t *Target) stumbledOver(ctx context.Context, r *app.Replay, c *comparison, s *importing) error {
	if tags := c.sum["userTags"]; !s.Stumbled || tags.found < tags.want {
		return nil
	}
	s.Vanities = nil
	original := map[string]string{}
	for from, to := range c.plan.Vanity {
		original[to] = from
	}
	err := backupView(r, c.plan).each(ctx, func(array, key string, _ []trait, row fields) error {
		vanity := str(row, "vanity")
		if array == "urls" && vanity != "" && c.index[keyDigest(array, key)].bits&bitFound == 0 && len(s.Vanities) < maxStumbled {
			s.Vanities = append(s.Vanities, cmp.Or(original[vanity], vanity))
		}
		return nil
	})
	if err == nil {
		err = r.Notes.Put(ctx, importNote, *s)
	}
	return err
}

// maxStumbled bounds how many names of URLs are asked for, each by a request or two.
const maxStumbled = 500

func (t *Target) importRows(ctx context.Context, r *app.Replay, p *plan, s importing) (bool, error) {
	admin, err := t.adminRow(ctx, p)
	if err != nil {
		return false, err
	}
	p.stages.imports()
	if err := p.stages.note(ctx, r); err != nil {
		return false, err
	}
	s = importing{Begun: true, Tries: s.Tries + 1, Metrics: s.Metrics, Measured: s.Measured, Sent: t.client.now(), Lost: true, Stand: s.Stand}
	if err := r.Notes.Put(ctx, importNote, s); err != nil {
		return false, fmt.Errorf("note the import: %w", err)
	}
	limited, cancel := t.beforeEnd(ctx)
	defer cancel()
	err = t.sendImport(limited, r, p, partRows, admin)
	switch {
	case err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil:
		return false, nil // Zipline goes on; the next call waits for it
	case err != nil:
		s.Stumbled, s.Lost = errors.Is(err, errStumbled), errors.Is(err, errHalf)
		if noted := r.Notes.Put(context.WithoutCancel(ctx), importNote, s); noted != nil {
			return false, errors.Join(err, noted)
		}
		return false, err
	}
	s.Answered, s.Lost, s.Ended = true, false, t.client.now()
	if err := r.Notes.Put(ctx, importNote, s); err != nil {
		return false, fmt.Errorf("note the import: %w", err)
	}
	return true, nil
}

// adminRow returns the administrator's row on the target, which an import writes over, where it must be kept: nil
// where a user of the backup is merged into it, or nothing goes to it.
func (t *Target) adminRow(ctx context.Context, p *plan) (fields, error) {
	if p.Merge != "" || !p.Keeps {
		return nil, nil
	}
	var own fields
	_, err := t.exportOf(false).walk(ctx, func(array string, _ int64, row fields) error {
		if array == "users" && str(row, "id") == p.Admin.ID {
			own = row
		}
		return nil
	}, nil, "files", "thumbnails")
	if err == nil && own == nil {
		err = failure.New(failure.Conflict, "the importing administrator is not in the target's export").
			WithHint("run again; if it stays so, look into Zipline's log")
	}
	return own, err
}

// beforeEnd ends shortly before ctx's deadline, so that there is time to say so.
func (t *Target) beforeEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, limited := ctx.Deadline(); limited {
		return context.WithDeadline(ctx, end.Add(-10*time.Second))
	}
	return context.WithCancel(ctx)
}

// bringMetrics imports the metrics, by themselves, into a target that had none.
func (t *Target) bringMetrics(ctx context.Context, r *app.Replay, p *plan) (bool, error) {
	if !p.Metrics || p.stages.Metrics { // of Zipline 3 there are none
		return true, nil
	}
	var s importing
	if _, err := r.Notes.Get(ctx, importNote, &s); err != nil {
		return false, fmt.Errorf("read the notes of this restore: %w", err)
	}
	if s.Metrics && !s.Measured {
		if still, err := t.restMetrics(ctx, r, p, s); err != nil || !still {
			return false, err
		}
	}
	c, err := t.compare(ctx, r, p, true)
	if err != nil {
		return false, err
	}
	if c.sum["metrics"].want == 0 || c.sum["metrics"].found > 0 {
		p.stages.Metrics = true
		return true, p.stages.note(ctx, r)
	}
	s.Metrics, s.Measured, s.Sent, s.Lost = true, false, t.client.now(), true
	if err := r.Notes.Put(ctx, importNote, s); err != nil {
		return false, fmt.Errorf("note the import: %w", err)
	}
	if pause := importPause - t.client.now().Sub(s.Ended); pause > 0 {
		if err := t.client.sleep(ctx, min(pause, importPause)); err != nil {
			return false, err
		}
	}
	err = t.sendImport(ctx, r, p, partMetrics, nil)
	if err != nil && !errors.Is(err, errStumbled) { // what it stumbled over, Confirm names
		return false, err
	}
	p.stages.Metrics = err == nil
	s.Measured, s.Lost = true, false
	if err := r.Notes.Put(ctx, importNote, s); err != nil {
		return false, fmt.Errorf("note the import: %w", err)
	}
	return true, p.stages.note(ctx, r)
}

// importPause is what Zipline's rate limit wants between two imports.
const importPause = 5 * time.Second

// settable reports whether the API takes a folder's name as it is: it trims names, and takes no empty one.
func settable(name string) bool { return name != "" && name == trimJS(name) }

// nameFolders gives folders that came in under another name their own. What the token's role may not do is left for
// Confirm to report.
func (t *Target) nameFolders(ctx context.Context, r *app.Replay, p *plan) (bool, error) {
	if len(p.Sent) == 0 {
		return true, nil
	}
	backup := backupView(r, p)
	if err := backup.learn(ctx); err != nil {
		return false, err
	}
	v := t.targetView(t.exportOf(false), p, backup)
	if err := v.learn(ctx); err != nil {
		return false, err
	}
	ids := make([]string, 0, len(v.folders))
	for id, f := range v.folders {
		owner := v.users[f.owner]
		foreign := owner.role == "SUPERADMIN" && owner.name != p.Admin.Username
		if f.sent != "" && settable(f.name) && !foreign {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if t.nearEnd(ctx) {
			return false, nil
		}
		answer, err := t.call(ctx, http.MethodPatch, "/api/user/folders/"+url.PathEscape(id), "", map[string]string{"name": v.folders[id].name})
		if err != nil {
			return false, fmt.Errorf("give a folder its name back: %w", err)
		}
		if !answer.ok() && (answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests) {
			return false, refused("give a folder its name back", answer)
		}
	}
	return true, nil
}
