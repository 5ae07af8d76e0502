package main

import (
	"context"
	"fmt"
	"time"

	"lifeboat/internal/estimate"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
)

// quick are the experiments of `bench`, in order: the naive peers first, alone, because they take longest.
var quick = []experiment{
	{"naive", "streaming packager; download, unzip, upload: modelled store, set iv, both at the same time", naive},
	{"iv", "modelled store, set iv", media},
	{"i", "modelled store, set i", small},
	{"ii", "counts, set ii", large},
	{"iii", "counts, set iii", huge},
	{"growth", "time of a first backup and of the next against the number of objects, no latencies", growth},
}

const floor = 5 * mib // of what the store copies, where speed is preferred

var (
	speed     = step.Policy{Floor: floor, Eager: true}
	streaming = step.Policy{}
)

// onModel gives a bed on a modelled store to do something with.
func onModel(ctx context.Context, options s3model.Options, files set, policy step.Policy, do func(*bed) error) error {
	s, err := newModel(ctx, options)
	if err != nil {
		return err
	}
	defer s.close()
	t, err := newBed(ctx, s, files, policy)
	if err != nil {
		return err
	}
	return do(t)
}

func naive(ctx context.Context, b *bench) error {
	files := setIV()
	return onModel(ctx, modelled, files, step.Policy{}, func(t *bed) error {
		b.say("%s", files)
		if err := t.reference(ctx, "archive.zip"); err != nil {
			return err
		}
		target, err := t.store.bucket(ctx, "target")
		if err != nil {
			return err
		}
		var back, forth measured
		var backErr error
		done := make(chan struct{})
		go func() {
			defer close(done)
			back, backErr = t.timed(1, step.Policy{}, func(f *fleet) error {
				return f.do(ctx, "naive-restore", naiveRequest{"archive.zip", target}, new(struct{}))
			})
		}()
		forth, err = t.timed(1, step.Policy{}, func(f *fleet) error {
			return f.do(ctx, "naive-backup", "naive.zip", new(naiveBackup))
		})
		<-done
		if err != nil || backErr != nil {
			return fmt.Errorf("backup: %w, restore: %w", err, backErr)
		}
		if err := t.equal(ctx, target); err != nil {
			return err
		}
		b.naive = map[string]time.Duration{"backup": forth.wall, "restore": back.wall}
		b.peer("naive.backup", forth)
		b.peer("naive.restore", back)
		return nil
	})
}

func media(ctx context.Context, b *bench) error {
	files := setIV()
	return onModel(ctx, modelled, files, speed, func(t *bed) error {
		b.say("%s", files)
		for _, n := range []int{1, 16} {
			if err := b.againstNaive(ctx, t, n); err != nil {
				return err
			}
		}
		if err := b.againstStreaming(ctx, t); err != nil {
			return err
		}
		first, err := b.first(ctx, t, 8)
		if err != nil {
			return err
		}
		b.goal("iv.first.read-share", "iv: read, first backup with archive, prefer speed", "≤", 38, share(first, t.set), "%")
		if err := b.restored(ctx, t, first); err != nil {
			return err
		}
		if err := b.opens(ctx, t, first.record); err != nil {
			return err
		}
		if err := b.unchanged(ctx, t); err != nil {
			return err
		}
		if err := b.changedLarge(ctx, t); err != nil {
			return err
		}
		return b.price(ctx, t)
	})
}

// first makes the first backup of a new vault and prints what it took.
func (b *bench) first(ctx context.Context, t *bed, workers int) (measured, error) {
	if err := t.forget(ctx); err != nil {
		return measured{}, err
	}
	m, err := t.backup(ctx, workers)
	if err == nil {
		b.run(fmt.Sprintf("%s.first.%d", t.set.name, workers), m)
	}
	return m, err
}

