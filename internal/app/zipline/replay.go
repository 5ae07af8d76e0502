package zipline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// Replay implements app.Target: the rows, the metrics, the names of folders, the settings; each only as far as the
// target does not show it.
func (t *Target) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	if nothingToReplay(r) {
		return app.Progress{Done: true}, nil
	}
	p, err := loadPlan(ctx, r)
	if err != nil {
		return app.Progress{}, err
	}
	for _, stage := range []func(context.Context, *app.Replay, *plan) (bool, error){
		t.bringIn, t.bringMetrics, t.nameFolders, t.mend, t.setSettings,
	} {
		if t.nearEnd(ctx) {
			return app.Progress{}, nil
		}
		if done, err := stage(ctx, r, p); err != nil || !done {
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
	if s.Begun && !s.Answered {
		if still, err := t.settle(ctx); err != nil || !still {
			return false, err
		}
	}
	c, err := t.compare(ctx, r, p, false)
	if err != nil {
		return false, err
	}
	missing, begun := c.missing()
	switch {
	case missing == 0, s.Answered && begun > 0, s.Tries >= maxTries:
		return true, nil
	case s.Begun && begun > 0:
		if err := t.takeBack(ctx, r, p, c); err != nil {
			return false, err
		}
	}
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
	var suspects []string
	if s.Stumbled {
		for _, row := range c.backup.tags {
			if key := str(row, "name"); !p.exists[keyDigest("userTags", key)] {
				suspects = append(suspects, key)
			}
		}
	}
	return t.freeTags(ctx, r, p, suspects)
}

func (t *Target) importRows(ctx context.Context, r *app.Replay, p *plan, s importing) (bool, error) {
	admin, err := t.adminRow(ctx, p)
	if err != nil {
		return false, err
	}
	s = importing{Begun: true, Tries: s.Tries + 1, Metrics: s.Metrics}
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
		s.Stumbled = errors.Is(err, errStumbled)
		if noted := r.Notes.Put(context.WithoutCancel(ctx), importNote, s); noted != nil {
			return false, errors.Join(err, noted)
		}
		return false, err
	}
	s.Answered = true
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
	if !p.Metrics {
		return true, nil
	}
	var s importing
	if _, err := r.Notes.Get(ctx, importNote, &s); err != nil {
		return false, fmt.Errorf("read the notes of this restore: %w", err)
	}
	if s.Metrics {
		if still, err := t.settle(ctx); err != nil || !still {
			return false, err
		}
	}
	c, err := t.compare(ctx, r, p, true)
	if err != nil || c.sum["metrics"].want == 0 || c.sum["metrics"].found > 0 {
		return err == nil, err
	}
	s.Metrics = true
	if err := r.Notes.Put(ctx, importNote, s); err != nil {
		return false, fmt.Errorf("note the import: %w", err)
	}
	if err := t.client.sleep(ctx, importPause); err != nil {
		return false, err
	}
	if err := t.sendImport(ctx, r, p, partMetrics, nil); err != nil {
		return false, err
	}
	return true, nil
}

// importPause is what Zipline's rate limit wants between two imports.
const importPause = 5 * time.Second

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
		if f.sent != "" && strings.TrimSpace(f.name) == f.name && !foreign {
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
