package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lifeboat/internal/vault"
)

// full are the experiments that `bench -full` adds: everything on the embedded server, and the peers.
var full = []experiment{
	{"plan", "the step plan-packs, 10 million objects", plan},
	{"growth", "time of a first backup and of the next against the number of objects, no latencies", growth},
	{"embedded-i", "embedded server, set i, and peers", func(ctx context.Context, b *bench) error { return embedded(ctx, b, setI()) }},
	{"embedded-ii", "embedded server, set ii", func(ctx context.Context, b *bench) error { return embedded(ctx, b, setII()) }},
	{"embedded-iii", "embedded server, set iii", func(ctx context.Context, b *bench) error { return embedded(ctx, b, setIII()) }},
	{"embedded-iv", "embedded server, set iv, and peers", func(ctx context.Context, b *bench) error { return embedded(ctx, b, setIV()) }},
}

// need is the disk that bench-full takes at its worst, in bytes: set iv as files, packs, archive and its parts, and the
// copies of the peers.
const need = 40 * gib

// room looks whether there is the disk that is needed, and says which programs there are.
func (b *bench) room() error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &disk); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", os.TempDir(), err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < need {
		return fmt.Errorf("%s has %d GiB free, and bench-full needs %d: set TMPDIR to a folder with more", os.TempDir(), free/gib, need/gib)
	}
	for _, p := range [][]string{{"node", "--version"}, {"npm", "--version"}, {"rclone", "version"}, {"restic", "version"}, {"zip", "-v"}, {"unzip", "-v"}, {"7z", "i"}, {"python3", "--version"}} {
		said := version(p[0], p[1:]...)
		if said == "" {
			said = "not installed: what needs it is skipped"
		}
		b.say("%s: %s", p[0], said)
	}
	return nil
}

// onEmbedded gives a bed on the embedded server to do something with.
func onEmbedded(ctx context.Context, files set, do func(*bed) error) error {
	s, err := newEmbedded(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	t, err := newBed(ctx, s, files, speed)
	if err != nil {
		return err
	}
	return do(t)
}

func embedded(ctx context.Context, b *bench, files set) error {
	name := "embedded." + files.name
	return onEmbedded(ctx, files, func(t *bed) error {
		b.say("%s", files)
		first, err := t.backup(ctx, 4)
		if err != nil {
			return err
		}
		b.run(name+".first.4", first)
		b.figure(name+".first.read-share", share(first, files), "%")
		if err := b.opens(ctx, t, first.record); err != nil {
			return err
		}
		second, n, err := median(5, 2*time.Minute, func() (measured, error) { return t.backup(ctx, 4) })
		if err != nil {
			return err
		}
		b.say("%s.unchanged.4: median of %d", name, n)
		b.run(name+".unchanged.4", second)
		b.figure(name+".unchanged.read-share", share(second, files), "%")
		if files.name == "ii" || files.name == "iii" {
			return nil // they would take long to say the same
		}
		return b.peersOf(ctx, t, first, second)
	})
}

// peersOf runs the peers over the files of a bed, each in a vault's bucket of its own, and compares.
func (b *bench) peersOf(ctx context.Context, t *bed, first, second measured) error {
	took := map[string]measured{}
	for _, p := range peers {
		if absent := missing(p.needs); absent != "" {
			b.say("%s is not installed: %s is skipped", absent, p.name)
			continue
		}
		if err := t.forget(ctx); err != nil {
			return err
		}
		err := inFolder(func(folder string) error {
			m, err := p.run(ctx, b, t, folder)
			if err != nil {
				return err
			}
			took[p.name] = m
			return b.whole(ctx, t, p, filepath.Join(folder, "whole.zip"))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.peer("embedded."+t.set.name+"."+p.name, took[p.name])
	}
	if m, ok := took["npm-archiver"]; ok {
		b.compare(t, "npm-archiver.cpu-ratio", archiverCPU, "≥", 10, m.cpu.Seconds()/first.cpu.Seconds())
	} else {
		b.skip(t, archiverCPU, "≥", 10, "node or npm is not installed")
	}
	return b.restic(ctx, t, second)
}

// The goals against peers are about set iv.
const (
	archiverCPU = "iv: client CPU, embedded server: npm archiver ÷ ours"
	resticWall  = "iv: wall of the next backup with archive: restic's backup and dump ÷ ours"
)

func (b *bench) compare(t *bed, name, title, sign string, limit, value float64) {
	name = "embedded." + t.set.name + "." + name
	if t.set.name == "iv" {
		b.goal(name, title, sign, limit, value, "×")
		return
	}
	b.figure(name, value, "×")
}

func (b *bench) skip(t *bed, title, sign string, limit float64, why string) {
	if t.set.name == "iv" {
		b.missed(title, sign, limit, "×", why)
	}
}

// whole says whether the archive of a peer is whole: what a faster peer leaves out would not be a fair comparison.
func (b *bench) whole(ctx context.Context, t *bed, p peer, path string) error {
	v, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := fetch(ctx, v, vault.Key(p.archive), path); err != nil {
		return err
	}
	if files, err := readAll(path); err != nil || files != len(t.set.files) {
		b.say("%s: its archive is NOT whole: %d of %d files, %v", p.name, files, len(t.set.files), err)
		return nil
	}
	b.say("%s: its archive is whole", p.name)
	return nil
}

func (b *bench) restic(ctx context.Context, t *bed, second measured) error {
	if absent := missing([]string{"restic", "rclone"}); absent != "" {
		b.skip(t, resticWall, ">", 1, absent+" is not installed")
		return nil
	}
	if err := t.forget(ctx); err != nil {
		return err
	}
	return inFolder(func(folder string) error {
		first, unchanged, dump, err := t.resticRuns(ctx, folder)
		if err != nil {
			return err
		}
		name := "embedded." + t.set.name + ".restic"
		b.peer(name+".first", first)
		b.peer(name+".unchanged", unchanged)
		b.peer(name+".dump", dump)
		b.compare(t, "restic.wall-ratio", resticWall, ">", 1, (unchanged.wall+dump.wall).Seconds()/second.wall.Seconds())
		return nil
	})
}