// againstNaive compares a first backup with the naive packager.
func (b *bench) againstNaive(ctx context.Context, t *bed, workers int) error {
	ours, n, err := median(3, 5*time.Second, func() (measured, error) {
		if err := t.forget(ctx); err != nil {
			return measured{}, err
		}
		return t.backup(ctx, workers)
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("iv.first.%d", workers)
	b.say("%s: median of %d", name, n)
	b.run(name, ours)
	limit := map[int]float64{1: 4, 16: 30}[workers]
	title := fmt.Sprintf("iv: naive packager ÷ ours, %d workers", workers)
	if b.naive == nil {
		b.missed(title, "≥", limit, "×", "the naive peers were not run")
		return nil
	}
	b.goal(name+".naive-ratio", title, "≥", limit, b.naive["backup"].Seconds()/ours.wall.Seconds(), "×")
	return nil
}

// againstStreaming compares with our own pipeline where the store copies nothing.
func (b *bench) againstStreaming(ctx context.Context, t *bed) error {
	walls := map[bool]time.Duration{}
	for _, spliced := range []bool{false, true} {
		t.policy = streaming
		name := "iv.first.8.streaming"
		if spliced {
			t.policy, name = speed, "iv.first.8.spliced"
		}
		m, n, err := median(3, 8*time.Second, func() (measured, error) {
			if err := t.forget(ctx); err != nil {
				return measured{}, err
			}
			return t.backup(ctx, 8)
		})
		if err != nil {
			return err
		}
		b.say("%s: median of %d", name, n)
		b.run(name, m)
		walls[spliced] = m.wall
	}
	b.goal("iv.first.8.splicing-ratio", "iv: ours without splicing ÷ with, 8 workers", "≥", 2.2, walls[false].Seconds()/walls[true].Seconds(), "×")
	return nil
}

// restored brings a backup back to a bucket.
func (b *bench) restored(ctx context.Context, t *bed, first measured) error {
	ours, n, err := median(3, 8*time.Second, func() (measured, error) { return t.restore(ctx, first.record.ID, 8, floor) })
	if err != nil {
		return err
	}
	b.say("restore to a bucket, 8 workers: median of %d", n)
	b.run("iv.restore.8", ours)
	if b.naive == nil {
		b.missed("iv: naive restore ÷ ours to a bucket, 8 workers", "≥", 40, "×", "the naive peers were not run")
		return nil
	}
	b.goal("iv.restore.8.naive-ratio", "iv: naive restore ÷ ours to a bucket, 8 workers", "≥", 40, b.naive["restore"].Seconds()/ours.wall.Seconds(), "×")
	return nil
}

// unchanged makes the next backup of files that have not changed.
func (b *bench) unchanged(ctx context.Context, t *bed) error {
	name := t.set.name
	m, err := t.backup(ctx, 8)
	if err != nil {
		return err
	}
	b.run(name+".unchanged.8", m)
	b.goal(name+".unchanged.read-share", name+": read, nothing changed, with archive", "≤", 1, share(m, t.set), "%")
	return nil
}

// changed makes the next backup after 1 % of the files, at least one, changed at random.
func (b *bench) changed(ctx context.Context, t *bed) (measured, error) {
	if err := t.change(ctx, 0.01); err != nil {
		return measured{}, err
	}
	m, err := t.backup(ctx, 8)
	if err == nil {
		b.run(t.set.name+".changed.8", m)
	}
	return m, err
}

// changedLarge is changed with its goal, which tiny files cannot reach.
func (b *bench) changedLarge(ctx context.Context, t *bed) error {
	m, err := b.changed(ctx, t)
	if err != nil {
		return err
	}
	b.goal(t.set.name+".changed.read-share", t.set.name+": read, 1 % of the files changed, with archive", "≤", 5, share(m, t.set), "%")
	return nil
}

// price makes backups where cost is preferred, and says what a TB of such media costs.
func (b *bench) price(ctx context.Context, t *bed) error {
	prices := estimate.Prices("us-east-1")
	least, err := estimate.SpliceFloor(estimate.Splice{Prefer: "cost", Prices: prices, Filler: true, Sizes: estimate.Media(t.set.bytes())})
	if err != nil {
		return err
	}
	t.policy = step.Policy{Floor: least}
	if err := t.forget(ctx); err != nil {
		return err
	}
	for _, run := range []struct {
		figure, name string
		limit        float64
	}{{"first", "first backup", 0.65}, {"unchanged", "nothing changed", 0.10}} {
		m, err := t.backup(ctx, 8)
		if err != nil {
			return err
		}
		b.run("iv.cost."+run.figure+".8", m)
		usage := estimate.Usage{
			Put: m.PutClass(), Get: m.Get, Invocations: int64(m.calls),
			GBSeconds: m.busy.Seconds() * estimate.DefaultMemory / 1024, Transitions: transitions(m.calls),
		}
		cost := usage.Price(prices)
		perTB := float64(cost.Once()) / 1e9 * 1e12 / float64(t.set.bytes())
		b.say("%s, prefer cost (copies from %d MiB on): %d PUT-class, %d GET-class, %.1f GB-s: %v", run.name, least/mib, usage.Put, usage.Get, usage.GBSeconds, cost.Once())
		b.goal("iv.cost."+run.figure+".price-per-TB", "iv: price per TB with archive, prefer cost, "+run.name, "≤", run.limit, perTB, "$")
	}
	return nil
}

// transitions is about how many states a run of so many calls enters: one a call and one after it.
func transitions(calls int) int64 { return int64(2*calls + 2) }

func small(ctx context.Context, b *bench) error {
	files := setI()
	return onModel(ctx, modelled, files, speed, func(t *bed) error {
		b.say("%s", files)
		m, err := b.first(ctx, t, 8)
		if err != nil {
			return err
		}
		b.goal("i.first.put-class-per-object", "i: PUT-class requests per object, first backup with archive", "≤", 0.01, float64(m.PutClass())/float64(len(files.files)), "")
		if err := b.opens(ctx, t, m.record); err != nil {
			return err
		}
		if err := b.unchanged(ctx, t); err != nil {
			return err
		}
		if m, err = b.changed(ctx, t); err != nil {
			return err
		}
		b.figure("i.changed.read-share", share(m, t.set), "%")
		b.say("no goal: tiny files that change at random take whole ranges of packs along")
		return nil
	})
}

func large(ctx context.Context, b *bench) error {
	files := setII()
	return onModel(ctx, s3model.Options{}, files, speed, func(t *bed) error {
		b.say("%s", files)
		first, err := b.first(ctx, t, 2)
		if err != nil {
			return err
		}
		m, err := t.restore(ctx, first.record.ID, 2, floor)
		if err != nil {
			return err
		}
		b.run("ii.restore.2", m)
		b.goal("ii.restore.read-share", "ii: read, restore to a bucket, --check stored", "≤", 0.5, share(m, t.set), "%")
		if err := b.unchanged(ctx, t); err != nil {
			return err
		}
		return b.changedLarge(ctx, t)
	})
}

func huge(ctx context.Context, b *bench) error {
	files := setIII()
	return onModel(ctx, s3model.Options{}, files, speed, func(t *bed) error {
		b.say("%s", files)
		m, err := b.first(ctx, t, 2)
		if err != nil {
			return err
		}
		b.goal("iii.first.read-share", "iii: read, first backup with archive", "≤", 1, share(m, t.set), "%")
		b.figure("iii.first.written-share", 100*float64(m.Uploaded)/float64(t.set.bytes()), "%")
		return b.unchanged(ctx, t)
	})
}

// growth compares sources of n and of 4 n small files.
func growth(ctx context.Context, b *bench) error {
	sizes := [2]int{5_000, 20_000}
	var first, next [2]measured
	for i, n := range sizes {
		files := makeSet("growth", "files of one size", "bin", equal(n, 2*kib))
		err := onModel(ctx, s3model.Options{}, files, speed, func(t *bed) (err error) {
			first[i], _, err = median(5, time.Minute, func() (measured, error) {
				if err := t.forget(ctx); err != nil {
					return measured{}, err
				}
				return t.backup(ctx, 2)
			})
			if err != nil {
				return err
			}
			next[i], _, err = median(5, time.Minute, func() (measured, error) { return t.backup(ctx, 2) })
			return err
		})
		if err != nil {
			return err
		}
		b.run(fmt.Sprintf("growth.first.%d", n), first[i])
		b.run(fmt.Sprintf("growth.unchanged.%d", n), next[i])
	}
	ratio := func(name, title string, m [2]measured) {
		b.figure("growth."+name+".cpu-ratio", m[1].cpu.Seconds()/m[0].cpu.Seconds(), "×")
		b.goal("growth."+name+".ratio", "time for 4 × the objects, "+title, "≤", 4.4, m[1].wall.Seconds()/m[0].wall.Seconds(), "×")
	}
	ratio("first", "first backup", first)
	ratio("unchanged", "nothing changed", next)
	return nil
}
