package step_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// zeros is an application whose objects are made of nothing but zeros.
type zeros struct{ read atomic.Int64 }

// Snapshot implements app.Source.
func (z *zeros) Snapshot(context.Context, backup.Scope, app.Sink) (app.Facts, error) {
	return app.Facts{}, nil
}

// Open implements app.Source.
func (z *zeros) Open(_ context.Context, o app.Object) (app.Content, error) {
	return &zeroContent{z, o, o.Size}, nil
}

type zeroContent struct {
	*zeros
	object app.Object
	left   int64
}

func (c *zeroContent) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), c.left))
	clear(p[:n])
	c.left -= int64(n)
	c.read.Add(int64(n))
	return n, nil
}

func (c *zeroContent) Close() error             { return nil }
func (c *zeroContent) Now() (app.Object, error) { return c.object, nil }

// TestBatchMemory packs batches of every sort in a fraction of the memory that the function has, and without a disk: in
// half of what the collector tries to stay below (lambdafn limits it to three quarters). The largest batch that the
// planner makes, 2.5 GiB of small objects, takes no more than the one here: 87 MiB when it was measured.
func TestBatchMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory of its own")
	}
	function, ok := deployed.Named("copy")
	if !ok {
		t.Fatal("there is no function copy")
	}
	budget := uint64(function.Memory) * mib * 3 / 4 / 2
	small, large, one := int64(256*mib), int64(256*mib), int64(300*mib)
	if brief() {
		small, large, one = 128*mib, 192*mib, 100*mib
	}
	w := newWorld(t, nil)
	source := &zeros{}
	w.app = source
	w.steps = w.newSteps()
	run, attempt := events.Run{ID: firstRun, Source: "photos"}, 0
	record := catalog.Record{ID: run.ID, Source: run.Source, Kind: "fake", Status: backup.InProgress, Started: noon}
	if err := catalog.New(w.vault).Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	for name, sizes := range map[string][]int64{
		"small objects": repeated(small/(4*mib), 4*mib),
		"large objects": repeated(large/(64*mib), 64*mib),
		"one object":    {one},
		"tiny objects":  repeated(pack.BatchObjects, 100),
	} {
		t.Run(name, func(t *testing.T) {
			attempt++
			at := events.Snapshot{Done: true, Attempt: fmt.Sprint("attempt", attempt)}
			batch := w.planned(run, at.Attempt, sizes)
			t.Setenv("TMPDIR", "/nonexistent") // the server has its own
			message, err := json.Marshal(events.Request{Step: "copy", Run: run, Snapshot: &at, Batch: &batch})
			if err != nil {
				t.Fatal(err)
			}
			source.read.Store(0)
			most, began := heap(), time.Now()
			if _, err := w.steps.Handle(t.Context(), "copy", message); err != nil {
				t.Fatal(err)
			}
			peak := most()
			if peak > budget {
				t.Errorf("%d MiB of memory, more than %d", peak/mib, budget/mib)
			}
			t.Logf("%d objects, %d MiB: %d MiB of memory in %s", len(sizes), source.read.Load()/mib, peak/mib, time.Since(began).Round(time.Second/10))
		})
	}
}

func repeated(n, size int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = size
	}
	return all
}

// planned gives a run a plan of one batch.
func (w *world) planned(run events.Run, attempt string, sizes []int64) events.Batch {
	w.t.Helper()
	var plan []byte
	for n, size := range sizes {
		path := fmt.Sprintf("files/%s/%06d", attempt, n)
		line, err := json.Marshal(pack.Item{Object: &app.Object{Key: path, Path: path, Size: size, Modified: noon, Identity: path, Settled: true}})
		if err != nil {
			w.t.Fatal(err)
		}
		plan = append(append(plan, line...), '\n')
	}
	if _, err := w.vault.Put(w.t.Context(), vault.Work(run.Source, run.ID, attempt+"/plan.jsonl"), plan, vault.Always()); err != nil {
		w.t.Fatal(err)
	}
	return events.Batch{Length: int64(len(plan))}
}
