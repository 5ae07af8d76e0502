package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// preflight makes the plan of a restore. It writes nothing to the target.
type preflight struct {
	*Target
	r        *app.Replay
	plan     *plan
	backup   *view
	compared *comparison
	report   report
	metrics  int64 // in the backup
	version  string
	old      bool // the target decodes the names that it imports
	taken    map[uint64]bool
	listed   map[uint64]int64  // hashes of the names in the target's datasource, to sizes
	bare     map[uint64]int64  // hashes of the names of rows without an object in the backup, to the sizes that they name
	earlier  map[string]string // plan.Files of an earlier attempt, whose objects may be there
	stages   *stages
	usage    map[string]*usage // of users of the backup, by id
	unchosen int64
	files    int64 // rows that are restored
	totp     bool  // the merged user has a second factor
	hasTOTP  bool  // the administrator has one
	settings app.Count
}

// Preflight implements app.Target.
func (t *Target) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	if err := foreign(r); err != nil {
		return app.Forecast{}, err
	}
	me, err := t.whoami(ctx)
	if err != nil {
		return app.Forecast{}, err
	}
	chosen, err := readObjects(ctx, r)
	if err != nil {
		return app.Forecast{}, err
	}
	f := &preflight{Target: t, r: r, plan: newPlan(me, chosen), taken: map[uint64]bool{}, usage: map[string]*usage{}, bare: map[uint64]int64{}}
	if f.stages, err = loadStages(ctx, r, f.plan); err != nil {
		return app.Forecast{}, err
	}
	if nothingToReplay(r) {
		return f.objectsOnly(ctx)
	}
	if err := f.recognise(ctx); err != nil {
		return app.Forecast{}, err
	}
	begun, err := f.resumed(ctx)
	if err != nil {
		return app.Forecast{}, err
	}
	if !begun {
		err = f.settlePlan(ctx)
	} else {
		f.report.add(note("resumed", "", "an earlier attempt of this restore has begun its import: the names that it settled are kept"))
	}
	if err == nil {
		err = f.foresee(ctx)
	}
	if err == nil {
		f.compared.index = nil // of many files it is large, and nothing asks for it any more
		err = f.space(ctx)
	}
	if err != nil {
		return app.Forecast{}, err
	}
	if err := f.keep(ctx, begun); err != nil {
		return app.Forecast{}, err
	}
	return f.forecast(), nil
}

// recognise finds out whether the backup is of Zipline 3, and what the import of that passes over.
func (f *preflight) recognise(ctx context.Context) error {
	legacy, err := legacyExport(ctx, f.r)
	if err != nil || !legacy {
		return err
	}
	if f.plan.Ignored, err = ignoredOf(ctx, f.r, f.client.now()); err != nil {
		return err
	}
	f.report.passedOver(f.plan.Ignored)
	return nil
}

// passedOver says what an import of version 3 passes over.
func (r *report) passedOver(n *ignored) {
	if n.Usable > 0 {
		r.add(problem("ignored", "invites", "%d invites that can still be used don't come in: Zipline's import of version 3 takes none; make new ones", n.Usable))
	}
	if used := n.Invites - n.Usable; used > 0 {
		r.add(note("ignored", "invites", "%d invites that are used or have expired don't come in", used))
	}
	if n.Stats > 0 {
		r.add(note("ignored", "stats", "%d measurements don't come in: Zipline's import of version 3 takes none", n.Stats))
	}
	if n.Embeds > 0 {
		r.add(note("ignored", "embeds", "the texts for embeds of %d users don't come in: Zipline's import of version 3 takes none", n.Embeds))
	}
	r.add(note("ignored", "settings", "Zipline 3 had its settings in its environment: set them in the settings of the target"))
}

