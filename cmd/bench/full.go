package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// full are the experiments that `bench -full` adds: everything on the embedded server, and the peers.
var full = []experiment{
	{"embedded-i", "embedded server, set i", func(ctx context.Context, b *bench) error { return embedded(ctx, b, setI()) }},
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
		second, n, err := median(5, 30*time.Second, func() (measured, error) { return t.backup(ctx, 4) })
		if err != nil {
			return err
		}
		b.say("%s.unchanged.4: median of %d", name, n)
		b.run(name+".unchanged.4", second)
		b.figure(name+".unchanged.read-share", share(second, files), "%")
		if files.name != "iv" {
			return nil
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
			took[p.name] = m
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.peer("embedded.iv."+p.name, took[p.name])
	}
	const archiver = "iv: client CPU, embedded server: npm archiver ÷ ours"
	if m, ok := took["npm-archiver"]; ok {
		b.goal("embedded.iv.npm-archiver.cpu-ratio", archiver, "≥", 10, m.cpu.Seconds()/first.cpu.Seconds(), "×")
	} else {
		b.missed(archiver, "≥", 10, "×", "node or npm is not installed")
	}
	return b.restic(ctx, t, second)
}

func (b *bench) restic(ctx context.Context, t *bed, second measured) error {
	const title = "iv: wall of the next backup with archive: restic's backup and dump ÷ ours"
	if absent := missing([]string{"restic", "rclone"}); absent != "" {
		b.missed(title, ">", 1, "×", absent+" is not installed")
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
		b.peer("embedded.iv.restic.first", first)
		b.peer("embedded.iv.restic.unchanged", unchanged)
		b.peer("embedded.iv.restic.dump", dump)
		b.goal("embedded.iv.restic.ratio", title, ">", 1, (unchanged.wall+dump.wall).Seconds()/second.wall.Seconds(), "×")
		return nil
	})
}
