package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// slot is one item of a small batch: its bytes and what was found out about it.
type slot struct {
	item     Item
	entry    manifest.Entry
	data     []byte
	same     bool // the previous entry holds it
	gone     bool // it is not in the backup
	outgrown bool // it is larger now than its place: it streams
	findings []app.Finding
}

// packSmall reads every item into its place in one buffer, many at a time, closes the gaps of what is unchanged or
// gone, and writes the buffer as one pack. It returns the items that have outgrown their places.
func (p *Packer) packSmall(ctx context.Context, items []Item, result *Result) ([]Item, error) {
	slots := make([]slot, len(items))
	buffer := layOut(items, slots, 0)
	if err := p.readAll(ctx, slots, p.progress); err != nil {
		return nil, err
	}
	bytes, packed, outgrown := compact(buffer, slots, 0, result)
	if len(packed) == 0 {
		return outgrown, nil
	}
	pack := manifest.Pack{ID: p.contentID(bytes, p.Fresh), Bytes: int64(len(bytes)), CRC32: manifest.CRC(crc32.ChecksumIEEE(bytes))}
	err := p.Vault.Create(ctx, vault.Pack(p.Source, pack.ID), bytes)
	if err != nil && failure.KindOf(err) == failure.Conflict { // the pool has other bytes under the name: they are damaged
		pack.ID = p.contentID(bytes, true)
		err = p.Vault.Create(ctx, vault.Pack(p.Source, pack.ID), bytes)
	}
	if err != nil {
		return nil, err
	}
	for i := range packed {
		packed[i].Header.Pack = pack.ID
	}
	result.Packs = append(result.Packs, pack)
	result.Entries = append(result.Entries, packed...)
	return outgrown, nil
}

// readAll reads every slot, many at a time, and tells of each as it is done. It waits for its turn: two batches that are
// read at the same time are also written at the same time, and use one direction of the link after the other.
func (p *Packer) readAll(ctx context.Context, slots []slot, tell func(items, bytes int64)) error {
	return turn.pass(ctx, func() error { return p.readNow(ctx, slots, tell) })
}

func (p *Packer) readNow(ctx context.Context, slots []slot, tell func(items, bytes int64)) error {
	stretches, err := p.stretches(slots)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range stretches {
		group.Go(func() error {
			return reads.pass(ctx, func() error { return p.readStretch(ctx, run) })
		})
	}
	for i := range slots {
		s := &slots[i]
		if s.item.Stored != nil {
			tell(1, int64(len(s.data)))
			continue
		}
		group.Go(func() error {
			err := reads.pass(ctx, func() error { return p.fetch(ctx, s) })
			if err == nil && !s.outgrown { // then it is read once more
				tell(1, int64(len(s.data)))
			}
			return err
		})
	}
	return group.Wait()
}

// layOut gives every item its place behind its future header in one buffer, which has room for so many bytes more.
func layOut(items []Item, slots []slot, room int64) []byte {
	var total int64
	for _, item := range items {
		total += item.headerSize() + item.size()
	}
	buffer := make([]byte, total, total+room)
	var at int64
	for i, item := range items {
		at += item.headerSize()
		slots[i] = slot{item: item, data: buffer[at : at+item.size() : at+item.size()]}
		at += item.size()
	}
	return buffer
}

// compact writes the headers, moves every body behind its header and collects what became of the items. base is where
// the buffer lies in its pack.
func compact(buffer []byte, slots []slot, base int64, result *Result) (bytes []byte, packed []manifest.Entry, outgrown []Item) {
	bytes = buffer[:0]
	for i := range slots {
		s := &slots[i]
		result.Findings = append(result.Findings, s.findings...)
		switch {
		case s.gone:
		case s.outgrown:
			outgrown = append(outgrown, s.item)
		case s.same:
			result.Unchanged = append(result.Unchanged, s.entry)
		default:
			s.entry.Header.Offset = base + int64(len(bytes))
			bytes = s.entry.Zip().AppendLocal(bytes)
			bytes = append(bytes, s.data...)
			packed = append(packed, s.entry)
		}
	}
	return bytes, packed, outgrown
}

func (p *Packer) fetch(ctx context.Context, s *slot) error {
	if s.item.Document != nil {
		return p.fetchDocument(ctx, s)
	}
	listed := *s.item.Object
	if listed.Dir {
		s.data, s.entry = s.data[:0], directory(listed).entry(listed)
		return nil
	}
	r, err := p.fetchSteady(ctx, s, listed)
	if err != nil {
		f, err := lost(err, listed)
		s.gone, s.data, s.findings = true, nil, append(s.findings, f)
		return err
	}
	if s.outgrown {
		s.data = nil
		return nil
	}
	s.data = s.data[:r.size]
	if s.entry, s.same = r.equal(s.item); s.same {
		return nil
	}
	s.entry = r.entry(listed)
	if f, differs := r.finding(listed); differs {
		s.findings = append(s.findings, f)
	}
	return nil
}

// fetchSteady reads an object until one reading is of one version; at last it keeps what it has.
func (p *Packer) fetchSteady(ctx context.Context, s *slot, o app.Object) (*reading, error) {
	for attempt := 1; ; attempt++ {
		r, err := p.fetchOnce(ctx, s, o)
		if err != nil || s.outgrown || r.steady || attempt == attempts {
			return r, err
		}
		o.Identity = ""
	}
}

func (p *Packer) fetchOnce(ctx context.Context, s *slot, o app.Object) (*reading, error) {
	content, now, err := p.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if now.Size > int64(cap(s.data)) {
		s.outgrown = true
		return nil, nil
	}
	data := s.data[:now.Size]
	n, err := io.ReadFull(content, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	r := newReading(now)
	r.write(data[:n])
	after, err := content.Now()
	if err != nil {
		return nil, err
	}
	r.steady = after.Identity == now.Identity && r.size == now.Size
	return r, nil
}

func (p *Packer) fetchDocument(ctx context.Context, s *slot) error {
	body, err := p.document(ctx, s.item.Document)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.ReadFull(body, s.data); err != nil {
		return failure.New(failure.Corrupt, "read the stored document %s: %w", s.item.path(), err)
	}
	s.entry = s.item.Document.Entry
	if crc32.ChecksumIEEE(s.data) != s.entry.StoredCRC() {
		return failure.New(failure.Corrupt, "the stored document %s does not have the checksum that it was stored with", s.item.path())
	}
	return nil
}

// contentID names a pack by its bytes: the first 32 hex digits of their SHA-256; of the SHA-256 of the run's id and
// the bytes, where a pack must not be one that is there already.
func (p *Packer) contentID(bytes []byte, fresh bool) string {
	h := sha256.New()
	if fresh {
		h.Write([]byte("lifeboat pack 1\n" + string(p.Backup) + "\n"))
	}
	h.Write(bytes)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
