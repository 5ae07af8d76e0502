package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/estimate"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// price counts the requests of a first backup and of the next, with their archives, where cost is preferred: of set iv
// and of twice as many such files. What grows between the two is scaled to a TB; what a run asks for in any case is
// counted once.
func price(ctx context.Context, b *bench) error {
	prices := estimate.Prices("us-east-1")
	floor, err := estimate.SpliceFloor(estimate.Splice{Prefer: "cost", Prices: prices, Filler: true})
	if err != nil {
		return err
	}
	b.say("prices of %s as of %s; the store copies files from %d MiB on", prices.Region, prices.Date, floor/mib)
	var sets [2]set
	var runs [2][2]measured // by run, by set
	for i, times := range []int{1, 2} {
		sets[i] = setIV().times(times)
		err := onModel(ctx, s3model.Options{}, sets[i], step.Policy{Floor: floor}, func(t *bed) (err error) {
			for run := range runs {
				if runs[run][i], err = t.backup(ctx, 2); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for run, g := range []struct {
		name, title string
		limit       float64
	}{{"first", "first backup", 0.65}, {"unchanged", "nothing changed", 0.10}} {
		perTB := perTB(sets, runs[run]).Price(prices)
		for i, m := range runs[run] {
			b.say("%s, %.2f GB: %d PUT-class, %d GET-class requests", g.title, float64(sets[i].bytes())/1e9, m.PutClass(), m.Get)
			b.run(fmt.Sprintf("price.%s.%d", g.name, i+1), m)
		}
		b.goal("price."+g.name+".requests-per-TB", "iv: requests of a TB of media with archive, prefer cost, "+g.title, "≤", g.limit, float64(perTB.Requests)/1e9, "$")
	}
	return nil
}

// perTB extrapolates the requests of two sources to 1 TB.
func perTB(sets [2]set, runs [2]measured) estimate.Usage {
	scale := (1e12 - float64(sets[0].bytes())) / float64(sets[1].bytes()-sets[0].bytes())
	at := func(first, second int64) int64 { return first + int64(scale*float64(second-first)) }
	return estimate.Usage{Put: at(runs[0].PutClass(), runs[1].PutClass()), Get: at(runs[0].Get, runs[1].Get)}
}

// planned is how many objects the planner gets.
const planned = 10_000_000

// plan has a worker run the step plan-packs of a first backup: the list is read twice, every object ends in a batch, and
// the batches are written.
func plan(ctx context.Context, b *bench) error {
	return onModel(ctx, s3model.Options{}, set{name: "plan"}, speed, func(t *bed) error {
		run := events.Run{ID: backup.NewID(time.Now()), Source: source}
		if err := t.snapshot(ctx, run, planned); err != nil {
			return err
		}
		message, err := json.Marshal(events.Request{Step: "plan-packs", Run: run, Snapshot: &events.Snapshot{Done: true, Attempt: "a"}})
		if err != nil {
			return err
		}
		m, err := t.timed(1, speed, func(f *fleet) error {
			_, err := f.invoke(ctx, "export", message)
			return err
		})
		if err != nil {
			return err
		}
		b.peer("plan", m) // its memory has a goal of its own
		b.goal("plan.peak-memory", "plan of 10 million objects, memory", "≤", 256, float64(m.peak)/float64(mib), "MiB")
		b.goal("plan.time", "plan of 10 million objects, time", "≤", 120, m.wall.Seconds(), "s")
		return nil
	})
}

// snapshot writes what the steps before plan-packs leave of a source of n objects.
func (t *bed) snapshot(ctx context.Context, run events.Run, n int) error {
	v, err := t.open(ctx)
	if err != nil {
		return err
	}
	record := catalog.Record{ID: run.ID, Source: run.Source, Kind: "files", Status: backup.InProgress, Started: time.Now().UTC()}
	if err := catalog.New(v).Create(ctx, record); err != nil {
		return err
	}
	list := v.NewWriter(ctx, vault.Work(run.Source, run.ID, "a/objects.jsonl"), vault.Always())
	lines := json.NewEncoder(list)
	for i := range n {
		if err := lines.Encode(listed(i)); err != nil {
			return errors.Join(err, list.Close())
		}
	}
	if err := list.Close(); err != nil {
		return err
	}
	_, err = v.PutJSON(ctx, vault.Work(run.Source, run.ID, "a/snapshot.json"), map[string]any{"objects": n}, vault.Always())
	return err
}

// listed is the n-th object of a very large bucket.
func listed(n int) app.Object {
	key := fmt.Sprintf("uploads/%03d/%09d.jpg", n%1000, n)
	return app.Object{
		Key: key, Path: "files/" + key, Size: 20*kib + int64(n%4096), Modified: epoch.Add(time.Duration(n) * time.Second),
		Identity: fmt.Sprintf("\"%032x\":%d:%d", n, n%4096, n), Settled: true,
	}
}

// times returns the set n times under other names and with other contents.
func (s set) times(n int) set {
	all := s
	all.files = nil
	for i := range n {
		for _, f := range s.files {
			f.key = fmt.Sprintf("%d/%s", i, f.key)
			f.Seed = seedOf(f.Seed, i)
			all.files = append(all.files, f)
		}
	}
	return all
}
