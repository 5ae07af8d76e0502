package restore

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"sync"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
	"lifeboat/internal/zipfmt"
)

// maxDepth is how often packs may be merged into others.
const maxDepth = 32

// heads is how many requests a check of stored checksums has under way.
const heads = 16

// Stored checks a backup in the vault without reading its bytes: the manifest must be signed with a trusted key (Usage
// otherwise), and each object that holds a pack of it must have the size and, in the store's own words, the CRC-32
// that the manifest says, by way of the index where packs were merged. What does not match is a problem. Bytes that
// rot where they lie are not found: each restored object is checked when it is written. A store that keeps no such
// checksums is Invalid. progress gets the bytes of the packs.
func Stored(ctx context.Context, v *vault.Vault, p *pool.Pool, image verify.Image, trusted []ed25519.PublicKey, progress func(items, bytes int64)) (verify.Report, error) {
	var report verify.Report
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return report, err
	}
	defer body.Close()
	report.Header = m.Header
	for e, err := range m.Entries() {
		if err != nil {
			return report, err
		}
		report.Entries++
		report.Bytes += e.Size
	}
	if report.Signature, err = image.Seal().Check(m, report.Entries, trusted...); err != nil {
		return report, err
	}
	if report.Signature != manifest.Authenticated {
		return report, failure.New(failure.Usage, "--check stored believes the manifest, and nobody known here has signed this one").
			WithHint("leave it out: every byte is read then")
	}
	s := &storedCheck{vault: v, source: m.Header.Source, pool: p, packs: m.Packs, report: &report, progress: progress, indexes: map[string]pool.Merged{}}
	if err := s.all(ctx, m.PackOrder); err != nil {
		return report, err
	}
	slices.SortFunc(report.Problems, func(a, b app.Finding) int { return strings.Compare(a.Item, b.Item) })
	report.OK = report.Total == 0
	return report, nil
}

type storedCheck struct {
	vault    *vault.Vault
	source   backup.Source
	pool     *pool.Pool
	packs    map[string]manifest.Pack
	progress func(items, bytes int64)

	mutex   sync.Mutex
	report  *verify.Report
	indexes map[string]pool.Merged // by the id of the merged pack
}

func (s *storedCheck) found(id, format string, args ...any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.report.Total++
	if len(s.report.Problems) < verify.MaxProblems {
		s.report.Problems = append(s.report.Problems, corrupt("pack "+id, fmt.Sprintf(format, args...)))
	}
}

// all checks the objects that hold the packs, each once.
func (s *storedCheck) all(ctx context.Context, ids []string) error {
	holders := map[vault.Key][]string{}
	for _, id := range ids {
		if at, ok := s.pool.Find(id); !ok {
			s.found(id, "is not in the vault")
		} else {
			holders[at.Key] = append(holders[at.Key], id)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := make(chan struct{}, heads)
	var group sync.WaitGroup
	for key, held := range holders {
		if !acquire(ctx, places) {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			if err := s.holder(ctx, key, held); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// holder checks one object and the packs in it.
func (s *storedCheck) holder(ctx context.Context, key vault.Key, held []string) error {
	info, err := s.vault.Head(ctx, key)
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		s.found(vault.PackID(key), "is not in the vault")
		return nil
	case err != nil:
		return err
	case !info.HasCRC32:
		return failure.New(failure.Invalid, "the vault's store keeps no CRC-32 of %s, as of what was copied into its place by another program", key).WithHint("use --check full: every byte is read then")
	}
	stored := manifest.Pack{ID: vault.PackID(key), Bytes: info.Size, CRC32: manifest.CRC(info.CRC32)}
	for _, id := range held {
		at, _ := s.pool.Find(id)
		want := s.packs[id]
		got, err := s.within(ctx, stored, at.Offset, id)
		switch {
		case failure.KindOf(err) == failure.Corrupt && err != nil:
			s.found(id, "%v", err)
		case err != nil:
			return err
		case got != want:
			s.found(id, "has %d bytes with CRC-32 %s in the vault, the manifest says %d with %s", got.Bytes, got.CRC32, want.Bytes, want.CRC32)
		}
		s.progress(1, want.Bytes)
	}
	return nil
}

// within returns what is known of a pack that lies at an offset of another one, of which the store knows the checksum:
// an index counts only where the checksums of all that it lists give that of the whole.
func (s *storedCheck) within(ctx context.Context, outer manifest.Pack, offset int64, id string) (manifest.Pack, error) {
	for depth := 0; outer.ID != id; depth++ {
		index, err := s.index(ctx, outer)
		if err != nil {
			return manifest.Pack{}, err
		}
		k := slices.IndexFunc(index.Holds, func(h pool.Held) bool { return h.Offset <= offset && offset < h.Offset+h.Bytes })
		if k < 0 || depth == maxDepth {
			return manifest.Pack{}, failure.New(failure.Corrupt, "is not in the merged pack %s, which should hold it", outer.ID)
		}
		outer, offset = index.Holds[k].Pack, offset-index.Holds[k].Offset
	}
	return outer, nil
}

// index reads the index of a merged pack and holds it against the pack's own checksum.
func (s *storedCheck) index(ctx context.Context, outer manifest.Pack) (pool.Merged, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock() // the others wait for the same one, most likely
	if m, ok := s.indexes[outer.ID]; ok {
		return m, nil
	}
	var m pool.Merged
	if _, err := s.vault.GetJSON(ctx, vault.Merge(s.source, outer.ID), &m); err != nil {
		if failure.KindOf(err) == failure.NotFound {
			err = failure.New(failure.Corrupt, "the index of the merged pack %s is gone", outer.ID)
		}
		return m, err
	}
	var crc uint32
	var size int64
	for _, held := range m.Holds {
		if held.Offset != size || held.Bytes < 0 {
			return m, failure.New(failure.Corrupt, "the index of the merged pack %s has gaps", outer.ID)
		}
		crc, size = zipfmt.CombineCRC(crc, uint32(held.CRC32), held.Bytes), size+held.Bytes
	}
	if size != outer.Bytes || manifest.CRC(crc) != outer.CRC32 {
		return m, failure.New(failure.Corrupt, "the merged pack %s has %d bytes with CRC-32 %s, what it holds adds up to %d with %08x",
			outer.ID, outer.Bytes, outer.CRC32, size, crc)
	}
	s.indexes[outer.ID] = m
	return m, nil
}