// objectsOnly plans a restore without documents. Names that an import would change are changed here too, so that the
// rows of another restore find their objects.
func (f *preflight) objectsOnly(ctx context.Context) (app.Forecast, error) {
	if err := f.look(ctx); err != nil {
		return app.Forecast{}, err
	}
	for item, err := range f.r.Items(ctx) {
		if err != nil {
			return app.Forecast{}, fmt.Errorf("list the backup: %w", err)
		}
		if _, put := f.plan.place(item); !put {
			continue
		}
		if name := spelled(item.Key, f.old); name != item.Key {
			f.plan.Files[item.Key] = name
		}
	}
	f.respell(map[uint64]bool{})
	for _, from := range slices.Sorted(maps.Keys(f.plan.Files)) {
		f.respelled(from, f.plan.Files[from])
	}
	if err := f.space(ctx); err != nil {
		return app.Forecast{}, err
	}
	if err := f.keep(ctx, false); err != nil {
		return app.Forecast{}, err
	}
	return f.forecast(), nil
}

// resumed takes over the plan of an earlier attempt, where the target shows something of it.
func (f *preflight) resumed(ctx context.Context) (bool, error) {
	var s importing
	if _, err := f.r.Notes.Get(ctx, importNote, &s); err != nil {
		return false, fmt.Errorf("read the notes of this restore: %w", err)
	}
	if !s.Begun {
		return false, nil
	}
	p, err := loadPlan(ctx, f.r)
	if err != nil {
		return false, err
	}
	earlier := p.Admin
	p.Admin = f.plan.Admin
	c, still, err := f.rest(ctx, f.r, p, s)
	if err != nil {
		return false, err
	}
	if !still {
		return false, failure.New(failure.Transient, "an interrupted import of this restore has not come to rest yet").
			WithHint("run again in a few minutes")
	}
	missing, begun := c.missing()
	if begun == 0 {
		return false, nil // the target has nothing of it: all is settled anew
	}
	if missing > 0 && !s.Answered && len(c.strangers) > 0 {
		return false, failure.New(failure.Conflict, "since an earlier attempt of this restore, somebody has made users on the target whose names the backup has: %s", quoteNames(slices.Sorted(maps.Keys(c.strangers)))).
			WithHint("delete or rename them there, then run again: what the earlier attempt brought in is completed")
	}
	if earlier.ID != p.Admin.ID {
		return false, failure.New(failure.Conflict, "an earlier attempt of this restore imported as %s, this token is of %s", quoteName(earlier.Username), quoteName(p.Admin.Username)).
			WithHint("use the token of the same administrator as before")
	}
	f.plan, f.compared = p, c
	return true, nil
}

// keep notes the plan, and that a new attempt begins.
func (f *preflight) keep(ctx context.Context, begun bool) error {
	var s importing
	if _, err := f.r.Notes.Get(ctx, importNote, &s); err != nil {
		return fmt.Errorf("read the notes of this restore: %w", err)
	}
	if !begun {
		s = importing{}
	}
	s.Tries = 0
	if err := f.r.Notes.Put(ctx, importNote, s); err != nil {
		return fmt.Errorf("note the attempt: %w", err)
	}
	if err := f.r.Notes.Put(ctx, planNote, f.plan); err != nil {
		return fmt.Errorf("note the plan: %w", err)
	}
	return nil
}

func (f *preflight) forecast() app.Forecast {
	forecast := app.Forecast{Application: "Zipline", Version: f.version, Findings: f.report.all(), Place: f.plan.place}
	if f.compared == nil {
		return forecast
	}
	for _, array := range arrays {
		sum, skipped := f.compared.sum[array], f.report.left[array]
		count := app.Count{What: nameOf(array), Exists: sum.found, Create: sum.want - sum.found, Skip: skipped, Backup: sum.want + skipped}
		switch {
		case array == "invites" && f.plan.Ignored != nil:
			count = app.Count{What: nameOf(array), Backup: f.plan.Ignored.Invites, Skip: f.plan.Ignored.Invites}
		case array == "thumbnails":
			count = app.Count{What: nameOf(array), Backup: f.report.thumbnails, Skip: f.report.thumbnails}
		case array == "metrics":
			count = app.Count{What: nameOf(array), Backup: f.metrics, Create: f.metrics}
			if !f.plan.Metrics {
				count.Create, count.Skip = 0, f.metrics
			}
		}
		forecast.Counts = append(forecast.Counts, count)
	}
	forecast.Counts = append(forecast.Counts, f.settings)
	return forecast
}

