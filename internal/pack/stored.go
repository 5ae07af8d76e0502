package pack

import (
	"cmp"
	"context"
	"hash/crc32"
	"io"
	"slices"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// maxGap is how many bytes between two stored entries are read along rather than asked for separately.
const maxGap = 256 << 10

// stretch is a run of stored bodies that lie near one another in one object of the pool.
type stretch struct {
	key      vault.Key
	from, to int64
	slots    []*slot // in the order of their bytes
}

// place returns where the body of a stored entry lies.
func (p *Packer) place(e manifest.Entry) (key vault.Key, offset int64, err error) {
	if p.Pool == nil {
		return "", 0, failure.New(failure.Internal, "%s lies in a pool that is not open", e.Path)
	}
	at := e.Body()
	spot, ok := p.Pool.Find(at.Pack)
	if !ok || at.Offset+e.StoredSize() > spot.Bytes {
		return "", 0, p.damaged(e, failure.New(failure.NotFound, "the pack %s is not there", at.Pack))
	}
	return spot.Key, spot.Offset + at.Offset, nil
}

// damaged says that the pool no longer has the bytes of an entry.
func (p *Packer) damaged(e manifest.Entry, err error) error {
	switch failure.KindOf(err) {
	case failure.NotFound, failure.Corrupt:
		return failure.New(failure.Corrupt, "the stored bytes of %s can't be had: %w", e.Path, err).
			WithHint("lifeboat backup %s --rehash", p.Source)
	}
	return err
}

// stretches returns how the stored entries among the slots are read, in as few requests as can be.
func (p *Packer) stretches(slots []slot) ([]stretch, error) {
	type found struct {
		key    vault.Key
		offset int64
		slot   *slot
	}
	var all []found
	for i := range slots {
		s := &slots[i]
		if s.item.Stored == nil {
			continue
		}
		s.entry = *s.item.Stored
		s.entry.Header, s.entry.BodyPlace = manifest.Place{}, nil
		if len(s.data) == 0 {
			continue
		}
		key, offset, err := p.place(*s.item.Stored)
		if err != nil {
			return nil, err
		}
		all = append(all, found{key, offset, s})
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.offset, b.offset)) })
	var runs []stretch
	for _, f := range all {
		end := f.offset + int64(len(f.slot.data))
		if n := len(runs); n > 0 && runs[n-1].key == f.key && f.offset >= runs[n-1].to && f.offset-runs[n-1].to <= maxGap {
			runs[n-1].to, runs[n-1].slots = end, append(runs[n-1].slots, f.slot)
			continue
		}
		runs = append(runs, stretch{f.key, f.offset, end, []*slot{f.slot}})
	}
	return runs, nil
}

// readStretch reads stored bodies with one request.
func (p *Packer) readStretch(ctx context.Context, run stretch) error {
	body, _, err := p.Vault.Open(ctx, run.key, run.from, run.to-run.from)
	if err != nil {
		return p.damaged(run.slots[0].entry, err)
	}
	defer body.Close()
	at := run.from
	for _, s := range run.slots {
		_, offset, err := p.place(*s.item.Stored)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, body, offset-at); err != nil {
			return p.damaged(s.entry, cut(err))
		}
		if _, err := io.ReadFull(body, s.data); err != nil {
			return p.damaged(s.entry, cut(err))
		}
		at = offset + int64(len(s.data))
		if crc32.ChecksumIEEE(s.data) != s.entry.StoredCRC() {
			return p.damaged(s.entry, failure.New(failure.Corrupt, "they do not have the checksum that they were stored with"))
		}
	}
	return nil
}

// cut gives an answer that ended early its kind.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return failure.New(failure.Transient, "%w", err)
	}
	return err
}
