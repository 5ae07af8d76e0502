package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/catalog"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// readers are programs that read a whole ZIP and compare every CRC-32.
var readers = []struct {
	name string
	args []string // before the archive
}{
	{"unzip", []string{"-tqq"}},
	{"7z", []string{"t", "-bso0", "-bsp0"}},
	{"python3", []string{"-c", "import sys, zipfile; bad = zipfile.ZipFile(sys.argv[1]).testzip(); sys.exit(bad)"}},
}

// opens downloads an archive and has every reader read it.
func (b *bench) opens(ctx context.Context, t *bed, record catalog.Record) error {
	folder, err := os.MkdirTemp("", "lifeboat-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	v, err := t.open(ctx)
	if err != nil {
		return err
	}
	for i, file := range record.Archive.Files() {
		path := filepath.Join(folder, fmt.Sprintf("archive-%d.zip", i))
		if err := fetch(ctx, v, vault.Key(file.Key), path); err != nil {
			return err
		}
		if err := b.read(ctx, path, t.set.name); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, v *vault.Vault, key vault.Key, path string) error {
	body, _, err := v.Open(ctx, key, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}

// read has every reader read an archive, side by side. One that finds it wrong is an error, one that is not there is
// skipped.
func (b *bench) read(ctx context.Context, path, name string) error {
	var group errgroup.Group
	clean := []string{"Go's archive/zip"}
	entries := 0
	group.Go(func() (err error) {
		if entries, err = readAll(path); err != nil {
			return fmt.Errorf("archive/zip finds the archive of set %s wrong: %w", name, err)
		}
		return nil
	})
	for _, r := range readers {
		if _, err := exec.LookPath(r.name); err != nil {
			b.say("%s is not installed: skipped", r.name)
			continue
		}
		clean = append(clean, r.name)
		group.Go(func() error {
			if text, err := exec.CommandContext(ctx, r.name, append(append([]string{}, r.args...), path)...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s finds the archive of set %s wrong: %w: %.500s", r.name, name, err, text)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.say("the archive of set %s, %d entries, opens clean in %s", name, entries, strings.Join(clean, ", "))
	return nil
}

// readAll reads a ZIP with archive/zip and returns the number of its files.
func readAll(path string) (files int, err error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return 0, err
	}
	defer archive.Close()
	for _, f := range archive.File {
		if f.FileInfo().IsDir() {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return files, err
		}
		_, err = io.Copy(io.Discard, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return files, fmt.Errorf("%s: %w", f.Name, err)
		}
		files++
	}
	return files, nil
}

// reference puts a plain ZIP of the files into the vault's bucket of a modelled store, without moving their bytes.
func (t *bed) reference(_ context.Context, key string) error {
	var pieces []any
	var central []byte
	offset := uint64(0)
	for _, f := range t.set.files {
		_, crc, _ := t.store.model.Sum(t.data, f.key)
		e := zipfmt.Entry{Name: f.key, Modified: f.modified, CRC32: crc, Size: uint64(f.Size), Stored: uint64(f.Size)}
		local := e.AppendLocal(nil)
		central = e.AppendCentral(central, offset)
		pieces = append(pieces, local, f.Derived)
		offset += uint64(len(local)) + uint64(f.Size)
	}
	end := zipfmt.Directory{Entries: uint64(len(t.set.files)), Offset: offset, Size: uint64(len(central))}.AppendEnd(nil)
	return t.store.model.Put(t.vault, key, time.Now(), append(pieces, central, end)...)
}