// nameOf is what people call the rows of an array.
func nameOf(array string) string {
	switch array {
	case "userPasskeys":
		return "passkeys"
	case "userQuotas":
		return "quotas"
	case "userOauthProviders":
		return "oauth providers"
	case "userTags":
		return "tags"
	}
	return array
}

// place says under which name an object goes into the target's datasource.
func (p *plan) place(item app.Item) (string, bool) {
	if item.Document || item.Dir || item.Key == "" || !item.Chosen || p.Orphans[item.Key] {
		return "", false
	}
	if item.Type == thumbnail || strings.HasPrefix(item.Key, thumbnailPrefix) {
		return "", false
	}
	if name := p.Files[item.Key]; name != "" {
		return name, true
	}
	return item.Key, true
}

// report collects findings; of one kind it keeps so many.
type report struct {
	found      []app.Finding
	kinds      map[string]int
	left       map[string]int64 // rows that don't come in, by array
	thumbnails int64
}

// How many findings of one kind are kept, and of those about rows that are missing or other than in the backup: the
// record of a restore holds them all.
const (
	maxReport  = 200
	maxMissing = 1000
)

func most(kind string) int {
	if kind == "missing" || kind == "differs" {
		return maxMissing
	}
	return maxReport
}

func (r *report) add(finding app.Finding) {
	if r.kinds == nil {
		r.kinds = map[string]int{}
	}
	kind := string(finding.Severity) + " " + finding.Kind
	if r.kinds[kind]++; r.kinds[kind] <= most(finding.Kind) {
		r.found = append(r.found, finding)
	}
}

// leave adds a finding about a row that doesn't come in.
func (r *report) leave(array string, finding app.Finding) {
	if r.left == nil {
		r.left = map[string]int64{}
	}
	r.left[array]++
	r.add(finding)
}

func (r *report) all() []app.Finding {
	all := slices.Clone(r.found)
	for _, each := range slices.Sorted(maps.Keys(r.kinds)) {
		severity, kind, _ := strings.Cut(each, " ")
		if n := r.kinds[each] - most(kind); n > 0 {
			all = append(all, finding(app.Severity(severity), kind, "", "%d more of this kind", []any{n}))
		}
	}
	return all
}

// space compares what is put with what the target's datasource can take.
func (f *preflight) space(ctx context.Context) error {
	if !f.r.Wishes.Objects {
		return nil
	}
	var bytes, count int64
	have := map[uint64]bool{}
	if f.options.Datasource != nil {
		for object, err := range f.options.Datasource.List(ctx) {
			if err == nil {
				have[digestOf("there", object.Key, fmt.Sprint(object.Size))] = true
			}
		}
	}
	for item, err := range f.r.Items(ctx) {
		if err != nil {
			return fmt.Errorf("list the backup: %w", err)
		}
		if name, put := f.plan.place(item); put && !have[digestOf("there", name, fmt.Sprint(item.Size))] {
			bytes, count = bytes+item.Size, count+1
		}
	}
	var has space
	answer, err := f.call(ctx, "GET", "/api/server/status", "", nil)
	if err != nil {
		return fmt.Errorf("ask for the target's space: %w", err)
	}
	if !answer.ok() || json.Unmarshal(answer.body, &has) != nil || has.Storage.Available == nil {
		f.report.add(note("space", "", "the target does not say how much space its datasource has; %d files of %d bytes are put there", count, bytes))
		return nil
	}
	if _, bucket := f.options.Datasource.(datasource.Stored); f.options.Datasource != nil && bucket == (has.Datasource == "local") {
		f.report.add(note("datasource", "", "the target says that it keeps its files in a datasource of type %q, and its settings here name another: what is put there may be out of its sight", has.Datasource))
	}
	if bytes > *has.Storage.Available && has.Datasource == "local" {
		return failure.New(failure.Exhausted, "the target's datasource has %d bytes left, the files of the backup need %d", *has.Storage.Available, bytes).
			WithHint("make room there, or restore a part with --only")
	}
	return nil
}
