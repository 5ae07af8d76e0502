package pack

import (
	"cmp"
	"context"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// packLarge streams items one after the other into one pack, whatever their size, with a few parts in memory.
func (p *Packer) packLarge(ctx context.Context, names *ids, items []Item, result *Result) error {
	id, err := names.take(ctx)
	if err != nil {
		return err
	}
	var planned int64
	for _, item := range items {
		planned += item.size()
	}
	s := newStream(ctx, p.Vault, vault.Pack(p.Source, id), planned, cmp.Or(p.part, streamPart))
	s.equal = p.Equal
	defer s.abort()
	var packed []manifest.Entry
	for _, item := range items {
		entry, keep, err := p.streamItem(ctx, s, item, result)
		if err != nil {
			return err
		}
		if keep {
			entry.Header.Pack = id
			packed = append(packed, entry)
		}
		p.progress(1, 0)
	}
	if len(packed) == 0 {
		return nil
	}
	bytes, crc, err := s.close()
	if err != nil {
		return err
	}
	result.Packs = append(result.Packs, manifest.Pack{ID: id, Bytes: bytes, CRC32: manifest.CRC(crc)})
	result.Entries = append(result.Entries, packed...)
	return nil
}

func (p *Packer) streamItem(ctx context.Context, s *stream, item Item, result *Result) (manifest.Entry, bool, error) {
	switch {
	case item.Document != nil:
		body, err := p.document(ctx, item.Document)
		if err != nil {
			return manifest.Entry{}, false, err
		}
		entry, err := p.streamKnown(s, body, item.Document.Entry)
		return entry, true, err
	case item.Stored != nil:
		entry, err := p.streamStored(ctx, s, *item.Stored)
		return entry, true, err
	case item.Object.Dir:
		entry := directory(*item.Object).entry(*item.Object)
		entry.Header.Offset = s.mark().offset
		if err := s.begin(entry.Zip().LocalSize()); err != nil {
			return entry, false, err
		}
		return entry, true, s.finish(entry.Zip())
	}
	listed := *item.Object
	mark := s.mark()
	r, err := p.streamSteady(ctx, s, item)
	if err != nil {
		f, err := lost(err, listed)
		if err == nil {
			result.Findings = append(result.Findings, f)
			err = s.rollBack(mark)
		}
		return manifest.Entry{}, false, err
	}
	if same, ok := r.equal(item); ok {
		result.Unchanged = append(result.Unchanged, same)
		return manifest.Entry{}, false, s.rollBack(mark)
	}
	if f, differs := r.finding(listed); differs {
		result.Findings = append(result.Findings, f)
	}
	entry := r.entry(listed)
	entry.Header.Offset = mark.offset
	return entry, true, s.finish(entry.Zip())
}

func (p *Packer) streamSteady(ctx context.Context, s *stream, item Item) (*reading, error) {
	o := *item.Object
	mark := s.mark()
	for attempt := 1; ; attempt++ {
		r, err := p.streamOnce(ctx, s, o)
		if err != nil || r.steady || attempt == attempts && r.fits() {
			return r, err
		}
		if attempt == attempts {
			return nil, failure.New(failure.Conflict, "it shrank by so much while it was read that its header no longer fits")
		}
		if err := s.rollBack(mark); err != nil {
			return nil, err
		}
		o.Identity = ""
	}
}

// fits reports whether the header that was reserved for the size at opening is that of the size that was read.
func (r *reading) fits() bool {
	reserved := zipfmt.Entry{Size: uint64(r.object.Size), Stored: uint64(r.object.Size)}
	read := zipfmt.Entry{Size: uint64(r.size), Stored: uint64(r.size)}
	return reserved.LocalSize() == read.LocalSize()
}

func (p *Packer) streamOnce(ctx context.Context, s *stream, o app.Object) (*reading, error) {
	content, now, err := p.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if err := s.begin(zipfmt.Entry{Name: o.Path, Size: uint64(now.Size), Stored: uint64(now.Size)}.LocalSize()); err != nil {
		return nil, err
	}
	r := newReading(now)
	if err := s.copy(io.LimitReader(content, now.Size), func(b []byte) {
		r.write(b)
		p.progress(0, int64(len(b)))
	}); err != nil {
		return nil, err
	}
	after, err := content.Now()
	if err != nil {
		return nil, err
	}
	r.steady = after.Identity == now.Identity && r.size == now.Size
	return r, nil
}

// streamKnown streams the stored bytes of an entry whose checksum is known.
func (p *Packer) streamKnown(s *stream, body io.ReadCloser, entry manifest.Entry) (manifest.Entry, error) {
	defer body.Close()
	entry.Header.Offset = s.mark().offset
	if err := s.begin(entry.Zip().LocalSize()); err != nil {
		return entry, err
	}
	r := newReading(app.Object{})
	if err := s.copy(body, func(b []byte) {
		r.write(b)
		p.progress(0, int64(len(b)))
	}); err != nil {
		return entry, err
	}
	if r.size != entry.StoredSize() || r.crc.Sum32() != entry.StoredCRC() {
		return entry, failure.New(failure.Corrupt, "the stored bytes of %s do not have the checksum that they were stored with", entry.Path)
	}
	return entry, s.finish(entry.Zip())
}
