package main

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	{"price", "requests of set iv and of twice as many such files, prefer cost", price},
}

const (
	floor   = 5 * mib         // of what the store copies where speed is preferred, as package estimate has it
	repeats = 8 * time.Second // how long a measurement is repeated
)

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
			backErr = inFolder(func(folder string) (err error) {
				back, err = t.timed(1, step.Policy{}, func(f *fleet) error {
					return f.do(ctx, "naive-restore", naiveRequest{"archive.zip", target, folder}, new(struct{}))
				})
				return err
			})
		}()
		forth, err = t.timed(1, step.Policy{}, func(f *fleet) error {
			return f.do(ctx, "naive-backup", "naive.zip", new(naiveBackup))
		})
		<-done
		if err := errors.Join(err, backErr); err != nil {
			return err
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
		first, err := b.againstStreaming(ctx, t)
		if err != nil {
			return err
		}
		b.goal("iv.first.read-share", "iv: read, first backup with archive, prefer speed", "≤", 38, share(first, t.set), "%")
		if err := b.restored(ctx, t, first); err != nil {
			return err
		}
		if err := b.unchanged(ctx, t); err != nil {
			return err
		}
		return b.changedLarge(ctx, t)
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
	ours, n, err := median(5, repeats, func() (measured, error) {
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

// againstStreaming compares with our own pipeline where the store copies nothing. It returns the last backup, in which
// it does.
func (b *bench) againstStreaming(ctx context.Context, t *bed) (last measured, err error) {
	var walls []time.Duration
	for _, way := range []struct {
		name   string
		policy step.Policy
	}{{"streaming", streaming}, {"spliced", speed}} {
		t.policy = way.policy
		m, n, err := median(5, repeats, func() (measured, error) {
			if err := t.forget(ctx); err != nil {
				return measured{}, err
			}
			last, err = t.backup(ctx, 8)
			return last, err
		})
		if err != nil {
			return last, err
		}
		b.say("iv.first.8.%s: median of %d", way.name, n)
		b.run("iv.first.8."+way.name, m)
		walls = append(walls, m.wall)
	}
	b.goal("iv.first.8.splicing-ratio", "iv: ours without splicing ÷ with, 8 workers", "≥", 2.2, walls[0].Seconds()/walls[1].Seconds(), "×")
	return last, nil
}

// restored brings a backup back to a bucket.
func (b *bench) restored(ctx context.Context, t *bed, first measured) error {
	ours, n, err := median(5, repeats, func() (measured, error) { return t.restore(ctx, first.record.ID, 8, floor) })
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
			first[i], _, err = median(5, repeats, func() (measured, error) {
				if err := t.forget(ctx); err != nil {
					return measured{}, err
				}
				return t.backup(ctx, 2)
			})
			if err != nil {
				return err
			}
			next[i], _, err = median(5, repeats, func() (measured, error) { return t.backup(ctx, 2) })
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
