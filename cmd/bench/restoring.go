package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// A restore to a bucket: one worker checks the backup as `restore --check stored` does and divides the work into
// units, then all workers do their share of it.

type restoreRequest struct {
	Backup backup.ID      `json:"backup"`
	Target string         `json:"target"` // bucket
	Floor  int64          `json:"floor"`
	Units  []restore.Unit `json:"units,omitempty"`
}

type restorePlan struct {
	Units []restore.Unit `json:"units"`
}

type restored struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// atOnce is how many units a worker has under way, as package restore does it in one process.
const atOnce = 24

func (w *worker) target(ctx context.Context, r restoreRequest) (*restore.BucketTarget, *pool.Pool, error) {
	packs, err := pool.Open(ctx, w.vault, source)
	if err != nil {
		return nil, nil, err
	}
	t, err := restore.OpenBucket(ctx, restore.BucketOptions{Client: w.client, Bucket: r.Target, Kind: "files", Floor: r.Floor})
	if err != nil {
		return nil, nil, err
	}
	t.From(restore.PackBytes(w.vault, packs))
	return t, packs, nil
}

func (w *worker) restorePlan(ctx context.Context, r restoreRequest) (restorePlan, error) {
	var plan restorePlan
	t, packs, err := w.target(ctx, r)
	if err != nil {
		return plan, err
	}
	image, err := verify.OpenPacks(ctx, w.vault, source, r.Backup)
	if err != nil {
		return plan, err
	}
	report, err := restore.Stored(ctx, w.vault, packs, image, []ed25519.PublicKey{w.key.Public()}, func(int64, int64) {})
	if err != nil {
		return plan, err
	}
	if !report.OK {
		return plan, failure.New(failure.Corrupt, "the backup is damaged: %v", report.Problems)
	}
	for u, err := range t.Plan(verify.Entries(ctx, image)) {
		if err != nil {
			return plan, err
		}
		plan.Units = append(plan.Units, u)
	}
	return plan, nil
}

func (w *worker) restoreUnits(ctx context.Context, r restoreRequest) (restored, error) {
	t, _, err := w.target(ctx, r)
	if err != nil {
		return restored{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for _, u := range r.Units {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if err := t.Do(ctx, u); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	result := t.Result()
	if err := context.Cause(ctx); err != nil {
		return restored{}, err
	}
	if len(result.Problems) > 0 {
		return restored{}, failure.New(failure.Internal, "%d problems, the first: %v", len(result.Problems), result.Problems[0])
	}
	return restored{int(result.Written), result.Bytes}, nil
}

// shares divides units among n workers so that each takes about the same time on the modelled store.
func shares(units []restore.Unit, n int) [][]restore.Unit {
	cost := func(u restore.Unit) float64 {
		if u.Copy {
			return 0.12 + float64(u.Length)/float64(modelled.CopyRate)/atOnce
		}
		return 0.02 + 0.04*float64(len(u.Items))/atOnce + float64(u.Length)/float64(modelled.LinkRate)
	}
	sorted := slices.SortedFunc(slices.Values(units), func(a, b restore.Unit) int {
		switch ca, cb := cost(a), cost(b); {
		case ca > cb:
			return -1
		case ca < cb:
			return 1
		}
		return 0
	})
	shares, loads := make([][]restore.Unit, n), make([]float64, n)
	for _, u := range sorted {
		least := 0
		for i, load := range loads {
			if load < loads[least] {
				least = i
			}
		}
		shares[least], loads[least] = append(shares[least], u), loads[least]+cost(u)
	}
	return shares
}

// restore brings a backup back into a new bucket with the workers of a fleet, and compares what is there.
func (t *bed) restore(ctx context.Context, id backup.ID, workers int, floor int64) (measured, error) {
	target, err := t.store.bucket(ctx, "target")
	if err != nil {
		return measured{}, err
	}
	defer t.store.remove(target)
	m, err := t.timed(workers, t.policy, func(f *fleet) error {
		request := restoreRequest{Backup: id, Target: target, Floor: floor}
		var plan restorePlan
		if err := f.do(ctx, "restore-plan", request, &plan); err != nil {
			return err
		}
		var group sync.WaitGroup
		errs := make(chan error, workers)
		for _, share := range shares(plan.Units, workers) {
			group.Go(func() {
				var done restored
				errs <- f.do(ctx, "restore-units", restoreRequest{Backup: id, Target: target, Floor: floor, Units: share}, &done)
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	return m, t.equal(ctx, target)
}

// equal compares a bucket with the files of the bed: all of them, by size, and on the modelled store by CRC-32.
func (t *bed) equal(ctx context.Context, bucket string) error {
	if t.store.model == nil {
		return nil // the restore itself had the store compare each CRC-32
	}
	for _, f := range t.set.files {
		size, crc, ok := t.store.model.Sum(bucket, f.key)
		_, want, _ := t.store.model.Sum(t.data, f.key)
		if !ok || size != f.Size || crc != want {
			return fmt.Errorf("%s was not brought back: %d bytes %08x, want %d bytes %08x", f.key, size, crc, f.Size, want)
		}
	}
	return ctx.Err()
}
