package pool

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// Merge has the store join a group of a plan to one pack and writes its index; from then on the pool finds the packs of
// the group in it. What they lay in stays until it is swept. No byte passes through this process, but for a last pack
// of 5 MiB or less.
//
// It may be repeated after it was stopped at any request: it finds what is there and does the rest. The caller holds the
// lease of the source. A pack whose bytes have another CRC-32 than its manifest says is Corrupt and is named; a store
// that does not say the CRC-32 of what it copies is Invalid: merging is not possible there. progress, which may be nil,
// gets the bytes of each pack that was copied, from several goroutines.
func (p *Pool) Merge(ctx context.Context, v *vault.Vault, group []Use, progress func(bytes int64)) (manifest.Pack, error) {
	m, err := p.index(group)
	if err != nil {
		return m.Pack, err
	}
	key := vault.Pack(p.source, m.Pack.ID)
	if !v.Completed(ctx, key, m.Pack.Bytes, uint32(m.Pack.CRC32)) {
		if err := v.AbortAll(ctx, key); err != nil { // of an attempt that was stopped
			return m.Pack, err
		}
		if err := p.join(ctx, v, m, progress); err != nil {
			return m.Pack, err
		}
	}
	data, err := m.encode()
	if err != nil {
		return m.Pack, err
	}
	if err := v.Create(ctx, vault.Merge(p.source, m.Pack.ID), data); err != nil {
		return m.Pack, err
	}
	p.objects[m.Pack.ID] = vault.Info{Key: key, Size: m.Pack.Bytes}
	p.indexes[m.Pack.ID] = vault.Info{Key: vault.Merge(p.source, m.Pack.ID), Size: int64(len(data))}
	p.merged[m.Pack.ID] = m
	p.resolve()
	return m.Pack, nil
}

// index describes what a group becomes.
func (p *Pool) index(group []Use) (Merged, error) {
	m := Merged{Format: Format}
	ids := make([]string, len(group))
	var crc uint32
	for i, u := range group {
		if i < len(group)-1 && u.Bytes < vault.MinPart || u.Bytes < 1 || u.Bytes > vault.MaxPart {
			return m, failure.New(failure.Internal, "the pack %s of %d bytes cannot be part %d of %d", u.ID, u.Bytes, i+1, len(group))
		}
		m.Holds = append(m.Holds, Held{u.Pack, m.Pack.Bytes})
		crc = zipfmt.CombineCRC(crc, uint32(u.CRC32), u.Bytes)
		m.Pack.Bytes += u.Bytes
		ids[i] = u.ID
	}
	m.Pack.ID, m.Pack.CRC32 = MergedID(ids), manifest.CRC(crc)
	if len(group) < 2 || len(group) > vault.MaxParts {
		return m, failure.New(failure.Internal, "%d packs cannot be merged", len(group))
	}
	return m, nil
}

// cleanUpTime bounds what is done after a failure.
const cleanUpTime = 10 * time.Second

func (p *Pool) join(ctx context.Context, v *vault.Vault, m Merged, progress func(bytes int64)) error {
	upload, err := v.CreateUpload(ctx, vault.Pack(p.source, m.Pack.ID))
	if err != nil {
		return err
	}
	parts := make([]vault.Part, len(m.Holds))
	var group errgroup.Group // without a context: a copy that is under way while its upload is aborted would bring that back
	var failed atomic.Bool
	group.SetLimit(requests)
	for i, held := range m.Holds {
		if failed.Load() {
			break
		}
		group.Go(func() (err error) {
			defer func() { failed.CompareAndSwap(false, err != nil) }()
			parts[i], err = p.part(ctx, v, upload, i+1, held.Pack)
			if err == nil && progress != nil {
				progress(held.Bytes)
			}
			return err
		})
	}
	if err = group.Wait(); err == nil {
		err = v.Complete(ctx, upload, parts, m.Pack.Bytes, uint32(m.Pack.CRC32))
	}
	if err == nil {
		return nil
	}
	cleanUp, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	_ = v.Abort(cleanUp, upload) // a later sweep frees what this leaves
	return err
}

// part writes a pack as one part and holds its CRC-32 against the one that is known. A copied range must come from an
// object of more than 5 MiB (CopySourceRange, S3 API reference).
func (p *Pool) part(ctx context.Context, v *vault.Vault, upload vault.Upload, number int, pack manifest.Pack) (vault.Part, error) {
	from := vault.Pack(p.source, pack.ID)
	var part vault.Part
	var err error
	if pack.Bytes > vault.MinPart {
		part, err = v.CopyPart(ctx, upload, number, from, 0, pack.Bytes)
	} else {
		part, err = literal(ctx, v, upload, number, from, pack.Bytes)
	}
	switch {
	case err != nil:
		return part, err
	case !part.HasCRC:
		return part, failure.New(failure.Invalid, "the store does not say the CRC-32 of a copied part: packs cannot be merged in it")
	case part.CRC32 != uint32(pack.CRC32):
		return part, failure.New(failure.Corrupt, "the pack %s is damaged: its bytes have the CRC-32 %08x, %s was recorded", pack.ID, part.CRC32, pack.CRC32).
			WithHint("`lifeboat verify --deep` says which backups need it")
	}
	return part, nil
}

func literal(ctx context.Context, v *vault.Vault, upload vault.Upload, number int, from vault.Key, bytes int64) (vault.Part, error) {
	body, _, err := v.Open(ctx, from, 0, bytes)
	if err != nil {
		return vault.Part{}, err
	}
	defer body.Close()
	data := make([]byte, bytes)
	if _, err := io.ReadFull(body, data); err != nil {
		return vault.Part{}, err
	}
	return v.UploadPart(ctx, upload, number, data)
}
